//! Every check of the suite, by the part of the surface it belongs to.

mod attach;
mod bundles;
mod cdi;
mod collectors;
mod commit;
mod components;
mod compose;
mod content;
mod credentials;
mod distribution;
mod doors;
mod exec;
mod fields;
mod fields_outside;
mod files;
mod forgeries;
mod gateways;
mod hangs;
mod health;
mod host_firewalls;
mod hostile;
mod images;
mod isolation;
mod journal;
mod leaving;
mod lifecycle;
mod limits;
mod links;
mod logs;
mod manifests;
mod mending;
mod mirrors;
mod misbehaving;
mod mounts;
mod network;
mod networks;
mod newest;
mod ours;
mod platforms;
mod plugins;
mod policies;
mod pools;
mod protocol;
mod pulls;
mod queries;
mod quotas;
mod recovery;
mod refusals;
mod refused_fields;
mod registry;
mod remodel;
mod rsyslog;
mod run;
mod runtimes;
mod shapes;
mod sharing;
mod stock;
mod supply;
mod terminals;
mod updates;
mod uplinks;
mod userns;
mod volume_content;
mod volumes;
mod weak_spots;
mod websocket;

// What the machine decides.
mod confinement;

// What others count and expect.
mod clients;
mod measured;

use crate::check::Check;
use crate::engine::Engine;

pub(crate) use hangs::questions as hang_questions;
pub(crate) use misbehaving::noise;

/// The area whose checks need the image with servers.
pub(crate) const SERVERS_AREA: &str = components::AREA;

/// The area whose checks need Docker Compose.
pub(crate) const COMPOSE_AREA: &str = compose::AREA;

/// Areas that are run only when they are named: hardly a machine has what they need.
pub(crate) const NAMED_AREAS: &[&str] = &[quotas::AREA, journal::AREA];

/// All checks that are meant for this engine, in the order in which they are run.
pub(crate) fn all(engine: &Engine) -> Vec<Check> {
    let mut areas = vec![
        protocol::checks as fn() -> Vec<Check>,
        shapes::checks,
        newest::checks,
        images::checks,
        stock::checks,
        run::checks,
        lifecycle::checks,
        queries::checks,
        updates::checks,
        logs::checks,
        collectors::checks,
        exec::checks,
        files::checks,
        commit::checks,
        health::checks,
        attach::checks,
        weak_spots::checks,
        websocket::checks,
        terminals::checks,
        isolation::checks,
        supply::checks,
        limits::checks,
        links::checks,
        cdi::checks,
        runtimes::checks,
        network::checks,
        sharing::checks,
        volumes::checks,
        mounts::checks,
        plugins::checks,
        networks::checks,
        fields::checks,
        fields_outside::checks,
        refusals::checks,
        refused_fields::checks,
        registry::checks,
        pulls::checks,
        misbehaving::checks,
        hostile::checks,
        distribution::checks,
        platforms::checks,
        manifests::checks,
        credentials::checks,
        bundles::checks,
        recovery::checks,
        hangs::checks,
        leaving::checks,
    ];
    areas.push(confinement::checks);
    areas.push(measured::checks);
    areas.extend([clients::checks as fn() -> Vec<Check>, compose::checks, components::checks]);
    if engine.program.is_some() {
        areas.extend([forgeries::checks as fn() -> Vec<Check>, policies::checks]);
        areas.extend([ours::checks as fn() -> Vec<Check>, health::ours]);
        areas.extend([mending::checks as fn() -> Vec<Check>, gateways::checks]);
        areas.extend([uplinks::checks as fn() -> Vec<Check>, links::ours, userns::checks]);
        areas.extend([pools::checks as fn() -> Vec<Check>, host_firewalls::checks]);
        areas.push(doors::checks);
        areas.extend([collectors::ours as fn() -> Vec<Check>, journal::checks]);
        areas.extend([content::checks as fn() -> Vec<Check>, mirrors::checks, quotas::checks]);
        areas.extend([volume_content::checks as fn() -> Vec<Check>, remodel::checks]);
    }
    areas.into_iter().flat_map(|checks| checks()).collect()
}
