//! Fields of a request, one by one: what is asked for, what the program sees of it, and what inspect says afterwards.

use crate::check::{Check, contains, same, skip};
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::Result;
use serde_json::{Map, Value, json};

const AREA: &str = "fields";

/// One field.
struct Row {
    field: &'static str,
    /// Members of `HostConfig`; inspect shows them as they are here. `BLOCK` is a block device of this machine.
    host: &'static str,
    /// Members of the configuration; shown likewise.
    config: &'static str,
    /// What the program runs.
    script: &'static str,
    /// What it prints.
    output: &'static str,
}

const fn host(field: &'static str, host: &'static str, script: &'static str, output: &'static str) -> Row {
    Row { field, host, config: "{}", script, output }
}

const fn config(
    field: &'static str,
    config: &'static str,
    script: &'static str,
    output: &'static str,
) -> Row {
    Row { field, host: "{}", config, script, output }
}

/// Every field whose effect one program can see, and those that only inspect shows.
const ROWS: &[Row] = &[
    host("SecurityOpt: a label without SELinux", r#"{"SecurityOpt":["label=type:x_t"]}"#, "true", ""),
    host(
        "SecurityOpt: control groups that may be changed",
        r#"{"SecurityOpt":["writable-cgroups=true"]}"#,
        "grep -q ' /sys/fs/cgroup[^ ]* [^ ]* ro,' /proc/mounts && echo ro || echo rw",
        "rw",
    ),
    host("DnsSearch: an empty word", r#"{"DnsSearch":[""]}"#, "grep -c ^search /etc/resolv.conf", "0"),
    host("Annotations", r#"{"Annotations":{"org.example.key":"value"}}"#, "true", ""),
    host(
        "BlkioDeviceReadBps",
        r#"{"BlkioDeviceReadBps":[{"Path":"BLOCK","Rate":1048577}]}"#,
        "cat /sys/fs/cgroup/blkio/blkio.throttle.read_bps_device /sys/fs/cgroup/io.max 2>/dev/null | grep -o 1048577",
        "1048577",
    ),
    host(
        "BlkioDeviceReadIOps",
        r#"{"BlkioDeviceReadIOps":[{"Path":"BLOCK","Rate":1237}]}"#,
        "cat /sys/fs/cgroup/blkio/blkio.throttle.read_iops_device /sys/fs/cgroup/io.max 2>/dev/null | grep -o 1237",
        "1237",
    ),
    host(
        "BlkioDeviceWriteBps",
        r#"{"BlkioDeviceWriteBps":[{"Path":"BLOCK","Rate":1048579}]}"#,
        "cat /sys/fs/cgroup/blkio/blkio.throttle.write_bps_device /sys/fs/cgroup/io.max 2>/dev/null | grep -o 1048579",
        "1048579",
    ),
    host(
        "BlkioDeviceWriteIOps",
        r#"{"BlkioDeviceWriteIOps":[{"Path":"BLOCK","Rate":1239}]}"#,
        "cat /sys/fs/cgroup/blkio/blkio.throttle.write_iops_device /sys/fs/cgroup/io.max 2>/dev/null | grep -o 1239",
        "1239",
    ),
    host(
        "Binds",
        r#"{"Binds":["/proc/version:/v:ro"]}"#,
        "cmp /v /proc/version && echo the same",
        "the same",
    ),
    host(
        "CapAdd",
        r#"{"CapAdd":["CAP_NET_ADMIN"]}"#,
        "awk '/^CapEff/{print $2}' /proc/self/status",
        "00000000a80435fb",
    ),
    host(
        "CapDrop",
        r#"{"CapDrop":["CAP_CHOWN"]}"#,
        "awk '/^CapEff/{print $2}' /proc/self/status",
        "00000000a80425fa",
    ),
    host(
        "CgroupnsMode",
        r#"{"CgroupnsMode":"private"}"#,
        "grep -v ':/$' /proc/self/cgroup; echo no more",
        "no more",
    ),
    host("Cgroup", r#"{"Cgroup":""}"#, "true", ""),
    host("ContainerIDFile", r#"{"ContainerIDFile":"/of/the/client"}"#, "true", ""),
    Row {
        config: r#"{"Tty":true}"#,
        ..host("ConsoleSize", r#"{"ConsoleSize":[31,107]}"#, "stty size", "31 107")
    },
    host(
        "CpuPeriod and CpuQuota",
        r#"{"CpuPeriod":50000,"CpuQuota":20000}"#,
        "cat /sys/fs/cgroup/cpu.max 2>/dev/null || echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us) $(cat /sys/fs/cgroup/cpu/cpu.cfs_period_us)",
        "20000 50000",
    ),
    host(
        "CpuShares",
        r#"{"CpuShares":1024}"#,
        "cat /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null || echo 1024",
        "1024",
    ),
    host(
        "CpusetCpus",
        r#"{"CpusetCpus":"0"}"#,
        "awk '/^Cpus_allowed_list/{print $2}' /proc/self/status",
        "0",
    ),
    host(
        "CpusetMems",
        r#"{"CpusetMems":"0"}"#,
        "awk '/^Mems_allowed_list/{print $2}' /proc/self/status",
        "0",
    ),
    host(
        "DeviceCgroupRules",
        r#"{"DeviceCgroupRules":["c 1:11 rwm"],"CapAdd":["CAP_SYSLOG"]}"#,
        "mknod /tmp/k c 1 11; exec 3</tmp/k && echo open",
        "open",
    ),
    host(
        "Devices",
        r#"{"Devices":[{"PathOnHost":"/dev/zero","PathInContainer":"/dev/nought","CgroupPermissions":"rwm"}]}"#,
        "head -c 2 /dev/nought | od -An -tx1",
        "00 00",
    ),
    host(
        "Dns",
        r#"{"Dns":["192.0.2.1","2001:db8::1"]}"#,
        "awk '/^nameserver/{print $2}' /etc/resolv.conf",
        "192.0.2.1\n2001:db8::1",
    ),
    host(
        "DnsOptions",
        r#"{"DnsOptions":["ndots:3","attempts:1"]}"#,
        "grep ^options /etc/resolv.conf",
        "options ndots:3 attempts:1",
    ),
    host(
        "DnsSearch",
        r#"{"DnsSearch":["example.org","example.net"]}"#,
        "grep ^search /etc/resolv.conf",
        "search example.org example.net",
    ),
    host(
        "ExtraHosts",
        r#"{"ExtraHosts":["known:192.0.2.7"]}"#,
        "awk '$2==\"known\"{print $1}' /etc/hosts",
        "192.0.2.7",
    ),
    host("GroupAdd", r#"{"GroupAdd":["team","77"]}"#, "id -G | tr ' ' '\\n' | sort -n | uniq", "0\n77\n2000"),
    host("Init", r#"{"Init":true}"#, "test $$ != 1 && echo not the first", "not the first"),
    host("IpcMode", r#"{"IpcMode":"none"}"#, "grep -c ' /dev/shm ' /proc/mounts", "0"),
    host("Isolation", r#"{"Isolation":"default"}"#, "true", ""),
    host(
        "LogConfig",
        r#"{"LogConfig":{"Type":"json-file","Config":{"max-size":"1m"}}}"#,
        "echo kept",
        "kept",
    ),
    host("MaskedPaths", r#"{"MaskedPaths":[]}"#, "grep -c ' /proc/kcore ' /proc/mounts", "0"),
    host(
        "Memory and MemorySwap",
        r#"{"Memory":67108864,"MemorySwap":134217728}"#,
        "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes",
        "67108864",
    ),
    host(
        "MemoryReservation",
        r#"{"MemoryReservation":33554432}"#,
        "cat /sys/fs/cgroup/memory.low 2>/dev/null || cat /sys/fs/cgroup/memory/memory.soft_limit_in_bytes",
        "33554432",
    ),
    host(
        "Mounts",
        r#"{"Mounts":[{"Type":"tmpfs","Target":"/m","TmpfsOptions":{"SizeBytes":1048576,"Mode":448}}]}"#,
        "stat -c %a /m; df -k /m | awk 'END{print $2}'",
        "700\n1024",
    ),
    host(
        "Mounts, read-only",
        r#"{"Mounts":[{"Type":"tmpfs","Target":"/m","ReadOnly":true}]}"#,
        "touch /m/x 2>/dev/null || echo refused",
        "refused",
    ),
    host(
        "NanoCpus",
        r#"{"NanoCpus":500000000}"#,
        "cat /sys/fs/cgroup/cpu.max 2>/dev/null || echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us) $(cat /sys/fs/cgroup/cpu/cpu.cfs_period_us)",
        "50000 100000",
    ),
    host("NetworkMode", r#"{"NetworkMode":"none"}"#, "ls /sys/class/net", "lo"),
    host("OomScoreAdj", r#"{"OomScoreAdj":321}"#, "cat /proc/self/oom_score_adj", "321"),
    host("OomKillDisable", r#"{"OomKillDisable":false}"#, "true", ""),
    host("Umask", r#"{"Umask":63}"#, "umask", "0077"),
    host("PidMode", r#"{"PidMode":"host"}"#, "test $$ -gt 20 && echo one of many", "one of many"),
    host(
        "PidsLimit",
        r#"{"PidsLimit":77}"#,
        "cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max",
        "77",
    ),
    host("Privileged", r#"{"Privileged":true}"#, "mount -t tmpfs none /tmp && echo mounted", "mounted"),
    host("ReadonlyPaths", r#"{"ReadonlyPaths":[]}"#, "grep -c ' /proc/sys ' /proc/mounts", "0"),
    host("ReadonlyRootfs", r#"{"ReadonlyRootfs":true}"#, "touch /x 2>/dev/null || echo refused", "refused"),
    host("RestartPolicy", r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":2}}"#, "true", ""),
    host("Runtime", r#"{"Runtime":"runc"}"#, "true", ""),
    host(
        "SecurityOpt",
        r#"{"SecurityOpt":["no-new-privileges"]}"#,
        "awk '/^NoNewPrivs/{print $2}' /proc/self/status",
        "1",
    ),
    host("ShmSize", r#"{"ShmSize":1048576}"#, "df -k /dev/shm | awk 'END{print $2}'", "1024"),
    host("Sysctls", r#"{"Sysctls":{"net.core.somaxconn":"33"}}"#, "cat /proc/sys/net/core/somaxconn", "33"),
    host(
        "Tmpfs",
        r#"{"Tmpfs":{"/t":"size=1m,mode=711"}}"#,
        "stat -c %a /t; df -k /t | awk 'END{print $2}'",
        "711\n1024",
    ),
    host(
        "Ulimits",
        r#"{"Ulimits":[{"Name":"nofile","Soft":123,"Hard":456}]}"#,
        "ulimit -Sn; ulimit -Hn",
        "123\n456",
    ),
    host("UsernsMode", r#"{"UsernsMode":"host"}"#, "true", ""),
    host("UTSMode", r#"{"UTSMode":"host"}"#, "true", ""),
    host("VolumeDriver", r#"{"VolumeDriver":"local"}"#, "true", ""),
    config(
        "AttachStdin, AttachStdout, AttachStderr",
        r#"{"AttachStdin":false,"AttachStdout":true,"AttachStderr":true}"#,
        "true",
        "",
    ),
    config(
        "Domainname",
        r#"{"Hostname":"h","Domainname":"example.org"}"#,
        "cat /proc/sys/kernel/domainname; hostname",
        "example.org\nh",
    ),
    config("Entrypoint", r#"{"Entrypoint":["echo","from"]}"#, "ignored", "from sh -c ignored"),
    config("Env", r#"{"Env":["A=b c","PATH=/bin"]}"#, "echo \"$A\"", "b c"),
    config("Labels", r#"{"Labels":{"key":"value"}}"#, "true", ""),
    config("NetworkDisabled", r#"{"NetworkDisabled":true}"#, "ls /sys/class/net", "lo"),
    config("OnBuild", r#"{"OnBuild":["RUN true"]}"#, "true", ""),
    config("OpenStdin and StdinOnce", r#"{"OpenStdin":true,"StdinOnce":true}"#, "true", ""),
    config("Shell", r#"{"Shell":["/bin/ash","-c"]}"#, "true", ""),
    config("StopSignal", r#"{"StopSignal":"SIGINT"}"#, "true", ""),
    config("StopTimeout", r#"{"StopTimeout":3}"#, "true", ""),
    config("Tty", r#"{"Tty":true}"#, "test -t 1 && echo terminal", "terminal"),
    config("User", r#"{"User":"alice:team"}"#, "id -u; id -g", "1000\n2000"),
    config("WorkingDir", r#"{"WorkingDir":"/made/here"}"#, "pwd", "/made/here"),
];

pub(crate) fn checks() -> Vec<Check> {
    let check = |row: &'static Row| {
        let name = format!("{} has its effect and is shown", row.field);
        Check::new(AREA, name, move |scope| examine(scope, row))
    };
    let more = [
        Check::new(AREA, "CgroupParent is where the container's group lies", cgroup_parent),
        Check::new(AREA, "BlkioWeightDevice is in force or refused with the reason", blkio_weight_device),
        Check::new(AREA, "BlkioWeight is in force, or discarded with a warning", blkio_weight),
        Check::new(
            AREA,
            "CpuRealtimePeriod and CpuRealtimeRuntime are in force or refused clearly",
            realtime,
        ),
        Check::new(AREA, "MemorySwappiness is in force, or discarded with a warning", swappiness),
        Check::new(AREA, "fields of other systems and of the past change nothing", of_no_effect),
    ];
    ROWS.iter().map(check).chain(more).collect()
}

/// Makes and starts a container with this host part: its name, the warnings, and what the start answered.
fn started(scope: &Scope<'_>, host: &Value, script: &str) -> Result<(String, String, String)> {
    let name = scope.name("field");
    let body = json!({ "Image": BUSYBOX, "Cmd": ["sh", "-c", script], "HostConfig": host });
    let created = scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?;
    if created.status != 201 {
        return Ok((name, String::new(), created.message()));
    }
    let warnings = created.json()?["Warnings"].to_string();
    let start = scope.api("POST", &format!("/containers/{name}/start"))?;
    let words = if start.status == 204 { String::new() } else { start.message() };
    Ok((name, warnings, words))
}

fn printed(scope: &Scope<'_>, name: &str) -> Result<String> {
    scope.ended(name)?;
    scope.ok(&["logs", name])
}

fn cgroup_parent(scope: &Scope<'_>) -> Result<()> {
    let word = scope.name("parent");
    let host = json!({ "CgroupParent": format!("/{word}"), "CgroupnsMode": "host" });
    let script = format!("grep -c ':/{word}/' /proc/self/cgroup | grep -v '^0$' > /dev/null && echo below");
    let (name, _, words) = started(scope, &host, &script)?;
    same("start", words, "")?;
    same("place", printed(scope, &name)?, "below")?;
    same("inspect", scope.inspect(&name)?["HostConfig"]["CgroupParent"].take(), json!(format!("/{word}")))?;
    scope.ok(&["rm", &name])?;
    // As with Docker a parent that somebody named stays.
    let script = format!(
        "for dir in /sys/fs/cgroup/{word} /sys/fs/cgroup/*/{word}; do rmdir $dir 2>/dev/null; done; true"
    );
    std::process::Command::new("sh").args(["-c", &script]).status()?;
    Ok(())
}

fn blkio_weight(scope: &Scope<'_>) -> Result<()> {
    let host = json!({ "BlkioWeight": 300 });
    let files = "/sys/fs/cgroup/blkio/blkio.bfq.weight /sys/fs/cgroup/blkio/blkio.weight /sys/fs/cgroup/io.bfq.weight /sys/fs/cgroup/io.weight";
    let script = format!("cat {files} 2>/dev/null | grep -o -e 300 -e 2981 | head -n 1");
    let (name, warnings, words) = started(scope, &host, &script)?;
    same("start", words, "")?;
    match printed(scope, &name)?.is_empty() {
        true => contains("warnings", &warnings, "Block I/O weight"),
        false => Ok(()),
    }
}

fn blkio_weight_device(scope: &Scope<'_>) -> Result<()> {
    let host = json!({ "BlkioWeightDevice": [{ "Path": block_device()?, "Weight": 200 }] });
    let script =
        "cat /sys/fs/cgroup/blkio/*weight_device /sys/fs/cgroup/io.*weight 2>/dev/null | grep -o ' 200$'";
    let (name, _, words) = started(scope, &host, script)?;
    if !words.is_empty() {
        // The kernel gives weights to devices of the BFQ scheduler alone.
        return contains("refusal", &words, "weight");
    }
    same("in force", printed(scope, &name)?.trim().to_owned(), "200")
}

fn realtime(scope: &Scope<'_>) -> Result<()> {
    let host = json!({ "CpuRealtimePeriod": 500_000, "CpuRealtimeRuntime": 600_000 });
    let (_, _, words) = started(scope, &host, "true")?;
    contains("more than there is", &words, "real-time")?;
    let host = json!({ "CpuRealtimePeriod": 500_000, "CpuRealtimeRuntime": 1000 });
    let (name, _, words) = started(scope, &host, "cat /sys/fs/cgroup/cpu/cpu.rt_runtime_us")?;
    match words.is_empty() {
        true => same("in force", printed(scope, &name)?, "1000"),
        // Without a share of the parent group the kernel gives none; v2 has none at all.
        false => contains(
            "refusal",
            &words,
            if scope.engine.cgroup_version == 2 { "real-time" } else { "cpu.rt_runtime_us" },
        ),
    }
}

fn swappiness(scope: &Scope<'_>) -> Result<()> {
    let (name, warnings, words) =
        started(scope, &json!({ "MemorySwappiness": 7 }), "cat /sys/fs/cgroup/memory/memory.swappiness")?;
    same("start", words, "")?;
    match scope.engine.cgroup_version {
        1 => same("in force", printed(scope, &name)?, "7"),
        _ => contains("warnings", &warnings, "swappiness"),
    }
}

fn of_no_effect(scope: &Scope<'_>) -> Result<()> {
    let host = json!({
        "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0,
        "KernelMemory": 67_108_864, "KernelMemoryTCP": 67_108_864,
    });
    let (name, _, words) = started(scope, &host, "echo ran")?;
    same("start", words, "")?;
    same("output", printed(scope, &name)?, "ran")
}

/// A block device of this machine.
pub(super) fn block_device() -> Result<String> {
    let names = std::fs::read_dir("/sys/block").map(|entries| entries.filter_map(Result::ok).collect());
    let names: Vec<std::fs::DirEntry> = names.unwrap_or_default();
    let mut paths = names.iter().map(|entry| format!("/dev/{}", entry.file_name().to_string_lossy()));
    let real = |path: &String| !path.contains("/loop") && !path.contains("/ram") && !path.contains("/zram");
    paths
        .find(|path| real(path) && std::path::Path::new(path).exists())
        .ok_or_else(|| skip("no block device"))
}

fn members(text: &str) -> Result<Map<String, Value>> {
    let text = if text.contains("BLOCK") { text.replace("BLOCK", &block_device()?) } else { text.to_owned() };
    Ok(serde_json::from_str(&text)?)
}

fn examine(scope: &Scope<'_>, row: &Row) -> Result<()> {
    let (host, config) = (members(row.host)?, members(row.config)?);
    let mut body = config.clone();
    body.insert("Image".to_owned(), json!(BUSYBOX));
    body.insert("Cmd".to_owned(), json!(["sh", "-c", row.script]));
    body.insert("HostConfig".to_owned(), Value::Object(host.clone()));
    let name = scope.name("field");
    let created = scope.api_json("POST", &format!("/containers/create?name={name}"), &Value::Object(body))?;
    created.expect(201)?;
    scope.api("POST", &format!("/containers/{name}/start"))?.expect(204)?;
    scope.ended(&name)?;
    let output = scope.docker(&["logs", &name])?;
    let printed = output.stdout.replace('\r', "");
    let printed: Vec<&str> = printed.lines().map(str::trim).collect();
    same("inside", printed.join("\n"), row.output)?;
    let inspect = scope.inspect(&name)?;
    for (part, asked) in [("HostConfig", host), ("Config", config)] {
        for (key, value) in asked {
            same(&format!("{part}.{key}"), &inspect[part][&key], &value)?;
        }
    }
    Ok(())
}
