//! `volume ls | create | rm | prune`.

use api::volume::{CreateRequest, ListResponse, PruneReport, Volume};
use client::{Query, Request};

use super::lifecycle::each;
use super::prune::{FORCE, confirm, reclaimed};
use super::ps::FORMAT_HELP;
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::rows::{Kind, Row, choose, render};
use crate::output::units::human_size;
use crate::output::{note, write};
use crate::session::Session;
use crate::value::{env, filter};

/// `volume ls`.
pub(crate) static LS: Command = Command {
    synopsis: "[OPTIONS]",
    about: "List volumes",
    paths: &["volume ls", "volume list"],
    flags: &[&[
        Flag::of("filter", "filter", filter::check, "Provide filter values (e.g. \"dangling=true\")")
            .short('f')
            .many(),
        Flag::text("format", FORMAT_HELP),
        Flag::switch("quiet", "Only display volume names").short('q'),
    ]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(list(session, typed)),
};

/// `volume create`.
pub(crate) static CREATE: Command = Command {
    synopsis: "[OPTIONS] [VOLUME]",
    about: "Create a volume",
    paths: &["volume create"],
    flags: &[&[
        Flag::text("driver", "Specify volume driver name").short('d').default("local").shows("\"local\""),
        Flag::list("label", "Set metadata for a volume").checked(env::check_label),
        Flag::text("name", "Specify volume name").hidden(),
        Flag::of("map", "opt", anything, "Set driver specific options").short('o').many().shows("map[]"),
    ]],
    operands: Operands::AtMost(1),
    interspersed: true,
    run: |session, typed| Box::pin(create(session, typed)),
};

/// `volume rm`.
pub(crate) static RM: Command = Command {
    synopsis: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    paths: &["volume rm", "volume remove"],
    flags: &[&[Flag::switch("force", "Force the removal of one or more volumes").short('f')]],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(remove(session, typed)),
};

/// `volume prune`.
pub(crate) static PRUNE: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Remove unused local volumes",
    paths: &["volume prune"],
    flags: &[&[
        Flag::switch("all", "Remove all unused volumes, not just anonymous ones").short('a'),
        Flag::of("filter", "filter", filter::check, "Provide filter values (e.g. \"label=<label>\")").many(),
        FORCE,
    ]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(prune(session, typed)),
};

fn anything(_: &str) -> Result<(), String> {
    Ok(())
}

const KIND: Kind = Kind {
    headings: &[
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Group", "GROUP"),
        ("Availability", "AVAILABILITY"),
        ("Status", "STATUS"),
    ],
    table: "{{.Driver}}\t{{.Name}}",
    quiet: "{{.Name}}",
};

async fn list(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let quiet = typed.switch("quiet");
    let format = choose(typed.text("format"), quiet, session.setting("volumesFormat"));
    let query = Query::new().with_nonempty("filters", &filter::json(&typed.list("filter")));
    let client = session.daemon().await?;
    let mut answer: ListResponse = client.json(Request::get("/volumes").query(query)).await?;
    answer.volumes.sort_by(|a, b| a.name.cmp(&b.name));
    let rows: Vec<Row> = answer.volumes.iter().map(row).collect();
    write(&render(&KIND, format, quiet, &rows)?)?;
    for warning in answer.warnings.unwrap_or_default() {
        note(&format!("WARNING: {warning}"));
    }
    Ok(0)
}

fn row(volume: &Volume) -> Row {
    let usage = volume.usage_data.as_ref();
    Row::new([
        ("Name", volume.name.clone()),
        ("Driver", volume.driver.clone()),
        ("Scope", volume.scope.clone()),
        ("Mountpoint", volume.mountpoint.clone()),
        ("Links", usage.map_or("N/A".to_owned(), |usage| usage.ref_count.to_string())),
        ("Size", usage.map_or("N/A".to_owned(), |usage| human_size(usage.size as f64))),
        ("Group", "N/A".to_owned()),
        ("Availability", "N/A".to_owned()),
        ("Status", "N/A".to_owned()),
    ])
    .labels(&volume.labels.clone().unwrap_or_default())
}

async fn create(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let name = match (typed.operands().first(), typed.text("name")) {
        (Some(_), flag) if !flag.is_empty() => {
            return Err(Failure::text(
                "conflicting options: cannot specify a volume name through both --name and as a positional arg",
            ));
        }
        (Some(name), _) => name.clone(),
        (None, flag) => flag.to_owned(),
    };
    let body = CreateRequest {
        cluster_volume_spec: None,
        driver: typed.text("driver").to_owned(),
        driver_opts: Some(env::pairs(typed.list("opt"))),
        labels: Some(env::pairs(typed.list("label"))),
        name,
    };
    let client = session.daemon().await?;
    let volume: Volume = client.json(Request::post("/volumes/create").json(&body)).await?;
    write(&format!("{}\n", volume.name))?;
    Ok(0)
}

async fn remove(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let query = Query::new().with_switch("force", typed.switch("force"));
    let client = session.daemon().await?;
    each(typed.operands(), async |name| {
        client.call(Request::delete(format!("/volumes/{name}")).query(query.clone())).await?;
        Ok(format!("{name}\n"))
    })
    .await
}

async fn prune(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let which = if typed.switch("all") { "" } else { "anonymous " };
    let warning = format!(
        "WARNING! This will remove {which}local volumes not used by at least one container.\nAre you sure you want to continue? [y/N] "
    );
    if !typed.switch("force") && !confirm(&warning)? {
        return Err(Failure::text("volume prune has been cancelled"));
    }
    let mut filters = typed.list("filter");
    if typed.switch("all") {
        filters.push("all=true");
    }
    let client = session.daemon().await?;
    let (text, bytes) = pruned(client, &filters).await?;
    write(&format!("{text}{}", reclaimed(bytes)))?;
    Ok(0)
}

/// Removes volumes and says which.
pub(crate) async fn pruned(client: &client::Client, filters: &[&str]) -> Result<(String, u64), Failure> {
    let query = Query::new().with_nonempty("filters", &filter::json(filters));
    let report: PruneReport = client.json(Request::post("/volumes/prune").query(query)).await?;
    let names = report.volumes_deleted.unwrap_or_default();
    Ok((super::prune::listed("Deleted Volumes:", &names), report.space_reclaimed))
}
