//! The tables of attacks (docs/security.md) name tests: each of them is there and is run, and a row without a test says why.

use crate::{process, workspace};
use anyhow::{Context, Result};

const TABLE: &str = "docs/security.md";

/// A source file: its path below the workspace, and its text.
type Source = (String, String);

/// What is wrong with the tables, one sentence each.
pub(crate) fn violations() -> Result<Vec<String>> {
    let root = workspace::root();
    let table = std::fs::read_to_string(root.join(TABLE)).with_context(|| TABLE.to_owned())?;
    let mut sources = Vec::new();
    for path in process::output("git", &["ls-files", "crates/*.rs"])?.lines() {
        // A file that was deleted and not committed yet has no tests.
        let text = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        sources.push((path.to_owned(), text));
    }
    let mut found = compare(&table, &sources);
    found.extend(unlisted(&table, &sources));
    Ok(found)
}

/// Fuzz targets that the table of parsers does not name.
fn unlisted(table: &str, sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources.iter().filter(|(path, _)| path.ends_with("fuzz.rs")) {
        let place = path.split('/').nth(1).unwrap_or_default();
        let names = text.lines().filter_map(|line| line.strip_prefix("fn ")?.split('(').next());
        for name in names.filter(|name| is_test(text, name)) {
            if !table.contains(&format!("`{place}::{name}`")) {
                found.push(format!("{TABLE}: the fuzz target `{place}::{name}` of {path} is not there"));
            }
        }
    }
    found
}

fn compare(table: &str, sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    let mut columns: Vec<&str> = Vec::new();
    for (number, line) in table.lines().enumerate() {
        if !line.starts_with('|') {
            columns.clear();
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if columns.is_empty() {
            columns = cells;
            continue;
        }
        if cells.iter().all(|cell| cell.chars().all(|letter| letter == '-')) {
            continue;
        }
        let mut report = |words: String| found.push(format!("{TABLE}:{}: {words}", number + 1));
        let names: Vec<&str> = line.split('`').skip(1).step_by(2).filter(|name| is_name(name)).collect();
        for name in names.iter().filter(|name| !is_run(name, sources)) {
            report(format!("there is no test `{name}` that is run"));
        }
        let last = cells.last().copied().unwrap_or_default();
        if cells.len() != columns.len() {
            report(format!("{} columns, not {}", cells.len(), columns.len()));
        } else if last.is_empty() || (columns.last() == Some(&"test") && names.is_empty()) {
            report(format!("`{}` has neither a test nor a reason", cells[0]));
        }
    }
    found
}

/// Whether a piece of code in the table is the name of a test.
fn is_name(name: &str) -> bool {
    let is_quoted = name.len() > 2 && name.starts_with('"') && name.ends_with('"');
    let is_word = |text: &str| {
        !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let is_path = name.rsplit_once("::").is_some_and(|(place, test)| is_word(place) && is_word(test));
    is_quoted || is_path || name.strip_prefix("faults: ").is_some()
}

/// Whether there is such a test, and nothing keeps it from being run.
fn is_run(name: &str, sources: &[Source]) -> bool {
    if name.starts_with('"') {
        let is_check = |text: &str| {
            let words: Vec<&str> = text.split_whitespace().collect();
            words.join(" ").replace("( ", "(").contains(&format!("Check::new(AREA, {name},"))
        };
        return sources.iter().any(|(path, text)| path.contains("conformance/src/areas") && is_check(text));
    }
    if let Some(part) = name.strip_prefix("faults: ") {
        let is_tried = |text: &str| {
            let places = [
                format!("name: \"{part}\""),
                format!("(\"{part}\", "),
                format!("is_wanted(\"{part}\")"),
                format!("word == \"{part}\""),
            ];
            places.iter().any(|words| text.contains(words))
        };
        return sources.iter().any(|(path, text)| path.contains("conformance/src/faults") && is_tried(text));
    }
    let Some((place, function)) = name.rsplit_once("::") else { return false };
    sources.iter().any(|(path, text)| is_at(path, place) && is_test(text, function))
}

/// Whether a file is the one that a name begins with: a crate's, or one of the runtime's by its own name.
fn is_at(path: &str, place: &str) -> bool {
    let of_runtime =
        [format!("tests/kernel_{place}.rs"), format!("src/{place}"), format!("tests/{place}.rs")];
    let profile = place == "seccomp" && path.starts_with("crates/runtime/src/profile");
    path.starts_with(&format!("crates/{place}/"))
        || of_runtime.iter().any(|file| path.starts_with(&format!("crates/runtime/{file}")))
        || profile
}

/// Whether a function of this name is marked as a test, and not as one to leave out.
fn is_test(text: &str, function: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let is_it = line.trim_start_matches("async ").starts_with(&format!("fn {function}("));
        let above =
            || lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        is_it
            && above().any(|line| line.starts_with("#[test]") || line.contains("::test"))
            && !above().any(|line| line.starts_with("#[ignore"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_that_the_tables_name_is_run() {
        assert_eq!(violations().expect("the table and the sources"), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_told() {
        let sources = [
            (
                "crates/a/src/b.rs",
                "#[test]\nfn it_stays() {}\n#[ignore = \"slow\"]\n#[test]\nfn it_sleeps() {}\nfn no_test() {}",
            ),
            ("crates/conformance/src/areas/c.rs", "Check::new(\n    AREA, \"it comes\",\n it)"),
            ("crates/conformance/src/faults/d.rs", "Operation { name: \"stop\", .. }"),
        ]
        .map(|(path, text)| (path.to_owned(), text.to_owned()));
        let table = "| what | test |\n|---|---|\n| x | `a::it_stays`, `\"it comes\"`, `faults: stop` |\n\
                     | y | `a::it_goes` `a::it_sleeps` `a::no_test` `b::it_stays` `\"it goes\"` `faults: power` |\n\
                     | z | `--tls=false` |\n\n| what | why |\n|---|---|\n| x | because |\n| y | |\n";
        let said: Vec<String> = compare(table, &sources);
        let missing =
            |line: usize, name: &str| format!("{TABLE}:{line}: there is no test `{name}` that is run");
        assert_eq!(
            said,
            [
                missing(4, "a::it_goes"),
                missing(4, "a::it_sleeps"),
                missing(4, "a::no_test"),
                missing(4, "b::it_stays"),
                missing(4, "\"it goes\""),
                missing(4, "faults: power"),
                format!("{TABLE}:5: `z` has neither a test nor a reason"),
                format!("{TABLE}:10: `y` has neither a test nor a reason"),
            ]
        );
    }
}
