//! `plugin ls`: managed plugins, of which the engine has none.

use client::{Query, Request};
use serde_json::Value;

use super::ps::FORMAT_HELP;
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::rows::{Kind, Row, choose, render};
use crate::output::units::ellipsis;
use crate::output::write;
use crate::session::Session;
use crate::value::filter;

/// `plugin ls`.
pub(crate) static LS: Command = Command {
    synopsis: "[OPTIONS]",
    about: "List plugins",
    paths: &["plugin ls", "plugin list"],
    flags: &[&[
        Flag::of("filter", "filter", filter::check, "Provide filter values (e.g. \"enabled=true\")")
            .short('f')
            .many(),
        Flag::text("format", FORMAT_HELP),
        Flag::switch("no-trunc", "Don't truncate output"),
        Flag::switch("quiet", "Only display plugin IDs").short('q'),
    ]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(list(session, typed)),
};

const KIND: Kind = Kind {
    headings: &[("ID", "ID"), ("Name", "NAME"), ("Description", "DESCRIPTION"), ("Enabled", "ENABLED")],
    table: "{{.ID}}\\t{{.Name}}\\t{{.Description}}\\t{{.Enabled}}",
    quiet: "{{.ID}}",
};

/// The longest identifier and description that are shown in full.
const LENGTHS: [usize; 2] = [12, 45];

async fn list(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let query = Query::new().with_nonempty("filters", &filter::json(&typed.list("filter")));
    let client = session.daemon().await?;
    let found: Vec<Value> = client.json(Request::get("/plugins").query(query)).await?;
    let whole = typed.switch("no-trunc");
    let rows: Vec<Row> = found.iter().map(|plugin| row(plugin, whole)).collect();
    let quiet = typed.switch("quiet");
    write(&render(&KIND, choose(typed.text("format"), quiet, ""), quiet, &rows)?)?;
    Ok(0)
}

fn row(plugin: &Value, whole: bool) -> Row {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let short = |text: String, length: usize| if whole { text } else { ellipsis(&text, length) };
    let id: String = text(&plugin["Id"]).chars().take(if whole { usize::MAX } else { LENGTHS[0] }).collect();
    let description = text(&plugin["Config"]["Description"]).replace(['\n', '\r'], " ");
    Row::new([
        ("ID", id),
        ("Name", text(&plugin["Name"])),
        ("Description", short(description, LENGTHS[1])),
        ("Enabled", plugin["Enabled"].as_bool().unwrap_or_default().to_string()),
    ])
}
