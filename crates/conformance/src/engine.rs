//! The engine under test: its socket, the client used, and what it says about itself.

use crate::answers::Tap;
use crate::command_line::Client;
use crate::daemon::{Daemon, Flavour};
use crate::fixture::SERVERS;
use crate::http::Request;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// The image with servers, which is imported when the first check wants it.
#[derive(Debug, Default)]
pub(crate) struct ServersImage {
    pub(crate) archive: Option<PathBuf>,
    imported: Mutex<bool>,
}

impl ServersImage {
    /// Imports it, once; `false` when there is none.
    pub(crate) fn import(&self, client: &Client) -> Result<bool> {
        let Some(archive) = &self.archive else { return Ok(false) };
        let mut imported = self.imported.lock().unwrap_or_else(PoisonError::into_inner);
        if !*imported {
            client.import(archive, SERVERS)?;
            *imported = true;
        }
        Ok(true)
    }

    pub(crate) fn is_imported(&self) -> bool {
        *self.imported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running engine that the checks talk to.
#[derive(Debug)]
pub struct Engine {
    pub(crate) socket: PathBuf,
    /// The engine's own socket, when what is at `socket` stands in front of it.
    pub(crate) own_socket: PathBuf,
    pub(crate) client: Client,
    /// The daemon, when the suite started it and may therefore kill it.
    pub(crate) daemon: Option<Mutex<Daemon>>,
    /// The newest API version it speaks, as (1, minor).
    pub(crate) api: (u32, u32),
    pub(crate) version: Value,
    pub(crate) cgroup_version: u32,
    pub(crate) has_debian: bool,
    pub(crate) has_uplink: bool,
    pub(crate) servers: ServersImage,
    /// Docker Compose, where there is one.
    pub(crate) compose: Option<PathBuf>,
    /// berth's own program, when this engine is its daemon.
    pub(crate) program: Option<PathBuf>,
    /// The command line of the OCI runtime that belongs to the engine; empty when it is not known.
    pub(crate) runtime: Vec<String>,
    pub(crate) busybox_program: Option<PathBuf>,
    /// What compares every answer with the definition of the API, when it does.
    pub(crate) tap: Option<Tap>,
    next: AtomicU32,
}

impl Engine {
    /// Asks the engine behind `socket` what it is. `program` is the client; `directory` takes its configuration.
    pub fn connect(socket: &Path, program: &Path, directory: &Path) -> Result<Self> {
        let version = Request::new("GET", "/version").send(socket)?.expect(200)?.json()?;
        let info = Request::new("GET", "/info").send(socket)?.expect(200)?.json()?;
        let configuration = directory.join("client");
        std::fs::create_dir_all(&configuration)?;
        Ok(Self {
            socket: socket.to_owned(),
            own_socket: socket.to_owned(),
            client: Client { program: program.to_owned(), socket: socket.to_owned(), configuration },
            daemon: None,
            api: parse_api(version["ApiVersion"].as_str().unwrap_or_default())
                .with_context(|| format!("ApiVersion in {version}"))?,
            version,
            cgroup_version: if info["CgroupVersion"] == "2" { 2 } else { 1 },
            has_debian: false,
            has_uplink: false,
            servers: ServersImage::default(),
            compose: None,
            program: None,
            runtime: Vec::new(),
            busybox_program: None,
            tap: None,
            next: AtomicU32::new(0),
        })
    }

    /// Compares every answer that checks and their clients get with the definition of the API; `directory` takes a socket.
    pub fn watched(mut self, directory: &Path) -> Result<Self> {
        let tap = Tap::open(directory.join("watched.sock"), &self.socket)?;
        self.socket = tap.socket.clone();
        self.client.socket = tap.socket.clone();
        self.tap = Some(tap);
        Ok(self)
    }

    /// Lets checks kill and restart the daemon that this engine is.
    pub fn owned(mut self, daemon: Daemon) -> Self {
        match daemon.setup().flavour {
            Flavour::Berth => {
                self.runtime = vec![daemon.setup().program.display().to_string(), "runtime".to_owned()];
                self.program = Some(daemon.setup().program.clone());
            }
            Flavour::Docker => self.runtime = vec!["runc".to_owned()],
        }
        self.daemon = Some(Mutex::new(daemon));
        self
    }

    /// Says whether packages can be fetched from inside a container.
    pub fn with_uplink(mut self, has_uplink: bool) -> Self {
        self.has_uplink = has_uplink;
        self
    }

    /// Has checks that use Docker Compose call this program.
    pub fn with_compose(mut self, program: Option<PathBuf>) -> Self {
        self.compose = program;
        self
    }

    /// Gives the daemon back, to be stopped.
    pub fn into_daemon(self) -> Option<Daemon> {
        self.daemon.and_then(|daemon| daemon.into_inner().ok())
    }

    /// Older than the first API that today's behaviour was recorded from.
    pub(crate) fn is_old(&self) -> bool {
        self.api < (1, 44)
    }

    /// A number that no other check of this run gets.
    pub(crate) fn next_number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// `1.41` as (1, 41).
pub(crate) fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
