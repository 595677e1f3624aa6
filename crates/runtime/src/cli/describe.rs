//! `spec`, a configuration to begin with, and `features`, what this runtime can do.

use std::path::Path;

use cgroup::{Hierarchy, Version};
use linux::credentials;
use linux::seccomp::Flags;
use serde_json::{Value, json};

use super::Globals;
use super::arguments::{Flag, Given, switch, value};
use crate::{Error, Kind, Result, capability, plan};

/// Flags of `spec`.
pub(super) const SPEC: &[Flag] = &[value("bundle").or('b'), switch("rootless")];

/// `spec`: writes config.json, which must not be there.
pub(super) fn spec(_: &Globals, given: &Given) -> Result<i32> {
    let path = Path::new(given.get("bundle").unwrap_or(".")).join("config.json");
    let version_2 = Hierarchy::detect().is_ok_and(|hierarchy| hierarchy.version() == Version::V2);
    let text = format!("{:#}\n", configuration(given.on("rootless"), version_2));
    let failed = |call: &'static str| {
        let path = path.clone();
        move |error: std::io::Error| Error::new(Kind::System, format!("{call}({path:?}): {error}"))
    };
    let mut file = std::fs::File::create_new(&path).map_err(failed("open"))?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed("write"))?;
    Ok(0)
}

fn configuration(rootless: bool, cgroup_namespace: bool) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mount = |destination: &str, kind: &str, options: &[&str]| {
        let source = if destination == "/dev/shm" { "shm" } else { kind };
        json!({ "destination": destination, "type": kind, "source": source, "options": options })
    };
    let safe = ["nosuid", "noexec", "nodev"];
    let terminals: &[&str] = if rootless {
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    } else {
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    };
    let system = if rootless {
        json!({ "destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] })
    } else {
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
    };
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
    let mut linux = json!({
        "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
            "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
    });
    if rootless {
        namespaces = vec!["pid", "ipc", "uts", "mount", "user"];
        let map = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
        linux["uidMappings"] = map(credentials::effective_uid());
        linux["gidMappings"] = map(credentials::effective_gid());
        linux["resources"] = json!({});
    }
    if cgroup_namespace {
        namespaces.push("cgroup");
    }
    linux["namespaces"] = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
    json!({
        "ociVersion": oci::runtime::VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "runc",
        "mounts": [
            mount("/proc", "proc", &[]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", terminals),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &safe),
            system,
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"])
        ],
        "linux": linux
    })
}

/// Flags of filters that are taken.
const SECCOMP_FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// Those that this kernel has for every filter, with a listener or without.
fn supported_flags() -> Vec<&'static str> {
    let none = Flags::default();
    let flags = [
        Flags { log: true, ..none },
        Flags { speculation: true, ..none },
        Flags { all_threads: true, ..none },
    ];
    SECCOMP_FLAGS
        .into_iter()
        .zip(flags)
        .filter(|(_, flags)| linux::seccomp::supports(*flags))
        .map(|(name, _)| name)
        .collect()
}

/// `features`.
pub(super) fn features(_: &Globals, _: &Given) -> Result<i32> {
    let on = json!({ "enabled": true });
    let off = json!({ "enabled": false });
    let document = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": oci::runtime::VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": plan::known_options(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capability::all().collect::<Vec<_>>(),
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": false, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
                    "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
                    "SCMP_CMP_NE"
                ],
                "archs": ["SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
                "knownFlags": SECCOMP_FLAGS,
                "supportedFlags": supported_flags()
            },
            "apparmor": on,
            "selinux": on,
            "intelRdt": off,
            "mountExtensions": { "idmap": on },
            "netDevices": on
        }
    });
    println!("{document:#}");
    Ok(0)
}
