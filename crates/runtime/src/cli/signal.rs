//! Signals by name and by number (signal(7)).

/// Names by number from 1 on, without the leading `SIG`.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The first and the last real-time signal as programs number them.
const REAL_TIME: (i32, i32) = (34, 64);

/// The number of a signal: `9`, `KILL`, `SIGKILL`, `RTMIN+3`, `RTMAX-1`.
pub(super) fn number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (0..=REAL_TIME.1).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let name = match name {
        "IOT" => "ABRT",
        "POLL" => "IO",
        "CLD" => "CHLD",
        other => other,
    };
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(at + 1).ok();
    }
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => REAL_TIME.0,
        (Some(offset), _) => REAL_TIME.0 + offset.strip_prefix('+')?.parse::<i32>().ok()?,
        (_, Some("")) => REAL_TIME.1,
        (_, Some(offset)) => REAL_TIME.1 - offset.strip_prefix('-')?.parse::<i32>().ok()?,
        _ => return None,
    };
    (REAL_TIME.0..=REAL_TIME.1).contains(&real_time).then_some(real_time)
}

#[cfg(test)]
mod tests {
    #[test]
    fn signals_have_many_names() {
        for (text, number) in [
            ("9", Some(9)),
            ("KILL", Some(9)),
            ("sigterm", Some(15)),
            ("SIGIOT", Some(6)),
            ("SYS", Some(31)),
            ("RTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("RTMIN-1", None),
            ("RTMIN+99", None),
            ("65", None),
            ("-1", None),
            ("FOO", None),
            ("", None),
        ] {
            assert_eq!(super::number(text), number, "{text}");
        }
    }
}
