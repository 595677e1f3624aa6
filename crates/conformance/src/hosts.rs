//! Two hosts on a wire, one of them with a daemon of its own: what a neighbour reaches, and what it must not.

use crate::command_line::{Client, Output};
use crate::fixture::BUSYBOX;
use crate::http::Request;
use crate::scope::{Scope, eventually};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const SERVER: &str = "while :; do echo hello | nc -l -p 80; done";

/// Two hosts on a wire, one of them with a daemon.
pub(crate) struct Hosts {
    /// The network namespace of the daemon's host.
    pub(crate) host: String,
    /// The network namespace of the other one.
    pub(crate) neighbour: String,
    pub(crate) busybox: PathBuf,
    daemon: Child,
    /// The daemon's command line.
    words: Vec<std::ffi::OsString>,
    pub(crate) client: Client,
}

impl Hosts {
    /// 192.0.2.1 and 2001:db8::1 with a daemon started with `flags`, and its neighbour 192.0.2.2 and 2001:db8::2.
    pub(crate) fn new(scope: &Scope<'_>, flags: &[&str]) -> Result<Self> {
        Self::with_resolver(scope, flags, None)
    }

    /// The same with a daemon whose `/etc/resolv.conf` is a file of the check's own.
    pub(crate) fn with_resolver(scope: &Scope<'_>, flags: &[&str], resolver: Option<&Path>) -> Result<Self> {
        let (host, neighbour) = (scope.name("h"), scope.name("n"));
        for (name, last) in [(&host, 1), (&neighbour, 2)] {
            call("ip", &["netns", "add", name])?;
            call("ip", &["-n", name, "link", "set", "lo", "up"])?;
            // A new namespace forwards when the machine's does.
            let still =
                "for family in ipv4 ipv6; do echo 0 > /proc/sys/net/$family/conf/all/forwarding; done";
            call("ip", &["netns", "exec", name, "sh", "-c", still])?;
            if last == 1 {
                continue;
            }
            let peer = ["peer", "name", "eth0", "netns", &host];
            call("ip", &[&["-n", name, "link", "add", "eth0", "type", "veth"], &peer[..]].concat())?;
        }
        for (name, last) in [(&host, 1), (&neighbour, 2)] {
            call("ip", &["-n", name, "address", "add", &format!("192.0.2.{last}/24"), "dev", "eth0"])?;
            let address = format!("2001:db8::{last}/64");
            call("ip", &["-n", name, "address", "add", &address, "dev", "eth0", "nodad"])?;
            call("ip", &["-n", name, "link", "set", "eth0", "up"])?;
        }
        let directory = scope.directory()?.to_owned();
        let socket = directory.join("s.sock");
        let program = scope.engine.program.clone().context("the berth program")?;
        let log = std::fs::File::create(directory.join("daemon.log"))?;
        let at = |name: &str| directory.join(name).display().to_string();
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{host}"));
        if let Some(resolver) = resolver {
            let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
            command.args(["unshare", "--mount", "sh", "-c", script, "sh"]).arg(resolver);
        }
        command
            .arg(program)
            .args(["daemon", "-H", &format!("unix://{}", socket.display()), "--data-root", &at("data")])
            .args(["--exec-root", &at("exec"), "--pidfile", &at("pid"), "--cgroup-parent"])
            .arg(format!("/berth-test-{host}"))
            .args(flags)
            // A firewalld of the check's own is asked there, and none of this machine.
            .env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", Self::bus(&directory).display()));
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words = words.map(std::ffi::OsStr::to_owned).collect();
        let daemon = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let client = Client { socket: socket.clone(), ..scope.client().clone() };
        let busybox = scope.engine.busybox_program.clone().context("a busybox program")?;
        let hosts = Self { host, neighbour, busybox, daemon, words, client };
        hosts.answers()?;
        hosts.load(scope, &directory)?;
        Ok(hosts)
    }

    /// The socket of the host's system bus, where somebody starts one.
    pub(crate) fn bus(directory: &Path) -> PathBuf {
        directory.join("bus")
    }

    fn load(&self, scope: &Scope<'_>, directory: &Path) -> Result<()> {
        let archive = directory.join("busybox.tar").display().to_string();
        scope.ok(&["save", "-o", &archive, BUSYBOX])?;
        self.client.expect(&["load", "-q", "-i", &archive]).map(drop)
    }

    /// A web server in a container.
    pub(crate) fn serve(&self, name: &str, flags: &[&str]) -> Result<Output> {
        let command = ["run", "-d", "--name", name];
        let words = [&command[..], flags, &[BUSYBOX, "sh", "-c", SERVER]].concat();
        self.client.call(&words)?.expect_code(0)
    }

    /// Whether a host gets an answer from an address and port.
    pub(crate) fn reaches(&self, from: &str, address: &str, port: &str) -> Result<bool> {
        let busybox = self.busybox.display().to_string();
        let words = ["netns", "exec", from, &busybox, "nc", "-w", "1", address, port];
        let output = Command::new("ip").args(words).stdin(Stdio::null()).output()?;
        Ok(output.stdout == b"hello\n")
    }

    /// Waits until the daemon's host gets an answer.
    pub(crate) fn answers_its_host(&self, address: &str, port: &str) -> Result<()> {
        eventually(&format!("an answer to the host from {address}:{port}"), || {
            Ok(self.reaches(&self.host, address, port)?.then_some(()))
        })
    }

    /// Waits until the neighbour does, or does not, get an answer.
    pub(crate) fn becomes(&self, port: &str, open: bool) -> Result<()> {
        eventually(&format!("port {port} open: {open}"), || {
            Ok((self.reaches(&self.neighbour, "192.0.2.1", port)? == open).then_some(()))
        })
    }

    /// What the daemon has written down about itself.
    pub(crate) fn log(&self) -> Result<String> {
        let path = self.client.socket.with_file_name("daemon.log");
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// How many milliseconds went by, each time, between the kernel telling the daemon of a change by others and the end
    /// of its repair: both moments are the daemon's own.
    pub(crate) fn repairs(&self, what: &str) -> Result<Vec<u64>> {
        let log = self.log()?;
        let times = log.lines().filter(|line| line.contains(what)).map(|line| {
            let digits = line.split("milliseconds=").nth(1).map(|rest| {
                rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default().to_owned()
            });
            digits.and_then(|digits| digits.parse().ok()).with_context(|| line.to_owned())
        });
        times.collect()
    }

    pub(crate) fn nft(&self, script: &str) -> Result<()> {
        call("ip", &["netns", "exec", &self.host, "nft", script])
    }

    /// What a stranger with root's rights does to the packet filter of the daemon's host; whether the kernel let it.
    pub(crate) fn meddle(&self, script: &str) -> Result<bool> {
        meddle(&["ip", "netns", "exec", &self.host], script)
    }

    /// Kills the daemon as a crash would; [`Hosts::revive`] starts another.
    pub(crate) fn crash(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.daemon.wait()?;
        Ok(())
    }

    /// Starts a daemon with the same words where the last one was.
    pub(crate) fn revive(&mut self) -> Result<()> {
        let log =
            std::fs::File::options().append(true).open(self.client.socket.with_file_name("daemon.log"))?;
        let (program, words) = self.words.split_first().context("the daemon's command line")?;
        let mut command = Command::new(program);
        let bus = Self::bus(self.client.socket.parent().context("the directory of the socket")?);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", bus.display()));
        command.args(words).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.daemon = command.spawn()?;
        self.answers()
    }

    fn answers(&self) -> Result<()> {
        eventually("an answer of the daemon", || {
            let answer = Request::new("GET", "/_ping").send(&self.client.socket).ok();
            Ok(answer.filter(|answer| answer.status == 200).map(drop))
        })
    }

    pub(crate) fn address(&self, name: &str) -> Result<String> {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        Ok(self.client.expect(&["inspect", "-f", format, name])?.trim().to_owned())
    }

    /// Removes the containers and ends the daemon; the hosts go with this value.
    pub(crate) fn close(mut self) -> Result<()> {
        let running = self.client.expect(&["ps", "-aq"])?;
        for id in running.split_whitespace() {
            self.client.expect(&["rm", "-f", id])?;
        }
        call("kill", &["-TERM", &self.daemon.id().to_string()])?;
        let status = self.daemon.wait()?;
        ensure!(status.success(), "the daemon: {status}");
        Ok(())
    }
}

/// A check that failed leaves no daemon, container or host behind either.
impl Drop for Hosts {
    fn drop(&mut self) {
        if let Ok(None) = self.daemon.try_wait() {
            let left = self.client.expect(&["ps", "-aq"]).unwrap_or_default();
            for id in left.split_whitespace() {
                drop(self.client.call(&["rm", "-f", id]));
            }
            drop(self.daemon.kill());
            drop(self.daemon.wait());
        }
        for name in [&self.host, &self.neighbour] {
            drop(call("ip", &["netns", "delete", name]));
        }
    }
}

/// What a stranger with root's rights does to a packet filter; whether the kernel let it. `within` are the words before
/// nft's own.
pub(crate) fn meddle(within: &[&str], script: &str) -> Result<bool> {
    let words = [within, &["nft", script]].concat();
    let output = Command::new(words[0]).args(&words[1..]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() || errors.contains("Operation not permitted"), "nft {script}: {errors}");
    Ok(output.status.success())
}

/// Runs a program, which must succeed.
pub(crate) fn call(program: &str, words: &[&str]) -> Result<()> {
    printed(program, words).map(drop)
}

/// What a program prints, which must succeed.
pub(crate) fn printed(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).output().with_context(|| program.to_owned())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {words:?}: {errors}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
