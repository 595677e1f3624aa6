//! `run`: create, attach, wait, start, in this order, so that no output and no exit is missed.

use api::container::WaitResponse;
use client::{Client, Hijacked, Query, Request, Response};
use serde_json::{Value, json};

use super::create::{self, FLAGS, REQUEST_FLAGS, with_help};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::{note, write};
use crate::session::Session;
use crate::stream::attach::{End, Parties, converse};
use crate::stream::signals::Signals;
use crate::stream::{detach, terminal};

const RUN_FLAGS: &[Flag] = &[
    Flag::switch("detach", "Run container in background and print container ID").short('d'),
    Flag::text("detach-keys", "Override the key sequence for detaching a container"),
    Flag::switch("sig-proxy", "Proxy received signals to the process").default("true").shows("true"),
];

/// `run`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create and run a new container from an image",
    paths: &["container run", "run"],
    flags: &[FLAGS, REQUEST_FLAGS, RUN_FLAGS],
    operands: Operands::AtLeast(1),
    interspersed: false,
    run: |session, typed| Box::pin(run(session, typed)),
};

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let mut body = create::resolve_here(session, typed)?;
    let detached = typed.switch("detach");
    if detached {
        if typed.given("attach") {
            return Err(Failure::coded(
                125,
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        for key in ["AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce"] {
            body[key] = false.into();
        }
    }
    let keys = detach_keys(session, typed.text("detach-keys"))?;
    let truth = |key: &str| body[key].as_bool().unwrap_or_default();
    let tty = truth("Tty");
    let parties = Parties {
        tty,
        stdin: truth("AttachStdin"),
        stdout: truth("AttachStdout"),
        stderr: truth("AttachStderr"),
        detach_keys: if tty { keys.1 } else { Vec::new() },
    };
    if !detached {
        terminal::check_input(parties.stdin, tty)?;
    }
    if let Some(size) = terminal::size().filter(|_| tty) {
        body["HostConfig"]["ConsoleSize"] = json!([size.rows, size.columns]);
    }
    let signals = if typed.switch("sig-proxy") && !detached { Some(Signals::catch()?) } else { None };
    let id = create::create(session, typed, &body).await.map_err(|failure| match failure.words() {
        "" => failure,
        _ => with_help(session, &failure),
    })?;
    let run = Run { session, id: &id, body: &body, parties: &parties, keys: &keys.0 };
    match signals {
        None => run.start_and_follow(detached).await,
        Some(mut signals) => tokio::select! {
            code = run.start_and_follow(detached) => code,
            never = signals.forward(session.client(), &id) => match never {},
        },
    }
}

/// The detach keys as the API takes them (empty for its default), and as bytes.
pub(crate) fn detach_keys(session: &Session, typed: &str) -> Result<(String, Vec<u8>), Failure> {
    let chosen = if typed.is_empty() { session.setting("detachKeys") } else { typed };
    let text = if chosen.is_empty() { detach::DEFAULT } else { chosen };
    let bytes =
        detach::parse(text).map_err(|why| Failure::text(format!("invalid detach keys ({text}): {why}")))?;
    Ok((chosen.to_owned(), bytes))
}

struct Run<'a> {
    session: &'a Session,
    id: &'a str,
    body: &'a Value,
    parties: &'a Parties,
    keys: &'a str,
}

impl Run<'_> {
    async fn start_and_follow(&self, detached: bool) -> Result<i32, Failure> {
        let client = self.session.client();
        let help = |failure: Failure| with_help(self.session, &failure);
        let attached = self.parties.stdin || self.parties.stdout || self.parties.stderr;
        let connection = match attached {
            true => Some(attach(client, self.id, self.parties, self.keys).await.map_err(help)?),
            false => None,
        };
        let remove = self.body["HostConfig"]["AutoRemove"].as_bool().unwrap_or_default();
        let condition = if remove { "removed" } else { "next-exit" };
        // The daemon answers with headers at once: from then on no exit can be missed.
        let waiting = wait(client, self.id, condition).await.map_err(help)?;
        if let Err(error) = client.call(Request::post(format!("/containers/{}/start", self.id))).await {
            if remove {
                // The daemon removes what did not start; the name must be free when this program ends.
                let _ = exit_code(waiting).await;
            }
            return Err(start_failure(self.session, &error));
        }
        if detached {
            write(&format!("{}\n", self.id))?;
            return Ok(0);
        }
        if let Some(connection) = connection
            && follow(client, self.id, self.parties, connection).await? == End::Detached
        {
            return Ok(0);
        }
        exit_code(waiting).await
    }
}

/// Shows a container's output until it ends, telling the daemon about the terminal's size meanwhile.
pub(crate) async fn follow(
    client: &Client,
    id: &str,
    parties: &Parties,
    connection: Hijacked,
) -> Result<End, Failure> {
    let conversation = converse(connection, parties);
    if !parties.tty || !terminal::is_output() {
        return conversation.await;
    }
    let path = format!("/containers/{id}");
    tokio::select! {
        end = conversation => end,
        never = terminal::follow_size(client, &path) => match never {},
    }
}

/// Attaches to a container's streams.
pub(crate) async fn attach(
    client: &Client,
    id: &str,
    parties: &Parties,
    keys: &str,
) -> Result<Hijacked, Failure> {
    let query = Query::new()
        .with_nonempty("detachKeys", keys)
        .with_switch("stderr", parties.stderr)
        .with_switch("stdin", parties.stdin)
        .with_switch("stdout", parties.stdout)
        .with("stream", "1");
    let request =
        Request::post(format!("/containers/{id}/attach")).query(query).header("content-type", "text/plain");
    Ok(client.hijack(request).await?)
}

/// Begins to wait for a condition; the answer's body comes when it is true.
pub(crate) async fn wait(client: &Client, id: &str, condition: &str) -> Result<Response, Failure> {
    let query = Query::new().with_nonempty("condition", condition);
    Ok(client.send(Request::post(format!("/containers/{id}/wait")).query(query)).await?)
}

/// The container's exit code, when it comes.
pub(crate) async fn exit_code(waiting: Response) -> Result<i32, Failure> {
    let answer: WaitResponse =
        waiting.json().await.map_err(|error| Failure::coded(125, error.to_string()))?;
    if let Some(error) = answer.error.filter(|error| !error.message.is_empty()) {
        note(&format!("Error waiting for container: {}", error.message));
        return Ok(125);
    }
    Ok(i32::try_from(answer.status_code).unwrap_or(125))
}

/// A program that is not there is 127, one that cannot be called 126, everything else 125.
pub(crate) fn start_failure(session: &Session, error: &client::Error) -> Failure {
    let words = error.to_string();
    let has = |pieces: &[&str]| pieces.iter().any(|piece| words.contains(piece));
    let code = if has(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        127
    } else if has(&["permission denied", "is a directory"]) {
        126
    } else {
        125
    };
    let failure = with_help(session, &Failure::text(words));
    Failure::coded(code, failure.words())
}
