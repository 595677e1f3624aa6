//! The table of attacks (docs/security.md) names tests: each of them must be there.

use crate::{process, workspace};
use anyhow::{Context, Result};

const TABLE: &str = "docs/security.md";

/// Every name in the table that is no test, one sentence each.
pub(crate) fn violations() -> Result<Vec<String>> {
    let root = workspace::root();
    let table = std::fs::read_to_string(root.join(TABLE)).with_context(|| TABLE.to_owned())?;
    let mut sources = String::new();
    for path in process::output("git", &["ls-files", "crates/*.rs"])?.lines() {
        sources.push_str(&std::fs::read_to_string(root.join(path)).unwrap_or_default());
    }
    Ok(compare(&table, &sources))
}

fn compare(table: &str, sources: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in table.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
        for name in line.split('`').skip(1).step_by(2) {
            if wanted(name).is_some_and(|text| !sources.contains(&text)) {
                found.push(format!("{TABLE}:{}: there is no test `{name}`", number + 1));
            }
        }
    }
    found
}

/// What the sources say where a test of this name is; `None` for what is no name of a test.
fn wanted(name: &str) -> Option<String> {
    if name.starts_with('"') && name.ends_with('"') {
        return Some(name.to_owned());
    }
    if let Some(part) = name.strip_prefix("faults: ") {
        return Some(format!("\"{part}\""));
    }
    let (place, function) = name.rsplit_once("::")?;
    let is_word = |text: &str| text.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    let is_test = is_word(place) && !function.is_empty() && !function.contains(' ');
    is_test.then(|| format!("fn {function}("))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_that_the_table_names_is_there() {
        assert_eq!(violations().expect("the table and the sources"), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_told() {
        let sources = "fn it_stays() {}\nCheck::new(AREA, \"it comes\", it)";
        let table = "| `a::it_stays` | `\"it comes\"` | `seccomp::` | `--tls=false` |\n| `a::it_goes` | `faults: power` |\n";
        assert_eq!(
            compare(table, sources),
            [
                "docs/security.md:2: there is no test `a::it_goes`",
                "docs/security.md:2: there is no test `faults: power`"
            ]
        );
    }
}
