//! What only berth does with containers that exist: ports and mounts that come and go, users that show as others.

use super::ours::berth;
use crate::check::{Check, contains, same};
use crate::command_line::Output;
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::{Context, Result};
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::time::Duration;

const AREA: &str = "remodel";
const SERVER: &str = "echo ready; while :; do echo hello | nc -l -p 80; done";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "mounts come to a running container, stay over a restart, and go", mounts),
        Check::new(AREA, "a mount that cannot be is refused, and nothing has changed", refused_mounts),
        Check::new(AREA, "a mount on a link lands inside the container", link),
        Check::new(AREA, "the mounts of a container that does not run are changed too", at_rest),
        Check::new(AREA, "a volume of memory lives as long as a running container has it", shared_volume),
        Check::new(
            AREA,
            "ports are opened and closed while a container runs, and kept over a restart",
            ports,
        ),
        Check::new(AREA, "a port that is taken is refused, and nothing has changed", refused_ports),
        Check::new(
            AREA,
            "idmap shows the host's owner as the container's user, and the other way round",
            owner,
        ),
        Check::new(AREA, "idmap of a mount that comes to a running container", mapped_late),
        Check::new(AREA, "idmap with ranges shows what they say, and nobody else", ranges),
    ]
}

fn update(scope: &Scope<'_>, container: &str, flags: &[&str]) -> Result<Output> {
    let mut words = vec!["update"];
    words.extend(flags);
    words.push(container);
    berth(scope, &words)
}

fn exec(scope: &Scope<'_>, container: &str, script: &str) -> Result<String> {
    scope.ok(&["exec", container, "sh", "-c", script])
}

fn destinations(scope: &Scope<'_>, container: &str) -> Result<Vec<String>> {
    let inspect = scope.inspect(container)?;
    let mounts = inspect["Mounts"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<String> =
        mounts.iter().map(|mount| mount["Destination"].as_str().unwrap_or_default().to_owned()).collect();
    all.sort();
    Ok(all)
}

fn mounts(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.join("bound");
    fs::create_dir_all(&here)?;
    fs::write(here.join("f"), "bound\n")?;
    let container = scope.start("c", &[], &["sleep", "300"])?;
    let bind = format!("{}:/mnt/bound:ro", here.display());
    let volume = format!("{}:/mnt/volume", scope.name("v"));
    let image = format!("type=image,source={BUSYBOX},target=/mnt/image");
    let flags = [
        "--mount-add",
        bind.as_str(),
        "--mount-add",
        volume.as_str(),
        "--mount-add",
        image.as_str(),
        "--mount-add",
        "type=tmpfs,target=/mnt/memory,tmpfs-size=1m",
        "--mount-add",
        "/etc",
    ];
    update(scope, &container, &flags)?.expect_code(0)?;
    let script = "cat /mnt/bound/f; echo x > /mnt/bound/x || echo refused; echo v > /mnt/volume/f; cat /mnt/volume/f; \
                  ls /mnt/image/bin/sh; df -k /mnt/memory | tail -1 | tr -s ' ' | cut -d' ' -f2; grep -c root /etc/passwd";
    let expected = "bound\nrefused\nv\n/mnt/image/bin/sh\n1024\n1";
    same("while it runs", exec(scope, &container, script)?, expected)?;
    let all = ["/etc", "/mnt/bound", "/mnt/image", "/mnt/memory", "/mnt/volume"];
    same("inspect", destinations(scope, &container)?, all)?;
    scope.ok(&["restart", "-t", "0", &container])?;
    same("after a restart", exec(scope, &container, script)?, expected)?;
    let flags = ["--mount-rm", "/mnt/bound", "--mount-rm", "/mnt/memory", "--mount-rm", "/mnt/volume/"];
    update(scope, &container, &flags)?.expect_code(0)?;
    let script = "ls /mnt/bound /mnt/memory /mnt/volume; grep -c ' /mnt/' /proc/mounts";
    let words = exec(scope, &container, script)?;
    same("gone", words.lines().last(), Some("1"))?;
    same("nothing of them", words.contains('f'), false)?;
    same("inspect", destinations(scope, &container)?, ["/etc", "/mnt/image"])?;
    scope.ok(&["volume", "rm", &scope.name("v")])?;
    scope.ok(&["restart", "-t", "0", &container])?;
    same("still gone", exec(scope, &container, "grep -c ' /mnt/' /proc/mounts")?, "1")?;
    scope.ok(&["rm", "-fv", &container]).map(drop)
}

fn refused_mounts(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.display().to_string();
    let container = scope.start("c", &["--tmpfs", "/t", "--tmpfs", "/t/below"], &["sleep", "300"])?;
    let missing = format!("type=bind,source={here}/none,target=/x");
    let also = format!("{here}:/also");
    for (flags, words) in [
        (vec!["--mount-add", missing.as_str(), "--mount-add", &also], "bind source path does not exist"),
        (vec!["--mount-add", &also, "--mount-add", &also], "Duplicate mount point: /also"),
        (vec!["--mount-add", "type=tmpfs,target=/t"], "Duplicate mount point: /t"),
        (vec!["--mount-add", "type=tmpfs,target=/proc/sys"], "cannot be mounted on"),
        (vec!["--mount-add", "type=tmpfs,target=/"], "destination can't be '/'"),
        (vec!["--mount-rm", "/nothing"], "has no mount at /nothing"),
        (vec!["--mount-rm", "/t"], "remove it first"),
        (vec!["--mount-add", &also, "--mount-rm", "/nothing"], "has no mount at /nothing"),
        (vec!["--mount-add", "type=tmpfs,target=/etc/passwd"], "mount /etc/passwd"),
        (vec!["--mount-add", &also, "--mount-add", "type=tmpfs,target=/etc/passwd"], "mount /etc/passwd"),
    ] {
        let output = update(scope, &container, &flags)?;
        same(&format!("{flags:?}"), output.code, 1)?;
        contains("words", &output.stderr, words)?;
    }
    let script = "ls -d /also 2>/dev/null; grep -c -e ' /also' -e ' /x' -e passwd /proc/mounts";
    let output = scope.docker(&["exec", &container, "sh", "-c", script])?;
    same("nothing is mounted", output.stdout.lines().last().unwrap_or_default(), "0")?;
    same("inspect", destinations(scope, &container)?, Vec::<String>::new())
}

fn link(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.join("bound");
    fs::create_dir_all(&here)?;
    fs::write(here.join("f"), "bound\n")?;
    let outside = scope.directory()?.join("outside");
    fs::create_dir_all(&outside)?;
    let script = format!("mkdir -p /real; ln -s /real /door; ln -s {} /out; sleep 300", outside.display());
    let container = scope.start("c", &[], &["sh", "-c", &script])?;
    scope.eventually("the links", || {
        Ok((scope.docker(&["exec", &container, "readlink", "/out"])?.code == 0).then_some(()))
    })?;
    let add = format!("{}:/door", here.display());
    update(scope, &container, &["--mount-add", &add])?.expect_code(0)?;
    same("followed inside", exec(scope, &container, "cat /real/f")?, "bound")?;
    let add = format!("{}:/out/deep", here.display());
    let output = update(scope, &container, &["--mount-add", &add])?;
    same("made inside, or refused", output.code == 0 || output.stderr.contains("mount /out/deep"), true)?;
    same("nothing outside", fs::read_dir(&outside)?.count(), 0)
}

fn at_rest(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.join("bound");
    fs::create_dir_all(&here)?;
    fs::write(here.join("f"), "bound\n")?;
    let container = scope.name("c");
    scope.ok(&[
        "create",
        "--name",
        &container,
        "--tmpfs",
        "/t",
        BUSYBOX,
        "sh",
        "-c",
        "cat /b/f; grep -c ' /t ' /proc/mounts",
    ])?;
    let add = format!("type=bind,source={},target=/b,readonly", here.display());
    update(scope, &container, &["--mount-add", &add, "--mount-rm", "/t"])?.expect_code(0)?;
    let output = scope.docker(&["start", "-a", &container])?;
    same("what it sees", output.stdout.trim_end(), "bound\n0")
}

fn shared_volume(scope: &Scope<'_>) -> Result<()> {
    let volume = scope.name("m");
    scope.ok(&["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", &volume])?;
    let one = scope.start("one", &["-v", &format!("{volume}:/v")], &["sleep", "300"])?;
    let two = scope.start("two", &[], &["sleep", "300"])?;
    exec(scope, &one, "echo shared > /v/f")?;
    update(scope, &two, &["--mount-add", &format!("{volume}:/w")])?.expect_code(0)?;
    same("the other sees it", exec(scope, &two, "cat /w/f")?, "shared")?;
    scope.ok(&["rm", "-f", &one])?;
    same("it stays", exec(scope, &two, "cat /w/f")?, "shared")?;
    let used = scope.docker(&["volume", "rm", &volume])?;
    contains("in use", &used.stderr, "volume is in use")?;
    update(scope, &two, &["--mount-rm", "/w"])?.expect_code(0)?;
    same("its content is gone", scope.script(&["-v", &format!("{volume}:/v")], "ls /v")?, "")?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn host_port(scope: &Scope<'_>, container: &str) -> Result<u16> {
    let inspect = scope.inspect(container)?;
    let port = inspect["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"].as_str().context("a port")?;
    Ok(port.parse()?)
}

/// What the server says through a port of the host; `None` when nobody is there.
fn fetch(port: u16) -> Option<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.trim_end().to_owned())
}

/// The server listens again a moment after each connection.
fn is_open(scope: &Scope<'_>, port: u16) -> Result<()> {
    scope.eventually(&format!("an answer from port {port}"), || {
        Ok(fetch(port).is_some_and(|text| text == "hello").then_some(()))
    })
}

fn ports(scope: &Scope<'_>) -> Result<()> {
    let container = scope.start("c", &[], &["sh", "-c", SERVER])?;
    scope.logged(&container, "ready")?;
    update(scope, &container, &["--publish-add", "80"])?.expect_code(0)?;
    let first = host_port(scope, &container)?;
    is_open(scope, first)?;
    let second = format!("127.0.0.1:{}:80", free_port()?);
    update(scope, &container, &["--publish-add", &second])?.expect_code(0)?;
    let number: u16 = second.split(':').nth(1).unwrap_or_default().parse()?;
    is_open(scope, number)?;
    contains("listed", &scope.ok(&["port", &container])?, &format!("127.0.0.1:{number}"))?;
    update(scope, &container, &["--publish-rm", &format!("{first}:80")])?.expect_code(0)?;
    same("closed", fetch(first), None)?;
    is_open(scope, number)?;
    scope.ok(&["restart", "-t", "0", &container])?;
    is_open(scope, number)?;
    same("the first stays closed", fetch(first), None)?;
    update(scope, &container, &["--publish-rm", "80"])?.expect_code(0)?;
    same("all closed", fetch(number), None)?;
    let bindings = scope.inspect(&container)?["HostConfig"]["PortBindings"].clone();
    same("inspect", bindings.as_object().is_none_or(|ports| ports.is_empty()), true)
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn refused_ports(scope: &Scope<'_>) -> Result<()> {
    let taken = free_port()?.to_string();
    let holder = scope.start("holder", &["-p", &format!("{taken}:80")], &["sleep", "300"])?;
    let container = scope.start("c", &[], &["sleep", "300"])?;
    let here = format!("{}:/b", scope.directory()?.display());
    let flags = ["--mount-add", here.as_str(), "--publish-add", &format!("{taken}:80")];
    let output = update(scope, &container, &flags)?;
    same("taken", output.code, 1)?;
    contains("words", &output.stderr, "port is already allocated")?;
    same("no mount either", destinations(scope, &container)?, Vec::<String>::new())?;
    let mounted = scope.docker(&["exec", &container, "grep", "-c", " /b ", "/proc/mounts"])?;
    same("nor inside", mounted.stdout.trim_end(), "0")?;
    let output = update(scope, &container, &["--publish-rm", "99"])?;
    contains("not published", &output.stderr, "does not publish 99/tcp")?;
    let host = scope.start("host", &["--network", "host"], &["sleep", "300"])?;
    let output = update(scope, &host, &["--publish-add", "80"])?;
    contains("the host's network", &output.stderr, "publishes no ports")?;
    scope.ok(&["rm", "-f", &holder]).map(drop)
}

fn owner(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.join("owned");
    fs::create_dir_all(&here)?;
    fs::write(here.join("f"), "x")?;
    fs::write(here.join("root"), "x")?;
    for name in ["", "f"] {
        chown(here.join(name), Some(4321), Some(8765))?;
    }
    let script = "stat -c '%u:%g' /m /m/f /m/root; echo y > /m/made; stat -c '%u:%g' /m/made";
    for (mode, user) in [("idmap", "1000:1001"), ("U", "1000:1001"), ("idmap", "0:0")] {
        let mount = format!("{}:/m:{mode}", here.display());
        let words = scope.script(&["-v", &mount, "-u", user], script)?;
        let root = if user == "0:0" { "4321:8765" } else { "0:0" };
        same(mode, words, format!("{user}\n{user}\n{root}\n{user}"))?;
        let made = fs::metadata(here.join("made"))?;
        same("on the host", (made.uid(), made.gid()), (4321, 8765))?;
        fs::remove_file(here.join("made"))?;
    }
    let volume = format!("{}:/m:idmap", scope.name("v"));
    let words = scope.script(&["-v", &volume, "-u", "1000"], "echo y > /m/f; stat -c '%u' /m /m/f")?;
    same("a volume", words, "1000\n1000")?;
    scope.ok(&["volume", "rm", &scope.name("v")]).map(drop)
}

fn mapped_late(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.join("owned");
    fs::create_dir_all(&here)?;
    fs::write(here.join("f"), "x")?;
    for name in ["", "f"] {
        chown(here.join(name), Some(4321), Some(8765))?;
    }
    let container = scope.start("c", &["-u", "1000:1001"], &["sleep", "300"])?;
    let owner = format!("{}:/owner:idmap", here.display());
    let ranges =
        format!("type=bind,source={},target=/ranges,idmap=uids=4321-7-1;gids=8765-8-1", here.display());
    let volume = format!("{}:/volume:idmap", scope.name("v"));
    let flags = ["--mount-add", &owner, "--mount-add", &ranges, "--mount-add", &volume];
    update(scope, &container, &flags)?.expect_code(0)?;
    let script =
        "stat -c '%u:%g' /owner/f /ranges/f; echo y > /owner/made; echo z > /volume/z; stat -c %u /volume/z";
    let expected = "1000:1001\n7:8\n1000";
    same("while it runs", exec(scope, &container, script)?, expected)?;
    let made = fs::metadata(here.join("made"))?;
    same("on the host", (made.uid(), made.gid()), (4321, 8765))?;
    scope.ok(&["restart", "-t", "0", &container])?;
    same("after a restart", exec(scope, &container, script)?, expected)?;
    let memory = "type=tmpfs,target=/memory,idmap";
    same("of memory", update(scope, &container, &["--mount-add", memory])?.code == 0, false)?;
    update(scope, &container, &["--mount-rm", "/owner", "--mount-rm", "/volume"])?.expect_code(0)?;
    scope.ok(&["rm", "-f", &container])?;
    scope.ok(&["volume", "rm", &scope.name("v")]).map(drop)
}

fn ranges(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.join("owned");
    fs::create_dir_all(&here)?;
    chown(&here, Some(4321), Some(4321))?;
    fs::write(here.join("other"), "x")?;
    let mount = format!(
        "type=bind,source={},target=/m,idmap=uids=4321-0-1#5000-100-10;gids=4321-7-1",
        here.display()
    );
    let name = scope.name("run");
    let script = "stat -c '%u:%g' /m /m/other; echo y > /m/made && stat -c '%u:%g' /m/made";
    let words = berth(
        scope,
        &["run", "--rm", "--name", &name, "--mount", &mount, "-u", "0:7", BUSYBOX, "sh", "-c", script],
    )?;
    same("inside", words.expect_code(0)?.stdout.trim_end(), "0:7\n65534:65534\n0:7")?;
    let made = fs::metadata(here.join("made"))?;
    same("on the host", (made.uid(), made.gid()), (4321, 4321))?;
    for (mode, words) in [("idmap=uids=1-2", "invalid idmap range"), ("idmap,U", "invalid mode")] {
        let output = scope.run(&["-v", &format!("{}:/m:{mode}", here.display())], &["true"])?;
        contains(mode, &output.stderr, words)?;
    }
    Ok(())
}
