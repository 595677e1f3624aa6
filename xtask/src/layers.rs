//! The layers of ARCHITECTURE.md as a constant, compared with what every manifest says.

use crate::workspace::{self, Package};
use anyhow::Result;
use std::collections::BTreeMap;

/// Row of every crate: a crate may depend on strictly lower rows only. The last two rows are development tools.
const ROWS: &[&[&str]] = &[
    &["oci", "api", "testkit"],
    &["linux"],
    &["cgroup", "store", "resolver", "tls", "logdriver"],
    &["runtime", "network", "registry", "client"],
    &["image", "shim"],
    &["builder"],
    &["engine", "compose"],
    &["daemon", "cli"],
    &["berth"],
    &["conformance"],
    &["xtask"],
];

/// What every crate may use, for it uses none of ours itself.
const GROUND: &[&str] = &["timestamp"];

/// What every crate may use in its tests, and none elsewhere; it uses none of ours either.
const FOR_TESTS: &[&str] = &["fuzz"];

/// What may be named only by the crates listed.
const RESERVED: &[(&str, &[&str])] = &[("rustix", &["linux"]), ("libc", &["linux"])];

/// At or below this row nothing may use tokio ...
const LAST_ROW_WITHOUT_TOKIO: usize = 4;
/// ... except these, which are doors to other machines.
const TOKIO_BELOW: &[&str] = &["resolver", "registry", "client"];

/// A black box tests nothing if it sees inside: these are all the crates of ours it may use.
const CONFORMANCE_MAY_USE: &[&str] = &["linux", "testkit"];

/// Every way in which the manifests break the table, one sentence each.
pub(crate) fn violations() -> Result<Vec<String>> {
    Ok(compare(&workspace::packages()?))
}

fn compare(packages: &[Package]) -> Vec<String> {
    let rows: BTreeMap<&str, usize> =
        ROWS.iter().enumerate().flat_map(|(row, names)| names.iter().map(move |name| (*name, row))).collect();
    packages.iter().flat_map(|package| compare_package(package, &rows)).collect()
}

fn compare_package(package: &Package, rows: &BTreeMap<&str, usize>) -> Vec<String> {
    let name = package.name.as_str();
    if GROUND.contains(&name) || FOR_TESTS.contains(&name) {
        let uses = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
        return uses
            .map(|other| format!("{name} depends on {}: it stands below all of ours", other.name))
            .collect();
    }
    let Some(&row) = rows.get(name) else {
        return vec![format!(
            "crate {name} has no row in xtask/src/layers.rs and ARCHITECTURE.md: give it one"
        )];
    };
    let mut found = Vec::new();
    for dependency in &package.dependencies {
        let other = dependency.name.as_str();
        if FOR_TESTS.contains(&other) {
            if dependency.kind.as_deref() != Some("dev") {
                found.push(format!(
                    "{name} depends on {other}, which is for tests: name it in dev-dependencies"
                ));
            }
        } else if dependency.path.is_some() && !GROUND.contains(&other) {
            match rows.get(other) {
                Some(&below) if below < row => {}
                Some(&below) => {
                    found
                        .push(format!("{name} (row {row}) depends on {other} (row {below}): rows must fall"));
                }
                None => found.push(format!("{name} depends on {other}, which has no row")),
            }
            if name == "conformance" && !CONFORMANCE_MAY_USE.contains(&other) {
                found.push(format!("conformance depends on {other}: it is a black-box suite"));
            }
        }
        if let Some((_, users)) = RESERVED.iter().find(|(reserved, _)| *reserved == other)
            && !users.contains(&name)
        {
            found.push(format!("{name} depends on {other}, which only {} may use", users.join(", ")));
        }
        if other == "tokio" && row <= LAST_ROW_WITHOUT_TOKIO && !TOKIO_BELOW.contains(&name) {
            found.push(format!(
                "{name} (row {row}) depends on tokio: it belongs above row {LAST_ROW_WITHOUT_TOKIO}"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;
    use std::path::PathBuf;

    fn check(name: &str, dependencies: &[&str], expected: &[&str]) {
        let dependencies = dependencies
            .iter()
            .map(|name| Dependency {
                name: (*name).to_owned(),
                path: ROWS.iter().flat_map(|row| row.iter()).any(|ours| ours == name).then(PathBuf::new),
                kind: None,
            })
            .collect();
        let package = Package { name: name.to_owned(), dependencies, targets: Vec::new() };
        assert_eq!(compare(&[package]), expected);
    }

    #[test]
    fn the_manifests_agree_with_the_table() {
        assert_eq!(violations().expect("cargo metadata"), Vec::<String>::new());
    }

    #[test]
    fn a_crate_may_use_lower_rows() {
        check("engine", &["image", "oci", "serde", "tokio"], &[]);
        check("client", &["api", "tokio"], &[]);
    }

    #[test]
    fn a_crate_may_not_use_its_own_row_or_a_higher_one() {
        check("runtime", &["network"], &["runtime (row 3) depends on network (row 3): rows must fall"]);
        check("shim", &["engine"], &["shim (row 4) depends on engine (row 6): rows must fall"]);
    }

    #[test]
    fn system_calls_and_tokio_stay_where_they_belong() {
        check("runtime", &["libc"], &["runtime depends on libc, which only linux may use"]);
        check("shim", &["tokio"], &["shim (row 4) depends on tokio: it belongs above row 4"]);
    }

    #[test]
    fn the_suite_sees_no_inside_of_the_engine() {
        check("conformance", &["linux"], &[]);
        check("conformance", &["api"], &["conformance depends on api: it is a black-box suite"]);
    }

    #[test]
    fn what_is_for_tests_stays_in_tests() {
        check("oci", &["fuzz"], &["oci depends on fuzz, which is for tests: name it in dev-dependencies"]);
        check("fuzz", &["oci"], &["fuzz depends on oci: it stands below all of ours"]);
    }

    #[test]
    fn every_crate_has_a_row() {
        check(
            "extra",
            &[],
            &["crate extra has no row in xtask/src/layers.rs and ARCHITECTURE.md: give it one"],
        );
    }
}
