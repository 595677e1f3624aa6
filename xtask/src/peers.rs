//! The peers: the newest programs that Debian packages, below `target/fixtures/peers`, and nothing of them on the machine.
//!
//! The packages come from the archive that this machine's own ones come from, out of a newer suite: an apt with
//! directories of its own checks the archive's signature, finds what belongs together and downloads it; then everything
//! is unpacked, not installed. A program that the machine's libraries are too old for gets those of its suite, by the
//! path of its loader and of its libraries. For other versions, remove the directory.

use crate::{fixtures, packages, process};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where packages are looked for, the newest first.
const SUITES: [&str; 2] = ["sid", "trixie"];

/// What is compared. apt adds what they need, libc too; `systemd-standalone-sysusers` is there so that it is not systemd.
const PACKAGES: &[&str] = &[
    "docker.io",
    "docker-cli",
    "docker-compose",
    "containerd",
    "runc",
    "crun",
    "podman",
    "conmon",
    "netavark",
    "aardvark-dns",
    "golang-github-containers-common",
    "systemd-standalone-sysusers",
];

/// Where they have their programs. The first is what tells whether all are there.
const PROGRAMS: &[&str] = &[
    "usr/sbin/dockerd",
    "usr/sbin/docker-proxy",
    "usr/bin/docker",
    "usr/bin/docker-init",
    "usr/libexec/docker/cli-plugins/docker-compose",
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/sbin/runc",
    "usr/bin/crun",
    "usr/bin/podman",
    "usr/bin/conmon",
    "usr/lib/podman/netavark",
    "usr/lib/podman/aardvark-dns",
];

/// What Podman reads besides: its configuration and the rules for system calls.
const PODMAN_FILES: &[&str] = &["usr/share/containers/containers.conf", "usr/share/containers/seccomp.json"];

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Written when everything else is there: the directory that the programs were made for, then a package and its version
/// on each line.
const COMPLETE: &str = "complete";

/// No package of Debian's: built from the registry of crates.
const YOUKI: &str = "0.7.0";

/// Programs of one suite.
#[derive(Debug)]
pub(crate) struct Peers {
    /// The suite's name.
    pub(crate) suite: &'static str,
    /// `docker.io 28.5.2+dfsg4-5` and the like.
    pub(crate) versions: Vec<String>,
    directory: PathBuf,
}

impl Peers {
    /// Those of the newest suite that can be had.
    pub(crate) fn fetch() -> Result<Self> {
        for suite in SUITES {
            if let Some(peers) = Self::of(suite) {
                return Ok(peers);
            }
            let directory = directory().join(suite);
            eprintln!("==> the peers of Debian's {suite}, in {}", directory.display());
            match fetch(suite, &directory) {
                Ok(()) => return Self::of(suite).context("the peers were there a moment ago"),
                Err(error) => eprintln!("the peers of Debian's {suite}: {error:#}"),
            }
        }
        bail!("no newer packages in {}", SUITES.join(" or "))
    }

    /// Those that [`Peers::fetch`] has fetched before.
    pub(crate) fn found() -> Option<Self> {
        SUITES.into_iter().find_map(Self::of)
    }

    fn of(suite: &'static str) -> Option<Self> {
        let directory = directory().join(suite);
        let text = fs::read_to_string(directory.join(COMPLETE)).ok()?;
        let mut lines = text.lines();
        // A copy of the directory at another place has programs that look for their libraries at the first one.
        let is_here = lines.next() == directory.to_str();
        is_here.then(|| Self { suite, versions: lines.map(str::to_owned).collect(), directory })
    }

    /// Where a program is.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.directory.join("bin").join(name)
    }

    /// What tells Podman to use its own parts: variables of the environment.
    pub(crate) fn podman_environment(&self) -> Vec<(String, String)> {
        let file = |name: &str| self.directory.join(name).display().to_string();
        vec![
            ("CONTAINERS_CONF".to_owned(), file("containers.conf")),
            ("CONTAINERS_CONF_OVERRIDE".to_owned(), file("places.conf")),
        ]
    }
}

/// `PATH` with the peers before everything else; youki beside them, where it can be had.
pub(crate) fn search_path(peers: Option<&Peers>) -> Result<OsString> {
    let mut places: Vec<PathBuf> = peers.iter().map(|peers| peers.directory.join("bin")).collect();
    match youki() {
        Ok(place) => places.push(place),
        Err(error) => eprintln!("no youki: {error:#}"),
    }
    let path = std::env::var_os("PATH").context("no PATH")?;
    places.extend(std::env::split_paths(&path));
    std::env::join_paths(places).context("a directory with a colon in its name")
}

fn directory() -> PathBuf {
    fixtures::directory().join("peers")
}

fn fetch(suite: &str, directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let apt = directory.join("apt");
    fs::create_dir_all(&apt).with_context(|| apt.display().to_string())?;
    let versions = download(suite, &apt, PACKAGES)?;
    let root = apt.join("root");
    for archive in archives(&apt)? {
        process::output("dpkg-deb", &["--extract", &text(&archive), &text(&root)])?;
    }
    let libraries = directory.join("lib");
    fs::rename(root.join(LIBRARIES), &libraries)
        .with_context(|| root.join(LIBRARIES).display().to_string())?;
    let programs = directory.join("bin");
    fs::create_dir(&programs)?;
    for program in PROGRAMS {
        let program = copy(&root.join(program), &programs)?;
        if is_too_new(&program)? {
            use_libraries(&program, &libraries)?;
        }
    }
    for file in PODMAN_FILES {
        copy(&root.join(file), directory)?;
    }
    fs::write(directory.join("places.conf"), podman_places(directory))?;
    fs::remove_dir_all(&apt).with_context(|| apt.display().to_string())?;
    let complete = format!("{}\n{}\n", directory.display(), versions.join("\n"));
    fs::write(directory.join(COMPLETE), complete).context("the last file")
}

/// Downloads the packages with everything that they need, by an apt with directories of its own; their versions.
pub(crate) fn download(suite: &str, apt: &Path, packages: &[&str]) -> Result<Vec<String>> {
    for part in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(part))?;
    }
    // No package is installed there.
    fs::write(apt.join("status"), "")?;
    let source = format!("deb [signed-by={}] {} {suite} main\n", keyring(apt).display(), archive()?);
    fs::write(apt.join("sources.list"), source)?;
    let configuration = apt.join("apt.conf");
    fs::write(&configuration, APT.replace("HERE", &text(apt)))?;
    let run = |words: &[&str]| {
        process::output("apt-get", &[&["--quiet=2", "--config-file", &text(&configuration)], words].concat())
    };
    run(&["update"])?;
    run(&[&["install"], packages].concat())?;
    let mut versions = Vec::new();
    for archive in archives(apt)? {
        let shown =
            process::output("dpkg-deb", &["--show", "--showformat=${Package} ${Version}", &text(&archive)])?;
        if shown.split(' ').next().is_some_and(|name| packages.contains(&name)) {
            versions.push(shown);
        }
    }
    ensure!(versions.len() == packages.len(), "only {} were downloaded", versions.join(", "));
    versions.retain(|one| !one.starts_with("systemd"));
    Ok(versions)
}

/// Read after the machine's own configuration, which knows of proxies and the like; what that would do to the machine
/// after an update is taken away.
const APT: &str = r#"
#clear APT::Update;
Dir::State "HERE/state";
Dir::State::status "HERE/status";
Dir::Cache "HERE/cache";
Dir::Etc::sourcelist "HERE/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Update::Error-Mode "any";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Get::Assume-Yes "true";
APT::Get::Download-Only "true";
APT::Install-Recommends "false";
"#;

/// Where this machine has its Debian from.
fn archive() -> Result<String> {
    let format = "$(RELEASE) $(COMPONENT) $(REPO_URI)";
    let targets = process::output("apt-get", &["indextargets", "--format", format, "Created-By: Packages"])?;
    let found = place_of_release(&targets);
    found.map(str::to_owned).context("apt has no source of Debian's packages (`apt-get indextargets`)")
}

/// The place of the first line that is neither of security nor of updates, which have no other suites beside them.
fn place_of_release(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| {
        let mut words = line.splitn(3, ' ');
        let (release, component, place) = (words.next()?, words.next()?, words.next()?);
        (component == "main" && !release.contains(['-', '/'])).then_some(place)
    })
}

/// The keys of Debian's archive. Those of suites newer than the machine's come with updates of its own suite, which
/// vouches for them; they are not installed either.
fn keyring(apt: &Path) -> PathBuf {
    let newest = || -> Result<PathBuf> {
        let chdir = format!("--chdir={}", apt.display());
        process::output("env", &[&chdir, "apt-get", "--quiet=2", "download", "debian-archive-keyring"])?;
        let keys = apt.join("keys");
        for file in files(apt, "deb")? {
            process::output("dpkg-deb", &["--extract", &text(&file), &text(&keys)])?;
        }
        let places =
            ["gpg", "pgp"].map(|kind| keys.join(KEYRING.trim_start_matches('/')).with_extension(kind));
        places.into_iter().find(|place| place.exists()).context("no keys in debian-archive-keyring")
    };
    newest().unwrap_or_else(|error| {
        eprintln!("the keys that are installed have to do: {error:#}");
        PathBuf::from(KEYRING)
    })
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The packages that were downloaded.
pub(crate) fn archives(apt: &Path) -> Result<Vec<PathBuf>> {
    files(&apt.join("cache/archives"), "deb")
}

fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Copies what a path leads to.
fn copy(from: &Path, into: &Path) -> Result<PathBuf> {
    let to = into.join(from.file_name().context("a file name")?);
    fs::copy(from, &to).with_context(|| from.display().to_string())?;
    Ok(to)
}

/// Whether a program wants libraries, or versions of them, that this machine does not have.
fn is_too_new(program: &Path) -> Result<bool> {
    // It fails for static programs, too.
    let output = Command::new("ldd").arg(program).output().context("ldd (libc-bin)")?;
    Ok([output.stdout, output.stderr].iter().any(|said| String::from_utf8_lossy(said).contains("not found")))
}

/// Makes a program use the libraries of a directory, and only those.
fn use_libraries(program: &Path, libraries: &Path) -> Result<()> {
    packages::install(&["patchelf"])?;
    let (path, loader) = (text(program), text(&libraries.join(LOADER)));
    // One after the other: patchelf 0.18 lets parts of a program overlap when it is told both at once, or in the other
    // order. The old tag of the path also counts for what the libraries need themselves.
    process::output("patchelf", &["--force-rpath", "--set-rpath", &text(libraries), &path])?;
    process::output("patchelf", &["--set-interpreter", &loader, &path])?;
    process::output(&path, &["--version"]).context("a program with the libraries of its suite").map(drop)
}

/// Where Podman finds its parts here; everything else is as the package has it.
fn podman_places(directory: &Path) -> String {
    let (programs, here) = (directory.join("bin"), directory.display());
    let program = |name: &str| programs.join(name).display().to_string();
    format!(
        "[containers]\nseccomp_profile = \"{here}/seccomp.json\"\n\n[engine]\nconmon_path = [\"{}\"]\n\
         helper_binaries_dir = [\"{}\"]\nruntime = \"crun\"\n\n[engine.runtimes]\ncrun = [\"{}\"]\n",
        program("conmon"),
        programs.display(),
        program("crun"),
    )
}

/// The directory of youki, which is built when it is not there.
fn youki() -> Result<PathBuf> {
    let root = directory().join(format!("youki-{YOUKI}"));
    let place = root.join("bin");
    if place.join("youki").exists() {
        return Ok(place);
    }
    packages::install(&["libseccomp-dev", "pkg-config"])?;
    let build = directory().join("youki-build");
    let target = format!("CARGO_TARGET_DIR={}", build.display());
    // From a place where the settings of this workspace do not count.
    let words = ["--chdir=/", &target, "cargo", "install", "youki", "--version", YOUKI, "--locked"];
    let features = ["--no-default-features", "--features", "v1,v2,seccomp", "--root", &text(&root)];
    process::run("env", &[&words[..], &features].concat())?;
    fs::remove_dir_all(&build).with_context(|| build.display().to_string())?;
    Ok(place)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_that_of_the_release() {
        let targets = "stable-security main http://a.example/debian-security/\n\
                       stable contrib http://b.example/debian/\nstable main http://c.example/debian/\n";
        assert_eq!(place_of_release(targets), Some("http://c.example/debian/"));
        assert_eq!(place_of_release("x-updates main http://d.example/\nnonsense\n"), None);
    }

    #[test]
    fn podman_is_told_where_its_parts_are() {
        let expected = r#"[containers]
seccomp_profile = "/p/seccomp.json"

[engine]
conmon_path = ["/p/bin/conmon"]
helper_binaries_dir = ["/p/bin"]
runtime = "crun"

[engine.runtimes]
crun = ["/p/bin/crun"]
"#;
        assert_eq!(podman_places(Path::new("/p")), expected);
    }

    #[test]
    fn a_program_that_wants_a_newer_library_is_found() {
        assert!(!is_too_new(Path::new("/bin/sh")).expect("ldd"));
    }
}
