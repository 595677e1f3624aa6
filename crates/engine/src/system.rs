//! What the engine says about itself and its machine.

use std::collections::BTreeMap;

use api::plugin::PluginsInfo;
use api::system::{
    AddressPool, Commit, ComponentVersion, DeviceInfo, FirewallInfo, Info, PlatformInfo, Runtime, SwarmInfo,
    Version,
};

use crate::config::SeccompProfile;
use crate::container::state::State;
use crate::engine::Engine;
use crate::{Result, time};

/// The engine's version, in the form that clients compare.
pub const VERSION: &str = "29.10.0";
/// This program's own version.
pub const BERTH_VERSION: &str = env!("CARGO_PKG_VERSION");

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Versions of the engine and its parts.
#[must_use]
pub fn version(engine: &Engine, api_version: &str, min_api_version: &str) -> Version {
    let details = BTreeMap::from([
        ("ApiVersion".to_owned(), api_version.to_owned()),
        ("Arch".to_owned(), architecture().to_owned()),
        ("BerthVersion".to_owned(), BERTH_VERSION.to_owned()),
        ("Experimental".to_owned(), "false".to_owned()),
        ("KernelVersion".to_owned(), engine.host.kernel_release.clone()),
        ("MinAPIVersion".to_owned(), min_api_version.to_owned()),
        ("Os".to_owned(), "linux".to_owned()),
    ]);
    let component = |name: &str, version: &str, details| ComponentVersion {
        name: name.to_owned(),
        version: version.to_owned(),
        details,
    };
    Version {
        platform: PlatformInfo { name: "berth".to_owned() },
        version: VERSION.to_owned(),
        api_version: api_version.to_owned(),
        min_api_version: min_api_version.to_owned(),
        os: "linux".to_owned(),
        arch: architecture().to_owned(),
        components: vec![
            component("Engine", VERSION, details),
            component("berth", BERTH_VERSION, BTreeMap::new()),
        ],
        kernel_version: engine.host.kernel_release.clone(),
        ..Version::default()
    }
}

fn count(engine: &Engine, wanted: impl Fn(&State) -> bool) -> i64 {
    let matching = engine.containers.all().iter().filter(|handle| wanted(handle.view().state())).count();
    i64::try_from(matching).unwrap_or(i64::MAX)
}

fn seccomp_name(profile: &SeccompProfile) -> String {
    match profile {
        SeccompProfile::Builtin => "builtin".to_owned(),
        SeccompProfile::Unconfined => "unconfined".to_owned(),
        SeccompProfile::Custom { path, .. } => path.display().to_string(),
    }
}

fn security_options(engine: &Engine) -> Vec<String> {
    let mut options = Vec::new();
    if engine.host.has_apparmor {
        options.push("name=apparmor".to_owned());
    }
    if engine.host.has_seccomp {
        options.push(format!("name=seccomp,profile={}", seccomp_name(&engine.config.seccomp_profile)));
    }
    if engine.host.cgroup_v2() {
        options.push("name=cgroupns".to_owned());
    }
    if engine.config.remap.is_some() {
        options.push("name=userns".to_owned());
    }
    if engine.config.no_new_privileges {
        options.push("name=no-new-privileges".to_owned());
    }
    options
}

/// What names this engine for ever. A boot asks first and makes it: later nobody waits for the disk to be told.
pub(crate) fn id(records: &crate::records::Records) -> Result<String> {
    records.lasting("engine-id", crate::id::new_id)
}

/// The machine and the engine's state on it. Reads published snapshots only.
pub async fn info(engine: &Engine) -> Result<Info> {
    let host = &engine.host;
    let has = |controller| host.cgroups.has(controller);
    let (memory, cpu) = (has(cgroup::Controller::Memory), has(cgroup::Controller::Cpu));
    let paused = |state: &State| matches!(state, State::Paused(_));
    let forwarding = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
    let id = id(&engine.records)?;
    let owned = engine.clone();
    let config = engine.current();
    let told = std::sync::Arc::clone(&config);
    let (images, devices) = crate::blocking(move || {
        Ok((crate::images::count(&owned)?, crate::cdi::Catalog::read(told.device_descriptions())))
    })
    .await?;
    Ok(Info {
        images,
        id,
        containers: count(engine, |state| !matches!(state, State::Gone { .. })),
        containers_running: count(engine, |state| state.running().is_some() && !paused(state)),
        containers_paused: count(engine, paused),
        containers_stopped: count(engine, |state| {
            state.running().is_none() && !matches!(state, State::Gone { .. })
        }),
        driver: "overlayfs".to_owned(),
        driver_status: vec![["driver-type".to_owned(), "io.containerd.snapshotter.v1".to_owned()]],
        plugins: plugins(),
        memory_limit: memory,
        swap_limit: memory && swap_is_counted(engine),
        cpu_cfs_period: cpu,
        cpu_cfs_quota: cpu,
        cpu_shares: cpu,
        cpu_set: has(cgroup::Controller::Cpuset),
        pids_limit: has(cgroup::Controller::Pids),
        ipv4_forwarding: forwarding.trim() == "1",
        debug: config.debug,
        n_fd: std::fs::read_dir("/proc/self/fd")
            .map_or(0, |entries| i64::try_from(entries.count()).unwrap_or(0)),
        oom_kill_disable: memory && !host.cgroup_v2(),
        system_time: time::rfc3339(time::now()),
        logging_driver: config.log_driver.clone(),
        cgroup_driver: config.driver(host).word().to_owned(),
        cgroup_version: if host.cgroup_v2() { "2" } else { "1" }.to_owned(),
        n_events_listener: i64::try_from(engine.events.listeners()).unwrap_or(0),
        kernel_version: host.kernel_release.clone(),
        operating_system: host.os_name.clone(),
        os_version: host.os_version.clone(),
        os_type: "linux".to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: Some(crate::images::service_config(&engine.current())),
        n_cpu: i64::from(host.cpus),
        mem_total: host.memory,
        docker_root_dir: config.data_root.display().to_string(),
        name: host.name.clone(),
        labels: config.labels.clone(),
        server_version: VERSION.to_owned(),
        runtimes: runtimes(&config),
        default_runtime: config.default_runtime.clone(),
        swarm: SwarmInfo::default(),
        live_restore_enabled: config.live_restore,
        init_binary: "docker-init".to_owned(),
        containerd_commit: Commit::default(),
        runc_commit: Commit { id: BERTH_VERSION.to_owned() },
        init_commit: Commit { id: BERTH_VERSION.to_owned() },
        security_options: security_options(engine),
        default_address_pools: vec![AddressPool { base: "172.17.0.0/12".to_owned(), size: 16 }],
        firewall_backend: Some(FirewallInfo { driver: "nftables".to_owned(), info: Vec::new() }),
        cdi_spec_dirs: config.device_descriptions().iter().map(|path| path.display().to_string()).collect(),
        discovered_devices: devices
            .names()
            .map(|name| DeviceInfo { source: crate::cdi::DRIVER.to_owned(), id: name.clone() })
            .collect(),
        warnings: config.warnings.iter().chain(&devices.problems).cloned().collect(),
        ..Info::default()
    })
}

/// Our own runtime in the names that Docker has for its own, and those that were added.
fn runtimes(config: &crate::Config) -> BTreeMap<String, Runtime> {
    let own = Runtime { path: "runc".to_owned(), ..Runtime::default() };
    let mut runtimes =
        BTreeMap::from(["io.containerd.runc.v2", "runc"].map(|name| (name.to_owned(), own.clone())));
    runtimes.extend(config.runtimes.iter().map(|(name, added)| {
        let shown =
            Runtime { path: added.program.clone(), args: added.arguments.clone(), ..Runtime::default() };
        (name.clone(), shown)
    }));
    runtimes
}

/// cgroup v1 counts swap only when its files are there.
fn swap_is_counted(engine: &Engine) -> bool {
    if engine.host.cgroup_v2() {
        return true;
    }
    let tree = engine.host.cgroups.tree(cgroup::Controller::Memory);
    tree.is_some_and(|tree| tree.mount_point.join("memory.memsw.limit_in_bytes").exists())
}

fn plugins() -> PluginsInfo {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    PluginsInfo {
        volume: list(&["local"]),
        network: list(&["bridge", "host", "ipvlan", "macvlan", "null"]),
        log: crate::container::logging::names(),
        ..PluginsInfo::default()
    }
}

/// Which parts of the disk usage are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Containers' own layers.
    pub containers: bool,
    /// Images.
    pub images: bool,
    /// Volumes.
    pub volumes: bool,
    /// Cache of builds.
    pub build_cache: bool,
}

fn total(sizes: impl Iterator<Item = i64>) -> i64 {
    sizes.fold(0, i64::saturating_add)
}

/// What takes space on the disk, measured now.
pub async fn disk_usage(engine: &Engine, wanted: Wanted) -> Result<api::disk_usage::DiskUsage> {
    use api::disk_usage::{DiskUsage, Usage};
    let mut answer = DiskUsage::default();
    if wanted.containers {
        let options = crate::container::list::ListOptions { all: true, size: true, ..Default::default() };
        let items = crate::container::list::list(engine, &options).await?;
        let alive = |row: &&api::container_list::Summary| {
            matches!(
                row.state,
                api::container::ContainerState::Running | api::container::ContainerState::Paused
            )
        };
        answer.container_usage = Some(Usage {
            active_count: i64::try_from(items.iter().filter(alive).count()).unwrap_or(0),
            reclaimable: total(items.iter().filter(|row| !alive(row)).map(|row| row.size_rw)),
            total_count: i64::try_from(items.len()).unwrap_or(0),
            total_size: total(items.iter().map(|row| row.size_rw)),
            items,
        });
    }
    if wanted.volumes {
        let items = crate::volume::measured(engine).await?;
        let used = |volume: &&api::volume::Volume| {
            volume.usage_data.as_ref().is_some_and(|usage| usage.ref_count > 0)
        };
        let size =
            |volume: &api::volume::Volume| volume.usage_data.as_ref().map_or(0, |usage| usage.size.max(0));
        answer.volume_usage = Some(Usage {
            active_count: i64::try_from(items.iter().filter(used).count()).unwrap_or(0),
            reclaimable: total(items.iter().filter(|volume| !used(volume)).map(size)),
            total_count: i64::try_from(items.len()).unwrap_or(0),
            total_size: total(items.iter().map(size)),
            items,
        });
    }
    if wanted.images {
        answer.image_usage = Some(crate::images::usage(engine).await?);
    }
    if wanted.build_cache {
        answer.build_cache_usage = Some(Usage::default());
    }
    Ok(answer)
}
