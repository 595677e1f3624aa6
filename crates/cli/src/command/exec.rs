//! `exec`: another program in a running container.

use api::IdResponse;
use api::exec::{ExecCreateRequest, ExecInspect, ExecStartRequest};
use client::{Client, Hijacked, Request};

use super::run::detach_keys;
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::session::Session;
use crate::stream::attach::{End, Parties, converse};
use crate::stream::terminal;
use crate::value::env;

const FLAGS: &[Flag] = &[
    Flag::switch("detach", "Detached mode: run command in the background").short('d'),
    Flag::text("detach-keys", "Override the key sequence for detaching a container"),
    Flag::list("env", "Set environment variables").short('e').checked(env::check_variable),
    Flag::list("env-file", "Read in a file of environment variables"),
    Flag::switch("interactive", "Keep STDIN open even if not attached").short('i'),
    Flag::switch("privileged", "Give extended privileges to the command"),
    Flag::switch("tty", "Allocate a pseudo-TTY").short('t'),
    Flag::text("user", "Username or UID (format: \"<name|uid>[:<group|gid>]\")").short('u'),
    Flag::text("workdir", "Working directory inside the container").short('w'),
];

/// `exec`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Execute a command in a running container",
    paths: &["container exec", "exec"],
    flags: &[FLAGS],
    operands: Operands::AtLeast(2),
    interspersed: false,
    run: |session, typed| Box::pin(run(session, typed)),
};

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let keys = detach_keys(session, typed.text("detach-keys"))?;
    let (container, detached) = (typed.operand(0), typed.switch("detach"));
    let mut request = resolve(typed, &keys.0, &|name| std::env::var(name).ok())?;
    let parties = Parties {
        tty: request.tty,
        stdin: request.attach_stdin,
        stdout: request.attach_stdout,
        stderr: request.attach_stderr,
        detach_keys: if request.tty { keys.1 } else { Vec::new() },
    };
    let client = session.daemon().await?;
    // A name that is wrong is told before a terminal that is missing.
    client.call(Request::get(format!("/containers/{container}/json"))).await?;
    if !detached {
        terminal::check_input(parties.stdin, parties.tty)?;
    }
    let console_size =
        terminal::size().filter(|_| parties.tty).map(|size| [u32::from(size.rows), u32::from(size.columns)]);
    request.console_size = console_size;
    let created: IdResponse =
        client.json(Request::post(format!("/containers/{container}/exec")).json(&request)).await?;
    let start = ExecStartRequest { detach: detached, tty: parties.tty, console_size };
    let request = Request::post(format!("/exec/{}/start", created.id)).json(&start);
    if detached {
        client.call(request).await?;
        return Ok(0);
    }
    let connection = client.hijack(request).await?;
    match follow(client, &created.id, &parties, connection).await? {
        End::Detached => Ok(0),
        End::Closed => exit_code(client, &created.id).await,
    }
}

/// What was meant. The program's words begin at the second operand.
fn resolve(typed: &Typed, keys: &str, environment: env::Lookup<'_>) -> Result<ExecCreateRequest, Failure> {
    let detached = typed.switch("detach");
    let env = env::variables(&typed.list("env-file"), &typed.list("env"), environment)?;
    Ok(ExecCreateRequest {
        user: typed.text("user").to_owned(),
        privileged: typed.switch("privileged"),
        tty: typed.switch("tty"),
        console_size: None,
        attach_stdin: !detached && typed.switch("interactive"),
        attach_stderr: !detached,
        attach_stdout: !detached,
        detach_keys: keys.to_owned(),
        env: (!env.is_empty()).then_some(env),
        working_dir: typed.text("workdir").to_owned(),
        cmd: Some(typed.operands()[1..].to_vec()),
    })
}

async fn follow(client: &Client, id: &str, parties: &Parties, connection: Hijacked) -> Result<End, Failure> {
    let conversation = converse(connection, parties);
    if !parties.tty || !terminal::is_output() {
        return conversation.await;
    }
    let path = format!("/exec/{id}");
    tokio::select! {
        end = conversation => end,
        never = terminal::follow_size(client, &path) => match never {},
    }
}

async fn exit_code(client: &Client, id: &str) -> Result<i32, Failure> {
    let state: ExecInspect = client.json(Request::get(format!("/exec/{id}/json"))).await?;
    Ok(state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(0))
}
