//! Whole plans as text.

use std::path::Path;

use oci::runtime::{IdMapping, NamespaceKind, Spec};

use super::*;
use crate::request::Rootfs;

fn facts() -> Facts {
    Facts {
        overlay_appends: true,
        overlay_takes_detached: true,
        mounts: true,
        apparmor: false,
        selinux: false,
        last_capability: 40,
        kcore: false,
        cgroup_v2: true,
        cgroup_trees: Vec::new(),
    }
}

/// What Docker gives a container that asks for nothing.
fn docker() -> Spec {
    serde_json::from_value(serde_json::json!({
        "ociVersion": "1.3.0",
        "hostname": "4f2a",
        "root": { "path": "rootfs" },
        "process": {
            "args": ["sh"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0, "additionalGids": [0, 10] },
            "oomScoreAdj": 0,
            "capabilities": {
                "bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN", "CAP_KILL"]
            }
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid", "noexec", "nodev"] },
            { "destination": "/etc/hosts", "type": "bind", "source": "/data/hosts", "options": ["rbind", "rprivate"] }
        ],
        "linux": {
            "namespaces": [{ "type": "mount" }, { "type": "network" }, { "type": "uts" }, { "type": "pid" }, { "type": "ipc" }, { "type": "cgroup" }],
            "seccomp": { "defaultAction": "SCMP_ACT_ALLOW" },
            "sysctl": { "net.ipv4.ip_unprivileged_port_start": "0" },
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"]
        }
    }))
    .expect("a specification")
}

fn input<'a>(spec: &'a Spec, rootfs: &'a Rootfs) -> Input<'a> {
    Input {
        id: "4f2a",
        spec,
        bundle: Path::new("/bundle"),
        rootfs,
        init: false,
        preserve_fds: 0,
        no_pivot: false,
        no_new_keyring: false,
        has_cgroup: true,
    }
}

fn plan(spec: &Spec, facts: &Facts, change: impl Fn(&mut Input<'_>)) -> Result<Plan> {
    let lower = vec!["/l/2".into(), "/l/1".into()];
    let rootfs = Rootfs::Overlay {
        lower,
        upper: "/s/upper".into(),
        work: "/s/work".into(),
        volatile: false,
        mapped: false,
    };
    let mut input = input(spec, &rootfs);
    change(&mut input);
    plan_start(input, facts)
}

/// Compares a whole plan.
fn check(got: &Plan, expected: &str) {
    let got = got.to_string();
    assert_eq!(got.trim(), expected.trim(), "the plan is now:\n{got}");
}

#[test]
fn a_container_as_docker_makes_it() {
    check(&plan(&docker(), &facts(), |_| {}).unwrap(), include_str!("golden/docker.txt"));
}

#[test]
fn on_cgroup_v1_groups_are_entered_first_and_bound_one_by_one() {
    let facts = Facts {
        cgroup_v2: false,
        overlay_appends: false,
        cgroup_trees: vec!["cpu,cpuacct".into(), "memory".into()],
        ..facts()
    };
    check(&plan(&docker(), &facts, |input| input.init = true).unwrap(), include_str!("golden/v1.txt"));
}

#[test]
fn in_a_user_namespace_devices_are_bound() {
    let mut spec = docker();
    let linux = spec.linux.as_mut().unwrap();
    linux.namespaces.push(oci::runtime::Namespace { kind: NamespaceKind::User, path: None });
    linux.uid_mappings = vec![IdMapping { container_id: 0, host_id: 100_000, size: 65_536 }];
    linux.gid_mappings = linux.uid_mappings.clone();
    spec.root.as_mut().unwrap().readonly = true;
    spec.process.as_mut().unwrap().terminal = true;
    spec.process.as_mut().unwrap().no_new_privileges = true;
    check(&plan(&spec, &facts(), |_| {}).unwrap(), include_str!("golden/userns.txt"));
}

#[test]
fn what_has_the_containers_ids_on_the_disk_is_mapped_once() {
    let mut spec = docker();
    let linux = spec.linux.as_mut().unwrap();
    linux.namespaces.push(oci::runtime::Namespace { kind: NamespaceKind::User, path: None });
    let maps = vec![IdMapping { container_id: 0, host_id: 100_000, size: 65_536 }];
    (linux.uid_mappings, linux.gid_mappings) = (maps.clone(), maps.clone());
    let hosts = spec.mounts.last_mut().unwrap();
    (hosts.uid_mappings, hosts.gid_mappings) = (maps.clone(), maps);
    let process = spec.process.as_mut().unwrap();
    process.user.uid = 33;
    let kind = "RLIMIT_NOFILE".to_owned();
    process.rlimits = vec![oci::runtime::Rlimit { kind, soft: 10, hard: 1_048_576 }];
    let root = Rootfs::Overlay {
        lower: vec!["/l/2".into(), "/l/1".into()],
        upper: "/s/upper".into(),
        work: "/s/work".into(),
        volatile: true,
        mapped: true,
    };
    let made = plan_start(input(&spec, &root), &facts()).unwrap();
    check(&made, include_str!("golden/mapped.txt"));
    let older = Facts { overlay_takes_detached: false, ..facts() };
    let older = plan_start(input(&spec, &root), &older).unwrap().to_string();
    let change = ("of detached layers", "of attached apart layers");
    assert_eq!(older, made.to_string().replace(change.0, change.1));
    let linux = spec.linux.as_mut().unwrap();
    linux.namespaces.retain(|namespace| namespace.kind != NamespaceKind::Cgroup);
    let shared = plan_start(input(&spec, &root), &facts()).unwrap().to_string();
    let line = "mount /sys/fs/cgroup: bind of source 0 +ro +nosuid +nodev +noexec";
    assert!(shared.contains("source 0: /sys/fs/cgroup\n") && shared.contains(line), "{shared}");
    let refused = plan_start(input(&docker(), &root), &facts()).unwrap_err();
    assert!(refused.message().contains("there is no user namespace"), "{refused}");
}

#[test]
fn who_may_not_mount_needs_a_user_namespace_in_which_everything_is_opened() {
    let facts = Facts { mounts: false, ..facts() };
    let refused = plan(&docker(), &facts, |_| {}).unwrap_err();
    assert!(refused.message().contains("rootless container requires user namespaces"), "{refused}");
    let mut spec = docker();
    let linux = spec.linux.as_mut().unwrap();
    linux.namespaces.push(oci::runtime::Namespace { kind: NamespaceKind::User, path: None });
    linux.uid_mappings = vec![IdMapping { container_id: 0, host_id: 1000, size: 1 }];
    linux.gid_mappings = linux.uid_mappings.clone();
    spec.process.as_mut().unwrap().user.additional_gids.clear();
    let made = plan(&spec, &facts, |_| {}).unwrap();
    let place = |wanted: &Op| made.ops.iter().position(|op| op == wanted).unwrap();
    let order = [Op::AwaitHost, Op::BecomeRoot, Op::OpenSources].map(|op| place(&op));
    assert!(order.is_sorted(), "{made}");
    // Sources of binds are copied in their turn, by who may not go where the user may not.
    assert!(made.to_string().contains("mount /etc/hosts: bind of /data/hosts and below"), "{made}");
    spec.process.as_mut().unwrap().user.additional_gids.push(5);
    assert!(plan(&spec, &facts, |_| {}).unwrap_err().message().contains("additional groups"));
}

#[test]
fn a_privileged_container_with_everything_by_path() {
    let mut spec = docker();
    let linux = spec.linux.as_mut().unwrap();
    linux.seccomp = None;
    linux.masked_paths.clear();
    linux.readonly_paths.clear();
    linux.sysctl.clear();
    linux.rootfs_propagation = "rshared".into();
    for (kind, path) in [(NamespaceKind::Network, "/run/netns/a"), (NamespaceKind::Pid, "/proc/1/ns/pid")] {
        let namespace = linux.namespaces.iter_mut().find(|namespace| namespace.kind == kind).unwrap();
        namespace.path = Some(path.into());
    }
    spec.mounts.retain(|mount| mount.destination == "/proc");
    let process = spec.process.as_mut().unwrap();
    process.capabilities.as_mut().unwrap().bounding = crate::capability::all().collect();
    check(
        &plan(&spec, &facts(), |input| input.no_pivot = true).unwrap(),
        include_str!("golden/privileged.txt"),
    );
}

#[test]
fn mounts_of_the_host_are_shared_or_those_of_another_joined() {
    let mut spec = docker();
    let linux = spec.linux.as_mut().unwrap();
    linux.seccomp = None;
    linux.masked_paths.clear();
    linux.readonly_paths.clear();
    linux.sysctl.clear();
    let rootfs = Rootfs::Path("rootfs".into());
    let lines = |spec: &Spec| {
        let all = plan_start(input(spec, &rootfs), &facts()).unwrap().to_string();
        let about =
            |line: &&str| ["root", "host rslave", "join the", "hosts"].iter().any(|w| line.contains(w));
        all.lines().filter(about).map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let mount = spec.linux.as_mut().unwrap().namespaces.remove(0);
    let shared = lines(&spec);
    let joined = oci::runtime::Namespace { path: Some("/proc/9/ns/mnt".into()), ..mount };
    spec.linux.as_mut().unwrap().namespaces.push(joined);
    assert_eq!(
        shared,
        [
            "source 0: /bundle/rootfs and below",
            "attach private root: bind of source 0 onto /bundle/rootfs",
            "mount /etc/hosts: bind of /data/hosts and below rslave rprivate",
            "change root",
        ]
    );
    assert_eq!(
        lines(&spec),
        [
            "source 0: /bundle/rootfs and below",
            "source 1: /data/hosts and below",
            "join the mount namespace",
            "make everything from the host rslave",
            "attach root: bind of source 0 onto /bundle/rootfs",
            "mount /etc/hosts: bind of source 1 rslave rprivate",
            "pivot root",
        ]
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    type Change = fn(&mut Spec);
    let cases: &[(Change, &str)] = &[
        (|spec| spec.process = None, "no process"),
        (|spec| spec.process.as_mut().unwrap().args.clear(), "no program"),
        (|spec| spec.process.as_mut().unwrap().cwd = "tmp".into(), "not an absolute path"),
        (|spec| spec.process.as_mut().unwrap().user.uid = u32::MAX, "out of range"),
        (|spec| spec.process.as_mut().unwrap().user.additional_gids = vec![1 << 31], "out of range"),
        (|spec| spec.process.as_mut().unwrap().env.push("NOVALUE".into()), "not of the form"),
        (|spec| spec.process.as_mut().unwrap().apparmor_profile = "x".into(), "AppArmor is not enabled"),
        (|spec| spec.process.as_mut().unwrap().selinux_label = "x".into(), "SELinux is not enabled"),
        (|spec| spec.linux.as_mut().unwrap().namespaces.clear(), "uts namespace"),
        (
            |spec| spec.linux.as_mut().unwrap().namespaces.retain(|n| n.kind != NamespaceKind::Mount),
            "private MNT namespace",
        ),
        (
            |spec| spec.linux.as_mut().unwrap().namespaces.retain(|n| n.kind != NamespaceKind::Uts),
            "uts namespace",
        ),
        (|spec| spec.linux.as_mut().unwrap().intel_rdt = Some(Default::default()), "intelRdt"),
        (|spec| spec.mounts[0].destination = "/".into(), "hide the root"),
        (|spec| spec.mounts[3].source.clear(), "no source"),
        (|spec| spec.linux.as_mut().unwrap().rootfs_propagation = "sideways".into(), "not known"),
        (|spec| spec.linux.as_mut().unwrap().masked_paths.push("x".into()), "not absolute"),
    ];
    for (number, (change, words)) in cases.iter().enumerate() {
        let mut spec = docker();
        change(&mut spec);
        let error = plan(&spec, &facts(), |_| {}).expect_err("refused");
        assert!(error.message().contains(words), "case {number}: {error}");
    }
}

#[test]
fn lists_of_cpus() {
    assert_eq!(list("0-2, 7"), Some(vec![0, 1, 2, 7]));
    for bad in ["x", "3-1", "-", "99999"] {
        assert_eq!(list(bad), None, "{bad}");
    }
}
