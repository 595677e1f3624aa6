//! The API of the daemon under test, in the few words that faults need.

use crate::fixture::{Archives, BUSYBOX};
use crate::http::{Request, Response};
use crate::scope::eventually;
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::Registry;

/// Where the daemon answers, and the images it can be given.
#[derive(Debug, Clone)]
pub(super) struct Api {
    socket: PathBuf,
    busybox: PathBuf,
    busybox_program: PathBuf,
    registry: Arc<Registry>,
}

/// What the registry has: an image of two layers.
const REMOTE: &str = "faults/remote";

impl Api {
    pub(super) fn new(socket: PathBuf, archives: &Archives) -> Result<Self> {
        let (busybox, busybox_program) = (archives.busybox.clone(), archives.busybox_program.clone());
        let api = Self { socket, busybox, busybox_program, registry: Arc::new(Registry::start()) };
        api.offer(1)?;
        Ok(api)
    }

    /// The image that the registry has from now on, told by its note.
    pub(super) fn offer(&self, number: u32) -> Result<()> {
        let program = std::fs::read(&self.busybox_program)?;
        let mut lower = Writer::new(Vec::new());
        lower.add("bin", 0o755, &Kind::Directory)?;
        lower.add("bin/true", 0o755, &Kind::File(&program))?;
        let mut upper = Writer::new(Vec::new());
        upper.add("note", 0o644, &Kind::File(format!("from afar {number}\n").as_bytes()))?;
        self.registry.image(REMOTE, "1", &[lower.finish()?, upper.finish()?]);
        Ok(())
    }

    /// The name of the image that can be pulled, and the registry it comes from.
    pub(super) fn remote(&self) -> (String, &Registry) {
        (format!("{}/{REMOTE}:1", self.registry.host()), &self.registry)
    }

    /// Pulls the image of the registry.
    pub(super) fn pull(&self) -> Result<()> {
        self.pull_from(&format!("{}/{REMOTE}", self.registry.host()))
    }

    /// Pulls tag 1 of a repository.
    pub(super) fn pull_from(&self, repository: &str) -> Result<()> {
        let path = format!("/images/create?fromImage={repository}&tag=1");
        let text = self.send(Request::new("POST", &path))?.expect(200)?.text();
        if text.contains("errorDetail") {
            bail!("pull: {text}");
        }
        Ok(())
    }

    /// Runs a program in a container; everything it writes.
    pub(super) fn exec(&self, name: &str, command: &[&str]) -> Result<String> {
        let body = json!({ "Cmd": command, "AttachStdout": true, "AttachStderr": true, "Tty": true });
        let exec = self.post(&format!("/containers/{name}/exec"), &body)?.expect(201)?.json()?;
        let path = format!("/exec/{}/start", exec["Id"].as_str().unwrap_or_default());
        Ok(self.post(&path, &json!({ "Detach": false, "Tty": true }))?.expect(200)?.text())
    }

    /// The static busybox on the host.
    pub(super) fn busybox_program(&self) -> &Path {
        &self.busybox_program
    }

    pub(super) fn send(&self, request: Request) -> Result<Response> {
        request.send(&self.socket)
    }

    pub(super) fn get(&self, path: &str) -> Result<Response> {
        self.send(Request::new("GET", path))
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.send(Request::new("POST", path).json(body))
    }

    pub(super) fn delete(&self, path: &str) -> Result<Response> {
        self.send(Request::new("DELETE", path))
    }

    /// Loads the busybox image.
    pub(super) fn load(&self) -> Result<()> {
        let bytes = std::fs::read(&self.busybox)?;
        let answer =
            self.send(Request::new("POST", "/images/load?quiet=1").body("application/x-tar", bytes))?;
        let text = answer.expect(200)?.text();
        if text.contains("errorDetail") {
            bail!("load: {text}");
        }
        Ok(())
    }

    /// Creates a container.
    pub(super) fn create(&self, name: &str, body: &Value) -> Result<()> {
        self.post(&format!("/containers/create?name={name}"), body)?.expect(201).map(drop)
    }

    /// Creates and starts a container.
    pub(super) fn start(&self, name: &str, body: &Value) -> Result<()> {
        self.create(name, body)?;
        self.post(&format!("/containers/{name}/start"), &Value::Null)?.expect(204).map(drop)
    }

    /// Runs a container to its end; its exit code.
    pub(super) fn run_container(&self, name: &str, body: &Value) -> Result<i64> {
        self.start(name, body)?;
        self.wait(name)
    }

    /// Waits for the end of a container; its exit code.
    pub(super) fn wait(&self, name: &str) -> Result<i64> {
        let answer = self.post(&format!("/containers/{name}/wait"), &Value::Null)?.expect(200)?.json()?;
        answer["StatusCode"].as_i64().with_context(|| format!("StatusCode in {answer}"))
    }

    /// `State` of a container; `None` when there is none of the name.
    pub(super) fn state(&self, name: &str) -> Result<Option<Value>> {
        let answer = self.get(&format!("/containers/{name}/json"))?;
        match answer.status {
            404 => Ok(None),
            _ => Ok(Some(answer.expect(200)?.json()?["State"].take())),
        }
    }

    /// `State.Status` of a container, or `absent`.
    pub(super) fn status(&self, name: &str) -> Result<String> {
        let state = self.state(name)?;
        Ok(state.map_or("absent".to_owned(), |state| state["Status"].as_str().unwrap_or_default().to_owned()))
    }

    /// Everything that a container has written.
    pub(super) fn logs(&self, name: &str) -> Result<String> {
        let body = self.get(&format!("/containers/{name}/logs?stdout=1&stderr=1"))?.expect(200)?.body;
        let mut rest = body.as_slice();
        let mut text = String::new();
        while let [_, _, _, _, a, b, c, d, tail @ ..] = rest {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            let (payload, after) = tail
                .split_at_checked(length)
                .with_context(|| format!("logs of {name} end inside a frame"))?;
            text.push_str(&String::from_utf8_lossy(payload));
            rest = after;
        }
        Ok(text)
    }

    /// Removes a container whatever it does; one that is not there is fine.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        eventually(&format!("the removal of {name}"), || {
            let answer = self.delete(&format!("/containers/{name}?force=1&v=1"))?;
            match answer.status {
                204 | 404 => Ok(Some(())),
                // Somebody removes it already: the daemon itself, after a crash.
                409 if answer.message().contains("already in progress") => Ok(None),
                status => bail!("remove {name}: {status} {}", answer.message()),
            }
        })
    }

    /// Removes every container, volume and network, and every image but busybox, which is loaded again if it is gone.
    pub(super) fn clear(&self) -> Result<()> {
        for container in
            self.get("/containers/json?all=1")?.expect(200)?.json()?.as_array().into_iter().flatten()
        {
            self.remove(container["Id"].as_str().unwrap_or_default())?;
        }
        let volumes = self.get("/volumes")?.expect(200)?.json()?;
        for volume in volumes["Volumes"].as_array().into_iter().flatten() {
            let name = volume["Name"].as_str().unwrap_or_default();
            self.delete(&format!("/volumes/{name}?force=1"))?.expect(204)?;
        }
        for network in self.get("/networks")?.expect(200)?.json()?.as_array().into_iter().flatten() {
            let name = network["Name"].as_str().unwrap_or_default();
            if !["bridge", "host", "none"].contains(&name) {
                self.delete(&format!("/networks/{name}"))?.expect(204)?;
            }
        }
        for image in self.get("/images/json?all=1")?.expect(200)?.json()?.as_array().into_iter().flatten() {
            let tags: Vec<&str> =
                image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if !tags.contains(&BUSYBOX) {
                self.delete(&format!("/images/{}?force=1", image["Id"].as_str().unwrap_or_default()))?
                    .expect(200)?;
            }
        }
        self.load()
    }
}
