//! Logs that are sent elsewhere: for each container a task that follows the local log and sends what is new.
//!
//! ```text
//! shim ─► local log ─► Lines: where it was left ─► Driver::encode ─► Sink: again until the collector has it
//!                          ▲                                            │
//!                          └──────── forwarded.json: sent up to here ◄──┘
//! ```
//!
//! The container never waits for a collector: it writes to its local log as ever, which is rotated. What a collector
//! misses for longer than that log reaches back is not sent.

mod connection;
mod lines;
mod sink;
mod watches;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use logdriver::{About, Driver, Wire};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use self::lines::{Line, Lines};
use self::sink::{Delivery, Sink};
use self::watches::Watch;
pub(crate) use self::watches::Watches;
use crate::container::logging;
use crate::container::record::Record;
use crate::container::view::View;
use crate::engine::Engine;
use crate::{Result, id};

/// Where the place is kept up to which a log has been sent.
const PLACE: &str = "forwarded.json";
/// How long a batch is being sent before lines are read that cannot be sent, in the mode `non-blocking`.
const STUCK: Duration = Duration::from_secs(1);
/// How long the last lines of a container that is removed may take: as long as Docker gives its drivers.
const LAST_LINES: Duration = Duration::from_secs(10);

/// The task that sends a container's log.
#[derive(Debug)]
pub(crate) struct Forwarder(mpsc::Sender<oneshot::Sender<()>>);

impl Forwarder {
    /// The files of the log are about to be removed: waits until those are open that have not been sent yet. Nobody waits
    /// for the collector.
    pub(crate) async fn let_go(self) {
        let (reply, held) = oneshot::channel();
        if self.0.send(reply).await.is_ok() {
            // A task that has ended has nothing to send.
            let _ = held.await;
        }
    }
}

/// Starts sending the log of a container; `None` when its driver keeps the log here.
pub(crate) fn spawn(
    engine: &Engine,
    record: &Record,
    views: watch::Receiver<Arc<View>>,
) -> Option<Forwarder> {
    let container = id::short(&record.id).to_owned();
    let driver = match logging::remote(&record.spec.log) {
        Ok(driver) => driver?,
        Err(error) => {
            tracing::error!(container, %error, "its log is not sent");
            return None;
        }
    };
    let (sender, orders) = mpsc::channel(1);
    let task = Task {
        engine: engine.clone(),
        directory: logging::directory(engine, &record.id),
        limit: logging::buffer(&record.spec.log),
        driver,
        views,
        orders,
        ending: None,
    };
    tokio::spawn(async move {
        if let Err(error) = task.run().await {
            tracing::error!(container, %error, "its log is not sent any more");
        }
    });
    Some(Forwarder(sender))
}

struct Task {
    engine: Engine,
    directory: PathBuf,
    limit: Option<u64>,
    driver: Driver,
    views: watch::Receiver<Arc<View>>,
    orders: mpsc::Receiver<oneshot::Sender<()>>,
    /// The container is being removed: when to stop trying.
    ending: Option<Instant>,
}

impl Task {
    async fn run(mut self) -> Result<()> {
        let Some((watch, mut lines)) = self.begin().await? else { return Ok(()) };
        let record = Arc::clone(&self.views.borrow_and_update().record);
        let mut sink = Sink::new(self.driver.clone(), id::short(&record.id));
        loop {
            lines.fill()?;
            let batch = lines.batch();
            if batch.is_empty() {
                if self.ending.is_some() || !self.wait(&watch, &mut lines).await? {
                    return Ok(());
                }
                continue;
            }
            let about = about(&self.engine, &self.views.borrow().record)?;
            let mut wire = Wire::default();
            batch.iter().for_each(|line| sink.driver().encode(&about, &line.message(), &mut wire));
            if !wire.bytes.is_empty() && !self.send(&mut sink, &wire, &watch, &mut lines).await? {
                tracing::warn!(container = about.short_id(), "the last lines of its log were not sent");
                return Ok(());
            }
            self.sent(&lines, &batch);
            let dropped = lines.take_dropped();
            if dropped > 0 {
                tracing::warn!(
                    container = about.short_id(),
                    lines = dropped,
                    "its log comes faster than the collector takes it; lines beyond max-buffer-size were not sent"
                );
            }
        }
    }

    /// Remembers what has been sent; a failure has it sent again later.
    fn sent(&self, lines: &Lines, batch: &[Line]) {
        // The directory of a container that is being removed is not written to.
        if self.ending.is_none()
            && let Err(error) = lines.save(batch)
        {
            tracing::warn!(%error, "lines of a log will be sent again by the next daemon");
        }
    }

    /// Waits until the container has a directory, and opens its log; `None` when it goes without one.
    async fn begin(&mut self) -> Result<Option<(Watch, Lines)>> {
        loop {
            // Marked as seen before the look, so that what happens after it is noticed.
            let record = Arc::clone(&self.views.borrow_and_update().record);
            if let Some(watch) = self.engine.log_watches.watch(&self.directory)? {
                let path = self.directory.join(logging::file_name(&record.id, &record.spec.log.driver));
                let (saved, limit) = (self.directory.join(PLACE), self.limit);
                let lines = crate::blocking(move || Lines::open(&record.id, &path, saved, limit)).await?;
                return Ok(Some((watch, lines)));
            }
            tokio::select! {
                changed = self.views.changed() => if changed.is_err() { return Ok(None) },
                order = self.orders.recv() => {
                    if let Some(reply) = order {
                        // Whoever asked may have left.
                        let _ = reply.send(());
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Waits for something new; `false` when nothing will come.
    async fn wait(&mut self, watch: &Watch, lines: &mut Lines) -> Result<bool> {
        tokio::select! {
            () = watch.changed.notified() => Ok(true),
            order = self.orders.recv() => self.take(order, lines),
        }
    }

    /// Takes the order to hold what is there, for the files go; `false` when nobody is left who could order anything.
    fn take(&mut self, order: Option<oneshot::Sender<()>>, lines: &mut Lines) -> Result<bool> {
        self.ending.get_or_insert_with(|| Instant::now() + LAST_LINES);
        let Some(reply) = order else { return Ok(false) };
        let held = lines.hold();
        // Whoever asked may have left.
        let _ = reply.send(());
        held.map(|()| true)
    }

    /// Sends a batch; `false` when it has taken too long for a container that is being removed.
    async fn send(&mut self, sink: &mut Sink, wire: &Wire, watch: &Watch, lines: &mut Lines) -> Result<bool> {
        let mut delivery = pin!(sink.deliver(wire));
        // In the mode `non-blocking` what comes while the collector is stuck waits or is dropped, as its buffer says.
        let stuck = Instant::now() + STUCK;
        let (mut reads_on, mut more) = (false, false);
        loop {
            let late = self.ending;
            tokio::select! {
                delivery = &mut delivery => {
                    if delivery == Delivery::GivenUp {
                        tracing::warn!(container = sink_name(&self.views), "lines of its log were given up");
                    }
                    return Ok(true);
                }
                order = self.orders.recv(), if late.is_none() => {
                    if !self.take(order, lines)? {
                        return Ok(false);
                    }
                }
                () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => return Ok(false),
                () = sleep_until(stuck), if self.limit.is_some() && !reads_on => (reads_on, more) = (true, true),
                () = std::future::ready(()), if more => more = lines.read_on()?,
                () = watch.changed.notified(), if reads_on && !more => more = lines.read_on()?,
            }
        }
    }
}

fn sink_name(views: &watch::Receiver<Arc<View>>) -> String {
    id::short(&views.borrow().record.id).to_owned()
}

/// What a container's lines are sent with. Its name may have changed since the last time.
fn about(engine: &Engine, record: &Record) -> Result<About> {
    let (tag, attributes) = logging::description(record)?;
    Ok(About {
        container_id: record.id.clone(),
        container_name: record.name.clone(),
        image_id: record.image_id.clone(),
        image_name: record.image_name.clone(),
        command: record.spec.process.args.join(" "),
        created: crate::time::rfc3339(record.created),
        host: engine.host.name.clone(),
        tag,
        attributes,
        pid: std::process::id(),
        utc_offset: jiff::tz::TimeZone::system().to_offset(jiff::Timestamp::now()).seconds(),
    })
}
