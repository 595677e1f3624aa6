//! `import`, `load`, `save`, `export`: images and root file systems as archives.

use std::io::IsTerminal;

use client::{Query, Request};

use super::pull::platforms_json;
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::progress;
use crate::session::Session;
use crate::stream::{files, terminal};
use crate::value::reference;

/// `import`.
pub(crate) static IMPORT: Command = Command {
    synopsis: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Import the contents from a tarball to create a filesystem image",
    paths: &["image import", "import"],
    flags: &[&[
        Flag::list("change", "Apply Dockerfile instruction to the created image").short('c'),
        Flag::text("message", "Set commit message for imported image").short('m'),
        Flag::text("platform", "Set platform if server is multi-platform capable"),
    ]],
    operands: Operands::Between(1, 2),
    interspersed: true,
    run: |session, typed| Box::pin(import(session, typed)),
};

/// `load`.
pub(crate) static LOAD: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Load an image from a tar archive or STDIN",
    paths: &["image load", "load"],
    flags: &[&[
        Flag::text("input", "Read from tar archive file, instead of STDIN").short('i'),
        Flag::strings(
            "platform",
            "Load only the given platform(s). Formatted as a comma-separated list of \"os[/arch[/variant]]\" (e.g., \"linux/amd64,linux/arm64/v8\")",
        ),
        Flag::switch("quiet", "Suppress the load output").short('q'),
    ]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(load(session, typed)),
};

/// `save`.
pub(crate) static SAVE: Command = Command {
    synopsis: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    paths: &["image save", "save"],
    flags: &[&[
        Flag::text("output", "Write to a file, instead of STDOUT").short('o'),
        Flag::strings(
            "platform",
            "Save only the given platform(s). Formatted as a comma-separated list of \"os[/arch[/variant]]\" (e.g., \"linux/amd64,linux/arm64/v8\")",
        ),
    ]],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(save(session, typed)),
};

/// `export`.
pub(crate) static EXPORT: Command = Command {
    synopsis: "[OPTIONS] CONTAINER",
    about: "Export a container's filesystem as a tar archive",
    paths: &["container export", "export"],
    flags: &[&[Flag::text("output", "Write to a file, instead of STDOUT").short('o')]],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(export(session, typed)),
};

async fn import(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let source = typed.operand(0);
    let name = typed.operands().get(1).map_or("", String::as_str);
    if !name.is_empty() {
        reference::parse(name).map_err(Failure::text)?;
    }
    let remote = source.starts_with("http://") || source.starts_with("https://");
    let mut query = Query::new().with("fromSrc", if remote { source } else { "-" });
    for change in typed.list("change") {
        query = query.with("changes", change);
    }
    let query = query
        .with_nonempty("message", typed.text("message"))
        .with_nonempty("platform", typed.text("platform"))
        .with_nonempty("repo", name);
    let mut request = Request::post("/images/create").query(query);
    if !remote {
        request = request.body("text/plain", files::upload(source)?);
    }
    let client = session.daemon().await?;
    let lines = client.send(request).await?.json_lines();
    progress::follow(lines, std::io::stdout(), terminal::is_output()).await?;
    Ok(0)
}

async fn load(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let input = typed.text("input");
    if input.is_empty() && std::io::stdin().is_terminal() {
        return Err(Failure::text("requested load from stdin, but stdin is empty"));
    }
    let quiet = typed.switch("quiet") || !terminal::is_output();
    let mut query = Query::new().with_switch("quiet", quiet);
    for platform in platforms_json(&typed.list("platform")) {
        query = query.with("platform", &platform);
    }
    let body = files::upload(if input.is_empty() { "-" } else { input })?;
    let client = session.daemon().await?;
    let request = Request::post("/images/load").query(query).body("application/x-tar", body);
    let response = client.send(request).await?;
    if response.header("content-type").starts_with("application/json") {
        progress::follow(response.json_lines(), std::io::stdout(), terminal::is_output()).await?;
    } else {
        files::download(response, "").await?;
    }
    Ok(0)
}

async fn save(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let output = typed.text("output");
    check_output(output, "save")?;
    let mut query = Query::new();
    for name in typed.operands() {
        query = query.with("names", name);
    }
    for platform in platforms_json(&typed.list("platform")) {
        query = query.with("platform", &platform);
    }
    let client = session.daemon().await?;
    files::download(client.send(Request::get("/images/get").query(query)).await?, output).await?;
    Ok(0)
}

async fn export(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let output = typed.text("output");
    check_output(output, "export")?;
    let client = session.daemon().await?;
    let request = Request::get(format!("/containers/{}/export", typed.operand(0)));
    files::download(client.send(request).await?, output).await?;
    Ok(0)
}

/// An archive is nothing for a terminal, and a file must have a directory.
pub(crate) fn check_output(output: &str, verb: &str) -> Result<(), Failure> {
    if !output.is_empty() {
        return files::check_output(output)
            .map_err(|failure| Failure::text(format!("failed to {verb}: {failure}")));
    }
    if terminal::is_output() {
        return Err(Failure::text(format!(
            "cowardly refusing to {verb} to a terminal. Use the -o flag or redirect"
        )));
    }
    Ok(())
}
