//! Extended attributes (xattr(7)) by file descriptor.
//!
//! A handle opened with O_PATH has no attribute calls of its own: those go through `/proc/self/fd`, whose links lead
//! to the inode of the handle and nowhere else.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::XattrFlags;

use crate::error::Named;
use crate::{Error, Result};

/// The kernel's limit for one value (XATTR_SIZE_MAX).
pub const MAX_VALUE_SIZE: usize = 65_536;

/// Sets an attribute of an open file.
pub fn set(fd: impl AsFd, name: &[u8], value: &[u8]) -> Result<()> {
    rustix::fs::fsetxattr(&fd, name, value, XattrFlags::empty()).named(|| call("fsetxattr", &fd, name))
}

/// Sets an attribute of what an O_PATH handle stands for: a device, a pipe, or a symbolic link itself.
pub fn set_of_handle(fd: impl AsFd, name: &[u8], value: &[u8]) -> Result<()> {
    rustix::fs::setxattr(link(&fd), name, value, XattrFlags::empty()).named(|| call("setxattr", &fd, name))
}

/// The value of an attribute of an open file; `None` when it has none of the name.
pub fn get(fd: impl AsFd, name: &[u8]) -> Result<Option<Vec<u8>>> {
    read(|buffer| rustix::fs::fgetxattr(&fd, name, buffer), || call("fgetxattr", &fd, name))
}

/// The value of an attribute of what an O_PATH handle stands for.
pub fn get_of_handle(fd: impl AsFd, name: &[u8]) -> Result<Option<Vec<u8>>> {
    read(|buffer| rustix::fs::getxattr(link(&fd), name, buffer), || call("getxattr", &fd, name))
}

/// The names of all attributes of an open file that the caller may see; none where the file system has none.
pub fn list(fd: impl AsFd) -> Result<Vec<Vec<u8>>> {
    names(|buffer| rustix::fs::flistxattr(&fd, buffer), || call("flistxattr", &fd, b""))
}

/// The names of all attributes of what an O_PATH handle stands for.
pub fn list_of_handle(fd: impl AsFd) -> Result<Vec<Vec<u8>>> {
    names(|buffer| rustix::fs::listxattr(link(&fd), buffer), || call("listxattr", &fd, b""))
}

/// Removes an attribute of an open file; `false` when there is none.
pub fn remove(fd: impl AsFd, name: &[u8]) -> Result<bool> {
    match rustix::fs::fremovexattr(&fd, name) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NODATA) => Ok(false),
        Err(errno) => Err(Error::new(call("fremovexattr", &fd, name), errno.raw_os_error())),
    }
}

fn link(fd: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

fn call(function: &str, fd: &impl AsFd, name: &[u8]) -> String {
    format!("{function}({}, {:?})", fd.as_fd().as_raw_fd(), String::from_utf8_lossy(name))
}

fn read(
    get: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    call: impl FnOnce() -> String,
) -> Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 256];
    loop {
        match get(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            Err(rustix::io::Errno::RANGE) if buffer.len() < MAX_VALUE_SIZE => {
                buffer.resize(MAX_VALUE_SIZE, 0)
            }
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(Error::new(call(), errno.raw_os_error())),
        }
    }
}

fn names(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    call: impl FnOnce() -> String,
) -> Result<Vec<Vec<u8>>> {
    let mut buffer = vec![0; 256];
    let length = loop {
        match list(&mut buffer) {
            Ok(length) => break length,
            Err(rustix::io::Errno::RANGE) if buffer.len() < MAX_VALUE_SIZE => {
                buffer.resize(MAX_VALUE_SIZE, 0)
            }
            Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(Error::new(call(), errno.raw_os_error())),
        }
    };
    Ok(buffer[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_set_listed_read_and_removed() {
        let path = std::env::temp_dir().join(format!("berth-test-{}-xattr", std::process::id()));
        let file = std::fs::File::create_new(&path).unwrap();
        match set(&file, b"user.berth", b"value") {
            Ok(()) => {
                let long = vec![7; 1000];
                set(&file, b"user.long", &long).unwrap();
                assert_eq!(get(&file, b"user.berth").unwrap(), Some(b"value".to_vec()));
                assert_eq!(get(&file, b"user.long").unwrap(), Some(long));
                assert!(list(&file).unwrap().contains(&b"user.berth".to_vec()));
                assert_eq!(get_of_handle(&file, b"user.berth").unwrap(), Some(b"value".to_vec()));
                assert!(remove(&file, b"user.berth").unwrap());
                assert!(!remove(&file, b"user.berth").unwrap());
                assert_eq!(get(&file, b"user.berth").unwrap(), None);
            }
            Err(error) => println!("SKIP: no extended attributes in the temporary directory: {error}"),
        }
        std::fs::remove_file(path).unwrap();
    }
}
