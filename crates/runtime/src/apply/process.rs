//! From the finished root to the running program: limits, descriptors, privileges, execve(2).

use std::os::fd::AsFd;
use std::path::Path;

use linux::credentials::{self, CapabilitySets};
use linux::process::{self as kernel, Strings};
use linux::signalfd::SignalFd;
use linux::watch::{self, Interest};
use linux::{file, mount};

use super::{Inside, missing};
use crate::channel::{Channel, Message};
use crate::error::While;
use crate::plan::Op;
use crate::request::Gate;
use crate::{Error, Kind, Result, hooks, program};

/// What pid 1 is called when it is our own init, as Docker calls its own.
const INIT_NAME: &str = "/sbin/docker-init";

impl Inside<'_> {
    pub(super) fn apply_process(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Limit(name, number, soft, hard) => {
                credentials::set_limit(*number, *soft, *hard).during(|| format!("process.rlimits: {name}"))
            }
            Op::Scheduler(scheduling) => set_scheduler(scheduling),
            Op::IoPriority(class, level) => Ok(credentials::set_io_priority(*class, *level)?),
            Op::Affinity(cpus) => {
                credentials::set_affinity(cpus.iter().copied())?;
                if self.reports {
                    self.report(&format!("affinity: {:#x}", credentials::affinity()?))?;
                }
                Ok(())
            }
            Op::AnyCpu => Ok(credentials::set_affinity(0..8192)?),
            Op::MemoryPolicy(mode, nodes) => Ok(credentials::set_memory_policy(*mode, nodes)?),
            Op::Personality(domain) => Ok(credentials::set_personality(*domain)?),
            Op::Stdio { terminal, uid } => {
                self.place_stdio(*terminal, *uid).during(|| "standard input and output")
            }
            Op::AppArmor(profile) => {
                let text = format!("exec {profile}");
                self.procfs()?.write("self/attr/apparmor/exec", text.as_bytes()).during(|| "apparmor profile")
            }
            Op::SeLinux(label) => {
                self.procfs()?.write("self/attr/exec", label.as_bytes()).during(|| "selinux label")
            }
            Op::Filter => self.load_filter().during(|| "seccomp"),
            Op::WorkingDir(path) => self.enter_working_dir(path),
            Op::Bound(kept, last) => bound(*kept, *last),
            Op::Ids(uid, gid, groups) => set_ids(*uid, *gid, groups),
            Op::Capabilities(sets) => set_capabilities(*sets),
            Op::Ambient(set) => set_ambient(*set),
            Op::Umask(mask) => {
                credentials::set_umask(*mask);
                Ok(())
            }
            Op::FindProgram => {
                let name = self.process.args.first().map_or("", String::as_str);
                self.program = Some(program::find(name, &self.process.env)?);
                Ok(())
            }
            Op::AwaitStart { preserve_fds } => self.await_start(*preserve_fds),
            Op::StartHooks(confinement) => self.start_hooks(confinement),
            Op::NoNewPrivileges => Ok(credentials::set_no_new_privileges()?),
            Op::Ready { preserve_fds } => self.make_ready(*preserve_fds),
            Op::Execute { init } => self.execute(*init),
            other => Err(Error::new(Kind::System, format!("nobody does: {other}"))),
        }
    }

    fn place_stdio(&mut self, terminal: bool, uid: u32) -> Result<()> {
        if terminal {
            let pair = self.terminal.as_ref().ok_or_else(|| missing("terminal"))?;
            linux::child::own_session()?;
            for number in 0..3 {
                kernel::place(&pair.terminal, number)?;
            }
            give(&pair.terminal, uid)?;
            return Ok(kernel::set_controlling_terminal(&pair.terminal)?);
        }
        // The numbers of one may be the present numbers of another: first all get numbers out of the way.
        for (number, fd) in (0_i32..).zip(&self.stdio) {
            if let Some(fd) = fd {
                give(fd, uid)?;
                kernel::place(fd, number)?;
            }
        }
        self.stdio = [None, None, None];
        linux::child::own_session().or_else(|error| if error.errno() == 1 { Ok(()) } else { Err(error) })?;
        Ok(())
    }

    fn load_filter(&mut self) -> Result<()> {
        let filter = self.filter.ok_or_else(|| missing("filter"))?;
        let listener = linux::seccomp::load(&filter.instructions, filter.flags)?;
        if let (Some(listener), Some(socket)) = (listener, self.agents.get(self.next_agent)) {
            let state = crate::notify::announcement(&self.state, &self.listener_metadata);
            crate::notify::hand_over(socket, &state, listener.as_fd())?;
        }
        Ok(())
    }

    /// The directory is looked up inside the root without following links of procfs, and must be reachable from it.
    fn enter_working_dir(&mut self, path: &Path) -> Result<()> {
        let refused = |error: linux::Error| {
            let words = program::words(error.errno());
            Error::new(Kind::System, format!("chdir to cwd ({path:?}) set in config.json failed: {words}"))
        };
        let root = self.root()?;
        let directory = match root.handle(path) {
            Err(error) if error.errno() == 2 && self.makes_working_dir => root.make_dir_all(path, 0o755),
            other => other,
        };
        mount::set_working_dir_to(directory.map_err(refused)?).map_err(refused)?;
        if mount::working_dir_is_reachable()? {
            return Ok(());
        }
        Err(Error::new(
            Kind::System,
            "current working directory is outside of container mount namespace root -- possible container breakout detected",
        ))
    }

    fn await_start(&mut self, preserve_fds: u32) -> Result<()> {
        self.report("init: closing the pipe to signal completion")?;
        // Who starts it asks for no steps.
        self.reports = false;
        // Nothing of the host's stays open while others of the container may already be looking.
        self.procfs = None;
        self.sources.clear();
        self.id_maps.clear();
        self.empty = None;
        let terminal = self.terminal.take();
        drop(self.entrance.take());
        // What was copied from the runtime goes too: files of its caller, and the other end of the channel, without
        // which this process notices that the runtime is gone.
        self.close_all_else(terminal.as_ref(), preserve_fds).during(|| "closing descriptors")?;
        self.channel.created(terminal.as_ref().map(|pair| pair.controller.as_fd()))?;
        drop(terminal);
        let signals = SignalFd::block(&ENDING)?;
        if let Some(Gate::Listener(listener)) = self.gate.take() {
            loop {
                until_ready(&listener, &signals)?;
                if let Some(connection) = linux::socket::accept(&listener)? {
                    self.channel = Channel(connection);
                    if matches!(self.channel.receive()?, Some(Message::Go)) {
                        return Ok(());
                    }
                }
            }
        }
        until_ready(&self.channel, &signals)?;
        self.await_go()
    }

    fn environment(&self) -> Result<Vec<String>> {
        Ok(program::environment(&self.process.env, self.root()?, self.process.user.uid))
    }

    /// Hooks that say nothing about their environment get the program's, as runc's do; each takes the steps that confine
    /// the program before it runs.
    fn start_hooks(&mut self, confinement: &[Op]) -> Result<()> {
        let mut hooks = self.hooks()?.start_container.clone();
        let environment = self.environment()?;
        for hook in hooks.iter_mut().filter(|hook| hook.env.is_empty()) {
            hook.env.clone_from(&environment);
        }
        let state = oci::runtime::State { status: "created".to_owned(), ..self.state.clone() };
        if confinement.is_empty() {
            return hooks::run("startContainer", &hooks, &state);
        }
        let last = hooks.len();
        let confine = |number: usize| {
            self.next_agent = number;
            confinement.iter().try_for_each(|op| self.apply_process(op))
        };
        hooks::run_confined("startContainer", &hooks, &state, confine)?;
        self.next_agent = last;
        Ok(())
    }

    fn close_all_else(&self, terminal: Option<&linux::pty::Pair>, preserve_fds: u32) -> Result<()> {
        let mut keep = vec![self.channel.as_fd(), self.root()?.as_fd()];
        keep.extend(terminal.iter().flat_map(|pair| [pair.controller.as_fd(), pair.terminal.as_fd()]));
        keep.extend(self.own_binary.iter().chain(&self.agents).map(AsFd::as_fd));
        if let Some(Gate::Listener(listener)) = &self.gate {
            keep.push(listener.as_fd());
        }
        Ok(linux::fd::close_all_but(3 + preserve_fds, &keep)?)
    }

    fn make_ready(&mut self, preserve_fds: u32) -> Result<()> {
        // A process that joined has not said yet that it has a terminal.
        if let Some(pair) = self.terminal.take() {
            self.channel.created(Some(pair.controller.as_fd()))?;
        }
        let environment = self.environment()?;
        self.variables = Some(Strings::new(environment.iter().map(String::as_str)).ok_or_else(zero)?);
        kernel::close_on_exec_from(3 + preserve_fds)?;
        kernel::reset_signals()?;
        self.report("setns_init: about to exec")?;
        self.channel.executing()
    }

    fn execute(&mut self, init: bool) -> Result<()> {
        let environment = self.variables.take().ok_or_else(|| missing("environment"))?;
        let arguments = self.process.args.iter().map(String::as_str);
        if init {
            let arguments = Strings::new([INIT_NAME, "--"].into_iter().chain(arguments)).ok_or_else(zero)?;
            let binary = self.own_binary.as_ref().ok_or_else(|| missing("init"))?;
            return Err(program::refused(INIT_NAME, &kernel::execute_file(binary, &arguments, &environment)));
        }
        let arguments = Strings::new(arguments).ok_or_else(zero)?;
        let path = self.program.take().ok_or_else(|| missing("program"))?;
        let error = kernel::execute(&path, &arguments, &environment);
        Err(program::refused(&path.to_string_lossy(), &error))
    }
}

/// Only who may run on every processor gets a deadline (sched_setattr(2), EPERM): the words are runc's.
fn set_scheduler(scheduling: &credentials::Scheduling) -> Result<()> {
    const DEADLINE: u32 = 6;
    let refused = |error: &linux::Error| error.errno() == 1 && scheduling.policy == DEADLINE;
    match credentials::set_scheduler(scheduling) {
        Err(error) if refused(&error) => Err(error).during(
            || "process scheduler can't be used together with AllowedCPUs, nor with less than all processors",
        ),
        other => Ok(other?),
    }
}

/// Waits until there is something to read. The first process of a pid namespace does not hear of these signals by itself,
/// and a container that waits to be started may be told to end.
fn until_ready(fd: impl AsFd, signals: &SignalFd) -> Result<()> {
    loop {
        let ready =
            watch::wait(&[(fd.as_fd(), Interest::Readable), (signals.as_fd(), Interest::Readable)], LONG)?;
        if let Some(signal) = signals.take()? {
            kernel::exit(128 + signal);
        }
        if ready.first() == Some(&true) {
            return Ok(());
        }
    }
}

/// SIGHUP, SIGINT, SIGQUIT and SIGTERM (signal(7)).
const ENDING: [i32; 4] = [1, 2, 3, 15];
/// How long one wait may take: in effect for ever.
const LONG: std::time::Duration = std::time::Duration::from_secs(3600);

fn zero() -> Error {
    Error::invalid("an argument or a variable contains a zero byte")
}

/// Gives a terminal or a pipe to the program's user, so that it can open it again through /proc/self/fd.
fn give(fd: impl AsFd, uid: u32) -> Result<()> {
    const NULL: (u32, u32) = (1, 3);
    let stat = file::stat(&fd)?;
    if stat.uid == uid || stat.kind == file::Kind::CharDevice && stat.device_number == NULL {
        return Ok(());
    }
    match file::set_owner(&fd, uid, stat.gid) {
        // Something of a user that the container does not know, or on a read-only file system: it stays as it is.
        Err(error) if matches!(error.errno(), 1 | 22 | 30) => Ok(()),
        other => Ok(other?),
    }
}

fn bound(kept: u64, last: u8) -> Result<()> {
    for number in 0..=last {
        if kept >> number & 1 == 0 {
            credentials::drop_bounding(number)?;
        }
    }
    Ok(())
}

fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    // What the process may do is set next; until then a change of user must not take it away.
    credentials::set_keep_capabilities(true)?;
    credentials::set_groups(groups).or_else(super::permitted)?;
    credentials::set_ids(uid, gid)?;
    Ok(credentials::set_keep_capabilities(false)?)
}

fn set_capabilities(sets: CapabilitySets) -> Result<()> {
    // What the process itself does not have it cannot give, in a user namespace for example.
    let have = credentials::capabilities()?.permitted;
    let within = CapabilitySets {
        effective: sets.effective & have,
        permitted: sets.permitted & have,
        inheritable: sets.inheritable & have,
    };
    credentials::set_capabilities(within).during(|| "capabilities")
}

fn set_ambient(set: u64) -> Result<()> {
    credentials::clear_ambient()?;
    let have = credentials::capabilities()?.permitted;
    for number in (0..64).filter(|number| (set & have) >> number & 1 == 1) {
        credentials::raise_ambient(number)?;
    }
    Ok(())
}
