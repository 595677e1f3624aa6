//! Tests of finding and removing: precedence, words, conflicts.

use super::*;
use oci::image::media_type;

fn named(name: &str, content: &str) -> Named {
    let digest = crate::digest_of(content.as_bytes());
    let target = Descriptor::new(media_type::OCI_MANIFEST, digest, 7);
    let key = if name.is_empty() {
        dangling_name(&target.digest)
    } else {
        Reference::parse(name).unwrap().or_latest().to_string()
    };
    (key, NameRecord { target, created: "2026-01-01T00:00:00Z".into(), tagged: None })
}

fn id(content: &str) -> Digest {
    crate::digest_of(content.as_bytes())
}

fn show(names: &[Named], text: &str) -> String {
    match find(names, text) {
        Ok((key, _)) => key.clone(),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn images_are_found_by_id_name_and_prefix_in_this_order() {
    let hex = id("a").hex().to_owned();
    let names = [named("debian:12", "a"), named("ghcr.io/x/y", "b"), named("", "c"), named(&hex[..8], "b")];
    assert_eq!(show(&names, "debian:12"), "docker.io/library/debian:12");
    assert_eq!(show(&names, "debian"), "error: No such image: debian:latest");
    assert_eq!(show(&names, "ghcr.io/x/y"), "ghcr.io/x/y:latest");
    assert_eq!(show(&names, &hex), "docker.io/library/debian:12");
    assert_eq!(show(&names, &format!("sha256:{hex}")), "docker.io/library/debian:12");
    assert_eq!(show(&names, &hex[..12]), "docker.io/library/debian:12");
    assert_eq!(show(&names, &format!("sha256:{}", &hex[..12])), "docker.io/library/debian:12");
    assert_eq!(
        show(&names, &hex[..8]),
        format!("docker.io/library/{}:latest", &hex[..8]),
        "a name wins over a prefix"
    );
    assert_eq!(show(&names, id("c").hex()), dangling_name(&id("c")));
    assert_eq!(show(&names, &hex[..3]), format!("error: No such image: {}:latest", &hex[..3]));
    assert_eq!(
        show(&names, "A"),
        "error: invalid reference format: repository name (library/A) must be lowercase"
    );
}

#[test]
fn a_digest_only_matches_names_of_its_repository() {
    let names = [named("debian:12", "a")];
    let digest = id("a");
    assert_eq!(show(&names, &format!("debian@{digest}")), "docker.io/library/debian:12");
    assert_eq!(show(&names, &format!("debian:other@{digest}")), "docker.io/library/debian:12");
    assert_eq!(show(&names, &format!("ubuntu@{digest}")), format!("error: No such image: ubuntu@{digest}"));
    let other = id("b");
    assert_eq!(show(&names, &other.to_string()), format!("error: No such image: {other}"));
}

#[test]
fn a_prefix_of_several_ids_is_ambiguous() {
    // 256 images have at least two IDs with the same first digit; the prefix search takes four, so look for a pair.
    let names: Vec<Named> =
        (0..3000).map(|number| named(&format!("i{number}"), &number.to_string())).collect();
    let mut prefixes: Vec<String> =
        names.iter().map(|(_, r)| r.target.digest.hex()[..4].to_owned()).collect();
    prefixes.sort();
    let twice = prefixes.windows(2).find(|pair| pair[0] == pair[1]).expect("a pair among 3000");
    assert_eq!(show(&names, &twice[0]), "error: ambiguous reference");
}

fn removal(typed: &str, names: &[Named], containers: &[(&str, bool)], force: bool) -> String {
    let (key, record) = find(names, typed).unwrap();
    let id = &record.target.digest;
    let same: Vec<&Named> = names.iter().filter(|(_, record)| record.target.digest == *id).collect();
    let users: Vec<User> =
        containers.iter().map(|(id, running)| User { id: (*id).to_owned(), running: *running }).collect();
    match plan_removal(typed, key, id, &same, &users, force) {
        Ok(plan) => {
            let names: Vec<String> =
                plan.names.iter().map(|key| familiar(key).unwrap_or("-".into())).collect();
            let dangling = if plan.dangling.is_some() { " keep" } else { "" };
            let deletes = if plan.deletes { " delete" } else { "" };
            format!("untag {}{dangling}{deletes}", names.join(" "))
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn removal_follows_dockers_rules() {
    let one = [named("a:1", "x")];
    let two = [named("a:1", "x"), named("a:2", "x")];
    let repositories = [named("a:1", "x"), named("b:1", "x")];
    let dangling = [named("", "x")];
    let hex = id("x").hex().to_owned();
    let short = &hex[..12];
    let used = [("0123456789abcdef", false)];
    let running = [("0123456789abcdef", true)];
    assert_eq!(removal("a:1", &one, &[], false), "untag a:1 delete");
    assert_eq!(removal("a:1", &two, &[], false), "untag a:1");
    assert_eq!(removal("a:1", &two, &running, false), "untag a:1");
    assert_eq!(removal(short, &two, &[], false), "untag a:1 a:2 delete");
    assert_eq!(
        removal(short, &repositories, &[], false),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
        )
    );
    assert_eq!(removal(short, &repositories, &[], true), "untag a:1 b:1 delete");
    assert_eq!(
        removal("a:1", &one, &used, false),
        format!(
            "conflict: unable to delete a:1 (must be forced) - container 0123456789ab is using its referenced image {short}"
        )
    );
    assert_eq!(removal("a:1", &one, &used, true), "untag a:1 keep");
    assert_eq!(
        removal(short, &one, &used, false),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container 0123456789ab"
        )
    );
    assert_eq!(removal(short, &one, &used, true), "untag a:1 delete");
    assert_eq!(
        removal(short, &one, &running, true),
        format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container 0123456789ab"
        )
    );
    assert_eq!(removal(short, &dangling, &[], false), "untag - delete");
}
