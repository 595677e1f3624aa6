//! Podman's `registries.conf`, version 2: mirrors, rewrites and blocks by prefix (containers-registries.conf(5)). Pure.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// More registries or mirrors than anybody configures.
const MOST_ENTRIES: usize = 1024;

/// The registries of one or several files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RegistriesConf {
    registries: Vec<RegistryEntry>,
}

/// One `[[registry]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistryEntry {
    prefix: String,
    pub(crate) location: String,
    pub(crate) insecure: bool,
    pub(crate) blocked: bool,
    pub(crate) mirrors: Vec<MirrorEntry>,
    /// Where it is said.
    pub(crate) file: PathBuf,
}

/// One `[[registry.mirror]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MirrorEntry {
    pub(crate) location: String,
    pub(crate) insecure: bool,
    pub(crate) serves: Serves,
}

/// `pull-from-mirror`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    All,
    DigestsOnly,
    TagsOnly,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    registry: Vec<Registry>,
}

#[derive(Deserialize)]
struct Registry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default, rename = "mirror-by-digest-only")]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Deserialize)]
struct Mirror {
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default, rename = "pull-from-mirror")]
    pull_from_mirror: String,
}

impl RegistriesConf {
    /// Reads the text of a file; what it says about short names and signatures is not ours.
    pub(crate) fn parse(file: &Path, text: &str) -> Result<Self, String> {
        let read: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if read.registry.len() > MOST_ENTRIES {
            return Err(format!("more than {MOST_ENTRIES} registries"));
        }
        let registries = read.registry.into_iter().map(|entry| registry(file, entry));
        Ok(Self { registries: registries.collect::<Result<_, _>>()? })
    }

    /// Adds what a later file says: the same prefix replaces.
    pub(crate) fn add(&mut self, later: Self) {
        for entry in later.registries {
            self.registries.retain(|known| known.prefix != entry.prefix);
            self.registries.push(entry);
        }
    }

    /// The entry with the longest prefix of `name` (`docker.io/library/debian`).
    pub(crate) fn find(&self, name: &str) -> Option<&RegistryEntry> {
        let length = |entry: &&RegistryEntry| (!entry.prefix.starts_with("*."), entry.prefix.len());
        self.registries.iter().filter(|entry| matched(&entry.prefix, name).is_some()).max_by_key(length)
    }
}

impl RegistryEntry {
    /// `name` with the entry's prefix replaced by `location`; as it is when there is no location.
    pub(crate) fn rewrite(&self, location: &str, name: &str) -> String {
        match matched(&self.prefix, name) {
            Some(rest) if !location.is_empty() => format!("{location}{rest}"),
            _ => name.to_owned(),
        }
    }
}

/// What stands behind the prefix in the name, when it is one: at the border of a component, or `*.example` for every
/// host below.
fn matched<'a>(prefix: &str, name: &'a str) -> Option<&'a str> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let end = name.find('/').unwrap_or(name.len());
        let host = name[..end].split(':').next().unwrap_or_default();
        return host.ends_with(domain).then(|| &name[end..]);
    }
    let rest = name.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn registry(file: &Path, entry: Registry) -> Result<RegistryEntry, String> {
    let prefix = if entry.prefix.is_empty() { entry.location.clone() } else { entry.prefix };
    let prefix = prefix.trim_end_matches('/').to_owned();
    if prefix.is_empty() || prefix == "*" || (prefix.contains('*') && !prefix.starts_with("*.")) {
        return Err(format!("{prefix:?} is not a prefix: use a host, a host with a path, or *.domain"));
    }
    if prefix.starts_with("*.") && entry.location.is_empty() && !entry.mirror.is_empty() {
        return Err(format!("the prefix {prefix:?} has mirrors and no location"));
    }
    if entry.mirror.len() > MOST_ENTRIES {
        return Err(format!("{prefix:?} has more than {MOST_ENTRIES} mirrors"));
    }
    let digests = entry.mirror_by_digest_only;
    let mirrors = entry.mirror.into_iter().map(|entry| mirror(entry, digests)).collect::<Result<_, _>>()?;
    Ok(RegistryEntry {
        prefix,
        location: location(&entry.location)?,
        insecure: entry.insecure,
        blocked: entry.blocked,
        mirrors,
        file: file.to_owned(),
    })
}

fn mirror(entry: Mirror, digests_only: bool) -> Result<MirrorEntry, String> {
    let serves = match entry.pull_from_mirror.as_str() {
        "" | "all" if !digests_only => Serves::All,
        "" | "digest-only" => Serves::DigestsOnly,
        "tag-only" if !digests_only => Serves::TagsOnly,
        other => return Err(format!("pull-from-mirror {other:?} is not all, digest-only or tag-only")),
    };
    if entry.location.is_empty() {
        return Err("a mirror has no location".to_owned());
    }
    Ok(MirrorEntry { location: location(&entry.location)?, insecure: entry.insecure, serves })
}

/// A location is a host with perhaps a path; a scheme is `insecure`'s business.
fn location(text: &str) -> Result<String, String> {
    if text.contains("://") || text.contains(['?', '#', '@', ' ']) {
        return Err(format!("location {text:?} is not a host with perhaps a path"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RegistriesConf, String> {
        RegistriesConf::parse(Path::new("registries.conf"), text)
    }

    #[test]
    fn the_longest_prefix_decides_at_a_border() {
        let text = r#"
            unqualified-search-registries = ["docker.io"]
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "mirror.example/hub"
            [[registry]]
            prefix = "docker.io/library"
            location = "internal.example/official/"
            [[registry]]
            prefix = "*.example"
            blocked = true
        "#;
        let conf = read(text).expect("a file");
        let rewritten = |name: &str| {
            let entry = conf.find(name).expect("an entry");
            entry.rewrite(&entry.location, name)
        };
        assert_eq!(rewritten("docker.io/library/debian"), "internal.example/official/debian");
        assert_eq!(rewritten("docker.io/librarymore/x"), "docker.io/librarymore/x");
        assert_eq!(conf.find("docker.io/x/y").expect("an entry").mirrors[0].location, "mirror.example/hub");
        assert!(conf.find("a.b.example:5000/x").expect("an entry").blocked);
        assert!(conf.find("example/x").is_none());
        assert!(conf.find("quay.io/x").is_none());
    }

    #[test]
    fn a_later_file_replaces_a_prefix() {
        let mut conf = read("[[registry]]\nlocation = \"a.example\"\n").expect("a file");
        conf.add(read("[[registry]]\nlocation = \"a.example\"\nblocked = true\n").expect("a file"));
        assert!(conf.find("a.example/x").expect("an entry").blocked);
    }

    #[test]
    fn a_broken_file_says_what_is_wrong() {
        let check = |text: &str, words: &str| {
            let error = read(text).expect_err(text);
            assert!(error.contains(words), "{text:?}: {error}");
        };
        check("[[registry]]\n", "is not a prefix");
        check("[[registry]]\nlocation = \"http://x\"", "is not a host");
        check("[[registry]]\nlocation = \"x\"\n[[registry.mirror]]\n", "no location");
        check(
            "[[registry]]\nlocation = \"x\"\n[[registry.mirror]]\nlocation = \"y\"\npull-from-mirror = \"z\"",
            "pull-from-mirror",
        );
    }

    #[test]
    fn no_change_of_a_file_makes_the_reader_fail() {
        let whole = "[[registry]]\nprefix = \"*.e\"\nlocation = \"l/p\"\n[[registry.mirror]]\nlocation = \"m:1/x\"\npull-from-mirror = \"tag-only\"\n";
        for text in crate::endpoint::changed(whole) {
            // An error or a value; what must not come is a panic.
            let _either = RegistriesConf::parse(Path::new("x"), &text);
        }
    }
}
