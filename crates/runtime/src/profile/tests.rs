//! The default profile as a whole, and profiles in Docker's format.

use super::*;
use crate::seccomp::tests::{Call, check, run};
use crate::seccomp::{Program, compile_for};

const HOST: Host = Host { architecture: Architecture::X86_64, kernel: (6, 18) };

/// The capabilities that Docker gives to a container.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

const ALLOWED: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

fn compiled(capabilities: &[&str]) -> Program {
    compile_for(Architecture::X86_64, &default_seccomp(capabilities, Architecture::X86_64)).unwrap()
}

/// What a program answers to a call by name, on an architecture.
fn answer(program: &Program, architecture: Architecture, name: &str, first_argument: u64) -> u32 {
    let number = architecture.number(name).unwrap();
    let arguments = [first_argument, 0, 0, 0, 0, 0];
    run(&program.instructions, Call { audit: architecture.audit(), number, arguments }).0
}

#[test]
fn the_default_profile_means_what_its_program_does() {
    let arguments =
        [0, 8, 37, 38, 39, 40, 41, 45, 63, 64, 0x2_0008, 0x7e02_0000, 0xffff_ffff, 0x1_0000_0026, u64::MAX];
    let plain = default_seccomp(&DEFAULT, Architecture::X86_64);
    let powerful = default_seccomp(&["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF"], Architecture::X86_64);
    assert!(check(&plain, &arguments) + check(&powerful, &arguments) > 200_000);
}

#[test]
fn the_default_profile_refuses_what_leads_out_of_a_container() {
    let program = compiled(&DEFAULT);
    let refused =
        ["mount", "unshare", "setns", "bpf", "keyctl", "add_key", "io_uring_setup", "kexec_load", "reboot"];
    for architecture in [Architecture::X86_64, Architecture::X86, Architecture::X32] {
        for name in
            refused.iter().chain(&["open_by_handle_at", "init_module", "perf_event_open", "userfaultfd"])
        {
            assert_eq!(answer(&program, architecture, name, 0), EPERM, "{name} on {architecture:?}");
        }
        assert_eq!(answer(&program, architecture, "clone3", 0), ENOSYS);
        assert_eq!(answer(&program, architecture, "clone", 0x1000_0000), EPERM);
        assert_eq!(answer(&program, architecture, "clone", 0x0001_0f00), ALLOWED);
        for allowed in ["read", "execve", "ptrace", "chroot", "personality", "arch_prctl", "modify_ldt"] {
            assert_eq!(answer(&program, architecture, allowed, 0), ALLOWED, "{allowed} on {architecture:?}");
        }
    }
    assert_eq!(answer(&program, Architecture::X86, "socketcall", 1), ALLOWED);
}

#[test]
fn families_of_sockets_are_refused_whatever_the_upper_half_holds() {
    let program = compiled(&DEFAULT);
    for architecture in [Architecture::X86_64, Architecture::X86, Architecture::X32] {
        for family in 0..64 {
            let expected = if family == 38 || family == 40 { EPERM } else { ALLOWED };
            assert_eq!(
                answer(&program, architecture, "socket", family),
                expected,
                "{family} on {architecture:?}"
            );
            let disguised = answer(&program, architecture, "socket", family | 1 << 32);
            let expected = if architecture.is_64_bit() { EPERM } else { expected };
            assert_eq!(disguised, expected, "{family} with a bit above on {architecture:?}");
        }
    }
}

#[test]
fn a_capability_opens_its_calls() {
    let opened = [
        ("CAP_SYS_ADMIN", "mount"),
        ("CAP_SYS_ADMIN", "clone3"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_SYS_CHROOT", "chroot"),
        ("CAP_SYS_MODULE", "finit_module"),
        ("CAP_SYS_PACCT", "acct"),
        ("CAP_SYS_PTRACE", "kcmp"),
        ("CAP_SYS_RAWIO", "iopl"),
        ("CAP_SYS_TIME", "settimeofday"),
        ("CAP_SYS_TTY_CONFIG", "vhangup"),
        ("CAP_SYS_NICE", "mbind"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
    ];
    let nothing = compiled(&[]);
    for (capability, name) in opened {
        let granted = compiled(&[capability]);
        assert_eq!(answer(&granted, Architecture::X86_64, name, 0), ALLOWED, "{name} with {capability}");
        assert_ne!(answer(&nothing, Architecture::X86_64, name, 0), ALLOWED, "{name} without {capability}");
    }
    let namespaces = answer(&compiled(&["CAP_SYS_ADMIN"]), Architecture::X86_64, "clone", 0x1000_0000);
    assert_eq!(namespaces, ALLOWED);
}

#[test]
fn a_call_newer_than_the_profile_does_not_exist() {
    let program = compiled(&DEFAULT);
    for audit in [0xc000_003e, 0x4000_0003] {
        for (number, expected) in [(466, ALLOWED), (467, ENOSYS), (1000, ENOSYS)] {
            let arguments = [0; 6];
            assert_eq!(run(&program.instructions, Call { audit, number, arguments }).0, expected, "{number}");
        }
    }
}

/// The length of a filter is paid by every system call that the kernel does not answer from its cache.
#[test]
fn the_default_program_is_short_and_its_paths_are_even() {
    let program = compiled(&DEFAULT).instructions;
    let steps: Vec<usize> = (0..467)
        .map(|number| run(&program, Call { audit: 0xc000_003e, number, arguments: [0; 6] }).1)
        .collect();
    let mean = steps.iter().sum::<usize>() as f64 / steps.len() as f64;
    let longest = steps.iter().max().unwrap();
    println!("{} instructions, mean path {mean:.1}, longest {longest}", program.len());
    assert!(program.len() < 720 && mean < 14.0 && *longest < 40);
}

#[test]
fn arm_has_its_own_calls() {
    let config = default_seccomp(&DEFAULT, Architecture::Aarch64);
    assert_eq!(config.architectures, ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]);
    let program = compile_for(Architecture::Aarch64, &config).unwrap();
    assert_eq!(answer(&program, Architecture::Arm, "cacheflush", 0), ALLOWED);
    assert_eq!(answer(&program, Architecture::Aarch64, "mount", 0), EPERM);
}

const PROFILE: &str = r#"{
    "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
    "archMap": [
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}
    ],
    "syscalls": [
        {"names": ["always"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "x", "includes": {}, "excludes": {}},
        {"name": "old_format", "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        {"names": ["admin"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["no_admin"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]},
         "args": [{"index": 1, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["both"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}},
        {"names": ["amd64"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
        {"names": ["arm64"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["not_amd64"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
        {"names": ["since_4.8"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["since_6.19"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.19"}},
        {"names": ["until_6.18"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "6.18"}}
    ]
}"#;

#[test]
fn a_profile_in_dockers_format_is_resolved_for_container_and_machine() {
    let resolved = |capabilities: &[&str]| {
        let config = parse(PROFILE.as_bytes(), capabilities, HOST).unwrap().unwrap();
        config.syscalls.iter().flat_map(|rule| rule.names.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(resolved(&DEFAULT), "always old_format no_admin amd64 since_4.8");
    assert_eq!(resolved(&["CAP_SYS_ADMIN", "CAP_BPF"]), "always old_format admin both amd64 since_4.8");
    let config = parse(PROFILE.as_bytes(), &DEFAULT, HOST).unwrap().unwrap();
    assert_eq!(config.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    assert_eq!((config.default_errno_ret, config.syscalls[1].errno_ret), (Some(1), Some(38)));
    assert_eq!(config.syscalls[2].args[0].value, 0x7e02_0000);
}

#[test]
fn a_profile_that_contradicts_itself_is_refused_in_dockers_words() {
    let refused = |json: &str| parse(json.as_bytes(), &DEFAULT, HOST).unwrap_err().to_string();
    assert_eq!(
        refused(
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["a"], "archMap": [{"architecture": "b"}]}"#
        ),
        "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'"
    );
    assert_eq!(
        refused(r#"{"syscalls": [{"name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW"}]}"#),
        "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"
    );
    assert!(refused("{").starts_with("Decoding seccomp profile failed: EOF"));
    let kernel =
        r#"{"syscalls": [{"name": "a", "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "new"}}]}"#;
    assert!(refused(kernel).contains("invalid kernel version"));
    assert!(refused(&" ".repeat(2 << 20)).contains("more than"));
    assert_eq!(parse(b"{}", &DEFAULT, HOST).unwrap(), None);
}
