//! Does what a plan says, inside the new process. Decides nothing.

mod devices;
mod mapped;
mod mounts;
mod process;

pub(crate) use mapped::overlay_mapped;
pub(crate) use mounts::{change, new_file_system, overlay, target_in};

use std::cell::Cell;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use linux::mount::{self, Change};
use linux::procfs::Procfs;
use linux::root::Root;
use linux::{credentials, process as kernel};
use oci::runtime::{Hooks, Process, State};

use crate::channel::{Channel, Message};
use crate::error::While;
use crate::plan::{Op, Plan, Source};
use crate::request::Gate;
use crate::seccomp::Program;
use crate::sources::{Here, open_source};
use crate::{Error, Kind, Result, hooks};

/// Everything the new process works with; all descriptors close when its program runs.
pub(crate) struct Inside<'a> {
    /// What the host's side opened, by their place in the plan.
    pub(crate) sources: Vec<Option<OwnedFd>>,
    /// What it could not open, because it may not mount.
    pub(crate) unopened: &'a [Source],
    /// The container's control group.
    pub(crate) cgroup: Option<&'a cgroup::Cgroup>,
    /// The user namespaces whose maps mounts get, by their place in the plan.
    pub(crate) id_maps: Vec<OwnedFd>,
    /// The mount namespace that is joined.
    pub(crate) mounts: Option<OwnedFd>,
    /// The root file system, detached, until it is attached.
    pub(crate) root_mount: Option<OwnedFd>,
    /// The root, once it is attached.
    pub(crate) root: Option<Root>,
    /// A private procfs.
    pub(crate) procfs: Option<Procfs>,
    /// The host's side.
    pub(crate) channel: Channel,
    /// The copy of the host's end that the new process has until it closes it: the end of the host's side would not be
    /// seen otherwise.
    pub(crate) host_end: Option<&'a Cell<Option<Channel>>>,
    /// How `start` comes in.
    pub(crate) gate: Option<Gate>,
    /// Standard input, output and error.
    pub(crate) stdio: [Option<OwnedFd>; 3],
    /// Whether the terminal passes newlines on as they are written.
    pub(crate) plain_newlines: bool,
    /// The program.
    pub(crate) process: &'a Process,
    /// Hooks that run inside.
    pub(crate) hooks: Option<&'a Hooks>,
    /// The state that hooks are told.
    pub(crate) state: State,
    /// The filter of system calls.
    pub(crate) filter: Option<&'a Program>,
    /// Where the filter's listener is sent.
    pub(crate) agents: Vec<OwnedFd>,
    /// Which of them is next.
    pub(crate) next_agent: usize,
    /// What the agent at the other end is told besides.
    pub(crate) listener_metadata: String,
    /// Our own binary, for `init`.
    pub(crate) own_binary: Option<OwnedFd>,
    /// An empty, read-only file system for masked directories, once there is one.
    pub(crate) empty: Option<OwnedFd>,
    /// Whether the /dev/null that masks files is attached somewhere, and copies of it are to be made.
    pub(crate) null_is_attached: bool,
    /// The terminal.
    pub(crate) terminal: Option<linux::pty::Pair>,
    /// The program's path, once it is found.
    pub(crate) program: Option<CString>,
    /// The program's environment, once all is ready.
    pub(crate) variables: Option<kernel::Strings>,
    /// Whether a missing working directory is made.
    pub(crate) makes_working_dir: bool,
    /// Whether the steps are told that others look for in a runtime's log.
    pub(crate) reports: bool,
    /// The way into the control group, where the process is not made inside it.
    pub(crate) entrance: Option<cgroup::Entrance>,
}

impl<'a> Inside<'a> {
    /// With nothing but the conversation, the program and the state; the rest is filled in.
    pub(crate) fn new(channel: Channel, process: &'a Process, state: State) -> Self {
        Self {
            sources: Vec::new(),
            unopened: &[],
            cgroup: None,
            id_maps: Vec::new(),
            mounts: None,
            root_mount: None,
            root: None,
            procfs: None,
            channel,
            host_end: None,
            gate: None,
            stdio: [None, None, None],
            plain_newlines: false,
            process,
            hooks: None,
            state,
            filter: None,
            agents: Vec::new(),
            next_agent: 0,
            listener_metadata: String::new(),
            own_binary: None,
            empty: None,
            null_is_attached: false,
            terminal: None,
            program: None,
            variables: None,
            makes_working_dir: false,
            reports: false,
            entrance: None,
        }
    }
}

impl Inside<'_> {
    /// Takes all steps; returns only when one failed, after the host's side was told.
    pub(crate) fn run(mut self, plan: &Plan) -> i32 {
        credentials::set_umask(0);
        let begun = self.enter().and_then(|()| self.report("=> nsexec container setup"));
        let begun = begun.and_then(|()| self.report("child process in init()"));
        if let Err(error) = begun.and_then(|()| plan.ops.iter().try_for_each(|op| self.apply(op))) {
            // With the host's side gone there is nobody to tell; the exit code says the same.
            let _ = self.channel.failed(&error);
        }
        1
    }

    /// Enters the control group, before anything else is done in its name.
    pub(crate) fn enter(&mut self) -> Result<()> {
        drop(self.host_end.take().map(Cell::take));
        if self.hooks.is_some() || !self.agents.is_empty() {
            self.state.pid = self.pid_outside()?;
        }
        self.entrance.take().map_or(Ok(()), |entrance| Ok(entrance.enter()?))
    }

    /// Tells a step, in the words that runc's log has for it: that is what programs which read such logs look for.
    pub(crate) fn report(&self, words: &str) -> Result<()> {
        if !self.reports {
            return Ok(());
        }
        self.channel.report(&format!("nsexec[{}]: {words}", self.pid_outside()?))
    }

    /// Our number where the runtime is: its procfs shows it.
    fn pid_outside(&self) -> Result<i32> {
        let stat = self.procfs()?.read("self/stat", 256)?;
        let text = String::from_utf8_lossy(&stat);
        let number = text.split(' ').next().and_then(|number| number.parse().ok());
        number.ok_or_else(|| Error::new(Kind::System, "/proc/self/stat does not begin with a number"))
    }

    fn apply(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::BecomeRoot => {
                credentials::set_groups(&[]).or_else(permitted)?;
                Ok(credentials::set_ids(0, 0)?)
            }
            Op::NotDumpable => Ok(credentials::set_dumpable(false)?),
            Op::OpenSources => {
                let open = |source| open_source(source, self.cgroup, Here::Container).map(Some);
                self.sources = self.unopened.iter().map(open).collect::<Result<_>>()?;
                Ok(())
            }
            Op::NewTimeNamespace(offsets) => self.new_time_namespace(offsets).during(|| "linux.timeOffsets"),
            Op::AwaitHost => self.await_go(),
            Op::NewCgroupNamespace => Ok(kernel::unshare(kernel::namespace::CGROUP)?),
            Op::NewKeyring(name) => {
                credentials::new_session_keyring(name).map(|_| ()).during(|| "session keyring")
            }
            Op::HostName(name) => Ok(credentials::set_host_name(name)?),
            Op::DomainName(name) => Ok(credentials::set_domain_name(name)?),
            Op::PropagateAll(to) => {
                let change = Change { propagation: Some(to.kind), ..Change::default() };
                Ok(mount::change(Root::open(Path::new("/"))?, to.recursive, &change)?)
            }
            Op::AttachRoot(root, apart) => self.attach_root(root, *apart).during(|| "root file system"),
            Op::Mount(mount) => self
                .mount(mount)
                .during(|| format!("error mounting {:?} to rootfs", mount.target.display().to_string())),
            Op::MakeNode(node) => self.make_node(node).during(|| format!("device {}", node.path.display())),
            Op::BindNode(source, path) => {
                self.bind_node(*source, path).during(|| format!("device {}", path.display()))
            }
            Op::Link(path, text, replace) => {
                self.link(path, text, *replace).during(|| format!("link {}", path.display()))
            }
            Op::OpenTerminal(size) => self.open_terminal(*size).during(|| "terminal"),
            Op::BindConsole => self.bind_console().during(|| "/dev/console"),
            Op::HostHooks => {
                self.channel.hooks()?;
                self.await_go()
            }
            Op::CreateHooks => {
                // What they name relative to themselves is in the root, as in runc.
                mount::set_working_dir_to(self.root()?)?;
                hooks::run("createContainer", &self.hooks()?.create_container, &self.state)
            }
            Op::JoinMounts => {
                let namespace = self.mounts.take().ok_or_else(|| missing("mount namespace"))?;
                Ok(kernel::set_namespace(&namespace, kernel::namespace::MOUNT)?)
            }
            Op::ChangeRoot => mount::change_root(self.root()?).during(|| "entering the root"),
            Op::PivotRoot => {
                mount::set_working_dir_to(self.root()?)?;
                mount::pivot_into_working_dir().during(|| "entering the root")
            }
            Op::MoveRoot => self.move_root().during(|| "entering the root"),
            Op::PropagateRoot(to) => {
                let change = Change { propagation: Some(to.kind), ..Change::default() };
                Ok(mount::change(self.root()?, to.recursive, &change)?)
            }
            Op::ReadOnlyRoot => {
                let change = Change { set: mount::attribute::READ_ONLY, ..Change::default() };
                Ok(mount::change(self.root()?, false, &change)?)
            }
            Op::ReadOnlyMount(path) => {
                let change = Change { set: mount::attribute::READ_ONLY, ..Change::default() };
                Ok(mount::change(self.root()?.handle(path)?, false, &change)?)
            }
            Op::Sysctl(path, value) => {
                self.procfs()?.write(&format!("sys/{path}"), value.as_bytes()).during(|| "sysctl")
            }
            Op::ReadOnly(path) => {
                self.read_only(path).during(|| format!("read-only path {}", path.display()))
            }
            Op::Mask(path, null) => {
                self.mask(path, *null).during(|| format!("masked path {}", path.display()))
            }
            other => self.apply_process(other),
        }
    }

    /// A time namespace is for children; its maker may join it once its clocks are set (time_namespaces(7)).
    fn new_time_namespace(&self, offsets: &[String]) -> Result<()> {
        kernel::unshare(kernel::namespace::TIME)?;
        for offset in offsets {
            self.procfs()?.write("self/timens_offsets", offset.as_bytes())?;
        }
        let made = self.procfs()?.own_namespace("time_for_children")?;
        Ok(kernel::set_namespace(&made, kernel::namespace::TIME)?)
    }

    fn await_go(&self) -> Result<()> {
        match self.channel.receive()? {
            Some(Message::Go) => Ok(()),
            _ => Err(Error::new(Kind::System, "the runtime is gone")),
        }
    }

    fn root(&self) -> Result<&Root> {
        self.root.as_ref().ok_or_else(|| missing("root"))
    }

    fn procfs(&self) -> Result<&Procfs> {
        self.procfs.as_ref().ok_or_else(|| missing("procfs"))
    }

    fn hooks(&self) -> Result<&Hooks> {
        self.hooks.ok_or_else(|| missing("hooks"))
    }

    /// A source may be used once: attaching moves it.
    fn take_source(&mut self, number: usize) -> Result<OwnedFd> {
        self.sources.get_mut(number).and_then(Option::take).ok_or_else(|| missing("source"))
    }
}

/// A plan that uses what it did not ask for: a defect of ours, said instead of a panic.
fn missing(what: &str) -> Error {
    Error::new(Kind::System, format!("the plan uses a {what} that is not there"))
}

/// In a user namespace without setgroups(2) there are no groups to drop.
fn permitted(error: linux::Error) -> linux::Result<()> {
    if error.kind() == std::io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) }
}

/// The kind of inode behind a handle.
fn kind_of(fd: impl AsFd) -> Result<linux::file::Kind> {
    Ok(linux::file::stat(fd)?.kind)
}
