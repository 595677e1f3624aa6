//! `top`, `port`, `diff`: single questions about one container.

use api::container::{FilesystemChange, TopResponse};
use client::{Query, Request};
use serde_json::Value;

use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::rows::aligned;
use crate::output::write;
use crate::session::Session;

/// `top`.
pub(crate) static TOP: Command = Command {
    synopsis: "CONTAINER [ps OPTIONS]",
    about: "Display the running processes of a container",
    paths: &["container top", "top"],
    flags: &[],
    operands: Operands::AtLeast(1),
    interspersed: false,
    run: |session, typed| Box::pin(top(session, typed)),
};

/// `port`.
pub(crate) static PORT: Command = Command {
    synopsis: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "List port mappings or a specific mapping for the container",
    paths: &["container port", "port"],
    flags: &[],
    operands: Operands::Between(1, 2),
    interspersed: true,
    run: |session, typed| Box::pin(port(session, typed)),
};

const DIFF_FORMAT: &[Flag] = &[Flag::text("format", super::ps::FORMAT_HELP).hidden()];

/// `diff`.
pub(crate) static DIFF: Command = Command {
    synopsis: "CONTAINER",
    about: "Inspect changes to files or directories on a container's filesystem",
    paths: &["container diff", "diff"],
    flags: &[DIFF_FORMAT],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(diff(session, typed)),
};

async fn top(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let client = session.daemon().await?;
    let query = Query::new().with_nonempty("ps_args", &typed.operands()[1..].join(" "));
    let request = Request::get(format!("/containers/{}/top", typed.operand(0))).query(query);
    let list: TopResponse = client.json(request).await?;
    let mut lines = list.titles.join("\t") + "\n";
    for process in &list.processes {
        lines.push_str(&(process.join("\t") + "\n"));
    }
    write(&aligned(&lines, 20, 3)?)?;
    Ok(0)
}

async fn port(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let name = typed.operand(0);
    let client = session.daemon().await?;
    let container: Value = client.json(Request::get(format!("/containers/{name}/json"))).await?;
    let all = container["NetworkSettings"]["Ports"].as_object().cloned().unwrap_or_default();
    let Some(wanted) = typed.operands().get(1) else {
        write(&all_ports(&all))?;
        return Ok(0);
    };
    let (number, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    if number.parse::<u16>().is_err() {
        return Err(Failure::text(format!("Error: invalid port ({number})")));
    }
    let key = format!("{number}/{protocol}");
    match all.get(&key).and_then(Value::as_array).filter(|hosts| !hosts.is_empty()) {
        Some(hosts) => write(&hosts.iter().map(|host| format!("{}\n", address(host))).collect::<String>())?,
        None => return Err(Failure::text(format!("Error: No public port '{wanted}' published for {name}"))),
    }
    Ok(0)
}

fn all_ports(all: &serde_json::Map<String, Value>) -> String {
    let mut lines: Vec<(u32, String)> = Vec::new();
    for (port, hosts) in all {
        let number = port.split('/').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        let hosts = hosts.as_array().into_iter().flatten();
        lines.extend(hosts.map(|host| (number, format!("{port} -> {}\n", address(host)))));
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn address(host: &Value) -> String {
    let word = |key: &str| host[key].as_str().unwrap_or_default();
    match word("HostIp") {
        ip if ip.contains(':') => format!("[{ip}]:{}", word("HostPort")),
        ip => format!("{ip}:{}", word("HostPort")),
    }
}

async fn diff(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let name = typed.operand(0);
    if name.is_empty() {
        return Err(Failure::text("container name cannot be empty"));
    }
    let client = session.daemon().await?;
    // A container without changes is `null` in Docker.
    let request = Request::get(format!("/containers/{name}/changes"));
    let changes: Option<Vec<FilesystemChange>> = client.json(request).await?;
    let letter = |kind: u8| ["C", "A", "D"].get(usize::from(kind)).copied().unwrap_or("?");
    let line = |change: &FilesystemChange| format!("{} {}\n", letter(change.kind), change.path);
    write(&changes.unwrap_or_default().iter().map(line).collect::<String>())?;
    Ok(0)
}
