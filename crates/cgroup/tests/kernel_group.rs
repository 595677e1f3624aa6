//! Groups in the kernel: limits that bite, freezing, killing, counting, removing. Needs root.

#[expect(dead_code, reason = "shared with the tests of v2")]
mod support;

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;

use cgroup::device::{DEFAULT_RULES, Rule};
use cgroup::limits::{CpuLimits, MemoryLimits};
use cgroup::{Amount, Cgroup, CgroupPath, Controller, Error, Limits};
use linux::watch::{Interest, wait};
use support::{PATIENCE, TestGroup, Waiting, exists};

const SIGKILL: i32 = 9;

#[test]
fn a_group_is_made_in_every_tree_entered_and_removed() {
    let Some(mut test) = TestGroup::new("make", &[]) else { return };
    let directories = test.hierarchy.directories(test.group().path());
    assert!(directories.iter().all(|path| exists(path)), "{directories:?}");
    let mut shell = test.shell("exit 7");
    let pid = shell.0.id();
    assert_eq!(test.group().pids().unwrap(), [pid]);
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let inside = membership.lines().filter(|line| line.ends_with(&test.group().path().to_string())).count();
    assert_eq!(inside, test.hierarchy.trees().len(), "{membership}");

    let again = Cgroup::create(&test.hierarchy, test.group().path());
    assert!(matches!(again, Err(Error::NotEmpty { pids, .. }) if pids == [pid]));

    shell.go();
    assert_eq!(shell.0.wait().unwrap().code(), Some(7));
    assert!(test.group().wait_empty(PATIENCE).unwrap());
    let path = test.group().path().clone();
    Cgroup::create(&test.hierarchy, &path).unwrap();
    test.group.take().unwrap().remove().unwrap();
    assert!(!directories.iter().any(|path| exists(path)), "{directories:?}");
    assert!(Cgroup::open(&test.hierarchy, &path).unwrap().is_none());
}

#[test]
fn groups_below_are_walked_and_removed() {
    let Some(test) = TestGroup::new("nested", &[]) else { return };
    let deep =
        ["a", "b", "c"].iter().fold(test.group().path().clone(), |path, name| path.child(name).unwrap());
    let below = Cgroup::create(&test.hierarchy, &deep).unwrap();
    let shell = Waiting::new("exit");
    below.add(shell.0.id()).unwrap();
    assert!(test.group().own_pids().unwrap().is_empty());
    assert_eq!(test.group().pids().unwrap(), [shell.0.id()]);
    let opened = Cgroup::open(&test.hierarchy, &deep).unwrap().unwrap();
    assert_eq!(opened.own_pids().unwrap(), [shell.0.id()]);
    shell.output();
}

#[test]
fn a_group_with_a_living_process_is_not_removed() {
    let Some(mut test) = TestGroup::new("busy", &[]) else { return };
    let shell = test.shell("exit");
    let path = test.group().path().clone();
    let refused = test.group.take().unwrap().remove();
    assert!(
        matches!(refused, Err(Error::NotEmpty { ref pids, .. }) if *pids == [shell.0.id()]),
        "{refused:?}"
    );
    test.group = Cgroup::open(&test.hierarchy, &path).unwrap();
    shell.output();
}

#[test]
fn a_memory_limit_kills_and_the_watch_tells() {
    let Some(test) = TestGroup::new("memory", &[Controller::Memory]) else { return };
    let (limit, swap) = (Some(Amount::Of(32 << 20)), Some(Amount::Of(32 << 20)));
    let memory = MemoryLimits { limit, swap, ..MemoryLimits::default() };
    test.group().set(&Limits { memory, ..Limits::default() }).unwrap();
    let watch = test.group().watch_oom().unwrap();
    assert!(!watch.take().unwrap());
    let output = test.shell("exec tail /dev/zero").output();
    assert_eq!(output.status.signal(), Some(SIGKILL), "{output:?}");
    assert_eq!(wait(&[(watch.as_fd(), Interest::Readable)], PATIENCE).unwrap(), [true]);
    assert!(watch.take().unwrap());
    assert_eq!(test.group().oom_kill_count().unwrap(), 1);
    let stats = test.group().stats().unwrap();
    assert_eq!(stats.memory.memory.limit, Some(32 << 20));
    assert!(stats.memory.memory.max_usage > 30 << 20, "{:?}", stats.memory.memory);
    assert_eq!(stats.memory.events["oom_kill"], 1);
}

#[test]
fn memory_limits_are_raised_lowered_and_lifted_in_place() {
    let Some(test) = TestGroup::new("update", &[Controller::Memory]) else { return };
    let mib = |value: u64| Some(Amount::Of(value << 20));
    let steps = [
        (mib(64), mib(128)),
        (mib(256), mib(512)),
        (mib(32), mib(32)),
        (mib(32), Some(Amount::Unlimited)),
        (Some(Amount::Unlimited), None),
        (mib(64), mib(64)),
    ];
    for (limit, swap) in steps {
        let memory = MemoryLimits { limit, swap, ..MemoryLimits::default() };
        test.group().set(&Limits { memory, ..Limits::default() }).unwrap();
        let expected = limit.and_then(|amount| match amount {
            Amount::Of(bytes) => Some(bytes),
            Amount::Unlimited => None,
        });
        assert_eq!(test.group().stats().unwrap().memory.memory.limit, expected);
    }
}

#[test]
fn a_pids_limit_refuses_the_next_process() {
    let Some(test) = TestGroup::new("pids", &[Controller::Pids]) else { return };
    test.group().set(&Limits { pids: Some(Amount::Of(2)), ..Limits::default() }).unwrap();
    let output = test.shell("/bin/sleep 0 & /bin/true & /bin/true & wait").output();
    let words = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(
        words.contains("cannot fork") || words.contains("resource temporarily unavailable"),
        "{output:?}"
    );
    assert_eq!(test.group().stats().unwrap().pids.limit, Some(2));
}

#[test]
fn processor_limits_are_set_and_time_is_counted() {
    let Some(test) = TestGroup::new("cpu", &[Controller::Cpu, Controller::Cpuset]) else { return };
    let cpu = |quota: u64, period: u64| CpuLimits {
        quota: Some(Amount::Of(quota)),
        period: Some(period),
        shares: Some(512),
        cpus: Some("0".to_owned()),
        ..CpuLimits::default()
    };
    for (quota, period) in [(20_000, 100_000), (5_000, 50_000), (100_000, 200_000), (1_000, 100_000)] {
        test.group().set(&Limits { cpu: cpu(quota, period), ..Limits::default() }).unwrap();
    }
    // A share that is used up even where others leave it little.
    let script = "grep Cpus_allowed_list /proc/self/status; i=0; while [ $i -lt 12000 ]; do i=$((i+1)); done";
    let mut stats = test.group().stats().unwrap().cpu;
    // On a machine that is busy enough, others leave it less than its share: until it has been held up once.
    for _ in 0..40 {
        let output = test.shell(script).output();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).split_whitespace().last(),
            Some("0"),
            "{output:?}"
        );
        stats = test.group().stats().unwrap().cpu;
        if stats.throttled_periods > 0 {
            break;
        }
    }
    // How much it took depends on the machine: a fast one is held up before it has counted much.
    assert!(stats.total_nanos > 0 && stats.throttled_periods > 0, "{stats:?}");
    assert!(stats.throttled_nanos > 0 && stats.periods >= stats.throttled_periods, "{stats:?}");
}

#[test]
fn a_frozen_group_stands_still_until_it_is_thawed() {
    let Some(test) = TestGroup::new("freeze", &[Controller::Freezer]) else { return };
    let mut shell = test.shell("while :; do :; done");
    shell.go();
    test.group().freeze().unwrap();
    assert!(test.group().is_frozen().unwrap());
    let time = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    let before = time(shell.0.id());
    wait(&[], std::time::Duration::from_millis(30)).unwrap();
    assert_eq!(before, time(shell.0.id()));
    test.group().freeze().unwrap();
    test.group().thaw().unwrap();
    assert!(!test.group().is_frozen().unwrap());
    test.group().kill(PATIENCE).unwrap();
    assert_eq!(shell.0.wait().unwrap().signal(), Some(SIGKILL));
}

#[test]
fn killing_reaches_everyone_also_below_and_while_frozen() {
    let Some(test) = TestGroup::new("kill", &[Controller::Freezer]) else { return };
    // Processes live in the leaves: a v2 group that hands controllers down has none of its own.
    let make = |name| Cgroup::create(&test.hierarchy, &test.group().path().child(name).unwrap()).unwrap();
    let (below, beside) = (make("below"), make("beside"));
    // New processes all the time, so that signalling those seen one after the other would never end.
    let mut busy = Waiting::new("g() { while :; do /bin/true & done; }; g & g & g & g");
    beside.add(busy.0.id()).unwrap();
    let mut quiet = Waiting::new("exit");
    below.add(quiet.0.id()).unwrap();
    busy.go();
    wait(&[], std::time::Duration::from_millis(50)).unwrap();
    test.group().kill(PATIENCE).unwrap();
    assert!(test.group().pids().unwrap().is_empty());
    assert_eq!(quiet.0.wait().unwrap().signal(), Some(SIGKILL));
    assert_eq!(busy.0.wait().unwrap().signal(), Some(SIGKILL));

    let mut shell = Waiting::new("exit");
    below.add(shell.0.id()).unwrap();
    test.group().freeze().unwrap();
    test.group().kill(PATIENCE).unwrap();
    assert_eq!(shell.0.wait().unwrap().signal(), Some(SIGKILL));
    assert!(!test.group().is_frozen().unwrap());
}

#[test]
fn a_device_rule_denies_and_an_update_keeps_what_stays() {
    let Some(test) = TestGroup::new("devices", &[Controller::Devices]) else { return };
    let mut rules = vec![Rule::everything(false)];
    rules.extend(DEFAULT_RULES);
    rules.retain(|rule| *rule != Rule::character(1, Some(5)));
    test.group().apply_devices(&rules).unwrap();
    let script = "head -c1 /dev/zero >/dev/null || echo zero denied; head -c1 /dev/urandom >/dev/null && echo random works";
    let output = test.shell(script).output();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "zero denied\nrandom works\n", "{output:?}");

    rules.push(Rule::character(1, Some(5)));
    rules.retain(|rule| *rule != Rule::character(1, Some(9)));
    test.group().apply_devices(&rules).unwrap();
    let script = "head -c1 /dev/zero >/dev/null && echo zero works; head -c1 /dev/urandom >/dev/null || echo random denied";
    let output = test.shell(script).output();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "zero works\nrandom denied\n", "{output:?}");
    test.group().apply_devices(&[Rule::everything(true)]).unwrap();
}

#[test]
fn a_path_that_leads_elsewhere_is_never_followed() {
    assert!(CgroupPath::parse("/berth-test/../../../etc").is_err());
    let Some(test) = TestGroup::new("hostile", &[]) else { return };
    let missing = test.group().path().child("never made").unwrap();
    assert!(Cgroup::open(&test.hierarchy, &missing).unwrap().is_none());
}

#[test]
fn a_group_left_over_from_before_is_made_anew() {
    let Some(test) = TestGroup::new("leftover", &[Controller::Pids, Controller::Freezer]) else { return };
    let path = test.group().path().child("left").unwrap();
    let left = Cgroup::create(&test.hierarchy, &path).unwrap();
    left.set(&Limits { pids: Some(Amount::Of(3)), ..Limits::default() }).unwrap();
    left.freeze().unwrap();
    let again = Cgroup::create(&test.hierarchy, &path).unwrap();
    assert_eq!((again.is_frozen().unwrap(), again.stats().unwrap().pids.limit), (false, None));
}

#[test]
fn a_thread_enters_through_files_that_were_opened_for_it() {
    let Some(test) = TestGroup::new("entrance", &[]) else { return };
    let Some(entrance) = test.group().entrance().unwrap() else {
        assert!(test.group().clone_fd().is_some());
        return;
    };
    let thread = std::thread::spawn(move || {
        entrance.enter().unwrap();
        std::fs::read_to_string("/proc/thread-self/cgroup").unwrap()
    });
    let membership = thread.join().unwrap();
    let inside = membership.lines().filter(|line| line.ends_with(&test.group().path().to_string())).count();
    // Into the v2 tree beside those of v1 a process is made.
    let trees = test.hierarchy.trees().iter().filter(|tree| !tree.beside).count();
    assert_eq!(inside, trees, "{membership}");
}
