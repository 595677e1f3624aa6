//! Volume drivers in other processes: Docker's plugins of the first kind, over a unix socket.
//!
//! ```text
//! <name>.sock in /run/docker/plugins, or an address in /etc/docker/plugins and /usr/lib/docker/plugins
//!   POST /Plugin.Activate                                    → {"Implements": ["VolumeDriver", …]}
//!   POST /VolumeDriver.Create  {"Name", "Opts"}              → {"Err"}
//!   POST /VolumeDriver.Mount   {"Name", "ID"}                → {"Mountpoint", "Err"}      .Unmount the same way
//!   POST /VolumeDriver.Get     {"Name"}                      → {"Volume", "Err"}          .List, .Path, .Remove
//!   POST /VolumeDriver.Capabilities                          → {"Capabilities": {"Scope": "local" | "global"}}
//! ```
//! A plugin is a process that hangs, lies and dies: every call has a time limit and every answer a size limit, and no lock
//! that others need is held meanwhile.

mod discover;
#[cfg(test)]
mod fuzz;
pub(crate) mod http;
mod protocol;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{Error, Kind, Result};
use protocol::{Answer, Create, Mount, Named};

pub(super) use protocol::Remote;

/// How long a plugin may take to say what it knows.
const TO_TELL: Duration = Duration::from_secs(5);
/// How long a plugin may take to make, mount, unmount or remove a volume.
const TO_DO: Duration = Duration::from_secs(30);
/// How long one that did not answer is not asked for its list again.
const PAUSE: Duration = Duration::from_secs(30);

/// The plugins of this machine.
#[derive(Debug, Default)]
pub(super) struct Plugins {
    /// Those that said that they keep volumes, with the scope of these.
    active: Mutex<BTreeMap<String, String>>,
    /// Those that did not answer in time, and when.
    silent: Mutex<BTreeMap<String, Instant>>,
    /// Where volumes are that are mounted now.
    mounted: Mutex<BTreeMap<String, PathBuf>>,
}

/// One plugin.
#[derive(Debug, Clone)]
pub(super) struct Driver {
    name: String,
    socket: PathBuf,
    /// `local` or `global`.
    pub(super) scope: String,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plugins {
    /// Finds a plugin, and asks it once whether it keeps volumes. Blocks for as long as a plugin may take to tell.
    pub(super) fn driver(&self, name: &str) -> Result<Driver> {
        let context = |error: Error| error.context(format!("error looking up volume plugin {name}"));
        // Docker takes `name:latest` for `name`.
        let bare = name.strip_suffix(":latest").unwrap_or(name);
        let socket = discover::find(bare).map_err(context)?;
        let known = locked(&self.active).get(bare).cloned();
        let mut driver = Driver { name: bare.to_owned(), socket, scope: known.clone().unwrap_or_default() };
        if known.is_none() {
            driver.scope = driver.activate().map_err(context)?;
            locked(&self.active).insert(bare.to_owned(), driver.scope.clone());
        }
        Ok(driver)
    }

    /// The volumes of all plugins that answer, by driver and name; what those that do not answer are told apart by.
    pub(super) fn volumes(&self, mut names: Vec<String>) -> (Vec<(Driver, Vec<Remote>)>, Vec<String>) {
        names.extend(discover::names());
        names.sort();
        names.dedup();
        let (mut found, mut warnings) = (Vec::new(), Vec::new());
        let runtime = tokio::runtime::Handle::current();
        let ask = |name: &str| {
            let _inside = runtime.enter();
            self.list_of(name)
        };
        let ask = &ask;
        std::thread::scope(|scope| {
            let asked: Vec<_> = names.iter().map(|name| (name, scope.spawn(move || ask(name)))).collect();
            for (name, answer) in asked {
                match answer.join() {
                    Ok(Ok(Some(volumes))) => found.push(volumes),
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => warnings.push(format!("volume plugin {name}: {error}")),
                    Err(_) => warnings.push(format!("volume plugin {name}: an internal task failed")),
                }
            }
        });
        (found, warnings)
    }

    /// `None` for a plugin that keeps no volumes.
    fn list_of(&self, name: &str) -> Result<Option<(Driver, Vec<Remote>)>> {
        let is_silent = locked(&self.silent).get(name).is_some_and(|since| since.elapsed() < PAUSE);
        if is_silent {
            return Err(Error::unavailable("it did not answer in time, and is not asked again yet"));
        }
        let driver = match self.driver(name) {
            Err(error) if error.kind == Kind::NotImplemented => return Ok(None),
            other => other,
        };
        let answer = driver.and_then(|driver| Ok(Some((driver.clone(), driver.list()?))));
        match &answer {
            Err(error) if error.kind == Kind::Unavailable => {
                locked(&self.silent).insert(name.to_owned(), Instant::now());
            }
            _ => {
                locked(&self.silent).remove(name);
            }
        }
        answer
    }

    /// Notes where a volume is mounted, or that it is not any more.
    pub(super) fn note(&self, volume: &str, path: Option<PathBuf>) {
        let mut mounted = locked(&self.mounted);
        match path {
            Some(path) => drop(mounted.insert(volume.to_owned(), path)),
            None => drop(mounted.remove(volume)),
        }
    }

    pub(super) fn mounted_path(&self, volume: &str) -> Option<PathBuf> {
        locked(&self.mounted).get(volume).cloned()
    }

    /// A plugin that was reached once may have been replaced by another one.
    pub(super) fn forget(&self, name: &str) {
        locked(&self.active).remove(name);
    }
}

impl Driver {
    /// Its name, without a tag.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn activate(&self) -> Result<String> {
        let answer = self.call("Plugin.Activate", &serde_json::json!({}), TO_TELL)?;
        if !answer.implements.iter().flatten().any(|what| what == "VolumeDriver") {
            return Err(Error::not_implemented(format!(
                "plugin \"{}\" does not implement \"VolumeDriver\"",
                self.name
            )));
        }
        // One that does not know the question keeps volumes of this machine.
        let said = self.call("VolumeDriver.Capabilities", &serde_json::json!({}), TO_TELL);
        let scope = said.map(|answer| answer.capabilities.unwrap_or_default().scope).unwrap_or_default();
        Ok(if scope.eq_ignore_ascii_case("global") { "global" } else { "local" }.to_owned())
    }

    pub(super) fn create(&self, name: &str, options: &BTreeMap<String, String>) -> Result<()> {
        self.call("VolumeDriver.Create", &Create { name, opts: options }, TO_DO).map(drop)
    }

    pub(super) fn remove(&self, name: &str) -> Result<()> {
        self.call("VolumeDriver.Remove", &Named { name }, TO_DO).map(drop)
    }

    /// Has it mount a volume for somebody; where its content is.
    pub(super) fn mount(&self, name: &str, id: &str) -> Result<PathBuf> {
        let answer = self.call("VolumeDriver.Mount", &Mount { name, id }, TO_DO)?;
        let path = match answer.mountpoint.as_str() {
            "" => self.call("VolumeDriver.Path", &Named { name }, TO_TELL)?.mountpoint,
            _ => answer.mountpoint,
        };
        // It may say any place of the host: it runs as root. But it must be one.
        if !Path::new(&path).is_absolute() || path.contains('\0') {
            return Err(Error::system(format!(
                "plugin \"{}\" says that volume {name} is at {path:?}, which is no absolute path",
                self.name
            )));
        }
        Ok(PathBuf::from(path))
    }

    pub(super) fn unmount(&self, name: &str, id: &str) -> Result<()> {
        self.call("VolumeDriver.Unmount", &Mount { name, id }, TO_DO).map(drop)
    }

    /// What it says about a volume.
    pub(super) fn get(&self, name: &str) -> Result<Remote> {
        let answer = self.call("VolumeDriver.Get", &Named { name }, TO_TELL)?;
        match answer.volume {
            Some(volume) if volume.name == name => Ok(volume),
            _ => Err(Error::not_found("no such volume")),
        }
    }

    fn list(&self) -> Result<Vec<Remote>> {
        let answer = self.call("VolumeDriver.List", &serde_json::json!({}), TO_TELL)?;
        Ok(answer.volumes.unwrap_or_default())
    }

    /// One question and its answer.
    fn call(&self, method: &str, body: &impl Serialize, patience: Duration) -> Result<Answer> {
        let failed = |words: String| format!("plugin \"{}\": {method}: {words}", self.name);
        let body = serde_json::to_vec(body).map_err(|error| Error::system(failed(error.to_string())))?;
        let exchange = tokio::time::timeout(patience, http::post(&self.socket, method, &body));
        let (status, body) = match tokio::runtime::Handle::current().block_on(exchange) {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(Error::system(failed(error.to_string()))),
            Err(_) => {
                let seconds = patience.as_secs();
                return Err(Error::unavailable(failed(format!("no answer within {seconds} seconds"))));
            }
        };
        if status == 404 {
            return Err(Error::not_found(failed("it does not know this call".to_owned())));
        }
        let answer: std::result::Result<Answer, _> = serde_json::from_slice(&body);
        match answer {
            Ok(answer) if !answer.err.is_empty() && status < 400 => Err(Error::system(answer.err)),
            Ok(answer) if !answer.err.is_empty() => Err(Error::system(format!("{method}: {}", answer.err))),
            Ok(answer) if status < 400 => Ok(answer),
            Ok(_) => Err(Error::system(failed(format!("status {status}")))),
            Err(error) => Err(Error::system(failed(format!("its answer cannot be read: {error}")))),
        }
    }
}
