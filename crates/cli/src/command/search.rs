//! `search`: images of a registry that match a word.

use api::image::SearchResult;
use api::registry::AuthConfig;
use client::{Query, Request};

use super::ps::FORMAT_HELP;
use crate::credentials::{self, HUB};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::rows::{Kind, Row, choose, render};
use crate::output::units::ellipsis;
use crate::output::write;
use crate::session::Session;
use crate::value::{filter, reference};

/// `search`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS] TERM",
    about: "Search Docker Hub for images",
    paths: &["search"],
    flags: &[&[
        Flag::of("filter", "filter", filter::check, "Filter output based on conditions provided")
            .short('f')
            .many(),
        Flag::text("format", FORMAT_HELP),
        Flag::int("limit", "Max number of search results"),
        Flag::switch("no-trunc", "Don't truncate output"),
    ]],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(search(session, typed)),
};

const KIND: Kind = Kind {
    headings: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
        ("IsAutomated", "AUTOMATED"),
    ],
    table: "{{.Name}}\\t{{.Description}}\\t{{.StarCount}}\\t{{.IsOfficial}}",
    quiet: "{{.Name}}",
};

/// The longest description that is shown in full.
const DESCRIPTION: usize = 45;

async fn search(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let limit = typed.text("limit");
    let query = Query::new()
        .with("term", typed.operand(0))
        .with_nonempty("limit", if limit == "0" { "" } else { limit })
        .with_nonempty("filters", &filter::json(&typed.list("filter")));
    let name = reference::parse(typed.operand(0)).map(|parts| parts.name.to_owned()).unwrap_or_default();
    let registry = super::pull::domain(&name).map_or(HUB, |_| super::pull::registry_of(&name));
    let auth = credentials::look_up(session, registry);
    let client = session.daemon().await?;
    let header = auth.to_header().map_err(|error| Failure::text(error.to_string()))?;
    let request = Request::get("/images/search").query(query).header(AuthConfig::HEADER, header);
    let mut found: Vec<SearchResult> = client.json(request).await?;
    // The most liked first, as the registry does not promise.
    found.sort_by_key(|result| std::cmp::Reverse(result.star_count));
    let whole = typed.switch("no-trunc");
    let rows: Vec<Row> = found.iter().map(|result| row(result, whole)).collect();
    write(&render(&KIND, choose(typed.text("format"), false, ""), false, &rows)?)?;
    Ok(0)
}

fn row(result: &SearchResult, whole: bool) -> Row {
    let line = result.description.replace(['\n', '\r'], " ");
    let description = if whole { line } else { ellipsis(&line, DESCRIPTION) };
    let mark = |is_so: bool| if is_so { "[OK]".to_owned() } else { String::new() };
    Row::new([
        ("Name", result.name.clone()),
        ("Description", description),
        ("StarCount", result.star_count.to_string()),
        ("IsOfficial", mark(result.is_official)),
        ("IsAutomated", mark(result.is_automated)),
    ])
}
