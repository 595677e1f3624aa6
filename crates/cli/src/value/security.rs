//! `--security-opt`: a seccomp profile is a file here and its content in the request.

use serde_json::Value;

use crate::failure::Failure;

/// What the options of `--security-opt` mean.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Security {
    /// What the daemon is told.
    pub(crate) options: Vec<String>,
    /// `systempaths=unconfined`: no path is masked or made read-only.
    pub(crate) paths_unconfined: bool,
}

/// Reads the options; a seccomp profile is read from its file and sent without blanks.
pub(crate) fn parse(texts: &[&str]) -> Result<Security, Failure> {
    let mut security = Security::default();
    for text in texts {
        if *text == "systempaths=unconfined" {
            security.paths_unconfined = true;
            continue;
        }
        let pair = text.split_once('=').or_else(|| text.split_once(':'));
        match pair {
            None if !text.starts_with("no-new-privileges")
                && *text != "disable"
                && *text != "writable-cgroups" =>
            {
                return Err(Failure::text(format!("Invalid --security-opt: {text:?}")));
            }
            Some(("seccomp", profile)) if profile != "unconfined" && profile != "builtin" => {
                security.options.push(format!("seccomp={}", seccomp(profile)?));
            }
            _ => security.options.push((*text).to_owned()),
        }
    }
    Ok(security)
}

fn seccomp(path: &str) -> Result<String, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::text(format!(
            "opening seccomp profile ({path}) failed: {}",
            Failure::open(path, &error).words()
        ))
    })?;
    let profile: Value = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::text(format!("compacting json for seccomp profile ({path}) failed: {error}"))
    })?;
    Ok(profile.to_string())
}
