//! A connection to a manager of systemd: calls, and the signals that tell of finished jobs.
//!
//! The private socket speaks D-Bus without a bus: no names, no `Hello`, and every signal of the manager arrives.
//!
//! ```text
//! us                                manager
//! \0AUTH EXTERNAL <uid as hex>  →
//! BEGIN                         →
//!                               ←   OK <guid>
//! StartTransientUnit            →
//!                               ←   JobRemoved(…)         may come before the answer
//!                               ←   return: the job
//! ```

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::message::{self, FIXED, Kind, Message, Reader, Value, Writer};
use crate::{Error, Result};

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";

/// How long an answer to a call may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The most signals kept for a job that was not yet asked for.
const MOST_FINISHED: usize = 4096;

#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    socket: PathBuf,
    serial: u32,
    /// Jobs that are done: object path and result.
    finished: Vec<(String, String)>,
}

impl Bus {
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let failed = |what: &str, error: &io::Error| {
            let errno = error.raw_os_error().unwrap_or_default();
            Error::from(linux::Error::new(format!("{what}({socket:?})"), errno))
        };
        let stream = UnixStream::connect(socket).map_err(|error| failed("connect", &error))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN)).map_err(|error| failed("setsockopt", &error))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN)).map_err(|error| failed("setsockopt", &error))?;
        let uid = std::fs::metadata("/proc/self").map_err(|error| failed("stat", &error))?.uid().to_string();
        let mut bus = Self { stream, socket: socket.to_owned(), serial: 0, finished: Vec::new() };
        let uid: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        // In one piece: systemd overlooks a call that arrives together with BEGIN until something else arrives. So BEGIN
        // has to be through before the first call, and that is certain once the answer is here.
        bus.send(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").as_bytes())?;
        let answer = bus.line()?;
        if !answer.starts_with("OK ") {
            return Err(bus.unexpected(format!("answer to AUTH {answer:?}")));
        }
        Ok(bus)
    }

    /// A property of the manager that is a string.
    pub(super) fn manager_property(&mut self, name: &str) -> Result<String> {
        let mut body = Writer::default();
        body.text(MANAGER);
        body.text(name);
        let answer = self.call("org.freedesktop.DBus.Properties", "Get", ("ss", body))?;
        let mut reader = Reader::new(&answer.body);
        let value = reader.signature().filter(|signature| signature == "s").and_then(|_| reader.text());
        value.ok_or_else(|| self.unexpected(format!("value of {name}")))
    }

    pub(super) fn start_transient_unit(
        &mut self,
        unit: &str,
        properties: &[(String, Value)],
        deadline: Instant,
    ) -> Result<()> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("replace");
        body.properties(properties);
        // No further units.
        body.array(8, |_| {});
        let answer = self.call(MANAGER, "StartTransientUnit", ("ssa(sv)a(sa(sv))", body))?;
        self.wait_for_job(&answer, unit, deadline)
    }

    pub(super) fn stop_unit(&mut self, unit: &str, deadline: Instant) -> Result<()> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("replace");
        let answer = self.call(MANAGER, "StopUnit", ("ss", body))?;
        self.wait_for_job(&answer, unit, deadline)
    }

    pub(super) fn set_unit_properties(&mut self, unit: &str, properties: &[(String, Value)]) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        let mut body = Writer::default();
        body.text(unit);
        // Until the unit is gone, not for good.
        body.flag(true);
        body.properties(properties);
        self.call(MANAGER, "SetUnitProperties", ("sba(sv)", body)).map(|_| ())
    }

    /// A method of the manager that takes nothing but a unit.
    pub(super) fn unit_call(&mut self, member: &str, unit: &str) -> Result<()> {
        let mut body = Writer::default();
        body.text(unit);
        self.call(MANAGER, member, ("s", body)).map(|_| ())
    }

    fn wait_for_job(&mut self, answer: &Message, unit: &str, deadline: Instant) -> Result<()> {
        let job = Reader::new(&answer.body)
            .text()
            .ok_or_else(|| self.unexpected("answer without a job".to_owned()))?;
        loop {
            if let Some(at) = self.finished.iter().position(|(finished, _)| *finished == job) {
                let (_, result) = self.finished.swap_remove(at);
                return match result.as_str() {
                    "done" | "skipped" => Ok(()),
                    result => {
                        let (name, message) =
                            (format!("job {result}"), format!("unit {unit} was not started or stopped"));
                        Err(Error::Systemd { name, message })
                    }
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (name, message) =
                    ("timeout".to_owned(), format!("the job for unit {unit} takes too long"));
                return Err(Error::Systemd { name, message });
            }
            self.receive()?;
        }
    }

    fn call(&mut self, interface: &str, member: &str, body: (&str, Writer)) -> Result<Message> {
        self.serial += 1;
        self.send(&message::call(self.serial, OBJECT, interface, member, body))?;
        loop {
            let Some(answer) = self.receive()? else { continue };
            if answer.reply_to != self.serial {
                continue;
            }
            if answer.kind == Kind::Return {
                return Ok(answer);
            }
            let text =
                (answer.signature.starts_with('s')).then(|| Reader::new(&answer.body).text()).flatten();
            return Err(Error::Systemd { name: answer.error_name, message: text.unwrap_or_default() });
        }
    }

    /// Takes the next message: an answer is returned, a finished job noted, anything else passed over.
    fn receive(&mut self) -> Result<Option<Message>> {
        let mut fixed = [0; FIXED];
        self.read(&mut fixed)?;
        let length = message::length(&fixed).ok_or_else(|| self.unexpected("message".to_owned()))?;
        let mut bytes = fixed.to_vec();
        bytes.resize(length, 0);
        self.read(&mut bytes[FIXED..])?;
        let message = message::parse(&bytes).ok_or_else(|| self.unexpected("message".to_owned()))?;
        match message.kind {
            Kind::Return | Kind::Error => Ok(Some(message)),
            Kind::Signal if message.member == "JobRemoved" => {
                // Number, object path, unit, result.
                let mut reader = Reader::new(&message.body);
                let fields = (reader.number32(), reader.text(), reader.text(), reader.text());
                if let (Some(_), Some(job), Some(_), Some(result)) = fields {
                    self.finished.truncate(MOST_FINISHED);
                    self.finished.push((job, result));
                }
                Ok(None)
            }
            Kind::Signal | Kind::Call => Ok(None),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.push(byte[0]);
            if line.len() > 256 {
                return Err(self.unexpected("long line".to_owned()));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.stream.read_exact(bytes).map_err(|error| self.failed("read", &error))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).map_err(|error| self.failed("write", &error))
    }

    fn failed(&self, what: &str, error: &io::Error) -> Error {
        match error.raw_os_error() {
            Some(errno) => linux::Error::new(format!("{what}({:?})", self.socket), errno).into(),
            None => self.unexpected(error.to_string()),
        }
    }

    /// systemd said something that it should not.
    pub(super) fn unexpected(&self, what: String) -> Error {
        let name = "unexpected".to_owned();
        Error::Systemd { name, message: format!("{:?} sent an unexpected {what}", self.socket) }
    }
}
