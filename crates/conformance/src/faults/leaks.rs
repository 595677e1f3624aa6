//! Thousands of random lives of containers, networks and volumes, some at a time; afterwards nothing is there that was not
//! there before: mounts, links, rules, control groups, processes, files, the daemon's descriptors, threads and memory.

use super::api::Api;
use super::ground::Ground;
use super::operations::service;
use super::random::Random;
use crate::fixture::BUSYBOX;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// How many clients work at a time.
const CLIENTS: usize = 8;
/// How much more memory the daemon may have in the end than after its first lives, in KiB: what allocators keep.
const SLACK_KIB: u64 = 16 << 10;

/// What the daemon holds.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    descriptors: usize,
    threads: usize,
    /// Resident memory in KiB that is its own.
    memory: u64,
    /// Bytes below the data root, and how many names.
    bytes: u64,
    names: usize,
}

impl Holdings {
    fn of(ground: &Ground) -> Result<Self> {
        let process = format!("/proc/{}", ground.daemon.pid());
        let status = fs::read_to_string(format!("{process}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).context(name.to_owned())
        };
        let (mut bytes, mut names) = (0, 0);
        measure(&ground.daemon.setup().data_root(), &mut bytes, &mut names)?;
        Ok(Self {
            descriptors: fs::read_dir(format!("{process}/fd"))?.count(),
            threads: usize::try_from(field("Threads:")?)?,
            memory: field("RssAnon:")?,
            bytes,
            names,
        })
    }
}

/// The database is left out: it keeps the room that it once needed.
fn measure(directory: &Path, bytes: &mut u64, names: &mut usize) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        *names += 1;
        if metadata.is_dir() {
            measure(&entry.path(), bytes, names)?;
        } else if entry.path().extension().is_none_or(|extension| extension != "redb") {
            *bytes += metadata.len();
        }
    }
    Ok(())
}

/// Lives `count` lives; how many things went wrong.
pub(super) fn run(ground: &mut Ground, count: usize, random: &mut Random) -> Result<usize> {
    // The first lives make what stays: threads, caches, the arenas of the allocator.
    let warm = count.clamp(CLIENTS, 64);
    let mut failed = live(ground, warm, random)?;
    let _settled = ground.leftovers()?;
    let before = Holdings::of(ground)?;
    let began = Instant::now();
    failed += live(ground, count, random)?;
    let seconds = began.elapsed().as_secs_f64();
    for line in ground.leftovers()? {
        println!("FAILED  left after {count} lives: {line}");
        failed += 1;
    }
    let mut after = Holdings::of(ground)?;
    // Threads that block end by themselves after some idle seconds, with what they hold.
    let settled = crate::scope::eventually("as many descriptors as before", || {
        after = Holdings::of(ground)?;
        Ok((after.descriptors <= before.descriptors && after.names <= before.names).then_some(()))
    });
    let grown = [
        ("descriptors", before.descriptors as u64, after.descriptors as u64, 0),
        ("names in the data root", before.names as u64, after.names as u64, 0),
        ("bytes in the data root", before.bytes, after.bytes, 0),
        ("KiB of memory", before.memory, after.memory, SLACK_KIB),
    ];
    for (what, before, after, slack) in grown {
        if after > before + slack {
            println!("FAILED  {what}: {before} before, {after} after {count} lives");
            failed += 1;
        }
    }
    drop(settled);
    println!(
        "{}  leaks: {count} lives by {CLIENTS} clients in {seconds:.0} s; descriptors {} to {}, threads {} to {}, memory {} to {} KiB, \
         {} bytes and {} names in the data root, {failed} wrong",
        if failed == 0 { "ok    " } else { "FAILED" },
        before.descriptors,
        after.descriptors,
        before.threads,
        after.threads,
        before.memory,
        after.memory,
        after.bytes,
        after.names
    );
    if failed > 0 {
        ground.api.clear()?;
    }
    Ok(failed)
}

fn live(ground: &Ground, count: usize, random: &mut Random) -> Result<usize> {
    let next = AtomicUsize::new(0);
    let api = &ground.api;
    std::thread::scope(|threads| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (next, mut random) = (&next, random.fork());
                threads.spawn(move || {
                    let mut wrong = 0;
                    while next.fetch_add(1, Ordering::Relaxed) < count {
                        let life = Life::choose(number, &mut random);
                        if let Err(error) = life.lead(api, &mut random) {
                            println!("FAILED  {life:?}: {error:#}");
                            wrong += 1;
                            life.end(api)?;
                        }
                    }
                    Ok(wrong)
                })
            })
            .collect();
        let mut wrong = 0;
        for client in clients {
            wrong += client.join().unwrap_or_else(|_| Err(anyhow!("a client panicked")))?;
        }
        Ok(wrong)
    })
}

/// What one life is like.
#[derive(Debug)]
struct Life {
    name: String,
    network: &'static str,
    volume: &'static str,
    is_published: bool,
    has_terminal: bool,
    removes_itself: bool,
    end: &'static str,
    port: usize,
}

impl Life {
    fn choose(number: usize, random: &mut Random) -> Self {
        let mut one_of = |all: &[&'static str]| all[random.below(all.len())];
        let network = one_of(&["bridge", "bridge", "own", "none", "host"]);
        let volume = one_of(&["", "", "anonymous", "named"]);
        let end = one_of(&["stop", "kill", "remove", "by itself"]);
        let is_published = matches!(network, "bridge" | "own") && one_of(&["", "p"]) == "p";
        let has_terminal = one_of(&["", "t"]) == "t";
        let removes_itself = one_of(&["", "", "rm"]) == "rm";
        let (name, port) = (format!("life-{number}"), 39000 + number);
        Self { name, network, volume, is_published, has_terminal, removes_itself, end, port }
    }

    fn body(&self) -> Value {
        let mut body =
            if self.end == "by itself" { json!({ "Cmd": ["true"], "Image": BUSYBOX }) } else { service() };
        body["Tty"] = json!(self.has_terminal);
        let network = if self.network == "own" { &self.name } else { self.network };
        body["HostConfig"] = json!({ "NetworkMode": network, "AutoRemove": self.removes_itself });
        if self.is_published {
            body["ExposedPorts"] = json!({ "80/tcp": {} });
            body["HostConfig"]["PortBindings"] = json!({ "80/tcp": [{ "HostPort": self.port.to_string() }] });
        }
        match self.volume {
            "anonymous" => body["Volumes"] = json!({ "/v": {} }),
            "named" => body["HostConfig"]["Binds"] = json!([format!("{}:/v", self.name)]),
            _ => {}
        }
        body
    }

    /// From its first request to its last.
    fn lead(&self, api: &Api, random: &mut Random) -> Result<()> {
        let name = &self.name;
        if self.network == "own" {
            api.post("/networks/create", &json!({ "Name": name }))?.expect(201)?;
        }
        api.create(name, &self.body())?;
        api.post(&format!("/containers/{name}/start"), &Value::Null)?.expect(204)?;
        if self.end != "by itself" {
            for _ in 0..random.below(3) {
                self.disturb(api, random)?;
            }
        }
        match self.end {
            "stop" => {
                api.post(&format!("/containers/{name}/stop?t=1"), &Value::Null)?.expect(204)?;
            }
            "kill" => {
                api.post(&format!("/containers/{name}/kill"), &Value::Null)?.expect(204)?;
            }
            _ => {}
        }
        self.end(api)
    }

    fn disturb(&self, api: &Api, random: &mut Random) -> Result<()> {
        let name = &self.name;
        let post = |path: String, status: u16| api.post(&path, &Value::Null)?.expect(status).map(drop);
        match random.below(6) {
            0 => api.exec(name, &["true"]).map(drop),
            1 => {
                post(format!("/containers/{name}/pause"), 204)?;
                post(format!("/containers/{name}/unpause"), 204)
            }
            2 => api.get(&format!("/containers/{name}/stats?stream=0&one-shot=1"))?.expect(200).map(drop),
            3 => api.get(&format!("/containers/{name}/logs?stdout=1"))?.expect(200).map(drop),
            4 => api.get(&format!("/containers/{name}/archive?path=/etc"))?.expect(200).map(drop),
            _ => post(format!("/containers/{name}/restart?t=0"), 204),
        }
    }

    /// Removes all of it, whatever is left.
    fn end(&self, api: &Api) -> Result<()> {
        api.remove(&self.name)?;
        if self.volume == "named" {
            api.delete(&format!("/volumes/{}?force=1", self.name))?.expect(204)?;
        }
        if self.network == "own" {
            let answer = api.delete(&format!("/networks/{}", self.name))?;
            if !matches!(answer.status, 204 | 404) {
                bail!("remove its network: {} {}", answer.status, answer.message());
            }
        }
        Ok(())
    }
}
