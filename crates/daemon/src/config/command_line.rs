//! The command line, read as pflag reads it: `--name=value`, `--name value`, `-n value`, `-nvalue`, `-Dl debug`.

use super::ConfigError;
use super::flags::{self, Flag, Kind};
use super::settings::{Settings, check_word};

/// Reads the arguments after the program's name.
pub fn parse(args: &[String]) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut next = || rest.next().cloned();
        if let Some(long) = arg.strip_prefix("--") {
            parse_long(long, &mut next, &mut settings)?;
        } else if let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            parse_letters(letters, &mut next, &mut settings)?;
        } else {
            return Err(ConfigError::Usage(format!("the daemon takes no arguments, only flags: {arg:?}")));
        }
    }
    Ok(settings)
}

fn parse_long(
    text: &str,
    next: &mut dyn FnMut() -> Option<String>,
    settings: &mut Settings,
) -> Result<(), ConfigError> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (text, None),
    };
    let flag = flags::by_long(name).ok_or_else(|| ConfigError::Usage(format!("unknown flag: --{name}")))?;
    let value = match value {
        Some(value) => value,
        None if flag.kind == Kind::Switch => "true".into(),
        None => next().ok_or_else(|| ConfigError::Usage(format!("flag needs an argument: --{name}")))?,
    };
    add(flag, &value, settings)
}

fn parse_letters(
    mut letters: &str,
    next: &mut dyn FnMut() -> Option<String>,
    settings: &mut Settings,
) -> Result<(), ConfigError> {
    while let Some(first) = letters.chars().next() {
        let (letter, rest) = letters.split_at(first.len_utf8());
        let unknown = || ConfigError::Usage(format!("unknown shorthand flag: '{letter}' in -{letters}"));
        let flag = flags::by_short(letter).ok_or_else(unknown)?;
        if flag.kind == Kind::Switch && !rest.starts_with('=') {
            add(flag, "true", settings)?;
            letters = rest;
            continue;
        }
        let value = match rest.strip_prefix('=').unwrap_or(rest) {
            "" => next().ok_or_else(|| {
                ConfigError::Usage(format!("flag needs an argument: '{letter}' in -{letters}"))
            })?,
            value => value.to_string(),
        };
        return add(flag, &value, settings);
    }
    Ok(())
}

fn add(flag: &'static Flag, value: &str, settings: &mut Settings) -> Result<(), ConfigError> {
    let word = check_word(flag.kind, value).map_err(|reason| {
        ConfigError::Usage(format!("invalid argument {value:?} for \"--{}\" flag: {reason}", flag.long))
    })?;
    settings.add(flag.name(), word);
    Ok(())
}
