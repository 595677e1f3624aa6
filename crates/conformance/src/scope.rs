//! What a check works with: names nobody else uses, and the removal of all it made when it ends.

use crate::check::{Aside, skip};
use crate::command_line::{Client, Output};
use crate::engine::Engine;
use crate::fixture::{BUSYBOX, DEBIAN, SERVERS};
use crate::http::{Request, Response};
use crate::terminal::Terminal;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long something may take that an engine does by itself (an exit, a log line, a removal).
const PATIENCE: Duration = Duration::from_secs(30);

/// One check's view of the engine. Everything it makes has a name from [`Scope::name`].
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) engine: &'a Engine,
    prefix: String,
    directory: PathBuf,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(engine: &'a Engine) -> Self {
        let prefix = format!("check-{}-{}", crate::run_number(), engine.next_number());
        let directory = std::env::temp_dir().join(&prefix);
        Self { engine, prefix, directory }
    }

    /// A name of a container, image or volume that is this check's own.
    pub(crate) fn name(&self, word: &str) -> String {
        format!("{}-{word}", self.prefix)
    }

    /// A new directory on the host, removed with the check.
    pub(crate) fn directory(&self) -> Result<&Path> {
        std::fs::create_dir_all(&self.directory).with_context(|| self.directory.display().to_string())?;
        Ok(&self.directory)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.engine.client
    }

    /// Calls the client; any exit code is an answer.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Result<Output> {
        self.client().call(arguments)
    }

    /// Calls the client, which must succeed; what it printed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Result<String> {
        self.client().expect(arguments)
    }

    /// `docker run --rm` of the busybox image to its end.
    pub(crate) fn run(&self, flags: &[&str], command: &[&str]) -> Result<Output> {
        self.run_with_input(flags, command, b"")
    }

    pub(crate) fn run_with_input(&self, flags: &[&str], command: &[&str], input: &[u8]) -> Result<Output> {
        let name = format!("{}-{}", self.name("run"), self.engine.next_number());
        let mut arguments = vec!["run", "--rm", "--pull", "never", "--name", name.as_str()];
        arguments.extend(flags);
        arguments.push(BUSYBOX);
        arguments.extend(command);
        self.client().call_with_input(&arguments, input)
    }

    /// What a shell script prints in a container made with `flags`; the script must succeed.
    pub(crate) fn script(&self, flags: &[&str], script: &str) -> Result<String> {
        let output = self.run(flags, &["sh", "-c", script])?.expect_code(0)?;
        Ok(output.stdout.trim_end().to_owned())
    }

    /// `docker run -d` of the busybox image; the container's name.
    pub(crate) fn start(&self, word: &str, flags: &[&str], command: &[&str]) -> Result<String> {
        self.start_image(word, BUSYBOX, flags, command)
    }

    pub(crate) fn start_image(
        &self,
        word: &str,
        image: &str,
        flags: &[&str],
        command: &[&str],
    ) -> Result<String> {
        let name = self.name(word);
        let mut arguments = vec!["run", "-d", "--pull", "never", "--name", name.as_str()];
        arguments.extend(flags);
        arguments.push(image);
        arguments.extend(command);
        self.ok(&arguments)?;
        Ok(name)
    }

    /// The client in a terminal of its own.
    pub(crate) fn terminal(&self, arguments: &[&str]) -> Result<Terminal> {
        Terminal::spawn(self.client(), arguments)
    }

    /// `docker run -it` in a terminal of its own.
    pub(crate) fn terminal_run(&self, image: &str, command: &[&str]) -> Result<Terminal> {
        let name = format!("{}-{}", self.name("tty"), self.engine.next_number());
        let mut arguments = vec!["run", "-it", "--rm", "--pull", "never", "--name", name.as_str(), image];
        arguments.extend(command);
        self.terminal(&arguments)
    }

    pub(crate) fn api(&self, method: &str, path: &str) -> Result<Response> {
        Request::new(method, path).send(&self.engine.socket)
    }

    pub(crate) fn api_json(&self, method: &str, path: &str, body: &Value) -> Result<Response> {
        Request::new(method, path).json(body).send(&self.engine.socket)
    }

    /// `inspect` of a container.
    pub(crate) fn inspect(&self, container: &str) -> Result<Value> {
        self.api("GET", &format!("/containers/{container}/json"))?.expect(200)?.json()
    }

    /// Repeats `probe` until it gives a value, for as long as an engine may take.
    pub(crate) fn eventually<T>(&self, what: &str, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        eventually(what, probe)
    }

    /// Waits until the container's log contains `text`; the log.
    pub(crate) fn logged(&self, container: &str, text: &str) -> Result<String> {
        self.eventually(&format!("{text:?} in the log of {container}"), || {
            let output = self.docker(&["logs", container])?;
            let log = output.stdout + &output.stderr;
            Ok(log.contains(text).then_some(log))
        })
    }

    /// Waits until the container has ended; its state.
    pub(crate) fn ended(&self, container: &str) -> Result<Value> {
        self.eventually(&format!("the end of {container}"), || {
            let state = self.inspect(container)?["State"].take();
            Ok((state["Status"] == "exited").then_some(state))
        })
    }

    /// Ends the check as "differs on purpose" when the engine is an old one.
    pub(crate) fn since_new_engines(&self, old_behaviour: &str) -> Result<()> {
        if self.engine.is_old() {
            return Err(anyhow::Error::new(Aside::Differs(old_behaviour.to_owned())));
        }
        Ok(())
    }

    /// The name of the Debian image, if it could be made.
    pub(crate) fn debian(&self) -> Result<&'static str> {
        if self.engine.has_debian {
            Ok(DEBIAN)
        } else {
            Err(skip("no Debian image: debootstrap had no mirror"))
        }
    }

    /// The name of the image with servers, if it could be made.
    pub(crate) fn servers(&self) -> Result<&'static str> {
        match self.engine.servers.import(self.client())? {
            true => Ok(SERVERS),
            false => Err(skip("no image with servers: its packages had no mirror")),
        }
    }

    fn remove_all(&self) -> Result<()> {
        // The prefix ends in a dash here, so that check 1 does not remove what check 10 has.
        let filters = format!("{{\"name\":[\"^/{}-\"]}}", self.prefix);
        let path = format!("/containers/json?all=1&filters={}", percent_encode(&filters));
        for container in self.api("GET", &path)?.expect(200)?.json()?.as_array().into_iter().flatten() {
            let id = container["Id"].as_str().unwrap_or_default();
            let answer = self.api("DELETE", &format!("/containers/{id}?force=1&v=1"))?;
            if !matches!(answer.status, 204 | 404 | 409) {
                bail!("remove {id}: {} {}", answer.status, answer.message());
            }
        }
        self.remove_networks()
    }

    fn remove_networks(&self) -> Result<()> {
        let filters = percent_encode(&format!("{{\"name\":[\"{}-\"]}}", self.prefix));
        let found = self.api("GET", &format!("/networks?filters={filters}"))?.expect(200)?.json()?;
        for network in found.as_array().into_iter().flatten() {
            let id = network["Id"].as_str().unwrap_or_default();
            // A container that is being removed by others still has its endpoint for a moment.
            self.eventually(&format!("the removal of network {id}"), || {
                let answer = self.api("DELETE", &format!("/networks/{id}"))?;
                match answer.status {
                    204 | 404 => Ok(Some(())),
                    403 => Ok(None),
                    other => bail!("remove network {id}: {other} {}", answer.message()),
                }
            })?;
        }
        Ok(())
    }

    /// Removes everything the check made.
    pub(crate) fn close(self) -> Result<()> {
        let removed = self.remove_all();
        if self.directory.exists() {
            std::fs::remove_dir_all(&self.directory).with_context(|| self.directory.display().to_string())?;
        }
        removed
    }
}

/// Repeats `probe` until it gives a value; an error ends it at once.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Everything but unreserved characters as %XX (RFC 3986).
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
