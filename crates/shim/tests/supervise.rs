//! What a shim does with a program's streams and end, tried with plain processes: needs no privilege.

mod harness;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::{Command, Stdio as Standard};

use harness::Lab;
use linux::pidfd::PidFd;
use shim::protocol::{Create, Error, ErrorKind, Exec};
use shim::supervise::{self, Held, Launch, Launched, Stdio};

fn main() {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|role| role == "shim") {
        std::process::exit(supervise::run(&arguments[2..], &mut PlainProcesses::default()));
    }
    let directory = std::env::temp_dir();
    let lab = Lab { dress: |_, _| {}, directory };
    std::process::exit(lab.run(harness::cases::CASES));
}

/// Programs that run as ordinary children, in no container.
#[derive(Default)]
struct PlainProcesses {
    fifo: Option<std::path::PathBuf>,
    pidfds: Vec<PidFd>,
    /// Every process that was launched leads a group, which may outlive it.
    groups: Vec<u32>,
}

impl PlainProcesses {
    fn launch(&mut self, program: &[String], stdio: Option<&Stdio>) -> Result<Launched, Error> {
        let pair = if stdio.is_none() { Some(linux::pty::open()?) } else { None };
        // `setsid --ctty` makes descriptor 0 the controlling terminal.
        let mut command = Command::new("setsid");
        command.args(pair.iter().map(|_| "--ctty")).arg("--").args(program);
        let ends: [OwnedFd; 3] = match (stdio, &pair) {
            (Some(stdio), _) => stdio.descriptors().map(clone),
            (None, Some(pair)) => [&pair.terminal; 3].map(|end| end.try_clone().expect("a clone")),
            (None, None) => unreachable!("without streams there is a terminal"),
        };
        let [input, output, error] = ends.map(Standard::from);
        let child = command.stdin(input).stdout(output).stderr(error).spawn();
        let child = child.map_err(|error| Error::new(ErrorKind::NotFound, error.to_string()))?;
        let pid = child.id();
        let pidfd = PidFd::open(pid)?.ok_or_else(|| Error::new(ErrorKind::Other, "it is gone"))?;
        let handle = clone(std::os::fd::AsFd::as_fd(&pidfd));
        // Signal 0 only asks whether the process has been reaped.
        self.pidfds.retain(|pidfd| pidfd.send(0).unwrap_or(false));
        self.pidfds.push(pidfd);
        self.groups.push(pid);
        Ok(Launched { pid, pidfd: handle, console: pair.map(|pair| pair.controller) })
    }
}

fn clone(fd: BorrowedFd<'_>) -> OwnedFd {
    fd.try_clone_to_owned().expect("a clone")
}

impl Launch for PlainProcesses {
    fn create(
        &mut self,
        request: &Create,
        stdio: Option<&Stdio>,
        _on_process: &mut dyn FnMut(u32),
    ) -> Result<Launched, Error> {
        let fifo = request.data_dir.join("start");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        let process = request.spec.process.clone().unwrap_or_default();
        let wait = format!("read go < '{}'; exec \"$@\"", fifo.display());
        let program = ["/bin/sh".to_owned(), "-c".into(), wait, "sh".into()].into_iter().chain(process.args);
        self.fifo = Some(fifo);
        self.launch(&program.collect::<Vec<_>>(), stdio)
    }

    fn start(&mut self) -> Result<(), Error> {
        let fifo = self.fifo.take().ok_or_else(|| Error::new(ErrorKind::Invalid, "started already"))?;
        std::fs::write(fifo, "go\n").map_err(|error| Error::new(ErrorKind::Other, error.to_string()))
    }

    fn exec(&mut self, request: &Exec, stdio: Option<&Stdio>) -> Result<Launched, Error> {
        self.launch(&request.process.args, stdio)
    }

    fn held(&self) -> Option<&Held> {
        None
    }

    fn kill_all(&mut self) -> Result<(), Error> {
        for pidfd in self.pidfds.drain(..) {
            pidfd.send(9)?;
        }
        for leader in self.groups.drain(..) {
            linux::child::signal_group(leader, 9)?;
        }
        Ok(())
    }

    fn remove(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
