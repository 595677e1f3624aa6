//! Which parts of an image are fetched: one platform, with what attests it.

use oci::Platform;
use oci::image::{ANNOTATION_REFERENCE_DIGEST, Descriptor, Index, media_type};

/// The parts of an index that are wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice<'a> {
    /// The manifest of the platform, or an index that is looked into next.
    pub(super) image: &'a Descriptor,
    /// Manifests about it.
    pub(super) attestations: Vec<&'a Descriptor>,
}

/// Chooses from an index; `None` when it has nothing for the platform.
pub(super) fn choose<'a>(index: &'a Index, wanted: &Platform) -> Option<Choice<'a>> {
    let candidates = || index.manifests.iter().filter(|one| !one.is_attestation());
    let ranked = candidates().filter_map(|one| {
        let platform = one.platform.as_ref()?;
        Some((wanted.rank(platform)?, one))
    });
    // `min_by_key` takes the first of several that are equally good, as the index prefers.
    let best = ranked.min_by_key(|(rank, _)| *rank).map(|(_, one)| one);
    let known =
        |one: &&Descriptor| media_type::is_manifest(&one.media_type) || media_type::is_index(&one.media_type);
    // Something that does not say what it is for may be for us: its configuration tells.
    let image = best.or_else(|| candidates().filter(known).find(|one| one.platform.is_none()))?;
    let about = image.digest.to_string();
    let attests = |one: &&Descriptor| {
        one.is_attestation() && one.annotations.get(ANNOTATION_REFERENCE_DIGEST) == Some(&about)
    };
    Some(Choice { image, attestations: index.manifests.iter().filter(attests).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &[(&str, &str)]) -> Index {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        let manifests: Vec<_> = entries
            .iter()
            .map(|(letter, kind)| {
                let mut one = serde_json::json!({
                    "mediaType": media_type::OCI_MANIFEST, "digest": digest(letter), "size": 1,
                });
                if let Some(about) = kind.strip_prefix("for ") {
                    one["annotations"] = serde_json::json!({
                        "vnd.docker.reference.type": "attestation-manifest",
                        "vnd.docker.reference.digest": digest(about),
                    });
                } else if let Some((os, rest)) = kind.split_once('/') {
                    let (architecture, variant) = rest.split_once('/').unwrap_or((rest, ""));
                    one["platform"] =
                        serde_json::json!({ "os": os, "architecture": architecture, "variant": variant });
                }
                one
            })
            .collect();
        serde_json::from_value(serde_json::json!({ "schemaVersion": 2, "manifests": manifests }))
            .expect("an index")
    }

    #[test]
    fn the_best_platform_is_chosen_with_what_attests_it() {
        let index = index(&[
            ("a", "windows/amd64"),
            ("b", "linux/arm/v6"),
            ("c", "linux/arm/v7"),
            ("d", "linux/amd64"),
            ("e", "for d"),
            ("f", "for c"),
        ]);
        let check = |wanted: &str, expected: Option<(char, &str)>| {
            let found = choose(&index, &wanted.parse().expect("a platform")).map(|choice| {
                let letter = |one: &Descriptor| one.digest.hex().chars().next().expect("digits");
                (letter(choice.image), choice.attestations.into_iter().map(letter).collect::<String>())
            });
            assert_eq!(found, expected.map(|(image, rest)| (image, rest.to_owned())), "{wanted}");
        };
        check("linux/amd64", Some(('d', "e")));
        check("linux/arm/v7", Some(('c', "f")));
        check("linux/arm64", Some(('c', "f")));
        check("linux/arm/v5", None);
        check("linux/s390x", None);
        check("windows/amd64", Some(('a', "")));
    }

    #[test]
    fn what_says_nothing_about_its_platform_may_be_it() {
        let index = index(&[("a", "linux/s390x"), ("b", "")]);
        let wanted = "linux/amd64".parse().expect("a platform");
        assert_eq!(
            choose(&index, &wanted).map(|choice| &choice.image.digest),
            Some(&index.manifests[1].digest)
        );
    }
}
