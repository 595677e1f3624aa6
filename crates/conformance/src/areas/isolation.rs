//! Isolation, seen from inside the container and from the host.

use crate::check::{Check, contains, same};
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;

const AREA: &str = "isolation";

/// The fourteen capabilities of a container, as /proc/self/status prints them.
const DEFAULT_CAPABILITIES: &str = "00000000a80425fb";

/// What a program in a container must not be able to read.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What it must not be able to change.
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "each namespace differs from the engine's", namespaces),
        Check::new(AREA, "two containers share no namespace", two_containers),
        Check::new(AREA, "--cgroupns private hides the host's cgroups", cgroup_namespace),
        Check::new(AREA, "only the container's own processes are to be seen", processes),
        Check::new(AREA, "the root is mounted inside the container only", host_mounts),
        Check::new(
            AREA,
            "what a container writes reaches neither its image nor another container",
            copy_on_write,
        ),
        Check::new(AREA, "a container has the fourteen default capabilities, none inheritable", capabilities),
        Check::new(AREA, "--cap-add and --cap-drop change them", capability_flags),
        Check::new(AREA, "another user has none", user_capabilities),
        Check::new(AREA, "seccomp filters system calls", seccomp),
        Check::new(AREA, "--security-opt seccomp=unconfined does not", seccomp_unconfined),
        Check::new(AREA, "--security-opt no-new-privileges sets the bit", no_new_privileges),
        Check::new(AREA, "masked paths are empty", masked),
        Check::new(AREA, "inspect names the masked and the read-only paths", named),
        Check::new(AREA, "read-only paths cannot be written", read_only),
        Check::new(AREA, "/sys and its cgroups are read-only", sys),
        Check::new(AREA, "mounts have Docker's options", mounts),
        Check::new(AREA, "/dev has the usual devices and no others", devices),
        Check::new(AREA, "a device node of a disk cannot be opened", device_cgroup),
        Check::new(AREA, "the program has no open file but its streams", descriptors),
        Check::new(AREA, "--privileged lifts the confinement", privileged),
        Check::new(AREA, "--pid, --ipc and --uts host share the host's", host_namespaces),
        Check::new(AREA, "--network container: shares that container's", container_network),
        Check::new(AREA, "the working directory cannot be outside the root", working_directory),
        Check::new(AREA, "a volume's target cannot be outside the root", mount_target),
    ]
}

fn status(scope: &Scope<'_>, flags: &[&str], field: &str) -> Result<String> {
    scope.script(flags, &format!("awk '/^{field}:/{{print $2}}' /proc/self/status"))
}

fn namespaces(scope: &Scope<'_>) -> Result<()> {
    let mut kinds = vec!["pid", "mnt", "uts", "ipc", "net"];
    if scope.engine.cgroup_version == 2 {
        kinds.push("cgroup");
    }
    for kind in kinds {
        let outside = std::fs::read_link(format!("/proc/self/ns/{kind}"))?.display().to_string();
        let inside = scope.script(&[], &format!("readlink /proc/self/ns/{kind}"))?;
        same(&format!("{kind} namespace shared with the host"), inside == outside, false)?;
    }
    scope.since_new_engines("it knows no time namespaces")?;
    let outside = std::fs::read_link("/proc/self/ns/time")?.display().to_string();
    same("time namespace shared", scope.script(&[], "readlink /proc/self/ns/time")? == outside, false)
}

fn two_containers(scope: &Scope<'_>) -> Result<()> {
    let script = "for n in pid mnt uts ipc net; do readlink /proc/self/ns/$n; done";
    let first = scope.start("first", &[], &["sleep", "300"])?;
    let one: BTreeSet<String> =
        scope.ok(&["exec", &first, "sh", "-c", script])?.lines().map(str::to_owned).collect();
    let two: BTreeSet<String> = scope.script(&[], script)?.lines().map(str::to_owned).collect();
    same("namespaces in both", one.intersection(&two).cloned().collect::<Vec<_>>(), Vec::<String>::new())?;
    same("namespaces", (one.len(), two.len()), (5, 5))
}

fn cgroup_namespace(scope: &Scope<'_>) -> Result<()> {
    let text = scope.script(&["--cgroupns", "private"], "cut -d: -f3 /proc/self/cgroup | sort -u")?;
    same("cgroups", text, "/")?;
    let outside = std::fs::read_link("/proc/self/ns/cgroup")?.display().to_string();
    let inside = scope.script(&["--cgroupns", "private"], "readlink /proc/self/ns/cgroup")?;
    same("cgroup namespace shared", inside == outside, false)
}

fn processes(scope: &Scope<'_>) -> Result<()> {
    let text = scope.script(&[], "ls -d /proc/[0-9]* | wc -l")?;
    same("a handful", text.trim().parse::<u32>().unwrap_or(999) <= 4, true)
}

fn host_mounts(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("mounted", &["--tmpfs", "/scratch"], &["sleep", "300"])?;
    let id = scope.inspect(&name)?["Id"].as_str().unwrap_or_default().to_owned();
    let inside = scope.ok(&["exec", &name, "grep", " / / ", "/proc/self/mountinfo"])?;
    contains("root inside", &inside, " / / ")?;
    let mut traces = Vec::new();
    for process in ["self".to_owned(), "1".to_owned()].into_iter().chain(daemon_pid(scope)) {
        let table = std::fs::read_to_string(format!("/proc/{process}/mountinfo"))?;
        traces.extend(
            table.lines().filter(|line| line.contains(&id) || line.contains(&name)).map(str::to_owned),
        );
    }
    if !traces.is_empty() {
        scope.since_new_engines("its engine mounts the root in the host's namespace")?;
    }
    same("mounts of the container outside", traces, Vec::<String>::new())
}

fn daemon_pid(scope: &Scope<'_>) -> Option<String> {
    let daemon = scope.engine.daemon.as_ref()?;
    daemon.lock().ok().map(|daemon| daemon.pid().to_string())
}

fn copy_on_write(scope: &Scope<'_>) -> Result<()> {
    same("first", scope.script(&[], "echo changed > /etc/passwd; rm /bin/vi; cat /etc/passwd")?, "changed")?;
    same(
        "second",
        scope.script(&[], "head -n 1 /etc/passwd; ls /bin/vi")?,
        "root:x:0:0:root:/root:/bin/sh\n/bin/vi",
    )
}

fn capabilities(scope: &Scope<'_>) -> Result<()> {
    let zero = "0000000000000000";
    let fields = [
        ("CapInh", zero),
        ("CapPrm", DEFAULT_CAPABILITIES),
        ("CapEff", DEFAULT_CAPABILITIES),
        ("CapBnd", DEFAULT_CAPABILITIES),
        ("CapAmb", zero),
    ];
    let text = scope.script(&[], "grep ^Cap /proc/self/status")?;
    for (field, expected) in fields {
        contains(field, &text, &format!("{field}:\t{expected}"))?;
    }
    Ok(())
}

fn capability_flags(scope: &Scope<'_>) -> Result<()> {
    same("drop all", status(scope, &["--cap-drop", "ALL"], "CapBnd")?, "0000000000000000")?;
    same(
        "drop all but one",
        status(scope, &["--cap-drop", "ALL", "--cap-add", "CHOWN"], "CapEff")?,
        "0000000000000001",
    )?;
    same("add one", status(scope, &["--cap-add", "SYS_TIME"], "CapEff")?, "00000000aa0425fb")?;
    same("drop one", status(scope, &["--cap-drop", "net_raw"], "CapEff")?, "00000000a80405fb")?;
    let output = scope.run(&["--cap-drop", "CHOWN"], &["chown", "1", "/tmp"])?.expect_code(1)?;
    contains("stderr", &output.stderr, "Operation not permitted")
}

fn user_capabilities(scope: &Scope<'_>) -> Result<()> {
    let text =
        scope.script(&["-u", "1000"], "grep -E '^Cap(Prm|Eff|Inh|Amb|Bnd)' /proc/self/status | cut -f 2")?;
    let zero = "0000000000000000";
    same(
        "CapInh, Prm, Eff, Bnd, Amb",
        text.lines().collect::<Vec<_>>(),
        vec![zero, zero, zero, DEFAULT_CAPABILITIES, zero],
    )
}

fn seccomp(scope: &Scope<'_>) -> Result<()> {
    same("mode", status(scope, &[], "Seccomp")?, "2")?;
    let output = scope.run(&["--cap-add", "SYS_PTRACE"], &["unshare", "-U", "true"])?;
    same("unshare", output.code == 0, false)?;
    contains("unshare", &output.stderr, "Operation not permitted")?;
    let output = scope.run(&[], &["mount", "-t", "tmpfs", "none", "/tmp"])?;
    same("mount", output.code == 0, false)
}

fn seccomp_unconfined(scope: &Scope<'_>) -> Result<()> {
    same("mode", status(scope, &["--security-opt", "seccomp=unconfined"], "Seccomp")?, "0")?;
    let flags = ["--security-opt", "seccomp=unconfined", "--cap-add", "SYS_ADMIN"];
    scope.script(&flags, "unshare -u true").map(drop)
}

fn no_new_privileges(scope: &Scope<'_>) -> Result<()> {
    same("default", status(scope, &[], "NoNewPrivs")?, "0")?;
    same("with the option", status(scope, &["--security-opt", "no-new-privileges"], "NoNewPrivs")?, "1")
}

fn named(scope: &Scope<'_>) -> Result<()> {
    let confined = scope.inspect(&scope.start("confined", &[], &["true"])?)?;
    let has = |field: &str, path: &str| {
        confined["HostConfig"][field].as_array().is_some_and(|paths| paths.iter().any(|named| named == path))
    };
    same("named", (has("MaskedPaths", "/proc/kcore"), has("ReadonlyPaths", "/proc/sys")), (true, true))?;
    let privileged = scope.inspect(&scope.start("privileged", &["--privileged"], &["true"])?)?;
    let host = &privileged["HostConfig"];
    same("privileged", (&host["MaskedPaths"], &host["ReadonlyPaths"]), (&Value::Null, &Value::Null))
}

fn masked(scope: &Scope<'_>) -> Result<()> {
    let here: Vec<&str> = MASKED.iter().copied().filter(|path| std::path::Path::new(path).exists()).collect();
    let script = "for p; do if [ -d $p ]; then n=$(ls -A $p | wc -l); echo $p dir $n; else n=$(head -c 9 $p | wc -c); echo $p file $n; fi; done";
    let mut command = vec!["sh", "-c", script, "sh"];
    command.extend(&here);
    let text = scope.run(&[], &command)?.expect_code(0)?.stdout;
    let full: Vec<&str> = text.lines().filter(|line| !line.ends_with(" 0")).collect();
    let old = ["/proc/interrupts", "/proc/latency_stats", "/sys/devices/virtual/powercap"];
    if !full.is_empty() && full.iter().all(|line| old.iter().any(|path| line.starts_with(path))) {
        scope.since_new_engines("/proc/interrupts and powercap were masked later")?;
    }
    same("masked paths with something inside", full, Vec::<&str>::new())
}

fn read_only(scope: &Scope<'_>) -> Result<()> {
    for path in READ_ONLY.iter().filter(|path| std::path::Path::new(path).exists()) {
        let script = format!("awk '$2==\"{path}\"{{print substr($4, 1, 2)}}' /proc/mounts");
        same(path, scope.script(&[], &script)?, "ro")?;
    }
    if std::path::Path::new("/proc/sysrq-trigger").exists() {
        let output = scope.run(&["--cap-add", "SYS_ADMIN"], &["sh", "-c", "echo h > /proc/sysrq-trigger"])?;
        contains("sysrq", &output.stderr, "Read-only file system")?;
    }
    let output = scope.run(&[], &["sh", "-c", "echo x > /proc/sys/kernel/core_pattern"])?;
    contains("core_pattern", &output.stderr, "Read-only file system")
}

fn sys(scope: &Scope<'_>) -> Result<()> {
    // On version 1 it is a directory of hierarchies, each of which is read-only.
    let directory =
        if scope.engine.cgroup_version == 2 { "/sys/fs/cgroup/new" } else { "/sys/fs/cgroup/memory/new" };
    let output = scope.run(&[], &["mkdir", directory])?;
    same("mkdir", output.code == 0, false)?;
    contains("stderr", &output.stderr, "Read-only file system")?;
    same("/sys", scope.script(&[], "awk '$2==\"/sys\"{print substr($4, 1, 2)}' /proc/mounts")?, "ro")
}

fn mounts(scope: &Scope<'_>) -> Result<()> {
    let text = scope.script(&[], "cat /proc/mounts")?;
    let find = |target: &str| -> Result<(String, String)> {
        let line =
            text.lines().find(|line| line.split(' ').nth(1) == Some(target)).context(target.to_owned())?;
        let words: Vec<&str> = line.split(' ').collect();
        Ok((words[2].to_owned(), words[3].to_owned()))
    };
    for (target, kind, options) in [
        ("/", "overlay", &["rw"][..]),
        ("/proc", "proc", &["rw", "nosuid", "nodev", "noexec"]),
        ("/dev", "tmpfs", &["rw", "nosuid", "size=65536k", "mode=755"]),
        ("/dev/pts", "devpts", &["rw", "nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"]),
        ("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
        ("/dev/mqueue", "mqueue", &["rw", "nosuid", "nodev", "noexec"]),
        ("/dev/shm", "tmpfs", &["rw", "nosuid", "nodev", "noexec", "size=65536k"]),
    ] {
        let (found, flags) = find(target)?;
        same(target, found.as_str(), kind)?;
        let flags: BTreeSet<&str> = flags.split(',').collect();
        let missing: Vec<&&str> = options.iter().filter(|option| !flags.contains(**option)).collect();
        same(&format!("{target}: options missing of {flags:?}"), missing, Vec::<&&str>::new())?;
    }
    for target in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
        find(target)?;
    }
    Ok(())
}

fn devices(scope: &Scope<'_>) -> Result<()> {
    // The link to /proc/kcore is made where the kernel has one.
    let core = if std::path::Path::new("/proc/kcore").exists() { "core " } else { "" };
    let expected =
        format!("{core}fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero");
    same("/dev", scope.script(&[], "ls /dev")?.split_whitespace().collect::<Vec<_>>().join(" "), expected)?;
    let numbers = scope.script(
        &[],
        "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a %u:%g' /dev/$d; done",
    )?;
    let expected = [
        ("null", "1:3"),
        ("zero", "1:5"),
        ("full", "1:7"),
        ("random", "1:8"),
        ("urandom", "1:9"),
        ("tty", "5:0"),
    ];
    for (line, (name, number)) in numbers.lines().zip(expected) {
        same("device", line, format!("/dev/{name} {number} 666 0:0"))?;
    }
    let text = scope.script(
        &[],
        "head -c 3 /dev/zero | wc -c; echo x > /dev/null; readlink /dev/fd; readlink /dev/ptmx",
    )?;
    same("use", text, "3\n/proc/self/fd\npts/ptmx")
}

fn device_cgroup(scope: &Scope<'_>) -> Result<()> {
    let output = scope.run(
        &[],
        &[
            "sh",
            "-c",
            "mknod /tmp/disk b 8 0 && head -c 1 /tmp/disk; mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg",
        ],
    )?;
    same("failed", output.code == 0, false)?;
    same("refusals", output.stderr.matches("Operation not permitted").count(), 2)
}

fn descriptors(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("descriptors", &[], &["sleep", "300"])?;
    same("of process 1", scope.ok(&["exec", &name, "ls", "/proc/1/fd"])?, "0\n1\n2")?;
    // The fourth is the directory that ls reads.
    same("of an exec", scope.ok(&["exec", &name, "ls", "/proc/self/fd"])?, "0\n1\n2\n3")
}

fn privileged(scope: &Scope<'_>) -> Result<()> {
    let own = std::fs::read_to_string("/proc/self/status")?;
    let bounding = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap_or_default().to_owned();
    let flags = ["--privileged"];
    let output = scope.run(&flags, &["true"])?;
    if output.stderr.contains("unable to apply caps") {
        scope.since_new_engines("its runtime fails where the machine itself lacks a capability")?;
    }
    same("CapEff", status(scope, &flags, "CapEff")?, bounding)?;
    same("Seccomp", status(scope, &flags, "Seccomp")?, "0")?;
    same("/dev/kmsg", scope.script(&flags, "test -c /dev/kmsg && echo there")?, "there")?;
    same("mount", scope.script(&flags, "mount -t tmpfs none /tmp && touch /tmp/x && ls /tmp")?, "x")?;
    same("/sys", scope.script(&flags, "awk '$2==\"/sys\"{print substr($4, 1, 2)}' /proc/mounts")?, "rw")?;
    same(
        "masks",
        scope.script(&flags, "grep -c -E ' /proc/(sys|kcore|keys|irq)' /proc/self/mountinfo || true")?,
        "0",
    )
}

fn host_namespaces(scope: &Scope<'_>) -> Result<()> {
    let read = |kind: &str| -> Result<String> {
        let pid = daemon_pid(scope).unwrap_or_else(|| "self".to_owned());
        Ok(std::fs::read_link(format!("/proc/{pid}/ns/{kind}"))?.display().to_string())
    };
    for (flag, kind) in [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--network", "net")] {
        let inside = scope.script(&[flag, "host"], &format!("readlink /proc/self/ns/{kind}"))?;
        same(&format!("{flag} host"), inside, read(kind)?)?;
    }
    Ok(())
}

fn container_network(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("donor", &[], &["sleep", "300"])?;
    let donor = scope.ok(&["exec", &name, "readlink", "/proc/self/ns/net"])?;
    let mode = format!("container:{name}");
    same("net namespace", scope.script(&["--network", &mode], "readlink /proc/self/ns/net")?, donor)
}

fn working_directory(scope: &Scope<'_>) -> Result<()> {
    // The attack of CVE-2024-21626: a working directory that is a leaked descriptor of the host.
    for number in 3..16 {
        let directory = format!("/proc/self/fd/{number}");
        let output = scope.run(&["-w", &directory], &["cat", "../../../../../etc/hostname"])?;
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
        same(&directory, !host.is_empty() && output.stdout == host, false)?;
    }
    Ok(())
}

fn mount_target(scope: &Scope<'_>) -> Result<()> {
    // The image has a link that leads out of it; what is mounted onto the link must stay inside.
    let (source, outside) = (scope.directory()?.join("source"), scope.directory()?.join("outside"));
    std::fs::create_dir_all(&source)?;
    let busybox = std::fs::read(scope.engine.busybox_program.as_deref().context("a busybox program")?)?;
    let mut root = crate::tar::Writer::new(Vec::new());
    root.add("touch", 0o755, &crate::tar::Kind::File(&busybox))?;
    root.add(
        "way",
        0o777,
        &crate::tar::Kind::Symlink(&format!("{}{}", "../".repeat(12), outside.display())),
    )?;
    let image = scope.name("linked");
    scope.client().call_with_input(&["import", "-", &image], &root.finish()?)?.expect_code(0)?;
    let (name, volume) = (scope.name("victim"), format!("{}:/way", source.display()));
    let output = scope.docker(&["run", "--name", &name, "-v", &volume, &image, "/touch", "/way/x"])?;
    scope.ok(&["rm", "-f", &name])?;
    scope.ok(&["rmi", &image])?;
    same("made outside", outside.exists(), false)?;
    same("made in the volume", source.join("x").exists(), output.code == 0)
}
