//! Whole plans as text: a request as the API has it, resolved and planned with fixed facts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use api::container_create::CreateRequest;
use oci::runtime::{Seccomp, Spec, User};
use runtime::seccomp::Architecture;

use super::{StartFacts, plan_spec};
use crate::container::resolve::{self, Facts, Machine};
use crate::container::spec::RootSource;
use crate::userns::{Range, Remap, Users};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_RAW",
    "CAP_SYS_ADMIN",
    "CAP_SYS_PTRACE",
];

/// Prints the plan of a request, or why it is refused.
fn plan(request: &str) -> String {
    plan_as(request, Users::Host)
}

/// The same in a user namespace.
fn plan_as(request: &str, users: Users) -> String {
    let request: CreateRequest = api::json::from_slice(request.as_bytes()).expect("a request");
    let host = request.host_config.unwrap_or_default();
    let config = crate::Config::default();
    let facts = Facts {
        config: &config,
        id: ID,
        host_name: "machine",
        machine: Machine { cpus: 2, memory_nodes: 1, cgroup_v2: true },
        cgroup_driver: crate::CgroupDriver::Cgroupfs,
        capabilities: CAPABILITIES,
        containers: BTreeMap::new(),
        root: RootSource::Image,
        existing_paths: vec!["/srv".to_owned()],
        mounted_images: BTreeMap::new(),
        has_quotas: true,
        lent_mounts: Vec::new(),
        volume_names: vec!["v1".to_owned(), "v2".to_owned()],
    };
    let (spec, warnings) = match resolve::resolve(&request.config, &host, "", &facts) {
        Ok(resolved) => resolved,
        Err(error) => return format!("refused: {error}\n"),
    };
    let start = StartFacts {
        apparmor: None,
        cgroup_path: format!("/berth/{ID}"),
        data_dir: PathBuf::from("/data/containers").join(ID),
        volume_paths: ["v1", "v2", "data"]
            .map(|name| (name.to_owned(), format!("/data/volumes/{name}/_data")))
            .into(),
        held: BTreeMap::new(),
        owners: BTreeMap::new(),
        mapped_volumes: ["v1", "data"].map(str::to_owned).into(),
        users,
        user: User { uid: 1000, gid: 1000, additional_gids: vec![1000], ..User::default() },
        home: "/home/me".to_owned(),
        linked: Vec::new(),
        edits: crate::cdi::Edits::default(),
        devices: Vec::new(),
        block_devices: BTreeMap::from([("/dev/sda".to_owned(), (8, 0))]),
        donors: BTreeMap::new(),
        architecture: Architecture::X86_64,
        kernel: (6, 1),
        has_seccomp: true,
        has_time_namespaces: true,
        cpus: 2,
    };
    let mut text = String::new();
    for warning in warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for port in &spec.network.ports {
        let _ = writeln!(text, "publish {port:?}");
    }
    let mut planned: Spec = match plan_spec(&spec, &start) {
        Ok(planned) => planned,
        Err(error) => return format!("refused: {error}\n"),
    };
    // The filter has tests of its own; here it counts whether there is one.
    if let Some(linux) = &mut planned.linux
        && let Some(seccomp) = &mut linux.seccomp
    {
        *seccomp =
            Seccomp { default_action: format!("{} rules", seccomp.syscalls.len()), ..Seccomp::default() };
    }
    text.push_str(&serde_json::to_string_pretty(&planned).expect("JSON"));
    text.push('\n');
    text
}

/// Compares a plan with the reviewed one; `BLESS=1` writes it.
fn check(name: &str, request: &str) {
    check_text(name, &plan(request));
}

fn check_text(name: &str, printed: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/container/plan/golden")
        .join(name)
        .with_extension("txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, printed).expect("write the plan");
    }
    let reviewed = std::fs::read_to_string(&file).expect("a reviewed plan; run with BLESS=1 to write it");
    assert_eq!(printed, reviewed, "{name}: review the difference, then run with BLESS=1");
}

#[test]
fn a_plain_container() {
    check("plain", r#"{"Image":"busybox","Cmd":["sh"],"HostConfig":{}}"#);
}

#[test]
fn a_container_with_everything() {
    check(
        "everything",
        r#"{"Image":"busybox","Cmd":["a","b c"],"Entrypoint":["/e"],"Env":["A=1","PATH=/bin","B"],"User":"me","Tty":true,
            "OpenStdin":true,"WorkingDir":"/w/../x/","Hostname":"h","Domainname":"d","Volumes":{"/anon":{}},
            "ExposedPorts":{"53/udp":{}},"HostConfig":{
            "Binds":["/srv:/srv:ro","data:/d:nocopy"],"Tmpfs":{"/run":"size=1m,exec"},
            "Mounts":[{"Type":"bind","Source":"/srv","Target":"/m","ReadOnly":true},{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":4096,"Mode":448}}],
            "Memory":67108864,"NanoCpus":1500000000,"PidsLimit":9,"CpuShares":512,"CpusetCpus":"0-1","BlkioWeight":300,
            "BlkioDeviceReadBps":[{"Path":"/dev/sda","Rate":1000}],
            "CapAdd":["SYS_PTRACE"],"CapDrop":["NET_RAW","kill"],"SecurityOpt":["no-new-privileges","seccomp=unconfined"],
            "Ulimits":[{"Name":"nofile","Soft":10,"Hard":20}],"Sysctls":{"net.core.somaxconn":"99","kernel.msgmax":"1"},
            "ShmSize":1048576,"ReadonlyRootfs":true,"OomScoreAdj":7,"Init":true,"DeviceCgroupRules":["c 7:* rw"],
            "Annotations":{"k":"v"},"ConsoleSize":[24,80],
            "PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]},"PublishAllPorts":true}}"#,
    );
}

#[test]
fn a_container_whose_users_are_others_on_the_host() {
    let request = r#"{"Image":"busybox","Cmd":["sh"],"HostConfig":{"Binds":["/srv:/srv","data:/d",
        "/srv:/m:idmap=uids=7-0-1"]}}"#;
    let ranges = |host, count| vec![Range { container: 0, host, count }];
    let remap = Remap { users: ranges(100_000, 65_536), groups: ranges(200_000, 65_536) };
    let own = plan_as(request, Users::Own(remap.clone()));
    check_text("userns", &own);
    let joined = plan_as(request, Users::Of { pid: 77, remap: remap.clone() });
    let path = "\"type\": \"user\",\n        \"path\": \"/proc/77/ns/user\"";
    assert_eq!(joined, own.replace("\"type\": \"user\"", path));
    let few = plan_as(request, Users::Own(Remap { users: ranges(100_000, 999), ..remap }));
    let words = "user 1000 of the container is nobody on the host: --userns-remap gives it 999 ids";
    assert_eq!(few, format!("refused: {words}\n"));
}

#[test]
fn a_privileged_container_in_the_hosts_namespaces() {
    check(
        "privileged",
        r#"{"Image":"busybox","Cmd":["sh"],"HostConfig":{"Privileged":true,"NetworkMode":"host","PidMode":"host",
            "IpcMode":"host","UTSMode":"host","CgroupnsMode":"host"}}"#,
    );
}

#[test]
fn what_cannot_be_is_refused_in_dockers_words() {
    let cases = [
        (r#"{"Cmd":[]}"#, "no command specified"),
        (
            r#"{"Cmd":["a"],"WorkingDir":"w"}"#,
            "the working directory 'w' is invalid, it needs to be an absolute path",
        ),
        (r#"{"Cmd":["a"],"Env":["=x"]}"#, "invalid environment variable: =x"),
        (r#"{"Cmd":["a"],"StopSignal":"SIGFOO"}"#, "invalid signal: SIGFOO"),
        (r#"{"Cmd":["a"],"HostConfig":{"Memory":1}}"#, "Minimum memory limit allowed is 6MB"),
        (
            r#"{"Cmd":["a"],"HostConfig":{"NanoCpus":9000000000}}"#,
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        ),
        (r#"{"Cmd":["a"],"HostConfig":{"CapAdd":["X"]}}"#, "invalid CapAdd: unknown capability: \"CAP_X\""),
        (
            r#"{"Cmd":["a"],"HostConfig":{"Binds":["/a:/b:/c:/d"]}}"#,
            "invalid volume specification: '/a:/b:/c:/d'",
        ),
        (r#"{"Cmd":["a"],"HostConfig":{"Binds":["/a:/b:loud"]}}"#, "invalid mode: loud"),
        (r#"{"Cmd":["a"],"HostConfig":{"Binds":["/a:/b","/c:/b/"]}}"#, "Duplicate mount point: /b"),
        (
            r#"{"Cmd":["a"],"HostConfig":{"Mounts":[{"Type":"bind","Source":"/no","Target":"/x"}]}}"#,
            "invalid mount config for type \"bind\": bind source path does not exist: /no",
        ),
        (r#"{"Cmd":["a"],"HostConfig":{"IpcMode":"odd"}}"#, "invalid IPC mode: odd"),
        (r#"{"Cmd":["a"],"HostConfig":{"PidMode":"container:"}}"#, "invalid PID mode: container:"),
        (
            r#"{"Cmd":["a"],"HostConfig":{"Sysctls":{"kernel.core_pattern":"x"}}}"#,
            "sysctl \"kernel.core_pattern\" is not in a separate kernel namespace",
        ),
        (
            r#"{"Cmd":["a"],"HostConfig":{"LogConfig":{"Type":"nope"}}}"#,
            "logger: no log driver named 'nope' is registered",
        ),
        (r#"{"Cmd":["a"],"HostConfig":{"Runtime":"nope"}}"#, "unknown or invalid runtime name: nope"),
        (
            r#"{"Cmd":["a"],"HostConfig":{"OomScoreAdj":2000}}"#,
            "Invalid value 2000, range for oom score adj is [-1000, 1000]",
        ),
        (
            r#"{"Cmd":["a"],"HostConfig":{"CgroupParent":"/a/../.."}}"#,
            "invalid cgroup parent \"/a/../..\": it must not climb out with '..'",
        ),
    ];
    for (request, words) in cases {
        assert_eq!(plan(request), format!("refused: {words}\n"), "{request}");
    }
}
