//! What the engine's configuration says about registries. Values only: whoever makes a client reads the configuration.

use std::path::PathBuf;
use std::time::Duration;

use crate::proxy::Proxies;

/// Everything a [`crate::Client`] needs to know before it is asked for a repository.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `registry-mirrors` of daemon.json: base URLs of mirrors of docker.io, the preferred first.
    pub mirrors: Vec<String>,
    /// `insecure-registries` of daemon.json: hosts, hosts with ports, and networks (`10.0.0.0/8`) whose registries may
    /// have any certificate, or none. Loopback always is one.
    pub insecure: Vec<String>,
    /// Directories with one directory for each registry, named `host` or `host:port`, with `hosts.toml` of containerd or
    /// `*.crt`, `*.cert`, `*.key` of Docker. The first that has the registry counts.
    pub certs_dirs: Vec<PathBuf>,
    /// `registries.conf` of Podman. The files of the directory of that name with `.d` behind are read after it.
    pub registries_conf: Option<PathBuf>,
    /// Files with the certificates of the system's authorities, PEM; the first that exists counts.
    pub system_roots: Vec<PathBuf>,
    /// Proxies for outgoing requests.
    pub proxies: Proxies,
    /// The `User-Agent` of every request.
    pub user_agent: String,
    /// How long is waited for what.
    pub patience: Patience,
}

/// How long is waited for what, and how often it is tried again.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For a connection to one address.
    pub connect: Duration,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// From a request without a large body to the head of its answer.
    pub answer: Duration,
    /// From the end of an upload to the registry's word that it has it all.
    pub commit: Duration,
    /// For the next bytes of a body, in either direction.
    pub idle: Duration,
    /// How often a request that failed in passing is tried again; and how often in a row a download may be cut without
    /// having brought anything.
    pub retries: u32,
    /// Before the first of these tries; doubled for each further one.
    pub pause: Duration,
    /// The longest that a registry may make a request wait by `Retry-After`; beyond that, the request fails.
    pub longest_pause: Duration,
}

impl Default for Settings {
    /// As on a host without any configuration.
    fn default() -> Self {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect();
        Self {
            mirrors: Vec::new(),
            insecure: Vec::new(),
            certs_dirs: paths(&["/etc/docker/certs.d", "/etc/containerd/certs.d", "/etc/containers/certs.d"]),
            registries_conf: Some(PathBuf::from("/etc/containers/registries.conf")),
            system_roots: paths(&[
                "/etc/ssl/certs/ca-certificates.crt",
                "/etc/pki/tls/certs/ca-bundle.crt",
                "/etc/ssl/ca-bundle.pem",
                "/etc/pki/tls/cacert.pem",
                "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
                "/etc/ssl/cert.pem",
            ]),
            proxies: Proxies::default(),
            user_agent: concat!("berth/", env!("CARGO_PKG_VERSION"), " (linux)").to_owned(),
            patience: Patience::default(),
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            commit: Duration::from_secs(600),
            idle: Duration::from_secs(60),
            retries: 4,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(20),
        }
    }
}
