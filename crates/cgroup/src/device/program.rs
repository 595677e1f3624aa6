//! Rules as a program for the kernel's virtual machine, which v2 asks about every use of a device node.
//!
//! The program is given (in r1) three words: the kind of node in the low half of the first and the access in its high
//! half, the major number, the minor number (`struct bpf_cgroup_dev_ctx`). It answers 1 to grant, 0 to deny.
//!
//! ```text
//! r2 = kind   r3 = accesses not yet decided   r4 = major   r5 = minor
//! for each rule, the last one first:
//!     not its kind, major or minor → next rule
//!     allow: r3 &= ~access;  r3 == 0 → answer 1
//!     deny:  r3 &  access    → answer 0
//! answer 0
//! ```

use linux::bpf::Instruction;

use super::{Kind, Rule};
use crate::{Error, Result};

/// The most rules taken: the program must stay below the 4096 instructions that every kernel accepts.
const MAX_RULES: usize = 500;

const LOAD_WORD: u8 = 0x61;
const AND_CONSTANT: u8 = 0x54;
const SHIFT_RIGHT_CONSTANT: u8 = 0x74;
const MOVE_CONSTANT: u8 = 0xb4;
const MOVE: u8 = 0xbc;
const JUMP_NOT_EQUAL: u8 = 0x56;
const JUMP_EQUAL: u8 = 0x16;
const EXIT: u8 = 0x95;

const R0: u8 = 0;
const R1: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Generates the program for rules, of which the last that fits decides.
///
/// Every access that is asked for at once has to be granted; each may be granted by another rule.
pub fn generate(rules: &[Rule]) -> Result<Vec<Instruction>> {
    if rules.len() > MAX_RULES {
        let reason = format!("more than {MAX_RULES}");
        return Err(Error::Invalid { what: format!("{} device rules", rules.len()), reason });
    }
    let mut program = vec![
        op(LOAD_WORD, KIND, R1, 0, 0),
        op(MOVE, ACCESS, KIND, 0, 0),
        op(AND_CONSTANT, KIND, 0, 0, 0xffff),
        op(SHIFT_RIGHT_CONSTANT, ACCESS, 0, 0, 16),
        op(LOAD_WORD, MAJOR, R1, 4, 0),
        op(LOAD_WORD, MINOR, R1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        program.extend(block(rule));
        if rule.is_everything() {
            // Nothing before it can decide any more, and the verifier refuses code that is never reached.
            return Ok(program);
        }
    }
    program.extend(answer(false));
    Ok(program)
}

/// The instructions of one rule; control falls out of its end when the rule does not decide.
fn block(rule: &Rule) -> Vec<Instruction> {
    if rule.is_everything() {
        return answer(rule.allow).to_vec();
    }
    let mut tests = Vec::new();
    match rule.kind {
        Kind::All => {}
        Kind::Block => tests.push((KIND, 1)),
        Kind::Char => tests.push((KIND, 2)),
    }
    tests.extend(rule.major.map(|major| (MAJOR, major.cast_signed())));
    tests.extend(rule.minor.map(|minor| (MINOR, minor.cast_signed())));
    let access = i32::from(rule.access.bits());
    let mut decision = match rule.allow {
        true => vec![op(AND_CONSTANT, ACCESS, 0, 0, !access), op(JUMP_NOT_EQUAL, ACCESS, 0, 2, 0)],
        false => {
            vec![op(MOVE, R0, ACCESS, 0, 0), op(AND_CONSTANT, R0, 0, 0, access), op(JUMP_EQUAL, R0, 0, 2, 0)]
        }
    };
    decision.extend(answer(rule.allow));
    let length = tests.len() + decision.len();
    let mut block = Vec::with_capacity(length);
    for (at, (register, number)) in tests.into_iter().enumerate() {
        // A block has at most eight instructions, so the distance to its end always fits.
        let past_the_end = (length - at - 1) as i16;
        block.push(op(JUMP_NOT_EQUAL, register, 0, past_the_end, number));
    }
    block.extend(decision);
    block
}

fn answer(allow: bool) -> [Instruction; 2] {
    [op(MOVE_CONSTANT, R0, 0, 0, i32::from(allow)), op(EXIT, 0, 0, 0, 0)]
}

fn op(code: u8, destination: u8, source: u8, offset: i16, constant: i32) -> Instruction {
    Instruction { code, registers: source << 4 | destination, offset, constant }
}
