//! Clients that leave in the middle: what they asked for is done as a whole or not at all, wherever they leave; and whoever waits
//! for something that hangs can leave as well.

use super::hangs::{StoppedShim, all_answer};
use crate::check::{Check, same, skip};
use crate::fixture::BUSYBOX;
use crate::http::Request;
use crate::hung_mount::HungMount;
use crate::scope::{Scope, eventually};
use crate::tar::{Kind, Writer};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

const AREA: &str = "leaving";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(
            AREA,
            "commit, rename, update, tag: all of it or nothing, wherever the client leaves",
            records,
        ),
        Check::new(
            AREA,
            "networks: connected on both sides or on none, wherever the client leaves",
            networks,
        ),
        Check::new(AREA, "exec start: the program runs or does not, wherever the client leaves", exec),
        Check::new(AREA, "archives: whole files or none, wherever the client leaves", archives),
        Check::new(AREA, "prunes: whole containers are gone, wherever the client leaves", prunes),
        Check::new(AREA, "a client can leave whatever waits for a paused container", paused),
        Check::new(AREA, "a client can leave whatever waits for a stopped shim", stopped).alone(),
        Check::new(AREA, "requests on files that hang take nothing along", hung_files).alone(),
    ]
}

/// Where a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    /// Within the head of its request.
    InHead,
    /// Before the body.
    BeforeBody,
    /// In the middle of the body.
    InBody,
    /// At once after the request, without a word.
    AfterRequest,
    /// After saying that it sends nothing more, still before the answer.
    AfterGoodbye,
    /// After the first byte of the answer.
    InAnswer,
}

const PLACES: &[Leaves] = &[
    Leaves::InHead,
    Leaves::BeforeBody,
    Leaves::InBody,
    Leaves::AfterRequest,
    Leaves::AfterGoodbye,
    Leaves::InAnswer,
];

/// A request, written by hand so that it can be cut.
struct Call {
    method: &'static str,
    path: String,
    media_type: &'static str,
    body: Vec<u8>,
}

impl Call {
    fn json(method: &'static str, path: String, body: &Value) -> Self {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        Self { method, path, media_type: "application/json", body }
    }

    fn tar(method: &'static str, path: String, body: Vec<u8>) -> Self {
        Self { method, path, media_type: "application/x-tar", body }
    }

    /// Sends as much as there is before the place, and leaves.
    fn cut(&self, socket: &Path, place: Leaves) -> Result<()> {
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: engine\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
            self.method,
            self.path,
            self.media_type,
            self.body.len()
        );
        let mut stream = UnixStream::connect(socket).context("connect")?;
        stream.set_read_timeout(Some(crate::http::PATIENCE))?;
        let head = head.as_bytes();
        match place {
            Leaves::InHead => return Ok(stream.write_all(&head[..head.len() - 3])?),
            Leaves::BeforeBody => return Ok(stream.write_all(head)?),
            Leaves::InBody => {
                stream.write_all(head)?;
                return Ok(stream.write_all(&self.body[..self.body.len() / 2])?);
            }
            Leaves::AfterRequest | Leaves::AfterGoodbye | Leaves::InAnswer => {
                stream.write_all(head)?;
                stream.write_all(&self.body)?;
            }
        }
        if place == Leaves::AfterGoodbye {
            stream.shutdown(Shutdown::Write)?;
        }
        if place == Leaves::InAnswer {
            stream.read_exact(&mut [0]).context("the first byte of the answer")?;
        }
        Ok(())
    }

    /// The whole request.
    fn send(&self, scope: &Scope<'_>) -> Result<u16> {
        let request = Request::new(self.method, &self.path).body(self.media_type, self.body.clone());
        Ok(request.send(&scope.engine.socket)?.status)
    }
}

/// Leaves at every place. `world` says whether the request has been done, and fails when it is neither; `back` undoes it.
/// Whether it was done by the one who left or not, it can be done afterwards.
fn everywhere(
    scope: &Scope<'_>,
    call: &Call,
    world: &dyn Fn() -> Result<bool>,
    back: &dyn Fn() -> Result<()>,
) -> Result<()> {
    for &place in PLACES {
        let what = || format!("{} {} {place:?}", call.method, call.path);
        same(&format!("{}: at first", what()), world().with_context(what)?, false)?;
        call.cut(&scope.engine.socket, place).with_context(what)?;
        let is_whole =
            !matches!(place, Leaves::InHead) && (call.body.is_empty() || place != Leaves::BeforeBody);
        if !is_whole {
            same(&format!("{}: nothing was asked for", what()), world().with_context(what)?, false)?;
        }
        // It may still be under way: then this one waits, or is refused in passing.
        eventually(&what(), || {
            world().with_context(what)?;
            call.send(scope)?;
            Ok(world().with_context(what)?.then_some(()))
        })?;
        back().with_context(what)?;
    }
    Ok(())
}

fn one_of(what: &str, found: &Value, before: &Value, after: &Value) -> Result<bool> {
    if found == before {
        return Ok(false);
    }
    same(what, found, after)?;
    Ok(true)
}

fn records(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("kept", &["-m", "64m", "--cpu-shares", "100"], &["sleep", "300"])?;
    let id = scope.inspect(&name)?["Id"].as_str().context("Id")?.to_owned();
    let image = scope.name("image");
    let has_image = || -> Result<bool> {
        let status = scope.api("GET", &format!("/images/{image}/json"))?.status;
        one_of("the image", &json!(status), &json!(404), &json!(200))
    };
    let remove_image = || scope.api("DELETE", &format!("/images/{image}?force=1"))?.expect(200).map(drop);
    let committed = || {
        let done = has_image()?;
        // A commit pauses, and whoever waits for it sees it go on.
        eventually("the container goes on", || {
            Ok((scope.inspect(&id)?["State"]["Status"] == "running").then_some(()))
        })?;
        Ok(done)
    };
    let call =
        Call::json("POST", format!("/commit?container={id}&repo={image}"), &json!({"Labels": {"a": "b"}}));
    everywhere(scope, &call, &committed, &remove_image)?;
    let tag = Call::json("POST", format!("/images/{BUSYBOX}/tag?repo={image}"), &Value::Null);
    everywhere(scope, &tag, &has_image, &remove_image)?;
    let other = scope.name("renamed");
    let renamed = || {
        one_of("Name", &scope.inspect(&id)?["Name"], &json!(format!("/{name}")), &json!(format!("/{other}")))
    };
    let call = Call::json("POST", format!("/containers/{id}/rename?name={other}"), &Value::Null);
    let back = || scope.api("POST", &format!("/containers/{id}/rename?name={name}"))?.expect(204).map(drop);
    everywhere(scope, &call, &renamed, &back)?;
    let limits = |memory: u64, shares: u64| json!({"Memory": memory << 20, "MemorySwap": memory << 20, "CpuShares": shares});
    let updated = || {
        let host = &scope.inspect(&id)?["HostConfig"];
        let found = json!({"Memory": host["Memory"], "CpuShares": host["CpuShares"]});
        let at = |memory: u64, shares: u64| json!({"Memory": memory << 20, "CpuShares": shares});
        one_of("the limits", &found, &at(64, 100), &at(96, 300))
    };
    let path = format!("/containers/{id}/update");
    let back = || scope.api_json("POST", &path, &limits(64, 100))?.expect(200).map(drop);
    everywhere(scope, &Call::json("POST", path.clone(), &limits(96, 300)), &updated, &back)
}

fn networks(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("kept", &[], &["sleep", "300"])?;
    let (id, net) = (scope.inspect(&name)?["Id"].as_str().context("Id")?.to_owned(), scope.name("net"));
    scope.ok(&["network", "create", &net])?;
    let connected = || {
        // One side is asked after the other: in between it may come or go.
        eventually("both sides agree", || {
            let inside = scope.inspect(&id)?["NetworkSettings"]["Networks"].get(&net).is_some();
            let network = scope.api("GET", &format!("/networks/{net}"))?.expect(200)?.json()?;
            let outside = network["Containers"].get(&id).is_some();
            let link = scope.ok(&["exec", &id, "ls", "/sys/class/net"])?.contains("eth1");
            Ok((inside == outside && inside == link).then_some(inside))
        })
    };
    let body = json!({ "Container": id });
    let connect = Call::json("POST", format!("/networks/{net}/connect"), &body);
    let disconnect = Call::json("POST", format!("/networks/{net}/disconnect"), &body);
    let back = |call: &Call| same("status", call.send(scope)?, 200);
    everywhere(scope, &connect, &connected, &|| back(&disconnect))?;
    back(&connect)?;
    everywhere(scope, &disconnect, &|| Ok(!connected()?), &|| back(&connect))
}

fn exec(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("kept", &["--tmpfs", "/tmp"], &["sleep", "300"])?;
    for &place in PLACES {
        let body = json!({"Cmd": ["sh", "-c", "echo began >>/tmp/log; echo ended >>/tmp/log"]});
        let made = scope.api_json("POST", &format!("/containers/{name}/exec"), &body)?.expect(201)?.json()?;
        let id = made["Id"].as_str().context("Id")?;
        let call = Call::json("POST", format!("/exec/{id}/start"), &json!({"Detach": true}));
        call.cut(&scope.engine.socket, place)?;
        // A second start is refused when the first one was taken: the program has run once in any case.
        let status = call.send(scope)?;
        same(&format!("{place:?}: status {status}"), matches!(status, 200 | 409), true)?;
        scope.eventually(&format!("{place:?}: the end of the program"), || {
            let found = scope.api("GET", &format!("/exec/{id}/json"))?.expect(200)?.json()?;
            Ok((found["Running"] == false && found["ExitCode"] == 0).then_some(()))
        })?;
        same(&format!("{place:?}: log"), scope.ok(&["exec", &name, "cat", "/tmp/log"])?, "began\nended")?;
        scope.ok(&["exec", &name, "rm", "/tmp/log"])?;
    }
    Ok(())
}

/// Bytes of each file in an archive that is cut.
const FILE: usize = 1 << 20;

fn two_files() -> Result<Vec<u8>> {
    let content = super::noise(FILE);
    let mut writer = Writer::new(Vec::new());
    writer.add("first", 0o644, &Kind::File(&content))?;
    writer.add("second", 0o644, &Kind::File(&content))?;
    Ok(writer.finish()?)
}

fn archives(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("kept", &[], &["sleep", "300"])?;
    let put = Call::tar("PUT", format!("/containers/{name}/archive?path=/root"), two_files()?);
    let unpacked = || {
        let mut whole = 0;
        for file in ["first", "second"] {
            // What is being written has a part of its size for a moment, and must not keep it.
            whole += scope.eventually(&format!("{file} is whole or not there"), || {
                let size = scope.docker(&["exec", &name, "stat", "-c", "%s", &format!("/root/{file}")])?;
                match (size.code, size.stdout.trim().parse::<usize>()) {
                    (0, Ok(FILE)) => Ok(Some(1)),
                    (0, Ok(_)) => Ok(None),
                    (0, Err(error)) => bail!("the size of {file}: {error}"),
                    _ => Ok(Some(0)),
                }
            })?;
        }
        Ok(whole == 2)
    };
    let clear = || scope.ok(&["exec", &name, "rm", "-f", "/root/first", "/root/second"]).map(drop);
    if scope.engine.program.is_some() {
        everywhere(scope, &put, &unpacked, &clear)?;
    }
    let image = scope.name("imported");
    let has_image = || {
        let status = scope.api("GET", &format!("/images/{image}/json"))?.status;
        one_of("the image", &json!(status), &json!(404), &json!(200))
    };
    let remove = || scope.api("DELETE", &format!("/images/{image}?force=1"))?.expect(200).map(drop);
    let import = Call::tar("POST", format!("/images/create?fromSrc=-&repo={image}"), two_files()?);
    everywhere(scope, &import, &has_image, &remove)?;
    // What only reads changes nothing.
    for path in [format!("/containers/{name}/export"), format!("/containers/{name}/archive?path=/bin")] {
        for &place in PLACES {
            Call::json("GET", path.clone(), &Value::Null).cut(&scope.engine.socket, place)?;
        }
    }
    same("exec", scope.ok(&["exec", &name, "echo", "inside"])?, "inside")
}

fn prunes(scope: &Scope<'_>) -> Result<()> {
    let label = scope.name("pruned");
    let filters = crate::scope::percent_encode(&format!("{{\"label\":[\"{label}\"]}}"));
    let list = format!("/containers/json?all=1&filters={filters}");
    for &place in PLACES {
        for number in 0..3 {
            let name = scope.name(&format!("old{number}"));
            scope.ok(&["create", "--name", &name, "--label", &label, BUSYBOX, "true"])?;
        }
        let call = Call::json("POST", format!("/containers/prune?filters={filters}"), &Value::Null);
        call.cut(&scope.engine.socket, place)?;
        scope.eventually(&format!("{place:?}: nothing is left"), || {
            // 409: the one that was left behind is still at it.
            same("status", matches!(call.send(scope)?, 200 | 409), true)?;
            let left = scope.api("GET", &list)?.expect(200)?.json()?;
            Ok(left.as_array().is_some_and(Vec::is_empty).then_some(()))
        })?;
    }
    Ok(())
}

/// Every call about one container that could wait for it.
fn calls(name: &str, exec: &str) -> Result<Vec<Call>> {
    let at = |rest: &str| format!("/containers/{name}/{rest}");
    let empty = |method, path| Call::json(method, path, &Value::Null);
    let mut calls = vec![
        Call::json("POST", at("update"), &json!({"CpuShares": 512})),
        Call::json("POST", at("exec"), &json!({"Cmd": ["true"]})),
        Call::json("POST", format!("/exec/{exec}/start"), &json!({"Detach": true})),
        Call::tar("PUT", at("archive?path=/root"), two_files()?),
        empty("HEAD", at("archive?path=/etc")),
    ];
    let posts = ["resize?h=10&w=20", "wait", "attach?stream=1&stdout=1", "kill?signal=CONT"];
    calls.extend(posts.map(|path| empty("POST", at(path))));
    let gets =
        ["logs?stdout=1&follow=1", "stats", "top", "changes", "export", "archive?path=/etc", "json?size=1"];
    calls.extend(gets.map(|path| empty("GET", at(path))));
    calls.push(empty("POST", format!("/commit?container={name}&pause=0")));
    Ok(calls)
}

/// Asks for everything, leaves, and finds the engine answering and the container as usable as before.
fn leave_all(scope: &Scope<'_>, name: &str, exec: &str) -> Result<()> {
    for call in calls(name, exec)? {
        call.cut(&scope.engine.socket, Leaves::AfterRequest).with_context(|| call.path.clone())?;
    }
    all_answer(scope, name)?;
    same("another container", scope.run(&[], &["echo", "another"])?.expect_code(0)?.stdout, "another\n")
}

fn an_exec(scope: &Scope<'_>, name: &str) -> Result<String> {
    let made = scope.api_json("POST", &format!("/containers/{name}/exec"), &json!({"Cmd": ["true"]}))?;
    Ok(made.expect(201)?.json()?["Id"].as_str().context("Id")?.to_owned())
}

fn usable(scope: &Scope<'_>, name: &str) -> Result<()> {
    same("exec afterwards", scope.ok(&["exec", name, "echo", "inside"])?, "inside")?;
    scope.ok(&["rm", "-f", name]).map(drop)
}

fn paused(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("paused", &[], &["sleep", "300"])?;
    let exec = an_exec(scope, &name)?;
    scope.ok(&["pause", &name])?;
    let left = leave_all(scope, &name, &exec);
    scope.ok(&["unpause", &name])?;
    left?;
    usable(scope, &name)
}

fn stopped(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("kept", &[], &["sleep", "300"])?;
    let exec = an_exec(scope, &name)?;
    let shim = StoppedShim::of(scope, &name)?;
    let left = leave_all(scope, &name, &exec);
    drop(shim);
    left?;
    usable(scope, &name)
}

/// More requests than one container's files may have at once, on a file system that does not answer.
fn hung_files(scope: &Scope<'_>) -> Result<()> {
    if !Path::new("/dev/fuse").exists() {
        return Err(skip("there is no /dev/fuse"));
    }
    let directory = scope.directory()?.join("hung");
    std::fs::create_dir_all(&directory)?;
    let mount = HungMount::new(&directory)?;
    let volume = format!("{}:/hung", directory.display());
    let name = scope.start("hung", &["-v", &volume], &["sleep", "300"])?;
    let exec = an_exec(scope, &name)?;
    mount.hang();
    for _ in 0..30 {
        let path = format!("/containers/{name}/archive?path=/hung/file");
        Call::json("HEAD", path, &Value::Null).cut(&scope.engine.socket, Leaves::AfterRequest)?;
    }
    let left = leave_all(scope, &name, &exec);
    let beside = scope.start("beside", &[], &["sleep", "300"])?;
    let files =
        Request::new("HEAD", &format!("/containers/{beside}/archive?path=/etc")).send(&scope.engine.socket);
    drop(mount);
    left?;
    same("files of another container", files?.status, 200)?;
    usable(scope, &name)?;
    usable(scope, &beside)
}
