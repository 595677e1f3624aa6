//! Environment variables and labels, from flags and from files.

use std::collections::BTreeMap;

use crate::failure::Failure;

/// Reads the environment of this process.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// For the table of flags: `KEY=value`, or `KEY` to take the value from here.
pub(crate) fn check_variable(text: &str) -> Result<(), String> {
    let named = !text.is_empty() && !text.starts_with('=');
    if named { Ok(()) } else { Err(format!("invalid environment variable: {text}")) }
}

/// For the table of flags: `key=value` or `key`.
pub(crate) fn check_label(text: &str) -> Result<(), String> {
    let named = !text.is_empty() && !text.starts_with('=');
    if named { Ok(()) } else { Err(format!("invalid label '{text}': empty name")) }
}

/// The environment: files first, then flags; a `KEY` alone takes the value it has here.
pub(crate) fn variables(files: &[&str], flags: &[&str], lookup: Lookup<'_>) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for path in files {
        all.extend(file(path, &read(path)?, lookup).map_err(Failure::text)?);
    }
    all.extend(flags.iter().map(|flag| match lookup(flag) {
        Some(value) if !flag.contains('=') => format!("{flag}={value}"),
        _ => (*flag).to_owned(),
    }));
    Ok(all)
}

/// Labels: files first, then flags, the last of a name counts.
pub(crate) fn labels(files: &[&str], flags: &[&str]) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = Vec::new();
    for path in files {
        all.extend(file(path, &read(path)?, &|_| None).map_err(Failure::text)?);
    }
    all.extend(flags.iter().map(|flag| (*flag).to_owned()));
    Ok(pairs(all.iter().map(String::as_str)))
}

/// `key=value` texts as a map; a key alone has an empty value.
pub(crate) fn pairs<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let pair = |text: &'a str| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    texts.into_iter().map(pair).collect()
}

fn read(path: &str) -> Result<String, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::open(path, &error))?;
    String::from_utf8(bytes)
        .map_err(|_| Failure::text(format!("env file {path} contains invalid utf8 bytes")))
}

fn file(path: &str, text: &str, lookup: Lookup<'_>) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.trim_start(), Some(value)),
            None => (line, None),
        };
        if name.is_empty() {
            return Err(format!("invalid env file ({path}): no variable name on line '{line}'"));
        }
        if name.contains([' ', '\t']) {
            return Err(format!("invalid env file ({path}): variable '{name}' contains whitespaces"));
        }
        match (value, lookup(name.trim())) {
            (Some(value), _) => out.push(format!("{name}={value}")),
            (None, Some(value)) => out.push(format!("{}={value}", name.trim())),
            (None, None) => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn a_name_alone_takes_its_value_from_here() {
        let found = variables(&[], &["A=1", "HOME", "NOPE", "B="], &home).expect("no file");
        assert_eq!(found, ["A=1", "HOME=/root", "NOPE", "B="]);
    }

    #[test]
    fn a_file_has_a_variable_per_line() {
        let text = "\u{feff}# comment\n\n  A=1 2 \nHOME\nNOPE\nB==x\n";
        assert_eq!(file("f", text, &home), Ok(vec!["A=1 2 ".into(), "HOME=/root".into(), "B==x".into()]));
        assert_eq!(
            file("f", "A B=1", &home),
            Err("invalid env file (f): variable 'A B' contains whitespaces".to_owned())
        );
        assert_eq!(
            file("f", "=1", &home),
            Err("invalid env file (f): no variable name on line '=1'".to_owned())
        );
    }
}
