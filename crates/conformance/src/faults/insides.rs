//! The operations on what is inside a container: its programs, its files, and images that are made of them.

use super::api::Api;
use super::images::{self, SMALL};
use super::operations::{Operation, Side, ask, done, end, running, service_that_ends};
use crate::http::Request;
use crate::scope::{eventually, percent_encode};
use crate::tar::{Kind, Writer};
use anyhow::{Result, bail, ensure};
use serde_json::json;

/// What is copied into a container, and how many times: more than one write has to do it.
const WORD: &[u8] = b"copied ";
const WORDS: usize = 20_000;

pub(super) fn all() -> Vec<Operation> {
    let mut all = programs();
    all.extend(copies_in());
    all.extend(copies_out());
    all
}

fn programs() -> Vec<Operation> {
    vec![
        Operation {
            name: "exec with output",
            prepare: |api| running(api, "entered"),
            act: |api| {
                let said = api.exec("entered", &["sh", "-c", "echo in > /mark; echo said"])?;
                // A stream that ends early is no answer.
                ensure!(said.trim() == "said", "an exec says {said:?}");
                Ok(())
            },
            judge: |api| {
                runs(api, "entered")?;
                let is_made = api.get("/containers/entered/archive?path=/mark")?.status == 200;
                Ok(if is_made { Side::After } else { Side::Before })
            },
            finish: |api, _| {
                let said = api.exec("entered", &["echo", "again"])?;
                ensure!(said.trim() == "again", "another exec says {said:?}");
                end(api, "entered")
            },
        },
        Operation {
            name: "commit of a container that runs",
            prepare: |api| {
                running(api, "source")?;
                api.exec("source", &["sh", "-c", "echo made > /made"]).map(drop)
            },
            act: images::commit,
            judge: |api| {
                // It is held meanwhile, and goes on whatever becomes of the image.
                runs(api, "source")?;
                images::exists(api, SMALL)
            },
            finish: |api, side| {
                if side == Side::Before {
                    images::commit(api)?;
                }
                let body = json!({ "Image": SMALL, "Cmd": ["grep", "-q", "made", "/made"] });
                let code = api.run_container("trial", &body)?;
                ensure!(code == 0, "a container of the committed image ends with {code}");
                api.remove("trial")?;
                // Its program says a last word when it is told to end: it is not held any more.
                end(api, "source")?;
                images::remove(api, SMALL)
            },
        },
    ]
}

/// Nothing is promised about half of an archive that nobody was told is there; the container is as good as before.
fn copies_in() -> Vec<Operation> {
    vec![
        Operation {
            name: "cp into a container that runs",
            prepare: |api| running(api, "target"),
            act: |api| put(api, "/"),
            judge: |api| {
                runs(api, "target")?;
                has_all(api, "/")
            },
            finish: |api, _| {
                put(api, "/")?;
                ensure!(has_all(api, "/")? == Side::After, "it is not there after another copy");
                end(api, "target")
            },
        },
        Operation {
            name: "cp into a volume of a container that has ended",
            prepare: |api| {
                let mut body = service_that_ends();
                body["Volumes"] = json!({ "/nameless": {} });
                api.run_container("target", &body).map(drop)
            },
            act: |api| put(api, "/nameless"),
            judge: |api| has_all(api, "/nameless"),
            finish: |api, _| {
                put(api, "/nameless")?;
                ensure!(has_all(api, "/nameless")? == Side::After, "it is not there after another copy");
                ask(api, "/containers/target/start")?;
                ensure!(api.wait("target")? == 3, "it ends otherwise");
                api.remove("target")
            },
        },
    ]
}

/// What only reads changes nothing, and leaves nothing, wherever it is cut short.
fn copies_out() -> Vec<Operation> {
    vec![
        Operation {
            name: "cp out of a container",
            prepare: |api| running(api, "read"),
            act: |api| large(api, "/containers/read/archive?path=/bin"),
            judge: |api| runs(api, "read").map(|()| Side::After),
            finish: |api, _| {
                large(api, "/containers/read/archive?path=/bin")?;
                end(api, "read")
            },
        },
        Operation {
            name: "export",
            prepare: |api| api.run_container("read", &service_that_ends()).map(drop),
            act: |api| large(api, "/containers/read/export"),
            judge: |api| match api.status("read")?.as_str() {
                "exited" => Ok(Side::After),
                other => bail!("the container that was exported is {other}"),
            },
            finish: |api, _| {
                large(api, "/containers/read/export")?;
                api.remove("read")
            },
        },
    ]
}

/// That a container runs, in words of its daemon.
fn runs(api: &Api, name: &str) -> Result<()> {
    // What held it meanwhile may be taken back after the daemon's first answer, but without anybody's help.
    let mut status = String::new();
    eventually(&format!("{name} to run"), || {
        status = api.status(name)?;
        Ok((status == "running").then_some(()))
    })
    .map_err(|error| error.context(format!("{name} is {status}")))
}

fn large(api: &Api, path: &str) -> Result<()> {
    let archive = api.get(path)?.expect(200)?.body;
    ensure!(archive.len() > 1 << 20, "{path} gives {} bytes", archive.len());
    // Two empty blocks are the end of a tar; without them it was cut short.
    ensure!(archive.ends_with(&[0; 1024]), "{path} gives an archive without an end");
    Ok(())
}

fn put(api: &Api, directory: &str) -> Result<()> {
    let mut tar = Writer::new(Vec::new());
    tar.add("in", 0o755, &Kind::Directory)?;
    tar.add("in/one", 0o644, &Kind::File(&WORD.repeat(WORDS)))?;
    tar.add("in/two", 0o600, &Kind::File(b"two"))?;
    let path = format!("/containers/target/archive?path={}", percent_encode(directory));
    done(api.send(Request::new("PUT", &path).body("application/x-tar", tar.finish()?))?)
}

/// Whether everything that was copied is there, whole.
fn has_all(api: &Api, directory: &str) -> Result<Side> {
    let directory = directory.trim_end_matches('/');
    for (file, content) in [("one", WORD.repeat(WORDS)), ("two", b"two".to_vec())] {
        let path = percent_encode(&format!("{directory}/in/{file}"));
        let answer = api.get(&format!("/containers/target/archive?path={path}"))?;
        if answer.status == 404 {
            return Ok(Side::Before);
        }
        let archive = answer.expect(200)?.body;
        if !archive.windows(content.len()).any(|part| part == content) {
            return Ok(Side::Before);
        }
    }
    Ok(Side::After)
}
