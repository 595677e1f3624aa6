//! Base images: a Debian root by debootstrap and a busybox, made once and kept under `target/fixtures`.

use crate::{packages, process, workspace};
use anyhow::{Context, Result};
use conformance::Archives;
use std::fs;
use std::path::{Path, PathBuf};

/// Debian's release, the same as the one whose packages the peers come from.
const RELEASE: &str = "bookworm";

/// Packs what is missing. Without a mirror there is no Debian image, which is said on stderr.
pub(crate) fn archives() -> Result<Archives> {
    packages::install(&["busybox-static", "debootstrap"])?;
    let directory = directory();
    let busybox = Path::new("/bin/busybox");
    if directory.join("debian.tar").exists() {
        let archives = Archives::prepare(&directory, busybox, None)?;
        return Ok(Archives { debian: Some(directory.join("debian.tar")), ..archives });
    }
    match debian_root(&directory) {
        Ok(root) => {
            let archives = Archives::prepare(&directory, busybox, Some(&root))?;
            fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
            Ok(archives)
        }
        Err(error) => {
            eprintln!("no Debian image: {error:#}");
            Archives::prepare(&directory, busybox, None)
        }
    }
}

/// What real clients and servers come from.
const SERVERS: &[&str] = &[
    "bind9-dnsutils",
    "curl",
    "iperf3",
    "nginx-light",
    "postgresql-15",
    "redis-server",
    "rsyslog",
    "rsyslog-gnutls",
    "socat",
];

/// Makes a cluster of databases in /srv/postgres, which takes its time: containers get a copy with their volume.
const CLUSTER: &str = "install -d -o postgres -g postgres -m 700 /srv/postgres
    setpriv --reuid postgres --regid postgres --clear-groups \\
        /usr/lib/postgresql/15/bin/initdb --auth trust --no-sync --pgdata /srv/postgres
    echo 'host all all all trust' >> /srv/postgres/pg_hba.conf";

/// The Debian root with servers and their clients in it, beside the other archives; it takes a mirror once.
pub(crate) fn with_servers(archives: Archives) -> Result<Archives> {
    let servers = directory().join("servers-3.tar");
    let Some(debian) = archives.debian.clone().filter(|_| !servers.exists()) else {
        let found = servers.exists().then_some(servers);
        return Ok(Archives { servers: found, ..archives });
    };
    match servers_root(&debian, &directory()).and_then(|root| archives.clone().pack_servers(&servers, &root))
    {
        Ok(archives) => Ok(archives),
        Err(error) => {
            eprintln!("no image with servers: {error:#}");
            Ok(archives)
        }
    }
}

/// The Debian root with more packages: no documentation, no service started, no cluster of databases made.
fn servers_root(debian: &Path, directory: &Path) -> Result<PathBuf> {
    let root = directory.join("servers-root.partial");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    let target = root.display().to_string();
    process::run("tar", &["-C", &target, "-xf", &debian.display().to_string()])?;
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| path.display().to_string())
    };
    write(
        "etc/dpkg/dpkg.cfg.d/small",
        "path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\nforce-unsafe-io\n",
    )?;
    write("etc/postgresql-common/createcluster.conf", "create_main_cluster = false\n")?;
    let null = format!("{target}/dev/null");
    process::run("sh", &["-c", &format!("rm -f '{null}' && mknod -m 666 '{null}' c 1 3")])?;
    write("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")?;
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf"))?;
    process::run("chmod", &["755", &format!("{target}/usr/sbin/policy-rc.d")])?;
    let apt = |words: &[&str]| {
        let command =
            ["env", "-u", "TMPDIR", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2", "--yes"];
        process::run("chroot", &[&[&*target], &command[..], words].concat())
    };
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"], SERVERS].concat())?;
    apt(&["clean"])?;
    process::run("chroot", &[&target, "sh", "-ec", CLUSTER])?;
    fs::remove_file(&null).context("the device in the root")?;
    // The compiler of queries is a third of all the bytes, and the server does without it.
    for unneeded in ["var/lib/apt/lists", "var/cache/apt", "usr/lib/postgresql/15/lib/llvmjit.so"] {
        let path = root.join(unneeded);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
            .with_context(|| path.display().to_string())?;
    }
    process::run("sh", &["-c", &format!("rm -f '{target}'/usr/lib/x86_64-linux-gnu/libLLVM*")])?;
    Ok(root)
}

/// The busybox image alone; it needs no mirror.
pub(crate) fn busybox() -> Result<Archives> {
    packages::install(&["busybox-static"])?;
    Archives::prepare(&directory(), Path::new("/bin/busybox"), None)
}

pub(crate) fn directory() -> PathBuf {
    workspace::root().join("target/fixtures")
}

/// A minimal Debian; the directory gets its name when it is complete.
fn debian_root(directory: &Path) -> Result<PathBuf> {
    let root = directory.join("debian-root");
    if root.exists() {
        return Ok(root);
    }
    let partial = directory.join("debian-root.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(directory)?;
    let target = partial.display().to_string();
    process::run("debootstrap", &["--variant=minbase", RELEASE, &target])?;
    for entry in fs::read_dir(partial.join("var/cache/apt/archives"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            fs::remove_file(path)?;
        }
    }
    fs::rename(&partial, &root)?;
    Ok(root)
}
