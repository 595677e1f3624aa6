//! The vocabulary of a container's life: states that carry their data, inputs, effects, refusals.

use serde::{Deserialize, Serialize};

/// A moment in nanoseconds since the Unix epoch, UTC.
pub type Nanos = i64;

/// A process that the shim has started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id on the host.
    pub pid: i32,
    /// Field 22 of /proc/<pid>/stat: together with the pid it names one process for ever (proc_pid_stat(5)).
    pub start_time_ticks: u64,
    /// When it was started.
    pub started_at: Nanos,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The exit code; 128 + n for a signal.
    pub code: i32,
    /// When it ended; 0 when the container never ran.
    pub at: Nanos,
    /// When the run had begun; 0 when the container never ran.
    pub started_at: Nanos,
    /// Whether the kernel's OOM killer ended it.
    pub oom_killed: bool,
    /// Why a start failed, in Docker's words; empty otherwise.
    pub error: String,
}

/// What a restart policy remembers between runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Automatic restarts since somebody last asked for a start.
    pub restarts: u32,
    /// The last wait, in milliseconds; 0 before the first.
    pub backoff_ms: u64,
}

/// What follows once a stopping container's process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Nothing: it stays stopped.
    Rest,
    /// It is started again (the restart request).
    Start,
    /// It is removed (forced removal).
    Remove,
}

/// A running process with what the next end of it must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The process.
    pub process: Process,
    /// Restart memory.
    pub tally: Tally,
    /// Somebody sent the stop signal by hand: the restart policy must not undo that.
    pub told_to_stop: bool,
}

/// Where a container stands. Each variant carries exactly what is true in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Made, never ran to success. A failed first start leaves its error here.
    Created(Ended),
    /// The launch is under way. `before` is what it falls back to.
    Starting {
        /// How the previous run ended.
        before: Ended,
        /// Restart memory.
        tally: Tally,
        /// A restart request is fulfilled by this launch.
        restart: bool,
        /// What somebody asked for meanwhile; honoured when the launch has answered.
        stop_wanted: Option<Then>,
    },
    /// The program runs.
    Running(Running),
    /// The program is frozen.
    Paused(Running),
    /// A signal was sent and grace is running.
    Stopping {
        /// The process.
        running: Running,
        /// What follows.
        then: Then,
        /// Distinguishes this grace period's timer from an older one's.
        attempt: u32,
    },
    /// The program ended.
    Exited {
        /// How.
        ended: Ended,
        /// Somebody stopped it by hand.
        told_to_stop: bool,
        /// Restart memory, shown as the restart count.
        tally: Tally,
    },
    /// The program ended and the restart policy waits.
    Restarting {
        /// How.
        ended: Ended,
        /// Restart memory.
        tally: Tally,
    },
    /// Everything of it is being removed.
    Removing {
        /// How the last run ended.
        ended: Ended,
    },
    /// Removal failed half-way; only another removal is possible.
    Dead {
        /// How the last run ended; `error` says why removal failed.
        ended: Ended,
    },
    /// It no longer exists.
    Gone {
        /// How the last run ended, for those who waited.
        ended: Ended,
    },
}

/// A restart policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    No,
    /// Whatever the exit code.
    Always,
    /// Like `Always`, but not after a hand stopped it and the daemon restarted.
    UnlessStopped,
    /// Only on a non-zero exit code, at most so many times (0: no limit).
    OnFailure(u32),
}

/// The part of a container's configuration that decides its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What happens when the program ends by itself.
    pub restart: Restart,
    /// Remove it when it ends for good.
    pub auto_remove: bool,
}

/// Something that happened or was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Start it.
    Start,
    /// The launch succeeded.
    Launched(Process),
    /// The launch failed: exit code 126, 127 or 128, and the words.
    LaunchFailed {
        /// The exit code to show.
        code: i32,
        /// Docker's words.
        message: String,
    },
    /// The process ended.
    ProcessExited {
        /// Exit code; 128 + n for a signal.
        code: i32,
        /// When.
        at: Nanos,
        /// OOM killer.
        oom_killed: bool,
    },
    /// Stop it: this signal, then SIGKILL after the grace (`None`: never).
    Stop {
        /// Signal number.
        signal: i32,
        /// Seconds of grace.
        grace_seconds: Option<u64>,
    },
    /// Stop, then start.
    Restart {
        /// Signal number.
        signal: i32,
        /// Seconds of grace.
        grace_seconds: Option<u64>,
    },
    /// The grace timer of this attempt fired.
    GraceElapsed {
        /// Which timer.
        attempt: u32,
    },
    /// Send a signal.
    Kill {
        /// Signal number.
        signal: i32,
        /// It is the container's stop signal or SIGKILL: the restart policy must not undo it.
        stops: bool,
    },
    /// Freeze it.
    Pause,
    /// Thaw it.
    Unpause,
    /// The restart policy's wait is over.
    BackoffElapsed,
    /// Remove it.
    Remove {
        /// Kill it first when it runs.
        force: bool,
    },
    /// Removal is complete.
    Erased,
    /// Removal failed.
    EraseFailed(String),
}

/// Something that must be done, in order. Every effect can be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Launch the program (answers `Launched` or `LaunchFailed`).
    Launch,
    /// Send a signal to the process.
    Signal(i32),
    /// After so many seconds, `GraceElapsed { attempt }` arrives.
    ArmGrace {
        /// Seconds.
        seconds: u64,
        /// Which timer.
        attempt: u32,
    },
    /// After so many milliseconds, `BackoffElapsed` arrives.
    ArmBackoff(u64),
    /// Freeze the control group.
    Freeze,
    /// Thaw the control group.
    Thaw,
    /// Detach networks and release leases; the kernel has freed everything else.
    Teardown,
    /// Remove everything (answers `Erased` or `EraseFailed`).
    Erase,
    /// Tell those who listen to events.
    Announce(Action),
}

/// An event's action with its own attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The program runs.
    Start,
    /// The program ended: exit code, and how long it ran in nanoseconds.
    Die {
        /// Exit code.
        code: i32,
        /// Duration.
        ran: Nanos,
    },
    /// The OOM killer acted.
    Oom,
    /// A stop request is fulfilled.
    Stop,
    /// A restart request is fulfilled.
    Restart,
    /// A signal was sent by request.
    Kill(i32),
    /// Frozen.
    Pause,
    /// Thawed.
    Unpause,
    /// Removed.
    Destroy,
}

/// Why an input is not possible now; the door's words are made from it and the container's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It must run for this.
    NotRunning,
    /// It is paused.
    Paused,
    /// It is not paused.
    NotPaused,
    /// It is already paused.
    AlreadyPaused,
    /// It is being restarted by its policy.
    Restarting,
    /// It must be stopped first.
    StillRunning,
    /// It is paused and must be stopped first.
    StillPaused,
    /// It is being removed.
    Removing,
    /// It is being started.
    Starting,
    /// Its removal failed; it cannot be used again.
    Dead,
}

/// What an input does to a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The container is now in this state, and these effects follow in order.
    Move(Box<State>, Vec<Effect>),
    /// It is already so.
    Unchanged,
    /// It cannot be.
    Refused(Refusal),
}

impl State {
    /// Whether a process exists (running, paused or stopping).
    #[must_use]
    pub fn running(&self) -> Option<&Running> {
        match self {
            State::Running(running) | State::Paused(running) | State::Stopping { running, .. } => {
                Some(running)
            }
            _ => None,
        }
    }

    /// How the last run ended; empty while the first one lasts.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        match self {
            State::Created(ended)
            | State::Exited { ended, .. }
            | State::Restarting { ended, .. }
            | State::Removing { ended }
            | State::Dead { ended }
            | State::Gone { ended } => Some(ended),
            State::Starting { before, .. } => Some(before),
            State::Running(_) | State::Paused(_) | State::Stopping { .. } => None,
        }
    }

    /// Automatic restarts so far.
    #[must_use]
    pub fn restart_count(&self) -> u32 {
        match self {
            State::Running(running) | State::Paused(running) | State::Stopping { running, .. } => {
                running.tally.restarts
            }
            State::Starting { tally, .. } | State::Exited { tally, .. } | State::Restarting { tally, .. } => {
                tally.restarts
            }
            _ => 0,
        }
    }

    /// Docker's word for it: created, running, paused, restarting, removing, exited or dead.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            State::Created(_) => "created",
            State::Starting { before, tally, .. } if tally.restarts > 0 || before.started_at != 0 => {
                if tally.restarts > 0 { "restarting" } else { "exited" }
            }
            State::Starting { .. } => "created",
            State::Running(_) | State::Stopping { .. } => "running",
            State::Paused(_) => "paused",
            State::Exited { .. } => "exited",
            State::Restarting { .. } => "restarting",
            State::Removing { .. } | State::Gone { .. } => "removing",
            State::Dead { .. } => "dead",
        }
    }
}
