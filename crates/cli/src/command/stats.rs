//! `stats`: what containers use, as a table that is drawn again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::container_list::Summary;
use api::stats::{BlkioStats, CpuStats, MemoryStats, Stats};
use client::{Client, Query, Request};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::ps::FORMAT_HELP;
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::rows::{Kind, Row, choose, render};
use crate::output::units::{binary_size, human_size, short_id};
use crate::output::write;
use crate::session::Session;
use crate::stream::terminal;

/// Between two tables.
const PERIOD: Duration = Duration::from_secs(1);

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Show all containers (default shows just running)").short('a'),
    Flag::text("format", FORMAT_HELP),
    Flag::switch("no-stream", "Disable streaming stats and only pull the first result"),
    Flag::switch("no-trunc", "Do not truncate output"),
];

/// `stats`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS] [CONTAINER...]",
    about: "Display a live stream of container(s) resource usage statistics",
    paths: &["container stats", "stats"],
    flags: &[FLAGS],
    operands: Operands::Any,
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed)),
};

const KIND: Kind = Kind {
    headings: &[
        ("Container", "CONTAINER"),
        ("Name", "NAME"),
        ("ID", "CONTAINER ID"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "{{.ID}}",
};

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let format = choose(typed.text("format"), false, session.setting("statsFormat"));
    let truncate = !typed.switch("no-trunc");
    session.daemon().await?;
    let client = session.shared_client();
    let mut previous = BTreeMap::new();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let names = match typed.operands() {
            [] => listed(&client, typed.switch("all")).await?,
            named => named.to_vec(),
        };
        let samples = samples(&client, &names, &previous).await?;
        let rows: Vec<Row> =
            names.iter().zip(&samples).map(|(name, stats)| row(name, stats.as_ref(), truncate)).collect();
        let text = render(&KIND, format, false, &rows)?;
        if typed.switch("no-stream") {
            write(&text)?;
            return Ok(0);
        }
        if terminal::is_output() {
            write(&format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")))?;
        } else {
            write(&text)?;
        }
        if names.is_empty() {
            // Nothing to ask means nothing to wait for: the next container is an event.
            next_start(&client).await?;
        }
        let sampled = names.into_iter().zip(samples);
        previous = sampled.filter_map(|(name, stats)| Some((name, stats?.cpu_stats))).collect();
    }
}

async fn listed(client: &Client, all: bool) -> Result<Vec<String>, Failure> {
    let query = Query::new().with_switch("all", all);
    let list: Vec<Summary> = client.json(Request::get("/containers/json").query(query)).await?;
    Ok(list.into_iter().map(|container| container.id).collect())
}

async fn next_start(client: &Client) -> Result<(), Failure> {
    let filters = r#"{"event":{"start":true},"type":{"container":true}}"#;
    let request = Request::get("/events").query(Query::new().with("filters", filters));
    let mut lines = client.send(request).await?.json_lines();
    lines.next::<serde_json::Value>().await?;
    Ok(())
}

/// One sample of each container, asked for at the same time. What they used is told since the previous sample;
/// without one the daemon measures for a moment.
async fn samples(
    client: &Arc<Client>,
    names: &[String],
    previous: &BTreeMap<String, CpuStats>,
) -> Result<Vec<Option<Stats>>, Failure> {
    let mut asked = JoinSet::new();
    for (index, name) in names.iter().enumerate() {
        let (client, name, again) = (Arc::clone(client), name.clone(), previous.contains_key(name));
        asked.spawn(async move {
            let query = Query::new().with("stream", "0").with_switch("one-shot", again);
            let answer =
                client.json::<Stats>(Request::get(format!("/containers/{name}/stats")).query(query)).await;
            (index, answer)
        });
    }
    let mut samples = Vec::new();
    samples.resize_with(names.len(), || None);
    while let Some(done) = asked.join_next().await {
        let (index, answer) =
            done.map_err(|error| Failure::text(format!("a task that asks for statistics ended: {error}")))?;
        match answer {
            Ok(mut stats) => {
                if let Some(before) = previous.get(&names[index]) {
                    stats.precpu_stats.clone_from(before);
                }
                samples[index] = Some(stats);
            }
            // A container that went away while it was measured is a row of dashes.
            Err(error) if error.is_not_found() && names.len() > 1 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(samples)
}

fn row(name: &str, stats: Option<&Stats>, truncate: bool) -> Row {
    let Some(stats) = stats else {
        return Row::new(
            ["Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs", "ID", "Container"].map(
                |field| {
                    let text = if matches!(field, "ID" | "Container") { name } else { "--" };
                    (field, text.to_owned())
                },
            ),
        );
    };
    let used = memory(&stats.memory_stats);
    let limit = stats.memory_stats.limit as f64;
    let percent = if limit > 0.0 { used / limit * 100.0 } else { 0.0 };
    let sum =
        |pick: fn(&api::stats::NetworkStats) -> u64| stats.networks.values().map(pick).sum::<u64>() as f64;
    let (read, written) = block_io(&stats.blkio_stats);
    let pair = |a: f64, b: f64| format!("{} / {}", human_size(a), human_size(b));
    Row::new([
        ("Container", name.to_owned()),
        ("Name", stats.name.trim_start_matches('/').to_owned()),
        ("ID", if truncate { short_id(&stats.id).to_owned() } else { stats.id.clone() }),
        ("CPUPerc", format!("{:.2}%", cpu_percent(stats))),
        ("MemUsage", format!("{} / {}", binary_size(used), binary_size(limit))),
        ("MemPerc", format!("{percent:.2}%")),
        ("NetIO", pair(sum(|network| network.rx_bytes), sum(|network| network.tx_bytes))),
        ("BlockIO", pair(read as f64, written as f64)),
        ("PIDs", stats.pids_stats.current.to_string()),
    ])
}

/// The share of one processor, in percent: four busy processors are 400.
fn cpu_percent(stats: &Stats) -> f64 {
    let (now, before) = (&stats.cpu_stats, &stats.precpu_stats);
    let used = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
    let passed = now.system_usage as f64 - before.system_usage as f64;
    let processors = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.len() as f64,
        count => f64::from(count),
    };
    if used > 0.0 && passed > 0.0 { used / passed * processors * 100.0 } else { 0.0 }
}

/// Memory without the page cache that can go away (cgroup v1, then v2).
fn memory(stats: &MemoryStats) -> f64 {
    let cache = ["total_inactive_file", "inactive_file"]
        .iter()
        .filter_map(|key| stats.stats.get(*key))
        .find(|cache| **cache < stats.usage);
    (stats.usage - cache.copied().unwrap_or_default()) as f64
}

fn block_io(stats: &BlkioStats) -> (u64, u64) {
    let (mut read, mut written) = (0, 0);
    for entry in stats.io_service_bytes_recursive.iter().flatten() {
        match entry.op.as_bytes().first() {
            Some(b'r' | b'R') => read += entry.value,
            Some(b'w' | b'W') => written += entry.value,
            _ => {}
        }
    }
    (read, written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_row() {
        let stats: Stats = serde_json::from_value(serde_json::json!({
            "id": "0123456789abcdef", "name": "/web",
            "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 2},
            "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
            "memory_stats": {"usage": 3_145_728, "limit": 10_485_760, "stats": {"inactive_file": 1_048_576}},
            "networks": {"eth0": {"rx_bytes": 1234, "tx_bytes": 5}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 4096}, {"op": "write", "value": 1}]},
            "pids_stats": {"current": 3}
        }))
        .expect("statistics");
        let row = row("web", Some(&stats), true);
        for (field, expected) in [
            ("ID", "0123456789ab"),
            ("Name", "web"),
            ("CPUPerc", "40.00%"),
            ("MemUsage", "2MiB / 10MiB"),
            ("MemPerc", "20.00%"),
            ("NetIO", "1.23kB / 5B"),
            ("BlockIO", "4.1kB / 1B"),
            ("PIDs", "3"),
        ] {
            assert_eq!(row.field(field), expected);
        }
    }
}
