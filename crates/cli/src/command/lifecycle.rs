//! The commands that do one thing to each container named: stop, restart, kill, pause, unpause, wait, rm, rename.

use api::container::WaitResponse;
use client::{Query, Request};

use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::{note, write};
use crate::session::Session;

const GRACE_FLAGS: &[Flag] = &[
    Flag::text("signal", "Signal to send to the container").short('s'),
    Flag::int("timeout", "Seconds to wait before killing the container").short('t'),
    Flag::int("time", "Seconds to wait before killing the container").hidden(),
];

/// `stop`.
pub(crate) static STOP: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop one or more running containers",
    paths: &["container stop", "stop"],
    flags: &[GRACE_FLAGS],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(post(session, typed, "stop", grace(typed))),
};

/// `restart`.
pub(crate) static RESTART: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Restart one or more containers",
    paths: &["container restart", "restart"],
    flags: &[GRACE_FLAGS],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(post(session, typed, "restart", grace(typed))),
};

/// `kill`.
pub(crate) static KILL: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Kill one or more running containers",
    paths: &["container kill", "kill"],
    flags: &[&[Flag::text("signal", "Signal to send to the container").short('s')]],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| {
        let query = Query::new().with_nonempty("signal", typed.text("signal"));
        Box::pin(post(session, typed, "kill", query))
    },
};

/// `pause`.
pub(crate) static PAUSE: Command = Command {
    synopsis: "CONTAINER [CONTAINER...]",
    about: "Pause all processes within one or more containers",
    paths: &["container pause", "pause"],
    flags: &[],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(post(session, typed, "pause", Query::new())),
};

/// `unpause`.
pub(crate) static UNPAUSE: Command = Command {
    synopsis: "CONTAINER [CONTAINER...]",
    about: "Unpause all processes within one or more containers",
    paths: &["container unpause", "unpause"],
    flags: &[],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(post(session, typed, "unpause", Query::new())),
};

/// `wait`.
pub(crate) static WAIT: Command = Command {
    synopsis: "CONTAINER [CONTAINER...]",
    about: "Block until one or more containers stop, then print their exit codes",
    paths: &["container wait", "wait"],
    flags: &[],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(wait(session, typed)),
};

const RM_FLAGS: &[Flag] = &[
    Flag::switch("force", "Force the removal of a running container (uses SIGKILL)").short('f'),
    Flag::switch("link", "Remove the specified link").short('l'),
    Flag::switch("volumes", "Remove anonymous volumes associated with the container").short('v'),
];

/// `rm`.
pub(crate) static RM: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Remove one or more containers",
    paths: &["container rm", "container remove", "rm"],
    flags: &[RM_FLAGS],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(remove(session, typed)),
};

/// `rename`.
pub(crate) static RENAME: Command = Command {
    synopsis: "CONTAINER NEW_NAME",
    about: "Rename a container",
    paths: &["container rename", "rename"],
    flags: &[],
    operands: Operands::Exactly(2),
    interspersed: true,
    run: |session, typed| Box::pin(rename(session, typed)),
};

/// The signal and the seconds before a kill, as `stop` and `restart` take them.
fn grace(typed: &Typed) -> Query {
    let flag = if typed.given("timeout") { "timeout" } else { "time" };
    let seconds = if typed.given(flag) { typed.int(flag).to_string() } else { String::new() };
    Query::new().with_nonempty("signal", typed.text("signal")).with_nonempty("t", &seconds)
}

async fn post(session: &Session, typed: &Typed, verb: &str, query: Query) -> Result<i32, Failure> {
    let client = session.daemon().await?;
    each(typed.operands(), async |name| {
        client.call(Request::post(format!("/containers/{name}/{verb}")).query(query.clone())).await?;
        Ok(format!("{name}\n"))
    })
    .await
}

async fn wait(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let client = session.daemon().await?;
    each(typed.operands(), async |name| {
        let answer: WaitResponse = client.json(Request::post(format!("/containers/{name}/wait"))).await?;
        match answer.error.filter(|error| !error.message.is_empty()) {
            Some(error) => Err(Failure::text(error.message)),
            None => Ok(format!("{}\n", answer.status_code)),
        }
    })
    .await
}

async fn remove(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let query = Query::new()
        .with_switch("force", typed.switch("force"))
        .with_switch("link", typed.switch("link"))
        .with_switch("v", typed.switch("volumes"));
    let client = session.daemon().await?;
    each(typed.operands(), async |typed_name| {
        let name = typed_name.trim_matches('/');
        if name.is_empty() {
            return Err(Failure::text("container name cannot be empty"));
        }
        match client.call(Request::delete(format!("/containers/{name}")).query(query.clone())).await {
            Err(error) if error.is_not_found() && typed.switch("force") => {
                note(&error.to_string());
                Ok(String::new())
            }
            result => result.map(|()| format!("{typed_name}\n")).map_err(Failure::from),
        }
    })
    .await
}

async fn rename(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let (old, new) = (typed.operand(0).trim(), typed.operand(1).trim());
    if old.is_empty() || new.is_empty() {
        return Err(Failure::text("Error: Neither old nor new names may be empty"));
    }
    let client = session.daemon().await?;
    let query = Query::new().with("name", new);
    let renamed = client.call(Request::post(format!("/containers/{old}/rename")).query(query)).await;
    renamed
        .map_err(|error| Failure::text(format!("{error}\nError: failed to rename container named {old}")))?;
    Ok(0)
}

/// Does something to each name and prints what it says; goes on after a failure, and ends with all of them.
pub(crate) async fn each(
    names: &[String],
    act: impl AsyncFn(&str) -> Result<String, Failure>,
) -> Result<i32, Failure> {
    let mut failures = Vec::new();
    for name in names {
        match act(name).await {
            Ok(text) => write(&text)?,
            Err(failure) => failures.push(failure.words().to_owned()),
        }
    }
    if failures.is_empty() { Ok(0) } else { Err(Failure::text(failures.join("\n"))) }
}
