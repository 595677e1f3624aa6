//! qemu: boots the guest, reads its reports, ends it when it is silent for too long.

use super::guest::{ALIVE, BEGIN, END, FINISHED};
use super::image::Image;
use super::step::Boot;
use crate::fixtures;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The longest silence of a guest that is booting, or that says every five seconds that it is alive.
const SILENCE: Duration = Duration::from_secs(150);

/// The longest life of a guest.
const LIFE: Duration = Duration::from_secs(2700);

/// How many lines of the kernel's console an error carries.
const LAST_LINES: usize = 60;

/// How long a guest that stands still may take to tell where.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// What became of the steps of one boot.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    /// Names with reasons.
    pub(crate) failed: Vec<String>,
}

/// How a boot ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Every step has its verdict.
    Finished(Outcome),
    /// Not even the thread that says "alive" came to its turn: no step can cause that, the emulated machine or its kernel
    /// does. What it was doing.
    StoodStill(String),
}

/// Boots the guest and follows its steps to the end.
pub(crate) fn run(image: &Image, payload: &Path, boot: Boot) -> Result<Ended> {
    let directory = fixtures::directory().join("vm");
    let (console, report) =
        (directory.join(format!("{boot}-console.log")), directory.join(format!("{boot}-steps.log")));
    eprintln!("==> booting the guest ({boot}); its console is kept in {}", console.display());
    let began = Instant::now();
    let mut machine = Machine::start(image, payload, boot, &console)?;
    let followed = follow(&mut machine, began, &report);
    if matches!(followed, Ok(Followed::Silence(_))) {
        machine.interrupt()?;
    }
    let status = machine.end()?;
    eprintln!("    {:.1} s", began.elapsed().as_secs_f64());
    match followed? {
        Followed::End(outcome) => Ok(Ended::Finished(outcome)),
        Followed::Gone => bail!("the guest ended ({status}) before its steps did:\n{}", last_lines(&console)),
        Followed::Silence(during) => Ok(Ended::StoodStill(format!(
            "no word for {} s, during {during}; {}",
            SILENCE.as_secs(),
            last_lines(&console)
        ))),
    }
}

/// How the reports of a guest end.
#[derive(Debug)]
enum Followed {
    End(Outcome),
    Gone,
    /// Silence, during a step or the boot.
    Silence(String),
}

/// Reads lines until the guest has finished, is gone, or is silent.
fn follow(machine: &mut Machine, began: Instant, report: &Path) -> Result<Followed> {
    let lines = machine.lines()?;
    let (mut outcome, mut running, mut kept) = (Outcome::default(), None, String::new());
    let result = loop {
        let during = || running.clone().unwrap_or_else(|| "its boot".to_owned());
        if began.elapsed() > LIFE {
            bail!("the guest is not done after {} s: it was at {}", LIFE.as_secs(), during());
        }
        let line = match lines.recv_timeout(SILENCE) {
            Ok(line) if line == ALIVE => continue,
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break Followed::Gone,
            Err(RecvTimeoutError::Timeout) => break Followed::Silence(during()),
        };
        println!("  | {line}");
        kept.push_str(&line);
        kept.push('\n');
        if let Some(name) = line.strip_prefix(BEGIN) {
            running = Some(name.to_owned());
        } else if let Some(end) = line.strip_prefix(END) {
            match end.split_once(' ') {
                Some((_, rest)) if rest.starts_with("ok ") => outcome.passed += 1,
                _ => outcome.failed.push(end.to_owned()),
            }
        } else if line == FINISHED {
            break Followed::End(outcome);
        }
    };
    fs::write(report, kept)?;
    Ok(result)
}

/// A running qemu; it is killed when dropped.
struct Machine {
    process: Child,
    /// The socket of qemu's monitor.
    monitor: PathBuf,
}

impl Machine {
    fn start(image: &Image, payload: &Path, boot: Boot, console: &Path) -> Result<Self> {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]);
        command.args(["-smp", "2", "-m", "2048", "-nodefaults", "-display", "none", "-no-reboot"]);
        command.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.initramfs);
        command.arg("-append").arg(kernel_words(boot));
        for disk in [&image.root, payload] {
            let disk = disk.display().to_string().replace(',', ",,");
            command.arg("-drive").arg(format!("file={disk},format=raw,if=virtio,snapshot=on,cache=unsafe"));
        }
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.args(["-chardev", "stdio,id=steps,signal=off", "-serial", "chardev:steps"]);
        // Not beside the console: the address of a socket is at most 107 bytes long.
        let monitor = std::env::temp_dir().join(format!("berth-vm-{}-{boot}.sock", std::process::id()));
        let socket = monitor.display().to_string().replace(',', ",,");
        command.arg("-chardev").arg(format!("socket,id=monitor,path={socket},server=on,wait=off"));
        command.args(["-mon", "chardev=monitor,mode=readline"]);
        let words = console.with_extension("qemu");
        let errors = fs::File::create(&words).with_context(|| words.display().to_string())?;
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .context("qemu-system-x86_64 (Debian package qemu-system-x86)")?;
        Ok(Self { process, monitor })
    }

    /// Asks the guest's kernel where its processors are: it prints that on its console, and ends.
    fn interrupt(&mut self) -> Result<()> {
        let mut monitor = UnixStream::connect(&self.monitor).context("qemu's monitor")?;
        monitor.write_all(b"nmi\n").context("qemu's monitor")?;
        self.wait(LAST_WORDS)?;
        Ok(())
    }

    /// Waits for qemu to end, for so long.
    fn wait(&mut self, within: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The lines of the serial line that the guest reports on, read by a thread so that silence can be noticed.
    fn lines(&mut self) -> Result<mpsc::Receiver<String>> {
        let stream = self.process.stdout.take().context("a piped stdout")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, mut line) = (BufReader::new(stream), Vec::new());
            while let Ok(1..) = stream.read_until(b'\n', &mut line) {
                if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Ok(receiver)
    }

    /// Gives the guest a moment to turn itself off, and ends it.
    fn end(mut self) -> Result<String> {
        if let Some(status) = self.wait(Duration::from_secs(20))? {
            return Ok(status.to_string());
        }
        self.process.kill()?;
        Ok(self.process.wait()?.to_string())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            drop(self.process.kill());
            drop(self.process.wait());
        }
        // qemu removes it itself when it ends by itself.
        drop(fs::remove_file(&self.monitor));
    }
}

fn kernel_words(boot: Boot) -> String {
    let first = "console=ttyS0 quiet panic=-1 unknown_nmi_panic panic_print=64 mitigations=off swapaccount=1";
    match boot {
        Boot::Plain => format!("{first} lsm=landlock,yama berth_init=/sbin/berth-plain"),
        Boot::Systemd => format!("{first} lsm=landlock,yama,apparmor systemd.unit=berth-steps.service"),
    }
}

fn last_lines(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    format!("the end of the guest's console ({}):\n{}", path.display(), lines[from..].join("\n"))
}
