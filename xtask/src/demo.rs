//! `cargo xtask demo`: the main job of the README, once, told step by step.

use crate::sandbox::{self, Around, Sandbox};
use crate::{fixtures, process, workspace};
use anyhow::{Context, Result, bail};
use conformance::{BUSYBOX, DEBIAN, Daemon, Flavour, Setup};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Builds, prepares the images, and goes on in namespaces of its own.
pub(crate) fn run() -> Result<()> {
    process::run("cargo", &["build", "--package", "berth"])?;
    fixtures::archives()?;
    sandbox::enter(&["demo"])
}

/// The part that runs inside.
pub(crate) fn run_inside() -> Result<()> {
    let sandbox = Sandbox::prepare(Around::Namespaces)?;
    let told = tell(&sandbox);
    sandbox.end_processes()?;
    sandbox.close()?;
    told?;
    println!("\nThe daemon is stopped, its files are removed, and the machine is as it was.");
    Ok(())
}

fn tell(sandbox: &Sandbox) -> Result<()> {
    let setup = Setup {
        flavour: Flavour::Berth,
        program: workspace::berth_program(),
        directory: sandbox.directory().join("engine"),
        cgroup_parent: None,
    };
    title("A daemon on a socket and directories of its own");
    let began = Instant::now();
    let mut daemon = Daemon::start(setup.clone())?;
    println!("berth daemon, process {}, answered after {} ms", daemon.pid(), began.elapsed().as_millis());
    let berth = Berth { program: setup.program.clone(), socket: setup.socket() };

    title("The first container; no registry is asked for its image");
    berth.show(&["run", "--rm", "hello-world"])?;

    title("This machine's own system as a throw-away container: what it writes is gone with it");
    berth.show(&[
        "run",
        "--rm",
        "--rootfs",
        "/:O",
        "sh",
        "-c",
        "echo gone soon > /etc/berth-demo && cat /etc/berth-demo && hostname",
    ])?;
    if std::path::Path::new("/etc/berth-demo").exists() {
        bail!("/etc/berth-demo is on the machine: the container was not copy-on-write");
    }

    let archives = fixtures::archives()?;
    title("A busybox image, loaded from a file, with limits and without privileges");
    berth.show(&["load", "-i", &archives.busybox.display().to_string()])?;
    let script = "echo \"I am process $$ of user $(id -u)\"; grep -E '^(CapEff|Seccomp)' /proc/self/status";
    berth.show(&[
        "run",
        "--rm",
        "-m",
        "64m",
        "--pids-limit",
        "20",
        "-u",
        "1000",
        "--read-only",
        BUSYBOX,
        "sh",
        "-c",
        script,
    ])?;

    if let Some(debian) = &archives.debian {
        title("A real Debian, made by debootstrap");
        berth.show(&["import", "--change", "CMD [\"bash\"]", &debian.display().to_string(), DEBIAN])?;
        berth.show(&[
            "run",
            "--rm",
            DEBIAN,
            "bash",
            "-c",
            ". /etc/os-release; echo \"$PRETTY_NAME, $(dpkg -l | grep -c ^ii) packages\"",
        ])?;
        if sandbox.has_uplink() {
            berth.show(&["run", "--rm", DEBIAN, "apt-get", "-q", "update"])?;
        }
    }
    publish(&berth)?;

    title("What a crash of the daemon does to containers: nothing");
    berth.show(&[
        "run",
        "-d",
        "--name",
        "survivor",
        BUSYBOX,
        "sh",
        "-c",
        "while :; do echo tick; sleep 0.1; done",
    ])?;
    daemon.kill_hard()?;
    println!("(the daemon was killed with SIGKILL)");
    daemon.start_again()?;
    println!("(and started again, as process {})", daemon.pid());
    berth.show(&["ps"])?;
    berth.show(&["logs", "--tail", "2", "survivor"])?;
    berth.show(&["rm", "-f", "survivor"])?;

    title("The end");
    let status = daemon.stop()?;
    println!("the daemon ended with {status}");
    Ok(())
}

fn publish(berth: &Berth) -> Result<()> {
    title("A published port, and a request to it");
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let server =
        "mkdir /www; echo 'hello through a published port' > /www/index.html; exec httpd -f -p 80 -h /www";
    berth.show(&["run", "-d", "--name", "web", "-p", &format!("{port}:80"), BUSYBOX, "sh", "-c", server])?;
    println!("$ GET http://127.0.0.1:{port}/");
    let deadline = Instant::now() + Duration::from_secs(10);
    let body = loop {
        match get(port) {
            Ok(body) => break body,
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error.context("the server in the container does not answer")),
        }
    };
    print!("{body}");
    berth.show(&["rm", "-f", "web"])
}

/// The body of the page at a port of this host.
fn get(port: u16) -> Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\nHost: demo\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").with_context(|| format!("not an answer: {text:?}"))?;
    Ok(body.to_owned())
}

fn title(text: &str) {
    println!("\n== {text}");
}

/// The command line, talking to the demo's daemon.
struct Berth {
    program: PathBuf,
    socket: PathBuf,
}

impl Berth {
    /// Prints the command, runs it with our own streams, and fails if it fails.
    fn show(&self, arguments: &[&str]) -> Result<()> {
        let line: Vec<String> = arguments
            .iter()
            .map(|word| {
                if word.contains([' ', '$', ';']) {
                    format!("'{}'", word.replace('\'', "'\\''"))
                } else {
                    (*word).to_owned()
                }
            })
            .collect();
        println!("$ berth {}", line.join(" "));
        let began = Instant::now();
        let status = Command::new(&self.program)
            .args(arguments)
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .stdin(Stdio::null())
            .status()
            .context("berth")?;
        if !status.success() {
            bail!("berth {}: {status}", line.join(" "));
        }
        println!("  ({} ms)", began.elapsed().as_millis());
        Ok(())
    }
}
