//! `docker images`: one line for each image, with Docker's filters.

use std::collections::{BTreeMap, BTreeSet};

use oci::image::{Descriptor, ImageConfig, media_type};
use oci::{Digest, Reference};

use crate::images::Images;
use crate::inspect::{ManifestKind, ManifestSummary, names_of, unpacked_size};
use crate::names::{Named, Users, find};
use crate::record::LayerRecord;
use crate::{Error, Result};

/// Which images are listed. Several values of one filter: one of them is enough, except for labels, which must all be
/// there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// Only images without a name, or only those with one.
    pub dangling: Option<bool>,
    /// `name` or `name=value` that must be among the labels.
    pub labels: Vec<String>,
    /// `name` or `name=value` that must not be among the labels.
    pub not_labels: Vec<String>,
    /// Patterns of names, with `*` and `?` inside a component.
    pub references: Vec<String>,
    /// Only images made before this one.
    pub before: Option<String>,
    /// Only images made after this one.
    pub since: Option<String>,
    /// Only images made before this moment, in nanoseconds since 1970.
    pub until: Option<i128>,
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The image's ID.
    pub id: Digest,
    /// The manifest or the index.
    pub target: Descriptor,
    /// Its names with tags, as people write them; empty for a dangling image.
    pub repo_tags: Vec<String>,
    /// Its names with its digest, as people write them.
    pub repo_digests: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// The image that it was committed from here.
    pub parent: Option<Digest>,
    /// Bytes of everything that is here of it: content and unpacked layers.
    pub size: u64,
    /// Bytes of unpacked layers that other images have as well; `None` when not asked for.
    pub shared_size: Option<u64>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The IDs of the containers made of it.
    pub containers: Vec<String>,
    /// Its manifests.
    pub manifests: Vec<ManifestSummary>,
}

impl Images {
    /// Lists images, the latest first.
    ///
    /// # Errors
    /// When a filter names an image that does not exist or a malformed pattern; not because of an image that cannot be
    /// read, which is left out.
    pub fn list(&self, filters: &Filters, shared_size: bool, users: &dyn Users) -> Result<Vec<Summary>> {
        let names = self.names()?;
        let layers = self.layer_records()?;
        let bound = |name: &Option<String>| -> Result<Option<i128>> {
            let Some(name) = name else { return Ok(None) };
            let target = &find(&names, name)?.1.target;
            Ok(Some(self.facts(target)?.created))
        };
        let (before, since) = (bound(&filters.before)?, bound(&filters.since)?);
        for pattern in &filters.references {
            check_pattern(pattern)?;
        }
        let mut targets: BTreeMap<&Digest, &Descriptor> = BTreeMap::new();
        for (_, record) in &names {
            targets.entry(&record.target.digest).or_insert(&record.target);
        }
        let mut lines = Vec::new();
        let mut uses: BTreeMap<Digest, u32> = BTreeMap::new();
        for target in targets.into_values() {
            // An image whose content is damaged is found by `system check`; the others are listed.
            let Ok(facts) = self.facts(target) else { continue };
            for diff_id in facts.diff_ids.iter().collect::<BTreeSet<_>>() {
                *uses.entry(diff_id.clone()).or_default() += 1;
            }
            let kept = filters.match_facts(&facts)
                && before.is_none_or(|before| facts.created < before)
                && since.is_none_or(|since| facts.created > since);
            if let Some(named) = matching_names(&names, target, filters).filter(|_| kept) {
                lines.push((self.summary(target, &facts, named, &layers, users)?, facts));
            }
        }
        lines.sort_by(|(a, one), (b, other)| other.created.cmp(&one.created).then_with(|| a.id.cmp(&b.id)));
        let shared = |facts: &ImageFacts| {
            let shared: Vec<Digest> =
                facts.diff_ids.iter().filter(|id| uses.get(id).is_some_and(|n| *n > 1)).cloned().collect();
            shared_layers_size(&layers, &shared)
        };
        Ok(lines
            .into_iter()
            .map(|(line, facts)| Summary { shared_size: shared_size.then(|| shared(&facts)), ..line })
            .collect())
    }

    fn summary(
        &self,
        target: &Descriptor,
        facts: &ImageFacts,
        (repo_tags, repo_digests): (Vec<String>, Vec<String>),
        layers: &BTreeMap<String, LayerRecord>,
        users: &dyn Users,
    ) -> Result<Summary> {
        let manifests = self.manifest_summaries(target, layers)?;
        let mut seen = BTreeSet::new();
        let mut size = 0;
        for manifest in &manifests {
            size += self.content_size(&manifest.descriptor, &mut seen)?;
            if let ManifestKind::Image { unpacked_size, .. } = &manifest.kind {
                size += unpacked_size;
            }
        }
        if media_type::is_index(&target.media_type) {
            size += target.size;
        }
        Ok(Summary {
            id: target.digest.clone(),
            parent: self.parent_of(&target.digest)?,
            target: target.clone(),
            repo_tags,
            repo_digests,
            created: facts.created.div_euclid(1_000_000_000).try_into().unwrap_or_default(),
            size,
            shared_size: None,
            labels: facts.labels.clone(),
            containers: users.users_of(&target.digest).into_iter().map(|user| user.id).collect(),
            manifests,
        })
    }

    /// What filters look at.
    pub(crate) fn facts(&self, target: &Descriptor) -> Result<ImageFacts> {
        let found = crate::names::Found { id: target.digest.clone(), target: target.clone(), name: None };
        match self.choose(&found, &target.digest.to_string(), None) {
            Ok(image) => Ok(ImageFacts::of(&image.config)),
            // An artifact, or an index of which only other things are here.
            Err(Error::NoSuchPlatform { .. }) => Ok(ImageFacts::default()),
            Err(error) => Err(error),
        }
    }
}

/// What filters and sums need of an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageFacts {
    /// Nanoseconds since 1970.
    pub(crate) created: i128,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) diff_ids: Vec<Digest>,
}

impl ImageFacts {
    fn of(config: &ImageConfig) -> Self {
        Self {
            created: config.created.as_deref().and_then(crate::time::parse_nanos).unwrap_or_default(),
            labels: config.config.labels.clone().unwrap_or_default(),
            diff_ids: config.rootfs.diff_ids.clone(),
        }
    }
}

impl Filters {
    /// Whether labels and age are right.
    pub(crate) fn match_facts(&self, facts: &ImageFacts) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((name, value)) => facts.labels.get(name).is_some_and(|found| found == value),
            None => facts.labels.contains_key(wanted),
        };
        self.labels.iter().all(has)
            && !self.not_labels.iter().any(has)
            && self.until.is_none_or(|until| facts.created < until)
    }
}

/// The names of an image that the filters let through; `None` when the image is left out.
fn matching_names(
    names: &[Named],
    target: &Descriptor,
    filters: &Filters,
) -> Option<(Vec<String>, Vec<String>)> {
    let (mut tags, mut digests) = names_of(names, &target.digest);
    let dangling = tags.is_empty() && digests.is_empty();
    if filters.dangling.is_some_and(|wanted| wanted != dangling) {
        return None;
    }
    if !filters.references.is_empty() {
        let matches = |name: &String| filters.references.iter().any(|pattern| match_reference(pattern, name));
        tags.retain(matches);
        digests.retain(matches);
        if tags.is_empty() && digests.is_empty() {
            return None;
        }
    }
    Some((tags, digests))
}

fn shared_layers_size(layers: &BTreeMap<String, LayerRecord>, diff_ids: &[Digest]) -> u64 {
    let distinct: BTreeSet<&Digest> = diff_ids.iter().collect();
    distinct.into_iter().map(|id| unpacked_size(layers, std::slice::from_ref(id))).sum()
}

fn check_pattern(pattern: &str) -> Result<()> {
    if pattern.matches('[').count() != pattern.matches(']').count() || pattern.ends_with('\\') {
        return Err(Error::Invalid(format!("invalid reference filter {pattern:?}: syntax error in pattern")));
    }
    Ok(())
}

/// Whether a pattern matches a familiar reference, or its name without tag and digest (Docker's `FamiliarMatch`).
pub(crate) fn match_reference(pattern: &str, name: &str) -> bool {
    let bare = Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar_name());
    glob(pattern.as_bytes(), name.as_bytes()) || glob(pattern.as_bytes(), bare.as_bytes())
}

/// Go's `path.Match`: `*` and `?` do not cross a slash, `[a-z]` and `[^a]` are sets.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            let reach = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            (0..=reach).any(|skip| glob(rest, &text[skip..]))
        }
        (Some((b'?', rest)), Some((byte, text))) => *byte != b'/' && glob(rest, text),
        (Some((b'[', rest)), Some((byte, text))) => match set(rest, *byte) {
            Some((matches, rest)) => matches && glob(rest, text),
            None => false,
        },
        (Some((b'\\', rest)), Some((byte, text))) => {
            rest.split_first().is_some_and(|(escaped, rest)| escaped == byte && glob(rest, text))
        }
        (Some((literal, rest)), Some((byte, text))) => literal == byte && glob(rest, text),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether a set, behind its opening bracket, contains a byte; and what follows the set.
fn set(pattern: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match pattern.split_first() {
        Some((b'^', rest)) => (true, rest),
        _ => (false, pattern),
    };
    let mut found = false;
    loop {
        match rest {
            [b']', rest @ ..] => return Some((found != negated, rest)),
            [low, b'-', high, after @ ..] if *high != b']' => {
                found |= (*low..=*high).contains(&byte);
                rest = after;
            }
            [one, after @ ..] => {
                found |= *one == byte;
                rest = after;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_as_dockers_do() {
        let cases = [
            ("debian", "debian:12", true),
            ("debian:*", "debian:12", true),
            ("deb*", "debian:12", true),
            ("*", "ghcr.io/x/y:1", false),
            ("ghcr.io/*/y", "ghcr.io/x/y:1", true),
            ("*/*", "user/app:1", true),
            ("debian:1?", "debian:12", true),
            ("debian:1[0-4]", "debian:12", true),
            ("debian:1[^0-4]", "debian:12", false),
            ("ubuntu", "debian:12", false),
            ("docker.io/library/debian", "debian:12", false),
            ("deb\\ian", "debian:1", true),
            ("[", "a", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(match_reference(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn labels_must_all_be_there_and_none_of_the_others() {
        let facts = ImageFacts {
            labels: BTreeMap::from([("a".into(), "1".into()), ("b".into(), String::new())]),
            created: 100,
            ..ImageFacts::default()
        };
        let check = |labels: &[&str], not: &[&str], until| {
            let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            Filters { labels: list(labels), not_labels: list(not), until, ..Filters::default() }
                .match_facts(&facts)
        };
        assert!(check(&["a", "b"], &["c"], None));
        assert!(check(&["a=1", "b="], &["a=2"], Some(101)));
        assert!(!check(&["a=2"], &[], None));
        assert!(!check(&["a", "c"], &[], None));
        assert!(!check(&[], &["a"], None));
        assert!(!check(&[], &[], Some(100)));
    }
}
