//! The writes planned for v1 and v2, side by side.

use super::*;
use crate::facts::{CpuFacts, MemoryFacts, Weights};
use crate::limits::{BlkioLimits, CpuLimits, DeviceWeight, MemoryLimits, RdmaLimits, Throttle};

const MIB: u64 = 1 << 20;

fn facts(version: Version) -> Facts {
    Facts {
        version,
        controllers: Controller::ALL.to_vec(),
        memory: MemoryFacts { counts_swap: true, ..MemoryFacts::default() },
        cpu: CpuFacts::default(),
        weights: Some(match version {
            Version::V1 => Weights::Bfq { per_device: true },
            Version::V2 => Weights::Cost,
        }),
        hugetlb_reservations: true,
    }
}

fn lines(planned: Result<Vec<Write>>) -> Vec<String> {
    match planned {
        Ok(writes) => writes.iter().map(Write::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}

/// Compares the plans for a group that is as `change` makes the facts: v1 on the left, v2 on the right.
#[track_caller]
fn check_from(change: impl Fn(&mut Facts), limits: &Limits, expected: &str) {
    let plan = |version| {
        let mut facts = facts(version);
        change(&mut facts);
        lines(plan_limits(limits, &facts))
    };
    let (v1, v2) = (plan(Version::V1), plan(Version::V2));
    let line = |lines: &[String], at: usize| lines.get(at).cloned().unwrap_or_default();
    let mut table = String::new();
    for at in 0..v1.len().max(v2.len()) {
        table += format!("{:<52}| {}", line(&v1, at), line(&v2, at)).trim_end();
        table.push('\n');
    }
    let expected: String = expected.lines().map(|line| format!("{}\n", line.trim())).skip(1).collect();
    assert_eq!(table, expected, "\n{table}");
}

/// Compares the plans for a new group.
#[track_caller]
fn check(limits: Limits, expected: &str) {
    check_from(|_| {}, &limits, expected);
}

fn memory(limit: Option<Amount>, swap: Option<Amount>) -> Limits {
    Limits { memory: MemoryLimits { limit, swap, ..MemoryLimits::default() }, ..Limits::default() }
}

fn cpu(cpu: CpuLimits) -> Limits {
    Limits { cpu, ..Limits::default() }
}

const fn of(value: u64) -> Option<Amount> {
    Some(Amount::Of(value))
}

#[test]
fn no_limits_are_no_writes() {
    check(Limits::default(), "");
}

#[test]
fn what_docker_run_sets() {
    let limits = Limits {
        memory: MemoryLimits { limit: of(512 * MIB), swap: of(1024 * MIB), ..MemoryLimits::default() },
        cpu: CpuLimits {
            quota: of(150_000),
            period: Some(100_000),
            shares: Some(512),
            ..CpuLimits::default()
        },
        pids: of(100),
        ..Limits::default()
    };
    check(
        limits,
        "
        cpu.shares = 512                                    | cpu.weight = 59
        cpu.cfs_period_us = 100000                          | cpu.max = 150000 100000
        cpu.cfs_quota_us = 150000                           | memory.swap.max = 536870912
        memory.limit_in_bytes = 536870912                   | memory.max = 536870912
        memory.memsw.limit_in_bytes = 1073741824            | pids.max = 100
        pids.max = 100                                      |",
    );
}

#[test]
fn everything_that_memory_has() {
    let memory = MemoryLimits {
        limit: of(100),
        reservation: of(50),
        swap: Some(Amount::Unlimited),
        swappiness: Some(60),
        disable_oom_killer: true,
        check_before_update: true,
    };
    check(
        Limits { memory, ..Limits::default() },
        "
        memory.memsw.limit_in_bytes = -1                    | memory.swap.max = max
        memory.limit_in_bytes = 100                         | memory.max = 100
        memory.soft_limit_in_bytes = 50                     | memory.low = 50
        memory.oom_control = 1                              |
        memory.swappiness = 60                              |",
    );
}

#[test]
fn memory_and_swap_grow_and_shrink_without_crossing() {
    let from = |limit, swap_limit| {
        move |facts: &mut Facts| {
            facts.memory.limit = Some(limit);
            facts.memory.swap_limit = Some(swap_limit);
        }
    };
    check_from(
        from(100, 200),
        &memory(of(300), of(400)),
        "
        memory.memsw.limit_in_bytes = 400                   | memory.swap.max = 100
        memory.limit_in_bytes = 300                         | memory.max = 300",
    );
    check_from(
        from(300, 400),
        &memory(of(100), of(200)),
        "
        memory.limit_in_bytes = 100                         | memory.swap.max = 100
        memory.memsw.limit_in_bytes = 200                   | memory.max = 100",
    );
    check_from(
        from(100, 200),
        &memory(Some(Amount::Unlimited), None),
        "
        memory.memsw.limit_in_bytes = -1                    | memory.swap.max = max
        memory.limit_in_bytes = -1                          | memory.max = max",
    );
    check_from(
        from(100, 200),
        &memory(None, of(150)),
        "\nmemory.memsw.limit_in_bytes = 150                   | memory.swap.max = 50",
    );
}

#[test]
fn swap_equal_to_memory_forbids_swap() {
    check(
        memory(of(100), of(100)),
        "
        memory.limit_in_bytes = 100                         | memory.swap.max = 0
        memory.memsw.limit_in_bytes = 100                   | memory.max = 100",
    );
}

#[test]
fn a_kernel_that_does_not_count_swap_has_no_swap_limit() {
    let uncounted = |facts: &mut Facts| facts.memory.counts_swap = false;
    let refused = "memory swap limit: not supported here: this kernel does not count swap (swapaccount=1)";
    check_from(uncounted, &memory(of(100), of(200)), &format!("\n{refused}| {refused}"));
    check_from(
        uncounted,
        &memory(Some(Amount::Unlimited), None),
        "\nmemory.limit_in_bytes = -1                          | memory.max = max",
    );
}

#[test]
fn limits_of_memory_that_contradict_each_other_are_refused() {
    let refused = "memory limit 200, memory+swap limit 100: memory+swap limit should be >= memory limit";
    check(memory(of(200), of(100)), &format!("\n{refused}| {refused}"));
    let refused = "memory limit 200, memory+swap limit unchanged: is above the memory+swap limit in force: \
                   update both at the same time";
    let limited = |facts: &mut Facts| facts.memory.swap_limit = Some(150);
    check_from(limited, &memory(of(200), None), &format!("\n{refused}| memory.max = 200"));
    let mut checked = memory(of(200), None);
    checked.memory.check_before_update = true;
    let refused = "memory limit 200: is below the 300 bytes in use";
    let used = |facts: &mut Facts| facts.memory.usage = 300;
    check_from(used, &checked, &format!("\n{refused:<52}| {refused}"));
    let mut swappy = memory(None, None);
    swappy.memory.swappiness = Some(101);
    check(swappy, "\nmemory swappiness 101: must be between 0 and 100    |");
}

#[test]
fn everything_that_processors_have() {
    let limits = CpuLimits {
        shares: Some(1024),
        quota: Some(Amount::Unlimited),
        period: Some(50_000),
        burst: Some(1000),
        cpus: Some("0-1,3".into()),
        mems: Some("0".into()),
        idle: Some(1),
        ..CpuLimits::default()
    };
    check(
        cpu(limits),
        "
        cpu.shares = 1024                                   | cpu.weight = 100
        cpu.idle = 1                                        | cpu.idle = 1
        cpu.cfs_quota_us = -1                               | cpu.max = max 50000
        cpu.cfs_period_us = 50000                           | cpu.max.burst = 1000
        cpu.cfs_burst_us = 1000                             | cpuset.cpus = 0-1,3
        cpuset.cpus = 0-1,3                                 | cpuset.mems = 0
        cpuset.mems = 0                                     |",
    );
    let realtime =
        CpuLimits { realtime_runtime: Some(950), realtime_period: Some(1000), ..CpuLimits::default() };
    check(
        cpu(realtime),
        "
        cpu.rt_period_us = 1000                             | cpu realtime limits: not supported here: cgroup v2 has none
        cpu.rt_runtime_us = 950                             |",
    );
}

#[test]
fn bandwidth_changes_by_way_of_the_lower_ratio() {
    let limited = |facts: &mut Facts| {
        facts.cpu = CpuFacts { quota: Some(50_000), burst: Some(40_000), ..CpuFacts::default() }
    };
    let bandwidth = |quota, period, burst| {
        cpu(CpuLimits { quota: of(quota), period: Some(period), burst, ..CpuLimits::default() })
    };
    check_from(
        limited,
        &bandwidth(10_000, 20_000, None),
        "
        cpu.cfs_quota_us = 10000                            | cpu.max = 10000 20000
        cpu.cfs_period_us = 20000                           |",
    );
    check_from(
        limited,
        &bandwidth(100_000, 200_000, Some(60_000)),
        "
        cpu.cfs_period_us = 200000                          | cpu.max = 100000 200000
        cpu.cfs_quota_us = 100000                           | cpu.max.burst = 60000
        cpu.cfs_burst_us = 60000                            |",
    );
    check_from(
        limited,
        &bandwidth(20_000, 100_000, Some(0)),
        "
        cpu.cfs_burst_us = 0                                | cpu.max.burst = 0
        cpu.cfs_quota_us = 20000                            | cpu.max = 20000 100000
        cpu.cfs_period_us = 100000                          |",
    );
    let period = CpuLimits { period: Some(200_000), ..CpuLimits::default() };
    check_from(
        limited,
        &cpu(period),
        "\ncpu.cfs_period_us = 200000                          | cpu.max = 50000 200000",
    );
}

#[test]
fn values_that_processors_do_not_have_are_refused() {
    let shares = |shares| cpu(CpuLimits { shares: Some(shares), ..CpuLimits::default() });
    check(shares(1), "\ncpu shares 1: the minimum allowed cpu-shares is 2   | cpu.weight = 1");
    check(
        shares(262_145),
        "\ncpu shares 262145: the maximum allowed cpu-shares is 262144| cpu.weight = 10000",
    );
    let refused = "cpu idle 2: must be 0 or 1";
    let idle = CpuLimits { idle: Some(2), ..CpuLimits::default() };
    check(cpu(idle), &format!("\n{refused:<52}| {refused}"));
    let refused = "cpuset.cpus \"0\\n1\": must be a list such as 0-3,7";
    let list = CpuLimits { cpus: Some("0\n1".into()), ..CpuLimits::default() };
    check(cpu(list), &format!("\n{refused:<52}| {refused}"));
}

#[test]
fn shares_become_the_weights_that_runc_writes() {
    let weights: Vec<u64> = [0, 1, 2, 3, 10, 100, 512, 1024, 2048, 10_000, 262_143, 262_144, u64::MAX]
        .into_iter()
        .map(shares_to_weight)
        .collect();
    assert_eq!(weights, [1, 1, 1, 2, 4, 17, 59, 100, 174, 627, 10_000, 10_000, 10_000]);
}

#[test]
fn everything_that_block_devices_have() {
    let throttle = |rate| vec![Throttle { major: 8, minor: 0, rate }];
    let blkio = BlkioLimits {
        weight: Some(500),
        leaf_weight: None,
        device_weights: vec![DeviceWeight { major: 8, minor: 16, weight: 1000 }],
        read_bytes: throttle(1 << 20),
        write_bytes: throttle(0),
        read_operations: throttle(100),
        write_operations: throttle(200),
    };
    check(
        Limits { blkio: blkio.clone(), ..Limits::default() },
        "
        blkio.bfq.weight = 500                              | io.weight = 4950
        blkio.bfq.weight_device = 8:16 1000                 | io.weight = 8:16 10000
        blkio.throttle.read_bps_device = 8:0 1048576        | io.max = 8:0 rbps=1048576
        blkio.throttle.write_bps_device = 8:0 0             | io.max = 8:0 wbps=max
        blkio.throttle.read_iops_device = 8:0 100           | io.max = 8:0 riops=100
        blkio.throttle.write_iops_device = 8:0 200          | io.max = 8:0 wiops=200",
    );
    let weights =
        BlkioLimits { weight: Some(10), device_weights: blkio.device_weights, ..BlkioLimits::default() };
    let limits = Limits { blkio: weights, ..Limits::default() };
    let old_bfq = "blkio weight of device 8:16: not supported here: this kernel's BFQ has no weights per device (before 5.4)";
    check_from(
        |facts| facts.weights = Some(Weights::Bfq { per_device: false }),
        &limits,
        &format!("\n{old_bfq}| {old_bfq}"),
    );
    let none =
        "blkio weight: not supported here: this kernel has neither the BFQ scheduler nor the io.cost model";
    check_from(|facts| facts.weights = None, &limits, &format!("\n{none}| {none}"));
    let refused = "blkio weight 9: must be between 10 and 1000";
    let small = BlkioLimits { weight: Some(9), ..BlkioLimits::default() };
    check(Limits { blkio: small, ..Limits::default() }, &format!("\n{refused:<52}| {refused}"));
}

#[test]
fn processes_pages_remote_memory_and_packets() {
    let limits = Limits {
        pids: of(0),
        hugetlb: vec![("2MB".into(), 4 << 20), ("1GB".into(), 0)],
        rdma: [("mlx5_1".to_owned(), RdmaLimits { handles: Some(3), objects: Some(1000) })].into(),
        net_class: Some(0x10_0001),
        net_priorities: vec![("lo".into(), 500), ("eth0".into(), 1000)],
        ..Limits::default()
    };
    let plan = lines(plan_limits(&limits, &facts(Version::V1))).join("\n");
    assert_eq!(
        plan,
        "pids.max = 1\n\
         hugetlb.2MB.limit_in_bytes = 4194304\n\
         hugetlb.2MB.rsvd.limit_in_bytes = 4194304\n\
         hugetlb.1GB.limit_in_bytes = 0\n\
         hugetlb.1GB.rsvd.limit_in_bytes = 0\n\
         rdma.max = mlx5_1 hca_handle=3 hca_object=1000\n\
         net_cls.classid = 1048577\n\
         net_prio.ifpriomap = lo 500\n\
         net_prio.ifpriomap = eth0 1000"
    );
    check(
        Limits { net_class: None, net_priorities: Vec::new(), pids: Some(Amount::Unlimited), ..limits },
        "
        pids.max = max                                      | pids.max = max
        hugetlb.2MB.limit_in_bytes = 4194304                | hugetlb.2MB.max = 4194304
        hugetlb.2MB.rsvd.limit_in_bytes = 4194304           | hugetlb.2MB.rsvd.max = 4194304
        hugetlb.1GB.limit_in_bytes = 0                      | hugetlb.1GB.max = 0
        hugetlb.1GB.rsvd.limit_in_bytes = 0                 | hugetlb.1GB.rsvd.max = 0
        rdma.max = mlx5_1 hca_handle=3 hca_object=1000      | rdma.max = mlx5_1 hca_handle=3 hca_object=1000",
    );
}

#[test]
fn realtime_never_crosses_its_period() {
    let limits = |runtime, period| {
        cpu(CpuLimits {
            realtime_runtime: Some(runtime),
            realtime_period: Some(period),
            ..CpuLimits::default()
        })
    };
    let planned = |from, runtime, period| {
        let mut facts = facts(Version::V1);
        facts.cpu.realtime = Some(from);
        lines(plan_limits(&limits(runtime, period), &facts))
    };
    let (runtime, period) = ("cpu.rt_runtime_us = 3000", "cpu.rt_period_us = 10000");
    assert_eq!(planned((600_001, 900_001), 3_000, 10_000), [runtime, period]);
    assert_eq!(planned((0, 1_000_000), 3_000, 10_000), [period, runtime]);
    assert_eq!(planned((10, 1_000), 3_000, 10_000), [period, runtime]);
    let refused = lines(plan_limits(&limits(1, 2), &facts(Version::V2)));
    assert_eq!(refused, ["cpu realtime limits: not supported here: cgroup v2 has none"]);
}

#[test]
fn unified_files_are_written_line_by_line_after_all_else() {
    let unified = |file: &str, content: &str| Limits {
        unified: [(file.to_owned(), content.to_owned())].into(),
        pids: of(5),
        ..Limits::default()
    };
    let planned =
        |version| lines(plan_limits(&unified("io.max", "8:0 rbps=5\n8:16 wbps=6"), &facts(version)));
    assert_eq!(
        planned(Version::V1),
        ["unified \"io.max\": invalid configuration: cgroup v1 has no such files"]
    );
    assert_eq!(planned(Version::V2), ["pids.max = 5", "io.max = 8:0 rbps=5", "io.max = 8:16 wbps=6"]);
    let v2 = |file: &str| lines(plan_limits(&unified(file, "1"), &facts(Version::V2))).pop().unwrap();
    assert_eq!(v2("cgroup.max.depth"), "cgroup.max.depth = 1");
    assert_eq!(v2("cgroup.procs"), "unified \"cgroup.procs\": may not be written by a configuration");
    assert_eq!(v2("../memory.max"), "unified \"../memory.max\": is not the name of a control file");
    assert_eq!(v2("memory"), "unified \"memory\": is not the name of a control file");
    assert_eq!(v2("bogus.max"), "unified \"bogus.max\": not supported here: no such controller is known");
}

#[test]
fn names_that_would_become_paths_or_lines_are_refused() {
    let hugetlb = |size: &str| Limits { hugetlb: vec![(size.to_owned(), 1)], ..Limits::default() };
    for size in ["", "2M", "02MB", "../2MB", "2MB/../x", "MB"] {
        let error = plan_limits(&hugetlb(size), &facts(Version::V1)).unwrap_err().to_string();
        assert_eq!(error, format!("hugetlb page size {size:?}: must be a size such as 2MB or 1GB"));
    }
    let rdma = Limits { rdma: [("a\nb".to_owned(), RdmaLimits::default())].into(), ..Limits::default() };
    assert!(plan_limits(&rdma, &facts(Version::V2)).is_err());
    let priorities = Limits { net_priorities: vec![("a b".into(), 1)], ..Limits::default() };
    assert!(plan_limits(&priorities, &facts(Version::V1)).is_err());
}

#[test]
fn a_missing_controller_is_named() {
    let missing = |facts: &mut Facts| facts.controllers.clear();
    let refused = "pids limit: not supported here: the pids controller is not available";
    check_from(missing, &Limits { pids: of(5), ..Limits::default() }, &format!("\n{refused}| {refused}"));
    let refused = "memory limits: not supported here: the memory controller is not available";
    check_from(missing, &memory(of(5), None), &format!("\n{refused}| {refused}"));
}
