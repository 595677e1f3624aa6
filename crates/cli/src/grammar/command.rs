//! Commands and groups of commands, as constants.

use std::pin::Pin;

use super::{Absent, Flag, Typed};
use crate::failure::Failure;
use crate::session::Session;

/// What a command's `run` returns: the exit code of the program.
pub(crate) type Future<'a> = Pin<Box<dyn std::future::Future<Output = Result<i32, Failure>> + 'a>>;

/// A command: its grammar, its help, and what it does.
pub(crate) struct Command {
    /// What follows the name in a usage line: `[OPTIONS] IMAGE [COMMAND] [ARG...]`; `{path}` is the name once more.
    pub(crate) synopsis: &'static str,
    /// One line, also shown in the list of commands.
    pub(crate) about: &'static str,
    /// Every path to the command, without the program's name; empty when there is one only.
    pub(crate) paths: &'static [&'static str],
    /// Groups of flags; commands share groups.
    pub(crate) flags: &'static [&'static [Flag]],
    /// How many operands there may be.
    pub(crate) operands: Operands,
    /// Flags may stand after operands. Not so where the operands are another program's command line.
    pub(crate) interspersed: bool,
    /// Does it.
    pub(crate) run: for<'a> fn(&'a Session, &'a Typed) -> Future<'a>,
}

/// How many operands a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operands {
    /// None.
    None,
    /// So many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
    /// So many or fewer.
    AtMost(usize),
    /// From so many to so many.
    Between(usize, usize),
    /// Any number.
    Any,
}

/// A group of commands: `container`, `image`, and the root.
pub(crate) struct Group {
    /// One line for the list of commands.
    pub(crate) about: &'static str,
    /// The commands, in the order of their names.
    pub(crate) entries: &'static [Entry],
}

/// A name in a group.
pub(crate) struct Entry {
    /// The name that help shows.
    pub(crate) name: &'static str,
    /// Other names for the same thing.
    pub(crate) aliases: &'static [&'static str],
    /// What it names.
    pub(crate) node: Node,
}

/// What a name stands for.
pub(crate) enum Node {
    /// A command.
    Command(&'static Command),
    /// A group.
    Group(&'static Group),
    /// A command that does nothing here.
    Absent(&'static Absent),
}

impl Group {
    /// The entry of that name or alias.
    pub(crate) fn find(&self, name: &str) -> Option<&'static Entry> {
        let entries: &'static [Entry] = self.entries;
        entries.iter().find(|entry| entry.name == name || entry.aliases.contains(&name))
    }
}

impl Group {
    /// Whether nothing in it does anything here: help does not show it.
    pub(crate) fn is_absent(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.node, Node::Absent(_)))
    }
}

impl Command {
    /// The usage line for the command at `path`, without the word `Usage`.
    pub(crate) fn usage(&self, path: &str) -> String {
        format!("{path} {}", self.synopsis.replace("{path}", path))
    }
}

impl Entry {
    /// An entry for a command.
    pub(crate) const fn command(name: &'static str, command: &'static Command) -> Self {
        Self { name, aliases: &[], node: Node::Command(command) }
    }

    /// An entry for a group.
    pub(crate) const fn group(name: &'static str, group: &'static Group) -> Self {
        Self { name, aliases: &[], node: Node::Group(group) }
    }

    /// An entry for a command that does nothing here.
    pub(crate) const fn absent(name: &'static str, absent: &'static Absent) -> Self {
        Self { name, aliases: &[], node: Node::Absent(absent) }
    }

    /// Gives the entry other names.
    pub(crate) const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// The line in the list of commands.
    pub(crate) fn about(&self) -> &'static str {
        match self.node {
            Node::Command(command) => command.about,
            Node::Group(group) => group.about,
            Node::Absent(absent) => absent.about,
        }
    }
}

impl Operands {
    /// The objection to `count` operands for the command at `path`, in Docker's words, with the pointer to help.
    pub(crate) fn objection(self, path: &str, count: usize) -> Option<(String, &'static str)> {
        let plural = |number: usize| if number == 1 { "argument" } else { "arguments" };
        let requires =
            |how: &str, number: usize| format!("'{path}' requires {how}{number} {}", plural(number));
        match self {
            Self::None if count > 0 => Some((format!("'{path}' accepts no arguments"), "Run")),
            Self::Exactly(number) if count != number => Some((requires("", number), "Run")),
            Self::AtLeast(number) if count < number => Some((requires("at least ", number), "See")),
            Self::AtMost(number) if count > number => Some((requires("at most ", number), "See")),
            Self::Between(least, most) if count < least || count > most => {
                let text = format!("'{path}' requires at least {least} and at most {most} {}", plural(most));
                Some((text, "Run"))
            }
            _ => None,
        }
    }
}
