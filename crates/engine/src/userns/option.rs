//! `--userns-remap`: `default`, `user`, `user:group`, `uid` or `uid:gid`, as Docker reads it. Names are those of /etc/passwd
//! and /etc/group; nothing of the host is asked otherwise, or changed.

use super::subordinate::{MAX_FILE, ranges};
use super::{Range, Remap};
use crate::{Error, Result};

/// Whose subordinate ids `default` means, as with Docker.
const DEFAULT: &str = "dockremap";

/// Somebody of /etc/passwd, or a group of /etc/group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    id: u32,
}

/// Reads the option; `read` gives a file of the host, `None` when there is none.
///
/// # Errors
/// Users that do not exist or have no subordinate ids, and files that cannot be read: the message says what to do.
pub fn resolve(word: &str, read: &dyn Fn(&str) -> std::io::Result<Option<Vec<u8>>>) -> Result<Remap> {
    let parts: Vec<&str> = word.split(':').collect();
    let (user, group) = match parts[..] {
        [user] if !user.is_empty() => (user, None),
        [user, group] if !user.is_empty() && !group.is_empty() => (user, Some(group)),
        _ => {
            return Err(Error::invalid(format!(
                "invalid user/group specification in --userns-remap: {word:?}"
            )));
        }
    };
    let named = |name: &str| if name == "default" { DEFAULT.to_owned() } else { name.to_owned() };
    let user_name = named(user);
    let user_entry = find(&file("/etc/passwd", read)?, &user_name)
        .ok_or_else(|| missing("user", user, &user_name, "/etc/passwd"))?;
    // Without a group, the one of the user's name; of a number, the one of that number.
    let group_name = group.map_or(user_name, named);
    find(&file("/etc/group", read)?, &group_name)
        .ok_or_else(|| missing("group", user, &group_name, "/etc/group"))?;
    if user_entry.id == 0 {
        return Err(Error::invalid("--userns-remap: root cannot be remapped with itself"));
    }
    // Both files name users: the group only has to exist, as with Docker.
    Ok(Remap {
        users: subordinate("/etc/subuid", &user_entry, read)?,
        groups: subordinate("/etc/subgid", &user_entry, read)?,
    })
}

fn missing(what: &str, asked: &str, name: &str, path: &str) -> Error {
    let hint = if asked == "default" {
        ": with berth nobody is made for \"default\". Make the user once: `useradd --system --user-group dockremap`, \
         then add `dockremap:100000:65536`, or other ids that nobody has, to /etc/subuid and to /etc/subgid"
    } else {
        ""
    };
    Error::invalid(format!("--userns-remap: there is no {what} {name:?} in {path}{hint}"))
}

fn subordinate(
    path: &str,
    user: &Entry,
    read: &dyn Fn(&str) -> std::io::Result<Option<Vec<u8>>>,
) -> Result<Vec<Range>> {
    let found = ranges(&file(path, read)?, path, &user.name, user.id)?;
    if found.is_empty() {
        let name = &user.name;
        return Err(Error::invalid(format!(
            "--userns-remap: {name} has no ids in {path}: add a line such as {name}:100000:65536, with ids that nobody has"
        )));
    }
    Ok(found)
}

/// The text of a file; one that is not there is empty.
fn file(path: &str, read: &dyn Fn(&str) -> std::io::Result<Option<Vec<u8>>>) -> Result<String> {
    let bytes = read(path).map_err(|error| Error::system(format!("read {path}: {error}")))?;
    let bytes = bytes.unwrap_or_default();
    if bytes.len() > MAX_FILE {
        return Err(Error::invalid(format!("{path} is longer than {MAX_FILE} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid(format!("{path} is no text")))
}

/// Somebody by name, or by number where the word is one: numbers are never names (passwd(5), group(5)).
fn find(text: &str, word: &str) -> Option<Entry> {
    let number: Option<u32> = word.parse().ok();
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        let is_meant = number.map_or(name == word, |number| number == id);
        is_meant.then(|| Entry { name: name.to_owned(), id })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/:\n7:x:1001:1001::/:\n";
    const GROUP: &str = "root:x:0:\nme:x:1000:\nteam:x:50:me\n7:x:1001:\n";

    fn show(word: &str, passwd: &str) -> String {
        let read = |path: &str| {
            Ok(match path {
                "/etc/passwd" => Some(passwd.as_bytes().to_vec()),
                "/etc/group" => Some(GROUP.as_bytes().to_vec()),
                "/etc/subuid" => Some(b"me:100000:65536\n".to_vec()),
                "/etc/subgid" => Some(b"1000:200000:65536\n".to_vec()),
                _ => None,
            })
        };
        match resolve(word, &read) {
            Ok(remap) => format!("{:?}", remap.root()),
            Err(error) => error.message,
        }
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        for word in ["me", "1000", "me:team", "1000:50", "me:1000"] {
            assert_eq!(show(word, PASSWD), "Some((100000, 200000))", "{word}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_do() {
        let cases = [
            ("", "invalid user/group specification in --userns-remap: \"\""),
            ("a:b:c", "invalid user/group specification in --userns-remap: \"a:b:c\""),
            ("me:", "invalid user/group specification in --userns-remap: \"me:\""),
            ("nobody", "--userns-remap: there is no user \"nobody\" in /etc/passwd"),
            ("me:none", "--userns-remap: there is no group \"none\" in /etc/group"),
            ("7", "--userns-remap: there is no user \"7\" in /etc/passwd"),
            ("root", "--userns-remap: root cannot be remapped with itself"),
            (
                "1001",
                "--userns-remap: 7 has no ids in /etc/subuid: add a line such as 7:100000:65536, with ids that nobody has",
            ),
        ];
        for (word, expected) in cases {
            assert_eq!(show(word, PASSWD), expected, "{word}");
        }
        let default = show("default", PASSWD);
        assert!(default.contains("useradd --system --user-group dockremap"), "{default}");
    }
}
