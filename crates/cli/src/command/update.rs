//! `update`: other limits for containers that exist.

use api::container_create::Updated;
use client::Request;
use serde_json::{Map, Value, json};

use super::create::parse_restart_policy;
use super::lifecycle::each;
use super::live;
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::note;
use crate::session::Session;
use crate::value::{bytes, limit};

const FLAGS: &[Flag] = &[
    Flag::of(
        "uint16",
        "blkio-weight",
        limit::check_uint16,
        "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
    )
    .default("0"),
    Flag::int("cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period"),
    Flag::int("cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    Flag::int("cpu-rt-period", "Limit the CPU real-time period in microseconds"),
    Flag::int("cpu-rt-runtime", "Limit the CPU real-time runtime in microseconds"),
    Flag::int("cpu-shares", "CPU shares (relative weight)").short('c'),
    Flag::of("decimal", "cpus", limit::check_cpus, "Number of CPUs").default("0"),
    Flag::text("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag::text("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag::of("bytes", "memory", bytes::check, "Memory limit").short('m').default("0"),
    Flag::of("bytes", "memory-reservation", bytes::check, "Memory soft limit").default("0"),
    Flag::of(
        "bytes",
        "memory-swap",
        bytes::check_swap,
        "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
    )
    .default("0"),
    Flag::int("pids-limit", "Tune container pids limit (set -1 for unlimited)"),
    Flag::text("restart", "Restart policy to apply when a container exits"),
    Flag::list("publish-add", "Publish one more port, also of a running container").checked(live::check_port),
    Flag::list("publish-rm", "Do not publish a port any more: [[IP:]HOST_PORT:]CONTAINER_PORT")
        .checked(live::check_port),
    Flag::list("mount-add", "Add a mount, also to a running container, in the words of --mount or --volume")
        .checked(live::check_mount),
    Flag::list("mount-rm", "Remove the mount at a path of the container"),
];

/// `update`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Update configuration of one or more containers",
    paths: &["container update", "update"],
    flags: &[FLAGS],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed)),
};

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    if !FLAGS.iter().any(|flag| typed.given(flag.long)) {
        return Err(Failure::text("You must provide one or more flags when using this command."));
    }
    let body = resolve(typed)?;
    let client = session.daemon().await?;
    each(typed.operands(), async |name| {
        let answer: Updated =
            client.json(Request::post(format!("/containers/{name}/update")).json(&body)).await?;
        for warning in answer.warnings.unwrap_or_default() {
            note(&warning);
        }
        Ok(format!("{name}\n"))
    })
    .await
}

/// The body of the request. What was not typed is zero, which means "as it is".
fn resolve(typed: &Typed) -> Result<Value, Failure> {
    let size = |flag: &str| Value::from(bytes::parse_swap(typed.text(flag)).unwrap_or_default());
    let int = |flag: &str| Value::from(typed.int(flag));
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
    put("BlkioWeight", typed.uint("blkio-weight").into());
    put("CpusetCpus", typed.text("cpuset-cpus").into());
    put("CpusetMems", typed.text("cpuset-mems").into());
    put("CpuShares", int("cpu-shares"));
    put("Memory", size("memory"));
    put("MemoryReservation", size("memory-reservation"));
    put("MemorySwap", size("memory-swap"));
    put("CpuPeriod", int("cpu-period"));
    put("CpuQuota", int("cpu-quota"));
    put("CpuRealtimePeriod", int("cpu-rt-period"));
    put("CpuRealtimeRuntime", int("cpu-rt-runtime"));
    put("NanoCpus", limit::nano_cpus(typed.text("cpus")).unwrap_or_default().into());
    if typed.given("pids-limit") {
        put("PidsLimit", int("pids-limit"));
    }
    if typed.given("restart") {
        put("RestartPolicy", parse_restart_policy(typed.text("restart"))?);
    } else {
        put("RestartPolicy", json!({ "Name": "", "MaximumRetryCount": 0 }));
    }
    if let Some(changes) = live::changes(typed)? {
        put("Berth", changes);
    }
    Ok(body.into())
}
