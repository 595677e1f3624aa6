//! Connect containers to networks and disconnect them, whether or not they run.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use api::network::{ConnectRequest, DisconnectRequest};

use super::record::NetworkRecord;
use super::wishes;
use crate::container::record::{Attachment, Record};
use crate::container::registry::Handle;
use crate::container::spec::Share;
use crate::container::state::State as Life;
use crate::container::view::Live;
use crate::descriptor::Reserve;
use crate::engine::Engine;
use crate::{Error, Result};

/// Adds an endpoint to a container.
pub async fn connect(engine: &Engine, reference: &str, request: ConnectRequest) -> Result<()> {
    let network = engine.networks.find(reference)?;
    let handle = engine.containers.find(&request.container)?;
    let settings = request.endpoint_config.unwrap_or_default();
    wishes::check(&network, &settings)?;
    let settings = wishes::asked(&network, settings);
    settle(&handle).await?;
    let view = handle.view();
    let is_dead = matches!(view.state(), Life::Dead { .. });
    if view.live.is_none() && !is_dead && view.record.endpoints.contains_key(&network.name) {
        // Once more what is written down already: there is no endpoint yet that it could collide with.
        return Ok(());
    }
    let (owned, joined) = (engine.clone(), Arc::clone(&network));
    handle
        .work(move |record, live| {
            refuse_connect(record, &joined)?;
            if let Some(netns) = live.and_then(|live| live.netns.as_ref()) {
                let mut reserve = Reserve::hold().map_err(|error| {
                    Error::system(format!("connect {} to {}: {error}", record.name, joined.name))
                })?;
                let mut future = record.clone();
                future.endpoints.insert(joined.name.clone(), settings.clone());
                let attachments = owned.networks.lock().connect(
                    &future,
                    &joined.name,
                    &settings,
                    netns.as_fd(),
                    &mut reserve,
                )?;
                future.attachments.clone_from(&attachments);
                let introduced = owned.networks.introduce(&future, &attachments, Some(netns.as_fd()));
                let linked = introduced
                    .and_then(|()| crate::container::links::let_pass(&owned, &future, &attachments));
                if let Err(error) = linked.and_then(|()| rewrite_files(&owned, &future, live)) {
                    reserve.release();
                    return Err(unplug(&owned, record, &joined.id, netns.as_fd(), error));
                }
                record.attachments = attachments;
            }
            record.endpoints.insert(joined.name.clone(), settings);
            Ok(())
        })
        .await?;
    announce(engine, &handle, &network, "connect");
    Ok(())
}

/// Takes back a connection that could not be finished; the error to tell.
fn unplug(
    engine: &Engine,
    record: &Record,
    network_id: &str,
    netns: std::os::fd::BorrowedFd<'_>,
    error: Error,
) -> Error {
    let undone = engine.networks.lock().disconnect(record, network_id, netns);
    match undone.and_then(|attachments| engine.networks.introduce(record, &attachments, None)) {
        Ok(()) => error,
        Err(undo) => error.context(undo),
    }
}

/// A launch under way knows its endpoints already: it is waited for.
async fn settle(handle: &Handle) -> Result<()> {
    handle.until(|view| !matches!(view.state(), Life::Starting { .. })).await.map(drop)
}

fn refuse_connect(record: &Record, network: &NetworkRecord) -> Result<()> {
    match &record.spec.namespaces.network {
        Share::Container(_) => {
            return Err(Error::invalid(
                "container sharing network namespace with another container or host cannot be connected to any other network",
            ));
        }
        Share::Host => {
            return Err(Error::invalid(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        Share::Private => {}
    }
    match network.name.as_str() {
        "host" => {
            return Err(Error::invalid(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        "none" if !record.endpoints.is_empty() => return Err(no_network()),
        _ => {}
    }
    if record.endpoints.contains_key("none") {
        return Err(no_network());
    }
    if matches!(record.state, Life::Starting { .. }) {
        return Err(Error::conflict(format!("container {} is being started", record.id)));
    }
    if matches!(record.state, Life::Dead { .. }) {
        return Err(Error::conflict(
            "container is marked for removal and cannot be connected or disconnected",
        ));
    }
    if record.endpoints.contains_key(&network.name) {
        return Err(Error::forbidden(format!(
            "endpoint with name {} already exists in network {}",
            record.name, network.name
        )));
    }
    Ok(())
}

fn no_network() -> Error {
    Error::invalid(
        "container cannot be connected to multiple networks with one of the networks in private (none) mode",
    )
}

/// Takes an endpoint from a container.
pub async fn disconnect(engine: &Engine, reference: &str, request: DisconnectRequest) -> Result<()> {
    let network = engine.networks.find(reference)?;
    let handle = match engine.containers.find(&request.container) {
        // What is left of a container that has gone holds nothing: boot and teardown see to that.
        Err(error) if request.force && error.kind == crate::Kind::NotFound => return Ok(()),
        found => found?,
    };
    settle(&handle).await?;
    let (owned, left) = (engine.clone(), Arc::clone(&network));
    handle
        .work(move |record, live| {
            if record.spec.namespaces.network == Share::Host || left.name == "host" {
                return Err(Error::invalid(
                    "container cannot be disconnected from host network or connected to host network",
                ));
            }
            if matches!(record.state, Life::Starting { .. }) {
                return Err(Error::conflict(format!("container {} is being started", record.id)));
            }
            if record.endpoints.remove(&left.name).is_none() {
                return Err(Error::forbidden(format!(
                    "container {} is not connected to network {}",
                    record.id, left.name
                )));
            }
            if let Some(netns) = live.and_then(|live| live.netns.as_ref()) {
                record.attachments = owned.networks.lock().disconnect(record, &left.id, netns.as_fd())?;
                // The link has gone: what follows from that is made up for, and does not bring it back.
                let told = owned.networks.introduce(record, &record.attachments, None);
                if let Err(error) = told.and_then(|()| rewrite_files(&owned, record, live)) {
                    tracing::error!(container = crate::id::short(&record.id), %error, "its names are out of date");
                }
            }
            Ok(())
        })
        .await?;
    announce(engine, &handle, &network, "disconnect");
    Ok(())
}

/// Changes how fast and how reliably an endpoint sends and gets packets: options that are not named stay.
pub async fn shape(engine: &Engine, reference: &str, request: ConnectRequest) -> Result<()> {
    let network = engine.networks.find(reference)?;
    let handle = engine.containers.find(&request.container)?;
    let asked = request.endpoint_config.and_then(|settings| settings.driver_opts).unwrap_or_default();
    if let Some(key) = asked.keys().find(|key| !key.starts_with("berth.endpoint.")) {
        return Err(Error::invalid(format!("option {key} cannot be changed: only those of berth.endpoint")));
    }
    settle(&handle).await?;
    let owned = engine.clone();
    handle
        .work(move |record, live| {
            let missing = || {
                Error::forbidden(format!(
                    "container {} is not connected to network {}",
                    record.id, network.name
                ))
            };
            let mut settings = record.endpoints.get(&network.name).cloned().ok_or_else(missing)?;
            settings.driver_opts.get_or_insert_default().extend(asked);
            wishes::check(&network, &settings)?;
            let shaping = super::attachment::shaping(&settings)?;
            if let Some(netns) = live.and_then(|live| live.netns.as_ref()) {
                // A boot makes the links what the record says when this daemon does not come to record what they are.
                owned.records.save(&Record { reshaping: true, ..record.clone() }, true)?;
                let mut state = owned.networks.lock();
                record.attachments = state.shape(&record.id, &network.id, shaping, netns.as_fd())?;
            }
            record.endpoints.insert(network.name.clone(), settings);
            Ok(())
        })
        .await
}

/// The files of a running container follow its networks.
fn rewrite_files(engine: &Engine, record: &Record, live: Option<&Live>) -> Result<()> {
    match live {
        Some(_) => crate::container::net_files::rewrite(engine, record),
        None => Ok(()),
    }
}

fn announce(engine: &Engine, handle: &Handle, network: &NetworkRecord, action: &str) {
    let mut attributes = super::attributes(network);
    attributes.insert("container".to_owned(), handle.id.to_string());
    engine.events.publish("network", action, &network.id, attributes);
}

/// Tells that a starting or ended container came to its networks, or left them.
pub(crate) fn announce_all(engine: &Engine, record: &Record, action: &str) {
    let by_name: BTreeMap<&String, &Attachment> =
        record.attachments.iter().map(|attachment| (&attachment.network_name, attachment)).collect();
    for (name, settings) in &record.endpoints {
        let id = by_name.get(name).map_or(&settings.network_id, |attachment| &attachment.network_id);
        let Ok(network) = engine.networks.find(id) else { continue };
        let mut attributes = super::attributes(&network);
        attributes.insert("container".to_owned(), record.id.clone());
        engine.events.publish("network", action, &network.id, attributes);
    }
}
