//! Which names lead to which commands.

use crate::command::*;
use crate::grammar::{Entry, Group};
use crate::tree_absent as absent;

/// Shown first in the program's help, in this order.
pub(crate) const COMMON: &[&str] = &["run", "exec", "ps", "pull", "push", "images", "version", "info"];

/// What stands right behind the program's name.
pub(crate) static ROOT: Group = Group {
    about: "A self-sufficient runtime for containers",
    entries: &[
        Entry::command("attach", &attach::COMMAND),
        Entry::absent("bake", &absent::BAKE),
        Entry::absent("build", &absent::BUILD_COMMAND),
        Entry::group("builder", &absent::BUILDER),
        Entry::group("buildx", &absent::BUILDX),
        Entry::group("checkpoint", &absent::CHECKPOINT),
        Entry::command("commit", &image_names::COMMIT),
        Entry::group("config", &absent::CONFIG),
        Entry::group("container", &CONTAINER),
        Entry::group("context", &CONTEXT),
        Entry::command("cp", &cp::COMMAND),
        Entry::command("create", &create::COMMAND),
        Entry::command("diff", &look::DIFF),
        Entry::command("events", &events::COMMAND),
        Entry::command("exec", &exec::COMMAND),
        Entry::command("export", &image_files::EXPORT),
        Entry::command("history", &image_names::HISTORY),
        Entry::group("image", &IMAGE),
        Entry::command("images", &images::COMMAND),
        Entry::command("import", &image_files::IMPORT),
        Entry::command("info", &info::COMMAND),
        Entry::command("inspect", &inspect::ANY),
        Entry::command("kill", &lifecycle::KILL),
        Entry::command("load", &image_files::LOAD),
        Entry::command("login", &login::LOGIN),
        Entry::command("logout", &login::LOGOUT),
        Entry::command("logs", &logs::COMMAND),
        Entry::group("manifest", &MANIFEST),
        Entry::group("network", &NETWORK),
        Entry::group("node", &absent::NODE),
        Entry::command("pause", &lifecycle::PAUSE),
        Entry::group("plugin", &absent::PLUGIN),
        Entry::command("port", &look::PORT),
        Entry::command("ps", &ps::COMMAND),
        Entry::command("pull", &pull::PULL),
        Entry::command("push", &pull::PUSH),
        Entry::command("rename", &lifecycle::RENAME),
        Entry::command("restart", &lifecycle::RESTART),
        Entry::command("rm", &lifecycle::RM),
        Entry::command("rmi", &image_names::RMI),
        Entry::command("run", &run::COMMAND),
        Entry::command("save", &image_files::SAVE),
        Entry::command("search", &search::COMMAND),
        Entry::group("secret", &absent::SECRET),
        Entry::group("service", &absent::SERVICE),
        Entry::group("stack", &absent::STACK),
        Entry::command("start", &start::COMMAND),
        Entry::command("stats", &stats::COMMAND),
        Entry::command("stop", &lifecycle::STOP),
        Entry::group("swarm", &absent::SWARM),
        Entry::group("system", &SYSTEM),
        Entry::command("tag", &image_names::TAG),
        Entry::command("top", &look::TOP),
        Entry::absent("trust", &absent::TRUST),
        Entry::command("unpause", &lifecycle::UNPAUSE),
        Entry::command("update", &update::COMMAND),
        Entry::command("version", &version::COMMAND),
        Entry::group("volume", &VOLUME),
        Entry::command("wait", &lifecycle::WAIT),
    ],
};

static CONTAINER: Group = Group {
    about: "Manage containers",
    entries: &[
        Entry::command("attach", &attach::COMMAND),
        Entry::command("commit", &image_names::COMMIT),
        Entry::command("cp", &cp::COMMAND),
        Entry::command("create", &create::COMMAND),
        Entry::command("diff", &look::DIFF),
        Entry::command("exec", &exec::COMMAND),
        Entry::command("export", &image_files::EXPORT),
        Entry::command("inspect", &inspect::CONTAINER),
        Entry::command("kill", &lifecycle::KILL),
        Entry::command("logs", &logs::COMMAND),
        Entry::command("ls", &ps::COMMAND).also(&["list", "ps"]),
        Entry::command("pause", &lifecycle::PAUSE),
        Entry::command("port", &look::PORT),
        Entry::command("prune", &prune::CONTAINER),
        Entry::command("rename", &lifecycle::RENAME),
        Entry::command("restart", &lifecycle::RESTART),
        Entry::command("rm", &lifecycle::RM).also(&["remove"]),
        Entry::command("run", &run::COMMAND),
        Entry::command("start", &start::COMMAND),
        Entry::command("stats", &stats::COMMAND),
        Entry::command("stop", &lifecycle::STOP),
        Entry::command("top", &look::TOP),
        Entry::command("unpause", &lifecycle::UNPAUSE),
        Entry::command("update", &update::COMMAND),
        Entry::command("wait", &lifecycle::WAIT),
    ],
};

static CONTEXT: Group = Group {
    about: "Manage contexts",
    entries: &[
        Entry::command("create", &context::CREATE),
        Entry::command("export", &context_transfer::EXPORT),
        Entry::command("import", &context_transfer::IMPORT),
        Entry::command("inspect", &context::INSPECT),
        Entry::command("ls", &context::LS).also(&["list"]),
        Entry::command("rm", &context::RM).also(&["remove"]),
        Entry::command("show", &context::SHOW),
        Entry::command("update", &context::UPDATE),
        Entry::command("use", &context::USE),
    ],
};

static IMAGE: Group = Group {
    about: "Manage images",
    entries: &[
        Entry::absent("build", &absent::BUILD_COMMAND),
        Entry::command("history", &image_names::HISTORY),
        Entry::command("import", &image_files::IMPORT),
        Entry::command("inspect", &inspect::IMAGE),
        Entry::command("load", &image_files::LOAD),
        Entry::command("ls", &images::COMMAND).also(&["list"]),
        Entry::command("prune", &prune::IMAGE),
        Entry::command("pull", &pull::PULL),
        Entry::command("push", &pull::PUSH),
        Entry::command("rm", &image_names::RMI).also(&["remove"]),
        Entry::command("save", &image_files::SAVE),
        Entry::command("tag", &image_names::TAG),
    ],
};

static MANIFEST: Group = Group {
    about: "Manage Docker image manifests and manifest lists",
    entries: &[
        Entry::command("annotate", &manifest::ANNOTATE),
        Entry::command("create", &manifest::CREATE),
        Entry::command("inspect", &manifest::INSPECT),
        Entry::command("push", &manifest::PUSH),
        Entry::command("rm", &manifest::RM),
    ],
};

static NETWORK: Group = Group {
    about: "Manage networks",
    entries: &[
        Entry::command("connect", &network::CONNECT),
        Entry::command("create", &network::CREATE),
        Entry::command("disconnect", &network::DISCONNECT),
        Entry::command("inspect", &inspect::NETWORK),
        Entry::command("ls", &network::LS).also(&["list"]),
        Entry::command("prune", &network::PRUNE),
        Entry::command("rm", &network::RM).also(&["remove"]),
        Entry::command("shape", &network_shape::SHAPE),
    ],
};

static SYSTEM: Group = Group {
    about: "Manage Docker",
    entries: &[
        Entry::command("check", &check::COMMAND),
        Entry::command("df", &disk_usage::COMMAND),
        Entry::command("dial-stdio", &dial_stdio::COMMAND),
        Entry::command("events", &events::COMMAND),
        Entry::command("info", &info::COMMAND),
        Entry::command("prune", &prune::SYSTEM),
    ],
};

static VOLUME: Group = Group {
    about: "Manage volumes",
    entries: &[
        Entry::command("clone", &volume_content::CLONE),
        Entry::command("create", &volume::CREATE),
        Entry::command("export", &volume_content::EXPORT),
        Entry::command("import", &volume_content::IMPORT),
        Entry::command("inspect", &inspect::VOLUME),
        Entry::command("ls", &volume::LS).also(&["list"]),
        Entry::command("prune", &volume::PRUNE),
        Entry::command("rename", &volume_content::RENAME),
        Entry::command("rm", &volume::RM).also(&["remove"]),
        Entry::command("snapshot", &volume_content::SNAPSHOT),
        Entry::absent("update", &absent::VOLUME_UPDATE),
    ],
};
