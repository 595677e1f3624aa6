//! Which names lead to which commands.

use crate::command::*;
use crate::grammar::{Entry, Group};

/// Shown first in the program's help, in this order.
pub(crate) const COMMON: &[&str] = &["run", "exec", "ps", "pull", "push", "images", "version", "info"];

/// What stands right behind the program's name.
pub(crate) static ROOT: Group = Group {
    about: "A self-sufficient runtime for containers",
    entries: &[
        Entry::command("attach", &attach::COMMAND),
        Entry::group("container", &CONTAINER),
        Entry::command("create", &create::COMMAND),
        Entry::command("exec", &exec::COMMAND),
        Entry::group("image", &IMAGE),
        Entry::command("inspect", &inspect::ANY),
        Entry::command("kill", &lifecycle::KILL),
        Entry::command("logs", &logs::COMMAND),
        Entry::command("pause", &lifecycle::PAUSE),
        Entry::command("ps", &ps::COMMAND),
        Entry::command("pull", &pull::PULL),
        Entry::command("push", &pull::PUSH),
        Entry::command("rename", &lifecycle::RENAME),
        Entry::command("restart", &lifecycle::RESTART),
        Entry::command("rm", &lifecycle::RM),
        Entry::command("run", &run::COMMAND),
        Entry::command("start", &start::COMMAND),
        Entry::command("stop", &lifecycle::STOP),
        Entry::command("unpause", &lifecycle::UNPAUSE),
        Entry::command("version", &version::COMMAND),
        Entry::command("wait", &lifecycle::WAIT),
    ],
};

static CONTAINER: Group = Group {
    about: "Manage containers",
    entries: &[
        Entry::command("attach", &attach::COMMAND),
        Entry::command("create", &create::COMMAND),
        Entry::command("exec", &exec::COMMAND),
        Entry::command("inspect", &inspect::CONTAINER),
        Entry::command("kill", &lifecycle::KILL),
        Entry::command("logs", &logs::COMMAND),
        Entry::command("ls", &ps::COMMAND).also(&["list", "ps"]),
        Entry::command("pause", &lifecycle::PAUSE),
        Entry::command("rename", &lifecycle::RENAME),
        Entry::command("restart", &lifecycle::RESTART),
        Entry::command("rm", &lifecycle::RM).also(&["remove"]),
        Entry::command("run", &run::COMMAND),
        Entry::command("start", &start::COMMAND),
        Entry::command("stop", &lifecycle::STOP),
        Entry::command("unpause", &lifecycle::UNPAUSE),
        Entry::command("wait", &lifecycle::WAIT),
    ],
};

static IMAGE: Group = Group {
    about: "Manage images",
    entries: &[
        Entry::command("inspect", &inspect::IMAGE),
        Entry::command("pull", &pull::PULL),
        Entry::command("push", &pull::PUSH),
    ],
};
