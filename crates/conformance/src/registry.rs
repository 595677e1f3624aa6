//! A registry of a check's own: Debian's docker-registry on loopback.

use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
pub(crate) fn skopeo(arguments: &[&str]) -> Result<String> {
    let output = Command::new("skopeo").args(arguments).output().context("skopeo")?;
    if !output.status.success() {
        bail!("skopeo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
