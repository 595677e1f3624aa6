//! Make a network: plan its record, open it in the kernel, write it down.

use std::sync::Arc;

use api::network::{CreateRequest, Created};
use network::plan::{Invalid, plan_parent};
use network::{Facts, InterfaceName, MacAddress};

use super::attachment::Known;
use super::plan::{CreateFacts, plan_create};
use super::record::NetworkRecord;
use super::{attributes, failed};
use crate::engine::Engine;
use crate::{Error, Result, id, time};

/// Makes a network.
pub async fn create(engine: &Engine, request: CreateRequest) -> Result<Created> {
    let owned = engine.clone();
    let record = crate::blocking(move || make(&owned, &request)).await?;
    engine.events.publish("network", "create", &record.id, attributes(&record));
    Ok(Created { id: record.id.clone(), warning: String::new() })
}

fn make(engine: &Engine, request: &CreateRequest) -> Result<Arc<NetworkRecord>> {
    let networks = &engine.networks;
    // Held to the end: two networks made at the same time choose different names and subnets.
    let mut state = networks.lock();
    let host = state.kernel.gather_facts().map_err(failed)?;
    let bridges: Vec<_> =
        state.networks.values().filter_map(Known::bridge).map(|bridge| bridge.interface).collect();
    let facts = CreateFacts {
        id: id::new_id()?,
        created: time::now(),
        mac: MacAddress::from_random(id::random()?),
        random: id::random()?,
        pools: networks.pools.clone(),
        options: networks.options.clone(),
        ours: state.networks.values().flat_map(Known::prefixes).collect(),
        hosts: host.used_networks(&bridges.iter().collect::<Vec<_>>()),
        existing: networks.all().iter().map(|record| (**record).clone()).collect(),
    };
    let record = plan_create(request, &facts)?;
    let known = Known::new(record.clone())?;
    if known.has_interfaces() {
        refuse_parent(&known, &host)?;
        state.open_network(&known)?;
    }
    if let Err(error) = engine.records.save_network(&record) {
        if let Err(again) = state.close_network(&known) {
            tracing::error!(error = %again, "cannot undo a network that was not recorded");
        }
        return Err(error);
    }
    let shared = Arc::clone(&known.record);
    state.networks.insert(record.id, known);
    networks.insert(Arc::clone(&shared));
    Ok(shared)
}

/// Refuses a link of the host that containers could not hang on, in Docker's words.
fn refuse_parent(known: &Known, host: &Facts) -> Result<()> {
    let Some(parent) = known.parent() else { return Ok(()) };
    if parent == InterfaceName::loopback() {
        let driver = &known.record.driver;
        return Err(Error::system(format!("loopback interface is not a valid {driver} parent link")));
    }
    match plan_parent(&parent, host) {
        Ok(_) => Ok(()),
        Err(Invalid::NoParent { interface }) if interface != parent => {
            Err(Error::system(format!("-o parent interface was not found on the host: {interface}")))
        }
        Err(_) => Err(Error::system(format!(
            "invalid subinterface vlan name {parent}, example formatting is eth0.10"
        ))),
    }
}
