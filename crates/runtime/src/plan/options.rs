//! Mount options in the words of mount(8) and of the runtime specification.

use linux::mount::{Propagation, attribute as a};

use super::op::{Attributes, Propagate};

/// What a list of options means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `bind` (false) or `rbind` (true).
    pub bind: Option<bool>,
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// Propagation.
    pub propagation: Vec<Propagate>,
    /// `tmpcopyup`.
    pub copy_up: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub id_map: Option<bool>,
    /// What is left: parameters of the file system.
    pub parameters: Vec<(String, Option<String>)>,
}

/// Attribute options: name, bits, and whether they are set or cleared.
const ATTRIBUTES: &[(&str, u64, bool)] = &[
    ("ro", a::READ_ONLY, true),
    ("rw", a::READ_ONLY, false),
    ("nosuid", a::NO_SUID, true),
    ("suid", a::NO_SUID, false),
    ("nodev", a::NO_DEVICES, true),
    ("dev", a::NO_DEVICES, false),
    ("noexec", a::NO_EXEC, true),
    ("exec", a::NO_EXEC, false),
    ("nodiratime", a::NO_DIR_ACCESS_TIME, true),
    ("diratime", a::NO_DIR_ACCESS_TIME, false),
    ("nosymfollow", a::NO_SYMLINK_FOLLOW, true),
    ("symfollow", a::NO_SYMLINK_FOLLOW, false),
    ("noatime", a::NO_ACCESS_TIME, true),
    ("strictatime", a::STRICT_ACCESS_TIME, true),
    ("relatime", a::RELATIVE_TIME, true),
    ("atime", a::ACCESS_TIME, false),
    ("norelatime", a::ACCESS_TIME, false),
    ("nostrictatime", a::ACCESS_TIME, false),
];

/// Options about the whole file system that have a name of their own there.
const FILE_SYSTEM: &[&str] = &["sync", "dirsync", "lazytime", "mand", "silent"];

/// Options that are the default, or say nothing here.
const NOTHING: &[&str] = &[
    "defaults",
    "async",
    "nolazytime",
    "nomand",
    "loud",
    "remount",
    "iversion",
    "noiversion",
    "nofail",
    "_netdev",
    "auto",
    "noauto",
    "user",
    "nouser",
];

/// All option names that are understood, for `features`.
pub fn known() -> Vec<String> {
    let mut names: Vec<String> = ATTRIBUTES.iter().map(|(name, _, _)| (*name).to_owned()).collect();
    names.extend(ATTRIBUTES.iter().map(|(name, _, _)| format!("r{name}")));
    names.extend(FILE_SYSTEM.iter().chain(NOTHING).map(|name| (*name).to_owned()));
    names.extend(["bind", "rbind", "tmpcopyup", "idmap", "ridmap"].map(str::to_owned));
    for kind in ["private", "shared", "slave", "unbindable"] {
        names.extend([kind.to_owned(), format!("r{kind}")]);
    }
    names.sort();
    names.dedup();
    names
}

impl Options {
    /// Reads options in order; a later one overrides an earlier one.
    #[must_use]
    pub fn parse(options: &[String]) -> Self {
        let mut parsed = Self::default();
        for option in options {
            parsed.take(option);
        }
        parsed
    }

    fn take(&mut self, option: &str) {
        match option {
            "bind" => self.bind = Some(false),
            "rbind" => self.bind = Some(true),
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.id_map = Some(false),
            "ridmap" => self.id_map = Some(true),
            _ if NOTHING.contains(&option) || option.is_empty() => {}
            _ if FILE_SYSTEM.contains(&option) => self.parameters.push((option.to_owned(), None)),
            _ => self.take_attribute(option),
        }
    }

    fn take_attribute(&mut self, option: &str) {
        if let Some(propagate) = propagation(option) {
            self.propagation.push(propagate);
        } else if let Some((bits, on)) = attribute(option) {
            change(&mut self.attributes.set, &mut self.attributes.clear, bits, on);
        } else if let Some((bits, on)) = option.strip_prefix('r').and_then(attribute) {
            change(&mut self.attributes.set_below, &mut self.attributes.clear_below, bits, on);
        } else {
            let (key, value) = match option.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (option, None),
            };
            self.parameters.push((key.to_owned(), value));
        }
    }
}

fn attribute(option: &str) -> Option<(u64, bool)> {
    ATTRIBUTES.iter().find(|(name, _, _)| *name == option).map(|(_, bits, on)| (*bits, *on))
}

/// The access-time settings are one number, not bits: whichever is wanted, the old number is cleared.
fn change(set: &mut u64, clear: &mut u64, bits: u64, on: bool) {
    let time = bits & !a::ACCESS_TIME == 0;
    let mask = if time { a::ACCESS_TIME } else { bits };
    *set = *set & !mask | if on { bits } else { 0 };
    *clear = *clear & !mask | if time || !on { mask } else { 0 };
}

/// A propagation by its word, `shared` or `rshared` and so on.
#[must_use]
pub(super) fn propagation(word: &str) -> Option<Propagate> {
    let kind = |word| {
        Some(match word {
            "shared" => Propagation::Shared,
            "slave" => Propagation::Slave,
            "private" => Propagation::Private,
            "unbindable" => Propagation::Unbindable,
            _ => return None,
        })
    };
    match kind(word) {
        Some(kind) => Some(Propagate { kind, recursive: false }),
        None => Some(Propagate { kind: kind(word.strip_prefix('r')?)?, recursive: true }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_mean_what_mount_8_says() {
        let cases = [
            ("ro,nosuid,nodev", " +ro +nosuid +nodev", ""),
            ("ro,rw", " -ro", ""),
            ("rro,rnoexec,rw", " -ro +rro +rnoexec", ""),
            ("noatime,strictatime", " +strictatime -noatime -strictatime", ""),
            ("relatime", " -noatime -strictatime", ""),
            ("mode=755,size=64k,ro,usrquota", " +ro", "mode=755 size=64k usrquota"),
            ("sync,defaults", "", "sync"),
        ];
        for (text, attributes, parameters) in cases {
            let options: Vec<String> = text.split(',').map(str::to_owned).collect();
            let parsed = Options::parse(&options);
            let left: Vec<String> = parsed
                .parameters
                .iter()
                .map(|(key, value)| value.as_ref().map_or(key.clone(), |value| format!("{key}={value}")))
                .collect();
            assert_eq!(
                (parsed.attributes.to_string().as_str(), left.join(" ").as_str()),
                (attributes, parameters),
                "{text}"
            );
        }
    }

    #[test]
    fn propagation_words() {
        assert_eq!(propagation("rslave"), Some(Propagate { kind: Propagation::Slave, recursive: true }));
        assert_eq!(propagation("ro"), None);
    }
}
