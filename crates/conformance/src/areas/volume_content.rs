//! What only berth does with volumes: export, import, clone, snapshot, rename.

use super::ours::berth;
use crate::check::{Check, contains, same};
use crate::fixture::BUSYBOX;
use crate::hosts::{Hosts, call, printed};
use crate::http::Request;
use crate::scope::Scope;
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

const AREA: &str = "volume content";
/// Bytes of a file that is one hole but for its ends.
const LARGE: u64 = 64 << 20;

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "export and import keep owners, modes, links, attributes and holes", round_trip),
        Check::new(AREA, "clone copies a volume as it is, into one that did not exist", cloned),
        Check::new(AREA, "a clone shares its content where the file system can", shared),
        Check::new(
            AREA,
            "import replaces content only when told to, and not below a running container",
            replaced,
        ),
        Check::new(AREA, "an archive that leads out of the volume stays inside, or is refused", hostile),
        Check::new(AREA, "a file that becomes a link while its volume is exported leads nowhere", swapped),
        Check::new(AREA, "a broken archive leaves a volume as it was", broken),
        Check::new(AREA, "snapshot is one moment of a volume that is being written", snapshot),
        Check::new(AREA, "rename takes a volume to another name, unless a container names it", renamed),
    ]
}

fn mountpoint(scope: &Scope<'_>, volume: &str) -> Result<PathBuf> {
    let found = scope.api("GET", &format!("/volumes/{volume}"))?.expect(200)?.json()?;
    Ok(PathBuf::from(found["Mountpoint"].as_str().context("a mountpoint")?))
}

/// Fills a volume with one of everything.
fn fill(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("dir/below"))?;
    fs::write(root.join("dir/file"), "content\n")?;
    fs::set_permissions(root.join("dir/file"), fs::Permissions::from_mode(0o4751))?;
    chown(root.join("dir/file"), Some(1234), Some(99_999))?;
    fs::set_permissions(root.join("dir/file"), fs::Permissions::from_mode(0o4751))?;
    fs::hard_link(root.join("dir/file"), root.join("dir/below/second"))?;
    std::os::unix::fs::symlink("dir/file", root.join("link"))?;
    std::os::unix::fs::symlink("/etc/passwd", root.join("out"))?;
    let long = "n".repeat(200);
    fs::write(root.join(&long), "long\n")?;
    let sparse = fs::File::create(root.join("sparse"))?;
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"begin", 0)?;
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", LARGE - 3)?;
    let file = fs::File::open(root.join("dir/file"))?;
    linux::xattr::set(&file, b"user.colour", b"red").ok();
    chown(root, Some(77), Some(78))?;
    fs::set_permissions(root, fs::Permissions::from_mode(0o1770))?;
    Ok(())
}

/// What must be the same in a copy.
fn described(root: &Path) -> Result<String> {
    let mut text = String::new();
    for name in ["", "dir", "dir/below", "dir/file", "dir/below/second", "link", "out", "sparse"] {
        let stat = fs::symlink_metadata(root.join(name))?;
        text.push_str(&format!(
            "{name} {:o} {}:{} {} {} {}\n",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            if stat.is_dir() { 0 } else { stat.len() },
            if stat.is_dir() { 0 } else { stat.nlink() },
            if name == "dir/file" { stat.mtime() } else { 0 },
        ));
    }
    let file = fs::File::open(root.join("dir/file"))?;
    let colour = linux::xattr::get(&file, b"user.colour")?.unwrap_or_default();
    text.push_str(&format!("colour {}\n", String::from_utf8_lossy(&colour)));
    text.push_str(&format!("link {}\n", fs::read_link(root.join("out"))?.display()));
    text.push_str(&format!("long {}", fs::read_to_string(root.join("n".repeat(200)))?));
    let sparse = fs::read(root.join("sparse"))?;
    let (begin, end) = (&sparse[..5], &sparse[sparse.len() - 3..]);
    let zeros = sparse[5..sparse.len() - 3].iter().all(|byte| *byte == 0);
    text.push_str(&format!("sparse {begin:?} {end:?} {zeros}\n"));
    let allocated = fs::metadata(root.join("sparse"))?.blocks() * 512;
    text.push_str(&format!("holes {}\n", allocated < LARGE / 2));
    Ok(text)
}

fn round_trip(scope: &Scope<'_>) -> Result<()> {
    let (from, to) = (scope.name("from"), scope.name("to"));
    scope.ok(&["volume", "create", &from])?;
    fill(&mountpoint(scope, &from)?)?;
    let before = described(&mountpoint(scope, &from)?)?;
    let archive = scope.directory()?.join("archive.tar");
    let path = archive.display().to_string();
    berth(scope, &["volume", "export", "-o", &path, &from])?.expect_code(0)?;
    same("the holes are not in the archive", fs::metadata(&archive)?.len() < LARGE / 2, true)?;
    let list = std::process::Command::new("tar").arg("-tvf").arg(&archive).output()?;
    contains("tar reads it", &String::from_utf8_lossy(&list.stdout), "sparse")?;
    same("without a complaint", list.status.success(), true)?;
    let name = berth(scope, &["volume", "import", "--label", "made=here", &to, &path])?.expect_code(0)?;
    same("its name", name.stdout.trim_end(), to.as_str())?;
    same("the same", described(&mountpoint(scope, &to)?)?, before)?;
    let labels = scope.api("GET", &format!("/volumes/{to}"))?.json()?["Labels"].clone();
    same("labels", labels, serde_json::json!({ "made": "here" }))?;
    let words = scope.script(&["-v", &format!("{to}:/v")], "cat /v/dir/below/second")?;
    same("inside", words, "content")?;
    scope.ok(&["volume", "rm", &from, &to]).map(drop)
}

fn cloned(scope: &Scope<'_>) -> Result<()> {
    let (from, to) = (scope.name("from"), scope.name("to"));
    scope.ok(&["volume", "create", "--label", "kept=yes", &from])?;
    fill(&mountpoint(scope, &from)?)?;
    let before = described(&mountpoint(scope, &from)?)?;
    berth(scope, &["volume", "clone", &from, &to])?.expect_code(0)?;
    same("the same", described(&mountpoint(scope, &to)?)?, before)?;
    fs::write(mountpoint(scope, &from)?.join("dir/file"), "other\n")?;
    same("of its own", fs::read_to_string(mountpoint(scope, &to)?.join("dir/file"))?, "content\n")?;
    let again = berth(scope, &["volume", "clone", &from, &to])?;
    same("a second time", again.code, 1)?;
    contains("words", &again.stderr, "exists already")?;
    let missing = berth(scope, &["volume", "clone", &scope.name("none"), &scope.name("x")])?;
    contains("of nothing", &missing.stderr, "no such volume")?;
    scope.ok(&["volume", "rm", &from, &to]).map(drop)
}

/// A file system that shares content, in a file; unmounted with this value.
struct Disk(PathBuf);

impl Disk {
    fn mount(directory: &Path, place: &str) -> Result<Self> {
        let (file, place) = (directory.join("disk"), directory.join(place));
        fs::create_dir_all(&place)?;
        fs::File::create(&file)?.set_len(400 << 20)?;
        let (file, at) = (file.display().to_string(), place.display().to_string());
        call("mkfs.btrfs", &["-q", &file])?;
        call("mount", &["-o", "loop", &file, &at])?;
        Ok(Self(place))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(call("umount", &["--lazy", &self.0.display().to_string()]));
    }
}

fn shared(scope: &Scope<'_>) -> Result<()> {
    let directory = scope.directory()?.to_owned();
    let disk = Disk::mount(&directory, "data")?;
    let hosts = Hosts::new(scope, &[])?;
    let run = |volume: &str, script: &str| {
        let mount = format!("{volume}:/v");
        hosts.client.expect(&["run", "--rm", "-v", &mount, BUSYBOX, "sh", "-c", script])
    };
    let sum = |volume: &str| run(volume, "sha256sum < /v/big");
    run("one", "head -c 8000000 /dev/urandom > /v/big; ln /v/big /v/same; sync")?;
    let body = serde_json::json!({ "Name": "two" });
    let clone = Request::new("POST", "/berth/volumes/one/clone").json(&body);
    clone.send(&hosts.client.socket)?.expect(201)?;
    let content = sum("one")?;
    same("the copy's content", sum("two")?, content.as_str())?;
    let file = disk.0.join("volumes/two/_data/big").display().to_string();
    contains("extents of the copy", &printed("filefrag", &["-v", &file])?, "shared")?;
    run("two", "echo other > /v/big")?;
    same("the original", sum("one")?, content)?;
    hosts.close()
}

/// A tar of these entries, sent as the content of a volume; status and words.
fn import(scope: &Scope<'_>, volume: &str, query: &str, tar: Vec<u8>) -> Result<(u16, String)> {
    let path = format!("/berth/volumes/{volume}/import{query}");
    let answer = Request::new("POST", &path).body("application/x-tar", tar).send(&scope.engine.socket)?;
    Ok((answer.status, answer.message()))
}

fn tar(entries: &[(&str, Kind<'_>)]) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    for (name, kind) in entries {
        writer.add(name, 0o644, kind)?;
    }
    Ok(writer.finish()?)
}

fn replaced(scope: &Scope<'_>) -> Result<()> {
    let volume = scope.name("v");
    let one = || tar(&[("one", Kind::File(b"1\n"))]);
    let two = || tar(&[("two", Kind::File(b"2\n"))]);
    same("new", import(scope, &volume, "", one()?)?.0, 201)?;
    let (status, words) = import(scope, &volume, "", two()?)?;
    same("not empty", status, 409)?;
    contains("words", &words, "the volume is not empty")?;
    let mount = format!("{volume}:/v");
    let user = scope.start("user", &["-v", &mount], &["sleep", "300"])?;
    let (status, words) = import(scope, &volume, "?replace=1", two()?)?;
    same("used", status, 409)?;
    contains("words", &words, "is in use")?;
    same("as it was", scope.ok(&["exec", &user, "ls", "/v"])?, "one")?;
    scope.ok(&["kill", &user])?;
    scope.ended(&user)?;
    same("replaced", import(scope, &volume, "?replace=1", two()?)?.0, 201)?;
    scope.ok(&["start", &user])?;
    same("what it has now", scope.ok(&["exec", &user, "ls", "/v"])?, "two")?;
    scope.ok(&["rm", "-f", &user])?;
    scope.ok(&["volume", "rm", &volume])?;
    let (status, _) = import(scope, "..%2fup", "", one()?)?;
    same("a name that leads elsewhere", status, 400)
}

fn hostile(scope: &Scope<'_>) -> Result<()> {
    let volume = scope.name("h");
    let outside = scope.directory()?.join("outside");
    fs::create_dir_all(&outside)?;
    let path = outside.display().to_string();
    let through = tar(&[("door", Kind::Symlink(&path)), ("door/evil", Kind::File(b"x"))])?;
    import(scope, &volume, "", through)?;
    same("through a link", fs::read_dir(&outside)?.count(), 0)?;
    scope.docker(&["volume", "rm", "-f", &volume])?;
    let up = "../".repeat(12);
    let climbing = format!("{up}{}/evil", &path[1..]);
    for (what, entries) in [
        ("climbing", vec![(climbing.as_str(), Kind::File(b"x"))]),
        ("a hard link out", vec![("link", Kind::Hardlink("../../../../etc/passwd"))]),
        ("a hard link to nothing", vec![("link", Kind::Hardlink("etc/passwd"))]),
    ] {
        let (status, words) = import(scope, &volume, "", tar(&entries)?)?;
        same(&format!("{what}: {words}"), status, 400)?;
        same("nothing outside", fs::read_dir(&outside)?.count(), 0)?;
        same("no volume", scope.api("GET", &format!("/volumes/{volume}"))?.status, 404)?;
    }
    let inside = scope.name("inside");
    let absolute = format!("{path}/evil");
    same("absolute", import(scope, &inside, "", tar(&[(&absolute, Kind::File(b"x"))])?)?.0, 201)?;
    same("is inside", mountpoint(scope, &inside)?.join(&absolute[1..]).exists(), true)?;
    same("nothing outside", fs::read_dir(&outside)?.count(), 0)?;
    scope.ok(&["volume", "rm", &inside]).map(drop)
}

/// How often the volume is exported meanwhile.
const EXPORTS: usize = 40;

fn swapped(scope: &Scope<'_>) -> Result<()> {
    let volume = scope.name("v");
    let outside = scope.directory()?.join("outside");
    fs::create_dir_all(&outside)?;
    fs::write(outside.join("file"), "not for containers\n")?;
    let outside = outside.display();
    let script = format!(
        "mkdir /v/dir; echo inside > /v/dir/file; ln -s {outside} /v/out; ln -s {outside}/file /v/link; echo inside > /v/plain
         echo ready
         while :; do
             mv -T /v/dir /v/was && mv -T /v/out /v/dir && mv -T /v/dir /v/out && mv -T /v/was /v/dir
             mv /v/plain /v/kept && mv /v/link /v/plain && mv /v/plain /v/link && mv /v/kept /v/plain
         done"
    );
    let container = scope.start("c", &["-v", &format!("{volume}:/v")], &["sh", "-c", &script])?;
    scope.logged(&container, "ready")?;
    for _ in 0..EXPORTS {
        let archive = scope.api("GET", &format!("/berth/volumes/{volume}/export"))?;
        // One that is refused because a name has gone meanwhile tells nothing either.
        let text = String::from_utf8_lossy(&archive.body);
        same("what is outside is exported", text.contains("not for containers"), false)?;
    }
    scope.ok(&["rm", "-fv", &container])?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn broken(scope: &Scope<'_>) -> Result<()> {
    let volume = scope.name("b");
    same("first", import(scope, &volume, "", tar(&[("kept", Kind::File(b"k"))])?)?.0, 201)?;
    let mut cut = tar(&[("a", Kind::File(b"a")), ("b", Kind::File(&[7; 5000]))])?;
    cut.truncate(3000);
    same("cut", import(scope, &volume, "?replace=1", cut)?.0 >= 400, true)?;
    same("garbage", import(scope, &volume, "?replace=1", vec![0xa5; 4096])?.0 >= 400, true)?;
    let names: Vec<_> = fs::read_dir(mountpoint(scope, &volume)?)?.filter_map(|entry| entry.ok()).collect();
    same("as it was", names.len() == 1 && names[0].file_name() == "kept", true)?;
    scope.ok(&["volume", "rm", &volume])?;
    let new = scope.name("new");
    same("a new one", import(scope, &new, "", vec![0xa5; 4096])?.0 >= 400, true)?;
    same("is not there", scope.api("GET", &format!("/volumes/{new}"))?.status, 404)
}

fn snapshot(scope: &Scope<'_>) -> Result<()> {
    let (volume, copy) = (scope.name("live"), scope.name("copy"));
    // Two files that differ by one at most, at any moment; many others between them take time to copy.
    let script = "cd /v; for n in $(seq 300); do echo $n > m$n; done; echo ready; i=0; \
                  while :; do i=$((i+1)); echo $i > a; echo $i > z; done";
    let writer = scope.start("writer", &["-v", &format!("{volume}:/v")], &["sh", "-c", script])?;
    scope.logged(&writer, "ready")?;
    let name = berth(scope, &["volume", "snapshot", &volume, &copy])?.expect_code(0)?;
    same("its name", name.stdout.trim_end(), copy.as_str())?;
    same("runs on", scope.inspect(&writer)?["State"]["Status"].clone(), "running")?;
    let root = mountpoint(scope, &copy)?;
    let number =
        |name: &str| -> Result<i64> { Ok(fs::read_to_string(root.join(name))?.trim().parse().unwrap_or(-1)) };
    let (a, z) = (number("a")?, number("z")?);
    // A file may be caught between being emptied and being written.
    same(&format!("one moment: {a} {z}"), a == -1 || z == -1 || a - z == 0 || a - z == 1, true)?;
    let labels = scope.api("GET", &format!("/volumes/{copy}"))?.json()?["Labels"].clone();
    same("label", &labels["berth.snapshot.of"], volume.as_str())?;
    let unnamed = berth(scope, &["volume", "snapshot", &volume])?.expect_code(0)?;
    same("named after it", unnamed.stdout.starts_with(&format!("{volume}-2")), true)?;
    scope.ok(&["rm", "-f", &writer])?;
    scope.ok(&["volume", "rm", &volume, &copy, unnamed.stdout.trim_end()]).map(drop)
}

fn renamed(scope: &Scope<'_>) -> Result<()> {
    let (old, new) = (scope.name("old"), scope.name("new"));
    let user = scope.start("user", &["-v", &format!("{old}:/v")], &["sh", "-c", "echo kept > /v/f"])?;
    scope.ended(&user)?;
    let used = berth(scope, &["volume", "rename", &old, &new])?;
    same("used", used.code, 1)?;
    contains("words", &used.stderr, "is in use")?;
    scope.ok(&["rm", &user])?;
    berth(scope, &["volume", "rename", &old, &new])?.expect_code(0)?;
    same("the old name", scope.api("GET", &format!("/volumes/{old}"))?.status, 404)?;
    same("content", scope.script(&["-v", &format!("{new}:/v")], "cat /v/f")?, "kept")?;
    same("place", mountpoint(scope, &new)?.ends_with(format!("{new}/_data")), true)?;
    scope.ok(&["volume", "create", &old])?;
    let taken = berth(scope, &["volume", "rename", &old, &new])?;
    contains("taken", &taken.stderr, "exists already")?;
    let bad = berth(scope, &["volume", "rename", &old, "../up"])?;
    same("a name that leads elsewhere", bad.code, 1)?;
    scope.ok(&["volume", "rm", &old, &new]).map(drop)
}
