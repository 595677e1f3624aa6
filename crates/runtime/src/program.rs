//! Finding the program in the container, and saying why it cannot be run in the words that Docker's users know.

use std::ffi::CString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use linux::root::Root;

use crate::{Error, Kind, Result};

/// The longest /etc/passwd that is looked at, in bytes.
const PASSWD_LIMIT: u64 = 1 << 20;

/// The path of the program `name`, searched in the PATH of `environment` when it has no slash.
pub(crate) fn find(name: &str, environment: &[String]) -> Result<CString> {
    let path = if name.contains('/') {
        check(Path::new(name)).map_err(|(kind, why)| Error::new(kind, format!("exec: {name:?}: {why}")))?;
        PathBuf::from(name)
    } else {
        let search =
            environment.iter().rev().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or("");
        search
            .split(':')
            .filter(|directory| !search.is_empty() && !directory.is_empty())
            .map(|directory| Path::new(directory).join(name))
            .find(|path| check(path).is_ok())
            .ok_or_else(|| {
                Error::new(Kind::NotFound, format!("exec: {name:?}: executable file not found in $PATH"))
            })?
    };
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::invalid(format!("exec: {name:?}: contains a zero byte")))
}

fn check(path: &Path) -> Result<(), (Kind, String)> {
    let metadata = std::fs::metadata(path).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Kind::Permission,
            _ => Kind::NotFound,
        };
        (kind, format!("stat {}: {}", path.display(), words(error.raw_os_error().unwrap_or_default())))
    })?;
    if metadata.is_dir() {
        return Err((Kind::IsDirectory, "is a directory".to_owned()));
    }
    linux::process::may_execute(path).map_err(|error| (Kind::Permission, words(error.errno())))
}

/// Why execve(2) of a program that was found did not work.
pub(crate) fn refused(path: &str, error: &linux::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        std::io::ErrorKind::PermissionDenied => Kind::Permission,
        std::io::ErrorKind::IsADirectory => Kind::IsDirectory,
        _ => Kind::System,
    };
    Error::new(kind, format!("exec {path}: {}", words(error.errno()))).at_execve()
}

/// The kernel's words as Go prints them: in lower case.
pub(crate) fn words(errno: i32) -> String {
    let words = linux::Error::new("", errno).words();
    let mut letters = words.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// The program's environment: of several values of a variable the last one, and a home directory.
pub(crate) fn environment(given: &[String], root: &Root, uid: u32) -> Vec<String> {
    let name = |variable: &String| variable.split('=').next().unwrap_or_default().to_owned();
    let mut variables: Vec<String> = Vec::with_capacity(given.len() + 1);
    let mut names = std::collections::HashSet::new();
    for variable in given.iter().rev() {
        if names.insert(name(variable)) && variable != "HOME=" {
            variables.push(variable.clone());
        }
    }
    variables.reverse();
    if !variables.iter().any(|variable| variable.starts_with("HOME=")) {
        variables.push(format!("HOME={}", home(root, uid)));
    }
    variables
}

/// The home directory of a user by number, from the container's own /etc/passwd; `/` when it says nothing.
pub(crate) fn home(root: &Root, uid: u32) -> String {
    let passwd = root.read_file(Path::new("/etc/passwd"));
    let mut text = Vec::new();
    if let Ok(file) = passwd
        && std::fs::File::from(file).take(PASSWD_LIMIT).read_to_end(&mut text).is_err()
    {
        text.clear();
    }
    home_in(&String::from_utf8_lossy(&text), uid)
}

fn home_in(passwd: &str, uid: u32) -> String {
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).and_then(|field| field.parse().ok()) == Some(uid))
        .and_then(|fields| fields.get(5).copied())
        .filter(|home| home.starts_with('/') && !home.contains('\0'))
        .unwrap_or("/")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, path: &str, kind: Kind, words: &str) {
        let error = find(name, &[format!("PATH={path}")]).unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, words));
    }

    #[test]
    fn failures_have_the_words_of_docker() {
        check("nope", "/bin:/usr/bin", Kind::NotFound, "exec: \"nope\": executable file not found in $PATH");
        check("sh", "", Kind::NotFound, "exec: \"sh\": executable file not found in $PATH");
        check("/nope", "", Kind::NotFound, "exec: \"/nope\": stat /nope: no such file or directory");
        check("/etc", "", Kind::IsDirectory, "exec: \"/etc\": is a directory");
        check("/etc/passwd", "", Kind::Permission, "exec: \"/etc/passwd\": permission denied");
        assert_eq!(find("sh", &["PATH=/nope::/bin".to_owned()]).unwrap().to_str(), Ok("/bin/sh"));
    }

    #[test]
    fn homes_are_found_by_number_only() {
        let passwd = "root:x:0:0::/root:/bin/sh\n7:x:1000:7::/home/seven:\nbad:x:12:1::relative:\n";
        assert_eq!(home_in(passwd, 0), "/root");
        assert_eq!(home_in(passwd, 7), "/");
        assert_eq!(home_in(passwd, 1000), "/home/seven");
        assert_eq!(home_in(passwd, 12), "/");
    }
}
