//! `GET /containers/{id}/stats`: what a container uses, once or every second.

use std::time::{Duration, Instant};

use api::media_type::JSON;
use api::stats::Stats;
use bytes::Bytes;
use engine::Engine;
use engine::container::stats::sample;

use super::Request;
use crate::server::body::{Body, BodySender};
use crate::server::reply;
use crate::server::router::Outcome;
use crate::server::serve::stopped;

/// Between two samples.
const PERIOD: Duration = Duration::from_secs(1);
/// Between the two samples of an answer that is not a stream: it is to be there within 100 ms.
const MOMENT: Duration = Duration::from_millis(75);

pub(super) async fn stats(call: Request) -> Outcome {
    let engine = call.state.engine.clone();
    let name = call.param("name").to_string();
    let first = sample(&engine, &name, None).await?;
    if !call.query.flag_or("stream", true) {
        // One sample is enough when the client wants no rates, and when there are none.
        let is_one_shot = call.is_at_least(41) && call.query.flag("one-shot");
        if is_one_shot || first.read == api::time::ZERO {
            return reply::ok(&first);
        }
        return reply::ok(&after_a_moment(&engine, &name, &first).await?);
    }
    let (sender, body) = Body::channel();
    let mut stop = call.state.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = send_samples(&engine, &name, first, &sender) => {}
            () = call.presence.stops_sending() => {}
            () = stopped(&mut stop) => {}
        }
    });
    Ok(reply::stream(JSON, body))
}

/// The sample after the first one.
///
/// The kernel counts the machine's time in steps of 10 ms, too coarse for a moment: it is taken from the clock.
async fn after_a_moment(engine: &Engine, name: &str, first: &Stats) -> engine::Result<Stats> {
    let began = Instant::now();
    tokio::time::sleep(MOMENT).await;
    let mut second = sample(engine, name, Some(first)).await?;
    let passed = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let cpu = &mut second.cpu_stats;
    // One that has ended meanwhile has zeros.
    if cpu.system_usage > 0 {
        let machine = passed.saturating_mul(u64::from(cpu.online_cpus));
        cpu.system_usage = first.cpu_stats.system_usage.saturating_add(machine);
    }
    Ok(second)
}

/// Sends samples until the container or the client has gone.
async fn send_samples(engine: &Engine, name: &str, first: Stats, sender: &BodySender) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut latest = first;
    loop {
        let line = match api::json::to_vec(&latest) {
            Ok(line) => Ok(Bytes::from(line)),
            Err(error) => Err(std::io::Error::other(error)),
        };
        if sender.send(line).await.is_err() {
            return;
        }
        ticks.tick().await;
        latest = match sample(engine, name, Some(&latest)).await {
            Ok(sample) => sample,
            Err(error) => {
                tracing::debug!(container = name, %error, "no more samples");
                return;
            }
        };
    }
}
