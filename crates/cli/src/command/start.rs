//! `start`: containers that exist run again; with `--attach`, one of them on this terminal.

use client::{Client, Query, Request};
use serde_json::Value;

use super::run::{attach, detach_keys, exit_code, follow, start_failure, wait};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::{note, write};
use crate::session::Session;
use crate::stream::attach::{End, Parties};
use crate::stream::signals::Signals;
use crate::stream::terminal;

const FLAGS: &[Flag] = &[
    Flag::switch("attach", "Attach STDOUT/STDERR and forward signals").short('a'),
    Flag::text("checkpoint", "Restore from this checkpoint"),
    Flag::text("checkpoint-dir", "Use a custom checkpoint storage directory"),
    Flag::text("detach-keys", "Override the key sequence for detaching a container"),
    Flag::switch("interactive", "Attach container's STDIN").short('i'),
];

/// `start`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start one or more stopped containers",
    paths: &["container start", "start"],
    flags: &[FLAGS],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed)),
};

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let client = session.daemon().await?;
    let query = Query::new()
        .with_nonempty("checkpoint", typed.text("checkpoint"))
        .with_nonempty("checkpoint-dir", typed.text("checkpoint-dir"));
    if !typed.text("checkpoint").is_empty() && typed.operands().len() > 1 {
        return Err(Failure::text("you cannot restore multiple containers at once"));
    }
    let restores = !typed.text("checkpoint").is_empty();
    if restores || !typed.switch("attach") && !typed.switch("interactive") {
        return start_each(client, typed.operands(), &query).await;
    }
    let [name] = typed.operands() else {
        return Err(Failure::text("you cannot start and attach multiple containers at once"));
    };
    let container: Value = client.json(Request::get(format!("/containers/{name}/json"))).await?;
    let id = container["Id"].as_str().unwrap_or(name).to_owned();
    let tty = container["Config"]["Tty"].as_bool().unwrap_or_default();
    let signals = if tty { None } else { Some(Signals::catch()?) };
    let joined = joined(session, typed, client, &id, &container);
    match signals {
        None => joined.await,
        Some(mut signals) => tokio::select! {
            code = joined => code,
            never = signals.forward(client, &id) => match never {},
        },
    }
}

async fn start_each(client: &Client, names: &[String], query: &Query) -> Result<i32, Failure> {
    let mut failed = Vec::new();
    for name in names {
        match client.call(Request::post(format!("/containers/{name}/start")).query(query.clone())).await {
            Ok(()) => write(&format!("{name}\n"))?,
            Err(error) => {
                note(&error.to_string());
                failed.push(name.as_str());
            }
        }
    }
    match failed[..] {
        [] => Ok(0),
        _ => Err(Failure::text(format!("Error: failed to start containers: {}", failed.join(", ")))),
    }
}

async fn joined(
    session: &Session,
    typed: &Typed,
    client: &Client,
    id: &str,
    container: &Value,
) -> Result<i32, Failure> {
    let truth = |section: &str, key: &str| container[section][key].as_bool().unwrap_or_default();
    let keys = detach_keys(session, typed.text("detach-keys"))?;
    let tty = truth("Config", "Tty");
    let parties = Parties {
        tty,
        stdin: typed.switch("interactive") && truth("Config", "OpenStdin"),
        stdout: true,
        stderr: true,
        detach_keys: if tty { keys.1 } else { Vec::new() },
    };
    terminal::check_input(parties.stdin, tty)?;
    let connection = attach(client, id, &parties, &keys.0).await?;
    let condition = if truth("HostConfig", "AutoRemove") { "removed" } else { "next-exit" };
    let waiting = wait(client, id, condition).await?;
    let query = Query::new().with_nonempty("detachKeys", &keys.0);
    let started = client.call(Request::post(format!("/containers/{id}/start")).query(query)).await;
    started.map_err(|error| Failure::coded(start_failure(session, &error).exit_code(), error.to_string()))?;
    match follow(client, id, &parties, connection).await? {
        End::Detached => Ok(0),
        End::Closed => exit_code(waiting).await,
    }
}
