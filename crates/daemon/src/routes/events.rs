//! `GET /events`: what happened, from a moment on, until the client leaves.

use std::sync::Arc;
use std::time::Duration;

use api::events::{Actor, Message};
use api::filters::Filters;
use api::media_type::{JSON, JSON_LINES, JSON_SEQ, NDJSON};
use api::time::Timestamp;
use api::version::ApiVersion;
use bytes::Bytes;
use engine::event::Event;
use tokio::sync::broadcast::error::RecvError;

use super::Request;
use crate::server::body::Body;
use crate::server::failure::Failure;
use crate::server::router::Outcome;
use crate::server::serve::stopped;
use crate::server::{accept, reply};
use crate::shape;

/// What a client wants to hear, and how.
struct Wanted {
    filters: Filters,
    since: Option<i128>,
    until: Option<i128>,
    version: ApiVersion,
    content_type: &'static str,
}

pub(super) async fn events(call: Request) -> Outcome {
    let wanted = wanted(&call)?;
    let content_type = wanted.content_type;
    let (kept, mut receiver) = call.state.engine.events.subscribe();
    if wanted.is_over() {
        // Nothing can come any more: no task, no waiting for a clock that counts milliseconds.
        let lines: Vec<u8> = wanted.past(&kept).flatten().collect();
        return Ok(reply::stream(content_type, Body::Full(lines.into())));
    }
    let (sender, body) = Body::channel();
    let mut stop = call.state.stop.clone();
    tokio::spawn(async move {
        let work = async {
            for line in wanted.past(&kept) {
                sender.send(Ok(line)).await.ok()?;
            }
            let deadline = wanted.deadline();
            loop {
                let received = tokio::select! {
                    received = receiver.recv() => received,
                    () = deadline_passed(deadline) => return Some(()),
                };
                match received {
                    Ok(event) => {
                        if let Some(line) = wanted.line(&event) {
                            sender.send(Ok(line)).await.ok()?;
                        }
                    }
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "a client reads events more slowly than they come");
                    }
                    Err(RecvError::Closed) => return Some(()),
                }
            }
        };
        tokio::select! {
            _ = work => {}
            () = call.presence.stops_sending() => {}
            () = stopped(&mut stop) => {}
        }
    });
    Ok(reply::stream(content_type, body))
}

fn wanted(call: &Request) -> Result<Wanted, Failure> {
    let (since, until) = (call.query.time("since")?, call.query.time("until")?);
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        let (since, until) = (call.query.get("since"), call.query.get("until"));
        return Err(Failure::invalid(format!(
            "`since` time ({since}) cannot be after `until` time ({until})"
        )));
    }
    let usual = if call.is_at_least(52) { JSON_LINES } else { JSON };
    let content_type =
        accept::choose(call.header("accept"), &[JSON_LINES, NDJSON, JSON_SEQ]).unwrap_or(usual);
    let filters = call.query.filters()?;
    let nanos = |time: Option<Timestamp>| time.map(Timestamp::unix_nanos);
    Ok(Wanted { filters, since: nanos(since), until: nanos(until), version: call.version, content_type })
}

impl Wanted {
    /// Whether an event of before is between the moments that were asked for. What happens while the client listens is: the
    /// clock may be put back or on meanwhile, and events must not be kept back for as long.
    fn is_in_time(&self, event: &Event) -> bool {
        let at = i128::from(event.at);
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
    }

    /// Whether the moment until which to listen has passed.
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until < now())
    }

    /// What happened before and is wanted.
    fn past(&self, kept: &[Arc<Event>]) -> impl Iterator<Item = Bytes> {
        let asked = self.since.is_some() || self.until.is_some();
        kept.iter().filter(move |event| asked && self.is_in_time(event)).filter_map(|event| self.line(event))
    }

    /// An event for the client, if it wants it.
    fn line(&self, event: &Event) -> Option<Bytes> {
        let message = message(event);
        let is_hidden = self.version < ApiVersion::v1(46) && shape::v1_46::hides_event(&message);
        if is_hidden || !message.matches(&self.filters) {
            return None;
        }
        self.encode(&message)
    }

    fn encode(&self, message: &Message) -> Option<Bytes> {
        let mut value = serde_json::to_value(message).ok()?;
        shape::answer(shape::Answer::Event, self.version, &mut value);
        let mut line = Vec::new();
        if self.content_type == JSON_SEQ {
            line.push(0x1e);
        }
        line.extend(api::json::to_vec(&value).ok()?);
        Some(line.into())
    }

    /// How long to listen; `None` for ever.
    fn deadline(&self) -> Option<tokio::time::Instant> {
        let left = self.until? - now();
        let left = Duration::from_nanos(u64::try_from(left.max(0)).unwrap_or(u64::MAX));
        tokio::time::Instant::now().checked_add(left)
    }
}

/// Nanoseconds since 1970.
fn now() -> i128 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_1970.unwrap_or_default().as_nanos() as i128
}

async fn deadline_passed(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// An event of the engine in the words of the API.
fn message(event: &Event) -> Message {
    let actor = Actor { id: event.actor_id.clone(), attributes: event.attributes.clone() };
    let (kind, action) = (event.kind.to_string(), event.action.clone());
    let time = event.at.div_euclid(1_000_000_000);
    Message { kind, action, actor, scope: "local".into(), time, time_nano: event.at }
}
