//! Docker's argument grammar (the one of the pflag and cobra libraries): tables of commands and flags, and what was typed.
//!
//! The tables are constants, so that a command costs nothing until it is called.

mod absent;
mod command;
mod flag;
mod help;
mod parse;
mod typed;

pub(crate) use absent::{Absent, Method, Why, question};
pub(crate) use command::{Command, Entry, Group, Node, Operands};
pub(crate) use flag::{Arity, Flag, parse_bool, parse_int, parse_uint};
pub(crate) use help::{command_help, group_help, root_help};
pub(crate) use parse::{Stop, parse};
pub(crate) use typed::Typed;
