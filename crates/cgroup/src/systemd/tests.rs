//! Names of units, properties, and messages.

use super::*;
use crate::device::{DEFAULT_RULES, Rule};
use crate::limits::{BlkioLimits, CpuLimits, DeviceWeight, MemoryLimits, Throttle};
use crate::{Amount, Limits};

#[track_caller]
fn check(cgroups_path: &str, expected: &str) {
    let text = match Unit::parse(cgroups_path, "c1", false).and_then(|unit| unit.cgroup_path("")) {
        Ok(path) => path.to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(text, expected);
}

#[test]
fn a_unit_is_named_by_slice_prefix_and_name() {
    check("system.slice:docker:4f2a", "/system.slice/docker-4f2a.scope");
    check(":docker:4f2a", "/system.slice/docker-4f2a.scope");
    check("", "/system.slice/runc-c1.scope");
    check("-.slice::x", "/x.scope");
    check("a-b-c.slice:p:x", "/a.slice/a-b.slice/a-b-c.slice/p-x.scope");
    check("a.slice:p:a-x.slice", "/a.slice/a-x.slice");
    let unit = Unit::parse("", "c1", true).unwrap();
    assert_eq!(
        unit.cgroup_path("/user.slice/u/").unwrap().to_string(),
        "/user.slice/u/user.slice/runc-c1.scope"
    );
}

#[test]
fn a_hostile_unit_is_refused() {
    let slice = "begins with something that is not a slice of systemd";
    check(
        "/a/b",
        "cgroup path \"/a/b\" is not of the form slice:prefix:name, which the systemd driver needs",
    );
    check("a/b.slice:p:x", &format!("cgroup path \"a/b.slice:p:x\" {slice}"));
    check("system:p:x", &format!("cgroup path \"system:p:x\" {slice}"));
    check("a--b.slice:p:x", "cgroup path \"a--b.slice:p:x\" begins with a slice that has an empty part");
    check(
        "a.slice:p:../x",
        "cgroup path \"a.slice:p:../x\" ends in something that cannot be the name of a unit",
    );
    check(
        "a.slice:p:x\n",
        "cgroup path \"a.slice:p:x\\n\" ends in something that cannot be the name of a unit",
    );
}

#[test]
fn limits_become_properties_of_either_version() {
    let limits = Limits {
        memory: MemoryLimits {
            limit: Some(Amount::Of(100)),
            reservation: Some(Amount::Of(50)),
            swap: Some(Amount::Of(150)),
            ..MemoryLimits::default()
        },
        cpu: CpuLimits {
            shares: Some(1024),
            quota: Some(Amount::Of(33_333)),
            period: Some(100_000),
            cpus: Some("0-2,9".to_owned()),
            ..CpuLimits::default()
        },
        pids: Some(Amount::Unlimited),
        ..Limits::default()
    };
    let text = |version, systemd| {
        let planned = plan_properties(&limits, version, systemd, &DeviceNames::default()).unwrap();
        planned.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        text(Version::V2, 252),
        "MemoryMax=100\nMemoryLow=50\nMemorySwapMax=50\nCPUWeight=100\nCPUQuotaPeriodUSec=100000\n\
         CPUQuotaPerSecUSec=340000\nAllowedCPUs=[07, 02]\nTasksMax=infinity"
    );
    assert_eq!(
        text(Version::V1, 240),
        "MemoryLimit=100\nCPUShares=1024\nCPUQuotaPerSecUSec=340000\nTasksMax=infinity"
    );
    let mut devices = vec![Rule::everything(false)];
    devices.extend([Rule::character(1, Some(3)), Rule::character(136, None), DEFAULT_RULES[0]]);
    let any_major = Rule { major: None, minor: Some(5), ..Rule::character(0, None) };
    devices.extend([Rule::character(4, None), Rule::character(99, None), any_major]);
    let rules = Limits { devices, ..Limits::default() };
    let names = DeviceNames::parse(
        "Character devices:\n  4 /dev/vc/0\n  4 tty\n136 pts\n\nBlock devices:\n  4 floppy\n259 blkext\n",
    );
    let planned = plan_properties(&rules, Version::V1, 252, &names).unwrap();
    let planned: Vec<String> = planned.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        planned,
        ["DevicePolicy=strict", "DeviceAllow=char-* m, /dev/char/1:3 rwm, char-tty rwm, char-pts rwm"]
    );
    assert_eq!(plan_properties(&rules, Version::V2, 252, &names).unwrap(), []);
    let idle = Limits { cpu: CpuLimits { idle: Some(1), ..CpuLimits::default() }, ..Limits::default() };
    assert_eq!(
        plan_properties(&idle, Version::V2, 252, &names).unwrap(),
        [("CPUWeight".to_owned(), Value::Number(0))]
    );
    let unified =
        [("memory.high", "max"), ("cpu.max", "50000 100000"), ("cpuset.cpus", "1"), ("rdma.max", "x")];
    let unified = unified.map(|(file, content)| (file.to_owned(), content.to_owned())).into();
    let planned =
        plan_properties(&Limits { unified, ..Limits::default() }, Version::V2, 252, &names).unwrap();
    let planned: Vec<String> = planned.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        planned,
        ["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=500000", "AllowedCPUs=[02]", "MemoryHigh=infinity"]
    );
    let bad = CpuLimits { cpus: Some("5-1".to_owned()), ..CpuLimits::default() };
    assert!(plan_properties(&Limits { cpu: bad, ..Limits::default() }, Version::V2, 252, &names).is_err());
}

#[test]
fn rates_of_block_devices_become_properties() {
    let throttle = |rate| vec![Throttle { major: 8, minor: 16, rate }];
    let blkio = BlkioLimits {
        weight: Some(500),
        device_weights: vec![DeviceWeight { major: 8, minor: 0, weight: 10 }],
        read_bytes: throttle(1000),
        write_bytes: throttle(0),
        read_operations: throttle(7),
        write_operations: throttle(8),
        ..BlkioLimits::default()
    };
    let limits = Limits { blkio, ..Limits::default() };
    let planned = |version| {
        let planned = plan_properties(&limits, version, 252, &DeviceNames::default()).unwrap();
        planned.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(
        planned(Version::V2),
        [
            "IOWeight=4950",
            "IODeviceWeight=/dev/block/8:0 1",
            "IOReadBandwidthMax=/dev/block/8:16 1000",
            "IOWriteBandwidthMax=/dev/block/8:16 infinity",
            "IOReadIOPSMax=/dev/block/8:16 7",
            "IOWriteIOPSMax=/dev/block/8:16 8",
        ]
    );
    assert_eq!(
        planned(Version::V1),
        [
            "BlockIOWeight=500",
            "BlockIODeviceWeight=/dev/block/8:0 10",
            "BlockIOReadBandwidth=/dev/block/8:16 1000",
            "BlockIOWriteBandwidth=/dev/block/8:16 infinity",
        ]
    );
}

#[test]
fn a_call_is_written_and_read_back() {
    let mut body = message::Writer::default();
    body.text("x.scope");
    body.properties(&[
        ("Delegate".to_owned(), Value::Flag(true)),
        ("PIDs".to_owned(), Value::Numbers32(vec![7, 8])),
        ("TasksMax".to_owned(), Value::Number(5)),
    ]);
    let bytes = message::call(3, "/o", "i.f", "Do", ("sa(sv)", body));
    let mut fixed = [0; message::FIXED];
    fixed.copy_from_slice(&bytes[..message::FIXED]);
    assert_eq!(message::length(&fixed), Some(bytes.len()));
    let message = message::parse(&bytes).unwrap();
    assert_eq!((message.kind, message.member.as_str()), (message::Kind::Call, "Do"));
    assert_eq!(message.signature, "sa(sv)");
    let mut reader = message::Reader::new(&message.body);
    assert_eq!(reader.text().as_deref(), Some("x.scope"));
    assert_eq!(reader.number32(), Some(message.body.len() as u32 - 16));
    for end in 0..bytes.len() {
        let _ = message::parse(&bytes[..end]);
    }
}

#[test]
fn a_message_that_is_too_long_or_foreign_is_not_taken() {
    let fixed = |order: u8, protocol: u8, body: u32, fields: u32| {
        let mut fixed = [order, 2, 0, protocol, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        fixed[4..8].copy_from_slice(&body.to_le_bytes());
        fixed[12..].copy_from_slice(&fields.to_le_bytes());
        message::length(&fixed)
    };
    assert_eq!(fixed(b'l', 1, 8, 3), Some(32));
    assert_eq!(fixed(b'B', 1, 8, 3), None);
    assert_eq!(fixed(b'l', 2, 8, 3), None);
    assert_eq!(fixed(b'l', 1, u32::MAX, u32::MAX), None);
}
