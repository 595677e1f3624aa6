//! Rules checked three ways: by their definition, by the generated program, by a model of v1's lists.

use linux::bpf::Instruction;

use super::*;

/// One use of a device: kind, major, minor, access bits.
type Use = (Kind, u32, u32, u8);

/// What the rules mean: each access is decided by the last rule that fits it, and all have to be granted.
fn meant(rules: &[Rule], (kind, major, minor, access): Use) -> bool {
    (0..3).map(|bit| 1 << bit).filter(|bit| access & bit != 0).all(|bit| {
        let fits = |rule: &&Rule| {
            (rule.kind == Kind::All || rule.kind == kind)
                && rule.major.is_none_or(|wanted| wanted == major)
                && rule.minor.is_none_or(|wanted| wanted == minor)
                && rule.access.bits() & bit != 0
        };
        rules.iter().rev().find(fits).is_some_and(|rule| rule.allow)
    })
}

/// Runs a program as the kernel would (RFC 9669, the instructions that are generated).
fn run(program: &[Instruction], (kind, major, minor, access): Use) -> bool {
    let kind = if kind == Kind::Block { 1 } else { 2 };
    let context = [u32::from(access) << 16 | kind, major, minor];
    let mut registers = [0_u64; 11];
    let mut at = 0;
    loop {
        let Instruction { code, registers: named, offset, constant } = program[at];
        let (destination, source) = (usize::from(named & 15), usize::from(named >> 4));
        let word = registers[destination] as u32;
        at += 1;
        match code {
            0x61 => registers[destination] = u64::from(context[usize::try_from(offset).unwrap() / 4]),
            0x54 => registers[destination] = u64::from(word & constant.cast_unsigned()),
            0x74 => registers[destination] = u64::from(word >> constant),
            0xb4 => registers[destination] = u64::from(constant.cast_unsigned()),
            0xbc => registers[destination] = u64::from(registers[source] as u32),
            0x56 if word != constant.cast_unsigned() => at += usize::try_from(offset).unwrap(),
            0x16 if word == constant.cast_unsigned() => at += usize::try_from(offset).unwrap(),
            0x56 | 0x16 => {}
            0x95 => return registers[0] == 1,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

fn uses() -> impl Iterator<Item = Use> {
    let numbers =
        [(1, 3), (1, 5), (5, 0), (5, 2), (8, 0), (8, 16), (136, 0), (136, 7), (10, 200), (u32::MAX, 0)];
    let kinds = [Kind::Char, Kind::Block];
    kinds.into_iter().flat_map(move |kind| {
        numbers
            .into_iter()
            .flat_map(move |(major, minor)| (1..8).map(move |access| (kind, major, minor, access)))
    })
}

fn rule(allow: bool, text: &str) -> Rule {
    let fields: Vec<&str> = text.split([' ', ':']).collect();
    let number = |text: &str| (text != "*").then(|| text.parse().unwrap());
    let kind = match fields[0] {
        "c" => Kind::Char,
        "b" => Kind::Block,
        _ => Kind::All,
    };
    let access = Access::parse(fields[3]).unwrap();
    Rule { allow, kind, major: number(fields[1]), minor: number(fields[2]), access }
}

/// What Docker puts into a container's configuration, followed by the runtime's defaults.
fn dockers() -> Vec<Rule> {
    let mut rules = vec![
        rule(false, "a *:* rwm"),
        rule(true, "c 1:5 rwm"),
        rule(true, "c 5:0 rwm"),
        rule(true, "b 8:0 r"),
        rule(false, "c 10:229 rwm"),
    ];
    rules.extend(DEFAULT_RULES);
    rules
}

#[test]
fn the_program_grants_what_the_rules_mean() {
    let overlapping = vec![
        rule(true, "a *:* rwm"),
        rule(false, "a 8:* w"),
        rule(true, "b 8:0 w"),
        rule(false, "c *:* m"),
        rule(true, "c 5:* rm"),
        rule(false, "c 1:3 r"),
    ];
    let sets = [vec![], vec![Rule::everything(true)], vec![Rule::everything(false)], dockers(), overlapping];
    for rules in sets {
        let program = program::generate(&rules).unwrap();
        for tried in uses() {
            assert_eq!(run(&program, tried), meant(&rules, tried), "{tried:?} under {rules:?}");
        }
    }
}

#[test]
fn the_program_stays_small_and_its_size_is_limited() {
    assert_eq!(program::generate(&[]).unwrap().len(), 8);
    assert_eq!(program::generate(&dockers()).unwrap().len(), 109);
    let rule = rule(false, "c 1:2 r");
    assert_eq!(program::generate(&vec![rule; 500]).unwrap().len(), 8 + 500 * 8);
    let error = program::generate(&vec![rule; 501]).unwrap_err().to_string();
    assert_eq!(error, "501 device rules: more than 500");
}

#[track_caller]
fn check_v1(rules: &[Rule], present: &str, expected: &str) {
    let planned = match plan_v1(rules, present) {
        Ok(writes) => writes.iter().map(|write| format!("{write}\n")).collect(),
        Err(error) => format!("{error}\n"),
    };
    let expected: String = expected.lines().skip(1).map(|line| format!("{}\n", line.trim())).collect();
    assert_eq!(planned, expected);
}

#[test]
fn a_new_v1_group_is_closed_and_then_opened_one_by_one() {
    check_v1(
        &dockers(),
        "a *:* rwm\n",
        "
        devices.deny = a
        devices.allow = c *:* m
        devices.allow = c 1:3 rwm
        devices.allow = c 1:5 rwm
        devices.allow = c 1:7 rwm
        devices.allow = c 1:8 rwm
        devices.allow = c 1:9 rwm
        devices.allow = c 5:0 rwm
        devices.allow = c 5:1 rwm
        devices.allow = c 5:2 rwm
        devices.allow = c 136:* rwm
        devices.allow = b *:* m
        devices.allow = b 8:0 r",
    );
}

#[test]
fn an_update_of_v1_denies_nothing_that_stays_allowed() {
    let rules = [rule(true, "c 1:3 rwm"), rule(true, "c 10:200 rw")];
    check_v1(&rules, "c 1:3 rwm\nc 10:200 rw\n", "");
    check_v1(
        &rules,
        "c 1:3 rw\nb 8:0 r\n",
        "
        devices.allow = c 1:3 m
        devices.allow = c 10:200 rw
        devices.deny = b 8:0 r",
    );
    check_v1(&[Rule::everything(true)], "a *:* rwm\n", "");
    check_v1(&[Rule::everything(true)], "c 1:3 rwm\n", "\ndevices.allow = a");
    check_v1(
        &[Rule::everything(true), rule(false, "b 8:* w")],
        "c 1:3 rwm\n",
        "
        devices.allow = a
        devices.deny = b 8:* w",
    );
}

#[test]
fn what_v1_cannot_express_is_refused() {
    check_v1(
        &[rule(true, "c 1:* rwm"), rule(false, "c 1:3 w")],
        "a *:* rwm\n",
        "\ndevice rule c 1:3 w: not supported here: cgroup v1 cannot take a part back of what a broader rule says",
    );
    check_v1(
        &[rule(true, "c 1:3 rwm"), rule(false, "c 1:* w")],
        "",
        "
        devices.allow = c 1:3 rm",
    );
    assert!(plan_v1(&[], "nonsense\n").is_err());
}

#[test]
fn access_is_parsed_strictly() {
    assert_eq!(Access::parse("rwm"), Some(Access::ALL));
    assert_eq!(Access::parse("mw").unwrap().to_string(), "wm");
    assert_eq!((Access::parse(""), Access::parse("rx")), (None, None));
}
