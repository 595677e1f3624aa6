//! Who makes the container: we do, or another OCI runtime that the request names.

use super::container::Containers;
use super::foreign::Foreign;
use super::held::Held;
use super::launch::{Launch, Launched, Stdio};
use crate::protocol::{Create, Error, ErrorKind, Exec};

/// Makes one container, in the way that its request asks for.
#[derive(Default)]
pub struct Launcher {
    chosen: Option<Box<dyn Launch>>,
}

impl Launcher {
    fn chosen(&mut self) -> Result<&mut Box<dyn Launch>, Error> {
        self.chosen.as_mut().ok_or_else(|| Error::new(ErrorKind::Invalid, "there is no container"))
    }
}

impl Launch for Launcher {
    fn create(
        &mut self,
        request: &Create,
        stdio: Option<&Stdio>,
        on_process: &mut dyn FnMut(u32),
    ) -> Result<Launched, Error> {
        let mut launch: Box<dyn Launch> = match &request.runtime {
            None => Box::<Containers>::default(),
            Some(runtime) => Box::new(Foreign::new(runtime.clone())),
        };
        let launched = launch.create(request, stdio, on_process)?;
        self.chosen = Some(launch);
        Ok(launched)
    }

    fn start(&mut self) -> Result<(), Error> {
        self.chosen()?.start()
    }

    fn exec(&mut self, request: &Exec, stdio: Option<&Stdio>) -> Result<Launched, Error> {
        self.chosen()?.exec(request, stdio)
    }

    fn held(&self) -> Option<&Held> {
        self.chosen.as_ref()?.held()
    }

    fn ending(&mut self) {
        if let Some(launch) = &mut self.chosen {
            launch.ending();
        }
    }

    fn remove(&mut self) -> Result<(), Error> {
        self.chosen.as_mut().map_or(Ok(()), |launch| launch.remove())
    }
}
