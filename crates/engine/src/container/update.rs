//! Change limits and the restart policy of a container, while it runs or not.

use api::container_create::{UpdateRequest, Updated};
use api::host_config::Resources;

use super::record::Record;
use super::remodel::{Changes, remodel};
use super::resolve;
use super::spec::Limits;
use crate::engine::Engine;
use crate::{Error, Result};

/// What control groups take for "no limit".
const UNLIMITED: i64 = -1;
/// What they take for "no rate" of a device.
const NO_RATE: u64 = 0;

/// Updates a container. Zero and `null` leave a limit as it is.
pub async fn update(
    engine: &Engine,
    reference: &str,
    request: UpdateRequest,
    changes: Changes,
) -> Result<Updated> {
    let handle = engine.containers.find(reference)?;
    let view = handle.view();
    let mut host = view.record.host_config.clone();
    refuse_conflict(&handle.id, &host.resources, &request.resources)?;
    merge(&mut host.resources, &request.resources);
    if !request.restart_policy.name.is_empty() {
        host.restart_policy = request.restart_policy.clone();
        if host.auto_remove && request.restart_policy.name != "no" {
            return Err(Error::invalid(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
    }
    resolve::policy(&host)?;
    let mut warnings = Vec::new();
    let limits = resolve::limits_of(&host.resources, &engine.host.machine(), &mut warnings)?;
    let mut updated: Record = (*view.record).clone();
    updated.spec.limits = limits.clone();
    if request.resources.pids_limit.is_some_and(|limit| limit <= 0) {
        updated.spec.limits.pids = Some(UNLIMITED);
    }
    lift(&view.record.spec.limits, &mut updated.spec.limits);
    if view.state().running().is_some() {
        let owned = engine.clone();
        crate::blocking(move || apply(&owned, &updated)).await?;
    }
    handle
        .change(move |record| {
            record.host_config.resources = host.resources;
            record.host_config.restart_policy = host.restart_policy;
            record.spec.limits = limits;
            Ok(())
        })
        .await?;
    remodel(engine, &handle, changes).await?;
    engine.events.publish("container", "update", &handle.id, view.record.attributes());
    Ok(Updated { warnings: Some(warnings).filter(|warnings| !warnings.is_empty()) })
}

/// Takes away the rates of devices that are named no more: the kernel keeps them until it is told that there are none.
fn lift(before: &Limits, after: &mut Limits) {
    for (before, after) in [
        (&before.blkio_read_bps, &mut after.blkio_read_bps),
        (&before.blkio_write_bps, &mut after.blkio_write_bps),
        (&before.blkio_read_iops, &mut after.blkio_read_iops),
        (&before.blkio_write_iops, &mut after.blkio_write_iops),
    ] {
        let gone = |(path, _): &&(String, u64)| !after.iter().any(|(other, _)| other == path);
        let gone: Vec<_> = before.iter().filter(gone).map(|(path, _)| (path.clone(), NO_RATE)).collect();
        after.extend(gone);
    }
}

/// Refuses more memory than memory and swap together were before, when the request says nothing of both.
fn refuse_conflict(id: &str, own: &Resources, new: &Resources) -> Result<()> {
    if new.memory > 0 && new.memory_swap == 0 && own.memory_swap > 0 && new.memory > own.memory_swap {
        return Err(Error::conflict(format!(
            "Cannot update container {id}: Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )));
    }
    Ok(())
}

fn apply(engine: &Engine, record: &Record) -> Result<()> {
    let block_devices = super::facts::block_devices(&record.spec)?;
    let resources = super::plan::limits(&record.spec, &block_devices);
    let failed =
        |error: cgroup::Error| Error::system(format!("cannot update container {}: {error}", record.id));
    let limits = cgroup::Limits::try_from(&resources).map_err(failed)?;
    let place = super::group::place(record)?;
    let updated = place.update(&engine.host.cgroups, &limits);
    updated.map_err(|error| Error::system(format!("cannot update container {}: {error}", record.id)))
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Takes over what the request sets.
fn merge(own: &mut Resources, new: &Resources) {
    macro_rules! numbers {
        ($($field:ident)*) => {$( if !is_zero(&new.$field) { own.$field = new.$field.clone(); } )*};
    }
    numbers! {
        cpu_shares memory nano_cpus blkio_weight cpu_period cpu_quota cpu_realtime_period cpu_realtime_runtime
        cpuset_cpus cpuset_mems memory_reservation memory_swap pids_limit blkio_weight_device blkio_device_read_bps
        blkio_device_write_bps blkio_device_read_iops blkio_device_write_iops
    }
    // Any number that is none takes the limit away.
    own.pids_limit = own.pids_limit.map(|limit| limit.max(0));
    // Limits that exclude each other: the new one replaces the old.
    if new.nano_cpus > 0 {
        (own.cpu_period, own.cpu_quota) = (0, 0);
    } else if new.cpu_period > 0 || new.cpu_quota != 0 {
        own.nano_cpus = 0;
    }
}
