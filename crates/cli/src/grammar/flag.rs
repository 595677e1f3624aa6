//! One flag of a command, as a constant.

/// How often a flag counts, and whether it takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arity {
    /// `--all`, `--all=false`.
    Switch,
    /// `--name x`; the last one counts.
    One,
    /// `--env A=1 --env B=2`; every one counts.
    Many,
}

/// Why a value cannot be taken, as it stands after `invalid argument … for … flag: `.
pub(crate) type Check = fn(&str) -> Result<(), String>;

/// A flag: its names, the kind of its value, and its line in the help text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// The name after two dashes.
    pub(crate) long: &'static str,
    /// The letter after one dash.
    pub(crate) short: Option<char>,
    /// The kind of value, as the help text names it; empty for a switch.
    pub(crate) type_name: &'static str,
    /// Switch, one value, or many.
    pub(crate) arity: Arity,
    /// The value when the flag is not given.
    pub(crate) default: &'static str,
    /// What the help text says about the default; empty to say nothing.
    pub(crate) shown_default: &'static str,
    /// What the flag does.
    pub(crate) about: &'static str,
    /// Left out of the help text.
    pub(crate) hidden: bool,
    /// Refuses impossible values while flags are read.
    pub(crate) check: Check,
}

impl Flag {
    const fn new(
        long: &'static str,
        type_name: &'static str,
        arity: Arity,
        check: Check,
        about: &'static str,
    ) -> Self {
        let (short, default, shown_default, hidden) = (None, "", "", false);
        Self { long, short, type_name, arity, default, shown_default, about, hidden, check }
    }

    /// `--long`, with Go's words for truth.
    pub(crate) const fn switch(long: &'static str, about: &'static str) -> Self {
        Self::new(long, "", Arity::Switch, check_bool, about).default("false")
    }

    /// `--long TEXT`.
    pub(crate) const fn text(long: &'static str, about: &'static str) -> Self {
        Self::new(long, "string", Arity::One, anything, about)
    }

    /// `--long TEXT`, any number of times.
    pub(crate) const fn list(long: &'static str, about: &'static str) -> Self {
        Self::new(long, "list", Arity::Many, anything, about)
    }

    /// `--long A,B`, any number of times; whoever reads it takes the commas apart.
    pub(crate) const fn strings(long: &'static str, about: &'static str) -> Self {
        Self::new(long, "strings", Arity::Many, anything, about)
    }

    /// `--long NUMBER`, 64 bits and signed.
    pub(crate) const fn int(long: &'static str, about: &'static str) -> Self {
        Self::new(long, "int", Arity::One, check_int, about).default("0")
    }

    /// A flag with a value of a kind of its own.
    pub(crate) const fn of(
        type_name: &'static str,
        long: &'static str,
        check: Check,
        about: &'static str,
    ) -> Self {
        Self::new(long, type_name, Arity::One, check, about)
    }

    /// Gives the flag a letter.
    pub(crate) const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    /// Sets the value when the flag is not given, without a word in the help text.
    pub(crate) const fn default(mut self, value: &'static str) -> Self {
        self.default = value;
        self
    }

    /// Sets the default as the help text shows it, for example `"missing"` with its quotes.
    pub(crate) const fn shows(mut self, text: &'static str) -> Self {
        self.shown_default = text;
        self
    }

    /// Makes every value count.
    pub(crate) const fn many(mut self) -> Self {
        self.arity = Arity::Many;
        self
    }

    /// Refuses values for which `check` has an objection.
    pub(crate) const fn checked(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    /// Leaves the flag out of the help text.
    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// The names as an error message has them: `-m, --memory`.
    pub(crate) fn names(&self) -> String {
        match self.short {
            Some(letter) => format!("-{letter}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }
}

fn anything(_: &str) -> Result<(), String> {
    Ok(())
}

fn check_bool(text: &str) -> Result<(), String> {
    parse_bool(text).map(drop)
}

/// Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

fn check_int(text: &str) -> Result<(), String> {
    parse_int(text).map(drop)
}

/// Go's `strconv.ParseInt(text, 0, 64)`: decimal, or with a prefix hexadecimal, octal or binary.
pub(crate) fn parse_int(text: &str) -> Result<i64, String> {
    let failed = |why: &str| format!("strconv.ParseInt: parsing {text:?}: {why}");
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1_i128, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    let value = parse_magnitude(digits).map_err(failed)?;
    i64::try_from(sign * value).map_err(|_| failed("value out of range"))
}

/// Go's `strconv.ParseUint(text, 0, bits)`.
pub(crate) fn parse_uint(text: &str, bits: u32) -> Result<u64, String> {
    let failed = |why: &str| format!("strconv.ParseUint: parsing {text:?}: {why}");
    let value = parse_magnitude(text).map_err(failed)?;
    if value >= 1_i128 << bits { Err(failed("value out of range")) } else { Ok(value as u64) }
}

fn parse_magnitude(digits: &str) -> Result<i128, &'static str> {
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return Err("invalid syntax");
    }
    match i128::from_str_radix(digits, base) {
        Ok(value) if value <= i128::from(u64::MAX) => Ok(value),
        _ => Err("value out of range"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let check = |text: &str, expected: Result<i64, &str>| {
            let expected = expected.map_err(|why| format!("strconv.ParseInt: parsing {text:?}: {why}"));
            assert_eq!(parse_int(text), expected, "{text}");
        };
        check("12", Ok(12));
        check("-1", Ok(-1));
        check("0x10", Ok(16));
        check("010", Ok(8));
        check("0", Ok(0));
        check("-9223372036854775808", Ok(i64::MIN));
        check("9223372036854775808", Err("value out of range"));
        check("", Err("invalid syntax"));
        check("1.5", Err("invalid syntax"));
        check("0x", Err("invalid syntax"));
        check("--1", Err("invalid syntax"));
    }

    #[test]
    fn a_number_that_is_too_big_for_its_kind_is_refused() {
        assert_eq!(parse_uint("65535", 16), Ok(65535));
        let words = "strconv.ParseUint: parsing \"65536\": value out of range";
        assert_eq!(parse_uint("65536", 16), Err(words.to_owned()));
        assert!(parse_uint("-1", 16).is_err());
    }
}
