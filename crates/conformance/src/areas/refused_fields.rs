//! What fields may not be: one row for each way of being wrong, refused when the container is made, in Docker's words.

use crate::check::{Check, same, says};
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::Result;
use serde_json::{Value, json};

const AREA: &str = "refusals";

/// (what is wrong, members of the request, status, words of the answer)
type Row = (&'static str, &'static str, u16, &'static str);

const ROWS: &[Row] = &[
    ("CapDrop: unknown", r#"{"HostConfig":{"CapDrop":["FLY"]}}"#, 400, "unknown capability: \"CAP_FLY\""),
    (
        "MemorySwappiness: above 100",
        r#"{"HostConfig":{"MemorySwappiness":101}}"#,
        400,
        "Invalid value: 101, valid memory swappiness range is 0-100",
    ),
    (
        "MemoryReservation: too small",
        r#"{"HostConfig":{"MemoryReservation":1000}}"#,
        400,
        "Minimum memory reservation allowed is 6MB",
    ),
    (
        "BlkioWeight: too small",
        r#"{"HostConfig":{"BlkioWeight":5}}"#,
        400,
        "Range of blkio weight is from 10 to 1000",
    ),
    (
        "BlkioWeight: too large",
        r#"{"HostConfig":{"BlkioWeight":1001}}"#,
        400,
        "Range of blkio weight is from 10 to 1000",
    ),
    ("CpuShares: negative", r#"{"HostConfig":{"CpuShares":-1}}"#, 400, "invalid CPU shares (-1)"),
    (
        "CpuQuota: too small",
        r#"{"HostConfig":{"CpuQuota":10}}"#,
        400,
        "CPU cfs quota can not be less than 1ms (i.e. 1000)",
    ),
    (
        "CpuRealtimeRuntime: above the period",
        r#"{"HostConfig":{"CpuRealtimePeriod":1000,"CpuRealtimeRuntime":2000}}"#,
        400,
        "real-time",
    ),
    (
        "CpusetCpus: no list",
        r#"{"HostConfig":{"CpusetCpus":"abc"}}"#,
        400,
        "Invalid value abc for cpuset cpus",
    ),
    ("CpusetMems: no list", r#"{"HostConfig":{"CpusetMems":"x"}}"#, 400, "Invalid value x for cpuset mems"),
    (
        "CpusetMems: not there",
        r#"{"HostConfig":{"CpusetMems":"4000"}}"#,
        400,
        "Requested memory nodes are not available - requested 4000, available: 0",
    ),
    (
        "Ulimits: unknown",
        r#"{"HostConfig":{"Ulimits":[{"Name":"speed","Soft":1,"Hard":1}]}}"#,
        400,
        "invalid ulimit type: speed",
    ),
    (
        "Ulimits: soft above hard",
        r#"{"HostConfig":{"Ulimits":[{"Name":"nofile","Soft":5,"Hard":1}]}}"#,
        400,
        "ulimit soft limit must be less than or equal to hard limit: 5 > 1",
    ),
    (
        "DeviceCgroupRules: no rule",
        r#"{"HostConfig":{"DeviceCgroupRules":["q 1:1 rwm"]}}"#,
        400,
        "invalid device cgroup rule format: 'q 1:1 rwm'",
    ),
    ("Annotations: without a key", r#"{"HostConfig":{"Annotations":{"":"x"}}}"#, 400, "invalid Annotations"),
    ("UTSMode: unknown", r#"{"HostConfig":{"UTSMode":"sideways"}}"#, 400, "invalid UTS mode"),
    (
        "UTSMode: the host's, with a name",
        r#"{"Hostname":"x","HostConfig":{"UTSMode":"host"}}"#,
        400,
        "conflicting options: hostname and the UTS mode",
    ),
    ("UsernsMode: unknown", r#"{"HostConfig":{"UsernsMode":"x"}}"#, 400, "invalid user namespace mode"),
    (
        "Isolation: of another system",
        r#"{"HostConfig":{"Isolation":"hyperv"}}"#,
        400,
        "invalid isolation (hyperv): linux only supports 'default'",
    ),
    (
        "Runtime: unknown",
        r#"{"HostConfig":{"Runtime":"warp"}}"#,
        400,
        "unknown or invalid runtime name: warp",
    ),
    ("Links: unknown", r#"{"HostConfig":{"Links":["nobody:x"]}}"#, 400, "could not get container for nobody"),
    (
        "VolumesFrom: unknown",
        r#"{"HostConfig":{"VolumesFrom":["nobody"]}}"#,
        400,
        "No such container: nobody",
    ),
    // Not 404: the client would pull the container's image.
    ("NetworkMode: unknown", r#"{"HostConfig":{"NetworkMode":"nobody"}}"#, 400, "network nobody not found"),
    (
        "NetworkMode: an unknown container's",
        r#"{"HostConfig":{"NetworkMode":"container:nobody"}}"#,
        400,
        "No such container: nobody",
    ),
    (
        "NetworkMode: no container's",
        r#"{"HostConfig":{"NetworkMode":"container:"}}"#,
        400,
        "invalid container format container:<name|id>",
    ),
    ("PidMode: private", r#"{"HostConfig":{"PidMode":"private"}}"#, 400, "invalid PID mode: private"),
    (
        "CpusetCpus: a range backwards",
        r#"{"HostConfig":{"CpusetCpus":"1-0"}}"#,
        400,
        "Invalid value 1-0 for cpuset cpus: invalid format: 1-0",
    ),
    (
        "CpusetCpus: a number beyond all",
        r#"{"HostConfig":{"CpusetCpus":"99999999999"}}"#,
        400,
        "value of out range, maximum is 8192",
    ),
    (
        "IOMaximumIOps: of another system",
        r#"{"HostConfig":{"IOMaximumIOps":1}}"#,
        400,
        "invalid option: QoS maximum IOPs configuration is not supported on linux",
    ),
    (
        "IOMaximumBandwidth: of another system",
        r#"{"HostConfig":{"IOMaximumBandwidth":1}}"#,
        400,
        "invalid option: QoS maximum bandwidth configuration is not supported on linux",
    ),
    (
        "Mounts: options of another type",
        r#"{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/","Target":"/x","ImageOptions":{}}]}}"#,
        400,
        "invalid mount config for type \"bind\": field ImageOptions must not be specified",
    ),
    (
        "Mounts: onto the root",
        r#"{"HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/."}]}}"#,
        400,
        "invalid mount config for type \"tmpfs\": invalid specification: destination can't be '/'",
    ),
    (
        "Mounts: an option of three words",
        r#"{"HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/x","TmpfsOptions":{"Options":[["a","b","c"]]}}]}}"#,
        400,
        "invalid option array length",
    ),
    (
        "Mounts: a volume whose name is one letter",
        r#"{"HostConfig":{"Mounts":[{"Type":"volume","Source":"v","Target":"/x"}]}}"#,
        400,
        "create v: volume name is too short, names should be at least two alphanumeric characters",
    ),
    (
        "Mounts: a volume whose name is a path",
        r#"{"HostConfig":{"Mounts":[{"Type":"volume","Source":"/abs","Target":"/x"}]}}"#,
        400,
        "If you intended to pass a host directory, use absolute path",
    ),
    (
        "Binds: onto the root",
        r#"{"HostConfig":{"Binds":["/tmp:/"]}}"#,
        400,
        "invalid volume specification: '/tmp:/': invalid mount config for type \"bind\": invalid specification",
    ),
    ("DnsSearch: two words", r#"{"HostConfig":{"DnsSearch":["a b"]}}"#, 400, "invalid DNS search domain"),
    (
        "ExtraHosts: two names",
        r#"{"HostConfig":{"ExtraHosts":["a b:1.1.1.1"]}}"#,
        400,
        "bad format for add-host",
    ),
    ("Domainname: two words", r#"{"Domainname":"a b"}"#, 400, "invalid domain name format"),
    (
        "VolumesFrom: a mode that is none",
        r#"{"HostConfig":{"VolumesFrom":["nobody:sideways"]}}"#,
        400,
        "invalid mode",
    ),
    (
        "StorageOpt: unknown",
        r#"{"HostConfig":{"StorageOpt":{"colour":"blue"}}}"#,
        400,
        "Unknown option colour",
    ),
    (
        "ExtraHosts: no pair",
        r#"{"HostConfig":{"ExtraHosts":["bad"]}}"#,
        400,
        "bad format for add-host: \"bad\"",
    ),
    (
        "ExtraHosts: no address",
        r#"{"HostConfig":{"ExtraHosts":["a:notip"]}}"#,
        400,
        "invalid IP address in add-host: \"notip\"",
    ),
    (
        "RestartPolicy: a count where there is none",
        r#"{"HostConfig":{"RestartPolicy":{"Name":"always","MaximumRetryCount":3}}}"#,
        400,
        "maximum retry count can only be used with 'on-failure'",
    ),
    (
        "Sysctls: of the host's network",
        r#"{"HostConfig":{"Sysctls":{"net.ipv4.ip_forward":"1"},"NetworkMode":"host"}}"#,
        400,
        "not allowed in host",
    ),
    (
        "Sysctls: of an interface",
        r#"{"HostConfig":{"Sysctls":{"net.ipv4.conf.eth0.forwarding":"1"}}}"#,
        400,
        "com.docker.network.endpoint.sysctls",
    ),
    (
        "SecurityOpt: unknown",
        r#"{"HostConfig":{"SecurityOpt":["nope"]}}"#,
        400,
        "invalid --security-opt 1: \"nope\"",
    ),
    (
        "SecurityOpt: a broken profile",
        r#"{"HostConfig":{"SecurityOpt":["seccomp={"]}}"#,
        400,
        "Decoding seccomp profile failed",
    ),
    (
        "PidMode: an unknown container",
        r#"{"HostConfig":{"PidMode":"container:nobody"}}"#,
        400,
        "No such container: nobody",
    ),
    (
        "IpcMode: an unknown container",
        r#"{"HostConfig":{"IpcMode":"container:nobody"}}"#,
        400,
        "No such container: nobody",
    ),
    ("Tmpfs: the root", r#"{"HostConfig":{"Tmpfs":{"/":""}}}"#, 400, "destination can't be '/'"),
    (
        "LogConfig: a cloud's",
        r#"{"HostConfig":{"LogConfig":{"Type":"awslogs"}}}"#,
        400,
        "no log driver named 'awslogs' is registered",
    ),
    (
        "Mounts: an unknown propagation",
        r#"{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/tmp","Target":"/x","BindOptions":{"Propagation":"up"}}]}}"#,
        400,
        "invalid propagation mode: up",
    ),
    (
        "Mounts: a bind of nothing",
        r#"{"HostConfig":{"Mounts":[{"Type":"bind","Target":"/x"}]}}"#,
        400,
        "field Source must not be empty",
    ),
    (
        "Mounts: a source of memory",
        r#"{"HostConfig":{"Mounts":[{"Type":"tmpfs","Source":"/x","Target":"/x"}]}}"#,
        400,
        "field Source must not be specified",
    ),
    (
        "Mounts: options of another type",
        r#"{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/tmp","Target":"/x","VolumeOptions":{"NoCopy":true}}]}}"#,
        400,
        "must not be specified",
    ),
    (
        "Mounts: a part outside of the volume",
        r#"{"HostConfig":{"Mounts":[{"Type":"volume","Source":"v","Target":"/x","VolumeOptions":{"Subpath":"../up"}}]}}"#,
        400,
        "subpath must be a relative path within the volume",
    ),
    (
        "Mounts: a part of no volume",
        r#"{"HostConfig":{"Mounts":[{"Type":"volume","Target":"/x","VolumeOptions":{"Subpath":"a"}}]}}"#,
        400,
        "must not set Subpath when using anonymous volumes",
    ),
    (
        "Mounts: an unknown option of memory",
        r#"{"HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/x","TmpfsOptions":{"Options":[["size","1"]]}}]}}"#,
        400,
        "invalid option",
    ),
    ("ExposedPorts: no port", r#"{"ExposedPorts":{"x":{}}}"#, 400, "invalid port"),
];

pub(crate) fn checks() -> Vec<Check> {
    let check = |row: &'static Row| {
        let name = format!("create refuses a field that cannot be: {}", row.0);
        Check::new(AREA, name, move |scope| refuse(scope, row))
    };
    ROWS.iter().map(check).collect()
}

fn refuse(scope: &Scope<'_>, (_, fields, status, words): &Row) -> Result<()> {
    let name = scope.name("field");
    let mut body: Value = serde_json::from_str(fields)?;
    (body["Image"], body["Cmd"]) = (BUSYBOX.into(), json!(["true"]));
    let answer = scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?;
    // Old engines leave some of it to their clients or to the start, and say some of it in other words.
    scope.since_new_engines("it finds out later, or says it otherwise")?;
    same("status", (answer.status, answer.message()).0, *status)?;
    says("words", &answer.message(), words)?;
    same("a container of that name", scope.api("GET", &format!("/containers/{name}/json"))?.status, 404)
}
