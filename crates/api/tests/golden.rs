//! What every answer prints when nothing is set: which fields are `null`, `[]`, `{}`, and which are left out. Clients
//! in strict languages depend on it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Compares the default of a type with its golden file, and reads it back.
fn check<T: Default + Debug + PartialEq + Serialize + DeserializeOwned>(golden: &str) {
    let printed = serde_json::to_string_pretty(&T::default()).unwrap();
    assert_eq!(printed.trim(), golden.trim(), "\n{printed}\n");
    assert_eq!(api::json::from_slice::<T>(golden.as_bytes()).unwrap(), T::default());
    assert_eq!(serde_json::from_str::<T>(golden).unwrap(), T::default());
}

macro_rules! golden {
    ($($name:ident $type:ty),+ $(,)?) => {
        $(#[test]
        fn $name() {
            check::<$type>(include_str!(concat!("golden/", stringify!($name), ".json")));
        })+
    };
}

golden! {
    container_create api::container_create::CreateRequest,
    container_inspect api::container_inspect::Inspect,
    container_summary api::container_list::Summary,
    container_state api::container::State,
    disk_usage api::disk_usage::DiskUsage,
    endpoint api::endpoint::EndpointSettings,
    event api::events::Message,
    exec_inspect api::exec::ExecInspect,
    host_config api::host_config::HostConfig,
    image_inspect api::image_inspect::Inspect,
    image_summary api::image::Summary,
    info api::system::Info,
    network_inspect api::network::Inspect,
    stats api::stats::Stats,
    update api::container_create::UpdateRequest,
    version api::system::Version,
    volume api::volume::Volume,
}

#[test]
fn a_request_as_the_command_line_sends_it_is_understood() {
    let request = br#"{
        "Hostname": "", "Cmd": ["sh", "-c", "true"], "Image": "debian", "Volumes": {"/data": {}}, "Entrypoint": null,
        "ExposedPorts": {"80/tcp": {}}, "Env": [], "Labels": {"a": "b"}, "Tty": true, "OnBuild": null,
        "HostConfig": {
            "Binds": ["/a:/b:ro"], "NetworkMode": "default", "Memory": 67108864, "NanoCpus": 500000000, "Devices": [],
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}, "ConsoleSize": [24, 80], "PidsLimit": 0,
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "Ulimits": [{"Name": "nofile", "Hard": 2, "Soft": 1}],
            "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1, "Mode": 448}}]
        },
        "NetworkingConfig": {"EndpointsConfig": {"web": {"IPAMConfig": {"IPv4Address": "10.0.0.2"}, "Aliases": ["x"]}}}
    }"#;
    let request: api::container_create::CreateRequest = api::json::from_slice(request).unwrap();
    assert_eq!(request.config.image, "debian");
    assert!(request.config.volumes.unwrap().contains_key("/data"));
    assert_eq!(request.config.entrypoint, None);
    let host = request.host_config.unwrap();
    assert_eq!((host.resources.memory, host.resources.nano_cpus), (64 << 20, 500_000_000));
    assert_eq!(host.resources.pids_limit, Some(0));
    assert_eq!(host.console_size, [24, 80]);
    assert_eq!(host.mounts[0].tmpfs_options.as_ref().unwrap().mode, 0o700);
    let (port, bindings) = host.port_bindings.as_ref().unwrap().first_key_value().unwrap();
    assert_eq!(
        (port.to_string().as_str(), bindings.as_ref().unwrap()[0].host_port.as_str()),
        ("80/tcp", "8080")
    );
    let endpoints = request.networking_config.unwrap().endpoints_config.unwrap();
    let web = endpoints["web"].as_ref().unwrap();
    assert_eq!(web.ipam_config.as_ref().unwrap().ipv4_address, "10.0.0.2");
}
