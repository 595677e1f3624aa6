//! Programs, run as the kernel would, against a naive reading of the configuration.

use oci::runtime::{SeccompArg, SeccompRule};

use super::architecture::X32_BIT;
use super::*;

/// One system call as a filter sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) audit: u32,
    pub(crate) number: u32,
    pub(crate) arguments: [u64; 6],
}

/// Runs a program; gives the answer and the number of instructions it took.
pub(crate) fn run(program: &[Instruction], call: Call) -> (u32, usize) {
    let word = |offset: u32| match offset {
        0 => call.number,
        4 => call.audit,
        16.. => (call.arguments[(offset as usize - 16) / 8] >> (offset % 8 * 8)) as u32,
        _ => panic!("nobody asks for offset {offset}"),
    };
    let (mut accumulator, mut at, mut steps) = (0_u32, 0_usize, 0);
    loop {
        let Instruction { code, jump_true, jump_false, constant } = program[at];
        let choose = |holds: bool| usize::from(if holds { jump_true } else { jump_false });
        (at, steps) = (at + 1, steps + 1);
        match code {
            0x20 => accumulator = word(constant),
            0x54 => accumulator &= constant,
            0x05 => at += constant as usize,
            0x15 => at += choose(accumulator == constant),
            0x25 => at += choose(accumulator > constant),
            0x35 => at += choose(accumulator >= constant),
            0x06 => return (constant, steps),
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

fn action(name: &str, value: Option<u32>) -> u32 {
    match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 + value.unwrap_or(1),
        "SCMP_ACT_TRACE" => 0x7ff0_0000 + value.unwrap_or(1),
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        other => panic!("{other}"),
    }
}

fn holds(arg: &SeccompArg, call: &Call, wide: bool) -> bool {
    let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let (argument, value) = (cut(call.arguments[arg.index as usize]), cut(arg.value));
    match arg.op.as_str() {
        "SCMP_CMP_EQ" => argument == value,
        "SCMP_CMP_NE" => argument != value,
        "SCMP_CMP_LT" => argument < value,
        "SCMP_CMP_LE" => argument <= value,
        "SCMP_CMP_GT" => argument > value,
        "SCMP_CMP_GE" => argument >= value,
        "SCMP_CMP_MASKED_EQ" => argument & value == cut(arg.value_two) & value,
        other => panic!("{other}"),
    }
}

/// What a configuration says about one number of one architecture, read rule by rule.
enum Meaning<'a> {
    Always(u32),
    Rules { rules: Vec<&'a SeccompRule>, default: u32, wide: bool },
}

fn meaning(config: &Seccomp, audit: u32, number: u32) -> Meaning<'_> {
    let default = action(&config.default_action, config.default_errno_ret);
    let listed =
        |name: &str| name == "SCMP_ARCH_X86_64" || config.architectures.iter().any(|known| known == name);
    let tracer_skips = audit == 0xc000_003e && number == u32::MAX && !listed("SCMP_ARCH_X32");
    let architecture = match audit {
        0xc000_003e if number >= X32_BIT && !tracer_skips => Architecture::X32,
        0xc000_003e => Architecture::X86_64,
        0x4000_0003 => Architecture::X86,
        _ => return Meaning::Always(0),
    };
    if !listed(architecture.name()) {
        return Meaning::Always(0);
    }
    let numbers =
        || config.syscalls.iter().flat_map(|rule| &rule.names).filter_map(|name| architecture.number(name));
    let permissive =
        ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"].contains(&config.default_action.as_str());
    if !permissive && numbers().max().is_some_and(|newest| number > newest) {
        return Meaning::Always(0x0005_0000 + 38);
    }
    let matching = |rule: &&SeccompRule| {
        action(&rule.action, rule.errno_ret) != default
            && rule.names.iter().any(|name| architecture.number(name) == Some(number))
    };
    let rules = config.syscalls.iter().filter(matching).collect();
    Meaning::Rules { rules, default, wide: architecture == Architecture::X86_64 }
}

impl Meaning<'_> {
    fn of(&self, call: &Call) -> u32 {
        let (rules, default, wide) = match self {
            Self::Always(answer) => return *answer,
            Self::Rules { rules, default, wide } => (rules, *default, *wide),
        };
        let decides = |rule: &&&SeccompRule| {
            let mut seen: Vec<u32> = rule.args.iter().map(|arg| arg.index).collect();
            seen.sort_unstable();
            let repeated = seen.windows(2).any(|pair| pair[0] == pair[1]);
            let mut all = rule.args.iter().map(|arg| holds(arg, call, wide));
            if repeated { all.any(|holds| holds) } else { all.all(|holds| holds) }
        };
        let unconditional = rules.iter().find(|rule| rule.args.is_empty());
        let decisive = unconditional.or_else(|| rules.iter().find(decides));
        decisive.map_or(default, |rule| action(&rule.action, rule.errno_ret))
    }
}

fn config(default_action: &str, architectures: &[&str], syscalls: Vec<SeccompRule>) -> Seccomp {
    Seccomp {
        default_action: default_action.to_owned(),
        architectures: architectures.iter().map(|name| (*name).to_owned()).collect(),
        syscalls,
        ..Seccomp::default()
    }
}

fn rule(names: &[&str], action: &str, errno_ret: Option<u32>, args: &[(u32, &str, u64, u64)]) -> SeccompRule {
    let arg = |(index, op, value, value_two): &(u32, &str, u64, u64)| SeccompArg {
        index: *index,
        value: *value,
        value_two: *value_two,
        op: format!("SCMP_CMP_{op}"),
    };
    SeccompRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: action.to_owned(),
        errno_ret,
        args: args.iter().map(arg).collect(),
    }
}

const ALL_X86: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];

/// Compares program and meaning over architectures, numbers and arguments; gives the number of cases.
#[track_caller]
pub(crate) fn check(config: &Seccomp, arguments: &[u64]) -> usize {
    let program = compile_for(Architecture::X86_64, config).unwrap().instructions;
    let edges = [X32_BIT - 1, X32_BIT, X32_BIT + 16, X32_BIT + 520, X32_BIT + 600, 0x8000_0000, u32::MAX];
    let x32 = (X32_BIT..X32_BIT + 480).chain(X32_BIT + 510..X32_BIT + 550);
    let numbers: Vec<u32> = (0..480).chain(x32).chain(edges).collect();
    let mut cases = 0;
    for audit in [0xc000_003e, 0x4000_0003, 0xc000_00b7] {
        for number in numbers.iter().copied() {
            let meaning = meaning(config, audit, number);
            for first in arguments {
                for second in [0, *first, u64::MAX] {
                    let call = Call { audit, number, arguments: [*first, second, 0, *first, second, 7] };
                    let answered = run(&program, call).0;
                    assert_eq!(answered, meaning.of(&call), "{answered:#x} to {call:x?}");
                    cases += 1;
                }
            }
        }
    }
    cases
}

#[test]
fn a_small_filter_in_full() {
    let rules = vec![
        rule(&["read", "write"], "SCMP_ACT_ALLOW", None, &[]),
        rule(&["personality"], "SCMP_ACT_ALLOW", None, &[(0, "EQ", 8, 0)]),
    ];
    let program = compile_for(Architecture::X86_64, &config("SCMP_ACT_ERRNO", &[], rules)).unwrap();
    let text: Vec<String> = program
        .instructions
        .iter()
        .map(|i| format!("{:#04x} {} {} {:#x}", i.code, i.jump_true, i.jump_false, i.constant))
        .collect();
    let expected = [
        "0x20 0 0 0x4",
        "0x15 0 13 0xc000003e",
        "0x20 0 0 0x0",
        "0x35 0 3 0x88",
        "0x35 0 1 0x40000000",
        "0x35 0 9 0xffffffff",
        "0x06 0 0 0x50026",
        "0x35 0 5 0x2",
        "0x35 0 5 0x87",
        "0x20 0 0 0x14",
        "0x15 0 3 0x0",
        "0x20 0 0 0x10",
        "0x15 0 1 0x8",
        "0x06 0 0 0x7fff0000",
        "0x06 0 0 0x50001",
        "0x06 0 0 0x0",
    ];
    assert_eq!(text, expected);
}

#[test]
fn every_operator_agrees_with_its_meaning_on_both_widths() {
    let values = [0, 5, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0005, u64::MAX, 0x8000_0000_0000_0000];
    let mut probes: Vec<u64> =
        values.iter().flat_map(|v| [v.wrapping_sub(1), *v, v.wrapping_add(1)]).collect();
    probes.extend([0x7e02_0000, 0x5_0000_0000]);
    for op in ["EQ", "NE", "LT", "LE", "GT", "GE"] {
        for value in values {
            let rules =
                vec![rule(&["personality", "ioctl", "socket"], "SCMP_ACT_ALLOW", None, &[(0, op, value, 0)])];
            check(&config("SCMP_ACT_ERRNO", &ALL_X86, rules), &probes[..6.min(probes.len())]);
        }
    }
    for (mask, value) in
        [(0x7e02_0000, 0), (0xff, 5), (0xf_0000_0000, 0x1_0000_0000), (u64::MAX, 5), (0, 0), (5, 7)]
    {
        let rules = vec![rule(&["clone"], "SCMP_ACT_ALLOW", None, &[(0, "MASKED_EQ", mask, value)])];
        check(&config("SCMP_ACT_KILL_PROCESS", &ALL_X86, rules), &probes);
    }
}

#[test]
fn rules_for_one_call_decide_in_their_order() {
    let rules = vec![
        rule(&["ioctl"], "SCMP_ACT_ERRNO", Some(5), &[(0, "EQ", 5, 0), (1, "NE", 0, 0)]),
        rule(&["ioctl"], "SCMP_ACT_TRAP", None, &[(0, "GE", 5, 0)]),
        rule(&["ioctl"], "SCMP_ACT_TRACE", Some(9), &[(3, "LT", 4, 0), (0, "EQ", 1, 0)]),
        rule(&["read"], "SCMP_ACT_ERRNO", Some(2), &[(0, "EQ", 5, 0)]),
        rule(&["read"], "SCMP_ACT_LOG", None, &[]),
        rule(&["read"], "SCMP_ACT_KILL", None, &[]),
        rule(&["close"], "SCMP_ACT_ALLOW", None, &[(0, "EQ", 5, 0), (0, "EQ", 1, 0)]),
        rule(&["open"], "SCMP_ACT_ERRNO", None, &[]),
    ];
    assert!(check(&config("SCMP_ACT_ERRNO", &ALL_X86, rules), &[0, 1, 4, 5, 6, u64::MAX]) > 50_000);
}

#[test]
fn a_filter_that_lets_through_has_no_newest_call() {
    let rules = vec![rule(&["mount", "clone3"], "SCMP_ACT_ERRNO", Some(38), &[])];
    for default in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"] {
        check(&config(default, &ALL_X86, rules.clone()), &[0]);
        check(&config(default, &[], rules.clone()), &[0]);
    }
    check(&config("SCMP_ACT_KILL", &["SCMP_ARCH_X86"], rules), &[0]);
}

#[test]
fn a_great_many_conditions_stay_within_reach() {
    let names = ["read", "ioctl", "socket", "clone", "personality", "mmap", "futex", "prctl"];
    let rules: Vec<SeccompRule> = (0..400_u64)
        .map(|at| {
            let name = names[at as usize % names.len()];
            rule(&[name], "SCMP_ACT_ERRNO", Some(100 + at as u32), &[(0, "EQ", at / 8, 0), (1, "NE", at, 0)])
        })
        .collect();
    let filter = config("SCMP_ACT_ALLOW", &["SCMP_ARCH_X86_64"], rules.clone());
    check(&filter, &[0, 1, 25, 49, 50, 1 << 40]);
    let wide = config("SCMP_ACT_ALLOW", &ALL_X86, rules);
    assert!(
        matches!(compile_for(Architecture::X86_64, &wide), Err(Invalid::TooLong(length)) if length > 4096)
    );
}

#[test]
fn a_call_that_is_made_through_another_one_follows_its_rule() {
    let filter = |default: &str, rule| {
        let program = compile_for(Architecture::X86, &config(default, &[], vec![rule])).unwrap().instructions;
        move |call: u64| {
            run(&program, Call { audit: 0x4000_0003, number: 102, arguments: [call, 0, 0, 0, 0, 0] }).0
        }
    };
    let allowed = filter("SCMP_ACT_ERRNO", rule(&["connect"], "SCMP_ACT_ALLOW", None, &[]));
    assert_eq!((allowed(3), allowed(1)), (0x7fff_0000, 0x0005_0001));
    let some_refused =
        filter("SCMP_ACT_ALLOW", rule(&["socket"], "SCMP_ACT_ERRNO", None, &[(0, "EQ", 38, 0)]));
    assert_eq!((some_refused(1), some_refused(3)), (0x0005_0001, 0x7fff_0000));
    let some_allowed =
        filter("SCMP_ACT_ERRNO", rule(&["socket"], "SCMP_ACT_ALLOW", None, &[(0, "NE", 38, 0)]));
    assert_eq!(some_allowed(1), 0x0005_0001);
}

#[test]
fn flags_and_the_listener_are_told_to_the_loader() {
    let mut filter = config("SCMP_ACT_ALLOW", &[], vec![rule(&["mkdir"], "SCMP_ACT_NOTIFY", None, &[])]);
    let flags = compile(&filter).unwrap().flags;
    assert_eq!(flags, Flags { speculation: true, listener: true, ..Flags::default() });
    filter.flags = Some(vec!["SECCOMP_FILTER_FLAG_LOG".into(), "SECCOMP_FILTER_FLAG_TSYNC".into()]);
    filter.syscalls.clear();
    assert_eq!(compile(&filter).unwrap().flags, Flags { log: true, ..Flags::default() });
}

#[test]
fn what_is_no_filter_is_refused_by_name() {
    let refused = |config: Seccomp| compile(&config).unwrap_err().to_string();
    let one = |rule| config("SCMP_ACT_ALLOW", &[], vec![rule]);
    assert_eq!(refused(config("ALLOW", &[], vec![])), "seccomp action \"ALLOW\" is not known");
    assert_eq!(
        refused(config("SCMP_ACT_ALLOW", &["SCMP_ARCH_VAX"], vec![])),
        "seccomp architecture \"SCMP_ARCH_VAX\" is not supported"
    );
    assert_eq!(refused(one(rule(&[], "SCMP_ACT_KILL", None, &[]))), "seccomp rule 0 names no system call");
    assert_eq!(
        refused(one(rule(&["read"], "SCMP_ACT_KILL", None, &[(6, "EQ", 0, 0)]))),
        "seccomp rule for \"read\" has a condition on argument 6: there are only 0 to 5"
    );
    assert_eq!(
        refused(one(rule(&["read"], "SCMP_ACT_KILL", None, &[(0, "XX", 0, 0)]))),
        "seccomp operator \"SCMP_CMP_XX\" is not known"
    );
    assert_eq!(
        refused(one(rule(&["read"], "SCMP_ACT_ERRNO", Some(4096), &[]))),
        "seccomp errnoRet 4096 is too large: the most is 4095"
    );
    assert_eq!(
        refused(one(rule(&["write"], "SCMP_ACT_NOTIFY", None, &[]))),
        "SCMP_ACT_NOTIFY cannot be used for the write syscall"
    );
    assert_eq!(
        refused(config("SCMP_ACT_NOTIFY", &[], vec![])),
        "SCMP_ACT_NOTIFY cannot be used as default action"
    );
    let flagged = Seccomp { flags: Some(vec!["X".into()]), ..config("SCMP_ACT_ALLOW", &[], vec![]) };
    assert_eq!(refused(flagged), "seccomp flag \"X\" is not known");
}

#[test]
fn names_that_no_architecture_knows_are_skipped() {
    let unknown = vec![rule(&["a_call_of_tomorrow", "read"], "SCMP_ACT_ALLOW", None, &[])];
    let known = vec![rule(&["read"], "SCMP_ACT_ALLOW", None, &[])];
    let program = |rules| compile(&config("SCMP_ACT_ERRNO", &ALL_X86, rules)).unwrap();
    assert_eq!(program(unknown), program(known));
}

/// The installed headers of the kernel say the same as our table, for the architectures they are about.
#[test]
fn the_table_agrees_with_the_kernels_headers() {
    let files = [("64", Architecture::X86_64), ("32", Architecture::X86), ("x32", Architecture::X32)];
    for (file, architecture) in files {
        let path = format!("/usr/include/x86_64-linux-gnu/asm/unistd_{file}.h");
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("SKIP: {path} is not installed");
            continue;
        };
        for line in text.lines() {
            let Some((name, number)) =
                line.strip_prefix("#define __NR_").and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            let number = number.trim().trim_start_matches("(__X32_SYSCALL_BIT + ").trim_end_matches(')');
            let number: u32 = number.parse().unwrap();
            assert_eq!(
                architecture.number(name).map(|number| number & !X32_BIT),
                Some(number),
                "{name} in {path}"
            );
        }
    }
}
