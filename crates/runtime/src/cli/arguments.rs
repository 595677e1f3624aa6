//! Flags in the grammar that runc has: they come before what they are about, and one dash is as good as two.

use std::ffi::OsString;

use crate::{Error, Result};

/// A flag that a command knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    /// Its long name, without dashes.
    pub(super) name: &'static str,
    /// Its one-letter name.
    pub(super) letter: Option<char>,
    /// Whether it takes a value.
    pub(super) value: bool,
}

/// A flag without a value.
pub(super) const fn switch(name: &'static str) -> Flag {
    Flag { name, letter: None, value: false }
}

/// A flag with a value.
pub(super) const fn value(name: &'static str) -> Flag {
    Flag { name, letter: None, value: true }
}

impl Flag {
    /// The same, with a one-letter name.
    pub(super) const fn or(self, letter: char) -> Self {
        Self { letter: Some(letter), ..self }
    }
}

/// What was given: flags in order, and what follows them.
#[derive(Debug, Default)]
pub(super) struct Given {
    flags: Vec<(&'static str, String)>,
    /// What follows the flags.
    pub(super) rest: Vec<String>,
}

impl Given {
    /// Reads arguments up to the first that is no flag, or to `--`.
    pub(super) fn parse(known: &[Flag], arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut given = Self::default();
        let mut arguments = arguments.into_iter().map(|argument| {
            argument.into_string().map_err(|bad| Error::invalid(format!("argument {bad:?} is not UTF-8")))
        });
        while let Some(argument) = arguments.next() {
            let argument = argument?;
            if argument == "--" {
                break;
            }
            if !argument.starts_with('-') || argument == "-" {
                given.rest.push(argument);
                break;
            }
            let text = argument.trim_start_matches('-');
            let (name, attached) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            let same = |flag: &&Flag| {
                flag.name == name || flag.letter.is_some_and(|letter| name.chars().eq([letter]))
            };
            let flag = known
                .iter()
                .find(same)
                .ok_or_else(|| Error::invalid(format!("flag provided but not defined: {argument}")))?;
            let value = match (flag.value, attached) {
                (_, Some(value)) => value,
                (false, None) => "true".to_owned(),
                (true, None) => arguments
                    .next()
                    .ok_or_else(|| Error::invalid(format!("flag needs an argument: {argument}")))??,
            };
            given.flags.push((flag.name, value));
        }
        for argument in arguments {
            given.rest.push(argument?);
        }
        Ok(given)
    }

    /// The same, with flags also after what the command is about, as runc takes them where no program's arguments follow.
    pub(super) fn parse_anywhere(
        known: &[Flag],
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self> {
        let mut all = Self::parse(known, arguments)?;
        let mut rest = std::mem::take(&mut all.rest).into_iter();
        while let Some(word) = rest.next() {
            all.rest.push(word);
            let more = Self::parse(known, rest.map(OsString::from))?;
            all.flags.extend(more.flags);
            rest = more.rest.into_iter();
        }
        Ok(all)
    }

    /// The last value of a flag.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a flag.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.flags.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.clone()).collect()
    }

    /// Whether a switch is on.
    pub(super) fn on(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1" | "t" | "T" | "TRUE" | "True"))
    }

    /// The value of a flag as a number.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Error::invalid(format!("invalid value {text:?} for flag -{name}")))
        };
        self.get(name).filter(|text| !text.is_empty()).map(parse).transpose()
    }

    /// The one thing that a command is about.
    pub(super) fn only(&self, what: &str) -> Result<&str> {
        match self.rest.as_slice() {
            [one] => Ok(one),
            _ => Err(Error::invalid(format!("exactly 1 argument is needed: {what}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_first_and_the_rest_is_left_alone() {
        let known = [value("bundle").or('b'), switch("detach").or('d'), value("env").or('e')];
        let given = |text: &str| Given::parse(&known, text.split(' ').map(OsString::from));
        let got = given("-b /x --detach=false -e A=1 --env=B=2=3 id sh -c --nope").unwrap();
        assert_eq!((got.get("bundle"), got.on("detach")), (Some("/x"), false));
        assert_eq!(got.all("env"), ["A=1", "B=2=3"]);
        assert_eq!(got.rest, ["id", "sh", "-c", "--nope"]);
        assert_eq!(given("-d -- -x").unwrap().rest, ["-x"]);
        let anywhere = "id KILL --detach -b /y".split(' ').map(OsString::from);
        let got = Given::parse_anywhere(&known, anywhere).unwrap();
        assert_eq!((got.get("bundle"), got.on("detach"), got.rest.len()), (Some("/y"), true, 2));
        assert!(given("--nope").is_err_and(|error| error.message().contains("not defined: --nope")));
        assert!(given("--bundle").is_err());
    }
}
