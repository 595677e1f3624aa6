//! Which daemon a command is for: what was typed, the environment, the user's settings, in this order.

use std::path::{Path, PathBuf};

use client::TlsFiles;

use super::{DEFAULT, Store};
use crate::failure::Failure;

/// Everything that has a say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// `--context`.
    pub(crate) context_flag: Option<String>,
    /// `-H`, the last one.
    pub(crate) host_flag: Option<String>,
    /// `DOCKER_HOST`.
    pub(crate) host_variable: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub(crate) context_variable: Option<String>,
    /// `currentContext` of the settings.
    pub(crate) current: Option<String>,
}

/// A context's name, and whether the environment overrides the one that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// The name.
    pub(crate) name: String,
    /// The address that the default context leads to; `None`: the socket of this machine.
    pub(crate) host: Option<String>,
}

/// Chooses the context.
pub(crate) fn choose(wishes: &Wishes) -> Result<Chosen, Failure> {
    if wishes.context_flag.is_some() && wishes.host_flag.is_some() {
        return Err(Failure::text("conflicting options: cannot specify both --host and --context"));
    }
    let host = wishes.host_flag.clone().or_else(|| wishes.host_variable.clone());
    if let Some(name) = &wishes.context_flag {
        // The default context is what the environment says.
        return Ok(Chosen { name: name.clone(), host });
    }
    if host.is_some() {
        return Ok(Chosen { name: DEFAULT.to_owned(), host });
    }
    let name = wishes.context_variable.clone().or_else(|| wishes.current.clone());
    Ok(Chosen { name: name.unwrap_or_else(|| DEFAULT.to_owned()), host: None })
}

/// Where to connect, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The address; `None`: the socket of this machine.
    pub(crate) host: Option<String>,
    /// Certificates for TCP.
    pub(crate) tls: Option<TlsFiles>,
}

impl Chosen {
    /// Looks the context up; `tls` is what flags and environment say about certificates, for the default one.
    pub(crate) fn endpoint(&self, store: Option<&Store>, tls: Option<TlsFiles>) -> Result<Endpoint, Failure> {
        if self.name == DEFAULT {
            return Ok(Endpoint { host: self.host.clone(), tls });
        }
        let Some(store) = store else {
            return Err(Failure::text(format!("context {:?}: there is no directory of settings", self.name)));
        };
        let context = store.get(&self.name)?;
        let directory = store.tls_dir(&self.name).join("docker");
        let there = store.tls(&self.name);
        let file = |name: &str| there.iter().any(|file| file == name).then(|| directory.join(name));
        let tls = (!there.is_empty() || context.skips_verification()).then(|| TlsFiles {
            verify: !context.skips_verification(),
            ca: file("ca.pem"),
            identity: file("cert.pem").zip(file("key.pem")),
        });
        let host = Some(context.host().to_owned()).filter(|host| !host.is_empty());
        Ok(Endpoint { host, tls })
    }
}

/// What flags and environment say about certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsWishes {
    /// `--tls`.
    pub(crate) tls: bool,
    /// `--tlsverify`, or `DOCKER_TLS_VERIFY` when it was not typed.
    pub(crate) verify: bool,
    /// `--tlscacert`.
    pub(crate) ca: Option<PathBuf>,
    /// `--tlscert`.
    pub(crate) cert: Option<PathBuf>,
    /// `--tlskey`.
    pub(crate) key: Option<PathBuf>,
}

impl TlsWishes {
    /// The files, when there is to be encryption: usually in `directory`; a usual one that is not there does not count.
    pub(crate) fn files(&self, directory: &Path) -> Option<TlsFiles> {
        if !self.tls && !self.verify {
            return None;
        }
        let usual = |typed: &Option<PathBuf>, name: &str| {
            typed.clone().or_else(|| Some(directory.join(name)).filter(|path| path.exists()))
        };
        // As Docker's client: the usual CA must be there when it verifies.
        let ca = self.ca.clone().or_else(|| Some(directory.join("ca.pem")));
        let identity = usual(&self.cert, "cert.pem").zip(usual(&self.key, "key.pem"));
        Some(TlsFiles { verify: self.verify, ca, identity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_before_the_environment_and_that_before_the_settings() {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let check = |wishes: [&str; 5], expected: &str| {
            let [context_flag, host_flag, host_variable, context_variable, current] = wishes.map(some);
            let wishes = Wishes { context_flag, host_flag, host_variable, context_variable, current };
            let found = match choose(&wishes) {
                Ok(chosen) => format!("{} {}", chosen.name, chosen.host.unwrap_or_default()),
                Err(failure) => failure.to_string(),
            };
            assert_eq!(found.trim(), expected, "{wishes:?}");
        };
        check(["", "", "", "", ""], "default");
        check(["", "", "", "", "cur"], "cur");
        check(["", "", "", "env", "cur"], "env");
        check(["", "", "unix:///h", "env", "cur"], "default unix:///h");
        check(["", "unix:///f", "unix:///h", "env", "cur"], "default unix:///f");
        check(["flag", "", "unix:///h", "env", "cur"], "flag unix:///h");
        check(
            ["flag", "unix:///f", "", "", ""],
            "conflicting options: cannot specify both --host and --context",
        );
    }
}
