//! The path of a group inside the hierarchy, parsed once from a hostile string.

use std::fmt;

use crate::{Error, Hierarchy, Result};

/// The longest path taken, in bytes.
const MAX_LENGTH: usize = 2048;

/// The path of a group: absolute from the top of the hierarchy, or relative to the group of the calling process
/// (runtime-spec, config-linux, "Cgroups Path").
///
/// It holds no `.`, no `..`, no empty component, no control character and no name that the kernel reserves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPath {
    relative: bool,
    components: Vec<String>,
}

impl CgroupPath {
    /// Parses a path such as `/docker/4f2a…` (absolute) or `pods/4f2a…` (relative).
    pub fn parse(path: &str) -> Result<Self> {
        let bad = |reason| Error::Path { path: path.chars().take(256).collect(), reason };
        if path.len() > MAX_LENGTH {
            return Err(bad("is too long"));
        }
        let components: Vec<String> =
            path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        for name in &components {
            if let Some(reason) = unfit(name) {
                return Err(bad(reason));
            }
        }
        if components.is_empty() {
            return Err(bad("names no group"));
        }
        Ok(Self { relative: !path.starts_with('/'), components })
    }

    /// The group of a container: `cgroups_path` of its configuration, or a group named after the container below
    /// the caller's own.
    pub fn for_container(cgroups_path: Option<&str>, container_id: &str) -> Result<Self> {
        match cgroups_path {
            Some(path) if !path.is_empty() => Self::parse(path),
            _ if container_id.contains('/') => {
                Err(Error::Path { path: container_id.to_owned(), reason: "is not a container's name" })
            }
            _ => Self::parse(container_id),
        }
    }

    /// The group `name` directly below this one.
    pub fn child(&self, name: &str) -> Result<Self> {
        if let Some(reason) = unfit(name) {
            return Err(Error::Path { path: name.to_owned(), reason });
        }
        let mut child = self.clone();
        child.components.push(name.to_owned());
        Ok(child)
    }

    /// The group that this one is directly below; none when that is the top, or the caller's own.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, above) = self.components.split_last().filter(|(_, above)| !above.is_empty())?;
        Some(Self { relative: self.relative, components: above.to_vec() })
    }

    /// Whether the caller may make a group here: in every tree, who may not is told so by the first directory that is
    /// there (EACCES, EPERM or EROFS).
    pub fn may_be_made(&self, hierarchy: &Hierarchy) -> Result<()> {
        for tree in hierarchy.trees() {
            let mut directory = tree.mount_point.clone();
            for name in tree.names(self) {
                let next = directory.join(name);
                if !next.is_dir() {
                    break;
                }
                directory = next;
            }
            linux::file::may_write(&directory)?;
        }
        Ok(())
    }

    /// Whether it is to be taken from the caller's own group.
    #[must_use]
    pub fn is_relative(&self) -> bool {
        self.relative
    }

    /// The names from the top down; never empty.
    #[must_use]
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// The last name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.components.last().map_or("", String::as_str)
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let top = if self.relative { "" } else { "/" };
        write!(f, "{top}{}", self.components.join("/"))
    }
}

/// Why a string cannot be the name of a group.
fn unfit(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("has an empty name"),
        "." | ".." => Some("has a name that is a dot or two"),
        _ if name.len() > 255 => Some("has a name longer than 255 bytes"),
        _ if name.contains('/') => Some("has a name with a slash"),
        _ if name.chars().any(char::is_control) => Some("has a control character"),
        _ if name.starts_with("cgroup.") => Some("has a name that belongs to the kernel"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(path: &str, reason: &str) {
        let text = CgroupPath::parse(path).unwrap_err().to_string();
        assert!(text.ends_with(reason), "{text}");
    }

    #[test]
    fn a_path_is_absolute_or_relative_and_printed_clean() {
        assert_eq!(CgroupPath::parse("//docker/abc/").unwrap().to_string(), "/docker/abc");
        assert_eq!(CgroupPath::parse("pods/abc").unwrap().to_string(), "pods/abc");
        assert_eq!(CgroupPath::for_container(None, "c1").unwrap().to_string(), "c1");
        assert_eq!(CgroupPath::for_container(Some("/a/c1"), "c1").unwrap().name(), "c1");
        assert_eq!(CgroupPath::parse("/a").unwrap().child("b").unwrap().to_string(), "/a/b");
    }

    #[test]
    fn a_hostile_path_is_refused() {
        refused("", "names no group");
        refused("/", "names no group");
        refused("/docker/../../x", "has a name that is a dot or two");
        refused("/docker/./x", "has a name that is a dot or two");
        refused("/a\nb", "has a control character");
        refused("/a\0b", "has a control character");
        refused("/a/cgroup.procs", "has a name that belongs to the kernel");
        refused(&"x".repeat(300), "has a name longer than 255 bytes");
        refused(&"x/".repeat(3000), "is too long");
        assert!(CgroupPath::for_container(None, "../c1").is_err());
        assert!(CgroupPath::parse("/a").unwrap().child("b/c").is_err());
    }
}
