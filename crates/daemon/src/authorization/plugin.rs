//! One plugin: where it listens, what it says it is, and asking it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::sync::OnceCell;

use super::call::{Answer, Question};

/// Where plugins put their sockets.
const SOCKETS: &str = "/run/docker/plugins";
/// Where files are that say where a plugin listens.
const SPECS: &[&str] = &["/etc/docker/plugins", "/usr/lib/docker/plugins"];
/// What plugins of this protocol accept.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";
/// How long a plugin may think.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer of a plugin.
const MAX_ANSWER: usize = 1 << 20;

/// A plugin; found and asked what it is when it is first needed, for it may be started after the daemon.
#[derive(Debug)]
pub(crate) struct Plugin {
    name: String,
    socket: OnceCell<PathBuf>,
}

impl Plugin {
    /// The plugin of that name.
    pub(super) fn new(name: &str) -> Plugin {
        Plugin { name: name.to_owned(), socket: OnceCell::new() }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens, once it has said that it decides about requests.
    async fn socket(&self) -> Result<&PathBuf, String> {
        let activate = async || {
            let socket = find(&self.name, Path::new(SOCKETS), SPECS)?;
            let manifest: Manifest = call(&socket, "/Plugin.Activate", Vec::new()).await?;
            if manifest.implements.iter().any(|kind| kind == "authz") {
                return Ok(socket);
            }
            Err(format!("it says that it is {:?}, not authz", manifest.implements))
        };
        self.socket.get_or_try_init(activate).await
    }

    pub(super) async fn ask(&self, question: Question) -> Result<Answer, String> {
        self.decide("/AuthZPlugin.AuthZReq", &question).await
    }

    pub(super) async fn review(&self, question: Question) -> Result<Answer, String> {
        self.decide("/AuthZPlugin.AuthZRes", &question).await
    }

    async fn decide(&self, path: &str, question: &Question) -> Result<Answer, String> {
        let body = serde_json::to_vec(question).map_err(|error| error.to_string())?;
        call(self.socket().await?, path, body).await
    }
}

async fn call<T: for<'a> Deserialize<'a>>(socket: &Path, path: &str, body: Vec<u8>) -> Result<T, String> {
    let text = tokio::time::timeout(PATIENCE, exchange(socket, path, body))
        .await
        .map_err(|_| format!("{path}: no answer within {} s", PATIENCE.as_secs()))??;
    serde_json::from_slice(&text).map_err(|error| format!("{path}: its answer cannot be read: {error}"))
}

async fn exchange(socket: &Path, path: &str, body: Vec<u8>) -> Result<Bytes, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{path}: {error}");
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|error| format!("dial unix {}: {error}", socket.display()))?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    // Ends with the exchange; what goes wrong reaches the sender.
    tokio::spawn(connection);
    let request = Request::post(path)
        .header(header::HOST, "plugin")
        .header(header::ACCEPT, MEDIA_TYPE)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = answer.status();
    let text = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let text = text.map_err(|error| failed(&error))?.to_bytes();
    if status == StatusCode::OK { Ok(text) } else { Err(failed(&format!("it answers with {status}"))) }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Manifest {
    implements: Vec<String>,
}

/// The socket of a plugin: `NAME.sock` or `NAME/NAME.sock`, or what `NAME.spec` says.
fn find(name: &str, sockets: &Path, specs: &[&str]) -> Result<PathBuf, String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err("its name is no file name".to_owned());
    }
    let places = [sockets.join(format!("{name}.sock")), sockets.join(name).join(format!("{name}.sock"))];
    if let Some(socket) = places.into_iter().find(|path| path.exists()) {
        return Ok(socket);
    }
    for directory in specs.iter().map(Path::new) {
        let spec = directory.join(format!("{name}.spec"));
        let Ok(text) = std::fs::read_to_string(&spec) else { continue };
        return match text.trim().strip_prefix("unix://") {
            Some(path) => Ok(PathBuf::from(path)),
            None => Err(format!("{} says {:?}: only unix:// is implemented", spec.display(), text.trim())),
        };
    }
    Err(format!("plugin {name:?} not found: there is no {name}.sock in {}", sockets.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_found_by_its_socket_or_its_spec() {
        let root = std::env::temp_dir().join(format!("berth-plugins-{}", std::process::id()));
        std::fs::create_dir_all(root.join("deep")).expect("a directory");
        for (file, text) in
            [("a.sock", ""), ("deep/deep.sock", ""), ("s.spec", "unix:///run/s\n"), ("t.spec", "tcp://h:1")]
        {
            std::fs::write(root.join(file), text).expect("a file");
        }
        let specs = root.display().to_string();
        let look = |name: &str| find(name, &root, &[&specs]);
        assert_eq!(look("a"), Ok(root.join("a.sock")));
        assert_eq!(look("deep"), Ok(root.join("deep/deep.sock")));
        assert_eq!(look("s"), Ok("/run/s".into()));
        assert!(look("t").is_err_and(|why| why.contains("only unix:// is implemented")));
        assert!(look("none").is_err_and(|why| why.contains("not found")));
        assert!(look("../a").is_err());
        std::fs::remove_dir_all(root).expect("cleaned");
    }
}
