//! `container prune`, `image prune`, `system prune`: what nothing uses goes away.

use std::io::{BufRead, IsTerminal};

use client::{Client, Query, Request};

use super::image_names::deleted;
use super::{network, volume};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::units::human_size_precise;
use crate::output::write;
use crate::session::Session;
use crate::value::filter;

/// The flag that leaves the question out.
pub(crate) const FORCE: Flag = Flag::switch("force", "Do not prompt for confirmation").short('f');

/// The filters of every prune by time.
pub(crate) const UNTIL: Flag =
    Flag::of("filter", "filter", filter::check, "Provide filter values (e.g. \"until=<timestamp>\")").many();

/// `container prune`.
pub(crate) static CONTAINER: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Remove all stopped containers",
    paths: &["container prune"],
    flags: &[&[UNTIL, FORCE]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(containers(session, typed)),
};

/// `image prune`.
pub(crate) static IMAGE: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Remove unused images",
    paths: &["image prune"],
    flags: &[&[
        Flag::switch("all", "Remove all unused images, not just dangling ones").short('a'),
        UNTIL,
        FORCE,
    ]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(images(session, typed)),
};

/// `system prune`.
pub(crate) static SYSTEM: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Remove unused data",
    paths: &["system prune"],
    flags: &[&[
        Flag::switch("all", "Remove all unused images not just dangling ones").short('a'),
        Flag::of("filter", "filter", filter::check, "Provide filter values (e.g. \"label=<key>=<value>\")")
            .many(),
        FORCE,
        Flag::switch("volumes", "Prune anonymous volumes"),
    ]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(system(session, typed)),
};

/// Asks on standard output and reads one line; only `y` and `yes` mean yes.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    write(question)?;
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::text(format!("cannot read the answer: {error}")))?;
    if !std::io::stdin().is_terminal() {
        write("\n")?;
    }
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// A heading and names, or nothing when there are none.
pub(crate) fn listed(heading: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("{heading}\n{}\n\n", names.join("\n")) }
}

/// The last line of every prune.
pub(crate) fn reclaimed(bytes: u64) -> String {
    format!("Total reclaimed space: {}\n", human_size_precise(bytes as f64))
}

async fn containers(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let question =
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ";
    if !typed.switch("force") && !confirm(question)? {
        return Err(Failure::text("container prune has been cancelled"));
    }
    let client = session.daemon().await?;
    let (text, bytes) = pruned_containers(client, &typed.list("filter")).await?;
    write(&format!("{text}{}", reclaimed(bytes)))?;
    Ok(0)
}

async fn pruned_containers(client: &Client, filters: &[&str]) -> Result<(String, u64), Failure> {
    let query = Query::new().with_nonempty("filters", &filter::json(filters));
    let report: api::container::PruneReport =
        client.json(Request::post("/containers/prune").query(query)).await?;
    let ids = report.containers_deleted.unwrap_or_default();
    Ok((listed("Deleted Containers:", &ids), report.space_reclaimed))
}

async fn images(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let all = typed.switch("all");
    let which = if all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    };
    let question = format!("WARNING! This will remove {which}.\nAre you sure you want to continue? [y/N] ");
    if !typed.switch("force") && !confirm(&question)? {
        return Err(Failure::text("image prune has been cancelled"));
    }
    let client = session.daemon().await?;
    let (text, bytes) = pruned_images(client, all, &typed.list("filter")).await?;
    write(&format!("{text}{}", reclaimed(bytes)))?;
    Ok(0)
}

async fn pruned_images(client: &Client, all: bool, filters: &[&str]) -> Result<(String, u64), Failure> {
    let mut filters = filters.to_vec();
    filters.push(if all { "dangling=false" } else { "dangling=true" });
    let query = Query::new().with_nonempty("filters", &filter::json(&filters));
    let report: api::image::PruneReport = client.json(Request::post("/images/prune").query(query)).await?;
    let items = report.images_deleted.unwrap_or_default();
    let lines: String = items.iter().map(|item| deleted(item).to_lowercase()).collect();
    let text = if items.is_empty() { String::new() } else { format!("Deleted Images:\n{lines}\n") };
    Ok((text, report.space_reclaimed))
}

async fn system(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let (all, volumes) = (typed.switch("all"), typed.switch("volumes"));
    if !typed.switch("force") && !confirm(&system_question(all, volumes))? {
        return Err(Failure::text("system prune has been cancelled"));
    }
    let filters = typed.list("filter");
    let client = session.daemon().await?;
    let mut total = 0;
    let (text, bytes) = pruned_containers(client, &filters).await?;
    write(&text)?;
    total += bytes;
    write(&network::pruned(client, &filters).await?)?;
    if volumes {
        let (text, bytes) = volume::pruned(client, &filters).await?;
        write(&text)?;
        total += bytes;
    }
    let (text, bytes) = pruned_images(client, all, &filters).await?;
    write(&text)?;
    total += bytes;
    write(&reclaimed(total))?;
    Ok(0)
}

fn system_question(all: bool, volumes: bool) -> String {
    let mut what = vec!["all stopped containers", "all networks not used by at least one container"];
    if volumes {
        what.push("all anonymous volumes not used by at least one container");
    }
    what.push(if all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    });
    let lines: String = what.iter().map(|line| format!("  - {line}\n")).collect();
    format!("WARNING! This will remove:\n{lines}\nAre you sure you want to continue? [y/N] ")
}
