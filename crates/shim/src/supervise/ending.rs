//! The ends of processes: what is still read, killed, recorded and told, and when the shim may leave.

use std::time::{Duration, Instant};

use linux::child::How;

use super::process::Managed;
use super::supervisor::{CONTAINER, Supervisor};
use crate::exit_record::{self, ExitRecord};
use crate::log::Writer;
use crate::protocol::{Event, ExecStatus, Exit, FromShim, Reply};
use crate::timestamp::Timestamp;

/// How long a process of `exec` that has ended may have its output held open by others (as in Docker).
const OUTPUT_GRACE: Duration = Duration::from_secs(2);
/// How long output of an ended container is read that an outsider keeps writing.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a daemon that is connected may take to confirm an exit.
const DAEMON_PATIENCE: Duration = Duration::from_secs(30);
/// How long an attached stream of an ended container may go without being read.
const STREAM_PATIENCE: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;
/// How many ends of `exec` processes are kept for a daemon to come.
const UNHEARD_LIMIT: usize = 256;

impl Supervisor<'_> {
    /// A child has been reaped: the container's process, one of `exec`, or an orphan we adopted.
    pub(super) fn child_ended(&mut self, pid: u32, how: How) -> linux::Result<()> {
        if self.container.as_ref().is_some_and(|container| container.pid == pid && container.exit.is_none()) {
            return self.container_ended(how);
        }
        let Some(managed) =
            self.processes.iter().find(|managed| managed.pid == pid && managed.exit.is_none())
        else {
            return Ok(());
        };
        let (key, has_terminal) = (managed.key, managed.has_terminal());
        self.look_at_memory(false);
        let exit = Self::exit_now(how);
        let limit = Instant::now() + DRAIN;
        self.with_process(key, |managed, shared| {
            managed.exit = Some(exit);
            managed.kill_at = None;
            managed.drain(shared, limit)?;
            // The end of a terminal is the end of its session's leader; a pipe may be held by a child.
            let patience = if has_terminal { Duration::ZERO } else { OUTPUT_GRACE };
            managed.give_up_at = Some(Instant::now() + patience);
            Ok(())
        })?;
        self.tell_exec_end(key)
    }

    /// Kills the processes of `exec` whose time is over, with their groups.
    pub(super) fn kill_overdue(&mut self) {
        let now = Instant::now();
        for managed in &mut self.processes {
            if managed.kill_at.is_none_or(|at| at > now) {
                continue;
            }
            managed.kill_at = None;
            // Not waited for yet, so the number is certain.
            if managed.exit.is_none()
                && let Err(error) = linux::child::signal_group(managed.pid, SIGKILL)
            {
                eprintln!("berth shim: cannot kill a process whose time is over: {error}");
            }
        }
    }

    fn tell_exec_end(&mut self, key: u32) -> linux::Result<()> {
        let found = self.processes.iter().find(|managed| managed.key == key);
        let Some((exec_id, exit, pid)) =
            found.and_then(|managed| Some((managed.exec_id.clone()?, managed.exit.clone()?, managed.pid)))
        else {
            return Ok(());
        };
        if !self.announce(Event::ExecExited { exec_id: exec_id.clone(), exit: exit.clone() })? {
            if self.unheard.len() == UNHEARD_LIMIT {
                self.unheard.remove(0);
            }
            self.unheard.push(ExecStatus { exec_id, pid, running: false, exit: Some(exit) });
        }
        Ok(())
    }

    fn container_ended(&mut self, how: How) -> linux::Result<()> {
        let mut exit = Self::exit_now(how);
        self.launch.ending();
        // First: others may be about to remove the group.
        self.look_at_memory(matches!(how, How::Signalled(SIGKILL)));
        // What shares the host's pid namespace outlives its first process.
        if let Err(error) = self.launch.kill_all() {
            eprintln!("berth shim: cannot kill the rest of the container: {error}");
        }
        self.look_at_memory(false);
        exit.oom_killed = self.container.as_ref().is_some_and(|container| container.memory_kills > 0);
        let limit = Instant::now() + DRAIN;
        let keys: Vec<u32> = self.processes.iter().map(|managed| managed.key).collect();
        for key in keys {
            self.with_process(key, |managed, shared| {
                managed.drain(shared, limit)?;
                managed.give_up_at = Some(Instant::now());
                managed.finish(shared)
            })?;
        }
        if let Some(writer) = self.writer.take() {
            self.log_status = Writer::close(writer);
        }
        if let Err(error) = self.launch.remove() {
            eprintln!("berth shim: cannot remove the container's control group: {error}");
        }
        self.record(exit)
    }

    /// Puts the exit on record and tells everybody.
    ///
    /// The record can be seen and nobody can connect any more before the event is sent, so that a daemon may start the
    /// container again at once; waiting for the disk comes last, and not at all where nothing need survive a loss of power.
    fn record(&mut self, exit: Exit) -> linux::Result<()> {
        let Some(container) = &mut self.container else { return Ok(()) };
        container.exit = Some(exit.clone());
        let record = ExitRecord {
            id: container.id.clone(),
            pid: container.pid,
            start_time_ticks: container.start_time_ticks,
            exit: exit.clone(),
            log: self.log_status.clone(),
        };
        let (published, volatile) = (exit_record::publish(&container.data_dir, &record), container.volatile);
        self.stop_listening();
        self.announce(Event::Exited { exit })?;
        let settle = |record: exit_record::Visible| if volatile { Ok(()) } else { record.settle() };
        if let Err(error) = published.and_then(settle) {
            eprintln!("berth shim: cannot write the exit record: {error}");
        }
        let now = Instant::now();
        self.farewell.recorded = true;
        self.farewell.daemons_until = Some(now + DAEMON_PATIENCE);
        self.farewell.streams_until = Some((now + STREAM_PATIENCE, self.unsent()));
        for (connection, serial) in std::mem::take(&mut self.farewell.waiting) {
            self.send(connection, &FromShim::Reply { serial, reply: Reply::Done }, Vec::new())?;
        }
        Ok(())
    }

    /// Ends the streams of processes that have ended, and forgets those that nobody is attached to any more.
    pub(super) fn finish_processes(&mut self) -> linux::Result<()> {
        let now = Instant::now();
        let due =
            |managed: &Managed| managed.give_up_at.is_some_and(|at| at <= now || managed.outputs_ended());
        let keys: Vec<u32> =
            self.processes.iter().filter(|managed| due(managed)).map(|managed| managed.key).collect();
        for key in keys {
            self.with_process(key, |managed, shared| {
                managed.drain(shared, now)?;
                managed.give_up_at = None;
                managed.finish(shared)
            })?;
        }
        self.processes.retain(|managed| {
            managed.key == CONTAINER
                || managed.exit.is_none()
                || managed.give_up_at.is_some()
                || !managed.attachments.is_empty()
        });
        Ok(())
    }

    /// Looks whether the kernel has killed somebody for lack of memory, and tells; `by_kill` as in [`super::held::Held::memory_kills`].
    pub(super) fn look_at_memory(&mut self, by_kill: bool) {
        let kills = self.launch.held().map_or(0, |held| held.memory_kills(by_kill));
        let Some(container) = &mut self.container else { return };
        if kills > container.memory_kills {
            container.memory_kills = kills;
            if let Err(error) = self.announce(Event::Oom) {
                eprintln!("berth shim: cannot tell that memory ran out: {error}");
            }
        }
    }

    fn exit_now(how: How) -> Exit {
        let (code, signal) = match how {
            How::Exited(code) => (code, None),
            How::Signalled(signal) => (128 + signal, Some(signal)),
        };
        Exit { code, signal, at: Timestamp::now(), oom_killed: false }
    }

    /// Bytes that attached streams have still to take.
    fn unsent(&self) -> usize {
        let attachments = self.processes.iter().flat_map(|managed| &managed.attachments);
        attachments.map(|attachment| attachment.pending()).sum()
    }

    /// Whether nothing is left to own and everybody who wanted to know has been told.
    pub(super) fn may_leave(&mut self) -> bool {
        let alone = self.connections.is_empty();
        if self.container.is_none() {
            return alone || (self.farewell.confirmed && self.is_flushed());
        }
        if !self.farewell.recorded {
            return false;
        }
        let now = Instant::now();
        let over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        let told =
            alone || (self.farewell.confirmed && self.is_flushed()) || over(self.farewell.daemons_until);
        if let Some((until, before)) = &mut self.farewell.streams_until {
            let attachments = self.processes.iter().flat_map(|managed| &managed.attachments);
            let unsent = attachments.map(|attachment| attachment.pending()).sum();
            if unsent < *before {
                (*until, *before) = (now + STREAM_PATIENCE, unsent);
            }
        }
        let attached = self.processes.iter().any(|managed| !managed.attachments.is_empty());
        told && (!attached || over(self.farewell.streams_until.map(|(until, _)| until)))
    }

    fn is_flushed(&self) -> bool {
        self.connections.iter().all(super::connection::Connection::is_flushed)
    }
}
