//! Mounts in their details: who sees what is mounted later, what is read-only, who made the source, and who swaps it.

use crate::check::{Check, contains, same};
use crate::fixture::BUSYBOX;
use crate::hosts::call;
use crate::scope::Scope;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const AREA: &str = "mounts";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "rprivate, rslave and rshared say who sees what is mounted later", propagation),
        Check::new(AREA, "readonly is recursive, unless somebody says that it is not", recursive),
        Check::new(AREA, "CreateMountpoint makes the source of a bind, and nothing else does", created),
        Check::new(AREA, "a new volume gets what the image has there, with nocopy nothing", copied_up),
        Check::new(AREA, "--tmpfs and type=tmpfs have the size, mode and flags that were asked for", memory),
        Check::new(AREA, "a part of a volume that is swapped for a link leads nowhere else", swapped),
    ]
}

/// A directory of the host that is a mount with peers, and is unmounted in the end.
struct Shared(String);

impl Shared {
    fn new(scope: &Scope<'_>) -> Result<Self> {
        let directory = scope.directory()?.join("shared");
        fs::create_dir_all(directory.join("later"))?;
        fs::create_dir_all(directory.join("inner"))?;
        let path = directory.display().to_string();
        call("mount", &["--bind", &path, &path])?;
        let shared = Self(path);
        call("mount", &["--make-private", &shared.0])?;
        call("mount", &["--make-shared", &shared.0])?;
        Ok(shared)
    }

    fn mount_memory(&self, at: &str) -> Result<()> {
        let target = format!("{}/{at}", self.0);
        call("mount", &["-t", "tmpfs", "tmpfs", &target])?;
        fs::write(Path::new(&target).join("seen"), "").context(target)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(call("umount", &["--recursive", "--lazy", &self.0]));
    }
}

fn inside(scope: &Scope<'_>, container: &str, script: &str) -> Result<String> {
    Ok(scope.ok(&["exec", container, "sh", "-c", script])?.trim_end().to_owned())
}

fn propagation(scope: &Scope<'_>) -> Result<()> {
    let shared = Shared::new(scope)?;
    let start = |word: &str, flags: &[&str]| -> Result<String> {
        let bind = format!("type=bind,source={},target=/m,bind-propagation={word}", shared.0);
        scope.start(word, &[&["--mount", &bind], flags].concat(), &["sleep", "300"])
    };
    let (private, slave) = (start("rprivate", &[])?, start("rslave", &[])?);
    let peer = start("rshared", &["--privileged"])?;
    shared.mount_memory("later")?;
    for (container, seen) in [(&private, ""), (&slave, "seen"), (&peer, "seen")] {
        same(container, inside(scope, container, "ls /m/later")?.as_str(), seen)?;
    }
    inside(scope, &peer, "mount -t tmpfs tmpfs /m/inner && touch /m/inner/back")?;
    ensure!(Path::new(&shared.0).join("inner/back").exists(), "a mount of a container with rshared");
    same("of another container", inside(scope, &slave, "ls /m/inner")?.as_str(), "back")?;
    same("of one that is private", inside(scope, &private, "ls /m/inner")?.as_str(), "")?;
    inside(scope, &peer, "umount /m/inner")?;
    same("unmounted", Path::new(&shared.0).join("inner/back").exists(), false)?;
    scope.ok(&["rm", "-f", &private, &slave, &peer]).map(drop)
}

fn recursive(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("readonly of a bind is not recursive")?;
    let shared = Shared::new(scope)?;
    shared.mount_memory("later")?;
    let try_both = "touch /m/x 2>/dev/null && echo w || echo r; touch /m/later/x 2>/dev/null && echo w || echo r; ls /m/later";
    for (words, expected) in [
        ("readonly", "r\nr\nseen"),
        ("readonly,bind-recursive=readonly,bind-propagation=rprivate", "r\nr\nseen"),
        ("readonly,bind-recursive=writable", "r\nw\nseen\nx"),
        ("bind-recursive=disabled", "w\nw\nx"),
    ] {
        let bind = format!("type=bind,source={},target=/m,{words}", shared.0);
        same(words, scope.script(&["--mount", &bind], try_both)?.as_str(), expected)?;
    }
    Ok(())
}

fn created(scope: &Scope<'_>) -> Result<()> {
    let source = scope.directory()?.join("made/by/the/engine").display().to_string();
    let create = |word: &str, options: Value| {
        let mount = json!({"Type": "bind", "Source": source, "Target": "/m", "BindOptions": options});
        let body = json!({"Image": BUSYBOX, "Cmd": ["touch", "/m/f"], "HostConfig": {"Mounts": [mount]}});
        scope.api_json("POST", &format!("/containers/create?name={}", scope.name(word)), &body)
    };
    let refused = create("no", json!({}))?.expect(400)?;
    contains("without", &refused.message(), "bind source path does not exist")?;
    ensure!(!Path::new(&source).exists(), "a source that was refused was made");
    create("yes", json!({"CreateMountpoint": true}))?.expect(201)?;
    scope.ok(&["start", "-a", &scope.name("yes")])?;
    same("made and used", Path::new(&source).join("f").exists(), true)
}

fn copied_up(scope: &Scope<'_>) -> Result<()> {
    let (full, empty) = (scope.name("full"), scope.name("empty"));
    let list = "ls /etc/passwd 2>/dev/null; ls -A /etc | grep -c not-a-program; stat -c %a /etc";
    for (mount, expected) in [
        (format!("type=volume,source={full},target=/etc"), "/etc/passwd\n1\n755"),
        (format!("type=volume,source={empty},target=/etc,volume-nocopy"), "0\n755"),
        // What is in a volume already stays as it is.
        (format!("type=volume,source={full},target=/bin/../etc"), "/etc/passwd\n1\n755"),
    ] {
        same(&mount, scope.script(&["--mount", &mount], list)?.as_str(), expected)?;
    }
    scope.script(&["-v", &format!("{full}:/v")], "rm /v/passwd && echo mine > /v/own")?;
    let again = scope
        .script(&["-v", &format!("{full}:/etc")], "cat /etc/own; ls /etc/passwd 2>/dev/null || echo none")?;
    same("a volume that has something", again.as_str(), "mine\nnone")?;
    scope.ok(&["volume", "rm", &full, &empty]).map(drop)
}

fn memory(scope: &Scope<'_>) -> Result<()> {
    let look = "grep ' /t ' /proc/mounts; stat -c 'mode %a owner %u' /t; df -k /t | tail -1";
    for (flags, parts) in [
        (vec!["--tmpfs", "/t"], vec!["rw,nosuid,nodev,noexec", "mode 1777 owner 0"]),
        (
            vec!["--tmpfs", "/t:size=1m,mode=750,uid=7,exec"],
            vec!["size=1024k", "mode 750 owner 7", "rw,nosuid,nodev,relatime"],
        ),
        (vec!["--tmpfs", "/t:ro"], vec!["ro,nosuid,nodev,noexec"]),
        (
            vec!["--mount", "type=tmpfs,target=/t,tmpfs-size=2097152,tmpfs-mode=700"],
            vec!["size=2048k", "mode 700 owner 0"],
        ),
    ] {
        let seen = scope.script(&flags, look)?;
        for part in parts {
            contains(flags[1], &seen, part)?;
        }
    }
    let full =
        scope.script(&["--tmpfs", "/t:size=64k"], "head -c 200000 /dev/zero > /t/f 2>&1; stat -c %s /t/f")?;
    same("what fits", full.lines().last(), Some("65536"))
}

fn swapped(scope: &Scope<'_>) -> Result<()> {
    let directory = scope.directory()?.to_owned();
    let secret = directory.join("outside");
    fs::create_dir_all(&secret)?;
    fs::write(secret.join("secret"), "secret")?;
    let volume = scope.name("v");
    scope.ok(&["volume", "create", &volume])?;
    let shown = scope.api("GET", &format!("/volumes/{volume}"))?.expect(200)?.json()?;
    let root = Path::new(shown["Mountpoint"].as_str().unwrap_or_default()).to_owned();
    fs::create_dir_all(root.join("part"))?;
    fs::write(root.join("part/inside"), "inside")?;
    std::os::unix::fs::symlink(&secret, root.join("link"))?;
    let ends = AtomicBool::new(false);
    let (part, link, aside) = (root.join("part"), root.join("link"), root.join("aside"));
    let swap = || -> std::io::Result<()> {
        while !ends.load(Ordering::Relaxed) {
            for (one, other) in [(&part, &aside), (&link, &part), (&part, &link), (&aside, &part)] {
                fs::rename(one, other)?;
            }
        }
        Ok(())
    };
    let mount = format!("type=volume,source={volume},target=/m,volume-subpath=part");
    let outcome = std::thread::scope(|threads| -> Result<()> {
        let swapping = threads.spawn(swap);
        let starts = || -> Result<()> {
            for _ in 0..8 {
                let output = scope.run(&["--mount", &mount], &["ls", "/m"])?;
                ensure!(!output.stdout.contains("secret"), "a container sees what is outside of its volume");
                ensure!(output.code != 0 || output.stdout == "inside\n", "another part: {:?}", output.stdout);
            }
            Ok(())
        };
        let outcome = starts();
        ends.store(true, Ordering::Relaxed);
        swapping.join().map_err(|_| anyhow::anyhow!("the swap panicked"))??;
        outcome
    });
    outcome?;
    same("at rest", scope.script(&["--mount", &mount], "ls /m")?.as_str(), "inside")?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}
