//! Settings as they were written: words by name, and whether flags or the file said them.

use std::collections::BTreeMap;

use super::flags::{self, Kind, Support};

/// Words by the flag's name. A list or map has several, anything else counts by its last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<&'static str, Vec<String>>);

impl Settings {
    /// Adds a word to a name of the table.
    pub fn add(&mut self, name: &'static str, word: String) {
        self.0.entry(name).or_default().push(word);
    }

    /// Makes a word the only one of a name.
    pub fn set(&mut self, name: &'static str, word: String) {
        self.0.insert(name, vec![word]);
    }

    /// Every name that has a word.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// All words of a name.
    pub fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The word that counts.
    pub fn last(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.last(name) == Some("true")
    }

    /// Adds the file's settings. What is said in both places is an error, also for lists.
    pub fn merge(&mut self, file: Settings) -> Result<(), String> {
        let twice: Vec<String> = file
            .0
            .iter()
            .filter_map(|(name, words)| {
                let from_flags = self.0.get(name)?;
                Some(format!("{name}: (from flag: {}, from file: {})", from_flags.join(","), words.join(",")))
            })
            .collect();
        if !twice.is_empty() {
            return Err(format!(
                "the following directives are specified both as a flag and in the configuration file: {}",
                twice.join(", ")
            ));
        }
        self.0.extend(file.0);
        Ok(())
    }

    /// Refuses what this daemon does not implement.
    pub fn check_support(&self) -> Result<(), String> {
        for (name, words) in &self.0 {
            let Some(flag) = flags::by_name(name) else { continue };
            let shown = if flag.long.is_empty() { format!("{name:?}") } else { format!("--{name}") };
            match flag.support {
                Support::Yes | Support::Idle(_) => {}
                Support::Only(only) if words.iter().all(|word| word == only) => {}
                Support::Only(only) => {
                    return Err(format!("{shown}={} is not implemented: only {only} is", words.join(",")));
                }
                Support::No(reason) => return Err(format!("{shown} cannot be used: {reason}")),
            }
        }
        Ok(())
    }
}

/// Whether a word can be a value of a kind; the word as it is kept.
pub(super) fn check_word(kind: Kind, word: &str) -> Result<String, String> {
    match kind {
        Kind::Switch => match api::query::strict_bool(word) {
            Some(on) => Ok(on.to_string()),
            None => Err(format!("invalid boolean value {word:?}")),
        },
        Kind::Number => match word.parse::<i64>() {
            Ok(number) => Ok(number.to_string()),
            Err(_) => Err(format!("invalid number {word:?}")),
        },
        Kind::Map if !word.contains('=') => Err(format!("invalid value {word:?}: must be name=value")),
        Kind::Text | Kind::List | Kind::Map | Kind::Object => Ok(word.to_string()),
    }
}
