//! Running the parts of something one after the other: each is said to be well or not, and begins with a daemon that runs
//! and has nothing of the one before.

use super::ground::Ground;
use anyhow::Result;

/// Runs each part; one that goes well has nothing to add, or some words. How many failed.
pub(super) fn run<P: Copy>(
    ground: &mut Ground,
    parts: &[(&str, P)],
    mut each: impl FnMut(&mut Ground, P) -> Result<String>,
) -> Result<usize> {
    let mut failed = 0;
    for (what, part) in parts {
        match each(ground, *part) {
            Ok(words) if words.is_empty() => println!("ok      {what}"),
            Ok(words) => println!("ok      {what}: {words}"),
            Err(error) => {
                println!("FAILED  {what}: {error:#}");
                failed += 1;
                drop(ground.daemon.kill_hard());
                ground.revive()?;
            }
        }
        ground.api.clear()?;
    }
    Ok(failed)
}
