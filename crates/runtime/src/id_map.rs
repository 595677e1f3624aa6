//! User namespaces to map the ids of a mount by, for who has several threads and may not clone: a process of this binary
//! makes one and holds it until its input ends.
//!
//! ```text
//!  caller  starts ──────► waits for a byte ─► writes both maps ─► opens the namespace ─► closes the input
//!  holder           unshares, says a byte ─► waits for the end of its input ───────────────────────► ends
//! ```

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use linux::process::{self as kernel, namespace};
use linux::procfs::Procfs;
use oci::runtime::IdMapping;

use crate::error::While;
use crate::plan::id_maps;
use crate::sources::write_maps;
use crate::{Error, Kind, Result};

/// The role of the process that holds a namespace, as the first argument names it.
pub const ROLE: &str = "hold-user-namespace";

/// Makes a user namespace with these maps; `program` is this binary.
///
/// # Errors
/// Maps that the kernel does not take, and whatever keeps the process from starting.
pub fn open(program: &Path, users: &[IdMapping], groups: &[IdMapping]) -> Result<OwnedFd> {
    let maps = id_maps(users, groups, "mount")?;
    let mut holder = Command::new(program)
        .arg(ROLE)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&format!("start {}: {error}", program.display())))?;
    let made = take(&mut holder, |pid| {
        let procfs = Procfs::open()?;
        write_maps(&procfs, pid, &maps)?;
        Ok(procfs.namespace(pid, "user")?)
    });
    drop(holder.stdin.take());
    let ended = holder.wait().map_err(|error| failed(&error.to_string()))?;
    let namespace = made.during(|| "id map of a mount")?;
    if ended.success() { Ok(namespace) } else { Err(failed(&ended.to_string())) }
}

/// Waits until the holder has its namespace.
fn take(holder: &mut Child, act: impl FnOnce(u32) -> Result<OwnedFd>) -> Result<OwnedFd> {
    let mut byte = [0];
    let output = holder.stdout.as_mut().ok_or_else(|| failed("no output"))?;
    output.read_exact(&mut byte).map_err(|_| failed("no user namespace can be made"))?;
    act(holder.id())
}

fn failed(what: &str) -> Error {
    Error::new(Kind::System, format!("hold a user namespace: {what}"))
}

/// The holder: the exit code.
pub fn main() -> i32 {
    let hold = || -> std::io::Result<()> {
        kernel::unshare(namespace::USER).map_err(|error| std::io::Error::other(error.to_string()))?;
        std::io::stdout().write_all(b"+")?;
        std::io::stdout().flush()?;
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).map(drop)
    };
    match hold() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{ROLE}: {error}");
            1
        }
    }
}
