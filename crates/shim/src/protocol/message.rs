//! The requests, as they stand in JSON, and what a frame holds.

use std::fmt;
use std::path::PathBuf;

use oci::runtime::{Process, Spec};
use serde::{Deserialize, Serialize};

use super::{Event, Reply};

/// A message of the protocol: something that says how many descriptors come with it.
pub trait Message: Serialize + for<'a> Deserialize<'a> {
    /// How many descriptors the message is accompanied by.
    fn descriptor_count(&self) -> usize;
}

/// A frame from the daemon: `{"serial":7,"request":{"resize":{…}}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToShim {
    /// Chosen by the daemon; the reply repeats it.
    pub serial: u64,
    /// What is asked for.
    pub request: Request,
}

/// A frame from the shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromShim {
    /// The answer to one request.
    Reply {
        /// The serial number of the request.
        serial: u64,
        /// The answer.
        reply: Reply,
    },
    /// Something happened.
    Event(Event),
}

/// What the daemon asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// How are you? Answered by [`Reply::Status`].
    Hello,
    /// Make the container up to the point where only its program is missing. Answered by [`Reply::Created`].
    Create(Box<Create>),
    /// Run the program. Answered by [`Reply::Started`] after execve(2) succeeded.
    Start,
    /// Run another process in the container. Answered by [`Reply::ExecStarted`] after execve(2) succeeded.
    Exec(Box<Exec>),
    /// Connect a stream to a process. One descriptor: the stream socket. Answered by [`Reply::Attached`].
    Attach(Attach),
    /// Set the size of a terminal. Answered by [`Reply::Done`].
    Resize {
        /// Whose terminal.
        target: Target,
        /// Lines.
        height: u16,
        /// Characters in a line.
        width: u16,
    },
    /// Close the input of a process after what is on its way: it reads an end of file. Answered by [`Reply::Done`].
    CloseStdin {
        /// Whose input.
        target: Target,
    },
    /// Kill what lives, record the exit, clean up and leave; also the confirmation that `Exited` was received.
    /// Answered by [`Reply::Done`] before the shim leaves.
    Shutdown,
}

/// The container's own process, or one started by [`Request::Exec`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The container's init.
    #[default]
    Container,
    /// The process with this exec id.
    Exec(String),
}

/// Everything needed to make the container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Create {
    /// The container's id; names it in errors and to hooks.
    pub id: String,
    /// The OCI configuration. `root.path` is ignored in favour of `root` below.
    pub spec: Spec,
    /// What becomes the root file system.
    pub root: Root,
    /// How the program's input and output are connected.
    pub io: Io,
    /// Where output is logged.
    pub log: Log,
    /// `<data-root>/containers/<id>`: exit.json is written here.
    pub data_dir: PathBuf,
    /// Where the container is in the cgroup hierarchies.
    pub cgroup: CgroupPlace,
    /// Whether pid 1 is our small init that reaps orphans and forwards signals.
    pub init: bool,
    /// Another OCI runtime that makes the container; `None`: we do.
    #[serde(default)]
    pub runtime: Option<Runtime>,
    /// Whether nothing of the container need survive a loss of power: it removes itself when it ends.
    #[serde(default)]
    pub volatile: bool,
}

/// Another OCI runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The program: a path, or a name that is looked for where programs are.
    pub program: String,
    /// Arguments before all others.
    pub arguments: Vec<String>,
    /// A directory for the bundle and the runtime's own state, ours alone; it does not outlive a boot.
    pub dir: PathBuf,
}

/// What becomes the container's root file system; mounted in the container's mount namespace only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// A directory, used as it is.
    Path {
        /// Absolute path on the host.
        path: PathBuf,
    },
    /// An overlay of layers.
    Overlay {
        /// Absolute paths of the layers, the top one first.
        lower: Vec<PathBuf>,
        /// Where changes go.
        upper: PathBuf,
        /// Overlayfs' own work directory, on the same file system as `upper`.
        work: PathBuf,
        /// Whether what is on the disk has the ids of the container, which its user namespace maps.
        #[serde(default)]
        mapped: bool,
    },
}

/// How a process' input and output are connected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Io {
    /// One terminal instead of three pipes.
    #[serde(default)]
    pub terminal: bool,
    /// The terminal's size at the start.
    #[serde(default)]
    pub console_size: Option<ConsoleSize>,
    /// Whether input can be attached; otherwise the program reads /dev/null.
    #[serde(default)]
    pub stdin: bool,
    /// Whether the end of the first attached input closes the program's input for good (pipes only).
    #[serde(default)]
    pub stdin_once: bool,
}

/// The size of a terminal in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Lines.
    pub height: u16,
    /// Characters in a line.
    pub width: u16,
}

/// Where and how output is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The format.
    pub driver: LogDriver,
    /// The log file, `<data_dir>/<id>-json.log` or `-local.log`; unused for [`LogDriver::None`].
    pub path: PathBuf,
    /// Bytes after which a new file is begun; `None`: never.
    #[serde(default)]
    pub max_size: Option<u64>,
    /// How many files are kept, the current one included; at least 1.
    #[serde(default = "one")]
    pub max_file: u32,
    /// Whether files are compressed (gzip) when they are no longer the current one.
    #[serde(default)]
    pub compress: bool,
    /// Labels, environment and tag that are repeated with every line, in the order they are written.
    #[serde(default)]
    pub attrs: Vec<(String, String)>,
}

fn one() -> u32 {
    1
}

/// The format of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// A JSON object per line, Docker's default.
    JsonFile,
    /// A short head and the bytes per line.
    Local,
    /// Nothing is kept.
    None,
    /// A name that this shim does not know; Create answers with an error.
    #[serde(other)]
    Unsupported,
}

/// Where a container is in the cgroup hierarchies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlace {
    /// Who makes the cgroup.
    pub driver: CgroupDriver,
    /// The path below the root of each hierarchy, `/docker/<id>`; for systemd `slice:prefix:name`.
    pub path: String,
}

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// We do, as directories.
    Cgroupfs,
    /// systemd does, as a scope unit.
    Systemd,
}

/// Another process in the container; one descriptor when `attach` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Chosen by the daemon; names the process from now on.
    pub exec_id: String,
    /// What runs.
    pub process: Process,
    /// How its input and output are connected.
    pub io: Io,
    /// A stream that is connected before the process runs; its `target` is not looked at.
    #[serde(default)]
    pub attach: Option<Attach>,
    /// Milliseconds after which the process and its group are killed, daemon or no daemon; `None`: never.
    #[serde(default)]
    pub time_limit_ms: Option<u64>,
}

/// A stream socket to connect to a process.
///
/// The shim writes output onto it as it comes, from the moment of attaching; bytes read from it go to the process'
/// input. When the other end closes its writing side, that is the end of this input: it closes the process' input when
/// `stdin_once` is set and there is no terminal, and otherwise ends this attachment (as Docker does). When the other
/// end is closed altogether, the attachment ends and the process' input stays open: a client that meant to end the
/// input closes its writing side first, or sends [`Request::CloseStdin`].
///
/// The shim ends the stream after the process' output has ended, and after [`Event::Exited`] or [`Event::ExecExited`]
/// has been sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The process.
    #[serde(default)]
    pub target: Target,
    /// Whether bytes read from the stream are the process' input.
    #[serde(default)]
    pub stdin: bool,
    /// Whether the process' output is written to the stream; with a terminal all output is this.
    #[serde(default)]
    pub stdout: bool,
    /// Whether the process' error output is written to the stream.
    #[serde(default)]
    pub stderr: bool,
    /// How output is framed.
    pub framing: Framing,
}

/// How output stands on an attached stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// Docker's frames: stream number, three zeros, length as u32 big-endian, payload.
    Mux,
    /// The bytes alone.
    Raw,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Container => write!(f, "the container"),
            Target::Exec(exec_id) => write!(f, "exec {exec_id}"),
        }
    }
}

impl Message for ToShim {
    fn descriptor_count(&self) -> usize {
        match &self.request {
            Request::Attach(_) => 1,
            Request::Exec(exec) => usize::from(exec.attach.is_some()),
            _ => 0,
        }
    }
}

impl Message for FromShim {
    fn descriptor_count(&self) -> usize {
        match self {
            FromShim::Reply {
                reply: Reply::Created { descriptors, .. } | Reply::Netns { descriptors },
                ..
            } => descriptors.len(),
            FromShim::Reply { reply: Reply::Status(status), .. } => status.descriptors.len(),
            _ => 0,
        }
    }
}
