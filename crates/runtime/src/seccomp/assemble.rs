//! Instructions from decisions: a balanced tree per architecture, assembled from its end.
//!
//! Jumps only lead forward and reach 255 instructions. So the program is put together backwards: whatever an
//! instruction leads to is in place already, and what is still in reach is shared instead of repeated.

use std::collections::HashMap;

use linux::seccomp::Instruction;

use super::Invalid;
use super::architecture::{Architecture, X32_BIT};
use super::rules::{Action, Calls, Comparison, Condition, Decision, Filter};

/// The most instructions the kernel takes (BPF_MAXINSNS).
const MOST: usize = 4096;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_GREATER_OR_EQUAL: u16 = 0x35;
const ANSWER: u16 = 0x06;

/// Offsets into `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// A place in the program, counted from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(usize);

/// What can be jumped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Target<'a> {
    Answer(Action),
    Rules {
        rules: &'a [(Vec<Condition>, Action)],
        /// Whether the upper half of an argument counts.
        is_64_bit: bool,
    },
}

/// The first number of a range, and what is to happen from there up to the next one.
type Range<'a> = (u32, Target<'a>);

pub(super) fn assemble(filter: &Filter) -> Result<Vec<Instruction>, Invalid> {
    let mut code = Code { default: filter.default, reversed: Vec::new(), placed: HashMap::new() };
    let mut next = code.target(Target::Answer(Action::KILL_THREAD));
    for (audit, ranges) in branches(filter).into_iter().rev() {
        let tree = code.tree(&ranges);
        let branch = code.then(LOAD, NUMBER, tree);
        next = code.branch(IF_EQUAL, audit, branch, next);
    }
    code.then(LOAD, ARCHITECTURE, next);
    let Code { mut reversed, .. } = code;
    if reversed.len() > MOST {
        return Err(Invalid::TooLong(reversed.len()));
    }
    reversed.reverse();
    Ok(reversed)
}

/// The ranges of all numbers, by what the kernel calls the architecture.
///
/// x86_64 and x32 are one to the kernel; a bit in the number tells them apart, so x32 begins where x86_64 ends.
fn branches(filter: &Filter) -> Vec<(u32, Vec<Range<'_>>)> {
    let mut branches: Vec<(u32, Vec<Range<'_>>)> = Vec::new();
    for (architecture, calls) in &filter.architectures {
        let ranges = ranges(*architecture, calls, filter.default);
        match branches.iter_mut().find(|(audit, _)| *audit == architecture.audit()) {
            Some((_, present)) => {
                present.retain(|(from, _)| *from < X32_BIT);
                ranges
                    .into_iter()
                    .filter(|(from, _)| *from >= X32_BIT)
                    .for_each(|(from, to)| push(present, from, to));
            }
            None => branches.push((architecture.audit(), ranges)),
        }
    }
    branches
}

/// The ranges of one architecture.
fn ranges(architecture: Architecture, calls: &Calls, default: Action) -> Vec<Range<'_>> {
    let (killed, default) = (Target::Answer(Action::KILL_THREAD), Target::Answer(default));
    let newer = calls.newer_from.map(|_| Target::Answer(Action::ENOSYS)).unwrap_or(default);
    let mut ranges = Vec::new();
    if architecture == Architecture::X32 {
        push(&mut ranges, 0, killed);
        push(&mut ranges, X32_BIT, default);
    } else {
        push(&mut ranges, 0, default);
    }
    for (number, decision) in &calls.decisions {
        let target = match decision {
            Decision::Always(action) => Target::Answer(*action),
            Decision::When(rules) => Target::Rules { rules, is_64_bit: architecture.is_64_bit() },
        };
        push(&mut ranges, *number, target);
        push(&mut ranges, number + 1, default);
    }
    if let Some(from) = calls.newer_from {
        push(&mut ranges, from, newer);
    }
    if architecture == Architecture::X86_64 {
        push(&mut ranges, X32_BIT, killed);
        // A tracer skips a call by setting its number to -1: that is not a call of x32.
        push(&mut ranges, u32::MAX, newer);
    }
    ranges
}

/// Begins a range, in the place of one that begins at the same number, and joined with one that has the same target.
fn push<'a>(ranges: &mut Vec<Range<'a>>, from: u32, target: Target<'a>) {
    if ranges.last().is_some_and(|(last, _)| *last == from) {
        ranges.pop();
    }
    if ranges.last().is_none_or(|(_, last)| *last != target) {
        ranges.push((from, target));
    }
}

/// The program so far, its last instruction first.
struct Code<'a> {
    default: Action,
    reversed: Vec<Instruction>,
    /// Where targets are that have been placed, the latest place of each.
    placed: HashMap<Target<'a>, Place>,
}

impl<'a> Code<'a> {
    /// A balanced tree that ends in the target of the range that the number lies in.
    fn tree(&mut self, ranges: &[Range<'a>]) -> Place {
        let middle = ranges.len() / 2;
        let (lower, upper) = ranges.split_at(middle);
        match (lower, upper) {
            ([], [(_, target)]) => self.target(*target),
            ([], _) | (_, []) => self.target(Target::Answer(self.default)),
            (_, [(from, target), rest @ ..]) => {
                // A single target is placed last, so that it is in reach.
                let below = (lower.len() > 1).then(|| self.tree(lower));
                let above = if rest.is_empty() { self.target(*target) } else { self.tree(upper) };
                let below = below.unwrap_or_else(|| self.target(lower[0].1));
                self.branch(IF_GREATER_OR_EQUAL, *from, above, below)
            }
        }
    }

    /// The place of a target: one in reach, or a new one.
    fn target(&mut self, target: Target<'a>) -> Place {
        // A few instructions may still come between; a jump that turns out too far is bridged.
        if let Some(place) = self.placed.get(&target).filter(|place| self.distance(**place) < 250) {
            return *place;
        }
        let place = match target {
            Target::Answer(action) => self.emit(ANSWER, 0, 0, action.0),
            Target::Rules { rules, is_64_bit } => self.rules(rules, is_64_bit),
        };
        self.placed.insert(target, place);
        place
    }

    /// Rules in their order; where none holds, the default action.
    fn rules(&mut self, rules: &'a [(Vec<Condition>, Action)], is_64_bit: bool) -> Place {
        let mut otherwise = self.target(Target::Answer(self.default));
        for (conditions, action) in rules.iter().rev() {
            let mut holds = self.target(Target::Answer(*action));
            for condition in conditions.iter().rev() {
                holds = self.condition(*condition, is_64_bit, holds, otherwise);
            }
            otherwise = holds;
        }
        otherwise
    }

    /// Compares an argument. The kernel compares words of 32 bits, so the upper half comes first; both halves lie in
    /// the order of the machine, which is little-endian on every architecture we know.
    fn condition(&mut self, condition: Condition, is_64_bit: bool, yes: Place, no: Place) -> Place {
        let Condition { index, comparison, value } = condition;
        let (low_at, high_at) = (ARGUMENTS + 8 * index, ARGUMENTS + 8 * index + 4);
        let (low, high) = (value as u32, (value >> 32) as u32);
        let order = match comparison {
            Comparison::Equal => return self.equal(value, u64::MAX, index, is_64_bit, yes, no),
            Comparison::NotEqual => return self.equal(value, u64::MAX, index, is_64_bit, no, yes),
            Comparison::MaskedEqual { mask } => return self.equal(value, mask, index, is_64_bit, yes, no),
            Comparison::Greater => (IF_GREATER, yes, no),
            Comparison::LessOrEqual => (IF_GREATER, no, yes),
            Comparison::GreaterOrEqual => (IF_GREATER_OR_EQUAL, yes, no),
            Comparison::Less => (IF_GREATER_OR_EQUAL, no, yes),
        };
        let (operation, above, below) = order;
        let by_low = self.branch(operation, low, above, below);
        let by_low = self.then(LOAD, low_at, by_low);
        if !is_64_bit {
            return by_low;
        }
        let same_high = self.branch(IF_EQUAL, high, by_low, below);
        let by_high = self.branch(IF_GREATER, high, above, same_high);
        self.then(LOAD, high_at, by_high)
    }

    fn equal(&mut self, value: u64, mask: u64, index: u32, is_64_bit: bool, yes: Place, no: Place) -> Place {
        let at = ARGUMENTS + 8 * index;
        let low = self.equal_word(value as u32, mask as u32, at, yes, no);
        match is_64_bit {
            true => self.equal_word((value >> 32) as u32, (mask >> 32) as u32, at + 4, low, no),
            false => low,
        }
    }

    fn equal_word(&mut self, value: u32, mask: u32, at: u32, yes: Place, no: Place) -> Place {
        if mask == 0 {
            return yes;
        }
        let mut place = self.branch(IF_EQUAL, value, yes, no);
        if mask != u32::MAX {
            place = self.then(AND, mask, place);
        }
        self.then(LOAD, at, place)
    }

    /// A comparison that leads to one of two places.
    fn branch(&mut self, operation: u16, constant: u32, yes: Place, no: Place) -> Place {
        if yes == no {
            return yes;
        }
        // The bridge for the other place may come in between.
        let yes = self.within_reach(yes, 1);
        let no = self.within_reach(no, 0);
        let (jump_true, jump_false) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.emit(operation, jump_true, jump_false, constant)
    }

    /// An instruction that is followed by what is at `next`.
    fn then(&mut self, operation: u16, constant: u32, next: Place) -> Place {
        if self.distance(next) != 0 {
            self.bridge(next);
        }
        self.emit(operation, 0, 0, constant)
    }

    /// The place itself if a comparison put here could jump to it with `spare` instructions in between, else a bridge.
    fn within_reach(&mut self, place: Place, spare: usize) -> Place {
        match self.distance(place) + spare > usize::from(u8::MAX) {
            true => self.bridge(place),
            false => place,
        }
    }

    fn bridge(&mut self, place: Place) -> Place {
        let distance = self.distance(place) as u32;
        self.emit(JUMP, 0, 0, distance)
    }

    /// How many instructions an instruction put here would have to skip.
    fn distance(&self, place: Place) -> usize {
        self.reversed.len() - place.0 - 1
    }

    fn emit(&mut self, code: u16, jump_true: u8, jump_false: u8, constant: u32) -> Place {
        self.reversed.push(Instruction { code, jump_true, jump_false, constant });
        Place(self.reversed.len() - 1)
    }
}
