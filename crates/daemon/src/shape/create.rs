//! The request of `POST /containers/create`, from what any version means to what the newest means.

use api::container_create::{CreateRequest, UpdateRequest};
use api::endpoint::EndpointSettings;
use api::mount::{Mount, kind};
use api::version::ApiVersion;

use super::{v1_40, v1_41, v1_42, v1_43, v1_44, v1_45, v1_48, v1_52, v1_55, v1_56};
use crate::server::failure::Failure;

/// What an endpoint is told about kernel parameters of its interface.
const ENDPOINT_SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// Rewrites a request, for a machine whose control groups are one hierarchy or several. Gives warnings for people.
pub fn create(
    version: ApiVersion,
    request: &mut CreateRequest,
    unified_cgroups: bool,
) -> Result<Vec<String>, Failure> {
    let before = |minor: u32| version < ApiVersion::v1(minor);
    name_default_network(request);
    let mut warnings = Vec::new();
    if before(40) {
        v1_40::create(request);
    }
    if before(41) {
        v1_41::create(request, unified_cgroups);
    }
    if before(42) {
        v1_42::create(request);
    } else {
        check_mount_options(request)?;
    }
    if before(43) {
        v1_43::create(request);
    }
    if before(44) {
        v1_44::create(request)?;
    }
    if before(45) {
        v1_45::create(request)?;
    }
    if before(48) {
        v1_48::create(request)?;
    } else {
        warnings.extend(warn_of_volume_driver(request));
    }
    if before(52) {
        warnings.extend(v1_52::create(request)?);
    } else {
        // Newer versions do not know it, and so do not read it.
        request.config.mac_address.clear();
    }
    if before(56) {
        v1_56::create(request);
    }
    warnings.extend(move_interface_sysctls(version, request)?);
    warnings.extend(fill_empty_port_bindings(version, request));
    if let Some(host_config) = &mut request.host_config {
        host_config.resources.pids_limit.take_if(|limit| *limit <= 0);
    }
    Ok(warnings)
}

/// Rewrites a request of `POST /containers/{id}/update`.
pub fn update(version: ApiVersion, request: &mut UpdateRequest) {
    if version < ApiVersion::v1(40) {
        v1_40::update(request);
    }
    if version < ApiVersion::v1(55) {
        v1_55::update(request);
    }
    if let Some(limit) = &mut request.resources.pids_limit {
        *limit = (*limit).max(0);
    }
}

/// Endpoints that have wishes.
pub fn endpoints(request: &mut CreateRequest) -> impl Iterator<Item = &mut EndpointSettings> {
    let config = request.networking_config.iter_mut().filter_map(|config| config.endpoints_config.as_mut());
    config.flat_map(|endpoints| endpoints.values_mut()).filter_map(Option::as_mut)
}

/// Whether a network of this name is neither built in nor another container's.
pub fn is_user_defined(name: &str) -> bool {
    !matches!(name, "default" | "bridge" | "host" | "none") && !name.starts_with("container:")
}

/// Whether the container's main network is one that gives it an interface of its own.
pub fn is_bridge_or_user_defined(request: &CreateRequest) -> bool {
    let mode = request.host_config.as_ref().map_or("", |host| host.network_mode.as_str());
    mode == "bridge" || is_user_defined(mode)
}

/// The endpoint in the container's main network, made if there is none. With `take_any` the only one there is, as
/// versions did that knew one endpoint only.
pub fn endpoint_of_network_mode(
    request: &mut CreateRequest,
    take_any: bool,
) -> Result<&mut EndpointSettings, Failure> {
    let mode = request.host_config.as_ref().map_or("", |host| host.network_mode.as_str()).to_string();
    let endpoints =
        request.networking_config.get_or_insert_default().endpoints_config.get_or_insert_default();
    let name = match endpoints.keys().next() {
        Some(first) if take_any => first.clone(),
        Some(_) if !endpoints.contains_key(&mode) => {
            return Err(Failure::invalid(
                "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks",
            ));
        }
        _ => mode,
    };
    Ok(endpoints.entry(name).or_default().get_or_insert_default())
}

/// `default` and nothing at all mean the bridge; what is echoed by inspect is never `null` where Docker has none.
fn name_default_network(request: &mut CreateRequest) {
    let host_config = request.host_config.get_or_insert_default();
    host_config.port_bindings.get_or_insert_default();
    if !matches!(host_config.network_mode.as_str(), "" | "default") {
        return;
    }
    host_config.network_mode = "bridge".into();
    let config = request.networking_config.as_mut().and_then(|config| config.endpoints_config.as_mut());
    if let Some(endpoints) = config
        && let Some(endpoint) = endpoints.remove("default")
    {
        endpoints.insert("bridge".into(), endpoint);
    }
}

fn check_mount_options(request: &CreateRequest) -> Result<(), Failure> {
    for mount in request.host_config.iter().flat_map(|host| &host.mounts) {
        let wrong = [
            ("VolumeOptions", mount.volume_options.is_some(), kind::VOLUME),
            ("BindOptions", mount.bind_options.is_some(), kind::BIND),
            ("TmpfsOptions", mount.tmpfs_options.is_some(), kind::TMPFS),
        ];
        if let Some((options, ..)) = wrong.iter().find(|(_, given, kind)| *given && mount.kind != *kind) {
            let kind = &mount.kind;
            return Err(Failure::invalid(format!("{options} must not be specified on mount type {kind:?}")));
        }
    }
    Ok(())
}

fn warn_of_volume_driver(request: &CreateRequest) -> Option<String> {
    let host_config = request.host_config.as_ref().filter(|host| !host.volume_driver.is_empty())?;
    let has_driver = |mount: &Mount| {
        let driver = mount.volume_options.as_ref().and_then(|options| options.driver_config.as_ref());
        driver.is_some_and(|driver| !driver.name.is_empty())
    };
    host_config.mounts.iter().find(|mount| mount.kind == kind::VOLUME && !has_driver(mount))?;
    Some(
        "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use \
         '--mount type=volume,volume-driver=...' instead"
            .into(),
    )
}

/// Parameters of `eth0` belong to the interface, which is there only when the container has been connected.
fn move_interface_sysctls(
    version: ApiVersion,
    request: &mut CreateRequest,
) -> Result<Option<String>, Failure> {
    let host_config = request.host_config.get_or_insert_default();
    if host_config.network_mode == "host" || host_config.network_mode.starts_with("container:") {
        return Ok(None);
    }
    let mut moved = Vec::new();
    for (name, value) in &host_config.sysctls {
        let parts: Vec<&str> = name.splitn(5, '.').collect();
        let ["net", family, kind, interface, parameter] = parts[..] else { continue };
        if !interface.starts_with("eth") {
            continue;
        }
        if version >= ApiVersion::v1(48) {
            return Err(Failure::invalid(format!(
                "interface specific sysctl setting {name:?} must be supplied using driver option '{ENDPOINT_SYSCTLS}'"
            )));
        }
        if interface != "eth0" {
            return Err(Failure::invalid(format!(
                "unable to determine network endpoint for sysctl {name}, use driver option '{ENDPOINT_SYSCTLS}' to set \
                 per-interface sysctls"
            )));
        }
        moved.push((name.clone(), format!("net.{family}.{kind}.IFNAME.{parameter}={value}")));
    }
    if moved.is_empty() {
        return Ok(None);
    }
    host_config.sysctls.retain(|name, _| !moved.iter().any(|(gone, _)| gone == name));
    let (names, options): (Vec<String>, Vec<String>) = moved.into_iter().unzip();
    let endpoint = endpoint_of_network_mode(request, version < ApiVersion::v1(44)).map_err(|failure| {
        Failure::invalid(format!("unable to find a network for sysctl {}: {failure}", names[0]))
    })?;
    let mut option = options.join(",");
    let warning =
        format!("Migrated sysctl {:?} to DriverOpts{{{ENDPOINT_SYSCTLS:?}:{option:?}}}.", names.join(","));
    let options = endpoint.driver_opts.get_or_insert_default();
    if let Some(existing) = options.get(ENDPOINT_SYSCTLS) {
        option = format!("{option},{existing}");
    }
    options.insert(ENDPOINT_SYSCTLS.into(), option);
    Ok(Some(warning))
}

/// A port that is bound to nothing is bound to a free port of the host.
fn fill_empty_port_bindings(version: ApiVersion, request: &mut CreateRequest) -> Option<String> {
    let bindings = request.host_config.as_mut()?.port_bindings.as_mut()?;
    let mut empty = Vec::new();
    for (port, list) in bindings.iter_mut() {
        if list.as_ref().is_none_or(Vec::is_empty) {
            *list = Some(vec![api::port::PortBinding::default()]);
            empty.push(port.to_string());
        }
    }
    (!empty.is_empty() && version >= ApiVersion::v1(52)).then(|| {
        format!(
            "Following container port(s) have an empty list of port-bindings: {}. Such bindings will be discarded in a \
             future version.",
            empty.join(", ")
        )
    })
}
