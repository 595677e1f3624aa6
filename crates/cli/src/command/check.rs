//! `system check`: has the daemon compare what it keeps with what it should be, and repair it.

use client::{Query, Request};
use serde::Deserialize;

use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::write;
use crate::session::Session;

/// `system check`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Verify what the engine keeps on the disk",
    paths: &["system check"],
    flags: &[&[
        // The program looks for this one itself, before it becomes a client.
        Flag::text("data-root", "Check this directory itself, while no daemon uses it"),
        Flag::switch("repair", "Remove what is damaged, and make again what can be made again"),
    ]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(check(session, typed)),
};

/// What was found and done, one line each.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Report {
    problems: Vec<String>,
    repairs: Vec<String>,
}

/// Exit code 1 tells that something is wrong and was not repaired.
async fn check(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let repair = typed.switch("repair");
    let client = session.daemon().await?;
    let request = Request::post("/berth/check").query(Query::new().with_switch("repair", repair));
    let report: Report = client.json(request).await?;
    for problem in &report.problems {
        write(&format!("problem: {problem}\n"))?;
    }
    for done in &report.repairs {
        write(&format!("repaired: {done}\n"))?;
    }
    match (report.problems.len(), repair) {
        (0, _) => write("Everything is as it should be.\n").map(|()| 0),
        (_, true) => Ok(0),
        (_, false) => {
            let program = session.program();
            Err(Failure::text(format!("run \"{program} system check --repair\" to repair this")))
        }
    }
}
