//! The daemon's life: configuration, claims on the machine, engine, listeners, signals, the way down.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::authorization::Authorization;
use crate::config::address::Address;
use crate::config::resolve::Action;
use crate::config::{self, Config, ConfigError, Environment, flags, reload};
use crate::dump;
use crate::host::inherited::{self, Announcement};
use crate::host::{group, lock::Lock, notify, pidfile::Pidfile, watchdog};
use crate::logging::{Logging, now};
use crate::metrics::{self, Metrics};
use crate::routes::{self, App};
use crate::server::dispatch::{Dispatcher, Identity};
use crate::server::listener::Listener;
use crate::server::underway::Underway;
use crate::server::{serve, tls};
use crate::signals::{Signal, Signals};

/// What goes wrong before the daemon serves is told in words, and ends it.
type Fatal = Box<dyn std::error::Error + Send + Sync>;

/// Threads that answer requests. Work that blocks has threads of its own.
const WORKERS: usize = 2;
/// How long a thread for work that blocks waits for the next one: to start one takes longer than much of that work.
const KEPT: std::time::Duration = std::time::Duration::from_secs(60);
/// Clients at a time of the figures.
const METRICS_CONNECTIONS: usize = 32;
/// Clients at a time when the system does not say how many descriptors there may be.
const USUAL_CONNECTIONS: usize = 512;

/// The role `daemon`: takes the arguments after it, gives the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let source = match Source::new(args) {
        Ok(source) => source,
        Err(error) => return fail(&error),
    };
    let config = match source.read() {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let done = match config.action {
        Action::Help => print(&flags::help()),
        Action::Version => {
            print(&format!("berth version {}, API {}\n", engine::VERSION, config.versions.max))
        }
        Action::Validate => acceptor(&config).map_err(Into::into).map(|_| eprintln!("configuration OK")),
        Action::Run => run(source, config),
    };
    done.map_or_else(|error| fail(error.as_ref()), |()| 0)
}

/// Where the configuration comes from; read at start and by every reload.
struct Source {
    args: Vec<String>,
    environment: Environment,
}

impl Source {
    fn new(args: impl IntoIterator<Item = OsString>) -> Result<Source, ConfigError> {
        let text = |arg: OsString| {
            arg.into_string().map_err(|arg| ConfigError::Usage(format!("{arg:?} is not UTF-8")))
        };
        let args = args.into_iter().map(text).collect::<Result<Vec<String>, ConfigError>>()?;
        Ok(Source { args, environment: Environment::read(variable) })
    }

    fn read(&self) -> Result<Config, ConfigError> {
        config::load(&self.args, &self.environment, read_file)
    }

    fn read_again(&self, running: &Config) -> Result<reload::Reloaded, ConfigError> {
        reload::reload(running, &self.read()?, &self.environment, &read_file)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
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

fn run(source: Source, config: Config) -> Result<(), Fatal> {
    let logging = Logging::start(&config);
    let _lock = Lock::take(&config.data_root)?;
    let _pidfile = Pidfile::write(&config.pidfile)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(WORKERS).thread_keep_alive(KEPT).enable_all().build()?;
    let served = runtime.block_on(serve(source, config, &logging));
    // What still runs has had its time: streams of clients that do not read, reads that hang.
    runtime.shutdown_background();
    served
}

async fn serve(source: Source, config: Config, logging: &Logging) -> Result<(), Fatal> {
    let mut signals = Signals::listen()?;
    // Listen first: a client that comes early waits instead of failing, and a second daemon finds out at once.
    let listeners = listen(&config).await?;
    let figures = match config.metrics {
        Some(address) => Some(Listener::tcp(address, None).await?),
        None => None,
    };
    config.engine.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let engine = engine::boot(config.engine.clone()).await?;
    let (stop, stopped) = watch::channel(false);
    let identity = Identity { version: engine::VERSION.into(), experimental: config.experimental };
    let state = Arc::new(App { engine: engine.clone(), versions: config.versions, stop: stopped.clone() });
    let (metrics, authorization) = (Arc::new(Metrics::default()), Arc::new(Authorization::default()));
    authorization.set(&config.authorization_plugins);
    let mut dispatcher = Dispatcher::new(routes::table(), config.versions, identity.clone(), state);
    dispatcher.observer = Some(metrics.clone());
    dispatcher.gate = Some(authorization.clone());
    let underway = dispatcher.underway.clone();
    let dispatcher = Arc::new(dispatcher);
    if let Some(listener) = figures {
        let source = metrics::Source { engine: engine.clone(), metrics };
        let dispatcher = Arc::new(metrics::dispatcher(source, identity));
        tokio::spawn(serve::serve(vec![listener], dispatcher, METRICS_CONNECTIONS, stopped.clone()));
    }
    let serving = tokio::spawn(serve::serve(listeners, dispatcher, max_connections(), stopped));
    tracing::info!(version = engine::VERSION, data_root = %config.data_root.display(), "ready");
    tell_manager("READY=1");
    keep_watchdog();

    let mut running = Running { source, config, logging, engine, underway, authorization };
    loop {
        match signals.next().await {
            Signal::Stop => break,
            Signal::Reload => running.reload(),
            Signal::Dump => running.dump(),
        }
    }
    tell_manager("STOPPING=1");
    let stops = !running.config.engine.live_restore;
    tracing::info!("stopping; containers {}", if stops { "are stopped" } else { "run on" });
    // The receivers live as long as `serving` does.
    let _ = stop.send(true);
    let patience = running.config.shutdown_timeout;
    tokio::select! {
        _ = serving => {}
        () = tokio::time::sleep(patience) => {
            tracing::warn!(seconds = patience.as_secs(), "requests under way did not end in time");
        }
        () = signals.stop() => tracing::warn!("told to stop again: not waiting for requests under way"),
    }
    if stops {
        tokio::select! {
            () = engine::container::shutdown::stop_all(&running.engine, patience) => {}
            () = signals.stop() => tracing::warn!("told to stop again: not waiting for containers"),
        }
    }
    engine::close(&running.engine).await;
    Ok(())
}

/// A daemon that serves.
struct Running<'a> {
    source: Source,
    config: Config,
    logging: &'a Logging,
    engine: engine::Engine,
    underway: Arc<Underway>,
    authorization: Arc<Authorization>,
}

impl Running<'_> {
    /// Reads the configuration again. One that is wrong changes nothing.
    fn reload(&mut self) {
        tell_manager(&format!("RELOADING=1\nMONOTONIC_USEC={}", linux::process::monotonic_usec()));
        match self.source.read_again(&self.config) {
            Ok(reloaded) => {
                for name in &reloaded.needs_restart {
                    tracing::warn!(setting = name, "changed, and counts once the daemon is started again");
                }
                self.take(reloaded.config);
            }
            Err(error) => {
                tracing::error!(%error, "the configuration is wrong: everything stays as it was");
            }
        }
        tell_manager("READY=1");
    }

    fn take(&mut self, config: Config) {
        self.logging.set_level(config.log_level);
        if config.authorization_plugins != self.config.authorization_plugins {
            self.authorization.set(&config.authorization_plugins);
        }
        let attributes = reload::attributes(&config);
        match self.engine.reload(config.engine.clone(), attributes) {
            Ok(()) => tracing::info!("the configuration was read again"),
            Err(error) => tracing::error!(%error, "the configuration was read again; cannot tell listeners"),
        }
        self.config = config;
    }

    fn dump(&self) {
        let tasks = tokio::runtime::Handle::current().metrics();
        let subject = dump::Subject { engine: &self.engine, underway: &self.underway, tasks: &tasks };
        match dump::write(&self.config.exec_root, &now(), &subject) {
            Ok(path) => tracing::info!(path = %path.display(), "what the daemon does was written"),
            Err(error) => tracing::error!(%error, "cannot write what the daemon does"),
        }
    }
}

async fn listen(config: &Config) -> Result<Vec<Listener>, Fatal> {
    let acceptor = acceptor(config)?;
    let announcement = Announcement {
        pid: variable("LISTEN_PID"),
        count: variable("LISTEN_FDS"),
        names: variable("LISTEN_FDNAMES"),
    };
    let mut handed_over = inherited::take(&announcement)?;
    let mut listeners = Vec::new();
    for host in &config.hosts {
        match host {
            Address::Unix(path) => listeners.push(Listener::unix(path, group::resolve(&config.group)?)?),
            Address::Tcp(address) => listeners.push(Listener::tcp(*address, acceptor.clone()).await?),
            Address::Inherited(which) => {
                for socket in inherited::choose(which, &mut handed_over)? {
                    listeners.push(Listener::inherited(socket.number, socket.fd, acceptor.clone())?);
                }
            }
        }
    }
    Ok(listeners)
}

fn acceptor(config: &Config) -> Result<Option<TlsAcceptor>, tls::TlsError> {
    let Some(files) = &config.tls else { return Ok(None) };
    // On a unix socket the certificates are never looked at.
    if config.hosts.iter().all(|host| matches!(host, Address::Unix(_))) {
        return Ok(None);
    }
    let clients = files.verify.then_some(files.ca.as_path());
    tls::acceptor(&tls::Files { cert: &files.cert, key: &files.key, clients }).map(Some)
}

/// Half of the descriptors that this process may have: the other half is for what clients ask for.
fn max_connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    // Never more than the runtime's semaphores count.
    soft.map_or(USUAL_CONNECTIONS, |soft| (soft / 2).clamp(16, 1 << 20))
}

fn tell_manager(message: &str) {
    notify::tell(variable("NOTIFY_SOCKET").as_deref(), message);
}

/// Tells the service manager that we are well for as long as the runtime runs tasks.
fn keep_watchdog() {
    let (usec, pid) = (variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
    let Some(interval) = watchdog::interval(usec.as_deref(), pid.as_deref(), std::process::id()) else {
        return;
    };
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        loop {
            ticks.tick().await;
            tell_manager("WATCHDOG=1");
        }
    });
}
