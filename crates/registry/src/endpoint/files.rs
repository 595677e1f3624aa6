//! The certificates that an endpoint's TLS needs, read from where the plan says.

use std::io;
use std::path::{Path, PathBuf};

use super::TlsFiles;
use super::facts::directory_names;
use crate::transport::{Identity, Material};
use crate::{Error, Result};

/// More files than a registry's directory sensibly has.
const MOST_FILES: usize = 64;
/// The longest certificate file that is read, in bytes.
const LARGEST_FILE: u64 = 4 << 20;

/// The directory with a host's certificates, when there is one with at least one of Docker's files in it.
pub(super) fn directory(directories: &[PathBuf], host: &str) -> Result<Option<PathBuf>> {
    for directory in directories {
        for name in directory_names(host) {
            let candidate = directory.join(name);
            let found = list(&candidate)?;
            if found.iter().any(|file| ["crt", "cert", "key"].iter().any(|end| has_end(file, end))) {
                return Ok(Some(candidate));
            }
        }
    }
    Ok(None)
}

/// Reads what `files` names.
///
/// # Errors
/// `Settings` when a file cannot be read, or a certificate has no key.
pub(crate) fn material(directories: &[PathBuf], files: &TlsFiles) -> Result<Material> {
    let mut authorities = files.authorities.clone();
    let mut identities = files.identities.clone();
    if let Some(host) = &files.directory_of
        && let Some(directory) = directory(directories, host)?
    {
        let found = list(&directory)?;
        authorities.extend(found.iter().filter(|file| has_end(file, "crt")).cloned());
        identities.extend(pairs(&directory, &found)?);
    }
    let mut material = Material { trusts_anyone: files.trusts_anyone, ..Material::default() };
    for file in authorities {
        let bytes = read(&file)?;
        material.authorities.push((file, bytes));
    }
    if let Some((certificate, key)) = identities.into_iter().next() {
        let key = key.unwrap_or_else(|| certificate.clone());
        material.identity = Some(Identity {
            certificate: (certificate.clone(), read(&certificate)?),
            key: (key.clone(), read(&key)?),
        });
    }
    Ok(material)
}

/// `x.cert` belongs to `x.key`, and neither may be alone; the words are Docker's.
fn pairs(directory: &Path, found: &[PathBuf]) -> Result<Vec<(PathBuf, Option<PathBuf>)>> {
    let mut pairs = Vec::new();
    let refuse = |file: &Path, other: &Path, what: &str, missing: &str| Error::Settings {
        place: directory.display().to_string(),
        reason: format!("missing {missing} {} for {what} {}", name(other), name(file)),
    };
    for certificate in found.iter().filter(|file| has_end(file, "cert")) {
        let key = certificate.with_extension("key");
        if !found.contains(&key) {
            let hint = ". CA certificates must use the extension .crt";
            return Err(match refuse(certificate, &key, "client certificate", "key") {
                Error::Settings { place, reason } => Error::Settings { place, reason: reason + hint },
                other => other,
            });
        }
        pairs.push((certificate.clone(), Some(key)));
    }
    for key in found.iter().filter(|file| has_end(file, "key")) {
        let certificate = key.with_extension("cert");
        if !found.contains(&certificate) {
            return Err(refuse(key, &certificate, "key", "client certificate"));
        }
    }
    Ok(pairs)
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn has_end(file: &Path, end: &str) -> bool {
    file.extension().is_some_and(|extension| extension == end)
}

/// The files of a directory by name; none when it is not there.
fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let fail = |reason: String| Error::Settings { place: directory.display().to_string(), reason };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(fail(error.to_string())),
    };
    let mut found = Vec::new();
    for entry in entries {
        found.push(entry.map_err(|error| fail(error.to_string()))?.path());
        if found.len() > MOST_FILES {
            return Err(fail(format!("more than {MOST_FILES} files")));
        }
    }
    found.sort();
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let fail =
        |error: io::Error| Error::Settings { place: file.display().to_string(), reason: error.to_string() };
    let mut bytes = Vec::new();
    std::fs::File::open(file).map_err(fail)?.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}
