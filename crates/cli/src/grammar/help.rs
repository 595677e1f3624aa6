//! Help texts in Docker's layout.

use std::fmt::Write as _;

use super::{Command, Entry, Flag, Group, Node};

/// The help text of a command. `path` starts with the program's name: `berth container run`.
pub(crate) fn command_help(path: &str, program: &str, command: &Command, width: usize) -> String {
    let mut out = format!("Usage:  {}\n\n{}\n", command.usage(path), command.about);
    if command.paths.len() > 1 {
        let paths: Vec<_> = command.paths.iter().map(|path| format!("{program} {path}")).collect();
        let _ = write!(out, "\nAliases:\n  {}\n", paths.join(", "));
    }
    let flags: Vec<_> = command.flags.iter().flat_map(|group| group.iter()).collect();
    if flags.iter().any(|flag| !flag.hidden) {
        let _ = write!(out, "\nOptions:\n{}", flag_lines(flags, width));
    }
    out
}

/// The help text of a group of commands.
pub(crate) fn group_help(path: &str, group: &Group) -> String {
    let commands = entry_lines(group.entries.iter());
    format!(
        "Usage:  {path} COMMAND\n\n{}\n\nCommands:\n{commands}\n\
         Run '{path} COMMAND --help' for more information on a command.\n",
        group.about
    )
}

/// The help text of the program. `common` are the names shown first, in their order.
pub(crate) fn root_help(
    program: &str,
    root: &Group,
    common: &[&str],
    global: &[Flag],
    width: usize,
) -> String {
    let first = common.iter().filter_map(|name| root.find(name));
    let groups =
        root.entries.iter().filter(|entry| matches!(entry.node, Node::Group(group) if !group.is_absent()));
    let others = root
        .entries
        .iter()
        .filter(|entry| matches!(entry.node, Node::Command(_)) && !common.contains(&entry.name));
    format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\n{}\n\nCommon Commands:\n{}\nManagement Commands:\n{}\n\
         Commands:\n{}\nGlobal Options:\n{}\n\
         Run '{program} COMMAND --help' for more information on a command.\n",
        root.about,
        entry_lines(first),
        entry_lines(groups),
        entry_lines(others),
        flag_lines(global.iter().collect(), width),
    )
}

fn entry_lines<'a>(entries: impl Iterator<Item = &'a Entry>) -> String {
    let mut out = String::new();
    for entry in entries {
        let _ = writeln!(out, "  {:<11} {}", entry.name, entry.about());
    }
    out
}

/// The table of flags, in alphabetical order, wrapped to `width` columns.
fn flag_lines(mut flags: Vec<&Flag>, width: usize) -> String {
    flags.retain(|flag| !flag.hidden);
    flags.sort_by_key(|flag| flag.long);
    let heads: Vec<String> = flags.iter().map(|flag| head(flag)).collect();
    let longest = heads.iter().map(String::len).max().unwrap_or_default();
    let mut out = String::new();
    for (flag, head) in flags.iter().zip(&heads) {
        let mut text = flag.about.to_owned();
        if !flag.shown_default.is_empty() {
            let _ = write!(text, " (default {})", flag.shown_default);
        }
        let column = longest + 3;
        let _ = writeln!(out, "{head:<longest$}   {}", wrap(&text, column, width.saturating_sub(1)));
    }
    out
}

fn head(flag: &Flag) -> String {
    let mut head = match flag.short {
        Some(letter) => format!("  -{letter}, --{}", flag.long),
        None => format!("      --{}", flag.long),
    };
    if !flag.type_name.is_empty() {
        head.push(' ');
        head.push_str(flag.type_name);
    }
    head
}

/// Breaks `text` at blanks so that it stays within `width`, continuation lines starting at `column`.
///
/// A rest that overshoots by no more than five characters stays on its line, as in pflag.
fn wrap(text: &str, column: usize, width: usize) -> String {
    const SLOP: usize = 5;
    let room = width.saturating_sub(column);
    let indent = format!("\n{}", " ".repeat(column));
    if room < 24 {
        return text.replace('\n', &indent);
    }
    let room = room - SLOP;
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (line, next) = break_line(rest, room, SLOP);
        lines.push(line.replace('\n', &indent));
        rest = next;
    }
    lines.join(&indent)
}

fn break_line(text: &str, room: usize, slop: usize) -> (&str, &str) {
    if room + slop > text.len() {
        return (text, "");
    }
    let start = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let Some(blank) = text[..start].rfind([' ', '\t', '\n']).filter(|at| *at > 0) else {
        return (text, "");
    };
    let end = text[..start].rfind('\n').filter(|newline| *newline > 0 && *newline < blank).unwrap_or(blank);
    (&text[..end], &text[end + 1..])
}

#[cfg(test)]
mod tests {
    use crate::command::{create, ps};

    #[test]
    fn a_help_text_has_dockers_layout() {
        let found = super::command_help("docker ps", "docker", &ps::COMMAND, 80);
        assert_eq!(found, include_str!("../../testdata/ps.help"));
    }

    #[test]
    fn long_descriptions_are_wrapped_in_their_column() {
        let found = super::command_help("berth create", "berth", &create::COMMAND, 80);
        let cut = |start: &str| {
            let from = found.find(start).expect(start);
            found[from..].lines().take(6).collect::<Vec<_>>().join("\n")
        };
        let expected = "      --cgroupns string                  Cgroup namespace to use\n\
            \u{20}                                        (host|private)\n\
            \u{20}                                        'host':    Run the container in\n\
            \u{20}                                        the Docker host's cgroup\n\
            \u{20}                                        namespace\n\
            \u{20}                                        'private': Run the container in";
        assert_eq!(cut("      --cgroupns"), expected);
    }
}
