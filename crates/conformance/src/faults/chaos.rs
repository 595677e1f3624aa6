//! Faults at random: some clients work through the lives of containers while the daemon is killed again and again. A
//! client checks before each of its requests that what it was told is still so.

use super::api::Api;
use super::ground::Ground;
use super::operations::service;
use super::random::Random;
use anyhow::{Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many clients work at a time.
const CLIENTS: usize = 4;
/// How long a daemon may be away before a client gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the clients for a while; how many things went wrong.
pub(super) fn run(ground: &mut Ground, length: Duration, random: &mut Random) -> Result<usize> {
    let over = AtomicBool::new(false);
    let api = ground.api.clone();
    let (mut kills, mut failed, mut requests) = (0, 0, 0);
    std::thread::scope(|threads| -> Result<()> {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let mut client = Client::new(&api, number, random.fork());
                let over = &over;
                threads.spawn(move || client.work(over).map(|()| client.requests))
            })
            .collect();
        let end = Instant::now() + length;
        let mut outcome = Ok(());
        while outcome.is_ok() && Instant::now() < end {
            // The time between two crashes is what is random here; nothing waits for anything.
            std::thread::sleep(Duration::from_millis(50 + random.below(1200) as u64));
            kills += 1;
            outcome = ground.daemon.kill_hard().and_then(|()| ground.revive());
        }
        over.store(true, Ordering::Relaxed);
        for client in clients {
            match client.join().unwrap_or_else(|_| Err(anyhow!("a client panicked"))) {
                Ok(count) => requests += count,
                Err(error) => {
                    println!("FAILED  chaos: {error:#}");
                    failed += 1;
                }
            }
        }
        outcome
    })?;
    if failed > 0 {
        ground.api.clear()?;
    }
    let left = ground.leftovers()?;
    for line in &left {
        println!("FAILED  chaos left behind {line}");
    }
    failed += usize::from(!left.is_empty());
    println!("chaos: {kills} crashes, {requests} requests by {CLIENTS} clients, {failed} wrong");
    Ok(failed)
}

/// One client with one container at a time.
struct Client<'a> {
    api: &'a Api,
    name: String,
    random: Random,
    /// What the container may be, after all that the daemon has said.
    expected: Vec<&'static str>,
    /// Its program was told to end and may do so at any moment, also between a look and a request.
    is_ending: bool,
    /// A removal was asked for and not answered: a daemon that comes back may carry it on at any moment.
    may_vanish: bool,
    /// The same of anything that ends or begins its program.
    is_carried_on: bool,
    requests: usize,
    history: Vec<String>,
}

impl<'a> Client<'a> {
    fn new(api: &'a Api, number: usize, random: Random) -> Self {
        Self {
            api,
            name: format!("chaos-{number}"),
            random,
            expected: vec!["absent"],
            is_ending: false,
            may_vanish: false,
            is_carried_on: false,
            requests: 0,
            history: Vec::new(),
        }
    }

    /// Works until it is over, and then until the container is gone.
    fn work(&mut self, over: &AtomicBool) -> Result<()> {
        self.until_over(over).map_err(|error| {
            let last = &self.history[self.history.len().saturating_sub(12)..];
            error.context(format!("{}, after {}", self.name, last.join(", ")))
        })
    }

    fn until_over(&mut self, over: &AtomicBool) -> Result<()> {
        loop {
            let status = self.status()?;
            ensure!(
                self.expected.contains(&status.as_str()),
                "it is {status}, and may be {:?}",
                self.expected
            );
            let is_over = over.load(Ordering::Relaxed);
            if is_over && status == "absent" {
                return Ok(());
            }
            match status.as_str() {
                "absent" => self.ask("create", &["created"], &["absent"])?,
                "created" => self.ask("start", &["running"], &["created"])?,
                "running" if is_over => {
                    self.ask("remove", &["absent"], &["running", "exited", "removing", "dead"])?
                }
                "running" => self.disturb()?,
                "paused" => self.ask("unpause", &["running"], &["paused"])?,
                "exited" => {
                    self.look_at_log()?;
                    self.ask("remove", &["absent"], &["exited", "removing", "dead"])?;
                }
                "removing" | "dead" => self.ask("remove", &["absent"], &["removing", "dead"])?,
                other => bail!("a container that is {other}"),
            }
        }
    }

    /// Does one of the things that can be done to a container that runs.
    fn disturb(&mut self) -> Result<()> {
        match self.random.below(6) {
            0 => self.ask("pause", &["paused"], &["running"]),
            1 => self.ask("stop", &["exited"], &["running"]),
            2 => self.ask("kill", &["running", "exited"], &["running", "exited"]),
            3 => self.ask("restart", &["running"], &["running", "exited"]),
            4 => self.ask("exec", &["running"], &["running"]),
            _ => self.ask("remove", &["absent"], &["running", "exited", "removing", "dead"]),
        }
    }

    /// Asks for one thing. It is `done` when the daemon says so; `done` or `before` when the answer was lost.
    fn ask(&mut self, what: &str, done: &[&'static str], before: &[&'static str]) -> Result<()> {
        self.requests += 1;
        let answer = self.request(what);
        let lost = answer.is_err();
        self.history.push(format!("{what}{}", if lost { " (no answer)" } else { "" }));
        self.expected = done.to_vec();
        let ends = matches!(what, "stop" | "kill" | "restart" | "remove");
        match what {
            "create" if !lost => (self.may_vanish, self.is_carried_on) = (false, false),
            "start" => self.is_ending = false,
            _ => self.is_ending |= ends,
        }
        self.is_carried_on |= lost && ends;
        self.may_vanish |= lost && what == "remove";
        if self.is_carried_on {
            self.expected.extend(["running", "exited"]);
        }
        if self.may_vanish {
            self.expected.extend(["removing", "dead", "absent"]);
        }
        let Ok(answer) = answer else {
            self.expected.extend(before);
            return Ok(());
        };
        match answer.status {
            200 | 201 | 204 | 304 => Ok(()),
            404 if self.may_vanish => Ok(()),
            409 if self.is_ending => {
                self.expected.extend(before);
                self.expected.extend(["exited", "running"]);
                Ok(())
            }
            // The program went while somebody joined it.
            500 if self.is_ending && what == "exec" => {
                self.expected.push("exited");
                Ok(())
            }
            status => bail!("{what}: {status} {}", answer.message()),
        }
    }

    fn request(&self, what: &str) -> Result<crate::http::Response> {
        let name = &self.name;
        match what {
            "create" => self.api.post(&format!("/containers/create?name={name}"), &service()),
            "remove" => self.api.delete(&format!("/containers/{name}?force=1&v=1")),
            "exec" => self.exec(),
            "stop" | "restart" => self.api.post(&format!("/containers/{name}/{what}?t=20"), &Value::Null),
            _ => self.api.post(&format!("/containers/{name}/{what}"), &Value::Null),
        }
    }

    fn exec(&self) -> Result<crate::http::Response> {
        let body = json!({ "Cmd": ["true"], "AttachStdout": true });
        let answer = self.api.post(&format!("/containers/{}/exec", self.name), &body)?;
        if answer.status != 201 {
            return Ok(answer);
        }
        let id = answer.json()?["Id"].as_str().unwrap_or_default().to_owned();
        self.api.post(&format!("/exec/{id}/start"), &json!({ "Detach": true }))
    }

    /// Every start has said hello once, whole lines only.
    fn look_at_log(&self) -> Result<()> {
        let Ok(log) = self.api.logs(&self.name) else { return Ok(()) };
        let whole = log.lines().all(|line| matches!(line, "hello" | "bye"));
        ensure!(whole && (log.is_empty() || log.ends_with('\n')), "a log of {log:?}");
        Ok(())
    }

    /// What the container is, asked until a daemon answers.
    fn status(&self) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.api.status(&self.name) {
                Ok(status) => return Ok(status),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}
