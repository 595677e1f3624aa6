//! Real containers: control group, limits and processes by way of `runtime`.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use cgroup::{Hierarchy, Limits};
use oci::runtime::Spec;
use runtime::group::{Frozen, Group};
use runtime::{Gate, Rootfs, StartGate};

use super::held::Held;
use super::launch::{Launch, Launched, Stdio};
use crate::protocol::{Create, Error, ErrorKind, Exec, Root};

/// Makes one container.
///
/// Between requests it holds descriptors and paths only: control groups are opened, and the configuration is read back
/// from its file, when they are needed.
#[derive(Default)]
pub(super) struct Containers {
    made: Option<Made>,
}

/// What is known of the container that was made.
struct Made {
    id: String,
    pidfd: OwnedFd,
    gate: Option<StartGate>,
    held: Held,
    /// Where the configuration is kept for processes that join.
    config: PathBuf,
}

impl Launch for Containers {
    fn create(
        &mut self,
        request: &Create,
        stdio: Option<&Stdio>,
        on_process: &mut dyn FnMut(u32),
    ) -> Result<Launched, Error> {
        let hierarchy = Hierarchy::detect()?;
        let held = Held::of(request)?;
        let resources = request.spec.linux.as_ref().and_then(|linux| linux.resources.as_ref());
        let limits = resources.map(Limits::try_from).transpose()?.unwrap_or_default();
        let mut group = held.place().make(&hierarchy, &request.id, &limits, Frozen::IsThawed)?;
        let made = make(request, stdio, &hierarchy, &group, held, on_process).and_then(|made| {
            group.settle(&hierarchy, &limits)?;
            Ok(made)
        });
        match made {
            Ok((made, launched)) => {
                self.made = Some(made);
                Ok(launched)
            }
            Err(error) => {
                // What went wrong first is what counts.
                let _ = group.remove();
                Err(error)
            }
        }
    }

    fn start(&mut self) -> Result<(), Error> {
        let gate = self.made.as_mut().and_then(|made| made.gate.take());
        let gate = gate.ok_or_else(|| Error::new(ErrorKind::Invalid, "the container was started before"))?;
        Ok(runtime::start(gate)?)
    }

    fn exec(&mut self, request: &Exec, stdio: Option<&Stdio>) -> Result<Launched, Error> {
        let made = self.made()?;
        let spec = read_config(&made.config)?;
        let hierarchy = Hierarchy::detect()?;
        let group = made.held.open()?;
        let executed = runtime::exec(runtime::Exec {
            id: &made.id,
            container: made.pidfd.as_fd(),
            hierarchy: &hierarchy,
            spec: &spec,
            process: &request.process,
            stdio: descriptors(stdio),
            cgroup: group.as_ref(),
            or_beside_init: true,
            preserve_fds: 0,
            told: None,
        })?;
        Ok(Launched { pid: executed.pid, pidfd: executed.pidfd, console: executed.console })
    }

    fn held(&self) -> Option<&Held> {
        Some(&self.made.as_ref()?.held)
    }

    fn ending(&mut self) {
        if let Some(made) = &mut self.made {
            made.held.keep_open();
        }
    }

    fn remove(&mut self) -> Result<(), Error> {
        let Some(mut made) = self.made.take() else { return Ok(()) };
        absent_is_fine(fs::remove_file(&made.config), &made.config)?;
        made.held.remove()
    }
}

impl Containers {
    fn made(&self) -> Result<&Made, Error> {
        self.made.as_ref().ok_or_else(|| Error::new(ErrorKind::Invalid, "there is no container"))
    }
}

/// Makes the container in its control group.
fn make(
    request: &Create,
    stdio: Option<&Stdio>,
    hierarchy: &Hierarchy,
    group: &Group,
    mut held: Held,
    on_process: &mut dyn FnMut(u32),
) -> Result<(Made, Launched), Error> {
    let config = request.data_dir.join("config.json");
    write_config(&config, &request.spec)?;
    held.watch(group.cgroup());
    let wanted = runtime::Create {
        id: &request.id,
        spec: &request.spec,
        bundle: &request.data_dir,
        rootfs: rootfs(request),
        stdio: descriptors(stdio),
        cgroup: Some(group.cgroup()),
        hierarchy,
        gate: Gate::Held,
        init: request.init,
        preserve_fds: 0,
        no_pivot: false,
        no_new_keyring: false,
        told: None,
    };
    let created = runtime::create_and_tell(wanted, on_process)?;
    let pidfd = created.pidfd.try_clone().map_err(|error| file_error(Path::new("pidfd"), &error))?;
    let (pid, gate, id) = (created.pid, created.gate, request.id.clone());
    let made = Made { id, pidfd, gate, held, config };
    Ok((made, Launched { pid, pidfd: created.pidfd, console: created.console }))
}

fn rootfs(request: &Create) -> Rootfs {
    match &request.root {
        Root::Path { path } => Rootfs::Path(path.clone()),
        Root::Overlay { lower, upper, work, mapped } => {
            let (lower, upper, work) = (lower.clone(), upper.clone(), work.clone());
            Rootfs::Overlay { lower, upper, work, volatile: request.volatile, mapped: *mapped }
        }
    }
}

fn descriptors(stdio: Option<&Stdio>) -> runtime::Stdio<'_> {
    let Some(stdio) = stdio else { return runtime::Stdio::default() };
    let [input, output, error] = stdio.descriptors();
    runtime::Stdio { input: Some(input), output: Some(output), error: Some(error), plain_newlines: false }
}

fn write_config(path: &Path, spec: &Spec) -> Result<(), Error> {
    let text = serde_json::to_vec(spec).map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
    let write = || -> io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        io::Write::write_all(&mut file, &text)
    };
    write().map_err(|error| file_error(path, &error))
}

fn read_config(path: &Path) -> Result<Spec, Error> {
    let text = fs::read(path).map_err(|error| file_error(path, &error))?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::new(ErrorKind::Other, format!("{} is damaged: {error}", path.display())))
}

pub(super) fn absent_is_fine(result: io::Result<()>, path: &Path) -> Result<(), Error> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(path, &error)),
        _ => Ok(()),
    }
}

pub(super) fn file_error(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Other, format!("{}: {error}", path.display()))
}

impl From<cgroup::Error> for Error {
    fn from(error: cgroup::Error) -> Self {
        Self::new(ErrorKind::Other, error.to_string())
    }
}

impl From<runtime::Error> for Error {
    fn from(error: runtime::Error) -> Self {
        let kind = match error.kind() {
            runtime::Kind::NotFound => ErrorKind::NotFound,
            runtime::Kind::Permission => ErrorKind::Permission,
            runtime::Kind::IsDirectory => ErrorKind::IsDirectory,
            runtime::Kind::Invalid | runtime::Kind::State => ErrorKind::Invalid,
            runtime::Kind::NoContainer | runtime::Kind::Exists | runtime::Kind::System => ErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}
