//! Anonymous files in memory that nobody can change any more (memfd_create(2), F_ADD_SEALS).

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags};

use crate::Result;
use crate::error::Named;

/// A file with this content, sealed: whoever is given it can rely on what is in it. Close-on-exec.
pub fn sealed(name: &str, content: &[u8]) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create(name, flags)
        .named(|| format!("memfd_create({name:?}, MFD_CLOEXEC|MFD_ALLOW_SEALING)"))?;
    let mut file = File::from(fd);
    file.write_all(content)
        .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
        .named(|| format!("write(memfd {name:?}, {} bytes)", content.len()))?;
    let fd = OwnedFd::from(file);
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&fd, seals)
        .named(|| "fcntl(memfd, F_ADD_SEALS, F_SEAL_SEAL|F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_WRITE)")?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_sealed_file_keeps_its_content() {
        let file = File::from(sealed("berth-test", b"content").unwrap());
        let mut bytes = [0; 7];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"content");
        assert!(file.write_at(b"x", 0).is_err());
        assert!(file.set_len(0).is_err());
    }
}
