//! Lints over the text of our own files: what rustc and clippy cannot know about this project.

use crate::{process, workspace};
use anyhow::{Context, Result};
use std::path::Path;

/// File names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "common", "misc", "helper", "helpers", "manager", "inner", "stuff", "base"];

/// Longer than this, a file holds more than one idea. Tests at its end do not count.
const LONGEST_FILE_LINES: usize = 600;

/// Words that must not appear in program text, who may use them, and what to use instead.
struct Banned {
    word: &'static str,
    allowed_in: &'static [&'static str],
    instead: &'static str,
}

const BANNED: &[Banned] = &[
    Banned { word: "unsafe {", allowed_in: &["crates/linux/"], instead: "a safe function of crate linux" },
    Banned { word: "unsafe fn", allowed_in: &["crates/linux/"], instead: "a safe function of crate linux" },
    Banned { word: "unsafe impl", allowed_in: &["crates/linux/"], instead: "a safe type of crate linux" },
    Banned {
        word: "unsafe extern",
        allowed_in: &["crates/linux/"],
        instead: "a safe function of crate linux",
    },
    Banned {
        word: "(unsafe_code",
        allowed_in: &["crates/linux/"],
        instead: "a safe function of crate linux",
    },
    // A static binary that enters NSS loads the host's libraries and crashes (rust-lang/rust#100711).
    Banned { word: "ToSocketAddrs", allowed_in: &[], instead: "a SocketAddr and our own resolver" },
    Banned { word: "lookup_host", allowed_in: &[], instead: "our own resolver" },
    Banned { word: "getaddrinfo(", allowed_in: &[], instead: "our own resolver" },
    Banned { word: "getpwnam", allowed_in: &[], instead: "our own parser of passwd files" },
    Banned { word: "getgrnam", allowed_in: &[], instead: "our own parser of group files" },
    Banned { word: "todo!(", allowed_in: &[], instead: "the code, or an issue" },
    Banned { word: "unimplemented!(", allowed_in: &[], instead: "the code, or an error" },
];

/// Every lint that fails, one sentence each, over all files git knows.
pub(crate) fn violations() -> Result<Vec<String>> {
    let root = workspace::root();
    let listed = process::output("git", &["ls-files", "--cached", "--others", "--exclude-standard"])?;
    let places = private_places(&root);
    let mut found = Vec::new();
    for path in listed.lines().filter(|path| root.join(path).is_file()) {
        let bytes = std::fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        let text = String::from_utf8_lossy(&bytes);
        found.extend(lint(path, &text, &places));
    }
    Ok(found)
}

fn lint(path: &str, text: &str, places: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(place) = places.iter().find(|place| line.contains(place.as_str())) {
            found.push(format!("{path}:{}: names {place}, a directory of one machine", number + 1));
        }
    }
    if path.ends_with(".rs") {
        found.extend(lint_rust(path, text));
    }
    found
}

fn lint_rust(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if EMPTY_NAMES.contains(&stem) {
        found.push(format!("{path}: the name {stem} says nothing; name the idea inside"));
    }
    if !text.starts_with("//! ") {
        found.push(format!("{path}: the first line must say what the file is for (//! ...)"));
    }
    let program_lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    if program_lines > LONGEST_FILE_LINES {
        found.push(format!("{path}: {program_lines} lines, more than {LONGEST_FILE_LINES}: cut it by ideas"));
    }
    if path.starts_with("crates/") {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for banned in BANNED.iter().filter(|banned| code.contains(banned.word)) {
                if !banned.allowed_in.iter().any(|prefix| path.starts_with(prefix)) {
                    found.push(format!(
                        "{path}:{}: {} is banned here: use {}",
                        number + 1,
                        banned.word,
                        banned.instead
                    ));
                }
            }
        }
    }
    found
}

/// Directories that exist on this machine only: where this checkout lies, unless that is a name every system has.
fn private_places(root: &Path) -> Vec<String> {
    const EVERYWHERE: &[&str] = &[
        "", "bin", "boot", "dev", "etc", "home", "lib", "media", "mnt", "opt", "proc", "root", "run", "sbin",
        "srv", "sys", "tmp", "usr", "var",
    ];
    let Ok(absolute) = root.canonicalize() else { return Vec::new() };
    let mut places: Vec<String> = absolute
        .ancestors()
        .filter(|place| place.components().count() > 2)
        .map(|place| place.display().to_string())
        .collect();
    let top = absolute
        .components()
        .nth(1)
        .map(|top| top.as_os_str().to_string_lossy().into_owned())
        .unwrap_or_default();
    if !EVERYWHERE.contains(&top.as_str()) {
        places.push(format!("/{top}/"));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(lint(path, text, &["/machine/".to_owned()]), expected);
    }

    #[test]
    fn our_own_files_pass() {
        assert_eq!(violations().expect("git ls-files"), Vec::<String>::new());
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        check("crates/a/src/b.rs", "//! Something.\n", &[]);
        check(
            "crates/a/src/b.rs",
            "fn a() {}\n",
            &["crates/a/src/b.rs: the first line must say what the file is for (//! ...)"],
        );
    }

    #[test]
    fn names_that_say_nothing_are_refused() {
        check(
            "crates/a/src/util.rs",
            "//! Things.\n",
            &["crates/a/src/util.rs: the name util says nothing; name the idea inside"],
        );
    }

    #[test]
    fn unsafe_code_stays_in_linux() {
        let word = concat!("unsa", "fe {");
        let text = format!("//! Calls.\nfn a() {{ {word} }} }}\n");
        check("crates/linux/src/a.rs", &text, &[]);
        check(
            "crates/a/src/a.rs",
            &text,
            &["crates/a/src/a.rs:2: unsafe { is banned here: use a safe function of crate linux"],
        );
    }

    #[test]
    fn one_machine_is_not_named() {
        check("README.md", "see /machine/x\n", &["README.md:1: names /machine/, a directory of one machine"]);
    }
}
