//! Control groups from the command line: which one a container and its processes are in, and every limit that `update`
//! changes, by flag and by file.

#[expect(unreachable_pub, dead_code, reason = "shared by several test binaries, each of which uses a part")]
mod support;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use cgroup::{Cgroup, CgroupPath, Controller, Hierarchy, Version};
use serde_json::{Value, json};
use support::{Bundle, Result, result, unable};

fn hierarchy() -> Hierarchy {
    Hierarchy::detect().expect("hierarchy")
}

fn is_v1() -> bool {
    hierarchy().version() == Version::V1
}

/// The directory of a container's group that has the files of a controller.
fn directory(bundle: &Bundle, controller: Controller) -> Option<PathBuf> {
    let hierarchy = hierarchy();
    let path = CgroupPath::parse(&format!("/{}", bundle.id)).expect("path");
    let group = Cgroup::open(&hierarchy, &path).expect("open").expect("a group");
    if !group.controllers().any(|known| known == controller) {
        return None;
    }
    let tree = hierarchy.tree(controller)?;
    Some(tree.mount_point.join(&bundle.id))
}

fn value(bundle: &Bundle, controller: Controller, file: &str) -> Option<String> {
    let text = fs::read_to_string(directory(bundle, controller)?.join(file)).ok()?;
    Some(text.trim().to_owned())
}

fn update(bundle: &Bundle, resources: &Value) -> Result {
    let mut command = bundle.command(&["update", "-r", "-", &bundle.id]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("runc");
    child.stdin.take().expect("pipe").write_all(resources.to_string().as_bytes()).expect("write");
    result(child.wait_with_output().expect("wait"))
}

/// A limit as a flag, as it is in a file, and what the group says afterwards on v1 and on v2.
struct Limit {
    flags: &'static [&'static str],
    file: Value,
    controller: Controller,
    v1: (&'static str, &'static str),
    v2: (&'static str, &'static str),
}

fn limits() -> Vec<Limit> {
    let limit = |flags, file, controller, v1, v2| Limit { flags, file, controller, v1, v2 };
    let none = ("", "");
    vec![
        limit(
            &["--memory", "48m", "--memory-swap", "-1"],
            json!({ "memory": { "limit": 48 << 20, "swap": -1 } }),
            Controller::Memory,
            ("memory.limit_in_bytes", "50331648"),
            ("memory.max", "50331648"),
        ),
        limit(
            &["--memory", "32m", "--memory-swap", "40m"],
            json!({ "memory": { "limit": 32 << 20, "swap": 40 << 20 } }),
            Controller::Memory,
            ("memory.memsw.limit_in_bytes", "41943040"),
            ("memory.swap.max", "8388608"),
        ),
        limit(
            &["--memory-reservation", "16m"],
            json!({ "memory": { "reservation": 16 << 20 } }),
            Controller::Memory,
            ("memory.soft_limit_in_bytes", "16777216"),
            ("memory.low", "16777216"),
        ),
        limit(
            &["--cpu-share", "200"],
            json!({ "cpu": { "shares": 200 } }),
            Controller::Cpu,
            ("cpu.shares", "200"),
            ("cpu.weight", "29"),
        ),
        limit(
            &["--cpu-period", "900000", "--cpu-quota", "600000"],
            json!({ "cpu": { "period": 900_000, "quota": 600_000 } }),
            Controller::Cpu,
            ("cpu.cfs_quota_us", "600000"),
            ("cpu.max", "600000 900000"),
        ),
        limit(
            &["--cpu-burst", "5000"],
            json!({ "cpu": { "burst": 5000 } }),
            Controller::Cpu,
            ("cpu.cfs_burst_us", "5000"),
            ("cpu.max.burst", "5000"),
        ),
        limit(
            &["--cpu-quota", "-1"],
            json!({ "cpu": { "quota": -1, "burst": 0 } }),
            Controller::Cpu,
            ("cpu.cfs_quota_us", "-1"),
            ("cpu.max", "max 900000"),
        ),
        limit(
            &["--cpu-idle", "1"],
            json!({ "cpu": { "idle": 1 } }),
            Controller::Cpu,
            ("cpu.idle", "1"),
            ("cpu.idle", "1"),
        ),
        limit(
            &["--cpu-idle", "0"],
            json!({ "cpu": { "idle": 0 } }),
            Controller::Cpu,
            ("cpu.idle", "0"),
            ("cpu.idle", "0"),
        ),
        limit(
            &["--cpuset-cpus", "0", "--cpuset-mems", "0"],
            json!({ "cpu": { "cpus": "0", "mems": "0" } }),
            Controller::Cpuset,
            ("cpuset.cpus", "0"),
            ("cpuset.cpus", "0"),
        ),
        limit(
            &["--pids-limit", "55"],
            json!({ "pids": { "limit": 55 } }),
            Controller::Pids,
            ("pids.max", "55"),
            ("pids.max", "55"),
        ),
        limit(
            &["--pids-limit", "-1"],
            json!({ "pids": { "limit": -1 } }),
            Controller::Pids,
            ("pids.max", "max"),
            ("pids.max", "max"),
        ),
        limit(
            &[],
            json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }] }),
            Controller::Hugetlb,
            ("hugetlb.2MB.limit_in_bytes", "4194304"),
            ("hugetlb.2MB.max", "4194304"),
        ),
        limit(
            &[],
            json!({ "unified": { "memory.high": "20971520" } }),
            Controller::Memory,
            none,
            ("memory.high", "20971520"),
        ),
    ]
}

#[test]
fn every_limit_is_updated_by_flag_and_by_file() {
    if unable() {
        return;
    }
    for limit in limits() {
        let (file, expected) = if is_v1() { limit.v1 } else { limit.v2 };
        for by_flag in [true, false] {
            let bundle = Bundle::new().script("sleep 1000").with(|config| {
                config["linux"]["resources"] = json!({ "cpu": { "period": 900_000, "quota": 500_000 } });
            });
            bundle.start();
            if !file.is_empty() && value(&bundle, limit.controller, file).is_none() {
                println!("SKIP: no {file} on this machine");
                continue;
            }
            let got = match by_flag {
                true if limit.flags.is_empty() => continue,
                true => bundle.runc(&[&["update"], limit.flags, &[bundle.id.as_str()]].concat()),
                false => update(&bundle, &limit.file),
            };
            if file.is_empty() {
                assert!(got.code == 1 && got.err.contains("invalid configuration"), "{got:?}");
                continue;
            }
            assert_eq!((got.code, got.err.as_str()), (0, ""), "{}", limit.file);
            assert_eq!(value(&bundle, limit.controller, file).as_deref(), Some(expected), "{}", limit.file);
        }
    }
}

#[test]
fn real_time_is_updated_in_the_order_that_the_kernel_takes() {
    if unable() {
        return;
    }
    let root = hierarchy().tree(Controller::Cpu).map(|tree| tree.mount_point.clone()).expect("cpu");
    if !root.join("cpu.rt_runtime_us").exists() {
        println!("SKIP: this kernel does not share out real-time processor time");
        return;
    }
    let bundle = Bundle::new().script("sleep 1000");
    bundle.start();
    for (period, runtime) in [("1000000", "600000"), ("10000", "3000"), ("100000", "20000"), ("900000", "1")]
    {
        let flags = ["update", "--cpu-rt-period", period, "--cpu-rt-runtime", runtime, &bundle.id];
        let got = bundle.runc(&flags);
        assert_eq!((got.code, got.err.as_str()), (0, ""), "{flags:?}");
        assert_eq!(value(&bundle, Controller::Cpu, "cpu.rt_period_us").as_deref(), Some(period));
        assert_eq!(value(&bundle, Controller::Cpu, "cpu.rt_runtime_us").as_deref(), Some(runtime));
    }
    let got = bundle.runc(&["update", "--cpu-rt-period", "1000", "--cpu-rt-runtime", "2000", &bundle.id]);
    assert_eq!(got.code, 1, "more time than there is: {got:?}");
}

/// The numbers of a whole disk of this machine.
fn disk() -> Option<(u32, u32)> {
    let disks = fs::read_dir("/sys/block").ok()?.flatten();
    disks.into_iter().find_map(|disk| {
        let numbers = fs::read_to_string(disk.path().join("dev")).ok()?;
        let (major, minor) = numbers.trim().split_once(':')?;
        // A loop device that nothing is behind has no queue that could be throttled.
        let in_use = fs::read_to_string(disk.path().join("size")).ok()?.trim() != "0";
        in_use.then_some((major.parse().ok()?, minor.parse().ok()?))
    })
}

#[test]
fn block_devices_are_throttled_and_let_go_again() {
    if unable() {
        return;
    }
    let Some((major, minor)) = disk() else {
        println!("SKIP: no disk");
        return;
    };
    let bundle = Bundle::new().script("sleep 1000");
    bundle.start();
    let rates = |rates: [u64; 4]| {
        let [read, write, reads, writes] =
            rates.map(|rate| json!([{ "major": major, "minor": minor, "rate": rate }]));
        json!({ "blockIO": {
            "throttleReadBpsDevice": read, "throttleWriteBpsDevice": write,
            "throttleReadIOPSDevice": reads, "throttleWriteIOPSDevice": writes
        } })
    };
    let got = update(&bundle, &rates([10_485_760, 9_437_184, 1000, 900]));
    assert_eq!((got.code, got.err.as_str()), (0, ""));
    let read = |file: &str| value(&bundle, Controller::Blkio, file);
    let files =
        [("read_bps", "10485760"), ("write_bps", "9437184"), ("read_iops", "1000"), ("write_iops", "900")];
    if is_v1() {
        for (name, rate) in files {
            let line = format!("{major}:{minor} {rate}");
            assert_eq!(read(&format!("blkio.throttle.{name}_device")), Some(line));
        }
    } else {
        let line = format!("{major}:{minor} rbps=10485760 wbps=9437184 riops=1000 wiops=900");
        assert_eq!(read("io.max"), Some(line));
    }
    assert_eq!(update(&bundle, &rates([0; 4])).code, 0, "0 lifts a limit");
    assert_eq!(read(if is_v1() { "blkio.throttle.read_bps_device" } else { "io.max" }).as_deref(), Some(""));
    let weight = bundle.runc(&["update", "--blkio-weight", "300", &bundle.id]);
    let has_weight = ["blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight"];
    let set = has_weight
        .iter()
        .filter_map(|file| read(file))
        .any(|text| text.contains("300") || text.contains("2929"));
    assert!(
        weight.code == 0 && set || weight.code == 1 && weight.err.contains("not supported"),
        "{weight:?}"
    );
}

#[test]
fn device_rules_are_updated_and_rdt_is_refused() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("sleep 1000").with(|config| {
        // There is no such device: whether the rules let it be opened is told by the error.
        config["linux"]["devices"] = json!([{ "path": "/dev/odd", "type": "c", "major": 240, "minor": 77 }]);
        config["linux"]["resources"] = json!({ "devices": [
            { "allow": false, "access": "rwm" },
            { "allow": false, "type": "c", "major": 240, "minor": 77, "access": "rwa" }
        ] });
    });
    bundle.start();
    let is_shut = || bundle.exec("exec 3</dev/odd").err.contains("Operation not permitted");
    assert!(is_shut());
    let rule = |allow: bool| json!({ "devices": [{ "allow": allow, "type": "c", "major": 240, "minor": 77, "access": "rw" }] });
    assert_eq!(update(&bundle, &rule(true)).code, 0);
    assert!(!is_shut(), "the rule of the update holds");
    assert_eq!(bundle.runc(&["update", "--pids-limit", "30", &bundle.id]).code, 0);
    assert!(!is_shut(), "other limits leave rules alone");
    assert_eq!(update(&bundle, &rule(false)).code, 0);
    assert!(is_shut());
    let got = bundle.runc(&["update", "--l3-cache-schema", "L3:0=f", &bundle.id]);
    assert!(got.code == 1 && got.err.contains("intelRdt is not supported"), "{got:?}");
    let got = update(&bundle, &json!({ "devices": [{ "allow": true, "type": "c", "access": "rx" }] }));
    assert!(got.code == 1 && got.err.contains("must be of the letters"), "{got:?}");
}

#[test]
fn a_process_joins_the_groups_that_it_is_told() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("sleep 1000").with(|config| {
        config["linux"]["namespaces"].as_array_mut().expect("list").retain(|one| one["type"] != "cgroup");
    });
    bundle.start();
    let group = |controller| directory(&bundle, controller).expect("a directory");
    let below: Vec<PathBuf> =
        [(Controller::Memory, "m"), (Controller::Cpu, "c")].map(|(one, name)| group(one).join(name)).into();
    for directory in &below {
        fs::create_dir(directory).expect("mkdir");
    }
    let exec =
        |flags: &[&str]| bundle.runc(&[&["exec"], flags, &[&bundle.id, "cat", "/proc/self/cgroup"]].concat());
    let lines = |got: &Result, end: &str| got.out.lines().filter(|line| line.ends_with(end)).count();
    let got = exec(&[]);
    assert_eq!((got.code, lines(&got, &bundle.id)), (0, got.out.lines().count()), "{got:?}");
    assert_eq!(exec(&["--cgroup", "/"]).out, got.out);
    let cases: &[(&[&str], &str)] = &[
        (&["--cgroup", ".."], ".. is not a sub cgroup path"),
        (&["--cgroup", "nowhere"], "/nowhere/cgroup.procs: no such file or directory"),
        (&["--cgroup", "cpu:nowhere"], "/nowhere/cgroup.procs: no such file or directory"),
        (&["--cgroup", "whaaat:/"], "unknown controller whaaat"),
        (&["--cgroup", "a:b:c"], "invalid --cgroup argument: a:b:c"),
        (&["--cgroup", "cpu:c", "--cgroup", "m"], "missing <controller>: prefix"),
        (&["--cgroup", "cpu:c", "--cgroup", "cpu:m"], "duplicate controller cpu"),
        (&["--cgroup", ":c"], "empty <controller> prefix"),
    ];
    for (flags, words) in cases {
        let got = exec(flags);
        assert!(got.code == 255 && got.err.contains(words), "{flags:?} {got:?}");
    }
    if is_v1() {
        let got = exec(&["--cgroup", "memory:m", "--cgroup", "cpu:c"]);
        assert_eq!((got.code, got.err.as_str()), (0, ""));
        assert!(got.out.contains(&format!(":memory:/{}/m\n", bundle.id)), "{got:?}");
        assert!(lines(&got, &format!("{}/c", bundle.id)) > 0, "{got:?}");
        assert!(
            got.out.contains(&format!(":pids:/{}\n", bundle.id)),
            "the others are the container's: {got:?}"
        );
    } else {
        assert_eq!(exec(&["--cgroup", "m"]).out, format!("0::/{}/m", bundle.id));
    }
}

#[test]
fn the_unified_tree_beside_v1_is_joined_as_well() {
    if unable() {
        return;
    }
    if !hierarchy().trees().iter().any(|tree| tree.beside) {
        println!("SKIP: no v2 tree beside those of v1");
        return;
    }
    let bundle = Bundle::new().script("sleep 1000").with(|config| {
        config["linux"]["namespaces"].as_array_mut().expect("list").retain(|one| one["type"] != "cgroup");
    });
    bundle.start();
    let own = format!("0::/{}", bundle.id);
    for script in ["cat /proc/1/cgroup", "cat /proc/self/cgroup"] {
        let got = bundle.exec(script);
        assert_eq!(got.out.lines().last(), Some(own.as_str()), "{got:?}");
    }
    assert_eq!(bundle.exec("ls /sys/fs/cgroup").out.lines().filter(|name| *name == "unified").count(), 0);
    let tree = hierarchy().trees().iter().find(|tree| tree.beside).map(|tree| tree.mount_point.clone());
    assert_eq!(bundle.runc(&["delete", "--force", &bundle.id]).code, 0);
    assert!(!tree.expect("a tree").join(&bundle.id).exists(), "it is removed with the container");
}

#[test]
fn a_frozen_group_of_somebody_else_is_refused() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("true");
    let hierarchy = hierarchy();
    let path = CgroupPath::parse(&format!("/{}", bundle.id)).expect("path");
    let group = Cgroup::create(&hierarchy, &path).expect("group");
    group.freeze().expect("freeze");
    let got = bundle.run();
    assert!(got.code == 1 && got.err.contains("container's cgroup unexpectedly frozen"), "{got:?}");
    assert!(group.is_frozen().expect("state"), "and left as it was");
    group.thaw().expect("thaw");
    group.remove().expect("remove");
    assert_eq!(bundle.run().code, 0);
}

#[test]
fn without_leave_to_make_groups_a_container_that_asks_for_none_runs() {
    if unable() {
        return;
    }
    // The host is a mount namespace in which control groups are read-only.
    let script = r#"set -e
        for at in $(sed -n 's/.* \(\/[^ ]*\) [^ ]* .*- cgroup2* .*/\1/p' /proc/self/mountinfo); do mount -o remount,bind,ro $at; done
        exec "$@""#;
    let run = |rootless: &str, change: &dyn Fn(&mut Value)| {
        let bundle = Bundle::new().script("echo ran").with(|config| {
            config["linux"].as_object_mut().expect("linux").remove("cgroupsPath");
            config["mounts"].as_array_mut().expect("mounts").retain(|one| one["type"] != "cgroup");
            change(config);
        });
        bundle.save();
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(support::runc());
        command.args(["--rootless", rootless, "--root"]).arg(bundle.directory.join("state"));
        command.args(["run", &bundle.id]).current_dir(&bundle.directory).stdin(Stdio::null());
        result(command.output().expect("unshare"))
    };
    let got = run("true", &|_| {});
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (0, "ran", ""));
    let needs = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
    let changes: [&dyn Fn(&mut Value); 2] =
        [&|config| config["linux"]["cgroupsPath"] = json!("/somewhere"), &|config| {
            config["linux"]["resources"] = json!({ "pids": { "limit": 5 } })
        }];
    for change in changes {
        let got = run("true", change);
        assert!(got.code == 1 && got.err.contains(needs), "{got:?}");
    }
    for how in ["false", "auto"] {
        let got = run(how, &|_| {});
        assert!(got.code == 1 && !got.err.contains("rootless"), "{how}: {got:?}");
    }
    let got = run("maybe", &|_| {});
    assert!(got.code == 1 && got.err.contains("--rootless"), "{got:?}");
}
