//! The body of `POST /containers/create`: what was typed → what was meant → JSON, keys in Docker's order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::endpoints;
use crate::failure::Failure;
use crate::grammar::Typed;
use crate::value::{bytes, device, duration, env, gpu, host, limit, mount, port, security, volume};

/// What the meaning of a command line depends on beside its words.
pub(crate) struct Surroundings<'a> {
    /// The environment of this process.
    pub(crate) environment: env::Lookup<'a>,
    /// The working directory, for relative paths of the host.
    pub(crate) directory: PathBuf,
}

/// The body of a create request.
pub(crate) fn resolve(typed: &Typed, around: &Surroundings<'_>) -> Result<Value, Failure> {
    let mounts = mounts(typed, around)?;
    let ports = ports(typed)?;
    let networks = endpoints::resolve(typed)?;
    let security = security::parse(&typed.list("security-opt"))?;
    let healthcheck = healthcheck(typed)?;
    let mut body = Map::new();
    program(typed, around, &mut body)?;
    let mut put = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
    put("ExposedPorts", json!(ports.exposed));
    put("Volumes", mounts.anonymous.clone().into());
    if !healthcheck.is_null() {
        put("Healthcheck", healthcheck);
    }
    let mut host_config = Map::new();
    placement(typed, &mounts, &ports, &networks, &mut host_config)?;
    isolation(typed, &security, &mut host_config)?;
    resources(typed, &mut host_config)?;
    if !mounts.mounts.is_empty() {
        host_config.insert("Mounts".into(), mounts.mounts.into());
    }
    let paths = if security.paths_unconfined { json!([]) } else { Value::Null };
    host_config.insert("MaskedPaths".into(), paths.clone());
    host_config.insert("ReadonlyPaths".into(), paths);
    put("HostConfig", host_config.into());
    put("NetworkingConfig", json!({ "EndpointsConfig": networks.endpoints }));
    if typed.switch("rootfs") {
        put("Berth", rootfs(typed.operand(0), around));
    }
    if ports.exposed.is_empty() {
        body.remove("ExposedPorts");
    }
    Ok(body.into())
}

/// `PATH` or `PATH:O`, as in Podman: with `:O` the container writes into an overlay that goes away with it.
fn rootfs(text: &str, around: &Surroundings<'_>) -> Value {
    let (path, overlay) = match text.strip_suffix(":O") {
        Some(path) => (path, true),
        None => (text, false),
    };
    json!({ "Rootfs": { "Path": volume::clean(&around.directory.join(path)), "Overlay": overlay } })
}

fn program(typed: &Typed, around: &Surroundings<'_>, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let attach = |stream: &str| typed.list("attach").iter().any(|name| name.eq_ignore_ascii_case(stream));
    let attach_all = !typed.given("attach");
    let stdin = typed.switch("interactive");
    let attach_stdin = stdin || attach("stdin");
    let env = env::variables(&typed.list("env-file"), &typed.list("env"), around.environment)?;
    let labels = env::labels(&typed.list("label-file"), &typed.list("label"))?;
    let command = typed.operands().get(1..).unwrap_or_default();
    let entrypoint = match typed.text("entrypoint") {
        "" if !typed.given("entrypoint") => Value::Null,
        program => json!([program]),
    };
    let image = if typed.switch("rootfs") { "" } else { typed.operand(0) };
    let mut put = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
    put("Hostname", typed.text("hostname").into());
    put("Domainname", typed.text("domainname").into());
    put("User", typed.text("user").into());
    put("AttachStdin", attach_stdin.into());
    put("AttachStdout", (attach_all || attach("stdout")).into());
    put("AttachStderr", (attach_all || attach("stderr")).into());
    put("Tty", typed.switch("tty").into());
    put("OpenStdin", stdin.into());
    put("StdinOnce", (stdin && attach_stdin).into());
    put("Env", null_if_empty(&env));
    put("Cmd", null_if_empty(command));
    put("Image", image.into());
    put("WorkingDir", typed.text("workdir").into());
    put("Entrypoint", entrypoint);
    put("OnBuild", Value::Null);
    put("Labels", json!(labels));
    if !typed.text("stop-signal").is_empty() {
        put("StopSignal", typed.text("stop-signal").into());
    }
    if typed.given("stop-timeout") {
        put("StopTimeout", typed.int("stop-timeout").into());
    }
    Ok(())
}

fn null_if_empty<T: AsRef<str>>(texts: &[T]) -> Value {
    if texts.is_empty() { Value::Null } else { texts.iter().map(|text| Value::from(text.as_ref())).collect() }
}

struct Mounts {
    anonymous: Map<String, Value>,
    binds: Vec<String>,
    tmpfs: BTreeMap<String, String>,
    mounts: Vec<Value>,
}

fn mounts(typed: &Typed, around: &Surroundings<'_>) -> Result<Mounts, Failure> {
    let mut all =
        Mounts { anonymous: Map::new(), binds: Vec::new(), tmpfs: BTreeMap::new(), mounts: Vec::new() };
    for text in typed.list("volume") {
        match volume::parse(text, &around.directory).map_err(Failure::text)? {
            volume::Volume::Anonymous(path) => drop(all.anonymous.insert(path, json!({}))),
            volume::Volume::Bind(bind) => all.binds.push(bind),
        }
    }
    for text in typed.list("tmpfs") {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        all.tmpfs.insert(path.to_owned(), options.to_owned());
    }
    all.mounts = each(typed, "mount", mount::parse)?;
    Ok(all)
}

struct Ports {
    exposed: BTreeMap<String, Value>,
    bindings: BTreeMap<String, Value>,
}

fn ports(typed: &Typed) -> Result<Ports, Failure> {
    let mut published = port::Bindings::new();
    for text in typed.list("publish") {
        port::publish(text, &mut published).map_err(Failure::text)?;
    }
    let mut exposed: BTreeMap<_, _> = published.keys().map(|port| (port.clone(), json!({}))).collect();
    for text in typed.list("expose") {
        exposed.extend(port::expose(text).map_err(Failure::text)?.into_iter().map(|port| (port, json!({}))));
    }
    let host = |(address, port): &(String, String)| json!({ "HostIp": address, "HostPort": port });
    let binding = |(port, hosts): (String, Vec<(String, String)>)| (port, hosts.iter().map(host).collect());
    Ok(Ports { exposed, bindings: published.into_iter().map(binding).collect() })
}

fn each(typed: &Typed, flag: &str, parse: fn(&str) -> Result<Value, String>) -> Result<Vec<Value>, Failure> {
    typed.list(flag).into_iter().map(|text| parse(text).map_err(Failure::text)).collect()
}

fn healthcheck(typed: &Typed) -> Result<Value, Failure> {
    const TIMES: &[(&str, &str)] = &[
        ("health-interval", "Interval"),
        ("health-timeout", "Timeout"),
        ("health-start-period", "StartPeriod"),
        ("health-start-interval", "StartInterval"),
    ];
    let nanoseconds = |flag: &str| duration::parse(typed.text(flag)).unwrap_or_default();
    let (command, retries) = (typed.text("health-cmd"), typed.int("health-retries"));
    let on_failure = typed.text("health-on-failure");
    let given = !(command.is_empty() && on_failure.is_empty())
        || retries != 0
        || TIMES.iter().any(|(flag, _)| nanoseconds(flag) != 0);
    if typed.switch("no-healthcheck") {
        if given {
            return Err(Failure::text("--no-healthcheck conflicts with --health-* options"));
        }
        return Ok(json!({ "Test": ["NONE"] }));
    }
    if !given {
        return Ok(Value::Null);
    }
    let mut check = Map::new();
    if !command.is_empty() {
        check.insert("Test".into(), json!(["CMD-SHELL", command]));
    }
    for (flag, key) in TIMES {
        match nanoseconds(flag) {
            0 => {}
            time if time < 0 => return Err(Failure::text(format!("--{flag} cannot be negative"))),
            time => drop(check.insert((*key).to_owned(), time.into())),
        }
    }
    if !on_failure.is_empty() {
        check.insert("OnFailure".into(), on_failure.into());
    }
    match retries {
        0 => {}
        count if count < 0 => return Err(Failure::text("--health-retries cannot be negative")),
        count => drop(check.insert("Retries".into(), count.into())),
    }
    Ok(check.into())
}

/// Where things are: mounts, log, network, ports, life.
fn placement(
    typed: &Typed,
    mounts: &Mounts,
    ports: &Ports,
    networks: &endpoints::Networks,
    config: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let mut put = |key: &str, value: Value| drop(config.insert(key.to_owned(), value));
    let extra_hosts = typed.list("add-host").into_iter().map(host::extra_host);
    let extra_hosts: Vec<String> = extra_hosts.collect::<Result<_, _>>().map_err(Failure::text)?;
    let mut dns_options = typed.list("dns-option");
    dns_options.extend(typed.list("dns-opt"));
    put("Binds", null_if_empty(&mounts.binds));
    put("ContainerIDFile", typed.text("cidfile").into());
    put("LogConfig", log_config(typed)?);
    put("NetworkMode", networks.mode.clone().into());
    put("PortBindings", json!(ports.bindings));
    put("RestartPolicy", restart_policy(typed)?);
    put("AutoRemove", typed.switch("rm").into());
    put("VolumeDriver", typed.text("volume-driver").into());
    put("VolumesFrom", null_if_empty(&typed.list("volumes-from")));
    put("ConsoleSize", json!([0, 0]));
    put("Annotations", json!(env::pairs(typed.list("annotation"))));
    put("Dns", json!(typed.list("dns")));
    put("DnsOptions", json!(dns_options));
    put("DnsSearch", json!(typed.list("dns-search")));
    put("ExtraHosts", null_if_empty(&extra_hosts));
    put("Links", null_if_empty(&typed.list("link")));
    put("PublishAllPorts", typed.switch("publish-all").into());
    if !mounts.tmpfs.is_empty() {
        put("Tmpfs", json!(mounts.tmpfs));
    }
    if !typed.given("annotation") {
        config.remove("Annotations");
    }
    Ok(())
}

fn log_config(typed: &Typed) -> Result<Value, Failure> {
    let (driver, options) = (typed.text("log-driver"), env::pairs(typed.list("log-opt")));
    if driver == "none" && !options.is_empty() {
        return Err(Failure::text("invalid logging opts for driver none"));
    }
    Ok(json!({ "Type": driver, "Config": options }))
}

/// `NAME[:RETRIES]` → `{Name, MaximumRetryCount}`.
pub(crate) fn parse_restart_policy(text: &str) -> Result<Value, Failure> {
    let invalid = |why: &str| Failure::text(format!("invalid restart policy format: {why}"));
    let (name, retries) = match text.split_once(':') {
        Some(("", _)) => return Err(invalid("no policy provided before colon")),
        Some((name, "")) => (name, 0),
        Some((name, count)) => {
            let count = count.parse::<i64>();
            (name, count.map_err(|_| invalid("maximum retry count must be an integer"))?)
        }
        None => (text, 0),
    };
    Ok(json!({ "Name": name, "MaximumRetryCount": retries }))
}

fn restart_policy(typed: &Typed) -> Result<Value, Failure> {
    let policy = parse_restart_policy(typed.text("restart"))?;
    let none = matches!(policy["Name"].as_str(), Some("no" | "") | None);
    if typed.switch("rm") && !none {
        return Err(Failure::text("conflicting options: cannot specify both --restart and --rm"));
    }
    Ok(policy)
}

/// What the program may do and see.
fn isolation(
    typed: &Typed,
    security: &security::Security,
    config: &mut Map<String, Value>,
) -> Result<(), Failure> {
    for (flag, kind) in [("pid", "PID"), ("uts", "UTS"), ("userns", "USER"), ("cgroupns", "CGROUP")] {
        check_namespace(flag, kind, typed.text(flag))?;
    }
    let storage = typed.list("storage-opt");
    if storage.iter().any(|option| !option.contains('=')) {
        return Err(Failure::text("invalid storage option"));
    }
    let mut put = |key: &str, value: Value| drop(config.insert(key.to_owned(), value));
    put("CapAdd", null_if_empty(&capabilities(&typed.list("cap-add"))));
    put("CapDrop", null_if_empty(&capabilities(&typed.list("cap-drop"))));
    put("CgroupnsMode", typed.text("cgroupns").into());
    put("GroupAdd", null_if_empty(&typed.list("group-add")));
    put("IpcMode", typed.text("ipc").into());
    put("Cgroup", "".into());
    put("OomScoreAdj", typed.int("oom-score-adj").into());
    if typed.given("umask") {
        put("Umask", limit::umask(typed.text("umask")).map_err(Failure::text)?.into());
    }
    put("PidMode", typed.text("pid").into());
    put("Privileged", typed.switch("privileged").into());
    put("ReadonlyRootfs", typed.switch("read-only").into());
    let options =
        if security.paths_unconfined { json!(security.options) } else { null_if_empty(&security.options) };
    put("SecurityOpt", options);
    if !storage.is_empty() {
        put("StorageOpt", json!(env::pairs(storage)));
    }
    put("UTSMode", typed.text("uts").into());
    put("UsernsMode", typed.text("userns").into());
    put("ShmSize", bytes::parse(typed.text("shm-size")).unwrap_or_default().into());
    if typed.given("sysctl") {
        put("Sysctls", json!(env::pairs(typed.list("sysctl"))));
    }
    if !typed.text("runtime").is_empty() {
        put("Runtime", typed.text("runtime").into());
    }
    put("Isolation", typed.text("isolation").into());
    if typed.given("init") {
        put("Init", typed.switch("init").into());
    }
    Ok(())
}

/// Capabilities by their full names, each once, sorted.
fn capabilities(names: &[&str]) -> Vec<String> {
    let full = |name: &&str| match name.trim().to_uppercase() {
        name if name == "ALL" || name.starts_with("CAP_") => name,
        name => format!("CAP_{name}"),
    };
    names.iter().map(full).collect::<BTreeSet<String>>().into_iter().collect()
}

fn check_namespace(flag: &str, kind: &str, mode: &str) -> Result<(), Failure> {
    let fits = match flag {
        "cgroupns" => matches!(mode, "" | "host" | "private"),
        "pid" => mode.strip_prefix("container:").map_or(matches!(mode, "" | "host"), |name| !name.is_empty()),
        _ => matches!(mode, "" | "host"),
    };
    if fits { Ok(()) } else { Err(Failure::text(format!("--{flag}: invalid {kind} mode"))) }
}

/// What the container may use.
fn resources(typed: &Typed, config: &mut Map<String, Value>) -> Result<(), Failure> {
    let swappiness = typed.int("memory-swappiness");
    if !(-1..=100).contains(&swappiness) {
        return Err(Failure::text(format!(
            "invalid value: {swappiness}. Valid memory swappiness range is 0-100"
        )));
    }
    let size = |flag: &str| Value::from(bytes::parse_swap(typed.text(flag)).unwrap_or_default());
    let int = |flag: &str| Value::from(typed.int(flag));
    let list = |flag: &str, parse| each(typed, flag, parse).map(Value::from);
    let (devices, requests) = devices(typed)?;
    let mut put = |key: &str, value: Value| drop(config.insert(key.to_owned(), value));
    put("CpuShares", int("cpu-shares"));
    put("Memory", size("memory"));
    put("NanoCpus", limit::nano_cpus(typed.text("cpus")).unwrap_or_default().into());
    put("CgroupParent", typed.text("cgroup-parent").into());
    put("BlkioWeight", typed.uint("blkio-weight").into());
    put("BlkioWeightDevice", list("blkio-weight-device", limit::weight)?);
    put("BlkioDeviceReadBps", list("device-read-bps", limit::bytes_per_second)?);
    put("BlkioDeviceWriteBps", list("device-write-bps", limit::bytes_per_second)?);
    put("BlkioDeviceReadIOps", list("device-read-iops", limit::operations_per_second)?);
    put("BlkioDeviceWriteIOps", list("device-write-iops", limit::operations_per_second)?);
    put("CpuPeriod", int("cpu-period"));
    put("CpuQuota", int("cpu-quota"));
    put("CpuRealtimePeriod", int("cpu-rt-period"));
    put("CpuRealtimeRuntime", int("cpu-rt-runtime"));
    put("CpusetCpus", typed.text("cpuset-cpus").into());
    put("CpusetMems", typed.text("cpuset-mems").into());
    put("Devices", devices.into());
    put("DeviceCgroupRules", null_if_empty(&typed.list("device-cgroup-rule")));
    put("DeviceRequests", if requests.is_empty() { Value::Null } else { requests.into() });
    put("MemoryReservation", size("memory-reservation"));
    put("MemorySwap", size("memory-swap"));
    put("MemorySwappiness", swappiness.into());
    put("OomKillDisable", typed.switch("oom-kill-disable").into());
    put("PidsLimit", int("pids-limit"));
    put("Ulimits", ulimits(typed)?);
    put("CpuCount", int("cpu-count"));
    put("CpuPercent", int("cpu-percent"));
    put("IOMaximumIOps", typed.uint("io-maxiops").into());
    put("IOMaximumBandwidth", size("io-maxbandwidth"));
    Ok(())
}

/// One limit of each name, the last one typed, sorted.
fn ulimits(typed: &Typed) -> Result<Value, Failure> {
    let all = each(typed, "ulimit", limit::ulimit)?;
    let by_name: BTreeMap<String, Value> =
        all.into_iter().map(|one| (one["Name"].to_string(), one)).collect();
    Ok(by_name.into_values().collect())
}

/// Device nodes, and requests for devices that a vendor's driver finds.
fn devices(typed: &Typed) -> Result<(Vec<Value>, Vec<Value>), Failure> {
    let mut requests = each(typed, "gpus", gpu::parse)?;
    let (mut nodes, mut named) = (Vec::new(), Vec::new());
    for text in typed.list("device") {
        match device::parse(text).map_err(Failure::text)? {
            device::Device::Node(node) => nodes.push(node),
            device::Device::Cdi(name) => named.push(name),
        }
    }
    if !named.is_empty() {
        requests.push(
            json!({ "Driver": "cdi", "Count": 0, "DeviceIDs": named, "Capabilities": null, "Options": null }),
        );
    }
    Ok((nodes, requests))
}
