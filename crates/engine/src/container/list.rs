//! The list of containers: filters, order, and the words of the status column.

use std::collections::BTreeMap;

use api::container::{ContainerState, HealthSummary};
use api::container_list::{Summary, SummaryHostConfig, SummaryNetworkSettings};
use api::endpoint::EndpointSettings;
use api::filters::Filters;

use super::inspect::{mount_points, network_endpoints, port_summaries};
use super::links;
use super::state::{Nanos, State};
use super::view::View;
use crate::engine::Engine;
use crate::pattern::Patterns;
use crate::{Error, Result, time};

/// What a list may ask for.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Stopped ones too.
    pub all: bool,
    /// At most so many, newest first; `None` for no limit. Implies `all`.
    pub limit: Option<usize>,
    /// With the sizes of their layers.
    pub size: bool,
    /// Which.
    pub filters: Filters,
}

const KEYS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "annotation",
];

/// What `status` may be.
const STATES: &[&str] = &["created", "running", "paused", "restarting", "removing", "exited", "dead"];
/// What `health` may be.
const HEALTH: &[&str] = &["none", "starting", "healthy", "unhealthy"];

/// Lists containers, newest first. Reads published snapshots only: it never waits for a container.
pub async fn list(engine: &Engine, options: &ListOptions) -> Result<Vec<Summary>> {
    options.filters.validate(KEYS).map_err(|error| Error::invalid(error.to_string()))?;
    let matching = Criteria::new(engine, options)?;
    let all: Vec<_> = engine.containers.all().iter().map(super::registry::Handle::view).collect();
    let mut views: Vec<_> = all
        .iter()
        .filter(|view| !matches!(view.state(), State::Gone { .. }) && matching.accept(view))
        .collect();
    let mut others = links::names(all.iter().map(|view| view.record.as_ref()));
    views.sort_by(|a, b| b.record.created.cmp(&a.record.created).then_with(|| a.record.id.cmp(&b.record.id)));
    views.truncate(options.limit.unwrap_or(usize::MAX));
    let now = time::now();
    let mut rows: Vec<Summary> = views.iter().map(|view| summary(engine, view, now)).collect();
    for row in &mut rows {
        row.names.extend(others.remove(&row.id).unwrap_or_default());
    }
    if options.size {
        for (row, view) in rows.iter_mut().zip(&views) {
            let (engine, record) = (engine.clone(), (*view.record).clone());
            let sizes = crate::blocking(move || super::inspect::sizes(&engine, &record)).await?;
            (row.size_rw, row.size_root_fs) = sizes;
        }
    }
    Ok(rows)
}

/// The filters with their values parsed.
struct Criteria<'a> {
    options: &'a ListOptions,
    states: Vec<ContainerState>,
    exits: Vec<i32>,
    ports: Vec<(&'static str, api::port::PortRange)>,
    ancestors: Option<Vec<String>>,
    before: Option<Nanos>,
    since: Option<Nanos>,
    ids: Patterns,
    names: Patterns,
}

impl<'a> Criteria<'a> {
    fn new(engine: &Engine, options: &'a ListOptions) -> Result<Self> {
        let filters = &options.filters;
        let invalid = |key: &str, value: &str| Error::invalid(format!("invalid filter '{key}={value}'"));
        let unknown = |key: &str, what: &str, value: &str, known: &[&str]| {
            let known = known.join(", ");
            Error::invalid(format!(
                "invalid filter '{key}={value}': invalid value for {what} ({value}): must be one of {known}"
            ))
        };
        let states = filters
            .get("status")
            .map(|word| word.parse().map_err(|_| unknown("status", "state", word, STATES)))
            .collect::<Result<_>>()?;
        let exits = filters
            .get("exited")
            .map(|code| code.parse().map_err(|_| invalid("exited", code)))
            .collect::<Result<_>>()?;
        for value in filters.get("health") {
            if !HEALTH.contains(&value) {
                return Err(unknown("health", "health", value, HEALTH));
            }
        }
        let mut ports = Vec::new();
        for key in ["expose", "publish"] {
            for value in filters.get(key) {
                ports.push((key, value.parse().map_err(|words: String| Error::invalid(words))?));
            }
        }
        for value in filters.get("is-task") {
            if !matches!(value, "true" | "false" | "1" | "0") {
                return Err(invalid("is-task", value));
            }
        }
        let ancestors = filters.contains("ancestor").then(|| {
            filters.get("ancestor").filter_map(|name| crate::image_use::id_of(engine, name).ok()).collect()
        });
        let created = |key: &str| -> Result<Option<Nanos>> {
            let mut found = None;
            for name in filters.get(key) {
                found = Some(engine.containers.find(name)?.view().record.created);
            }
            Ok(found)
        };
        let (before, since) = (created("before")?, created("since")?);
        let (ids, names) = (Patterns::of(filters, "id"), Patterns::of(filters, "name"));
        Ok(Self { options, states, exits, ports, ancestors, before, since, ids, names })
    }

    fn accept(&self, view: &View) -> bool {
        let filters = &self.options.filters;
        let record = &view.record;
        let asked_for_more = self.options.all
            || self.options.limit.is_some()
            || !self.states.is_empty()
            || !self.exits.is_empty()
            || self.before.is_some()
            || self.since.is_some();
        // What is about to run again is among those that run.
        let is_up = view.state().running().is_some() || matches!(view.state(), State::Restarting { .. });
        if !asked_for_more && !is_up {
            return false;
        }
        let state = word(view);
        let labels = record.config.labels.clone().unwrap_or_default();
        (self.states.is_empty() || self.states.contains(&state))
            && (self.exits.is_empty() || self.exited_with(view))
            && self.before.is_none_or(|at| record.created < at)
            && self.since.is_none_or(|at| record.created > at)
            && self.ancestors.as_ref().is_none_or(|ids| ids.contains(&record.image_id))
            && self.ids.match_any(&[&record.id])
            && self.names.match_any(&[&record.name, &format!("/{}", record.name)])
            && filters.labels_match("label", &labels)
            && any(filters, "health", |wanted| wanted == health(view).status)
            && any(filters, "network", |network| {
                network_endpoints(view).iter().any(|(name, endpoint)| {
                    name == network || !network.is_empty() && endpoint.network_id.starts_with(network)
                })
            })
            && any(filters, "volume", |volume| {
                record.spec.mounts.iter().any(|mount| {
                    mount.volume() == Some(volume)
                        || mount.destination == volume
                        || mount.source(&record.volume_paths) == volume
                })
            })
            && any(filters, "is-task", |value| matches!(value, "false" | "0"))
            && any(filters, "annotation", |wanted| {
                annotation_matches(wanted, &record.host_config.annotations)
            })
            && self.ports.iter().all(|(key, range)| port_matches(view, key, range))
    }

    fn exited_with(&self, view: &View) -> bool {
        let ended = view.state().ended();
        ended.is_some_and(|ended| ended.at != 0 && self.exits.contains(&ended.code))
    }
}

/// Endpoints as a list shows them: without the names in their networks, and without what drivers were told.
fn endpoints(view: &View) -> BTreeMap<String, EndpointSettings> {
    let brief = |(network, endpoint)| {
        (
            network,
            EndpointSettings { aliases: None, dns_names: None, links: None, driver_opts: None, ..endpoint },
        )
    };
    network_endpoints(view).into_iter().map(brief).collect()
}

fn annotation_matches(wanted: &str, annotations: &std::collections::BTreeMap<String, String>) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => annotations.get(key).is_some_and(|found| found == value),
        None => annotations.contains_key(wanted),
    }
}

fn port_matches(view: &View, key: &str, range: &api::port::PortRange) -> bool {
    let inside = |number: u16, protocol: &str| {
        (range.first..=range.last).contains(&number) && range.protocol.as_str() == protocol
    };
    match key {
        "publish" => port_summaries(view).iter().any(|port| inside(port.public_port, &port.protocol)),
        _ => view.record.config.exposed_ports.keys().any(|text| {
            text.parse::<api::port::Port>().is_ok_and(|port| inside(port.number, port.protocol.as_str()))
        }),
    }
}

fn any(filters: &Filters, key: &str, matches: impl Fn(&str) -> bool) -> bool {
    !filters.contains(key) || filters.get(key).any(matches)
}

/// The state in the API's word.
pub(crate) fn word(view: &View) -> ContainerState {
    match view.state().word() {
        "running" => ContainerState::Running,
        "paused" => ContainerState::Paused,
        "restarting" => ContainerState::Restarting,
        "removing" => ContainerState::Removing,
        "exited" => ContainerState::Exited,
        "dead" => ContainerState::Dead,
        _ => ContainerState::Created,
    }
}

fn summary(engine: &Engine, view: &View, now: Nanos) -> Summary {
    let record = &view.record;
    Summary {
        id: record.id.clone(),
        names: vec![format!("/{}", record.name)],
        image: crate::image_use::shown_name(engine, record),
        image_id: record.image_id.clone(),
        image_manifest_descriptor: record.image_manifest.clone(),
        command: command(&record.spec.process.args),
        created: record.created / 1_000_000_000,
        ports: port_summaries(view),
        labels: record.config.labels.clone().unwrap_or_default(),
        state: word(view),
        status: status(view, now),
        host_config: SummaryHostConfig {
            network_mode: record.host_config.network_mode.clone(),
            annotations: record.host_config.annotations.clone(),
        },
        health: Some(health(view)),
        network_settings: Some(SummaryNetworkSettings { networks: endpoints(view) }),
        mounts: mount_points(engine, view),
        ..Summary::default()
    }
}

/// Its health; `none` without a health check.
fn health(view: &View) -> HealthSummary {
    match &view.record.health {
        Some(health) => HealthSummary {
            status: health.status.word().to_owned(),
            failing_streak: i64::from(health.failing_streak),
        },
        None => HealthSummary { status: "none".to_owned(), failing_streak: 0 },
    }
}

/// The program and its arguments as Docker joins them: arguments with white space are quoted.
fn command(args: &[String]) -> String {
    let Some((program, arguments)) = args.split_first() else { return String::new() };
    let mut text = program.clone();
    for argument in arguments {
        text.push(' ');
        if argument.contains(' ') {
            text.push_str(&format!("'{argument}'"));
        } else {
            text.push_str(argument);
        }
    }
    text
}

/// The status column: `Up 5 minutes`, `Exited (0) 2 hours ago`, `Created`.
fn status(view: &View, now: Nanos) -> String {
    let state = view.state();
    let since = |at: Nanos| api::time::human_duration((now - at).max(0) / 1_000_000_000);
    match state {
        State::Running(running) | State::Stopping { running, .. } => {
            let up = format!("Up {}", since(running.process.started_at));
            match &view.record.health {
                Some(health) => format!("{up} ({})", health.words()),
                None => up,
            }
        }
        State::Paused(running) => format!("Up {} (Paused)", since(running.process.started_at)),
        State::Restarting { ended, .. } => format!("Restarting ({}) {} ago", ended.code, since(ended.at)),
        State::Removing { .. } | State::Gone { .. } => "Removal In Progress".to_owned(),
        State::Dead { .. } => "Dead".to_owned(),
        State::Exited { ended, .. } => format!("Exited ({}) {} ago", ended.code, since(ended.at)),
        State::Starting { before, .. } if before.at != 0 => {
            format!("Exited ({}) {} ago", before.code, since(before.at))
        }
        State::Created(_) | State::Starting { .. } => "Created".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_line() {
        let args = ["sh", "-c", "echo hi"].map(str::to_owned);
        assert_eq!(command(&args), "sh -c 'echo hi'");
    }
}
