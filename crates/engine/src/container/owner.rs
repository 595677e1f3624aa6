//! The one task that owns a container: it takes inputs from a mailbox, asks `step`, records, and does.

mod health_watch;
mod keeping;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use keeping::{happens_anyway, is_foreseen, is_only_removal, is_passed_over, must_survive};

use super::health::monitor::Monitor;
use super::health::{self, Finding};
use super::launch::{self, Launched};
use super::record::Record;
use super::registry::Handle;
use super::state::{Action, Effect, Input, Process, Refusal, State, Step};
use super::step::step;
use super::view::{Live, View};
use super::{erase, resolve, teardown, vigil};
use crate::engine::Engine;
use crate::forward::{self, Forwarder};
use crate::network::connect::announce_all;
use crate::shim_link::{Attach, Notice};
use crate::{Error, Outcome, Result, id};

/// Commands that may wait in a mailbox.
const MAILBOX: usize = 64;

/// What the owner can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    /// A lifecycle request; the reply says whether it was accepted.
    Request { input: Input, reply: oneshot::Sender<Result<Outcome>> },
    /// A timer fired or a job answered.
    Input(Input),
    /// A launch answered.
    Launched(Box<std::result::Result<Launched, launch::Failure>>),
    /// Give these streams to the container: at once when it runs, else when it starts.
    Attach { attach: Attach, reply: oneshot::Sender<Result<()>> },
    /// A health probe has an answer; the reply says that it was taken.
    Probed { finding: Finding, reply: oneshot::Sender<()> },
    /// Change the record (rename, update). The closure may refuse.
    Change { change: Change, reply: oneshot::Sender<Result<()>> },
    /// Change the record and the world (connect). The closure may refuse, and may block.
    Work { work: Work, reply: oneshot::Sender<Result<()>> },
}

type Edit = Box<dyn FnOnce(&mut Record) -> Result<()> + Send>;

/// A change to a record that is no step of its life.
pub(crate) struct Change(pub(crate) Edit);

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Change")
    }
}

type Job = Box<dyn FnOnce(&mut Record, Option<&Live>) -> Result<()> + Send>;

/// A change to a record and to the world that is no step of its life.
pub(crate) struct Work(pub(crate) Job);

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

struct Owner {
    engine: Engine,
    handle: Handle,
    record: Record,
    live: Option<Live>,
    notices: Option<mpsc::UnboundedReceiver<Notice>>,
    exits: u64,
    launches: u64,
    /// The next end is one that nothing but its record remembers: the shim did not see it.
    unwitnessed: bool,
    /// The record on the disk is older than what has happened: the next one written must stay.
    is_behind: bool,
    /// The disk knows that the container is to be removed.
    removal_is_known: bool,
    waiting: Vec<Attach>,
    mailbox: mpsc::WeakSender<Command>,
    publish: watch::Sender<Arc<View>>,
    monitor: Option<Monitor>,
    /// What sends its log elsewhere.
    forwarder: Option<Forwarder>,
}

/// What an owner starts with after recovery: a shim that was found alive.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) live: Live,
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
    /// The container's first process; when it was started is not known.
    pub(crate) process: Process,
}

/// Starts the owner of a container and makes it findable. Its name must be reserved already.
pub(crate) fn spawn(engine: &Engine, record: Record, adopted: Option<Adopted>) -> Handle {
    spawn_with(engine, record, adopted, Vec::new()).0
}

/// The same with inputs that come before any request; the second value answers once they have been taken.
pub(crate) fn spawn_with(
    engine: &Engine,
    record: Record,
    adopted: Option<Adopted>,
    first: Vec<Input>,
) -> (Handle, oneshot::Receiver<()>) {
    let (sender, mailbox) = mpsc::channel(MAILBOX);
    let (live, notices) = adopted.map_or((None, None), |adopted| (Some(adopted.live), Some(adopted.notices)));
    let view = View { record: Arc::new(record.clone()), live: live.clone(), exits: 0, launches: 0 };
    let (publish, watch) = watch::channel(Arc::new(view));
    let handle = Handle::new(&record.id, sender.clone(), watch);
    engine.containers.insert(handle.clone());
    let forwarder = forward::spawn(engine, &record, handle.watch());
    let owner = Owner {
        engine: engine.clone(),
        handle: handle.clone(),
        record,
        live,
        notices,
        exits: 0,
        launches: 0,
        unwitnessed: false,
        is_behind: false,
        removal_is_known: false,
        waiting: Vec::new(),
        mailbox: sender.downgrade(),
        publish,
        monitor: None,
        forwarder,
    };
    let (taken, settled) = oneshot::channel();
    tokio::spawn(owner.run(mailbox, first, taken));
    (handle, settled)
}

/// The next notice of the shim; never answers when there is no shim.
async fn next_notice(notices: &mut Option<mpsc::UnboundedReceiver<Notice>>) -> Option<Notice> {
    match notices {
        Some(notices) => notices.recv().await,
        None => std::future::pending().await,
    }
}

impl Owner {
    async fn run(
        mut self,
        mut mailbox: mpsc::Receiver<Command>,
        first: Vec<Input>,
        taken: oneshot::Sender<()>,
    ) {
        if let Some(live) = self.live.clone() {
            self.watch_over(&live);
        }
        for input in first {
            self.report(input).await;
        }
        // Only a boot waits for this.
        let _ = taken.send(());
        while !matches!(self.record.state, State::Gone { .. }) {
            tokio::select! {
                biased;
                notice = next_notice(&mut self.notices) => self.notice(notice).await,
                command = mailbox.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => break,
                },
            }
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Request { input, reply } => {
                let answer = self.input(input).await;
                // A requester that has left misses nothing: the step is taken.
                let _ = reply.send(answer);
            }
            Command::Input(input) => self.report(input).await,
            Command::Launched(answer) => self.launched(*answer).await,
            Command::Attach { attach, reply } => {
                let _ = reply.send(self.attach(attach).await);
            }
            Command::Probed { finding, reply } => {
                self.probed(finding).await;
                let _ = reply.send(());
            }
            Command::Change { change, reply } => {
                let _ = reply.send(self.change(change).await);
            }
            Command::Work { work, reply } => {
                let _ = reply.send(self.work(work).await);
            }
        }
    }

    /// Takes an input that nobody waits for; a refusal is only worth a line in the log.
    async fn report(&mut self, input: Input) {
        let text = input.to_string();
        if let Err(error) = self.input(input).await {
            tracing::warn!(container = id::short(&self.record.id), input = %text, %error, "not possible now");
        }
    }

    async fn input(&mut self, input: Input) -> Result<Outcome> {
        let policy = resolve::policy(&self.record.host_config)?;
        match step(&self.record.state, &input, policy) {
            Step::Unchanged => Ok(Outcome::Unchanged),
            Step::Refused(refusal) => Err(self.view().refusal(refusal)),
            Step::Move(state, effects) => {
                tracing::debug!(container = id::short(&self.record.id), %input, from = %self.record.state, to = %state);
                let before = std::mem::replace(&mut self.record.state, *state);
                let health = self.record.health.clone();
                self.record.health =
                    health::follow(&self.record.config, health.as_ref(), &before, &self.record.state);
                // A removal that is nothing else is recorded by the job that does it, at once with its end.
                let saved = if is_only_removal(&self.record.state, &effects) || self.passes_over() {
                    Ok(())
                } else {
                    self.record_step(&before).await
                };
                match saved {
                    Ok(()) => {}
                    Err(error) if happens_anyway(&input) => {
                        let container = id::short(&self.record.id);
                        tracing::error!(container, %input, %error, "it is so, and cannot be recorded now");
                        self.is_behind = true;
                    }
                    Err(error) => {
                        (self.record.state, self.record.health) = (before, health);
                        return Err(error);
                    }
                }
                if matches!(input, Input::ProcessExited { .. }) {
                    self.exits += 1;
                }
                if matches!(input, Input::LaunchFailed { .. } | Input::Launched(_)) {
                    self.launches += 1;
                }
                for effect in effects {
                    self.effect(effect, &before).await?;
                }
                self.publish();
                self.tend_monitor();
                Ok(Outcome::Done)
            }
        }
    }

    /// Whether the record of the step that was taken would be of no use.
    fn passes_over(&self) -> bool {
        let removes_itself = self.record.host_config.auto_remove;
        !self.unwitnessed && !self.is_behind && is_passed_over(&self.record.state, removes_itself)
    }

    /// Writes the record after a step.
    async fn record_step(&mut self, before: &State) -> Result<()> {
        let state = &self.record.state;
        let was_foreseen = !self.is_behind && is_foreseen(before, state);
        let is_removing = matches!(state, State::Removing { .. });
        let must_stay = must_survive(state, self.record.host_config.auto_remove) && !was_foreseen;
        let durable = must_stay || self.unwitnessed || self.is_behind;
        self.save(durable).await?;
        self.is_behind = false;
        self.removal_is_known = is_removing && (durable || was_foreseen);
        Ok(())
    }

    async fn effect(&mut self, effect: Effect, before: &State) -> Result<()> {
        match effect {
            Effect::Launch => self.launch(),
            Effect::Signal(signal) => self.signal(signal),
            Effect::ArmGrace { seconds, attempt } => {
                self.after(Duration::from_secs(seconds), Input::GraceElapsed { attempt });
            }
            Effect::ArmBackoff(milliseconds) => {
                self.after(Duration::from_millis(milliseconds), Input::BackoffElapsed);
            }
            Effect::Freeze | Effect::Thaw => {
                let frozen = effect == Effect::Freeze;
                if let Err(error) = self.set_frozen(frozen).await {
                    self.record.state = before.clone();
                    self.save(true).await?;
                    return Err(error);
                }
            }
            Effect::Teardown => self.teardown().await,
            Effect::Erase => self.erase(),
            Effect::Announce(action) => self.announce(&action),
        }
        Ok(())
    }

    fn view(&self) -> View {
        View {
            record: Arc::new(self.record.clone()),
            live: self.live.clone(),
            exits: self.exits,
            launches: self.launches,
        }
    }

    fn publish(&self) {
        self.publish.send_replace(Arc::new(self.view()));
    }

    /// Writes the record. A durable write is acknowledged by the disk; another one is at the latest with the next.
    async fn save(&self, durable: bool) -> Result<()> {
        if matches!(self.record.state, State::Gone { .. }) {
            return Ok(());
        }
        let (engine, record) = (self.engine.clone(), self.record.clone());
        crate::blocking(move || engine.records.save(&record, durable)).await
    }

    fn sender(&self) -> Option<mpsc::Sender<Command>> {
        self.mailbox.upgrade()
    }

    fn after(&self, wait: Duration, input: Input) {
        let Some(sender) = self.sender() else { return };
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            // An owner that has ended needs no timer.
            let _ = sender.send(Command::Input(input)).await;
        });
    }

    fn launch(&mut self) {
        let Some(sender) = self.sender() else { return };
        let (engine, handle, record) = (self.engine.clone(), self.handle.clone(), self.record.clone());
        let waiting = std::mem::take(&mut self.waiting);
        tokio::spawn(async move {
            let answer = launch::launch(&engine, &handle, record, waiting).await;
            // The owner ends only when the container is gone, which a launch under way prevents.
            let _ = sender.send(Command::Launched(Box::new(answer))).await;
        });
    }

    async fn launched(&mut self, answer: std::result::Result<Launched, launch::Failure>) {
        match answer {
            Ok(Launched { live, notices, pid, start_time_ticks, started_at }) => {
                self.watch_over(&live);
                self.live = Some(live);
                self.notices = Some(notices);
                let process = Process { pid, start_time_ticks, started_at };
                self.report(Input::Launched(process)).await;
            }
            Err(launch::Failure { code, message }) => {
                self.report(Input::LaunchFailed { code, message }).await;
            }
        }
    }

    async fn notice(&mut self, notice: Option<Notice>) {
        match notice {
            Some(Notice::Exited { code, at, oom_killed }) => {
                self.report(Input::ProcessExited { code, at, oom_killed }).await;
            }
            Some(Notice::ExecExited { exec_id, code }) => {
                self.engine.execs.ended(&self.engine, &exec_id, code)
            }
            // The connection is gone. The exit record tells what became of the process.
            None => {
                self.notices = None;
                if self.record.state.running().is_some() {
                    let found = launch::after_loss(&self.engine, &self.record, self.live.as_ref()).await;
                    match found {
                        launch::AfterLoss::Ended(input) => {
                            self.unwitnessed = true;
                            self.report(input).await;
                            self.unwitnessed = false;
                        }
                        launch::AfterLoss::Alive(adopted) => {
                            self.live = Some(adopted.live);
                            self.notices = Some(adopted.notices);
                            self.publish();
                        }
                    }
                }
            }
        }
    }

    fn watch_over(&self, live: &Live) {
        vigil::keep(live, launch::Places::of(&self.engine, &self.record.id).exec_dir);
    }

    fn signal(&self, signal: i32) {
        if let Some(live) = &self.live
            && let Err(error) = live.pidfd.send(signal)
        {
            // It has ended already; its exit is on the way.
            tracing::debug!(container = id::short(&self.record.id), %error);
        }
    }

    async fn set_frozen(&self, frozen: bool) -> Result<()> {
        let (engine, record) = (self.engine.clone(), self.record.clone());
        crate::blocking(move || super::pause::set_frozen(&engine, &record, frozen)).await
    }

    async fn teardown(&mut self) {
        let netns = self.live.take().and_then(|live| live.netns);
        self.notices = None;
        self.engine.execs.container_ended(&self.record.id);
        let (engine, record) = (self.engine.clone(), self.record.clone());
        self.record.attachments.clear();
        let work = move || teardown::teardown(&engine, &record, netns.as_ref().map(|netns| netns.as_fd()));
        let done = crate::blocking(work).await;
        if let Err(error) = done {
            tracing::error!(container = id::short(&self.record.id), %error, "teardown is incomplete");
        }
        if self.passes_over() {
            return;
        }
        if let Err(error) = self.save(false).await {
            tracing::error!(container = id::short(&self.record.id), %error, "cannot record the teardown");
        }
    }

    fn erase(&mut self) {
        let Some(sender) = self.sender() else { return };
        let (engine, record) = (self.engine.clone(), self.record.clone());
        let is_known = self.removal_is_known && !self.is_behind;
        let forwarder = self.forwarder.take();
        tokio::spawn(async move {
            if let Some(forwarder) = forwarder {
                forwarder.let_go().await;
            }
            let answer = crate::blocking(move || erase::erase(&engine, &record, is_known)).await;
            let input = match answer {
                Ok(()) => Input::Erased,
                Err(error) => Input::EraseFailed(error.to_string()),
            };
            let _ = sender.send(Command::Input(input)).await;
        });
    }

    fn announce(&self, action: &Action) {
        let mut attributes = self.record.attributes();
        let mut with = |key: &str, value: String| {
            attributes.insert(key.to_owned(), value);
        };
        let name = match action {
            Action::Start => {
                announce_all(&self.engine, &self.record, "connect");
                "start"
            }
            Action::Die { code, ran } => {
                with("exitCode", code.to_string());
                with("execDuration", (ran / 1_000_000_000).to_string());
                "die"
            }
            Action::Oom => "oom",
            Action::Stop => "stop",
            Action::Restart => "restart",
            Action::Kill(signal) => {
                with("signal", signal.to_string());
                "kill"
            }
            Action::Pause => "pause",
            Action::Unpause => "unpause",
            Action::Destroy => {
                self.engine.containers.remove(&self.record.id);
                "destroy"
            }
        };
        self.engine.events.publish("container", name, &self.record.id, attributes);
        if matches!(action, Action::Die { .. }) {
            announce_all(&self.engine, &self.record, "disconnect");
        }
    }

    async fn attach(&mut self, attach: Attach) -> Result<()> {
        match (&self.live, &self.record.state) {
            (Some(live), _) => live.link.attach(attach).await,
            (
                None,
                State::Created(_) | State::Exited { .. } | State::Starting { .. } | State::Restarting { .. },
            ) => {
                self.waiting.push(attach);
                Ok(())
            }
            (None, _) => {
                Err(Error::conflict(format!("container {} cannot be attached to now", self.record.id)))
            }
        }
    }

    async fn change(&mut self, change: Change) -> Result<()> {
        // The record may be forgotten already: writing it again would bring the container back at the next boot.
        if matches!(self.record.state, State::Removing { .. } | State::Gone { .. }) {
            return Err(self.view().refusal(Refusal::Removing));
        }
        let before = self.record.clone();
        let changed = (change.0)(&mut self.record);
        let saved = match changed {
            Ok(()) => self.save(true).await,
            Err(error) => Err(error),
        };
        if let Err(error) = saved {
            self.record = before;
            return Err(error);
        }
        self.publish();
        Ok(())
    }

    /// A failure of the work leaves the record as it was; what the work holds by then is given back at the end of the run.
    /// Work that is done is so, also when the disk takes no record of it now: whoever asked is told that.
    async fn work(&mut self, work: Work) -> Result<()> {
        let (mut record, live) = (self.record.clone(), self.live.clone());
        let changed = crate::blocking(move || (work.0)(&mut record, live.as_ref()).map(|()| record)).await?;
        if matches!(self.record.state, State::Removing { .. } | State::Gone { .. }) {
            return Err(self.view().refusal(Refusal::Removing));
        }
        self.record = changed;
        let saved = self.save(true).await;
        self.is_behind |= saved.is_err();
        self.publish();
        saved
    }
}

/// Attributes with one more.
pub(crate) fn with(
    mut attributes: BTreeMap<String, String>,
    key: &str,
    value: &str,
) -> BTreeMap<String, String> {
    attributes.insert(key.to_owned(), value.to_owned());
    attributes
}

/// Streams of a client that wait for a start must be closed when it never comes.
impl Drop for Owner {
    fn drop(&mut self) {
        let closed: Vec<OwnedFd> = self.waiting.drain(..).map(|attach| attach.stream).collect();
        drop(closed);
    }
}
