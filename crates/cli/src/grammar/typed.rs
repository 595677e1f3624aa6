//! What was typed: the values of flags in their order, and the operands.

use super::flag::{Flag, parse_bool, parse_int, parse_uint};

/// What was typed after a command's name, every value checked against its flag.
#[derive(Debug, Default)]
pub(crate) struct Typed {
    pub(super) flags: Vec<&'static Flag>,
    pub(super) values: Vec<(&'static str, String)>,
    pub(super) operands: Vec<String>,
}

impl Typed {
    /// What follows the flags.
    pub(crate) fn operands(&self) -> &[String] {
        &self.operands
    }

    /// The operand at `index`; the command's table says how many there are.
    pub(crate) fn operand(&self, index: usize) -> &str {
        &self.operands[index]
    }

    /// Whether the flag was given at all.
    pub(crate) fn given(&self, long: &str) -> bool {
        self.last(long).is_some()
    }

    /// The value of a switch.
    pub(crate) fn switch(&self, long: &str) -> bool {
        parse_bool(self.text(long)).unwrap_or_default()
    }

    /// The last value of a flag, or its default.
    pub(crate) fn text(&self, long: &str) -> &str {
        self.last(long).unwrap_or_else(|| self.flag(long).default)
    }

    /// The value of a signed number.
    pub(crate) fn int(&self, long: &str) -> i64 {
        parse_int(self.text(long)).unwrap_or_default()
    }

    /// The value of an unsigned number.
    pub(crate) fn uint(&self, long: &str) -> u64 {
        parse_uint(self.text(long), 64).unwrap_or_default()
    }

    /// Every value of a flag, in the order typed.
    pub(crate) fn list(&self, long: &str) -> Vec<&str> {
        self.flag(long);
        self.values.iter().filter(|(name, _)| *name == long).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether this command knows the flag.
    pub(crate) fn knows(&self, long: &str) -> bool {
        self.flags.iter().any(|flag| flag.long == long)
    }

    fn last(&self, long: &str) -> Option<&str> {
        self.flag(long);
        self.values.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// The flag of that name: asking for one that the command's table does not have is a mistake in the command.
    fn flag(&self, long: &str) -> &'static Flag {
        let found = self.flags.iter().find(|flag| flag.long == long);
        found.unwrap_or_else(|| panic!("the command's table has no flag --{long}"))
    }
}
