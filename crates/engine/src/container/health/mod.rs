//! A container's health: what is asked, and what the answers make of it. Pure: no clock, no input or output.

pub(crate) mod monitor;

use api::config::{Config, HealthConfig};
use serde::{Deserialize, Serialize};

use super::state::{Nanos, State};
use crate::{Error, Result};

const MILLISECOND: Nanos = 1_000_000;
const SECOND: Nanos = 1_000 * MILLISECOND;
/// Between two probes, and for one, when nobody says.
const DEFAULT_TIME: Nanos = 30 * SECOND;
/// Between two probes of a start period when nobody says.
const DEFAULT_START_INTERVAL: Nanos = 5 * SECOND;
/// Failures in a row that make a container unhealthy when nobody says.
const DEFAULT_RETRIES: u32 = 3;
/// Results kept.
const KEPT: usize = 5;
/// Bytes kept of a probe's output.
pub(crate) const MAX_OUTPUT: usize = 4096;

/// How well the program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// No probe has succeeded yet, and not enough have failed.
    Starting,
    /// The last probe that counted succeeded, or too few have failed since.
    Healthy,
    /// Too many probes in a row have failed, or nobody asks any more.
    Unhealthy,
}

impl Status {
    /// Docker's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Status::Starting => "starting",
            Status::Healthy => "healthy",
            Status::Unhealthy => "unhealthy",
        }
    }
}

/// What is done when a container becomes unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    Nothing,
    /// SIGKILL; its restart policy decides what follows.
    Kill,
    /// As the restart request.
    Restart,
    /// As the stop request: its restart policy does not undo it.
    Stop,
}

/// A health check with its defaults filled in. Durations are nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) command: Vec<String>,
    pub(crate) time_limit: Nanos,
    pub(crate) on_failure: OnFailure,
    interval: Nanos,
    start_period: Nanos,
    start_interval: Nanos,
    retries: u32,
}

impl Probe {
    /// The health check of a container; `None` when it has none.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let check = config.healthcheck.as_ref()?;
        let (kind, rest) = check.test.as_deref()?.split_first()?;
        let command = match kind.as_str() {
            "CMD" => rest.to_vec(),
            "CMD-SHELL" => {
                let given = config.shell.clone().filter(|shell| !shell.is_empty());
                let mut shell = given.unwrap_or_else(|| ["/bin/sh", "-c"].map(str::to_owned).to_vec());
                shell.extend(rest.iter().cloned());
                shell
            }
            _ => return None,
        };
        let or = |given: i64, default: Nanos| if given == 0 { default } else { given };
        Some(Self {
            command,
            time_limit: or(check.timeout, DEFAULT_TIME),
            on_failure: on_failure(check).unwrap_or(OnFailure::Nothing),
            interval: or(check.interval, DEFAULT_TIME),
            start_period: check.start_period,
            start_interval: or(check.start_interval, DEFAULT_START_INTERVAL),
            retries: u32::try_from(check.retries).ok().filter(|count| *count > 0).unwrap_or(DEFAULT_RETRIES),
        })
    }
}

impl Probe {
    fn in_start_period(&self, started_at: Nanos, now: Nanos) -> bool {
        (0..self.start_period).contains(&now.saturating_sub(started_at))
    }
}

fn on_failure(check: &HealthConfig) -> Option<OnFailure> {
    Some(match check.on_failure.as_str() {
        "" | "none" => OnFailure::Nothing,
        "kill" => OnFailure::Kill,
        "restart" => OnFailure::Restart,
        "stop" => OnFailure::Stop,
        _ => return None,
    })
}

/// Refuses a health check that cannot be meant, and warns of one that never asks: Docker takes it and has no health.
pub(crate) fn validate(config: &Config) -> Result<Option<String>> {
    let Some(check) = &config.healthcheck else { return Ok(None) };
    for (name, time) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if time != 0 && time < MILLISECOND {
            return Err(Error::invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
        }
    }
    if check.retries < 0 {
        return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
    }
    if on_failure(check).is_none() {
        return Err(Error::invalid(format!(
            "invalid OnFailure in Healthcheck: {:?}; use one of 'none', 'kill', 'restart' or 'stop'",
            check.on_failure
        )));
    }
    let first = check.test.as_ref().and_then(|test| test.first()).map(String::as_str);
    let is_known = matches!(first, None | Some("NONE" | "CMD" | "CMD-SHELL"));
    Ok(first.filter(|_| !is_known).map(|first| {
        format!(
            "Unknown healthcheck type {first:?}: the container has no health. The first word must be NONE, CMD or CMD-SHELL"
        )
    }))
}

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// When it began.
    pub start: Nanos,
    /// When it was known.
    pub end: Nanos,
    /// 0: well; -1: the probe could not be run, or not to its end.
    pub code: i32,
    /// At most 4096 bytes of what it printed, or why it could not be run.
    pub output: String,
}

/// How well a container is, and why that is thought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// How well.
    pub status: Status,
    /// Failures in a row that counted.
    pub failing_streak: u32,
    /// The last findings, oldest first.
    pub log: Vec<Finding>,
}

impl Health {
    /// A run begins. What was found in earlier runs stays in the log.
    fn begun(before: Option<&Self>) -> Self {
        let log = before.map(|health| health.log.clone()).unwrap_or_default();
        Self { status: Status::Starting, failing_streak: 0, log }
    }

    /// Takes a finding of a run that began at `started_at`; whether that changes how well the container is.
    pub(crate) fn take(&mut self, probe: &Probe, started_at: Nanos, finding: Finding) -> bool {
        let before = self.status;
        let excused = self.status == Status::Starting && probe.in_start_period(started_at, finding.start);
        if finding.code == 0 {
            (self.status, self.failing_streak) = (Status::Healthy, 0);
        } else if !excused {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= probe.retries {
                self.status = Status::Unhealthy;
            }
        }
        let surplus = (self.log.len() + 1).saturating_sub(KEPT);
        self.log.drain(..surplus);
        self.log.push(finding);
        self.status != before
    }

    /// Nanoseconds until the next probe is due.
    pub(crate) fn wait(&self, probe: &Probe, started_at: Nanos, now: Nanos) -> Nanos {
        let young = probe.in_start_period(started_at, now);
        let interval =
            if young && self.status == Status::Starting { probe.start_interval } else { probe.interval };
        let last = self.log.last().map_or(started_at, |finding| finding.end.max(started_at));
        // A clock that was put back must not put the next probe off.
        last.saturating_add(interval).saturating_sub(now).clamp(0, interval)
    }

    /// The words of the status column.
    #[must_use]
    pub fn words(&self) -> &'static str {
        if self.status == Status::Starting { "health: starting" } else { self.status.word() }
    }
}

/// What a step of its life does to a container's health: a run begins with nothing known, and an ended one is called
/// unhealthy, as Docker does.
pub(crate) fn follow(
    config: &Config,
    health: Option<&Health>,
    before: &State,
    after: &State,
) -> Option<Health> {
    Probe::of(config)?;
    match (before.running(), after.running()) {
        (_, Some(_)) if matches!(before, State::Starting { .. }) || health.is_none() => {
            Some(Health::begun(health))
        }
        (Some(_), None) => health.cloned().map(|health| Health { status: Status::Unhealthy, ..health }),
        _ => health.cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(text: &str) -> Probe {
        Probe::of(&serde_json::from_str(text).expect("a configuration")).expect("a probe")
    }

    #[test]
    fn a_check_is_completed_with_defaults() {
        let plain = probe(r#"{"Healthcheck":{"Test":["CMD","a","b"]}}"#);
        let expected = Probe {
            command: vec!["a".into(), "b".into()],
            time_limit: 30 * SECOND,
            on_failure: OnFailure::Nothing,
            interval: 30 * SECOND,
            start_period: 0,
            start_interval: 5 * SECOND,
            retries: 3,
        };
        assert_eq!(plain, expected);
        let shell = probe(r#"{"Healthcheck":{"Test":["CMD-SHELL","a b"],"Retries":1,"OnFailure":"stop"}}"#);
        assert_eq!(shell.command, ["/bin/sh", "-c", "a b"]);
        assert_eq!((shell.retries, shell.on_failure), (1, OnFailure::Stop));
        let own = probe(r#"{"Shell":["/bin/ash","-ec"],"Healthcheck":{"Test":["CMD-SHELL","a b"]}}"#);
        assert_eq!(own.command, ["/bin/ash", "-ec", "a b"]);
        for none in [r#"{}"#, r#"{"Healthcheck":{"Test":["NONE"]}}"#, r#"{"Healthcheck":{"Interval":5}}"#] {
            assert_eq!(Probe::of(&serde_json::from_str(none).expect("a configuration")), None, "{none}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (check, words) in [
            (r#"{"Interval":999999}"#, "Interval in Healthcheck cannot be less than 1ms"),
            (r#"{"Timeout":-1}"#, "Timeout in Healthcheck cannot be less than 1ms"),
            (r#"{"StartPeriod":1}"#, "StartPeriod in Healthcheck cannot be less than 1ms"),
            (r#"{"StartInterval":1}"#, "StartInterval in Healthcheck cannot be less than 1ms"),
            (r#"{"Retries":-1}"#, "Retries in Healthcheck cannot be negative"),
            (
                r#"{"OnFailure":"pray"}"#,
                "invalid OnFailure in Healthcheck: \"pray\"; use one of 'none', 'kill', 'restart' or 'stop'",
            ),
            (r#"{"Test":["CMD","a"],"Interval":1000000,"OnFailure":"none"}"#, ""),
        ] {
            let config = serde_json::from_str(&format!(r#"{{"Healthcheck":{check}}}"#)).expect("a check");
            let said = validate(&config).map_or_else(|error| error.message, |_| String::new());
            assert_eq!(said, words, "{check}");
        }
        let unknown = serde_json::from_str(r#"{"Healthcheck":{"Test":["true"]}}"#).expect("a check");
        let warning = validate(&unknown).expect("no error").expect("a warning");
        assert!(warning.contains("Unknown healthcheck type \"true\""), "{warning}");
        assert_eq!(Probe::of(&unknown), None);
    }

    /// Findings as seconds since the start and code; the statuses after each, with streak and wait in seconds.
    fn course(probe: &Probe, findings: &[(i64, i32)]) -> String {
        let mut health = Health::begun(None);
        let mut lines = format!("start: wait {}\n", health.wait(probe, 0, 0) / SECOND);
        for (second, code) in findings {
            let at = second * SECOND;
            let finding = Finding { start: at, end: at, code: *code, output: String::new() };
            let changed = if health.take(probe, 0, finding) { " changed" } else { "" };
            let (status, streak) = (health.status.word(), health.failing_streak);
            let wait = health.wait(probe, 0, at) / SECOND;
            lines.push_str(&format!("{second}: {code} {status} {streak} wait {wait}{changed}\n"));
        }
        assert!(health.log.len() <= KEPT);
        lines
    }

    #[test]
    fn findings_make_a_container_well_or_not() {
        let plain = probe(r#"{"Healthcheck":{"Test":["CMD","a"],"Retries":2}}"#);
        assert_eq!(
            course(&plain, &[(30, 1), (60, -1), (90, 1), (120, 0), (150, 1), (180, 0)]),
            "start: wait 30\n30: 1 starting 1 wait 30\n60: -1 unhealthy 2 wait 30 changed\n\
             90: 1 unhealthy 3 wait 30\n120: 0 healthy 0 wait 30 changed\n150: 1 healthy 1 wait 30\n\
             180: 0 healthy 0 wait 30\n"
        );
    }

    #[test]
    fn failures_of_the_start_period_do_not_count_until_it_was_well_once() {
        let patient = probe(
            r#"{"Healthcheck":{"Test":["CMD","a"],"Retries":1,"StartPeriod":60000000000,"StartInterval":2000000000}}"#,
        );
        assert_eq!(
            course(&patient, &[(2, 1), (59, 1), (61, 1)]),
            "start: wait 2\n2: 1 starting 0 wait 2\n59: 1 starting 0 wait 2\n\
             61: 1 unhealthy 1 wait 30 changed\n"
        );
        assert_eq!(
            course(&patient, &[(2, 0), (4, 1)]),
            "start: wait 2\n2: 0 healthy 0 wait 30 changed\n4: 1 unhealthy 1 wait 30 changed\n"
        );
    }

    #[test]
    fn a_probe_that_is_late_is_due_at_once_and_a_clock_put_back_delays_none() {
        let plain = probe(r#"{"Healthcheck":{"Test":["CMD","a"]}}"#);
        let health = Health::begun(None);
        assert_eq!(health.wait(&plain, 100 * SECOND, 500 * SECOND), 0);
        assert_eq!(health.wait(&plain, 100 * SECOND, 10 * SECOND), 30 * SECOND);
    }
}
