//! A registry of a check's own (Debian's docker-registry on loopback), and a door to it that can be held shut.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::scope::eventually;

/// A user that a registry with passwords knows, the password, and its hash by bcrypt.
pub(crate) const USER: (&str, &str) = ("alice", "secret");
const PASSWORDS: &str = "alice:$2b$04$kdOzO9cQLydFzJag8RFhxe3gj1/AIN6a9WbRHhRvXdHG7ILzwJo3y\n";

/// A running docker-registry; it ends with this value.
#[derive(Debug)]
pub(crate) struct Registry {
    process: Child,
    port: u16,
    data: PathBuf,
}

impl Registry {
    /// Starts a registry that keeps what it has below `directory`; `None` when the program is not installed.
    pub(crate) fn start(directory: &Path, with_passwords: bool) -> Result<Option<Self>> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let data = directory.join(format!("registry-{port}"));
        std::fs::create_dir_all(&data)?;
        let mut text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            data.display()
        );
        if with_passwords {
            let passwords = data.join("passwords");
            std::fs::write(&passwords, PASSWORDS)?;
            text.push_str(&format!(
                "auth:\n  htpasswd:\n    realm: conformance\n    path: {}\n",
                passwords.display()
            ));
        }
        let configuration = data.join("config.yml");
        std::fs::write(&configuration, text)?;
        let spawned = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match spawned {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("docker-registry"),
        };
        let registry = Self { process, port, data };
        eventually("an answer of docker-registry", || {
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
        })?;
        Ok(Some(registry))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its name as images have it.
    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// The file that holds a blob (`sha256:…`).
    pub(crate) fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let place = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        self.data.join(place)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended already, and holds nothing that outlives its directory.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// skopeo, which must succeed.
pub(crate) fn skopeo(arguments: &[&str]) -> Result<()> {
    let output = Command::new("skopeo").args(arguments).output().context("skopeo")?;
    if !output.status.success() {
        bail!("skopeo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A door in front of a registry: lets so many bytes through towards the client, and then holds.
#[derive(Debug)]
pub(crate) struct Door {
    port: u16,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    /// How many bytes may pass.
    limit: Mutex<u64>,
    changed: Condvar,
    passed: AtomicU64,
    closed: AtomicBool,
}

impl Door {
    pub(crate) fn to(registry: &Registry, limit: u64) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (port, target) = (listener.local_addr()?.port(), registry.port());
        let gate = Arc::new(Gate { limit: Mutex::new(limit), ..Gate::default() });
        let kept = Arc::clone(&gate);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                if kept.closed.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { continue };
                let (Ok(to_server), Ok(to_client)) = (server.try_clone(), client.try_clone()) else {
                    continue;
                };
                let gate = Arc::clone(&kept);
                std::thread::spawn(move || pass(client, to_server, None));
                std::thread::spawn(move || pass(server, to_client, Some(&gate)));
            }
        });
        Ok(Self { port, gate })
    }

    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// How many bytes have come through.
    pub(crate) fn passed(&self) -> u64 {
        self.gate.passed.load(Ordering::SeqCst)
    }

    /// Lets everything through from now on.
    pub(crate) fn open(&self) {
        *self.gate.limit.lock().unwrap_or_else(PoisonError::into_inner) = u64::MAX;
        self.gate.changed.notify_all();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.gate.closed.store(true, Ordering::SeqCst);
        self.open();
        // Wakes the thread that waits for clients.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

/// Passes bytes on until either side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, gate: Option<&Arc<Gate>>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 {
            break;
        }
        if let Some(gate) = gate {
            let mut limit = gate.limit.lock().unwrap_or_else(PoisonError::into_inner);
            while gate.passed.load(Ordering::SeqCst) >= *limit {
                limit = gate.changed.wait(limit).unwrap_or_else(PoisonError::into_inner);
            }
            gate.passed.fetch_add(length as u64, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other side may be gone already.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
