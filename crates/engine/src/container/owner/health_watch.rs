//! What an owner does about its container's health: has it asked for, records and tells it, acts on it.

use super::super::health::monitor;
use super::super::health::{Finding, OnFailure, Probe, Status};
use super::super::state::{Input, State};
use super::super::stop;
use super::Owner;
use crate::id;

const KILL: i32 = 9;

impl Owner {
    /// Asks how a running program is, and nobody else.
    pub(super) fn tend_monitor(&mut self) {
        let probed = match &self.record.state {
            State::Running(running) | State::Stopping { running, .. } => Some(running.process.started_at),
            _ => None,
        };
        match probed.zip(Probe::of(&self.record.config)) {
            Some((started_at, probe)) if self.monitor.is_none() => {
                self.monitor = Some(monitor::start(&self.engine, &self.handle, probe, started_at));
            }
            Some(_) => {}
            None => self.monitor = None,
        }
    }

    /// Takes what a probe has found, tells a change, and does what is to be done about it.
    pub(super) async fn probed(&mut self, finding: Finding) {
        let started_at = self.record.state.running().map(|running| running.process.started_at);
        let known = started_at.zip(Probe::of(&self.record.config)).zip(self.record.health.as_mut());
        let Some(((started_at, probe), health)) = known.filter(|_| self.monitor.is_some()) else { return };
        let changed = health.take(&probe, started_at, finding);
        let status = health.status;
        if let Err(error) = self.save(changed).await {
            tracing::error!(container = id::short(&self.record.id), %error, "cannot record its health");
        }
        self.publish();
        if changed {
            let action = format!("health_status: {}", status.word());
            self.engine.events.publish("container", &action, &self.record.id, self.record.attributes());
        }
        if changed && status == Status::Unhealthy {
            self.fail(probe.on_failure).await;
        }
    }

    async fn fail(&mut self, action: OnFailure) {
        let terms = stop::terms(&self.view(), None, None);
        let input = match (action, terms) {
            (OnFailure::Nothing, _) => return,
            (OnFailure::Kill, _) => Input::Kill { signal: KILL, stops: false },
            (OnFailure::Restart, Ok((signal, grace_seconds))) => Input::Restart { signal, grace_seconds },
            (OnFailure::Stop, Ok((signal, grace_seconds))) => Input::Stop { signal, grace_seconds },
            (_, Err(error)) => {
                tracing::error!(container = id::short(&self.record.id), %error, "cannot act on its health");
                return;
            }
        };
        self.report(input).await;
    }
}
