//! A volume plugin of Docker's first kind that keeps directories, or misbehaves on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// How a plugin misbehaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lie {
    /// It reads and never answers.
    Hang,
    /// It answers with these bytes.
    Raw(Vec<u8>),
    /// It answers with this document.
    Document(Value),
}

/// A plugin that listens.
#[derive(Debug)]
pub struct VolumePlugin {
    socket: PathBuf,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    root: PathBuf,
    state: Mutex<State>,
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    volumes: BTreeMap<String, BTreeSet<String>>,
    options: BTreeMap<String, Value>,
    lies: BTreeMap<String, Lie>,
    calls: Vec<String>,
    held: Vec<UnixStream>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VolumePlugin {
    /// Listens on `socket` and keeps volumes below `root`.
    #[must_use]
    pub fn start(socket: &Path, root: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("bind the socket of a plugin");
        let shared = Arc::new(Shared { root: root.to_owned(), ..Shared::default() });
        let inside = shared.clone();
        let accept = move || {
            for stream in listener.incoming() {
                if inside.is_over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { return };
                let shared = inside.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        };
        Self { socket: socket.to_owned(), shared, listener: Some(std::thread::spawn(accept)) }
    }

    /// Misbehaves at each call of `method` from now on; with `None` no longer.
    pub fn lie(&self, method: &str, lie: Option<Lie>) {
        let mut state = self.shared.state();
        match lie {
            Some(lie) => drop(state.lies.insert(method.to_owned(), lie)),
            None => drop(state.lies.remove(method)),
        }
    }

    /// Every call so far: `VolumeDriver.Mount name`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.shared.state().calls.clone()
    }

    /// For how many users a volume is mounted now; `None` when there is no such volume.
    #[must_use]
    pub fn users(&self, volume: &str) -> Option<usize> {
        self.shared.state().volumes.get(volume).map(BTreeSet::len)
    }

    /// The options a volume was made with.
    #[must_use]
    pub fn options(&self, volume: &str) -> Value {
        self.shared.state().options.get(volume).cloned().unwrap_or_default()
    }
}

impl Drop for VolumePlugin {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.state().held.clear();
        // The listener looks at the flag when somebody comes.
        drop(UnixStream::connect(&self.socket));
        drop(std::fs::remove_file(&self.socket));
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}

/// One request for each connection.
fn serve(stream: UnixStream, shared: &Shared) {
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() {
        return;
    }
    let method = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let mut length = 0;
    loop {
        let mut field = String::new();
        if reader.read_line(&mut field).is_err() || field.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = field.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = body["Name"].as_str().unwrap_or_default().to_owned();
    let lie = {
        let mut state = shared.state();
        state.calls.push(format!("{method} {name}").trim_end().to_owned());
        state.lies.get(&method).cloned()
    };
    let text = match lie {
        Some(Lie::Hang) => {
            // Kept open, and never answered.
            if let Ok(copy) = stream.try_clone() {
                shared.state().held.push(copy);
            }
            return;
        }
        Some(Lie::Raw(bytes)) => {
            drop((&stream).write_all(&bytes));
            return;
        }
        Some(Lie::Document(document)) => document.to_string(),
        None => answer(shared, &method, &name, &body).to_string(),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    drop((&stream).write_all(&[head.as_bytes(), text.as_bytes()].concat()));
}

fn answer(shared: &Shared, method: &str, name: &str, body: &Value) -> Value {
    let mut state = shared.state();
    let path = shared.root.join(name);
    let described = |name: &str| json!({ "Name": name, "Mountpoint": shared.root.join(name), "Status": { "kept": "by the test" } });
    let missing = || json!({ "Err": "no such volume" });
    match method {
        "Plugin.Activate" => json!({ "Implements": ["VolumeDriver"] }),
        "VolumeDriver.Capabilities" => json!({ "Capabilities": { "Scope": "global" } }),
        "VolumeDriver.Create" => {
            if let Err(error) = std::fs::create_dir_all(&path) {
                return json!({ "Err": error.to_string() });
            }
            state.volumes.entry(name.to_owned()).or_default();
            state.options.insert(name.to_owned(), body["Opts"].clone());
            json!({ "Err": "" })
        }
        "VolumeDriver.List" => {
            let all: Vec<Value> = state.volumes.keys().map(|name| described(name)).collect();
            json!({ "Volumes": all })
        }
        _ if !state.volumes.contains_key(name) => missing(),
        "VolumeDriver.Get" => json!({ "Volume": described(name) }),
        "VolumeDriver.Path" => json!({ "Mountpoint": path }),
        "VolumeDriver.Mount" => {
            let id = body["ID"].as_str().unwrap_or_default().to_owned();
            state.volumes.entry(name.to_owned()).or_default().insert(id);
            json!({ "Mountpoint": path })
        }
        "VolumeDriver.Unmount" => {
            let id = body["ID"].as_str().unwrap_or_default();
            match state.volumes.get_mut(name).is_some_and(|users| users.remove(id)) {
                true => json!({ "Err": "" }),
                false => json!({ "Err": "it is not mounted for this user" }),
            }
        }
        "VolumeDriver.Remove" => {
            state.volumes.remove(name);
            match std::fs::remove_dir_all(&path) {
                Ok(()) => json!({ "Err": "" }),
                Err(error) => json!({ "Err": error.to_string() }),
            }
        }
        _ => json!({ "Err": format!("unknown method {method}") }),
    }
}
