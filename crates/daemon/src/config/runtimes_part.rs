//! Runtimes beside the built-in one: `--add-runtime name=path`, or objects in the file.

use std::collections::BTreeMap;

use engine::{OWN_RUNTIMES, OciRuntime};
use serde::Deserialize;

use super::ConfigError;
use super::settings::Settings;
use super::words::pairs;

/// The only shim of containerd whose containers are what an OCI runtime makes.
const RUNC_SHIM: &str = "io.containerd.runc.v2";

/// A runtime as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    path: String,
    #[serde(default, rename = "runtimeArgs")]
    arguments: Vec<String>,
    #[serde(default, rename = "runtimeType")]
    kind: String,
    #[serde(default)]
    options: Option<Options>,
}

/// What containerd's shim takes, as far as it is about the program.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    #[serde(rename = "BinaryName")]
    program: String,
    #[serde(rename = "TypeUrl")]
    _type_url: String,
}

pub(super) fn runtimes(settings: &Settings) -> Result<BTreeMap<String, OciRuntime>, ConfigError> {
    let mut runtimes = BTreeMap::new();
    for (name, word) in pairs(settings, "add-runtime")? {
        if name.is_empty() {
            return Err(ConfigError::Invalid(format!("invalid runtime argument: {name}={word}")));
        }
        if OWN_RUNTIMES.contains(&name.as_str()) {
            return Err(ConfigError::Invalid(format!("runtime name '{name}' is reserved")));
        }
        let runtime = match word.trim_start().starts_with('{') {
            true => written(&name, &word)?,
            false => OciRuntime { program: word, arguments: Vec::new() },
        };
        if runtime.program.is_empty() {
            let words = format!("runtime {name}: either a runtimeType or a path must be configured");
            return Err(ConfigError::Invalid(words));
        }
        if runtimes.insert(name.clone(), runtime).is_some() {
            return Err(ConfigError::Invalid(format!("runtime '{name}' is already registered")));
        }
    }
    Ok(runtimes)
}

fn written(name: &str, text: &str) -> Result<OciRuntime, ConfigError> {
    let invalid = |words: String| ConfigError::Invalid(format!("runtime {name}: {words}"));
    let written: Written = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    match (written.path.is_empty(), written.kind.as_str()) {
        (false, "") if written.options.is_some() => {
            Err(invalid("options cannot be configured for a runtime with a path".to_owned()))
        }
        (_, "") => Ok(OciRuntime { program: written.path, arguments: written.arguments }),
        (false, _) => {
            Err(invalid("cannot configure both path and runtimeType for the same runtime".to_owned()))
        }
        (true, RUNC_SHIM) => {
            let program = written.options.unwrap_or_default().program;
            match program.is_empty() {
                true => Err(invalid(format!("options of {RUNC_SHIM} must name a BinaryName"))),
                false => Ok(OciRuntime { program, arguments: written.arguments }),
            }
        }
        (true, kind) => Err(invalid(format!(
            "runtimeType {kind} is a shim of containerd, which is not behind this daemon: give the path of an OCI runtime"
        ))),
    }
}

/// A default that nobody has registered is refused.
pub(super) fn default_runtime(
    settings: &Settings,
    runtimes: &BTreeMap<String, OciRuntime>,
) -> Result<String, ConfigError> {
    let name = settings.last("default-runtime").filter(|name| !name.is_empty()).unwrap_or(OWN_RUNTIMES[0]);
    if OWN_RUNTIMES.contains(&name) || runtimes.contains_key(name) {
        return Ok(name.to_owned());
    }
    Err(ConfigError::Invalid(format!("specified default runtime '{name}' does not exist")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], default: Option<&str>, expected: &str) {
        let mut settings = Settings::default();
        words.iter().for_each(|word| settings.add("add-runtime", (*word).to_owned()));
        default.into_iter().for_each(|word| settings.add("default-runtime", word.to_owned()));
        let found = runtimes(&settings).and_then(|runtimes| {
            let default = default_runtime(&settings, &runtimes)?;
            let shown: Vec<String> = runtimes
                .iter()
                .map(|(name, runtime)| format!("{name}: {} {:?}", runtime.program, runtime.arguments))
                .collect();
            Ok(format!("{default}; {}", shown.join(", ")))
        });
        assert_eq!(found.unwrap_or_else(|error| error.to_string()), expected, "{words:?}");
    }

    #[test]
    fn runtimes_have_a_path_or_a_known_type() {
        check(&[], None, "runc; ");
        check(&["crun=/usr/bin/crun"], Some("crun"), "crun; crun: /usr/bin/crun []");
        check(&[r#"a={"path":"a","runtimeArgs":["--debug"]}"#], None, "runc; a: a [\"--debug\"]");
        check(
            &[r#"b={"runtimeType":"io.containerd.runc.v2","options":{"BinaryName":"/b"}}"#],
            None,
            "runc; b: /b []",
        );
        check(&["runc=/x"], None, "runtime name 'runc' is reserved");
        check(&["a=/x", "a=/y"], None, "runtime 'a' is already registered");
        check(&[r"a={}"], None, "runtime a: either a runtimeType or a path must be configured");
        check(
            &[r#"a={"path":"x","runtimeType":"y"}"#],
            None,
            "runtime a: cannot configure both path and runtimeType for the same runtime",
        );
        check(
            &[r#"a={"runtimeType":"io.containerd.kata.v2"}"#],
            None,
            "runtime a: runtimeType io.containerd.kata.v2 is a shim of containerd, which is not behind this daemon: give the path of an OCI runtime",
        );
        check(&[], Some("nope"), "specified default runtime 'nope' does not exist");
    }
}
