//! What every version changes, as the differences between the newest shape and the older one.

use std::collections::BTreeMap;

use api::config::{Config, HealthConfig};
use api::container::HealthSummary;
use api::container_create::CreateRequest;
use api::container_inspect::{Inspect, NetworkSettings, RootFsStorage, Snapshot, Storage};
use api::container_list;
use api::descriptor::Descriptor;
use api::disk_usage::{DiskUsage, Usage};
use api::endpoint::EndpointSettings;
use api::image;
use api::image_inspect;
use api::system::{FirewallInfo, Info, Runtime};
use api::version::{ApiVersion, MAX};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, answer, create, v1_52};

/// Lists, for every version that changes something, what it changes: `-` gone, `+` new, `~` different.
fn check(kind: Answer, newest: &impl Serialize, expected: &str) {
    let newest = serde_json::to_value(newest).unwrap();
    let mut printed = String::new();
    let mut before = newest.clone();
    for minor in (23..MAX.minor).rev() {
        let mut after = newest.clone();
        answer(kind, ApiVersion::v1(minor), &mut after);
        let mut lines = Vec::new();
        compare("", &before, &after, &mut lines);
        for line in lines {
            printed.push_str(&format!("1.{minor} {line}\n"));
        }
        before = after;
    }
    assert_eq!(printed, expected, "{printed}");
    let mut unchanged = newest.clone();
    answer(kind, MAX, &mut unchanged);
    assert_eq!(unchanged, newest);
}

fn compare(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for key in before.keys().filter(|key| !after.contains_key(*key)) {
                lines.push(format!("- {path}/{key}"));
            }
            for (key, value) in after {
                match before.get(key) {
                    Some(old) => compare(&format!("{path}/{key}"), old, value, lines),
                    None => lines.push(format!("+ {path}/{key} {value}")),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                compare(&format!("{path}/{at}"), before, after, lines);
            }
        }
        _ if before == after => {}
        _ => lines.push(format!("~ {path} {after}")),
    }
}

fn endpoint(address: &str) -> EndpointSettings {
    EndpointSettings { ip_address: address.into(), ip_prefix_len: 16, ..EndpointSettings::default() }
}

#[test]
fn container_inspect() {
    let networks =
        [("bridge".to_string(), endpoint("172.17.0.2")), ("web".to_string(), endpoint("172.18.0.2"))];
    let snapshot = Some(Snapshot { name: "overlayfs".into() });
    let inspect = Inspect {
        id: "0123456789abcdef".into(),
        storage: Some(Storage { root_fs: Some(RootFsStorage { snapshot }) }),
        config: Some(Config { hostname: "host".into(), ..Config::default() }),
        network_settings: Some(NetworkSettings { networks: networks.into(), ..NetworkSettings::default() }),
        image_manifest_descriptor: Some(Descriptor::default()),
        ..Inspect::default()
    };
    check(
        Answer::ContainerInspect,
        &inspect,
        r#"1.51 - /Storage
1.51 + /Config/OnBuild null
1.51 + /NetworkSettings/Bridge ""
1.51 + /NetworkSettings/HairpinMode false
1.51 + /NetworkSettings/LinkLocalIPv6Address ""
1.51 + /NetworkSettings/LinkLocalIPv6PrefixLen 0
1.51 + /NetworkSettings/SecondaryIPAddresses null
1.51 + /NetworkSettings/SecondaryIPv6Addresses null
1.51 + /NetworkSettings/EndpointID ""
1.51 + /NetworkSettings/Gateway ""
1.51 + /NetworkSettings/GlobalIPv6Address ""
1.51 + /NetworkSettings/GlobalIPv6PrefixLen 0
1.51 + /NetworkSettings/IPAddress "172.17.0.2"
1.51 + /NetworkSettings/IPPrefixLen 16
1.51 + /NetworkSettings/IPv6Gateway ""
1.51 + /NetworkSettings/MacAddress ""
1.51 + /GraphDriver {"Data":null,"Name":"overlayfs"}
1.47 - /ImageManifestDescriptor
1.44 ~ /NetworkSettings/Networks/web/Aliases ["0123456789ab","host"]
"#,
    );
}

#[test]
fn container_list() {
    let summary = container_list::Summary {
        host_config: container_list::SummaryHostConfig {
            network_mode: "bridge".into(),
            annotations: BTreeMap::from([("a".into(), "b".into())]),
        },
        health: Some(HealthSummary { status: "none".into(), failing_streak: 0 }),
        image_manifest_descriptor: Some(Descriptor::default()),
        ..container_list::Summary::default()
    };
    check(
        Answer::ContainerSummary,
        &summary,
        "1.51 - /Health\n1.47 - /ImageManifestDescriptor\n1.45 - /HostConfig/Annotations\n",
    );
}

#[test]
fn image_list() {
    let summary = image::Summary {
        containers: 2,
        size: 7,
        descriptor: Some(Descriptor::default()),
        ..image::Summary::default()
    };
    check(
        Answer::ImageSummary,
        &summary,
        r#"1.50 ~ /Containers -1
1.47 - /Descriptor
1.43 + /VirtualSize 7
1.42 ~ /RepoDigests ["<none>@<none>"]
1.42 ~ /RepoTags ["<none>:<none>"]
"#,
    );
}

#[test]
fn image_inspect() {
    let config =
        image_inspect::ImageConfig { cmd: vec!["sh".into()], ..image_inspect::ImageConfig::default() };
    let inspect = image_inspect::Inspect {
        size: 7,
        config: Some(config),
        descriptor: Some(Descriptor::default()),
        identity: Some(json!({})),
        ..image_inspect::Inspect::default()
    };
    check(
        Answer::ImageInspect,
        &inspect,
        r#"1.52 - /Identity
1.51 + /Config/Entrypoint null
1.51 + /Config/Env null
1.51 + /Config/Labels null
1.51 + /Config/OnBuild null
1.51 + /Config/User ""
1.51 + /Config/Volumes null
1.51 + /Config/WorkingDir ""
1.51 + /Parent ""
1.51 + /Comment ""
1.51 + /DockerVersion ""
1.51 + /Author ""
1.51 + /GraphDriver {"Data":null,"Name":"overlayfs"}
1.49 + /Config/AttachStderr false
1.49 + /Config/AttachStdin false
1.49 + /Config/AttachStdout false
1.49 + /Config/Domainname ""
1.49 + /Config/Hostname ""
1.49 + /Config/Image ""
1.49 + /Config/OpenStdin false
1.49 + /Config/StdinOnce false
1.49 + /Config/Tty false
1.47 - /Descriptor
1.44 + /Container ""
1.44 + /ContainerConfig null
1.43 + /VirtualSize 7
1.43 + /Created "0001-01-01T00:00:00Z"
"#,
    );
}

#[test]
fn info() {
    let runtime = Runtime { status: BTreeMap::from([("a".into(), "b".into())]), ..Runtime::default() };
    let info = Info {
        firewall_backend: Some(FirewallInfo { driver: "nftables".into(), info: Vec::new() }),
        runtimes: BTreeMap::from([("runc".into(), runtime)]),
        registry_config: Some(api::registry::ServiceConfig::default()),
        discovered_devices: vec![api::system::DeviceInfo::default()],
        runc_commit: api::system::Commit { id: "v1".into() },
        ..Info::default()
    };
    check(
        Answer::Info,
        &info,
        r#"1.49 - /DiscoveredDevices
1.49 + /BridgeNfIptables false
1.49 + /BridgeNfIp6tables false
1.48 - /FirewallBackend
1.48 + /ContainerdCommit/Expected ""
1.48 + /RuncCommit/Expected "v1"
1.48 + /InitCommit/Expected ""
1.46 + /RegistryConfig/AllowNondistributableArtifactsCIDRs null
1.46 + /RegistryConfig/AllowNondistributableArtifactsHostnames null
1.43 - /Runtimes/runc/status
"#,
    );
}

#[test]
fn disk_usage() {
    let image = image::Summary { size: 7, ..image::Summary::default() };
    let usage = DiskUsage {
        image_usage: Some(Usage { items: vec![image], total_size: 7, total_count: 1, ..Usage::default() }),
        volume_usage: Some(Usage::default()),
        ..DiskUsage::default()
    };
    check(
        Answer::DiskUsage,
        &usage,
        r#"1.51 - /ImageUsage
1.51 - /VolumeUsage
1.51 + /LayersSize 7
1.51 + /Images [{"Containers":0,"Created":0,"Id":"","Labels":null,"ParentId":"","RepoDigests":[],"RepoTags":[],"SharedSize":0,"Size":7}]
1.51 + /Volumes []
1.43 + /Images/0/VirtualSize 7
"#,
    );
    let newest = serde_json::to_value(&usage).unwrap();
    let lists = v1_52::legacy_disk_usage(newest.as_object().unwrap());
    assert_eq!(lists.keys().collect::<Vec<_>>(), ["LayersSize", "Images", "Volumes"]);
}

#[test]
fn events() {
    let attributes = BTreeMap::from([("image".to_string(), "debian".to_string())]);
    let actor = api::events::Actor { id: "c1".into(), attributes };
    let mut event = api::events::Message {
        kind: "container".into(),
        action: "start".into(),
        actor,
        ..api::events::Message::default()
    };
    check(Answer::Event, &event, "1.51 + /status \"start\"\n1.51 + /id \"c1\"\n1.51 + /from \"debian\"\n");
    event.kind = "image".into();
    check(Answer::Event, &event, "1.51 + /status \"start\"\n1.51 + /id \"c1\"\n");
    event.kind = "network".into();
    check(Answer::Event, &event, "");
}

/// Prints what a version makes of a request, as differences to what the newest makes of an empty one, and warnings.
fn check_create(minor: u32, request: Value, expected: &str) {
    let mut newest = CreateRequest::default();
    create::create(MAX, &mut newest, true).unwrap();
    let mut request: CreateRequest = api::json::from_value(&request).unwrap();
    let printed = match create::create(ApiVersion::v1(minor), &mut request, true) {
        Ok(warnings) => {
            let value = |request: &CreateRequest| serde_json::to_value(request).unwrap();
            let mut lines = Vec::new();
            compare("", &value(&newest), &value(&request), &mut lines);
            lines.extend(warnings.into_iter().map(|warning| format!("! {warning}")));
            lines.join("\n")
        }
        Err(failure) => format!("{} {failure}", failure.status.as_u16()),
    };
    assert_eq!(printed, expected, "1.{minor}");
}

#[test]
fn create_defaults() {
    check_create(57, json!({}), "");
    check_create(57, json!({"HostConfig": {"NetworkMode": "default", "PidsLimit": -1}}), "");
    check_create(41, json!({}), "");
    check_create(39, json!({}), "~ /HostConfig/IpcMode \"shareable\"");
    check_create(
        57,
        json!({"NetworkingConfig": {"EndpointsConfig": {"default": null}}}),
        r#"+ /NetworkingConfig {"EndpointsConfig":{"bridge":null}}"#,
    );
}

#[test]
fn create_ignores_what_a_version_did_not_know() {
    let healthcheck =
        serde_json::to_value(HealthConfig { start_interval: 5, ..HealthConfig::default() }).unwrap();
    let request = json!({
        "Healthcheck": healthcheck,
        "HostConfig": {"ConsoleSize": [1, 2], "Annotations": {"a": "b"}},
    });
    check_create(
        44,
        request.clone(),
        "+ /Healthcheck {\"StartInterval\":5}\n~ /HostConfig/ConsoleSize/0 1\n~ /HostConfig/ConsoleSize/1 2\n\
         + /HostConfig/Annotations {\"a\":\"b\"}",
    );
    check_create(41, request, "+ /Healthcheck {}");
}

#[test]
fn create_checks_mounts() {
    let mount = |mount: Value| json!({"HostConfig": {"Mounts": [mount]}});
    let image = mount(json!({"Type": "image"}));
    check_create(47, image, "400 Mount type \"Image\" needs API v1.48 or newer");
    let tmpfs = mount(json!({"Type": "tmpfs", "BindOptions": {}}));
    check_create(42, tmpfs, "400 BindOptions must not be specified on mount type \"tmpfs\"");
    let volume = mount(json!({"Type": "bind", "VolumeOptions": {}}));
    check_create(41, volume, "+ /HostConfig/Mounts [{\"Type\":\"bind\"}]");
    let part = mount(json!({"Type": "volume", "VolumeOptions": {"Subpath": "a"}}));
    check_create(44, part, "400 VolumeOptions.Subpath needs API v1.45 or newer");
    let read_only = mount(json!({"Type": "bind", "ReadOnly": true}));
    check_create(
        43,
        read_only,
        r#"+ /HostConfig/Mounts [{"Type":"bind","ReadOnly":true,"BindOptions":{"ReadOnlyNonRecursive":true}}]"#,
    );
}

#[test]
fn create_moves_the_mac_address() {
    let address = "02:42:00:00:00:01";
    let deprecated = "! The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.";
    let mut request = json!({"MacAddress": address});
    let endpoint =
        serde_json::to_value(EndpointSettings { mac_address: address.into(), ..Default::default() }).unwrap();
    let moved = format!("+ /NetworkingConfig {{\"EndpointsConfig\":{{\"bridge\":{endpoint}}}}}");
    check_create(57, request.clone(), "");
    check_create(51, request.clone(), &format!("{moved}\n{deprecated}"));
    check_create(43, request.clone(), &moved);
    request["HostConfig"] = json!({"NetworkMode": "host"});
    check_create(43, request.clone(), "400 conflicting options: mac-address and the network mode");
    request["HostConfig"] = json!({"NetworkMode": "web"});
    request["NetworkingConfig"] = json!({"EndpointsConfig": {"other": {}}});
    check_create(
        44,
        request.clone(),
        "400 unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match the \
         identity of a network in NetworkSettings.Networks",
    );
    request["NetworkingConfig"] = json!({"EndpointsConfig": {"web": {"MacAddress": "02:42:00:00:00:02"}}});
    check_create(
        44,
        request.clone(),
        "400 the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left \
         empty",
    );
    request["NetworkingConfig"] = json!({"EndpointsConfig": {"web": null, "other": null}});
    check_create(43, request, "400 Container cannot be created with multiple network endpoints: other, web");
}

#[test]
fn create_moves_parameters_of_interfaces() {
    let request = |name: &str| json!({"HostConfig": {"Sysctls": {name: "1", "net.core.somaxconn": "2"}}});
    let option = json!({"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.forwarding=1"});
    let driver_opts = serde_json::from_value(option).unwrap();
    let endpoint = EndpointSettings { driver_opts: Some(driver_opts), ..EndpointSettings::default() };
    let endpoint = serde_json::to_value(endpoint).unwrap();
    check_create(
        47,
        request("net.ipv4.conf.eth0.forwarding"),
        &format!(
            "+ /HostConfig/Sysctls {{\"net.core.somaxconn\":\"2\"}}\n\
             + /NetworkingConfig {{\"EndpointsConfig\":{{\"bridge\":{endpoint}}}}}\n\
             ! Migrated sysctl \"net.ipv4.conf.eth0.forwarding\" to DriverOpts{{\"com.docker.network.endpoint.sysctls\":\
             \"net.ipv4.conf.IFNAME.forwarding=1\"}}."
        ),
    );
    check_create(
        47,
        request("net.ipv4.conf.eth1.forwarding"),
        "400 unable to determine network endpoint for sysctl net.ipv4.conf.eth1.forwarding, use driver option \
         'com.docker.network.endpoint.sysctls' to set per-interface sysctls",
    );
    check_create(
        48,
        request("net.ipv4.conf.eth0.forwarding"),
        "400 interface specific sysctl setting \"net.ipv4.conf.eth0.forwarding\" must be supplied using driver option \
         'com.docker.network.endpoint.sysctls'",
    );
}

#[test]
fn create_fills_port_bindings() {
    let request = json!({"HostConfig": {"PortBindings": {"80/tcp": [], "53/udp": null}}});
    let filled = "+ /HostConfig/PortBindings/53/udp [{\"HostIp\":\"\",\"HostPort\":\"\"}]\n\
                  + /HostConfig/PortBindings/80/tcp [{\"HostIp\":\"\",\"HostPort\":\"\"}]";
    check_create(51, request.clone(), filled);
    check_create(
        52,
        request,
        &format!(
            "{filled}\n! Following container port(s) have an empty list of port-bindings: 53/udp, 80/tcp. Such bindings \
             will be discarded in a future version."
        ),
    );
}
