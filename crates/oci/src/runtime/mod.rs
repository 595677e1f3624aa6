//! The runtime specification's `config.json` and state (opencontainers/runtime-spec 1.3).
//!
//! Field names are the specification's in camel case. Unknown fields are ignored, order is kept, and what is empty is
//! left out when it is written, so that a document survives being read and written.

mod linux;
mod process;
mod resources;
mod seccomp;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use linux::{
    Device, IdMapping, IntelRdt, Linux, MemoryPolicy, Namespace, NamespaceKind, NetDevice, Personality,
    TimeOffset,
};
pub use process::{Capabilities, ConsoleSize, ExecCpuAffinity, IoPriority, Process, Rlimit, Scheduler, User};
pub use resources::{
    BlockIo, Cpu, DeviceRule, HugepageLimit, InterfacePriority, Memory, Network, Pids, Rdma, Resources,
    ThrottleDevice, WeightDevice,
};
pub use seccomp::{Seccomp, SeccompArg, SeccompRule};

/// The specification version that is written.
pub const VERSION: &str = "1.3.0";

/// Go's `omitempty`.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A `config.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    /// Version of the specification, `1.3.0`.
    pub oci_version: String,
    /// The program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Host name inside.
    #[serde(skip_serializing_if = "is_default")]
    pub hostname: String,
    /// NIS domain name inside.
    #[serde(skip_serializing_if = "is_default")]
    pub domainname: String,
    /// Mounts beside the root, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Programs run at points of the lifecycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// What is special to Linux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
    /// Metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The root file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Root {
    /// Absolute, or relative to the bundle.
    pub path: String,
    /// Mounted read-only.
    #[serde(skip_serializing_if = "is_default")]
    pub readonly: bool,
}

/// One mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Mount {
    /// Absolute path in the container.
    pub destination: String,
    /// File system type, `bind` or empty for binds.
    #[serde(rename = "type", skip_serializing_if = "is_default")]
    pub kind: String,
    /// A path on the host, a device, or a dummy.
    #[serde(skip_serializing_if = "is_default")]
    pub source: String,
    /// As mount(8) has them, with `r…` recursive ones and `idmap`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// User mappings of an idmapped mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group mappings of an idmapped mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

/// Programs run at points of the lifecycle; each kind in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Hooks {
    /// Deprecated: after creation, in the runtime's namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// After creation, in the runtime's namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// Before pivot_root, in the container's namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// Before the program, in the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// After the program was started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// After the container was deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

/// One hook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Absolute path.
    pub path: String,
    /// With argument 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// `KEY=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds; none: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

/// What `state` prints and hooks get on standard input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct State {
    /// Version of the specification.
    pub oci_version: String,
    /// Identifier.
    pub id: String,
    /// `creating`, `created`, `running`, `stopped`, or a runtime's own word such as `paused`.
    pub status: String,
    /// Process id on the host; left out when there is none.
    #[serde(skip_serializing_if = "is_default")]
    pub pid: i32,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Of the configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_survives_being_read_and_written() {
        let text = r#"{"ociVersion":"1.3.0","process":{"terminal":true,"consoleSize":{"height":24,"width":80},"user":{"uid":1,"gid":2,"umask":18,"additionalGids":[5]},"args":["sh"],"env":["A=1"],"cwd":"/","capabilities":{"bounding":["CAP_KILL","CAP_CHOWN"]},"rlimits":[{"type":"RLIMIT_NOFILE","hard":1024,"soft":1024}],"noNewPrivileges":true,"oomScoreAdj":-5},"root":{"path":"rootfs","readonly":true},"hostname":"h","mounts":[{"destination":"/proc","type":"proc","source":"proc"}],"hooks":{"poststop":[{"path":"/bin/true","args":["true"],"timeout":3}]},"linux":{"uidMappings":[{"containerID":0,"hostID":1000,"size":10}],"sysctl":{"net.core.somaxconn":"256"},"resources":{"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":1000,"swap":-1},"cpu":{"shares":2,"quota":-1},"pids":{"limit":5},"blockIO":{"weight":10,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":5}]},"hugepageLimits":[{"pageSize":"2MB","limit":9}],"unified":{"memory.high":"1"}},"cgroupsPath":"/a/b","namespaces":[{"type":"pid"},{"type":"network","path":"/x"}],"devices":[{"path":"/dev/fuse","type":"c","major":10,"minor":229,"fileMode":438,"uid":0,"gid":0}],"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}]}]},"rootfsPropagation":"slave","maskedPaths":["/proc/kcore"],"readonlyPaths":["/proc/sys"],"timeOffsets":{"boottime":{"secs":5}}},"annotations":{"k":"v"}}"#;
        let spec: Spec = serde_json::from_str(text).expect("parse");
        assert_eq!(serde_json::to_string(&spec).expect("print"), text);
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let spec: Spec =
            serde_json::from_str(r#"{"ociVersion":"1.0.0","vm":{"x":1},"linux":{"new":[]}}"#).expect("parse");
        assert_eq!(spec.oci_version, "1.0.0");
    }
}
