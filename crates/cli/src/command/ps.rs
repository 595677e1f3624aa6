//! `ps`, `container ls`: the containers, one per row.

use api::container_list::Summary;
use api::port::PortSummary;
use client::{Query, Request};
use jiff::Timestamp;

use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::rows::{Kind, Row, choose, render};
use crate::output::units::{ellipsis, human_size, short_id};
use crate::output::write;
use crate::session::Session;
use crate::value::filter;
use api::time::human_duration;

/// What `--format` of every list says.
pub(crate) const FORMAT_HELP: &str = "Format output using a custom template:\n\
    'table':            Print output in table format with column headers (default)\n\
    'table TEMPLATE':   Print output in table format using the given Go template\n\
    'json':             Print in JSON format\n\
    'TEMPLATE':         Print output using the given Go template.\n\
    Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Show all containers (default shows just running)").short('a'),
    Flag::of("filter", "filter", filter::check, "Filter output based on conditions provided")
        .short('f')
        .many(),
    Flag::text("format", FORMAT_HELP),
    Flag::int("last", "Show n last created containers (includes all states)")
        .short('n')
        .default("-1")
        .shows("-1"),
    Flag::switch("latest", "Show the latest created container (includes all states)").short('l'),
    Flag::switch("no-trunc", "Don't truncate output"),
    Flag::switch("quiet", "Only display container IDs").short('q'),
    Flag::switch("size", "Display total file sizes").short('s'),
];

/// `ps`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "List containers",
    paths: &["container ls", "container list", "container ps", "ps"],
    flags: &[FLAGS],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed)),
};

pub(crate) const HEADINGS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Platform", "PLATFORM"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("HealthStatus", "HEALTH STATUS"),
];

const TABLE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

const TABLE_WITH_SIZE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let quiet = typed.switch("quiet");
    let format = choose(typed.text("format"), quiet, session.setting("psFormat"));
    let size = typed.switch("size")
        || (!typed.given("size") && (format.contains(".Size") || format.contains("{{json .}}")));
    let last = if typed.switch("latest") && typed.int("last") == -1 { 1 } else { typed.int("last") };
    let query = Query::new()
        .with_switch("all", typed.switch("all"))
        .with_nonempty("filters", &filter::json(&typed.list("filter")))
        .with_nonempty("limit", &if last > 0 { last.to_string() } else { String::new() })
        .with_switch("size", size);
    let client = session.daemon().await?;
    let containers: Vec<Summary> = client.json(Request::get("/containers/json").query(query)).await?;
    let kind =
        Kind { headings: HEADINGS, table: if size { TABLE_WITH_SIZE } else { TABLE }, quiet: "{{.ID}}" };
    let (now, truncate) = (Timestamp::now(), !typed.switch("no-trunc"));
    let rows: Vec<Row> = containers.iter().map(|container| row(container, truncate, now)).collect();
    write(&render(&kind, format, quiet, &rows)?)?;
    Ok(0)
}

/// A container's fields. Truncated, its id has twelve digits and its names leave out those made by links.
pub(crate) fn row(container: &Summary, truncate: bool, now: Timestamp) -> Row {
    let cut = |text: &str, width: usize| if truncate { ellipsis(text, width) } else { text.to_owned() };
    let names: Vec<&str> = container.names.iter().map(|name| name.trim_start_matches('/')).collect();
    let names = names.into_iter().filter(|name| !truncate || !name.contains('/'));
    let mounts = container.mounts.iter().map(|mount| match mount.name.as_str() {
        "" => cut(&mount.source, 15),
        name => cut(name, 15),
    });
    let volumes = container.mounts.iter().filter(|mount| mount.driver == "local").count();
    let networks = container.network_settings.iter().flat_map(|settings| settings.networks.keys());
    let health = container.health.as_ref().map(|health| health.status.clone()).unwrap_or_default();
    Row::new([
        ("ID", if truncate { short_id(&container.id).to_owned() } else { container.id.clone() }),
        ("Names", names.collect::<Vec<_>>().join(",")),
        ("Image", image(container, truncate)),
        ("Command", format!("{:?}", cut(&container.command, 20))),
        ("CreatedAt", local_time(container.created)),
        ("RunningFor", format!("{} ago", human_duration(now.as_second() - container.created))),
        ("Platform", platform(container)),
        ("Ports", ports(&container.ports)),
        ("State", container.state.to_string()),
        ("Status", container.status.clone()),
        ("Size", size(container)),
        ("Mounts", mounts.collect::<Vec<_>>().join(",")),
        ("LocalVolumes", volumes.to_string()),
        ("Networks", networks.cloned().collect::<Vec<_>>().join(",")),
        ("HealthStatus", health),
    ])
    .labels(&container.labels)
}

/// The image as the user named it; an image that lost its name, by its short id.
fn image(container: &Summary, truncate: bool) -> String {
    if container.image.is_empty() {
        return "<no image>".to_owned();
    }
    if !truncate {
        return container.image.clone();
    }
    let (id, image) = (short_id(&container.image_id), short_id(&container.image));
    let is_id = container.image.starts_with("sha256:") || container.image == container.image_id;
    if is_id && id == image {
        return id.to_owned();
    }
    // A digest behind a name says nothing to people: the name and its tag do.
    match container.image.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => container.image.clone(),
    }
}

fn platform(container: &Summary) -> String {
    let platform =
        container.image_manifest_descriptor.as_ref().and_then(|descriptor| descriptor.platform.as_ref());
    platform.map(|platform| format!("{}/{}", platform.os, platform.architecture)).unwrap_or_default()
}

fn size(container: &Summary) -> String {
    let own = human_size(container.size_rw as f64);
    match container.size_root_fs {
        0 => own,
        all => format!("{own} (virtual {})", human_size(all as f64)),
    }
}

/// Seconds since 1970 as Go prints local time: `2026-11-21 04:05:06 +0000 UTC`.
pub(crate) fn local_time(seconds: i64) -> String {
    let Ok(time) = Timestamp::from_second(seconds) else { return seconds.to_string() };
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// `0.0.0.0:8080->80/tcp, 90-92/udp`: neighbouring ports of one address together.
pub(crate) fn ports(ports: &[PortSummary]) -> String {
    #[derive(PartialEq)]
    struct Group<'a> {
        address: &'a str,
        kind: &'a str,
        first: (u16, u16),
        last: (u16, u16),
    }
    let mut sorted: Vec<_> = ports.iter().collect();
    sorted.sort_by_key(|port| (port.private_port, port.ip.clone(), port.public_port, port.protocol.clone()));
    let mut groups: Vec<Group<'_>> = Vec::new();
    for port in sorted {
        let address = port.ip.as_str();
        let pair = (port.public_port, port.private_port);
        // A port that is published under another number stands alone.
        let joins = pair.0 == 0 || pair.0 == pair.1;
        let open = groups.iter_mut().rev().find(|group| {
            let same = group.address == address
                && group.kind == port.protocol
                && (group.first.0 == 0) == (pair.0 == 0);
            joins
                && same
                && (group.first.0 == 0 || group.first.0 == group.first.1)
                && group.last.1.checked_add(1) == Some(pair.1)
        });
        match open {
            Some(group) => group.last = pair,
            None => groups.push(Group { address, kind: &port.protocol, first: pair, last: pair }),
        }
    }
    let range = |first: u16, last: u16| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let spell = |group: &Group<'_>| {
        let private = range(group.first.1, group.last.1);
        if group.first.0 == 0 {
            return format!("{private}/{}", group.kind);
        }
        let address = if group.address.contains(':') {
            format!("[{}]", group.address)
        } else {
            group.address.to_owned()
        };
        format!("{address}:{}->{private}/{}", range(group.first.0, group.last.0), group.kind)
    };
    groups.iter().map(spell).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn summary(value: serde_json::Value) -> Summary {
        serde_json::from_value(value).expect("a summary")
    }

    #[test]
    fn a_container_is_a_row() {
        let container = summary(json!({
            "Id": "0123456789abcdef", "Names": ["/web", "/db/web"], "Image": "nginx", "ImageID": "sha256:ffff",
            "Command": "nginx -g 'daemon off;' and more", "Created": 1000, "State": "running",
            "Status": "Up 5 minutes (healthy)", "Labels": {"a": "1", "b": "2"},
            "Mounts": [{"Type": "volume", "Name": "0123456789abcdef0123", "Driver": "local"}, {"Type": "bind", "Source": "/x"}],
            "NetworkSettings": {"Networks": {"bridge": {}}}
        }));
        let now = Timestamp::from_second(1000 + 7200).expect("in range");
        let short = row(&container, true, now);
        assert_eq!(short.field("ID"), "0123456789ab");
        assert_eq!(short.field("Names"), "web");
        assert_eq!(short.field("Command"), "\"nginx -g 'daemon of…\"");
        assert_eq!(short.field("RunningFor"), "2 hours ago");
        assert_eq!(short.field("Mounts"), "0123456789abcd…,/x");
        assert_eq!(short.field("LocalVolumes"), "1");
        assert_eq!(short.field("Labels"), "a=1,b=2");
        assert_eq!(short.field("Networks"), "bridge");
        let long = row(&container, false, now);
        assert_eq!((long.field("ID"), long.field("Names")), ("0123456789abcdef", "web,db/web"));
    }

    #[test]
    fn ports_are_grouped() {
        let check = |list: serde_json::Value, expected: &str| {
            let list: Vec<PortSummary> = serde_json::from_value(list).expect("ports");
            assert_eq!(ports(&list), expected);
        };
        check(json!([]), "");
        check(json!([{"PrivatePort": 80, "Type": "tcp"}]), "80/tcp");
        check(
            json!([{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                   {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]),
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
        );
        check(
            json!([{"PrivatePort": 81, "Type": "udp"}, {"PrivatePort": 80, "Type": "udp"}, {"PrivatePort": 90, "Type": "udp"}]),
            "80-81/udp, 90/udp",
        );
    }
}
