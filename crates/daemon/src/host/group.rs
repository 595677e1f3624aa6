//! The group that may use the unix socket. Read from the file: a static program cannot ask the name service.

use std::io;

use crate::config::resolve::Group;

const FILE: &str = "/etc/group";

/// The number of the socket's group; `None` for root's. A group that was asked for must exist.
pub fn resolve(group: &Group) -> Result<Option<u32>, String> {
    let text = match std::fs::read(FILE) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("cannot read {FILE}: {error}")),
    };
    match group {
        Group::Named(name) if name.is_empty() => Ok(None),
        Group::Named(name) => match find(&text, name).or_else(|| name.parse().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("group {name:?} is not in {FILE}: add it, or choose another with --group")),
        },
        Group::Default(name) => {
            let number = find(&text, name);
            if number.is_none() {
                tracing::warn!(group = name, "there is no such group: only root can use the socket");
            }
            Ok(number)
        }
    }
}

/// The number of a group, from lines of `name:password:number:members`.
fn find(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        fields.nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name() {
        let text = "root:x:0:\ndocker:x:998:me,you\nbad\nodd:x:no:\n";
        assert_eq!(find(text, "docker"), Some(998));
        assert_eq!(find(text, "root"), Some(0));
        assert_eq!(find(text, "odd"), None);
        assert_eq!(find(text, "me"), None);
    }

    #[test]
    fn a_group_that_was_asked_for_must_exist() {
        assert_eq!(resolve(&Group::Named("12345".into())), Ok(Some(12345)));
        assert!(resolve(&Group::Named("berth-no-such-group".into())).is_err());
        assert_eq!(resolve(&Group::Default("berth-no-such-group".into())), Ok(None));
    }
}
