//! Device nodes, links and the terminal inside the root.

use std::path::Path;

use linux::at;
use linux::file::{self, Kind as Inode};
use linux::mount;
use linux::pty;
use std::os::unix::ffi::OsStrExt;

use super::{Inside, missing};
use crate::plan::Node;
use crate::{Error, Kind, Result};

/// The device number of the multiplexer of devpts.
const MULTIPLEXER: (u32, u32) = (5, 2);

impl Inside<'_> {
    pub(super) fn make_node(&self, node: &Node) -> Result<()> {
        let (parent, name) = self.root()?.parent_of(&node.path)?;
        let name = name.as_bytes();
        let wanted = match node.kind {
            'c' => at::Node::CharDevice(node.major, node.minor),
            'b' => at::Node::BlockDevice(node.major, node.minor),
            _ => at::Node::Fifo,
        };
        match at::make_node(&parent, name, wanted, node.mode) {
            Ok(()) => {}
            // The image may have it already, but only as exactly that.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let found = at::stat(&parent, name)?;
                let kind = match node.kind {
                    'c' => Inode::CharDevice,
                    'b' => Inode::BlockDevice,
                    _ => Inode::Fifo,
                };
                let same = found.is_some_and(|stat| {
                    stat.kind == kind
                        && (kind == Inode::Fifo || stat.device_number == (node.major, node.minor))
                });
                if !same {
                    return Err(Error::new(Kind::System, "something else is there already"));
                }
            }
            Err(error) => return Err(error.into()),
        }
        if (node.uid, node.gid) != (0, 0) {
            at::set_owner(&parent, name, node.uid, node.gid)?;
        }
        Ok(())
    }

    pub(super) fn bind_node(&mut self, source: usize, path: &Path) -> Result<()> {
        let device = self.take_source(source)?;
        let target = self.root()?.make_file(path, 0o644)?;
        Ok(mount::attach(device, target)?)
    }

    pub(super) fn link(&self, path: &Path, text: &str, replace: bool) -> Result<()> {
        let (parent, name) = self.root()?.parent_of(path)?;
        if replace {
            at::unlink(&parent, name.as_bytes())?;
        }
        match at::symlink(text.as_bytes(), &parent, name.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => Ok(other?),
        }
    }

    /// The terminal comes from the container's own devpts, and from nothing that only looks like it.
    pub(super) fn open_terminal(&mut self, size: Option<(u16, u16)>) -> Result<()> {
        let handle = self.root()?.handle(Path::new("/dev/pts/ptmx"))?;
        let stat = file::stat(&handle)?;
        if file::file_system_type(&handle)? != file::DEVPTS
            || stat.kind != Inode::CharDevice
            || stat.device_number != MULTIPLEXER
        {
            return Err(Error::new(Kind::System, "/dev/pts/ptmx in the container is not that of a devpts"));
        }
        let pair = pty::with_controller(self.procfs()?.open_handle(&handle)?)?;
        if self.plain_newlines {
            linux::terminal::pass_newlines(&pair.terminal)?;
        }
        if let Some((rows, columns)) = size {
            pty::set_size(&pair.controller, pty::Size { rows, columns })?;
        }
        self.terminal = Some(pair);
        Ok(())
    }

    pub(super) fn bind_console(&mut self) -> Result<()> {
        let pair = self.terminal.as_ref().ok_or_else(|| missing("terminal"))?;
        let console = mount::clone_fd(&pair.terminal, false)?;
        let target = self.root()?.make_file(Path::new("/dev/console"), 0o600)?;
        Ok(mount::attach(console, target)?)
    }
}
