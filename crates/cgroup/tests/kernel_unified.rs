//! What every group of v2 can do whatever its controllers: entered, frozen, killed, waited for, delegated, and asked
//! about devices. Works beside v1 as well, on the empty v2 tree of a hybrid machine. Needs root.

#[expect(dead_code, reason = "shared with the tests of groups that have controllers")]
mod support;

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use cgroup::device::{DEFAULT_RULES, Rule};
use cgroup::{Cgroup, Version};
use linux::bpf::DeviceProgram;
use linux::watch::wait;
use support::{PATIENCE, TestGroup, Waiting};

const SIGKILL: i32 = 9;

#[test]
fn a_group_is_entered_frozen_and_killed() {
    let Some(test) = TestGroup::unified("core") else { return };
    let group = test.group();
    assert_eq!(group.version(), Version::V2);
    assert!(group.clone_fd().is_some());
    let mut shell = test.shell("while :; do :; done");
    shell.go();
    assert_eq!(group.pids().unwrap(), [shell.0.id()]);
    assert!(!group.wait_empty(Duration::from_millis(5)).unwrap());
    group.freeze().unwrap();
    assert!(group.is_frozen().unwrap());
    let time = || std::fs::read_to_string(format!("/proc/{}/schedstat", shell.0.id())).unwrap();
    let before = time();
    wait(&[], Duration::from_millis(30)).unwrap();
    assert_eq!(before, time());
    group.kill(PATIENCE).unwrap();
    assert_eq!(shell.0.wait().unwrap().signal(), Some(SIGKILL));
    group.thaw().unwrap();
    assert!(group.wait_empty(PATIENCE).unwrap());
    assert!(group.stats().unwrap().cpu.total_nanos > 0);
}

#[test]
fn killing_reaches_the_groups_below() {
    let Some(test) = TestGroup::unified("below") else { return };
    // Processes live in the leaves: a group that hands controllers down has none of its own.
    let make = |name| Cgroup::create(&test.hierarchy, &test.group().path().child(name).unwrap()).unwrap();
    let (one, other) = (make("one"), make("other"));
    let mut shell = Waiting::new("exit");
    one.add(shell.0.id()).unwrap();
    let mut busy = Waiting::new("g() { while :; do /bin/true & done; }; g & g & g & g");
    other.add(busy.0.id()).unwrap();
    busy.go();
    test.group().kill(PATIENCE).unwrap();
    assert!(test.group().pids().unwrap().is_empty());
    assert_eq!(shell.0.wait().unwrap().signal(), Some(SIGKILL));
    busy.0.wait().unwrap();
}

#[test]
fn a_device_program_denies_and_is_replaced_in_place() {
    let Some(test) = TestGroup::unified("devices") else { return };
    let group = test.group().clone_fd().unwrap();
    let attached = || DeviceProgram::attached(group.as_fd()).unwrap().len();
    test.group().apply_devices(&[Rule::everything(true)]).unwrap();
    assert_eq!(attached(), 0);
    let mut rules = vec![Rule::everything(false)];
    rules.extend(DEFAULT_RULES);
    rules.retain(|rule| *rule != Rule::character(1, Some(5)));
    test.group().apply_devices(&rules).unwrap();
    assert_eq!(attached(), 1);
    let script = "head -c1 /dev/zero >/dev/null || echo zero denied; head -c1 /dev/urandom >/dev/null && echo random works";
    let output = test.shell(script).output();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "zero denied\nrandom works\n", "{output:?}");

    rules.push(Rule::character(1, Some(5)));
    test.group().apply_devices(&rules).unwrap();
    assert_eq!(attached(), 1);
    let output = test.shell("head -c1 /dev/zero >/dev/null && echo zero works").output();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "zero works\n", "{output:?}");
}

#[test]
fn the_longest_program_is_accepted() {
    let Some(test) = TestGroup::unified("long") else { return };
    let rules: Vec<Rule> =
        (0..500).map(|minor| Rule { allow: minor % 2 == 0, ..Rule::character(200, Some(minor)) }).collect();
    test.group().apply_devices(&rules).unwrap();
}

#[test]
fn a_delegated_group_belongs_to_its_owner_except_for_its_limits() {
    let Some(test) = TestGroup::unified("delegate") else { return };
    test.group().delegate(4321, 4322).unwrap();
    let directory = &test.hierarchy.directories(test.group().path())[0];
    let owner = |file: &str| {
        let metadata = std::fs::metadata(directory.join(file)).unwrap();
        (metadata.uid(), metadata.gid())
    };
    for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        assert_eq!(owner(file), (4321, 4322), "{file:?}");
    }
    assert_eq!(owner("cgroup.freeze"), (0, 0));
}

#[test]
fn a_process_joins_its_sibling_where_the_group_itself_takes_none() {
    let Some(test) = TestGroup::unified("beside") else { return };
    let directory = &test.hierarchy.directories(test.group().path())[0];
    let available = std::fs::read_to_string(directory.join("cgroup.controllers")).unwrap();
    let Some(controller) =
        available.split_whitespace().find(|name| ["hugetlb", "memory", "misc"].contains(name))
    else {
        support::skip("needs a controller in the v2 tree");
        return;
    };
    let init = Cgroup::create(&test.hierarchy, &test.group().path().child("init").unwrap()).unwrap();
    let (first, second) = (Waiting::new("exit"), Waiting::new("exit"));
    init.add(first.0.id()).unwrap();
    std::fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    assert!(test.group().add(second.0.id()).is_err());
    test.group().add_beside(&test.hierarchy, second.0.id(), first.0.id()).unwrap();
    let mut expected = [first.0.id(), second.0.id()];
    expected.sort_unstable();
    assert_eq!(init.pids().unwrap(), expected);
    assert!(test.group().add_beside(&test.hierarchy, second.0.id(), std::process::id()).is_err());
    first.output();
    second.output();
}

#[test]
fn a_group_left_over_from_before_is_made_anew() {
    let Some(test) = TestGroup::unified("leftover") else { return };
    let path = test.group().path().child("left").unwrap();
    let left = Cgroup::create(&test.hierarchy, &path).unwrap();
    left.freeze().unwrap();
    left.apply_devices(&[Rule::everything(false)]).unwrap();
    let again = Cgroup::create(&test.hierarchy, &path).unwrap();
    assert!(!again.is_frozen().unwrap());
    assert_eq!(DeviceProgram::attached(again.clone_fd().unwrap()).unwrap().len(), 0);
}
