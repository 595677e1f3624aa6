//! `attach`: join the streams of a running container.

use client::Request;
use serde_json::Value;

use super::run::{attach, detach_keys, exit_code, follow, wait};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::session::Session;
use crate::stream::attach::{End, Parties};
use crate::stream::signals::Signals;
use crate::stream::terminal;

const FLAGS: &[Flag] = &[
    Flag::text("detach-keys", "Override the key sequence for detaching a container"),
    Flag::switch("no-stdin", "Do not attach STDIN"),
    Flag::switch("sig-proxy", "Proxy all received signals to the process").default("true").shows("true"),
];

/// `attach`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER",
    about: "Attach local standard input, output, and error streams to a running container",
    paths: &["container attach", "attach"],
    flags: &[FLAGS],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed)),
};

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let name = typed.operand(0);
    let client = session.daemon().await?;
    let container: Value = client.json(Request::get(format!("/containers/{name}/json"))).await?;
    check_state(&container["State"])?;
    let truth = |key: &str| container["Config"][key].as_bool().unwrap_or_default();
    let keys = detach_keys(session, typed.text("detach-keys"))?;
    let tty = truth("Tty");
    let parties = Parties {
        tty,
        stdin: !typed.switch("no-stdin") && truth("OpenStdin"),
        stdout: true,
        stderr: true,
        detach_keys: if tty { keys.1 } else { Vec::new() },
    };
    terminal::check_input(parties.stdin, tty)?;
    let id = container["Id"].as_str().unwrap_or(name).to_owned();
    let signals = if typed.switch("sig-proxy") && !tty { Some(Signals::catch()?) } else { None };
    let joined = async {
        // Waiting begins before the streams are joined: an exit in between would be missed otherwise.
        let waiting = wait(client, &id, "").await?;
        let connection = attach(client, &id, &parties, &keys.0).await?;
        match follow(client, &id, &parties, connection).await? {
            End::Detached => Err(Failure::text("read escape sequence")),
            End::Closed => exit_code(waiting).await,
        }
    };
    match signals {
        None => joined.await,
        Some(mut signals) => tokio::select! {
            code = joined => code,
            never = signals.forward(client, &id) => match never {},
        },
    }
}

fn check_state(state: &Value) -> Result<(), Failure> {
    let is = |key: &str| state[key].as_bool().unwrap_or_default();
    let words = match () {
        () if !is("Running") => "You cannot attach to a stopped container, start it first",
        () if is("Paused") => "You cannot attach to a paused container, unpause it first",
        () if is("Restarting") => "You cannot attach to a restarting container, wait until it is running",
        () => return Ok(()),
    };
    Err(Failure::text(words))
}
