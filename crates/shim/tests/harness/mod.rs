//! A laboratory for shims: starts real ones (this test binary in the role of a shim), and runs cases against them.
//!
//! The same cases run with plain processes (`supervise.rs`, no privilege needed) and in containers (`kernel_shim.rs`).

pub(crate) mod cases;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use oci::runtime::{Process, Spec};
use shim::client::{Client, Error};
use shim::exit_record::{self, ExitRecord};
use shim::log::{Entry, Query, Reader};
use shim::protocol::{
    Attach, CgroupDriver, CgroupPlace, Create, Event, Exec, Exit, Framing, Io, Log, LogDriver, Reply,
    Request, Root, Status, Target,
};
use shim::spawn::{self, Child};

/// The control group above those of all shims of this run; another run at the same time has its own.
pub(crate) fn parent_group() -> String {
    format!("/berth-test-shim-{}", std::process::id())
}

/// No step of a test takes this long, not even on an emulated processor.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// A test: its name and what it does.
pub(crate) type Case = (&'static str, fn(&Lab));

/// What differs between plain processes and containers.
pub(crate) struct Lab {
    /// Completes a request to create: root, namespaces.
    pub(crate) dress: fn(&Lab, &mut Create),
    /// Where tests keep their files.
    pub(crate) directory: PathBuf,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// Runs the cases whose name contains one of the arguments (all without arguments); the exit code.
    pub(crate) fn run(&self, cases: &[Case]) -> i32 {
        let wanted: Vec<String> =
            std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
        let mut failed = Vec::new();
        for (name, case) in cases {
            if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part)) {
                continue;
            }
            let start = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| case(self)));
            let word = if result.is_ok() { "ok" } else { "FAILED" };
            println!("test {name} ... {word} ({} ms)", start.elapsed().as_millis());
            if result.is_err() {
                failed.push(*name);
            }
        }
        println!("{} failed {failed:?}", failed.len());
        i32::from(!failed.is_empty())
    }

    /// Starts a shim that has no container yet.
    pub(crate) fn shim(&self) -> Shim {
        let id = format!("berth-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (exec_dir, data_dir) =
            (self.directory.join(&id).join("exec"), self.directory.join(&id).join("data"));
        for directory in [&exec_dir, &data_dir] {
            fs::create_dir_all(directory).expect("a directory");
        }
        let spawned = spawn::spawn(Path::new("/proc/self/exe"), &exec_dir).expect("a shim");
        Shim { id, exec_dir, data_dir, child: spawned.child, client: Some(Client::new(spawned.socket)) }
    }

    /// The request that makes a container which runs a shell script.
    pub(crate) fn create(&self, shim: &Shim, script: &str, io: Io) -> Create {
        let spec = Spec {
            oci_version: "1.3.0".into(),
            process: Some(process(script, io.terminal)),
            ..Spec::default()
        };
        let mut create = Create {
            id: shim.id.clone(),
            spec,
            root: Root::Path { path: "/".into() },
            io,
            log: Log {
                driver: LogDriver::JsonFile,
                path: shim.log_path(),
                max_size: None,
                max_file: 1,
                compress: false,
                attrs: Vec::new(),
            },
            data_dir: shim.data_dir.clone(),
            cgroup: CgroupPlace {
                driver: CgroupDriver::Cgroupfs,
                path: format!("{}/{}", parent_group(), shim.id),
            },
            init: false,
            runtime: None,
            volatile: false,
        };
        (self.dress)(self, &mut create);
        create
    }

    /// A shim whose container was created and not started.
    pub(crate) fn created(&self, script: &str, io: Io) -> Shim {
        let mut shim = self.shim();
        let create = self.create(&shim, script, io);
        shim.make(create);
        shim
    }

    /// A shim whose container runs.
    pub(crate) fn started(&self, script: &str, io: Io) -> Shim {
        let mut shim = self.created(script, io);
        shim.start();
        shim
    }
}

/// The process that runs a shell script.
pub(crate) fn process(script: &str, terminal: bool) -> Process {
    Process {
        terminal,
        args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin".into(), "TERM=xterm".into()],
        cwd: "/".into(),
        ..Process::default()
    }
}

/// A shim under test.
pub(crate) struct Shim {
    pub(crate) id: String,
    pub(crate) exec_dir: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) child: Child,
    pub(crate) client: Option<Client>,
}

impl Shim {
    pub(crate) fn call(&mut self, request: Request) -> Result<(Reply, Vec<OwnedFd>), Error> {
        self.call_with(request, Vec::new())
    }

    fn call_with(
        &mut self,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(Reply, Vec<OwnedFd>), Error> {
        self.client.as_mut().expect("a connection").call(request, descriptors, LIMIT)
    }

    pub(crate) fn make(&mut self, create: Create) {
        let (reply, descriptors) = self.call(Request::Create(Box::new(create))).expect("create");
        assert!(
            matches!(&reply, Reply::Created { descriptors: names, .. } if names.len() == descriptors.len())
        );
    }

    pub(crate) fn start(&mut self) {
        assert_eq!(self.call(Request::Start).expect("start").0, Reply::Started);
    }

    /// Connects a stream; our end.
    pub(crate) fn attach(&mut self, attach: Attach) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_read_timeout(Some(LIMIT)).expect("a limit");
        assert_eq!(
            self.call_with(Request::Attach(attach), vec![theirs.into()]).expect("attach").0,
            Reply::Attached
        );
        ours
    }

    /// Runs a script beside the container's program, attached raw to all its streams; our end.
    pub(crate) fn exec(&mut self, exec_id: &str, script: &str, io: Io) -> UnixStream {
        self.exec_limited(exec_id, script, io, None)
    }

    pub(crate) fn exec_limited(
        &mut self,
        exec_id: &str,
        script: &str,
        io: Io,
        time_limit_ms: Option<u64>,
    ) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_read_timeout(Some(LIMIT)).expect("a limit");
        let process = process(script, io.terminal);
        let attach = Some(attach(Framing::Raw));
        let exec = Exec { exec_id: exec_id.into(), process, io, attach, time_limit_ms };
        let (reply, _) = self.call_with(Request::Exec(Box::new(exec)), vec![theirs.into()]).expect("exec");
        assert!(matches!(reply, Reply::ExecStarted { .. }), "{reply:?}");
        ours
    }

    pub(crate) fn status(&mut self) -> Status {
        match self.call(Request::Hello).expect("hello").0 {
            Reply::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn event(&mut self, limit: Duration) -> Option<Event> {
        self.client.as_mut().expect("a connection").event(limit).expect("an event")
    }

    /// Waits for the end of the container.
    pub(crate) fn exited(&mut self) -> Exit {
        loop {
            match self.event(LIMIT).expect("an end") {
                Event::Exited { exit } => return exit,
                Event::Oom | Event::ExecExited { .. } => {}
            }
        }
    }

    pub(crate) fn exec_exited(&mut self, id: &str) -> Exit {
        match self.event(LIMIT).expect("an end") {
            Event::ExecExited { exec_id, exit } if exec_id == id => exit,
            other => panic!("{other:?}"),
        }
    }

    /// What kill -9 of the daemon does: all its descriptors are closed.
    pub(crate) fn lose_daemon(&mut self) {
        self.client = None;
    }

    /// What a new daemon does.
    pub(crate) fn reconnect(&mut self) {
        self.client = Some(Client::connect(&self.exec_dir, LIMIT).expect("a connection"));
    }

    /// Waits until the shim process is gone, and looks whether it has left anything.
    pub(crate) fn gone(mut self) {
        let pidfd = [(self.child.as_pidfd().expect("a pidfd"), linux::watch::Interest::Readable)];
        assert_eq!(linux::watch::wait(&pidfd, LIMIT).expect("wait"), [true], "the shim is still there");
        assert_eq!(
            self.child.reap().expect("reap"),
            Some(linux::child::How::Exited(0)),
            "{:?}",
            self.last_words()
        );
        let left: Vec<_> = fs::read_dir(&self.exec_dir).expect("a directory").collect();
        assert!(left.is_empty(), "{left:?} {:?}", self.last_words());
    }

    /// Ends container and shim, unless the shim has ended by itself: with its container over, it does not wait for ever.
    pub(crate) fn shut_down(mut self) {
        match self.call(Request::Shutdown) {
            Ok((reply, _)) => assert_eq!(reply, Reply::Done),
            Err(Error::Gone) => {}
            Err(other) => panic!("shutdown: {other}"),
        }
        self.gone();
    }

    pub(crate) fn last_words(&self) -> Option<String> {
        spawn::last_words(&self.exec_dir).expect("the shim's log")
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.data_dir.join("c-json.log")
    }

    pub(crate) fn record(&self) -> ExitRecord {
        exit_record::read(&self.data_dir).expect("a record").expect("an end")
    }

    pub(crate) fn log(&self) -> Vec<Entry> {
        let mut reader = Reader::open(&self.log_path(), &Query::default()).expect("a log");
        std::iter::from_fn(|| reader.read().expect("an entry")).collect()
    }

    pub(crate) fn log_text(&self) -> String {
        self.log().iter().map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned()).collect()
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // Of use after a failure only: a shim that is not gone would keep running. Its end ends the container's init.
        if self.child.reap().is_ok_and(|ended| ended.is_none()) {
            if let Some(client) = &mut self.client {
                let _ = client.call(Request::Shutdown, Vec::new(), Duration::from_secs(5));
            } else if let Ok(mut client) = Client::connect(&self.exec_dir, Duration::from_secs(1)) {
                let _ = client.call(Request::Shutdown, Vec::new(), Duration::from_secs(5));
            }
            let _ = self.child.signal(9);
            if let Some(pidfd) = self.child.as_pidfd() {
                let _ = linux::child::wait(pidfd);
            }
        }
        if let Some(directory) = self.exec_dir.parent() {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// All streams of the container.
pub(crate) fn attach(framing: Framing) -> Attach {
    Attach { target: Target::Container, stdin: true, stdout: true, stderr: true, framing }
}

/// Pipes with an input that ends with the first attached stream.
pub(crate) fn interactive() -> Io {
    Io { stdin: true, stdin_once: true, ..Io::default() }
}

/// Reads to the end.
pub(crate) fn read_all(mut stream: &UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the end of the stream");
    bytes
}

/// Reads until `text` has come.
pub(crate) fn read_until(mut stream: &UnixStream, text: &str) -> String {
    let mut found = Vec::new();
    while !String::from_utf8_lossy(&found).contains(text) {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).expect("more output");
        assert!(count > 0, "the stream ended after {:?}", String::from_utf8_lossy(&found));
        found.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8_lossy(&found).into_owned()
}

pub(crate) fn write(mut stream: &UnixStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("a reader");
}
