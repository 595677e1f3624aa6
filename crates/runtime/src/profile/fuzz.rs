//! Seccomp profiles of clients, fed with mutated seeds: what is taken can be compiled, or is refused.

use super::{Host, parse};
use crate::seccomp::Architecture;

#[test]
fn seccomp_profiles() {
    let seeds = [
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],"syscalls":[{"names":["read","clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"}],"includes":{"caps":["CAP_SYS_ADMIN"],"minKernel":"4.8"},"excludes":{"arches":["s390"]}}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"mkdir","action":"SCMP_ACT_KILL"}],"flags":["SECCOMP_FILTER_FLAG_LOG"]}"#,
    ];
    let host = Host { architecture: Architecture::X86_64, kernel: (6, 18) };
    fuzz::bytes("seccomp_profiles", &seeds, |input| {
        let profile = parse(input, &["CAP_SYS_ADMIN"], host).map_err(|error| error.to_string())?;
        let Some(profile) = profile else { return Err("no filter".to_owned()) };
        crate::seccomp::compile_for(Architecture::X86_64, &profile)
            .map(drop)
            .map_err(|error| error.to_string())
    });
}
