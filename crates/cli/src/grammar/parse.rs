//! argv → what was typed, by the rules of the pflag library.

use super::{Arity, Flag, Typed};

/// Why a command line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// `--help` was asked for.
    Help,
    /// An impossible flag or value, in pflag's words.
    Invalid(String),
}

/// Reads `args` by the flags of `groups`. Unless `interspersed`, the first operand ends the flags.
pub(crate) fn parse(
    groups: &'static [&'static [Flag]],
    interspersed: bool,
    args: &[String],
) -> Result<Typed, Stop> {
    let flags = groups.iter().flat_map(|group| group.iter()).collect();
    let mut reader =
        Reader { typed: Typed { flags, ..Typed::default() }, rest: args.iter().cloned().collect() };
    while let Some(word) = reader.rest.pop_front() {
        if word == "--" {
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            reader.long(&word, long)?;
        } else if word.len() > 1 && word.starts_with('-') {
            reader.letters(&word[1..])?;
        } else {
            reader.typed.operands.push(word);
            if !interspersed {
                break;
            }
        }
    }
    reader.typed.operands.extend(reader.rest);
    Ok(reader.typed)
}

struct Reader {
    typed: Typed,
    rest: std::collections::VecDeque<String>,
}

impl Reader {
    fn find(&self, matches: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
        self.typed.flags.iter().copied().find(|flag| matches(flag))
    }

    fn long(&mut self, word: &str, text: &str) -> Result<(), Stop> {
        if text.starts_with(['-', '=']) {
            return Err(Stop::Invalid(format!("bad flag syntax: {word}")));
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let Some(flag) = self.find(|flag| flag.long == name) else {
            return Err(match name {
                "help" => Stop::Help,
                _ => Stop::Invalid(format!("unknown flag: --{name}")),
            });
        };
        let value = match value {
            Some(value) => value,
            None if flag.arity == Arity::Switch => "true".to_owned(),
            None => self
                .rest
                .pop_front()
                .ok_or_else(|| Stop::Invalid(format!("flag needs an argument: --{name}")))?,
        };
        self.take(flag, value)
    }

    /// A cluster of letters, `-itd`; a value may stand right behind its letter, with or without `=`.
    fn letters(&mut self, cluster: &str) -> Result<(), Stop> {
        let mut letters = cluster;
        while let Some(letter) = letters.chars().next() {
            let behind = &letters[letter.len_utf8()..];
            let Some(flag) = self.find(|flag| flag.short == Some(letter)) else {
                return Err(match letter {
                    'h' => Stop::Help,
                    _ => Stop::Invalid(format!("unknown shorthand flag: '{letter}' in -{letters}")),
                });
            };
            if behind.len() > 1 && behind.starts_with('=') {
                return self.take(flag, behind[1..].to_owned());
            }
            if flag.arity == Arity::Switch {
                self.take(flag, "true".to_owned())?;
                letters = behind;
                continue;
            }
            let value = if behind.is_empty() {
                let missing = format!("flag needs an argument: '{letter}' in -{letters}");
                self.rest.pop_front().ok_or(Stop::Invalid(missing))?
            } else {
                behind.to_owned()
            };
            return self.take(flag, value);
        }
        Ok(())
    }

    fn take(&mut self, flag: &'static Flag, value: String) -> Result<(), Stop> {
        if flag.long == "help" {
            return Err(Stop::Help);
        }
        (flag.check)(&value).map_err(|why| {
            Stop::Invalid(format!("invalid argument {value:?} for {:?} flag: {why}", flag.names()))
        })?;
        self.typed.values.push((flag.long, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static FLAGS: &[Flag] = &[
        Flag::switch("interactive", "").short('i'),
        Flag::switch("tty", "").short('t'),
        Flag::switch("detach", "").short('d'),
        Flag::switch("rm", ""),
        Flag::list("publish", "").short('p'),
        Flag::list("env", "").short('e'),
        Flag::text("hostname", "").short('h'),
        Flag::int("memory", "").short('m'),
    ];
    static GROUPS: &[&[Flag]] = &[FLAGS];

    fn check(line: &str, interspersed: bool, expected: &str) {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let found = match parse(GROUPS, interspersed, &args) {
            Ok(typed) => {
                let flags: Vec<_> =
                    typed.values.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("{} | {}", flags.join(" "), typed.operands.join(" "))
            }
            Err(Stop::Help) => "help".to_owned(),
            Err(Stop::Invalid(why)) => why,
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn flags_end_at_the_first_operand_of_another_programs_command_line() {
        check("-it img sh", false, "interactive=true tty=true | img sh");
        check(
            "-itd -p81:81 -p=82:82 -eB=1 img",
            false,
            "interactive=true tty=true detach=true publish=81:81 publish=82:82 env=B=1 | img",
        );
        check("-it=false img", false, "interactive=true tty=false | img");
        check("--rm false img", false, "rm=true | false img");
        check("--rm=false img", false, "rm=false | img");
        check("img --rm", false, " | img --rm");
        check("-h host img --help", false, "hostname=host | img --help");
        check("-m -1 img", false, "memory=-1 | img");
        check("img -- ls", false, " | img -- ls");
        check("-- img ls", false, " | img ls");
        check("-e -x img", false, "env=-x | img");
    }

    #[test]
    fn flags_may_stand_after_operands_elsewhere() {
        check("a -t b --rm c", true, "tty=true rm=true | a b c");
        check("a -- -t", true, " | a -t");
        check("- -t", true, "tty=true | -");
    }

    #[test]
    fn mistakes_are_told_in_pflags_words() {
        check("--nope", true, "unknown flag: --nope");
        check("--nope=1", true, "unknown flag: --nope");
        check("-zt", true, "unknown shorthand flag: 'z' in -zt");
        check("-tz", true, "unknown shorthand flag: 'z' in -z");
        check("-p", true, "flag needs an argument: 'p' in -p");
        check("--publish", true, "flag needs an argument: --publish");
        check("--=", true, "bad flag syntax: --=");
        check("---x", true, "bad flag syntax: ---x");
        check(
            "--rm=maybe",
            true,
            "invalid argument \"maybe\" for \"--rm\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        );
        check(
            "-m=",
            true,
            "invalid argument \"=\" for \"-m, --memory\" flag: strconv.ParseInt: parsing \"=\": invalid syntax",
        );
        check("--help", true, "help");
        check("-ti --help", true, "help");
    }
}
