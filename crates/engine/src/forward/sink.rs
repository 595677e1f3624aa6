//! Sends batches to a collector, again and again until it has them.

use std::io;
use std::time::{Duration, Instant};

use logdriver::fluentd::{self, Fluentd};
use logdriver::{Driver, Wire};
use tokio::time::{sleep, timeout};

use super::connection::Connection;

/// How long a write or an answer may take when no option says.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a collector's answer that are read.
const LONGEST_ANSWER: usize = 1 << 20;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The collector has it.
    Done,
    /// It was tried as often as the options say.
    GivenUp,
}

/// Where a container's lines go.
pub(super) struct Sink {
    driver: Driver,
    container: String,
    connection: Option<(Connection, Instant)>,
    /// The last attempt failed, which has been told.
    is_failing: bool,
}

impl Sink {
    pub(super) fn new(driver: Driver, container: &str) -> Self {
        Self { driver, container: container.to_owned(), connection: None, is_failing: false }
    }

    /// The driver.
    pub(super) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Sends a batch; waits between attempts, ever longer. May be dropped at any time: the next batch is sent over a new
    /// connection then.
    pub(super) async fn deliver(&mut self, wire: &Wire) -> Delivery {
        let Pace { mut wait, most } = pace(&self.driver);
        let mut failures = 0;
        loop {
            match self.attempt(wire).await {
                Ok(left_out) => {
                    self.report_success(left_out);
                    return Delivery::Done;
                }
                Err(error) => self.report_failure(&error),
            }
            failures += 1;
            if most.is_some_and(|most| failures > most) {
                return Delivery::GivenUp;
            }
            sleep(wait).await;
            wait = (wait * 3 / 2).min(LONGEST_WAIT);
        }
    }

    fn report_failure(&mut self, error: &io::Error) {
        let first = !std::mem::replace(&mut self.is_failing, true);
        if first {
            tracing::warn!(
                container = self.container, %error,
                "the collector of its log cannot be reached; what it misses is kept in the local log"
            );
        } else {
            tracing::debug!(container = self.container, %error, "the collector of its log");
        }
    }

    fn report_success(&mut self, left_out: u64) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(container = self.container, "the collector of its log can be reached again");
        }
        if left_out > 0 {
            tracing::warn!(container = self.container, left_out, "lines were too long for a datagram");
        }
    }

    /// One attempt. The connection is put back only when all went well.
    async fn attempt(&mut self, wire: &Wire) -> io::Result<u64> {
        let limits = limits(&self.driver);
        let mut open = self
            .connection
            .take()
            .filter(|(_, since)| limits.lifetime.is_none_or(|lifetime| since.elapsed() < lifetime));
        if let Some((connection, _)) = &mut open
            && connection.is_closed().await
        {
            open = None;
        }
        let (mut connection, since) = match open {
            Some(open) => open,
            None => (Connection::open(&self.driver.targets()).await?, Instant::now()),
        };
        let left_out = match &self.driver {
            Driver::Splunk(splunk) => {
                let mut request = Wire::default();
                request.bytes = splunk.request(&wire.bytes, &self.container);
                within(limits.write, connection.send(&request)).await?;
                within(limits.read, accepted(&mut connection)).await?;
                0
            }
            Driver::Fluentd(Fluentd { request_ack: true, .. }) => {
                within(limits.write, connection.send(wire)).await?;
                within(limits.read, acknowledged(&mut connection, &wire.acks)).await?;
                0
            }
            _ => within(limits.write, connection.send(wire)).await?,
        };
        self.connection = Some((connection, since));
        Ok(left_out)
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "i/o timeout"));
    timeout(limit, work).await.unwrap_or_else(|_| late())
}

/// Waits for the acknowledgement of every chunk, in any order.
async fn acknowledged(connection: &mut Connection, chunks: &[String]) -> io::Result<()> {
    let mut open: std::collections::HashSet<&str> = chunks.iter().map(String::as_str).collect();
    let mut answer = Vec::new();
    while !open.is_empty() {
        match fluentd::acknowledged(&answer).map_err(io::Error::other)? {
            Some((chunk, length)) => {
                open.remove(chunk.as_str());
                answer.drain(..length);
            }
            None if answer.len() > LONGEST_ANSWER => return Err(io::Error::other("its answer is too long")),
            None => connection.receive(&mut answer).await?,
        }
    }
    Ok(())
}

/// Waits for the event collector's answer, which must be good.
async fn accepted(connection: &mut Connection) -> io::Result<()> {
    let mut answer = Vec::new();
    loop {
        if let Some((status, body)) =
            crate::volume::plugin::http::parse(&answer, false).map_err(io::Error::other)?
        {
            let text = String::from_utf8_lossy(&body);
            return match status {
                200 => Ok(()),
                _ => Err(io::Error::other(format!("splunk: failed to send event - {status} - {text}"))),
            };
        }
        if answer.len() > LONGEST_ANSWER {
            return Err(io::Error::other("its answer is too long"));
        }
        connection.receive(&mut answer).await?;
    }
}

/// The first wait, and how often it is tried again.
struct Pace {
    wait: Duration,
    most: Option<u64>,
}

fn pace(driver: &Driver) -> Pace {
    let usual = Duration::from_secs(1);
    match driver {
        Driver::Fluentd(fluentd) => Pace { wait: fluentd.retry_wait, most: fluentd.max_retries },
        Driver::Gelf(gelf) => Pace { wait: gelf.reconnect_delay.max(Duration::from_millis(100)), most: None },
        _ => Pace { wait: usual, most: None },
    }
}

struct Limits {
    write: Duration,
    read: Duration,
    /// How long one connection is used.
    lifetime: Option<Duration>,
}

fn limits(driver: &Driver) -> Limits {
    let given = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero()).unwrap_or(PATIENCE);
    match driver {
        Driver::Fluentd(fluentd) => Limits {
            write: given(fluentd.write_timeout),
            read: given(fluentd.read_timeout),
            lifetime: fluentd.reconnect_interval,
        },
        _ => Limits { write: PATIENCE, read: PATIENCE, lifetime: None },
    }
}
