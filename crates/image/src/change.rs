//! Dockerfile instructions that change an image's configuration: `docker import --change`, `docker commit --change`.

use oci::image::{Config, Empty, Healthcheck};

use crate::{Error, Result};

/// Applies instructions in order. Allowed are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL,
/// USER, VOLUME and WORKDIR.
///
/// # Errors
/// When an instruction is unknown or malformed; then nothing is changed.
pub fn apply(config: &mut Config, changes: &[String]) -> Result<()> {
    let mut changed = config.clone();
    let mut has_command = false;
    for change in changes {
        for line in change.lines() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let instruction = apply_one(&mut changed, line)?;
                has_command |= instruction == "CMD";
                // The old command was for the old entry point.
                if instruction == "ENTRYPOINT" && !has_command {
                    changed.cmd = None;
                }
            }
        }
    }
    *config = changed;
    Ok(())
}

/// Applies one instruction; answers with its name in capitals.
fn apply_one(config: &mut Config, line: &str) -> Result<String> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (instruction, rest) = (word.to_ascii_uppercase(), rest.trim());
    let known = [
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ];
    if !known.contains(&instruction.as_str()) {
        return Err(invalid(format!("{} is not a valid change command", instruction.to_ascii_lowercase())));
    }
    if rest.is_empty() && !matches!(instruction.as_str(), "CMD" | "ENTRYPOINT") {
        return Err(invalid(format!("{instruction} requires at least one argument")));
    }
    match instruction.as_str() {
        "CMD" => config.cmd = Some(command(rest, config.shell.as_deref())),
        "ENTRYPOINT" => {
            config.entrypoint =
                Some(command(rest, config.shell.as_deref())).filter(|words| !words.is_empty());
        }
        "ENV" => {
            for (name, value) in pairs(rest, "ENV")? {
                set_env(&mut config.env, &name, &value);
            }
        }
        "LABEL" => config.labels.get_or_insert_default().extend(pairs(rest, "LABEL")?),
        "EXPOSE" => {
            for port in words(rest)? {
                for port in expand_port(&port)? {
                    config.exposed_ports.get_or_insert_default().insert(port, Empty {});
                }
            }
        }
        "VOLUME" => {
            let paths = json_words(rest).map_or_else(|| words(rest), Ok)?;
            for path in paths {
                if path.trim().is_empty() {
                    return Err(invalid("VOLUME specified can not be an empty string".to_owned()));
                }
                config.volumes.get_or_insert_default().insert(path, Empty {});
            }
        }
        "USER" => config.user = single(rest, "USER")?,
        "WORKDIR" => config.working_dir = working_dir(&config.working_dir, &single(rest, "WORKDIR")?),
        "STOPSIGNAL" => config.stop_signal = single(rest, "STOPSIGNAL")?,
        "ONBUILD" => config.on_build.push(on_build(rest)?),
        _ => config.healthcheck = Some(healthcheck(rest)?),
    }
    Ok(instruction)
}

fn invalid(words: String) -> Error {
    Error::Invalid(words)
}

/// The exec form is taken as it is; anything else is for the shell.
fn command(rest: &str, shell: Option<&[String]>) -> Vec<String> {
    match json_words(rest) {
        Some(words) => words,
        None if rest.is_empty() => Vec::new(),
        None => {
            let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
            let mut words = shell.filter(|shell| !shell.is_empty()).map_or_else(default, <[String]>::to_vec);
            words.push(rest.to_owned());
            words
        }
    }
}

fn json_words(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

fn single(rest: &str, instruction: &str) -> Result<String> {
    let mut words = words(rest)?;
    if instruction == "WORKDIR" && words.len() > 1 {
        return Ok(rest.to_owned());
    }
    match (words.pop(), words.is_empty()) {
        (Some(word), true) => Ok(word),
        _ => Err(invalid(format!("{instruction} requires exactly one argument"))),
    }
}

/// Sets a variable in its place, or adds it.
fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let text = format!("{name}={value}");
    match env.iter_mut().find(|entry| entry.split('=').next() == Some(name)) {
        Some(entry) => *entry = text,
        None => env.push(text),
    }
}

/// `name=value …` with quotes, or the old form `name the whole rest`.
fn pairs(rest: &str, instruction: &str) -> Result<Pairs> {
    let list = words(rest)?;
    let first = list.first().map(String::as_str).unwrap_or_default();
    if !first.contains('=') {
        let Some((name, value)) = rest.split_once(char::is_whitespace) else {
            return Err(invalid(format!("{instruction} must have two arguments")));
        };
        return Ok(vec![(unquoted(name)?, value.trim().to_owned())]);
    }
    list.into_iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(invalid(format!("{instruction} names can not be blank"))),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(invalid(format!(
                "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
            ))),
        })
        .collect()
}

/// Names and values in the order they were written.
type Pairs = Vec<(String, String)>;

fn unquoted(text: &str) -> Result<String> {
    Ok(words(text)?.concat())
}

/// Splits at white space outside quotes; quotes and backslashes are taken away as a shell does.
fn words(text: &str) -> Result<Vec<String>> {
    let (mut list, mut word, mut started) = (Vec::new(), String::new(), false);
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some('\''), '\'') => quote = None,
            (Some('"'), '"') => quote = None,
            (Some('\''), other) => word.push(other),
            (Some('"'), '\\') => match characters.next() {
                Some(escaped @ ('"' | '\\' | '$')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => {
                    return Err(invalid(format!(
                        "unexpected end of statement while looking for a matching quote: {text}"
                    )));
                }
            },
            (None, '\\') => {
                started = true;
                word.extend(characters.next());
            }
            (None, quoting @ ('\'' | '"')) => (quote, started) = (Some(quoting), true),
            (None, space) if space.is_whitespace() => {
                if started {
                    list.push(std::mem::take(&mut word));
                }
                started = false;
            }
            (_, other) => {
                started = true;
                word.push(other);
            }
        }
    }
    if quote.is_some() {
        return Err(invalid(format!(
            "unexpected end of statement while looking for a matching quote: {text}"
        )));
    }
    if started {
        list.push(word);
    }
    Ok(list)
}

/// `80`, `80/udp`, `8000-8010/tcp` as single ports with their protocol.
fn expand_port(text: &str) -> Result<Vec<String>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(invalid(format!("invalid proto: {protocol}")));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number =
        |text: &str| text.parse::<u16>().map_err(|_| invalid(format!("invalid containerPort: {range}")));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(invalid(format!("invalid containerPort: {range}")));
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// A relative directory continues the one before.
fn working_dir(before: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("/{before}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn on_build(rest: &str) -> Result<String> {
    let word = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match word.as_str() {
        "ONBUILD" => Err(invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned())),
        "MAINTAINER" | "FROM" => Err(invalid(format!("{word} isn't allowed as an ONBUILD trigger"))),
        _ => Ok(rest.to_owned()),
    }
}

fn healthcheck(rest: &str) -> Result<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, behind) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let time = || {
            let nanoseconds =
                duration(value).ok_or_else(|| invalid(format!("time: invalid duration {value:?}")))?;
            if nanoseconds != 0 && nanoseconds < 1_000_000 {
                return Err(invalid(format!("Interval {name:?} cannot be less than 1ms")));
            }
            Ok(nanoseconds)
        };
        match name {
            "interval" => check.interval = time()?,
            "timeout" => check.timeout = time()?,
            "start-period" => check.start_period = time()?,
            "start-interval" => check.start_interval = time()?,
            "retries" => {
                check.retries = value.parse().ok().filter(|retries| *retries >= 0).ok_or_else(|| {
                    invalid(format!("--retries cannot be negative or not a number: {value:?}"))
                })?;
            }
            _ => return Err(invalid(format!("unknown flag: --{name}"))),
        }
        rest = behind.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    check.test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if command.is_empty() => vec!["NONE".to_owned()],
        "NONE" => return Err(invalid("HEALTHCHECK NONE takes no arguments".to_owned())),
        "CMD" if command.is_empty() => {
            return Err(invalid("Missing command after HEALTHCHECK CMD".to_owned()));
        }
        "CMD" => match json_words(command) {
            Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        other => return Err(invalid(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)"))),
    };
    Ok(check)
}

/// A duration as Go writes it (`1m30s`, `1.5h`, `500ms`) in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let unit =
            rest[number..].len() - rest[number..].trim_start_matches(|c: char| c.is_alphabetic()).len();
        let scale = match &rest[number..number + unit] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += rest[..number].parse::<f64>().ok()? * scale;
        rest = &rest[number + unit..];
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked against the range of the target type")]
    let nanoseconds = (total.abs() < 9e18).then_some(total as i64)?;
    Some(if negative { -nanoseconds } else { nanoseconds })
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
