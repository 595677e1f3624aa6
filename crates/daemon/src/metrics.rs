//! Figures for Prometheus, in its text format; names are those of Docker's daemon where it has them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::Engine;
use engine::container::state::State;
use http::{Method, StatusCode};

use crate::server::body::Body;
use crate::server::dispatch::{Dispatcher, Identity, Observer};
use crate::server::negotiate::Versions;
use crate::server::reply;
use crate::server::router::Router;

/// The media type of the format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Upper ends of the buckets in seconds: Prometheus' usual ones, which Docker uses.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Requests whose duration is counted: route, metric, action.
const ACTIONS: &[(&str, &str, &str)] = &[
    ("GET /containers/{name*}/changes", "container", "changes"),
    ("POST /commit", "container", "commit"),
    ("POST /containers/create", "container", "create"),
    ("DELETE /containers/{name*}", "container", "delete"),
    ("POST /containers/{name*}/start", "container", "start"),
    ("POST /networks/{id*}/connect", "network", "connect"),
    ("POST /networks/{id*}/disconnect", "network", "release"),
    ("POST /images/create", "image", "pull"),
    ("POST /images/{name*}/push", "image", "push"),
    ("DELETE /images/{name*}", "image", "delete"),
    ("GET /info", "host_info_functions", "system_info"),
];

/// How often something was done, and how long it took.
#[derive(Clone, Debug, Default, PartialEq)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    seconds: f64,
}

/// What has been counted since the daemon was started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    durations: Mutex<BTreeMap<(&'static str, &'static str), Histogram>>,
}

impl Observer for Metrics {
    fn answered(&self, route: &str, took: Duration) {
        let Some((_, metric, action)) = ACTIONS.iter().find(|(known, ..)| *known == route) else { return };
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.entry((metric, action)).or_default().add(took.as_secs_f64());
    }
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        let buckets = self.buckets.iter_mut().zip(BUCKETS);
        buckets.filter(|(_, end)| seconds <= *end).for_each(|(count, _)| *count += 1);
        self.count += 1;
        self.seconds += seconds;
    }

    fn write(&self, text: &mut String, name: &str, action: &str) {
        for (count, end) in self.buckets.iter().zip(BUCKETS) {
            line(text, &format!("{name}_bucket"), &[("action", action), ("le", &end.to_string())], count);
        }
        line(text, &format!("{name}_bucket"), &[("action", action), ("le", "+Inf")], self.count);
        line(text, &format!("{name}_sum"), &[("action", action)], self.seconds);
        line(text, &format!("{name}_count"), &[("action", action)], self.count);
    }
}

/// What the metrics' server answers from.
pub(crate) struct Source {
    /// What the figures are about.
    pub(crate) engine: Engine,
    /// What was counted.
    pub(crate) metrics: Arc<Metrics>,
}

/// A server that knows `GET /metrics` and nothing else.
pub(crate) fn dispatcher(source: Source, identity: Identity) -> Dispatcher<Arc<Source>> {
    let mut router = Router::new();
    router.add(Method::GET, "/metrics", |call: crate::server::call::Call<Arc<Source>>| async move {
        let info = engine::system::info(&call.state.engine).await?;
        let text = text(&call.state, &info);
        Ok(reply::with_body(StatusCode::OK, CONTENT_TYPE, Body::Full(text.into())))
    });
    Dispatcher::new(router, Versions::default(), identity, Arc::new(source))
}

fn text(source: &Source, info: &api::system::Info) -> String {
    let mut text = String::new();
    let daemon = |name: &str| format!("engine_daemon_{name}");
    let name = daemon("engine_info");
    heading(&mut text, &name, "gauge", "The information related to the engine and the OS it is running on");
    let labels = [
        ("architecture", info.architecture.as_str()),
        ("commit", engine::system::BERTH_VERSION),
        ("daemon_id", &info.id),
        ("graphdriver", &info.driver),
        ("kernel", &info.kernel_version),
        ("os", &info.operating_system),
        ("os_type", &info.os_type),
        ("os_version", &info.os_version),
        ("version", &info.server_version),
    ];
    line(&mut text, &name, &labels, 1);
    let mut single = |name: &str, kind: &str, help: &str, value: f64| {
        heading(&mut text, name, kind, help);
        line(&mut text, name, &[], value);
    };
    single(
        &daemon("engine_cpus_cpus"),
        "gauge",
        "The number of cpus that the host system of the engine has",
        info.n_cpu as f64,
    );
    single(
        &daemon("engine_memory_bytes"),
        "gauge",
        "The number of bytes of memory that the host system of the engine has",
        info.mem_total as f64,
    );
    single(
        &daemon("events_total"),
        "counter",
        "The number of events logged",
        source.engine.events.published() as f64,
    );
    single(
        &daemon("events_subscribers_total"),
        "gauge",
        "The number of current subscribers to events",
        source.engine.events.listeners() as f64,
    );
    let name = daemon("container_states_containers");
    heading(&mut text, &name, "gauge", "The count of containers in various states");
    for (state, count) in states(&source.engine) {
        line(&mut text, &name, &[("state", state)], count);
    }
    durations(&mut text, &source.metrics);
    process(&mut text);
    text
}

fn durations(text: &mut String, metrics: &Metrics) {
    let durations = metrics.durations.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut last = "";
    for ((metric, action), histogram) in &durations {
        let suffix = if metric.ends_with("functions") { "" } else { "_actions" };
        let name = format!("engine_daemon_{metric}{suffix}_seconds");
        if last != *metric {
            heading(text, &name, "histogram", "The number of seconds it takes to process each action");
            last = metric;
        }
        histogram.write(text, &name, action);
    }
}

fn states(engine: &Engine) -> [(&'static str, usize); 3] {
    let (mut paused, mut running, mut stopped) = (0, 0, 0);
    for handle in engine.containers.all() {
        match handle.view().state() {
            State::Paused(_) => paused += 1,
            State::Gone { .. } => {}
            state if state.running().is_some() => running += 1,
            _ => stopped += 1,
        }
    }
    [("paused", paused), ("running", running), ("stopped", stopped)]
}

/// What every program tells about itself, from proc(5).
fn process(text: &mut String) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let status = read("status");
    let kilobytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    let limit = read("limits")
        .lines()
        .find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<f64>().ok());
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let rows = [
        ("process_open_fds", "Number of open file descriptors.", open as f64),
        ("process_max_fds", "Maximum number of open file descriptors.", limit.unwrap_or(f64::INFINITY)),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", kilobytes("VmRSS:") * 1024.0),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", kilobytes("VmSize:") * 1024.0),
        ("process_threads", "Number of threads.", kilobytes("Threads:")),
    ];
    for (name, help, value) in rows {
        heading(text, name, "gauge", help);
        line(text, name, &[], value);
    }
}

fn heading(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_buckets() {
        let metrics = Metrics::default();
        metrics.answered("POST /containers/create", Duration::from_millis(30));
        metrics.answered("POST /containers/create", Duration::from_secs(20));
        metrics.answered("GET /_ping", Duration::from_secs(1));
        let mut text = String::new();
        durations(&mut text, &metrics);
        let name = "engine_daemon_container_actions_seconds";
        assert!(text.starts_with(&format!("# HELP {name} ")), "{text}");
        for expected in [
            format!("# TYPE {name} histogram"),
            format!("{name}_bucket{{action=\"create\",le=\"0.025\"}} 0"),
            format!("{name}_bucket{{action=\"create\",le=\"0.05\"}} 1"),
            format!("{name}_bucket{{action=\"create\",le=\"10\"}} 1"),
            format!("{name}_bucket{{action=\"create\",le=\"+Inf\"}} 2"),
            format!("{name}_sum{{action=\"create\"}} 20.03"),
            format!("{name}_count{{action=\"create\"}} 2"),
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected} in {text}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        let mut text = String::new();
        line(&mut text, "a", &[("b", "c\"d\\e\nf")], 1);
        assert_eq!(text, "a{b=\"c\\\"d\\\\e\\nf\"} 1\n");
    }

    #[test]
    fn every_counted_route_exists() {
        let routes = crate::routes::table().list();
        for (route, ..) in ACTIONS {
            assert!(routes.iter().any(|known| known == route), "{route}");
        }
    }
}
