//! As whom a program runs: `user[:group]` and further groups, looked up in the container's own files.
//!
//! Numbers are never looked up as names; files are read up to a limit, so that a hostile image cannot exhaust anything.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use oci::runtime::User;

use crate::{Error, Result};

/// The most that is read of a passwd or group file, in bytes.
const MAX_FILE: u64 = 10 << 20;
/// The longest line that is looked at.
const MAX_LINE: u64 = 1 << 20;
/// The highest number: the kernel's ids are signed in places.
const MAX_ID: u32 = i32::MAX as u32;

/// What was found: numbers, and the home directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) user: User,
    pub(crate) home: String,
}

/// A line of passwd(5): name, uid, gid, home.
struct Passwd {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// A line of group(5): name, gid, members.
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// A user's or group's number; `None` for what is no number, an error for one that is out of range.
pub(crate) fn number(text: &str) -> Option<Result<u32>> {
    if !is_digits(text) {
        return None;
    }
    Some(
        text.parse::<u32>()
            .ok()
            .filter(|id| *id <= MAX_ID)
            .ok_or_else(|| Error::invalid(format!("uids and gids must be in range 0-{MAX_ID}: {text}"))),
    )
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether somebody can be called so: nobody is called `-1`, whatever the image's files say.
fn may_be_name(text: &str) -> bool {
    !text.strip_prefix(['-', '+']).is_some_and(is_digits)
}

/// Calls `take` for each line until it answers `false`. Lines that are too long or are not text are passed over.
fn lines(file: Option<File>, mut take: impl FnMut(&[&str]) -> bool) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let mut reader = BufReader::new(file.take(MAX_FILE));
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| Error::system(format!("read the container's user database: {error}")))? == 0 {
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(&line) else { continue };
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if !take(&text.split(':').collect::<Vec<_>>()) {
            return Ok(());
        }
    }
}

fn find_user(file: Option<File>, wanted: impl Fn(&Passwd) -> bool) -> Result<Option<Passwd>> {
    let mut found = None;
    lines(file, |fields| {
        let [name, _, uid, gid, _, home, ..] = fields else { return true };
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { return true };
        let entry = Passwd { name: (*name).to_owned(), uid, gid, home: (*home).to_owned() };
        if wanted(&entry) {
            found = Some(entry);
        }
        found.is_none()
    })?;
    Ok(found)
}

fn groups(file: Option<File>, mut take: impl FnMut(Group)) -> Result<()> {
    lines(file, |fields| {
        if let [name, _, gid, rest @ ..] = fields
            && let Ok(gid) = gid.parse()
        {
            let members =
                rest.first().into_iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
            take(Group { name: (*name).to_owned(), gid, members });
        }
        true
    })
}

/// Resolves `user[:group]` and further groups with the files that `open` finds in the container.
pub(crate) fn resolve(
    text: &str,
    further: &[String],
    open: impl Fn(&Path) -> Result<Option<File>>,
) -> Result<Resolved> {
    let (passwd, group) = (Path::new("/etc/passwd"), Path::new("/etc/group"));
    let (user, group_name) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let entry =
        match number(user) {
            Some(uid) => {
                let uid = uid?;
                let known = find_user(open(passwd)?, |entry| entry.uid == uid)?;
                known.unwrap_or(Passwd { name: String::new(), uid, gid: 0, home: "/".to_owned() })
            }
            None => find_user(open(passwd)?, |entry| entry.name == user && may_be_name(user))?.ok_or_else(
                || Error::invalid(format!("unable to find user {user}: no matching entries in passwd file")),
            )?,
        };
    let mut gid = entry.gid;
    let mut additional = Vec::new();
    match group_name.filter(|name| !name.is_empty()) {
        Some(name) => gid = find_group(name, open(group)?)?,
        // Memberships count only when no group is named.
        None if !entry.name.is_empty() => groups(open(group)?, |line| {
            if line.members.contains(&entry.name) {
                additional.push(line.gid);
            }
        })?,
        None => {}
    }
    for name in further {
        additional.push(find_group(name, open(group)?)?);
    }
    // The primary group is in the list too, as login(1) does it: leaving it out would let a program drop a denial.
    let mut all = vec![gid];
    for gid in additional {
        if !all.contains(&gid) {
            all.push(gid);
        }
    }
    let home = if entry.home.is_empty() { "/".to_owned() } else { entry.home };
    Ok(Resolved { user: User { uid: entry.uid, gid, additional_gids: all, ..User::default() }, home })
}

fn find_group(name: &str, file: Option<File>) -> Result<u32> {
    if let Some(gid) = number(name) {
        return gid;
    }
    let mut found = None;
    groups(file, |line| {
        if found.is_none() && line.name == name && may_be_name(name) {
            found = Some(line.gid);
        }
    })?;
    found.ok_or_else(|| {
        Error::invalid(format!("unable to find group {name}: no matching entries in group file"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# no\nbob:x:1000:1001:Bob:/home/bob:/bin/sh\n123:x:7:7::/x:/bin/sh\nbad:x:y:z::/:\n";
    const GROUP: &str = "root:x:0:\nbob:x:1001:\naudio:x:29:bob,eve\nvideo:x:44:bob\n";

    fn check(text: &str, further: &[&str], expected: &str) {
        let dir = std::env::temp_dir().join(format!(
            "berth-user-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(dir.join("etc")).expect("make");
        std::fs::write(dir.join("etc/passwd"), PASSWD).expect("write");
        std::fs::write(dir.join("etc/group"), GROUP).expect("write");
        let further: Vec<String> = further.iter().map(|name| (*name).to_owned()).collect();
        let open = |path: &Path| Ok(File::open(dir.join(path.strip_prefix("/").expect("absolute"))).ok());
        let printed = match resolve(text, &further, open) {
            Ok(Resolved { user, home }) => {
                format!("{}:{} {:?} {home}", user.uid, user.gid, user.additional_gids)
            }
            Err(error) => error.to_string(),
        };
        std::fs::remove_dir_all(&dir).expect("clean up");
        assert_eq!(printed, expected, "{text} {further:?}");
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        check("", &[], "0:0 [0] /root");
        check("bob", &[], "1000:1001 [1001, 29, 44] /home/bob");
        check("1000", &[], "1000:1001 [1001, 29, 44] /home/bob");
        check("bob:audio", &[], "1000:29 [29] /home/bob");
        check("1000:5", &["video", "9"], "1000:5 [5, 44, 9] /home/bob");
        check("4242", &[], "4242:0 [0] /");
    }

    #[test]
    fn a_number_is_never_a_name() {
        check("123", &[], "123:0 [0] /");
        check("4294967296", &[], "uids and gids must be in range 0-2147483647: 4294967296");
        check("2147483648", &[], "uids and gids must be in range 0-2147483647: 2147483648");
        check(
            "0:99999999999999999999",
            &[],
            "uids and gids must be in range 0-2147483647: 99999999999999999999",
        );
    }

    #[test]
    fn what_is_not_there_is_said_in_dockers_words() {
        check("eve", &[], "unable to find user eve: no matching entries in passwd file");
        check("-1", &[], "unable to find user -1: no matching entries in passwd file");
        check("bob:nope", &[], "unable to find group nope: no matching entries in group file");
        check("bob", &["nope"], "unable to find group nope: no matching entries in group file");
    }
}
