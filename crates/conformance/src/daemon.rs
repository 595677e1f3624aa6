//! A daemon of the suite's own: berth's or Docker's, on its own socket and roots, started and stopped by pid.

use crate::http::Request;
use crate::program_file;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a daemon may take to answer its first ping, or to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runtimes that every daemon of ours is told of, with where Debian's packages have them.
pub(crate) const PEERS: [(&str, &str); 2] = [("crun", "/usr/bin/crun"), ("debian-runc", "/usr/sbin/runc")];

/// Whose daemon it is: they differ in how they are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// `berth daemon`.
    Berth,
    /// Docker's `dockerd`, with live-restore so that its containers survive it as berth's always do.
    Docker,
}

/// Where the second version of control groups is on machines that have both.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// How to start a daemon.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Whose it is.
    pub flavour: Flavour,
    /// The program to run.
    pub program: PathBuf,
    /// Where the socket, both roots, the pid file and the daemon's own log go.
    pub directory: PathBuf,
    /// `--cgroup-parent`; what the daemon has by itself when `None`, which other daemons have too.
    pub cgroup_parent: Option<String>,
}

impl Setup {
    /// The unix socket the daemon listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join("engine.sock")
    }

    /// `--data-root`.
    #[must_use]
    pub fn data_root(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// `--exec-root`.
    #[must_use]
    pub fn exec_root(&self) -> PathBuf {
        self.directory.join("exec")
    }

    /// `--cdi-spec-dir`.
    #[must_use]
    pub fn device_descriptions(&self) -> PathBuf {
        self.directory.join("cdi")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("daemon.log")
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.program);
        match self.flavour {
            // A firewalld of this machine has nothing to do with bridges in a network namespace.
            Flavour::Berth => command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent").arg("daemon"),
            Flavour::Docker => command
                .args(["--live-restore", "--log-level", "warn", "--containerd"])
                .arg(self.directory.join("containerd.sock")),
        };
        command.arg("-H").arg(format!("unix://{}", self.socket().display()));
        command.arg("--data-root").arg(self.data_root()).arg("--exec-root").arg(self.exec_root());
        command.arg("--pidfile").arg(self.directory.join("daemon.pid"));
        for (name, program) in PEERS {
            command.arg("--add-runtime").arg(format!("{name}={}", self.peer(name, program)?.display()));
        }
        command.args(["--add-runtime", "missing=/no/such/runtime"]);
        if let Some(parent) = &self.cgroup_parent {
            command.args(["--cgroup-parent", parent]);
        }
        if self.flavour == Flavour::Berth {
            command.arg("--cdi-spec-dir").arg(self.device_descriptions());
        }
        self.send_output_to_log(&mut command)?;
        Ok(command)
    }

    /// A runtime as the daemon is to call it. crun refuses machines with both versions of control groups: it does not get
    /// to see the second one.
    fn peer(&self, name: &str, program: &str) -> Result<PathBuf> {
        if name != "crun" || self.flavour == Flavour::Docker || !Path::new(UNIFIED).exists() {
            return Ok(program.into());
        }
        let path = self.directory.join("crun");
        let script = format!("#!/bin/sh\numount -l {UNIFIED} 2>/dev/null\nexec {program} \"$@\"\n");
        program_file::write(&path, &script)?;
        Ok(path)
    }

    /// Docker's engine needs a containerd, which a crash of the engine leaves alone.
    fn containerd(&self) -> Result<Option<Child>> {
        if self.flavour == Flavour::Berth {
            return Ok(None);
        }
        let configuration = self.directory.join("containerd.toml");
        fs::write(&configuration, "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n")?;
        let mut command = Command::new("containerd");
        command
            .arg("--config")
            .arg(configuration)
            .arg("--address")
            .arg(self.directory.join("containerd.sock"));
        command
            .arg("--root")
            .arg(self.directory.join("containerd"))
            .arg("--state")
            .arg(self.exec_root().join("containerd"));
        self.send_output_to_log(&mut command)?;
        Ok(Some(command.spawn().context("start containerd")?))
    }

    fn send_output_to_log(&self, command: &mut Command) -> Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(())
    }
}

/// A running daemon. Dropping it kills it; [`Daemon::stop`] ends it properly.
#[derive(Debug)]
pub struct Daemon {
    setup: Setup,
    child: Child,
    containerd: Option<Child>,
}

impl Daemon {
    /// Starts the daemon and waits until it answers.
    pub fn start(setup: Setup) -> Result<Self> {
        for directory in [&setup.directory, &setup.data_root(), &setup.exec_root()] {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        let containerd = setup.containerd()?;
        let child = spawn(&setup)?;
        let mut daemon = Self { setup, child, containerd };
        daemon.answers()?;
        Ok(daemon)
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it was started.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// SIGKILL, and nothing else: what a crash is.
    pub fn kill_hard(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts the daemon again on the same roots after [`Daemon::kill_hard`] or [`Daemon::stop`].
    pub fn start_again(&mut self) -> Result<()> {
        self.child = spawn(&self.setup)?;
        self.answers()
    }

    /// As [`Daemon::start_again`], of a process that stops itself before it does anything; nobody waits for an answer.
    pub(crate) fn start_again_stopped(&mut self) -> Result<()> {
        let whole = self.setup.command()?;
        let mut command = Command::new("sh");
        command
            .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""])
            .arg(whole.get_program())
            .args(whole.get_args());
        self.setup.send_output_to_log(&mut command)?;
        self.child = command.spawn().context("sh")?;
        Ok(())
    }

    /// SIGTERM, and the status the daemon ends with.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let pid = self.pid().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().context("kill(1)")?;
        if !told.success() {
            bail!("kill -TERM {pid}: {told}");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!(
                    "the daemon has not ended {} s after SIGTERM\n{}",
                    PATIENCE.as_secs(),
                    self.last_words()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The last lines of the daemon's own log.
    #[must_use]
    pub fn last_words(&self) -> String {
        last_lines(&self.setup.log(), 40)
    }

    /// How much is in the daemon's own log.
    pub(crate) fn said(&self) -> usize {
        std::fs::metadata(self.setup.log()).map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(0))
    }

    /// What came into the daemon's own log after so much was in it.
    pub(crate) fn said_since(&self, before: usize) -> String {
        let log = fs::read(self.setup.log()).unwrap_or_default();
        String::from_utf8_lossy(log.get(before..).unwrap_or_default()).into_owned()
    }

    fn answers(&mut self) -> Result<()> {
        let socket = self.setup.socket();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended at once: {status}\n{}", self.last_words());
            }
            match Request::new("GET", "/_ping").send(&socket) {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(_) | Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                Ok(answer) => bail!("the daemon answers a ping with {}", answer.status),
                Err(error) => return Err(error.context(self.last_words())),
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            drop(self.kill_hard());
        }
        if let Some(containerd) = &mut self.containerd {
            drop(containerd.kill());
            drop(containerd.wait());
        }
    }
}

fn spawn(setup: &Setup) -> Result<Child> {
    setup.command()?.spawn().with_context(|| format!("start {}", setup.program.display()))
}

fn last_lines(path: &Path, count: usize) -> String {
    let text = File::open(path).and_then(std::io::read_to_string).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
