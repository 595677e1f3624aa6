//! Everything about one container, from its published snapshot.

use std::collections::BTreeMap;

use api::container::{Health as ApiHealth, HealthcheckResult, State as ApiState};
use api::container_inspect::{Inspect, NetworkSettings, RootFsStorage, Snapshot, Storage};
use api::endpoint::EndpointSettings;
use api::host_config::HostConfig;
use api::mount::{MountPoint, kind};
use api::port::{Port, PortBinding, PortMap, PortSummary, Protocol};

use super::health::Health;
use super::list::word;
use super::record::Record;
use super::spec::{MountSource, MountSpec};
use super::state::State;
use super::view::View;
use crate::engine::Engine;
use crate::{Result, time};

/// Inspects a container. `size` also measures its layers, which reads the file system.
pub async fn inspect(engine: &Engine, reference: &str, size: bool) -> Result<Inspect> {
    let view = engine.containers.find(reference)?.view();
    let mut answer = from_view(engine, &view);
    if size {
        let (engine, record) = (engine.clone(), (*view.record).clone());
        let (rw, root) = crate::blocking(move || sizes(&engine, &record)).await?;
        (answer.size_rw, answer.size_root_fs) = (Some(rw), Some(root));
    }
    Ok(answer)
}

fn from_view(engine: &Engine, view: &View) -> Inspect {
    let record = &view.record;
    let file = |name: &str| {
        engine.config.data_root.join("containers").join(&record.id).join(name).display().to_string()
    };
    let (path, args) = record
        .spec
        .process
        .args
        .split_first()
        .map_or((String::new(), Vec::new()), |(path, args)| (path.clone(), args.to_vec()));
    let shares_files = matches!(record.spec.namespaces.network, super::spec::Share::Container(_));
    let net_file = |name: &str| if shares_files { String::new() } else { file(name) };
    let execs = engine.execs.of_container(&record.id);
    Inspect {
        id: record.id.clone(),
        created: time::rfc3339(record.created),
        path,
        args,
        state: Some(state(view)),
        image: record.image_id.clone(),
        resolv_conf_path: net_file("resolv.conf"),
        hostname_path: net_file("hostname"),
        hosts_path: net_file("hosts"),
        log_path: if record.spec.log.driver == "json-file" {
            file(&super::logging::file_name(&record.id, "json-file"))
        } else {
            String::new()
        },
        name: format!("/{}", record.name),
        restart_count: i64::from(view.state().restart_count()),
        driver: "overlayfs".to_owned(),
        platform: "linux".to_owned(),
        app_armor_profile: apparmor_profile(engine, record),
        exec_ids: (!execs.is_empty()).then_some(execs),
        host_config: Some(HostConfig {
            links: super::links::shown(engine, record),
            ..record.host_config.clone()
        }),
        storage: Some(Storage {
            root_fs: Some(RootFsStorage { snapshot: Some(Snapshot { name: "overlayfs".to_owned() }) }),
        }),
        mounts: mount_points(engine, view),
        config: Some(shown_config(record)),
        network_settings: Some(NetworkSettings {
            sandbox_id: record.attachments.first().map(|held| held.endpoint_id.clone()).unwrap_or_default(),
            sandbox_key: view
                .state()
                .running()
                .map(|running| format!("/proc/{}/ns/net", running.process.pid))
                .unwrap_or_default(),
            ports: Some(port_map(view)),
            networks: network_endpoints(view),
        }),
        image_manifest_descriptor: record.image_manifest.clone(),
        ..Inspect::default()
    }
}

/// The profile in force where AppArmor is, else what was asked for.
fn apparmor_profile(engine: &Engine, record: &Record) -> String {
    let asked = record.spec.process.apparmor.as_deref();
    match engine.host.has_apparmor {
        true => crate::apparmor::profile(asked, record.spec.privileged).to_owned(),
        false => asked.unwrap_or_default().to_owned(),
    }
}

/// The configuration as Docker shows it: with the hostname that was chosen.
fn shown_config(record: &Record) -> api::config::Config {
    let mut config = record.config.clone();
    if config.hostname.is_empty() {
        config.hostname.clone_from(&record.spec.hostname);
        config.domainname.clone_from(&record.spec.domainname);
    }
    // What was asked for in the container's main network; only versions before 1.52 show it.
    let mode = &record.host_config.network_mode;
    let is_main =
        |(name, endpoint): &(&String, &EndpointSettings)| *name == mode || endpoint.network_id == *mode;
    if let Some((_, endpoint)) = record.endpoints.iter().find(is_main) {
        config.mac_address.clone_from(&endpoint.mac_address);
    }
    config
}

fn state(view: &View) -> ApiState {
    let state = view.state();
    let ended = state.ended().cloned().unwrap_or_default();
    let process = state.running().map(|running| running.process.clone());
    ApiState {
        status: word(view),
        running: process.is_some() || matches!(state, State::Restarting { .. }),
        paused: matches!(state, State::Paused(_)),
        restarting: matches!(state, State::Restarting { .. }),
        oom_killed: ended.oom_killed,
        dead: matches!(state, State::Dead { .. }),
        pid: process.as_ref().map_or(0, |process| i64::from(process.pid)),
        exit_code: if process.is_some() { 0 } else { i64::from(ended.code) },
        error: if process.is_some() { String::new() } else { ended.error },
        started_at: time::rfc3339(process.map_or(ended.started_at, |process| process.started_at)),
        finished_at: time::rfc3339(ended.at),
        health: view.record.health.as_ref().map(health),
    }
}

fn health(health: &Health) -> ApiHealth {
    let log = health.log.iter().map(|finding| HealthcheckResult {
        start: time::rfc3339(finding.start),
        end: time::rfc3339(finding.end),
        exit_code: i64::from(finding.code),
        output: finding.output.clone(),
    });
    ApiHealth {
        status: health.status.word().to_owned(),
        failing_streak: i64::from(health.failing_streak),
        log: Some(log.collect()),
    }
}

/// The mounts as inspect shows them.
pub(crate) fn mount_points(engine: &Engine, view: &View) -> Vec<MountPoint> {
    let record = &view.record;
    let mut points: Vec<MountPoint> = record
        .spec
        .mounts
        .iter()
        .map(|mount| {
            let point = MountPoint {
                destination: mount.destination.clone(),
                mode: mount.mode.clone(),
                rw: mount.writable,
                ..MountPoint::default()
            };
            let propagation = if mount.propagation.is_empty() { "rprivate" } else { &mount.propagation };
            match &mount.source {
                MountSource::Bind { path, .. } => MountPoint {
                    kind: kind::BIND.to_owned(),
                    source: path.clone(),
                    propagation: propagation.to_owned(),
                    ..point
                },
                MountSource::Volume { name, .. } => MountPoint {
                    kind: kind::VOLUME.to_owned(),
                    name: name.clone(),
                    source: match record.volume_paths.get(name) {
                        Some(path) if !path.is_empty() => path.clone(),
                        _ => engine.volumes.mounted_path(name),
                    },
                    driver: engine.volumes.driver_name(name),
                    mode: match mount.mode.is_empty() && !is_declared(record, mount) {
                        true => "z".to_owned(),
                        false => mount.mode.clone(),
                    },
                    ..point
                },
                MountSource::Image { name, .. } => {
                    MountPoint { kind: kind::IMAGE.to_owned(), name: name.clone(), ..point }
                }
                MountSource::Tmpfs { .. } => MountPoint { kind: kind::TMPFS.to_owned(), ..point },
            }
        })
        .collect();
    // `--tmpfs` is shown in the host configuration only.
    points.retain(|point| {
        point.kind != kind::TMPFS || !record.host_config.tmpfs.contains_key(&point.destination)
    });
    points
}

/// Whether nobody asked for a volume at this place, but the image, or `Volumes` of the request, declares one.
fn is_declared(record: &Record, mount: &MountSpec) -> bool {
    let is_anonymous = matches!(mount.source, MountSource::Volume { anonymous: true, .. });
    let is_asked = |asked: &api::mount::Mount| super::resolve::clean(&asked.target) == mount.destination;
    is_anonymous && !record.host_config.mounts.iter().any(is_asked)
}

/// Endpoints by network name: as asked for, and as they are while it runs.
pub(crate) fn network_endpoints(view: &View) -> BTreeMap<String, EndpointSettings> {
    let record = &view.record;
    let running = view.state().running().is_some();
    let shown = |(name, asked): (&String, &EndpointSettings)| {
        let mut endpoint = asked.clone();
        let held = record.attachments.iter().find(|held| held.network_name == *name);
        if let Some(held) = held.filter(|_| running) {
            fill(&mut endpoint, held);
        }
        if !crate::network::PREDEFINED.contains(&name.as_str()) {
            endpoint.dns_names = Some(crate::network::names_of(record, asked));
        }
        (name.clone(), endpoint)
    };
    record.endpoints.iter().map(shown).collect()
}

/// What an endpoint has while its container runs.
fn fill(endpoint: &mut EndpointSettings, held: &super::record::Attachment) {
    endpoint.endpoint_id.clone_from(&held.endpoint_id);
    endpoint.mac_address = held.endpoint.mac.to_string();
    let gateway = |ipv6: bool| held.gateways.iter().find(|gateway| gateway.is_ipv6() == ipv6);
    endpoint.gateway = gateway(false).map(ToString::to_string).unwrap_or_default();
    endpoint.ipv6_gateway = gateway(true).map(ToString::to_string).unwrap_or_default();
    if let Some(prefix) = held.prefix(false) {
        endpoint.ip_address = prefix.address().to_string();
        endpoint.ip_prefix_len = prefix.length();
    }
    if let Some(prefix) = held.prefix(true) {
        endpoint.global_ipv6_address = prefix.address().to_string();
        endpoint.global_ipv6_prefix_len = prefix.length();
    }
}

fn protocol(word: &str) -> Protocol {
    match word {
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

/// Published ports while it runs, `null` for ports that are only exposed.
fn port_map(view: &View) -> PortMap {
    let mut map = PortMap::new();
    if view.state().running().is_none() {
        return map;
    }
    for port in view.record.config.exposed_ports.keys().filter_map(|text| text.parse::<Port>().ok()) {
        map.insert(port, None);
    }
    for held in view.record.attachments.iter().flat_map(|held| &held.published) {
        let port = Port { number: held.container_port, protocol: protocol(&held.protocol) };
        let host_port = if held.routed { String::new() } else { held.host_port.to_string() };
        let binding = PortBinding { host_ip: held.host_address.to_string(), host_port };
        map.entry(port).or_default().get_or_insert_default().push(binding);
    }
    map
}

/// Ports as a list shows them, sorted.
pub(crate) fn port_summaries(view: &View) -> Vec<PortSummary> {
    let mut rows = Vec::new();
    for (port, bindings) in port_map(view) {
        let row = PortSummary {
            private_port: port.number,
            protocol: port.protocol.as_str().to_owned(),
            ..PortSummary::default()
        };
        match bindings {
            None => rows.push(row),
            Some(bindings) => rows.extend(bindings.iter().map(|binding| PortSummary {
                ip: binding.host_ip.clone(),
                public_port: binding.host_port.parse().unwrap_or(0),
                ..row.clone()
            })),
        }
    }
    rows.sort();
    rows
}

/// Bytes of a container's own layer, and of all its layers together.
pub(crate) fn sizes(engine: &Engine, record: &Record) -> Result<(i64, i64)> {
    let own = crate::image_use::own_layer_size(engine, &record.id)?;
    let below = crate::image_use::lower_size(engine, &record.id)?;
    Ok((own, own + below))
}
