//! Where plugins are: sockets in one directory, addresses in files of two others.

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, Result, id};

const SOCKETS: &str = "/run/docker/plugins";
const SPECS: [&str; 2] = ["/etc/docker/plugins", "/usr/lib/docker/plugins"];
/// Bytes of a file with an address.
const MAX_SPEC: u64 = 64 << 10;
/// Plugins that are looked at for a list.
const MAX_PLUGINS: usize = 64;

/// A file `<name>.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Spec {
    addr: String,
}

/// The socket of a plugin.
pub(super) fn find(name: &str) -> Result<PathBuf> {
    let missing = || Error::not_found(format!("plugin \"{}\" not found", name.escape_debug()));
    if !id::is_valid_name(name) {
        return Err(missing());
    }
    let is_socket = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if let Some(socket) = places(Path::new(SOCKETS), name, "sock").into_iter().find(is_socket) {
        return Ok(socket);
    }
    for directory in SPECS {
        for extension in ["spec", "json"] {
            for path in places(Path::new(directory), name, extension) {
                if let Some(text) = read(&path)? {
                    return address(name, &text, extension == "json");
                }
            }
        }
    }
    Err(missing())
}

/// `<directory>/<name>.<extension>`, and the same in a directory of the plugin's own.
fn places(directory: &Path, name: &str, extension: &str) -> [PathBuf; 2] {
    let file = format!("{name}.{extension}");
    [directory.join(&file), directory.join(name).join(&file)]
}

fn read(path: &Path) -> Result<Option<String>> {
    let failed = |error: std::io::Error| Error::system(format!("read {}: {error}", path.display()));
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut text = String::new();
    file.take(MAX_SPEC).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// `unix:///run/x.sock`; others are refused.
pub(super) fn address(name: &str, text: &str, is_json: bool) -> Result<PathBuf> {
    let invalid = |words: String| Error::invalid(format!("plugin \"{name}\": {words}"));
    let address = if is_json {
        let spec: Spec = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        spec.addr
    } else {
        text.trim().to_owned()
    };
    match address.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') && !path.contains('\0') => Ok(PathBuf::from(path)),
        _ => Err(invalid(format!("address {address:?} is not supported: it must be unix:///path"))),
    }
}

/// All plugins that there are.
pub(super) fn names() -> Vec<String> {
    let mut names = Vec::new();
    for directory in [SOCKETS].into_iter().chain(SPECS) {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries.flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let name = match Path::new(&file).extension().and_then(|extension| extension.to_str()) {
                Some("sock" | "spec" | "json") => {
                    file.rsplit_once('.').map_or("", |(name, _)| name).to_owned()
                }
                _ => file,
            };
            if find(&name).is_ok() && names.len() < MAX_PLUGINS {
                names.push(name);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unix_sockets() {
        let show = |text: &str, is_json| match address("p", text, is_json) {
            Ok(path) => path.display().to_string(),
            Err(error) => error.message,
        };
        assert_eq!(show("unix:///run/p.sock\n", false), "/run/p.sock");
        assert_eq!(show(r#"{"Name":"p","Addr":"unix:///run/p.sock"}"#, true), "/run/p.sock");
        let refused = "plugin \"p\": address \"tcp://1.2.3.4:80\" is not supported: it must be unix:///path";
        assert_eq!(show("tcp://1.2.3.4:80", false), refused);
        assert!(find("../p").is_err_and(|error| error.message == "plugin \"../p\" not found"));
    }
}
