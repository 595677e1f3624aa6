//! qemu: boots the guest, reads its reports, ends it when it is silent for too long.

use super::guest::{BEGIN, END, FINISHED};
use super::image::Image;
use super::step::Boot;
use crate::fixtures;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The longest silence of a guest: a step that prints nothing is ended before that.
const SILENCE: Duration = Duration::from_secs(660);

/// The longest life of a guest.
const LIFE: Duration = Duration::from_secs(2700);

/// How many lines of the kernel's console an error carries.
const LAST_LINES: usize = 30;

/// What became of the steps of one boot.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    /// Names with reasons.
    pub(crate) failed: Vec<String>,
}

/// Boots the guest and follows its steps to the end.
pub(crate) fn run(image: &Image, payload: &Path, boot: Boot) -> Result<Outcome> {
    let directory = fixtures::directory().join("vm");
    let (console, report) =
        (directory.join(format!("{boot}-console.log")), directory.join(format!("{boot}-steps.log")));
    eprintln!("==> booting the guest ({boot}); its console is kept in {}", console.display());
    let began = Instant::now();
    let mut machine = Machine::start(image, payload, boot, &console)?;
    let followed = follow(&mut machine, began, &report);
    let status = machine.end()?;
    eprintln!("    {:.1} s", began.elapsed().as_secs_f64());
    match followed {
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) => bail!("the guest ended ({status}) before its steps did:\n{}", last_lines(&console)),
        Err(error) => Err(error.context(last_lines(&console))),
    }
}

/// Reads lines until the guest has finished (`Some`) or is gone (`None`).
fn follow(machine: &mut Machine, began: Instant, report: &Path) -> Result<Option<Outcome>> {
    let lines = machine.lines()?;
    let (mut outcome, mut running, mut kept) = (Outcome::default(), None, String::new());
    let result = loop {
        let left = LIFE.saturating_sub(began.elapsed()).min(SILENCE);
        let line = match lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                let during = running.unwrap_or_else(|| "its boot".to_owned());
                break Err(anyhow::anyhow!(
                    "the guest hangs: no word for {} s, during {during}",
                    left.as_secs()
                ));
            }
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
            break Ok(Some(outcome));
        }
    };
    fs::write(report, kept)?;
    result
}

/// A running qemu; it is killed when dropped.
struct Machine {
    process: Child,
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
        let words = console.with_extension("qemu");
        let errors = fs::File::create(&words).with_context(|| words.display().to_string())?;
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .context("qemu-system-x86_64 (Debian package qemu-system-x86)")?;
        Ok(Self { process })
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
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status.to_string());
            }
            std::thread::sleep(Duration::from_millis(50));
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
    }
}

fn kernel_words(boot: Boot) -> String {
    let first = "console=ttyS0 quiet panic=-1 mitigations=off swapaccount=1";
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
