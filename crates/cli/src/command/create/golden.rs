//! argv → body: every flag of `create`, against what Docker's client 28.2 sends and says for the same words.
//!
//! `testdata/create.txt` holds a command line, and under it what differs from the body of `create b`, or, after `!`, the
//! first line of the error.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::{COMMAND, Surroundings, resolve};
use crate::grammar::{Stop, parse};
use crate::value::reference;

const GOLDEN: &str = include_str!("../../../testdata/create.txt");

#[test]
fn every_command_line_means_what_docker_means() {
    let plain = body(&["b".to_owned()]).expect("a plain container");
    let mut found = String::new();
    for line in GOLDEN.lines() {
        let Some(command) = line.strip_prefix("$ create ") else { continue };
        let _ = writeln!(found, "{line}");
        match body(&words(command)) {
            Ok(body) => found.push_str(&differences(&plain, &body)),
            Err(why) => {
                let _ = writeln!(found, "! {}", why.lines().next().unwrap_or_default());
            }
        }
        found.push('\n');
    }
    for (ours, theirs) in found.split("\n\n").zip(GOLDEN.split("\n\n")) {
        assert_eq!(ours.trim_end(), theirs.trim_end());
    }
    assert_eq!(found.trim_end(), GOLDEN.trim_end());
}

#[test]
fn a_root_file_system_is_named_by_its_path() {
    let check = |path: &str, expected: &str| {
        let body = body(&["--rootfs".to_owned(), path.to_owned(), "sh".to_owned()]).expect(path);
        assert_eq!(body["Berth"].to_string(), expected);
        assert_eq!((body["Image"].as_str(), body["Cmd"].to_string()), (Some(""), r#"["sh"]"#.to_owned()));
    };
    check("/:O", r#"{"Rootfs":{"Path":"/","Overlay":true}}"#);
    check("/srv/root", r#"{"Rootfs":{"Path":"/srv/root","Overlay":false}}"#);
    check("./root:O", r#"{"Rootfs":{"Path":"/here/root","Overlay":true}}"#);
}

#[test]
fn the_plain_body_has_every_field_that_docker_sends() {
    let plain = body(&["b".to_owned()]).expect("a plain container");
    let docker: Value =
        serde_json::from_str(include_str!("../../../testdata/create_plain.json")).expect("JSON");
    assert_eq!(differences(&docker, &plain), "");
    assert_eq!(differences(&plain, &docker), "");
}

fn body(args: &[String]) -> Result<Value, String> {
    let typed = parse(COMMAND.flags, COMMAND.interspersed, args).map_err(|stop| match stop {
        Stop::Help => "help".to_owned(),
        Stop::Invalid(why) => why,
    })?;
    let pull = typed.text("pull");
    super::check_pull(pull).map_err(|failure| failure.words().to_owned())?;
    let home = |name: &str| (name == "HOME").then(|| "/root".to_owned());
    let around = Surroundings { environment: &home, directory: PathBuf::from("/here") };
    let body = resolve(&typed, &around).map_err(|failure| failure.words().to_owned())?;
    if !typed.switch("rootfs") {
        reference::parse(typed.operand(0))?;
    }
    Ok(body)
}

/// The words of a command line, quoted as for a shell; names of test data become their paths.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    let data = |word: String| match word.strip_prefix("seccomp=").unwrap_or(&word) {
        "env.list" | "label.list" | "seccomp.json" => {
            let (prefix, name) =
                word.split_once('=').map_or(("", word.as_str()), |(_, name)| ("seccomp=", name));
            format!("{prefix}{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"))
        }
        _ => word,
    };
    words.into_iter().map(data).collect()
}

/// `path = value` for what is new or other, `path gone` for what is missing; sorted.
fn differences(before: &Value, after: &Value) -> String {
    let mut lines = Vec::new();
    collect("", before, after, &mut lines);
    lines.sort();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn collect(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        if before != after {
            lines.push(format!("{path} = {after}"));
        }
        return;
    };
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, value) in new {
        match old.get(key) {
            Some(before) => collect(&join(key), before, value, lines),
            None => lines.push(format!("{} = {value}", join(key))),
        }
    }
    lines.extend(old.keys().filter(|key| !new.contains_key(*key)).map(|key| format!("{} gone", join(key))));
}
