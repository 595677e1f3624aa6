//! `volume export | import | clone | snapshot | rename`: what Docker's command line cannot do with volumes.

use api::volume::{CopyRequest, Volume};
use client::{Query, Request};

use super::image_files::check_output;
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::write;
use crate::session::Session;
use crate::stream::files;
use crate::value::env;

const LABEL: Flag = Flag::list("label", "Set metadata for the new volume").checked(env::check_label);

/// `volume export`.
pub(crate) static EXPORT: Command = Command {
    synopsis: "[OPTIONS] VOLUME",
    about: "Write a volume's content as a tar archive",
    paths: &["volume export"],
    flags: &[&[Flag::text("output", "Write to a file, instead of STDOUT").short('o')]],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(export(session, typed)),
};

/// `volume import`.
pub(crate) static IMPORT: Command = Command {
    synopsis: "[OPTIONS] VOLUME [FILE|-]",
    about: "Make a tar archive the content of a volume, which is created when there is none",
    paths: &["volume import"],
    flags: &[&[LABEL, Flag::switch("replace", "Replace what the volume contains")]],
    operands: Operands::Between(1, 2),
    interspersed: true,
    run: |session, typed| Box::pin(import(session, typed)),
};

/// `volume clone`.
pub(crate) static CLONE: Command = Command {
    synopsis: "[OPTIONS] VOLUME NEW_VOLUME",
    about: "Create a volume with the content of another one",
    paths: &["volume clone"],
    flags: &[&[LABEL]],
    operands: Operands::Exactly(2),
    interspersed: true,
    run: |session, typed| Box::pin(copy(session, typed, "clone")),
};

/// `volume snapshot`.
pub(crate) static SNAPSHOT: Command = Command {
    synopsis: "[OPTIONS] VOLUME [NEW_VOLUME]",
    about: "Create a volume with the content of another one at one moment: containers that write to it are paused meanwhile",
    paths: &["volume snapshot"],
    flags: &[&[LABEL]],
    operands: Operands::Between(1, 2),
    interspersed: true,
    run: |session, typed| Box::pin(copy(session, typed, "snapshot")),
};

/// `volume rename`.
pub(crate) static RENAME: Command = Command {
    synopsis: "VOLUME NEW_NAME",
    about: "Rename a volume that no container uses",
    paths: &["volume rename"],
    flags: &[],
    operands: Operands::Exactly(2),
    interspersed: true,
    run: |session, typed| Box::pin(rename(session, typed)),
};

async fn export(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let output = typed.text("output");
    check_output(output, "export")?;
    let client = session.daemon().await?;
    let request = Request::get(format!("/berth/volumes/{}/export", typed.operand(0)));
    files::download(client.send(request).await?, output).await?;
    Ok(0)
}

async fn import(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let source = typed.operands().get(1).map_or("-", String::as_str);
    let mut query = Query::new().with_switch("replace", typed.switch("replace"));
    for label in typed.list("label") {
        query = query.with("label", label);
    }
    let request = Request::post(format!("/berth/volumes/{}/import", typed.operand(0))).query(query);
    let body = files::upload(source)?;
    let client = session.daemon().await?;
    let volume: Volume = client.json(request.body("application/x-tar", body)).await?;
    write(&format!("{}\n", volume.name))?;
    Ok(0)
}

async fn copy(session: &Session, typed: &Typed, how: &str) -> Result<i32, Failure> {
    let body = CopyRequest {
        name: typed.operands().get(1).cloned().unwrap_or_default(),
        labels: Some(env::pairs(typed.list("label"))),
    };
    let request = Request::post(format!("/berth/volumes/{}/{how}", typed.operand(0))).json(&body);
    let client = session.daemon().await?;
    let volume: Volume = client.json(request).await?;
    write(&format!("{}\n", volume.name))?;
    Ok(0)
}

async fn rename(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let query = Query::new().with("name", typed.operand(1));
    let request = Request::post(format!("/berth/volumes/{}/rename", typed.operand(0))).query(query);
    let client = session.daemon().await?;
    client.call(request).await?;
    Ok(0)
}
