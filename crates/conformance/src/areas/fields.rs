//! Fields of a request, one by one: what is asked for, what the program sees of it, and what inspect says afterwards.

use crate::check::{Check, same, skip};
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
    Row {
        config: r#"{"Tty":true}"#,
        ..host("ConsoleSize", r#"{"ConsoleSize":[31,107]}"#, "stty size", "31 107")
    },
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
    host("MaskedPaths", r#"{"MaskedPaths":[]}"#, "grep -c ' /proc/kcore ' /proc/mounts", "0"),
    host(
        "Mounts",
        r#"{"Mounts":[{"Type":"tmpfs","Target":"/m","TmpfsOptions":{"SizeBytes":1048576,"Mode":448}}]}"#,
        "stat -c %a /m; df -k /m | awk 'END{print $2}'",
        "700\n1024",
    ),
    host("NetworkMode", r#"{"NetworkMode":"none"}"#, "ls /sys/class/net", "lo"),
    host("OomScoreAdj", r#"{"OomScoreAdj":321}"#, "cat /proc/self/oom_score_adj", "321"),
    host("PidMode", r#"{"PidMode":"host"}"#, "test $$ -gt 20 && echo one of many", "one of many"),
    host("Privileged", r#"{"Privileged":true}"#, "mount -t tmpfs none /tmp && echo mounted", "mounted"),
    host("ReadonlyPaths", r#"{"ReadonlyPaths":[]}"#, "grep -c ' /proc/sys ' /proc/mounts", "0"),
    host("ReadonlyRootfs", r#"{"ReadonlyRootfs":true}"#, "touch /x 2>/dev/null || echo refused", "refused"),
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
    host("VolumeDriver", r#"{"VolumeDriver":"local"}"#, "true", ""),
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
    ROWS.iter().map(check).collect()
}

/// A block device of this machine.
fn block_device() -> Result<String> {
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
