//! A configuration, checked and sorted by architecture and number.

use std::collections::BTreeMap;

use linux::seccomp::Flags;
use oci::runtime::{Seccomp, SeccompArg, SeccompRule};

use super::Invalid;
use super::architecture::{Architecture, Call};

/// What the kernel is told to do (SECCOMP_RET_*, linux/seccomp.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Action(pub(super) u32);

impl Action {
    pub(super) const KILL_PROCESS: Self = Self(0x8000_0000);
    pub(super) const KILL_THREAD: Self = Self(0);
    pub(super) const TRAP: Self = Self(0x0003_0000);
    pub(super) const ERRNO: Self = Self(0x0005_0000);
    pub(super) const NOTIFY: Self = Self(0x7fc0_0000);
    pub(super) const TRACE: Self = Self(0x7ff0_0000);
    pub(super) const LOG: Self = Self(0x7ffc_0000);
    pub(super) const ALLOW: Self = Self(0x7fff_0000);
    pub(super) const ENOSYS: Self = Self(0x0005_0000 | 38);

    fn parse(name: &str, value: Option<u32>) -> Result<Self, Invalid> {
        const EPERM: u32 = 1;
        let with_value = |action: Self| match value.unwrap_or(EPERM) {
            value @ 0..=4095 => Ok(Self(action.0 | value)),
            value => Err(Invalid::ErrorNumber(value)),
        };
        match name {
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Ok(Self::KILL_THREAD),
            "SCMP_ACT_KILL_PROCESS" => Ok(Self::KILL_PROCESS),
            "SCMP_ACT_TRAP" => Ok(Self::TRAP),
            "SCMP_ACT_ERRNO" => with_value(Self::ERRNO),
            "SCMP_ACT_TRACE" => with_value(Self::TRACE),
            "SCMP_ACT_LOG" => Ok(Self::LOG),
            "SCMP_ACT_ALLOW" => Ok(Self::ALLOW),
            "SCMP_ACT_NOTIFY" => Ok(Self::NOTIFY),
            other => Err(Invalid::Action(other.to_owned())),
        }
    }

    /// Whether a call can go through: then a program need not be told that the call is too new.
    fn lets_through(self) -> bool {
        [Self::ALLOW, Self::LOG].contains(&self) || self.0 & 0xffff_0000 == Self::TRACE.0
    }
}

/// How an argument is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Equal after both have been masked.
    MaskedEqual {
        mask: u64,
    },
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    pub(super) index: u32,
    pub(super) comparison: Comparison,
    pub(super) value: u64,
}

/// What happens to one system call: the first rule whose conditions all hold decides, else the default action.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Decision {
    Always(Action),
    When(Vec<(Vec<Condition>, Action)>),
}

/// A filter by architecture.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) default: Action,
    pub(super) flags: Flags,
    /// For each architecture its numbers with what happens to them, and the largest number that the profile names.
    pub(super) architectures: BTreeMap<Architecture, Calls>,
}

/// The system calls of one architecture that rules are about.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) decisions: BTreeMap<u32, Decision>,
    /// From this number on, calls are newer than the profile and answer ENOSYS.
    pub(super) newer_from: Option<u32>,
}

impl Filter {
    pub(super) fn parse(native: Architecture, config: &Seccomp) -> Result<Self, Invalid> {
        let default = Action::parse(&config.default_action, config.default_errno_ret)?;
        if default == Action::NOTIFY {
            return Err(Invalid::Notify("as default action"));
        }
        let mut architectures = BTreeMap::from([(native, Calls::default())]);
        for name in &config.architectures {
            let architecture =
                Architecture::from_name(name).ok_or_else(|| Invalid::Architecture(name.clone()))?;
            architectures.insert(architecture, Calls::default());
        }
        let mut filter = Self { default, flags: flags(config)?, architectures };
        for (at, rule) in config.syscalls.iter().enumerate() {
            filter.add(at, rule)?;
        }
        Ok(filter)
    }

    fn add(&mut self, at: usize, rule: &SeccompRule) -> Result<(), Invalid> {
        let action = Action::parse(&rule.action, rule.errno_ret)?;
        if rule.names.is_empty() || rule.names.iter().any(String::is_empty) {
            return Err(Invalid::Nameless(at));
        }
        let conditions = conditions(rule)?;
        if action == Action::NOTIFY {
            if rule.names.iter().any(|name| name == "write") {
                return Err(Invalid::Notify("for the write syscall"));
            }
            self.flags.listener = true;
        }
        let default = self.default;
        for name in &rule.names {
            let call = Call::find(name);
            for (architecture, calls) in &mut self.architectures {
                let number = call.and_then(|call| call.number(*architecture));
                calls.named(number, default);
                if action != default {
                    calls.decide(*architecture, (name, number), &conditions, action);
                }
            }
        }
        Ok(())
    }
}

impl Calls {
    /// Notes that the profile knows a call, unless the default action lets newer ones through anyway.
    fn named(&mut self, number: Option<u32>, default: Action) {
        if default.lets_through() || default == Action::ENOSYS {
            return;
        }
        if let Some(number) = number {
            self.newer_from = self.newer_from.max(Some(number + 1));
        }
    }

    fn decide(
        &mut self,
        architecture: Architecture,
        (name, number): (&str, Option<u32>),
        alternatives: &[Vec<Condition>],
        action: Action,
    ) {
        if let Some(number) = number {
            for conditions in alternatives {
                self.insert(number, conditions.clone(), action);
            }
        }
        let Some((multiplexer, call)) = multiplexed(architecture, name) else { return };
        // Arguments of a multiplexed call lie in memory, where a filter cannot look. A rule that refuses some arguments
        // then has to refuse all; one that lets some through lets none through.
        let unconditional = alternatives.iter().any(Vec::is_empty);
        if let (Some(number), true) =
            (architecture.number(multiplexer), unconditional || !action.lets_through())
        {
            let condition = Condition { index: 0, comparison: Comparison::Equal, value: call };
            self.insert(number, vec![condition], action);
        }
    }

    fn insert(&mut self, number: u32, conditions: Vec<Condition>, action: Action) {
        use std::collections::btree_map::Entry;
        match self.decisions.entry(number) {
            Entry::Vacant(entry) if conditions.is_empty() => {
                entry.insert(Decision::Always(action));
            }
            Entry::Vacant(entry) => {
                entry.insert(Decision::When(vec![(conditions, action)]));
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Decision::Always(_) => {}
                Decision::When(rules) if conditions.is_empty() => {
                    rules.clear();
                    entry.insert(Decision::Always(action));
                }
                Decision::When(rules) => rules.push((conditions, action)),
            },
        }
    }
}

/// The alternatives of a rule: one set of conditions, or one set per condition when two are about one argument.
fn conditions(rule: &SeccompRule) -> Result<Vec<Vec<Condition>>, Invalid> {
    let name = || rule.names.first().cloned().unwrap_or_default();
    let parse = |arg: &SeccompArg| match arg.index {
        0..=5 => condition(arg),
        index => Err(Invalid::Argument { name: name(), index }),
    };
    let conditions: Vec<Condition> = rule.args.iter().map(parse).collect::<Result<_, _>>()?;
    let repeated =
        (0..6).any(|index| conditions.iter().filter(|condition| condition.index == index).count() > 1);
    if repeated {
        return Ok(conditions.into_iter().map(|condition| vec![condition]).collect());
    }
    Ok(vec![conditions])
}

fn condition(arg: &SeccompArg) -> Result<Condition, Invalid> {
    let (comparison, value) = match arg.op.as_str() {
        "SCMP_CMP_NE" => (Comparison::NotEqual, arg.value),
        "SCMP_CMP_LT" => (Comparison::Less, arg.value),
        "SCMP_CMP_LE" => (Comparison::LessOrEqual, arg.value),
        "SCMP_CMP_EQ" => (Comparison::Equal, arg.value),
        "SCMP_CMP_GE" => (Comparison::GreaterOrEqual, arg.value),
        "SCMP_CMP_GT" => (Comparison::Greater, arg.value),
        "SCMP_CMP_MASKED_EQ" => (Comparison::MaskedEqual { mask: arg.value }, arg.value & arg.value_two),
        other => return Err(Invalid::Operator(other.to_owned())),
    };
    Ok(Condition { index: arg.index, comparison, value })
}

/// The flags asked for. Without a list of them, speculation is left alone, as runc does: the mitigation slows every program down
/// and container programs are isolated by address space.
fn flags(config: &Seccomp) -> Result<Flags, Invalid> {
    let mut flags = Flags { speculation: config.flags.is_none(), ..Flags::default() };
    for name in config.flags.iter().flatten() {
        match name.as_str() {
            // The container's first process has one thread when the filter is loaded.
            "SECCOMP_FILTER_FLAG_TSYNC" => {}
            "SECCOMP_FILTER_FLAG_LOG" => flags.log = true,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => flags.speculation = true,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => flags.wait_killable = true,
            other => return Err(Invalid::Flag(other.to_owned())),
        }
    }
    Ok(flags)
}

/// The call through which 32-bit x86 makes another one, and the number it goes by there (linux/net.h, linux/ipc.h).
fn multiplexed(architecture: Architecture, name: &str) -> Option<(&'static str, u64)> {
    const SOCKETS: [&str; 20] = [
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const IPC: [(&str, u64); 12] = [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    if architecture != Architecture::X86 {
        return None;
    }
    if let Some(at) = SOCKETS.iter().position(|known| *known == name) {
        return Some(("socketcall", at as u64 + 1));
    }
    IPC.iter().find(|(known, _)| *known == name).map(|(_, call)| ("ipc", *call))
}
