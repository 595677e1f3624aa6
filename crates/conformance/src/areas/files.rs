//! Files between a container and the outside: cp, export and diff.

use crate::check::{Check, contains, same, says};
use crate::fixture::BUSYBOX;
use crate::http::{Request, Response};
use crate::scope::{Scope, percent_encode};
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result};
use base64_text::decode;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;

const AREA: &str = "files";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "cp puts a file into a running container and takes it out again", round_trip),
        Check::new(AREA, "cp works on a container that never ran, its volumes included", never_ran),
        Check::new(AREA, "cp takes a directory, and its contents with /.", directories),
        Check::new(AREA, "cp follows a link in a container only when it is told to", links),
        Check::new(AREA, "cp - writes and reads archives", standard_streams),
        Check::new(AREA, "the facts of a path come as a header", facts),
        Check::new(AREA, "what is missing is 404 with its path", missing),
        Check::new(AREA, "an archive without a path is refused", no_path),
        Check::new(AREA, "a read-only root and a read-only volume are refused", read_only),
        Check::new(AREA, "a directory is not replaced by a file when that was asked for", kinds),
        Check::new(AREA, "copyUIDGID gives files to the container's user", owner),
        Check::new(AREA, "compressed archives are unpacked", compressed),
        Check::new(AREA, "an archive is compressed for a client that asks for it", encodings),
        Check::new(AREA, "cp tells a missing container from a missing path", nobody),
        Check::new(AREA, "links in a container and in an archive lead nowhere outside", escapes),
        Check::new(AREA, "a container that moves its directories meanwhile gets nobody else's files", races),
        Check::new(AREA, "the engine's files are seen, kernel file systems are not", own_files),
        Check::new(AREA, "diff lists what was added, changed and deleted", diff),
        Check::new(AREA, "export gives the whole root, running or not", export),
        Check::new(AREA, "each tells an event", events),
    ]
}

/// base64 as the header has it; small enough to be written out.
mod base64_text {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub(super) fn decode(text: &str) -> Vec<u8> {
        let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
        for byte in text.bytes() {
            let Some(value) = ALPHABET.iter().position(|known| *known == byte) else { continue };
            bits = (bits << 6) | u32::try_from(value).unwrap_or(0);
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from((bits >> count) & 0xff).unwrap_or(0));
            }
        }
        bytes
    }
}

fn sleeper(scope: &Scope<'_>, flags: &[&str]) -> Result<String> {
    scope.start("files", flags, &["sleep", "300"])
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

fn archive(container: &str, path: &str) -> String {
    format!("/containers/{container}/archive?path={}", percent_encode(path))
}

fn put(scope: &Scope<'_>, container: &str, path: &str, more: &str, tar: Vec<u8>) -> Result<Response> {
    let path = archive(container, path) + more;
    Request::new("PUT", &path).body("application/x-tar", tar).send(&scope.engine.socket)
}

/// An archive of one file.
fn one_file(name: &str, content: &str) -> Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    writer.add(name, 0o644, &Kind::File(content.as_bytes()))?;
    Ok(writer.finish()?)
}

/// The names in an archive, as tar(1) reads them.
fn names(scope: &Scope<'_>, bytes: &[u8]) -> Result<Vec<String>> {
    let file = scope.directory()?.join("listed.tar");
    fs::write(&file, bytes)?;
    let output = std::process::Command::new("tar").args(["-P", "-tf"]).arg(&file).output()?;
    anyhow::ensure!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn round_trip(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.to_owned();
    fs::write(here.join("in"), "content\n")?;
    let name = sleeper(scope, &[])?;
    scope.ok(&["cp", &text(&here.join("in")), &format!("{name}:/tmp/inside")])?;
    same("inside", scope.ok(&["exec", &name, "cat", "/tmp/inside"])?, "content")?;
    scope.ok(&["exec", &name, "sh", "-c", "echo more >> /tmp/inside"])?;
    scope.ok(&["cp", &format!("{name}:/tmp/inside"), &text(&here.join("out"))])?;
    same("outside", fs::read_to_string(here.join("out"))?, "content\nmore\n")
}

fn never_ran(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.to_owned();
    fs::write(here.join("in"), "kept\n")?;
    let (name, volume) = (scope.name("new"), scope.name("volume"));
    let place = format!("{volume}:/deep/data");
    scope.ok(&["create", "--name", &name, "-v", &place, BUSYBOX, "cat", "/deep/data/in", "/in"])?;
    for target in ["/deep/data/in", "/in"] {
        scope.ok(&["cp", &text(&here.join("in")), &format!("{name}:{target}")])?;
    }
    let other = scope.script(&["-v", &place], "cat /deep/data/in; test ! -e /in")?;
    same("another container of the volume", other.as_str(), "kept")?;
    same("itself", scope.ok(&["start", "-a", &name])?, "kept\nkept")?;
    scope.ok(&["rm", "-f", &name])?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn directories(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.to_owned();
    fs::create_dir_all(here.join("tree/below"))?;
    fs::write(here.join("tree/below/file"), "x")?;
    let name = sleeper(scope, &[])?;
    let tree = text(&here.join("tree"));
    scope.ok(&["cp", &tree, &format!("{name}:/tmp")])?;
    scope.ok(&["cp", &tree, &format!("{name}:/tmp/other")])?;
    scope.ok(&["cp", &format!("{tree}/."), &format!("{name}:/home")])?;
    let found = scope.ok(&["exec", &name, "find", "/tmp", "/home", "-type", "f"])?;
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    same("inside", found, ["/home/below/file", "/tmp/other/below/file", "/tmp/tree/below/file"])?;
    scope.ok(&["cp", &format!("{name}:/tmp/tree"), &text(&here.join("back"))])?;
    scope.ok(&["cp", &format!("{name}:/tmp/tree/."), &text(&here)])?;
    same("new name", fs::read_to_string(here.join("back/below/file"))?, "x")?;
    same("contents", fs::read_to_string(here.join("below/file"))?, "x")?;
    let refused = scope.docker(&["cp", &tree, &format!("{name}:/etc/passwd")])?;
    same("onto a file", refused.code, 1)?;
    contains("words", &refused.stderr, "cannot copy directory")
}

fn links(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.to_owned();
    let name = sleeper(scope, &[])?;
    scope.ok(&[
        "exec",
        &name,
        "sh",
        "-c",
        "echo x > /tmp/real; ln -s /tmp/real /tmp/link; ln -s /tmp /var/link",
    ])?;
    scope.ok(&["cp", &format!("{name}:/tmp/link"), &text(&here.join("link"))])?;
    same("a link", fs::read_link(here.join("link"))?, std::path::PathBuf::from("/tmp/real"))?;
    scope.ok(&["cp", "-L", &format!("{name}:/tmp/link"), &text(&here.join("followed"))])?;
    same("followed", fs::read_to_string(here.join("followed"))?, "x\n")?;
    fs::write(here.join("new"), "through\n")?;
    scope.ok(&["cp", &text(&here.join("new")), &format!("{name}:/var/link/")])?;
    scope.ok(&["cp", &text(&here.join("new")), &format!("{name}:/tmp/link")])?;
    same("inside", scope.ok(&["exec", &name, "cat", "/tmp/new", "/tmp/real"])?, "through\nthrough")
}

fn standard_streams(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    let target = format!("{name}:/tmp");
    scope.client().call_with_input(&["cp", "-", &target], &one_file("piped", "p")?)?.expect_code(0)?;
    same("inside", scope.ok(&["exec", &name, "cat", "/tmp/piped"])?, "p")?;
    let output = scope.docker(&["cp", &format!("{name}:/tmp/piped"), "-"])?.expect_code(0)?;
    same("outside", names(scope, output.stdout.as_bytes())?, ["piped"])
}

fn stat(scope: &Scope<'_>, container: &str, path: &str) -> Result<Value> {
    let answer = scope.api("HEAD", &archive(container, path))?.expect(200)?;
    let header = answer.header("X-Docker-Container-Path-Stat").context("no facts")?;
    Ok(serde_json::from_slice(&decode(header))?)
}

fn facts(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    scope.ok(&["exec", &name, "sh", "-c", "printf abc > /tmp/f; chmod 4751 /tmp/f; ln -s f /tmp/l; ln -s /tmp/l /tmp/m; touch -d @1000000000 /tmp/f"])?;
    let file = stat(scope, &name, "/tmp/f")?;
    same(
        "a file",
        file,
        json!({"name": "f", "size": 3, "mode": 0x0080_01e9, "mtime": "2001-09-09T01:46:40Z", "linkTarget": ""}),
    )?;
    let link = stat(scope, &name, "/tmp/m")?;
    same("a link", (&link["mode"], &link["linkTarget"]), (&json!(0x0800_01ff), &json!("/tmp/f")))?;
    for (path, shown) in
        [("/tmp", "tmp"), ("/tmp/", "tmp"), ("/tmp/.", "."), ("/", "/"), ("tmp/../tmp", "tmp")]
    {
        let found = stat(scope, &name, path)?;
        same(
            path,
            (&found["name"], found["mode"].as_u64().map(|mode| mode >> 31)),
            (&json!(shown), Some(1)),
        )?;
    }
    let get = scope.api("GET", &archive(&name, "/tmp/f"))?.expect(200)?;
    same("type", get.header("Content-Type"), Some("application/x-tar"))?;
    same("facts with the archive", get.header("X-Docker-Container-Path-Stat").is_some(), true)?;
    same("entries", names(scope, &get.body)?, ["f"])
}

fn missing(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    scope.api("HEAD", &archive(&name, "/none"))?.expect(404)?;
    let words = format!("Could not find the file /none in container {name}");
    same("GET", scope.api("GET", &archive(&name, "/none"))?.expect(404)?.message(), words.clone())?;
    let answer = put(scope, &name, "/none", "", one_file("f", "")?)?.expect(404)?;
    same("PUT", answer.message(), words)?;
    scope.api("GET", &archive("no-such-container", "/"))?.expect(404)?;
    let answer = put(scope, &name, "/etc/passwd", "", one_file("f", "")?)?.expect(400)?;
    says("a file", &answer.message(), "extraction point is not a directory")
}

fn no_path(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    for method in ["GET", "PUT"] {
        let answer = scope.api(method, &format!("/containers/{name}/archive"))?.expect(400)?;
        contains(method, &answer.message(), "path")?;
    }
    Ok(())
}

fn read_only(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.to_owned();
    let bind = format!("{}:/bound:ro", text(&here));
    let memory = format!("{}:/writable", text(&here));
    let name = sleeper(scope, &["--read-only", "-v", &bind, "-v", &memory])?;
    let words = |answer: Response| answer.message();
    let root = put(scope, &name, "/etc", "", one_file("f", "")?)?;
    same("root", (root.status, words(root)), (400, "container rootfs is marked read-only".to_owned()))?;
    let volume = put(scope, &name, "/bound", "", one_file("f", "")?)?;
    same("volume", (volume.status, words(volume)), (400, "mounted volume is marked read-only".to_owned()))?;
    put(scope, &name, "/writable", "", one_file("f", "yes")?)?.expect(200)?;
    same("written", fs::read_to_string(here.join("f"))?, "yes")
}

fn kinds(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    scope.ok(&["exec", &name, "mkdir", "/tmp/d"])?;
    let answer = put(scope, &name, "/tmp", "&noOverwriteDirNonDir=1", one_file("d", "x")?)?;
    same("refused", answer.status >= 400, true)?;
    says("words", &answer.message(), "cannot overwrite directory")?;
    scope.ok(&["exec", &name, "test", "-d", "/tmp/d"]).map(drop)
}

fn owner(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &["-u", "alice"])?;
    put(scope, &name, "/tmp", "", one_file("theirs", "")?)?.expect(200)?;
    same("the archive's", scope.ok(&["exec", &name, "stat", "-c", "%u:%g", "/tmp/theirs"])?, "0:0")?;
    let answer = put(scope, &name, "/tmp", "&copyUIDGID=1", one_file("mine", "")?)?;
    if answer.status != 200 {
        scope.since_new_engines("it looks the user up on the host")?;
    }
    answer.expect(200)?;
    let found = scope.ok(&["exec", &name, "stat", "-c", "%u:%g", "/tmp/mine"])?;
    if found != "1000:1000" {
        scope.since_new_engines("it looks the user up on the host")?;
    }
    same("the container's user", found, "1000:1000")
}

fn encodings(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    let path = format!("/containers/{name}/archive?path=/etc/passwd");
    let ask = |accepted: &str| {
        Request::new("GET", &path).header("Accept-Encoding", accepted).send(&scope.engine.socket)?.expect(200)
    };
    let plain = ask("identity")?;
    same("as it is", plain.header("content-encoding"), None)?;
    for (accepted, encoding) in [("gzip, deflate", "gzip"), ("gzip;q=0.1, deflate", "deflate")] {
        let answer = ask(accepted)?;
        same(accepted, answer.header("content-encoding"), Some(encoding))?;
        same("facts", answer.header("x-docker-container-path-stat").is_some(), true)?;
        if encoding == "gzip" {
            let file = scope.directory()?.join("a.gz");
            fs::write(&file, &answer.body)?;
            let unpacked = std::process::Command::new("gzip").arg("-dc").arg(&file).output()?;
            same("the whole archive", unpacked.stdout == plain.body && unpacked.status.success(), true)?;
        }
    }
    same("not wanted", ask("gzip;q=0, deflate;q=0")?.header("content-encoding"), None)
}

fn nobody(scope: &Scope<'_>) -> Result<()> {
    let file = scope.directory()?.join("f");
    fs::write(&file, "x")?;
    let file = file.display().to_string();
    let output = scope.docker(&["cp", &file, "no-such-container:/tmp/x"])?.expect_code(1)?;
    contains("container", &output.stderr, "No such container: no-such-container")?;
    let name = sleeper(scope, &[])?;
    let output = scope.docker(&["cp", &file, &format!("{name}:/no/such/directory/x")])?.expect_code(1)?;
    contains("path", &output.stderr, "/no/such/directory")?;
    scope.ok(&["cp", &file, &format!("{name}:/tmp/new")])?;
    same("a new name", scope.ok(&["exec", &name, "cat", "/tmp/new"])?, "x")
}

fn compressed(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.to_owned();
    fs::write(here.join("packed.tar"), one_file("packed", "p")?)?;
    let output = std::process::Command::new("gzip").arg("-kf").arg(here.join("packed.tar")).output()?;
    anyhow::ensure!(output.status.success(), "gzip: {}", String::from_utf8_lossy(&output.stderr));
    let name = sleeper(scope, &[])?;
    put(scope, &name, "/tmp", "", fs::read(here.join("packed.tar.gz"))?)?.expect(200)?;
    same("inside", scope.ok(&["exec", &name, "cat", "/tmp/packed"])?, "p")
}

fn escapes(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.to_owned();
    fs::write(here.join("secret"), "secret")?;
    let outside = text(&here);
    let name = sleeper(scope, &[])?;
    let script = format!(
        "ln -s {outside} /tmp/abs; ln -s ../../../../../..{outside} /tmp/up; mkdir -p /tmp/in; ln -s /proc/1/root{outside} /tmp/proc"
    );
    scope.ok(&["exec", &name, "sh", "-c", &script])?;
    for link in ["/tmp/abs", "/tmp/up", "/tmp/proc"] {
        scope.api("GET", &archive(&name, &format!("{link}/secret")))?.expect(404)?;
        let answer = put(scope, &name, link, "", one_file("planted", "")?)?;
        same(link, answer.status, 404)?;
    }
    // An archive whose own links lead out, and entries that go through them.
    let mut writer = Writer::new(Vec::new());
    writer.add("way", 0o777, &Kind::Symlink(&outside))?;
    writer.add("way/planted", 0o644, &Kind::File(b"x"))?;
    put(scope, &name, "/tmp/in", "", writer.finish()?)?;
    let mut writer = Writer::new(Vec::new());
    writer.add("hard", 0o644, &Kind::Hardlink(&format!("../../../../../..{outside}/secret")))?;
    put(scope, &name, "/tmp/in", "", writer.finish()?)?;
    let mut writer = Writer::new(Vec::new());
    writer.add(&format!("../../../../../../..{outside}/planted"), 0o644, &Kind::File(b"x"))?;
    put(scope, &name, "/tmp/in", "", writer.finish()?)?;
    same("planted outside", here.join("planted").exists(), false)?;
    same("the secret", fs::read_to_string(here.join("secret"))?, "secret")
}

fn races(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.to_owned();
    fs::write(here.join("secret"), "secret")?;
    let script = format!(
        "mkdir -p /race/real{0} /swap; while :; do mv /race /race.old; ln -s / /race; rm /race; mv /race.old /race; done",
        text(&here)
    );
    let name = scope.start("racer", &[], &["sh", "-c", &script])?;
    let path = format!("/race{}", text(&here));
    for _ in 0..150 {
        put(scope, &name, &path, "", one_file("planted", "x")?)?;
        let answer = scope.api("GET", &archive(&name, &format!("{path}/secret")))?;
        same("a file of the host", answer.status, 404)?;
    }
    same("planted outside", here.join("planted").exists(), false)
}

fn own_files(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &["--add-host", "known:10.9.8.7"])?;
    let hosts = scope.docker(&["cp", &format!("{name}:/etc/hosts"), "-"])?.expect_code(0)?;
    contains("hosts", &hosts.stdout, "10.9.8.7\tknown")?;
    scope.api("GET", &archive(&name, "/proc/version"))?.expect(404)?;
    scope.api("GET", &archive(&name, "/sys/kernel"))?.expect(404)?;
    Ok(())
}

fn diff(scope: &Scope<'_>) -> Result<()> {
    let script =
        "echo x > /made; mkdir /dir; echo y > /dir/f; rm /etc/group; chmod 600 /etc/passwd; exec sleep 300";
    let name = scope.start("differs", &[], &["sh", "-c", script])?;
    let expected = ["A /dir", "A /dir/f", "A /made", "C /etc", "C /etc/passwd", "D /etc/group"];
    scope.eventually("the changes", || {
        let found = scope.ok(&["diff", &name])?;
        let mut lines: Vec<&str> = found.lines().collect();
        lines.sort_unstable();
        Ok((lines == expected).then_some(()))
    })?;
    let untouched = sleeper(scope, &[])?;
    same("untouched", scope.ok(&["diff", &untouched])?, "")?;
    scope.api("GET", "/containers/no-such-container/changes")?.expect(404).map(drop)
}

fn export(scope: &Scope<'_>) -> Result<()> {
    let volume = format!("{}:/volume", scope.name("exported"));
    let script = "echo x > /made; echo y > /volume/hidden; rm /etc/group; exec sleep 300";
    let name = scope.start("exported", &["-v", &volume], &["sh", "-c", script])?;
    scope.eventually("the deletion", || {
        Ok((scope.docker(&["exec", &name, "test", "-e", "/etc/group"])?.code == 1).then_some(()))
    })?;
    for state in ["running", "ended"] {
        let answer = scope.api("GET", &format!("/containers/{name}/export"))?.expect(200)?;
        let listed = names(scope, &answer.body)?;
        let has = |path: &str| listed.iter().any(|name| name == path);
        let found = ["made", "etc/passwd", "bin/busybox", "volume/", "volume/hidden", "etc/group"].map(has);
        same(state, found, [true, true, true, true, false, false])?;
        if state == "running" {
            scope.ok(&["kill", &name])?;
            scope.ended(&name)?;
        }
    }
    let file = scope.directory()?.join("exported.tar");
    scope.ok(&["export", "-o", &text(&file), &name])?;
    same("a file", fs::metadata(&file)?.len() > 100_000, true)?;
    scope.ok(&["rm", "-v", &name])?;
    scope.ok(&["volume", "rm", &scope.name("exported")]).map(drop)
}

fn events(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.to_owned();
    symlink("nowhere", here.join("link"))?;
    let name = sleeper(scope, &["-l", "own=label"])?;
    scope.ok(&["cp", &text(&here.join("link")), &format!("{name}:/tmp/link")])?;
    scope.ok(&["cp", &format!("{name}:/tmp/link"), "-"])?;
    scope.api("GET", &format!("/containers/{name}/export"))?.expect(200)?;
    let filters = percent_encode(&json!({ "container": [name] }).to_string());
    let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() + 1;
    let answer =
        scope.api("GET", &format!("/events?since=1&until={until}&filters={filters}"))?.expect(200)?;
    let told: Vec<Value> = answer.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let actions: Vec<&str> = told
        .iter()
        .filter(|event| event["Actor"]["Attributes"]["own"] == "label")
        .filter_map(|event| event["Action"].as_str())
        .filter(|action| ["extract-to-dir", "archive-path", "export"].contains(action))
        .collect();
    same("events", actions, ["extract-to-dir", "archive-path", "export"])
}
