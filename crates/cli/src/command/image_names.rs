//! `rmi`, `tag`, `history`, `commit`: names of images, and where an image comes from.

use api::IdResponse;
use api::image::{DeleteItem, HistoryItem};
use client::{Query, Request};
use jiff::Timestamp;
use serde_json::json;

use super::lifecycle::each;
use super::ps::FORMAT_HELP;
use super::pull::{platform_json, platforms_json};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::rows::{Kind, Row, choose, render};
use crate::output::units::{ellipsis, human_size, short_id};
use crate::output::{note, write};
use crate::session::Session;
use crate::value::reference;
use api::time::human_duration;

/// `rmi`.
pub(crate) static RMI: Command = Command {
    synopsis: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove one or more images",
    paths: &["image rm", "image remove", "rmi"],
    flags: &[&[
        Flag::switch("force", "Force removal of the image").short('f'),
        Flag::switch("no-prune", "Do not delete untagged parents"),
        Flag::strings(
            "platform",
            "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
    ]],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(remove(session, typed)),
};

/// `tag`.
pub(crate) static TAG: Command = Command {
    synopsis: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    paths: &["image tag", "tag"],
    flags: &[],
    operands: Operands::Exactly(2),
    interspersed: true,
    run: |session, typed| Box::pin(tag(session, typed)),
};

/// `history`.
pub(crate) static HISTORY: Command = Command {
    synopsis: "[OPTIONS] IMAGE",
    about: "Show the history of an image",
    paths: &["image history", "history"],
    flags: &[&[
        Flag::text("format", FORMAT_HELP),
        Flag::switch("human", "Print sizes and dates in human readable format")
            .short('H')
            .default("true")
            .shows("true"),
        Flag::switch("no-trunc", "Don't truncate output"),
        Flag::text(
            "platform",
            "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
        Flag::switch("quiet", "Only show image IDs").short('q'),
    ]],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(history(session, typed)),
};

/// `commit`.
pub(crate) static COMMIT: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Create a new image from a container's changes",
    paths: &["container commit", "commit"],
    flags: &[&[
        Flag::text("author", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")").short('a'),
        Flag::list("change", "Apply Dockerfile instruction to the created image").short('c'),
        Flag::text("message", "Commit message").short('m'),
        Flag::switch("pause", "Pause container during commit").short('p').default("true").shows("true"),
    ]],
    operands: Operands::Between(1, 2),
    interspersed: true,
    run: |session, typed| Box::pin(commit(session, typed)),
};

async fn remove(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let force = typed.switch("force");
    let mut query = Query::new().with_switch("force", force).with_switch("noprune", typed.switch("no-prune"));
    for platform in platforms_json(&typed.list("platform")) {
        query = query.with("platforms", &platform);
    }
    let client = session.daemon().await?;
    each(typed.operands(), async |name| {
        let request = Request::delete(format!("/images/{name}")).query(query.clone());
        let items: Vec<DeleteItem> = match client.json(request).await {
            Err(error) if error.is_not_found() && force => {
                note(&error.to_string());
                return Ok(String::new());
            }
            result => result?,
        };
        Ok(items.iter().map(deleted).collect())
    })
    .await
}

/// What happened to one image.
pub(crate) fn deleted(item: &DeleteItem) -> String {
    match item.deleted.as_str() {
        "" => format!("Untagged: {}\n", item.untagged),
        id => format!("Deleted: {id}\n"),
    }
}

async fn tag(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let target = typed.operand(1);
    let invalid = |why: String| {
        Failure::text(format!("Error parsing reference: {target:?} is not a valid repository/tag: {why}"))
    };
    let parts = reference::parse(target).map_err(invalid)?;
    if !parts.digest.is_empty() {
        return Err(Failure::text("refusing to create a tag with a digest reference"));
    }
    let tag = if parts.tag.is_empty() { "latest" } else { parts.tag };
    let query = Query::new().with("repo", parts.name).with("tag", tag);
    let client = session.daemon().await?;
    client.call(Request::post(format!("/images/{}/tag", typed.operand(0))).query(query)).await?;
    Ok(0)
}

const HISTORY_KIND: Kind = Kind {
    headings: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "{{.ID}}",
};

const HISTORY_AT: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

async fn history(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let client = session.daemon().await?;
    let query = Query::new().with_nonempty("platform", &platform_json(typed.text("platform")));
    let request = Request::get(format!("/images/{}/history", typed.operand(0))).query(query);
    let items: Vec<HistoryItem> = client.json(request).await?;
    let quiet = typed.switch("quiet");
    let format = choose(typed.text("format"), quiet, "");
    let (now, truncate, human) = (Timestamp::now(), !typed.switch("no-trunc"), typed.switch("human"));
    let rows: Vec<Row> = items.iter().map(|item| history_row(item, truncate, human, now)).collect();
    let table = if human { HISTORY_KIND.table } else { HISTORY_AT };
    write(&render(&Kind { table, ..HISTORY_KIND }, format, quiet, &rows)?)?;
    Ok(0)
}

fn history_row(item: &HistoryItem, truncate: bool, human: bool, now: Timestamp) -> Row {
    let at = Timestamp::from_second(item.created).unwrap_or(Timestamp::UNIX_EPOCH);
    let at = at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    let at = at.strip_suffix("+00:00").map_or(at.clone(), |utc| format!("{utc}Z"));
    let since = match human {
        _ if item.created <= 0 => "N/A".to_owned(),
        true => format!("{} ago", human_duration(now.as_second() - item.created)),
        false => at.clone(),
    };
    let by = item.created_by.replace('\t', " ");
    Row::new([
        ("ID", if truncate { short_id(&item.id).to_owned() } else { item.id.clone() }),
        ("CreatedSince", since),
        ("CreatedAt", if item.created <= 0 { String::new() } else { at }),
        ("CreatedBy", if truncate { ellipsis(&by, 45) } else { by }),
        ("Size", if human { human_size(item.size as f64) } else { item.size.to_string() }),
        ("Comment", item.comment.clone()),
    ])
}

async fn commit(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let name = typed.operands().get(1).map_or("", String::as_str);
    let (repository, tag) = match name {
        "" => ("", ""),
        name => {
            let parts = reference::parse(name).map_err(Failure::text)?;
            if !parts.digest.is_empty() {
                return Err(Failure::text("refusing to create a tag with a digest reference"));
            }
            (parts.name, if parts.tag.is_empty() { "latest" } else { parts.tag })
        }
    };
    let mut query = Query::new()
        .with_nonempty("author", typed.text("author"))
        .with_nonempty("comment", typed.text("message"))
        .with("container", typed.operand(0))
        .with_nonempty("repo", repository)
        .with_nonempty("tag", tag);
    for change in typed.list("change") {
        query = query.with("changes", change);
    }
    if !typed.switch("pause") {
        query = query.with("pause", "0");
    }
    let client = session.daemon().await?;
    let created: IdResponse = client.json(Request::post("/commit").query(query).json(&json!({}))).await?;
    write(&format!("{}\n", created.id))?;
    Ok(0)
}
