//! `create`, and the part of `run` that makes the container: 404 → pull → again.

mod body;
mod endpoints;
mod flags;

use std::path::Path;

use api::container_create::Created;
use client::{Query, Request};
use serde_json::Value;

pub(crate) use body::{Surroundings, parse_restart_policy, resolve};
pub(crate) use flags::FLAGS;

use super::pull;
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::{note, write};
use crate::session::Session;
use crate::value::reference;

/// The flags of `create` and `run` that do not describe the container itself.
pub(crate) const REQUEST_FLAGS: &[Flag] = &[
    Flag::text("name", "Assign a name to the container"),
    Flag::text("platform", "Set platform if server is multi-platform capable"),
    Flag::text("pull", "Pull image before running (\"always\", \"missing\", \"never\")")
        .default("missing")
        .shows("\"missing\""),
    Flag::switch("quiet", "Suppress the pull output").short('q'),
];

const CREATE_PULL: &[Flag] = &[
    Flag::text("name", "Assign a name to the container"),
    Flag::text("platform", "Set platform if server is multi-platform capable"),
    Flag::text("pull", "Pull image before creating (\"always\", \"|missing\", \"never\")")
        .default("missing")
        .shows("\"missing\""),
    Flag::switch("quiet", "Suppress the pull output").short('q'),
];

/// `create`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a new container",
    paths: &["container create", "create"],
    flags: &[FLAGS, CREATE_PULL],
    operands: Operands::AtLeast(1),
    interspersed: false,
    run: |session, typed| Box::pin(run(session, typed)),
};

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let body = resolve_here(session, typed)?;
    let id = create(session, typed, &body).await?;
    write(&format!("{id}\n"))?;
    Ok(0)
}

/// The body of the request, with this process's environment and directory; a mistake points to the help text.
pub(crate) fn resolve_here(session: &Session, typed: &Typed) -> Result<Value, Failure> {
    let directory = std::env::current_dir().map_err(|error| Failure::file("getwd", ".", &error))?;
    let around = Surroundings { environment: &|name| std::env::var(name).ok(), directory };
    check_pull(typed.text("pull")).map_err(|failure| with_help(session, &failure))?;
    if typed.switch("use-api-socket") {
        let words = "--use-api-socket gives a container the machine and your credentials, and is not taken: mount the \
                     socket with --volume /var/run/docker.sock:/var/run/docker.sock if that is what you mean";
        return Err(with_help(session, &Failure::text(words)));
    }
    let checked = resolve(typed, &around).and_then(|body| {
        if !typed.switch("rootfs") {
            reference::parse(typed.operand(0)).map_err(Failure::text)?;
        }
        Ok(body)
    });
    checked.map_err(|failure| with_help(session, &failure))
}

fn check_pull(policy: &str) -> Result<(), Failure> {
    if matches!(policy, "always" | "missing" | "never") {
        return Ok(());
    }
    Err(Failure::text(format!(
        "invalid pull option: '{policy}': must be one of \"always\", \"missing\" or \"never\""
    )))
}

/// A failure with the program's name before it, the pointer to help behind it, and exit code 125.
pub(crate) fn with_help(session: &Session, failure: &Failure) -> Failure {
    let (program, path) = (session.program(), session.path());
    Failure::coded(125, format!("{program}: {failure}\n\nRun '{path} --help' for more information"))
}

/// Creates the container and returns its id; pulls the image as `--pull` says.
pub(crate) async fn create(session: &Session, typed: &Typed, body: &Value) -> Result<String, Failure> {
    let cidfile = typed.text("cidfile");
    if !cidfile.is_empty() && Path::new(cidfile).exists() {
        return Err(Failure::text(format!(
            "container ID file found, make sure the other container isn't running or delete {cidfile}"
        )));
    }
    let client = session.daemon().await?;
    let image = typed.operand(0);
    let policy = if typed.switch("rootfs") { "never" } else { typed.text("pull") };
    if policy == "always" {
        fetch(session, typed, image).await?;
    }
    let query = Query::new()
        .with_nonempty("name", typed.text("name"))
        .with_nonempty("platform", typed.text("platform"));
    let request = || Request::post("/containers/create").query(query.clone()).json(body);
    let answer = match client.json::<Created>(request()).await {
        Err(error) if error.is_not_found() && policy == "missing" && is_missing_image(&error) => {
            if !typed.switch("quiet") {
                note(&format!("Unable to find image '{}' locally", pull::familiar(image)));
            }
            fetch(session, typed, image).await?;
            client.json(request()).await?
        }
        other => other?,
    };
    for warning in &answer.warnings {
        note(&format!("WARNING: {warning}"));
    }
    if !cidfile.is_empty() {
        std::fs::write(cidfile, &answer.id).map_err(|error| {
            Failure::text(format!(
                "failed to write the container ID to the file: {}",
                Failure::open(cidfile, &error)
            ))
        })?;
    }
    Ok(answer.id)
}

/// A container can miss its network as well: only a missing image can be pulled.
fn is_missing_image(error: &client::Error) -> bool {
    error.to_string().contains("No such image")
}

async fn fetch(session: &Session, typed: &Typed, image: &str) -> Result<(), Failure> {
    let quiet = typed.switch("quiet");
    pull::pull(session, image, typed.text("platform"), false, quiet, pull::Sink::Stderr).await
}

#[cfg(test)]
mod golden;
