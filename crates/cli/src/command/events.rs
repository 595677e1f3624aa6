//! `events`: what happens, as it happens.

use std::fmt::Write as _;

use api::events::Message;
use client::{Query, Request};
use jiff::Timestamp;
use serde_json::Value;

use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::template::Format;
use crate::output::write;
use crate::session::Session;
use crate::value::{filter, timestamp};

const FLAGS: &[Flag] = &[
    Flag::of("filter", "filter", filter::check, "Filter output based on conditions provided")
        .short('f')
        .many(),
    Flag::text(
        "format",
        "Format output using a custom template:\n\
         'json':             Print in JSON format\n\
         'TEMPLATE':         Print output using the given Go template.\n\
         Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    ),
    Flag::text("since", "Show all events created since timestamp"),
    Flag::text("until", "Stream events until this timestamp"),
];

/// `events`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Get real time events from the server",
    paths: &["system events", "events"],
    flags: &[FLAGS],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed)),
};

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let format = match typed.text("format") {
        "" => None,
        "json" => Some(Format::parse("{{json .}}")?),
        text => Some(Format::parse(text)?),
    };
    let now = Timestamp::now();
    let moment = |flag: &str| timestamp::parse(typed.text(flag), now).map_err(Failure::text);
    let query = Query::new()
        .with_nonempty("filters", &filter::json(&typed.list("filter")))
        .with_nonempty("since", &moment("since")?)
        .with_nonempty("until", &moment("until")?);
    let client = session.daemon().await?;
    let mut lines = client.send(Request::get("/events").query(query)).await?.json_lines();
    while let Some(event) = lines.next::<Value>().await? {
        let line = match &format {
            Some(format) => format.document(&event)?,
            None => line(
                &api::json::from_value(&event)
                    .map_err(|error| Failure::text(format!("cannot decode an event: {error}")))?,
            ),
        };
        write(&format!("{line}\n"))?;
    }
    Ok(0)
}

/// `2026-11-21T04:05:06.000000001Z container start 0123 (image=busybox, name=web)`.
fn line(event: &Message) -> String {
    let time = match (event.time_nano, event.time) {
        (0, seconds) => Timestamp::from_second(seconds),
        (nanos, _) => Timestamp::from_nanosecond(i128::from(nanos)),
    };
    let time = time.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(jiff::tz::TimeZone::system());
    let mut out = time.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string();
    if let Some(utc) = out.strip_suffix("+00:00") {
        out = format!("{utc}Z");
    }
    let _ = write!(out, " {} {} {}", event.kind, event.action, event.actor.id);
    let attributes = event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}"));
    let attributes: Vec<String> = attributes.collect();
    if !attributes.is_empty() {
        let _ = write!(out, " ({})", attributes.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let event: Message = serde_json::from_value(serde_json::json!({
            "Type": "container", "Action": "die", "timeNano": 1_000_000_001_i64,
            "Actor": {"ID": "0123", "Attributes": {"name": "web", "exitCode": "0", "image": "busybox"}}
        }))
        .expect("an event");
        let found = line(&event);
        assert!(found.ends_with(" container die 0123 (exitCode=0, image=busybox, name=web)"), "{found}");
        assert!(found.contains(":01.000000001"), "{found}");
    }
}
