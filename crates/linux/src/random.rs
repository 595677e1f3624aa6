//! Random bytes from the kernel (getrandom(2)).

use crate::Result;
use crate::error::Named;

/// Fills `buffer` with random bytes; blocks only until the kernel's generator is first seeded.
pub fn random_bytes(buffer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        let wanted = rest.len();
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
            .named(|| format!("getrandom({wanted})"))?;
    }
    Ok(())
}
