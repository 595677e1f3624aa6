//! The daemon's life: configuration, claims on the machine, engine, listeners, signals, the way down.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::config::address::Address;
use crate::config::resolve::{Action, LogLevel};
use crate::config::{self, Config, ConfigError, flags};
use crate::host::{group, lock::Lock, notify, pidfile::Pidfile};
use crate::routes::{self, App};
use crate::server::dispatch::{Dispatcher, Identity};
use crate::server::listener::Listener;
use crate::server::serve;

/// What goes wrong before the daemon serves is told in words, and ends it.
type Fatal = Box<dyn std::error::Error + Send + Sync>;

/// Threads that answer requests. Work that blocks has threads of its own.
const WORKERS: usize = 2;

/// The role `daemon`: takes the arguments after it, gives the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let config = match configure(args) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let done = match config.action {
        Action::Help => print(&flags::help()),
        Action::Version => {
            print(&format!("berth version {}, API {}\n", engine::VERSION, config.versions.max))
        }
        Action::Validate => {
            eprintln!("configuration OK");
            Ok(())
        }
        Action::Run => run(config),
    };
    done.map_or_else(|error| fail(error.as_ref()), |()| 0)
}

fn configure(args: impl IntoIterator<Item = OsString>) -> Result<Config, ConfigError> {
    let text =
        |arg: OsString| arg.into_string().map_err(|arg| ConfigError::Usage(format!("{arg:?} is not UTF-8")));
    let args = args.into_iter().map(text).collect::<Result<Vec<String>, ConfigError>>()?;
    config::load(&args, std::env::var("DOCKER_MIN_API_VERSION").ok(), read_file)
}

fn fail(error: &dyn std::error::Error) -> i32 {
    eprintln!("berth daemon: {error}");
    1
}

fn print(text: &str) -> Result<(), Fatal> {
    use io::Write;
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn read_file(path: &str) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn run(config: Config) -> Result<(), Fatal> {
    start_logging(&config);
    let _lock = Lock::take(&config.data_root)?;
    let _pidfile = Pidfile::write(&config.pidfile)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let served = runtime.block_on(serve(&config));
    // What still runs has had its time: streams of clients that do not read, reads that hang.
    runtime.shutdown_background();
    served
}

fn start_logging(config: &Config) {
    let level = match config.log_level {
        LogLevel::Trace => tracing::Level::TRACE,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Error => tracing::Level::ERROR,
    };
    let colours = config.colours && io::IsTerminal::is_terminal(&io::stderr());
    let logging = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(level).with_ansi(colours);
    logging.with_target(false).init();
}

async fn serve(config: &Config) -> Result<(), Fatal> {
    let mut signals = Signals::listen()?;
    // Listen first: a client that comes early waits instead of failing, and a second daemon finds out at once.
    let listeners = listen(config).await?;
    let engine = engine::boot(config.engine.clone()).await?;
    let (stop, stopped) = watch::channel(false);
    let identity = Identity { version: engine::VERSION.into(), experimental: config.experimental };
    let state = Arc::new(App { engine: engine.clone(), versions: config.versions, stop: stopped.clone() });
    let dispatcher = Dispatcher { router: routes::table(), versions: config.versions, identity, state };
    let serving = tokio::spawn(serve::serve(listeners, Arc::new(dispatcher), stopped));
    tracing::info!(version = engine::VERSION, data_root = %config.data_root.display(), "ready");
    tell_manager("READY=1");

    signals.wait_for_stop().await;
    tell_manager("STOPPING=1");
    tracing::info!("stopping; containers run on");
    // The receivers live as long as `serving` does.
    let _ = stop.send(true);
    tokio::select! {
        _ = serving => {}
        () = tokio::time::sleep(config.shutdown_timeout) => {
            tracing::warn!(seconds = config.shutdown_timeout.as_secs(), "requests under way did not end in time");
        }
        () = signals.wait_for_stop() => tracing::warn!("told to stop again: not waiting for requests under way"),
    }
    engine::close(&engine).await;
    Ok(())
}

async fn listen(config: &Config) -> Result<Vec<Listener>, Fatal> {
    let mut listeners = Vec::new();
    for host in &config.hosts {
        listeners.push(match host {
            Address::Unix(path) => Listener::unix(path, group::resolve(&config.group)?)?,
            Address::Tcp(address) => {
                tracing::warn!(%address, "listening without TLS: whoever can connect is root on this machine");
                Listener::tcp(*address).await?
            }
        });
    }
    Ok(listeners)
}

fn tell_manager(message: &str) {
    notify::tell(std::env::var("NOTIFY_SOCKET").ok().as_deref(), message);
}

/// The signals that mean something.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user1: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
        })
    }

    /// Returns when the daemon is told to stop.
    async fn wait_for_stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    tracing::warn!("SIGHUP: reloading the configuration is not implemented yet; nothing has changed");
                }
                _ = self.user1.recv() => {
                    tracing::warn!("SIGUSR1: dumping what the daemon does is not implemented yet");
                }
            }
        }
    }
}
