//! Names of Docker's commands that do nothing here: what they would do, and who says why they do not.

use crate::command::plugin;
use crate::grammar::Method::{Delete, Get, Post, Put};
use crate::grammar::{Absent, Entry, Group};

const BUILD: &str = "building images is not there yet. Build the image with another program and bring it here with \
                     'load', 'import' or 'pull'";

/// `build`, alone and in the groups `image` and `builder`.
pub(crate) static BUILD_COMMAND: Absent = Absent::words("Build an image from a Dockerfile", BUILD);
/// `bake`.
pub(crate) static BAKE: Absent = Absent::words("Build from a file", BUILD);
/// `trust`, which Docker has given up.
pub(crate) static TRUST: Absent = Absent::words(
    "Manage trust on Docker images",
    "images are not signed or verified by Docker Content Trust. Name them by digest to know what they are",
);
/// `volume update`.
pub(crate) static VOLUME_UPDATE: Absent =
    Absent::daemon("Update a volume (cluster volumes only)", Put, "/volumes/{}");

/// `builder`.
pub(crate) static BUILDER: Group = Group {
    about: "Manage builds",
    entries: &[
        Entry::absent("build", &Absent::words("Build an image from a Dockerfile", BUILD)),
        Entry::absent("prune", &Absent::daemon("Remove build cache", Post, "/build/prune")),
    ],
};

/// `buildx`.
pub(crate) static BUILDX: Group = Group {
    about: "Extended build capabilities with BuildKit",
    entries: &[
        Entry::absent("bake", &Absent::words("Build from a file", BUILD)),
        Entry::absent("build", &Absent::words("Start a build", BUILD)),
        Entry::absent("create", &Absent::words("Create a new builder instance", BUILD)),
        Entry::absent("du", &Absent::words("Disk usage", BUILD)),
        Entry::absent("history", &Absent::words("Commands to work on build records", BUILD)),
        Entry::absent("imagetools", &Absent::words("Commands to work on images in registry", BUILD)),
        Entry::absent("inspect", &Absent::words("Inspect current builder instance", BUILD)),
        Entry::absent("ls", &Absent::words("List builder instances", BUILD)),
        Entry::absent("prune", &Absent::words("Remove build cache", BUILD)),
        Entry::absent("rm", &Absent::words("Remove one or more builder instances", BUILD)),
        Entry::absent("stop", &Absent::words("Stop builder instance", BUILD)),
        Entry::absent("use", &Absent::words("Set the current builder instance", BUILD)),
        Entry::absent("version", &Absent::words("Show buildx version information", BUILD)),
    ],
};

/// `checkpoint`.
pub(crate) static CHECKPOINT: Group = Group {
    about: "Manage checkpoints",
    entries: &[
        Entry::absent(
            "create",
            &Absent::daemon(
                "Create a checkpoint from a running container",
                Post,
                "/containers/{}/checkpoints",
            ),
        ),
        Entry::absent(
            "ls",
            &Absent::daemon("List checkpoints for a container", Get, "/containers/{}/checkpoints"),
        )
        .also(&["list"]),
        Entry::absent("rm", &Absent::daemon("Remove a checkpoint", Delete, "/containers/{}/checkpoints/any"))
            .also(&["remove"]),
    ],
};

/// `config`.
pub(crate) static CONFIG: Group = Group {
    about: "Manage Swarm configs",
    entries: &[
        Entry::absent(
            "create",
            &Absent::daemon("Create a config from a file or STDIN", Post, "/configs/create"),
        ),
        Entry::absent(
            "inspect",
            &Absent::daemon("Display detailed information on one or more configs", Get, "/configs/{}"),
        ),
        Entry::absent("ls", &Absent::daemon("List configs", Get, "/configs")).also(&["list"]),
        Entry::absent("rm", &Absent::daemon("Remove one or more configs", Delete, "/configs/{}"))
            .also(&["remove"]),
    ],
};

/// `node`.
pub(crate) static NODE: Group = Group {
    about: "Manage Swarm nodes",
    entries: &[
        Entry::absent(
            "demote",
            &Absent::daemon("Demote one or more nodes from manager in the swarm", Get, "/nodes/{}"),
        ),
        Entry::absent(
            "inspect",
            &Absent::daemon("Display detailed information on one or more nodes", Get, "/nodes/{}"),
        ),
        Entry::absent("ls", &Absent::daemon("List nodes in the swarm", Get, "/nodes")).also(&["list"]),
        Entry::absent(
            "promote",
            &Absent::daemon("Promote one or more nodes to manager in the swarm", Get, "/nodes/{}"),
        ),
        Entry::absent(
            "ps",
            &Absent::daemon(
                "List tasks running on one or more nodes, defaults to current node",
                Get,
                "/tasks",
            ),
        ),
        Entry::absent("rm", &Absent::daemon("Remove one or more nodes from the swarm", Delete, "/nodes/{}"))
            .also(&["remove"]),
        Entry::absent("update", &Absent::daemon("Update a node", Get, "/nodes/{}")),
    ],
};

/// `plugin`.
pub(crate) static PLUGIN: Group = Group {
    about: "Manage plugins",
    entries: &[
        Entry::absent(
            "create",
            &Absent::daemon("Create a plugin from a rootfs and configuration", Post, "/plugins/create"),
        ),
        Entry::absent("disable", &Absent::daemon("Disable a plugin", Post, "/plugins/{}/disable")),
        Entry::absent("enable", &Absent::daemon("Enable a plugin", Post, "/plugins/{}/enable")),
        Entry::absent(
            "inspect",
            &Absent::daemon("Display detailed information on one or more plugins", Get, "/plugins/{}/json"),
        ),
        Entry::absent("install", &Absent::daemon("Install a plugin", Get, "/plugins/privileges")),
        Entry::command("ls", &plugin::LS).also(&["list"]),
        Entry::absent("push", &Absent::daemon("Push a plugin to a registry", Post, "/plugins/{}/push")),
        Entry::absent("rm", &Absent::daemon("Remove one or more plugins", Delete, "/plugins/{}"))
            .also(&["remove"]),
        Entry::absent("set", &Absent::daemon("Change settings for a plugin", Post, "/plugins/{}/set")),
        Entry::absent("upgrade", &Absent::daemon("Upgrade an existing plugin", Post, "/plugins/{}/upgrade")),
    ],
};

/// `secret`.
pub(crate) static SECRET: Group = Group {
    about: "Manage Swarm secrets",
    entries: &[
        Entry::absent(
            "create",
            &Absent::daemon("Create a secret from a file or STDIN as content", Post, "/secrets/create"),
        ),
        Entry::absent(
            "inspect",
            &Absent::daemon("Display detailed information on one or more secrets", Get, "/secrets/{}"),
        ),
        Entry::absent("ls", &Absent::daemon("List secrets", Get, "/secrets")).also(&["list"]),
        Entry::absent("rm", &Absent::daemon("Remove one or more secrets", Delete, "/secrets/{}"))
            .also(&["remove"]),
    ],
};

/// `service`.
pub(crate) static SERVICE: Group = Group {
    about: "Manage Swarm services",
    entries: &[
        Entry::absent("create", &Absent::daemon("Create a new service", Post, "/services/create")),
        Entry::absent(
            "inspect",
            &Absent::daemon("Display detailed information on one or more services", Get, "/services/{}"),
        ),
        Entry::absent(
            "logs",
            &Absent::daemon("Fetch the logs of a service or task", Get, "/services/{}/logs"),
        ),
        Entry::absent("ls", &Absent::daemon("List services", Get, "/services")).also(&["list"]),
        Entry::absent("ps", &Absent::daemon("List the tasks of one or more services", Get, "/services/{}")),
        Entry::absent("rm", &Absent::daemon("Remove one or more services", Delete, "/services/{}"))
            .also(&["remove"]),
        Entry::absent(
            "rollback",
            &Absent::daemon("Revert changes to a service's configuration", Get, "/services/{}"),
        ),
        Entry::absent(
            "scale",
            &Absent::daemon("Scale one or multiple replicated services", Get, "/services/{}"),
        ),
        Entry::absent("update", &Absent::daemon("Update a service", Get, "/services/{}")),
    ],
};

/// `stack`.
pub(crate) static STACK: Group = Group {
    about: "Manage Swarm stacks",
    entries: &[
        Entry::absent(
            "config",
            &Absent::daemon(
                "Outputs the final config file, after doing merges and interpolations",
                Get,
                "/services",
            ),
        ),
        Entry::absent(
            "deploy",
            &Absent::daemon("Deploy a new stack or update an existing stack", Get, "/services"),
        )
        .also(&["up"]),
        Entry::absent("ls", &Absent::daemon("List stacks", Get, "/services")).also(&["list"]),
        Entry::absent("ps", &Absent::daemon("List the tasks in the stack", Get, "/tasks")),
        Entry::absent("rm", &Absent::daemon("Remove one or more stacks", Get, "/services"))
            .also(&["down", "remove"]),
        Entry::absent("services", &Absent::daemon("List the services in the stack", Get, "/services")),
    ],
};

/// `swarm`.
pub(crate) static SWARM: Group = Group {
    about: "Manage Swarm",
    entries: &[
        Entry::absent("ca", &Absent::daemon("Display and rotate the root CA", Get, "/swarm")),
        Entry::absent("init", &Absent::daemon("Initialize a swarm", Post, "/swarm/init")),
        Entry::absent("join", &Absent::daemon("Join a swarm as a node and/or manager", Post, "/swarm/join")),
        Entry::absent("join-token", &Absent::daemon("Manage join tokens", Get, "/swarm")),
        Entry::absent("leave", &Absent::daemon("Leave the swarm", Post, "/swarm/leave")),
        Entry::absent("unlock", &Absent::daemon("Unlock swarm", Post, "/swarm/unlock")),
        Entry::absent("unlock-key", &Absent::daemon("Manage the unlock key", Get, "/swarm/unlockkey")),
        Entry::absent("update", &Absent::daemon("Update the swarm", Get, "/swarm")),
    ],
};
