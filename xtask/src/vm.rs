//! `cargo xtask vm`: what the machine's own kernel may not have is tested in a virtual machine that is made here.
//!
//! The guest is a small Debian with Debian's cloud kernel: cgroup v2 with every controller, systemd, AppArmor. It has no
//! network; qemu emulates the processor, so that it is the same guest everywhere.
//!
//! ```text
//! image    Debian's packages ──debootstrap──► root.img, kernel, initramfs        kept under target/fixtures/vm
//! payload  test programs, berth, xtask, steps.json ──mke2fs -d──► payload.img    made each time
//! machine  boot "plain" (init is our script), boot "systemd" (systemd is process 1)
//! guest       xtask inside vm BOOT: runs the steps of that boot ──serial line──► verdicts, printed and counted
//! ```
//!
//! The images are opened with snapshot=on: whatever the guest does to them is forgotten.

mod cpio;
mod guest;
mod image;
mod machine;
mod payload;
mod step;

pub(crate) use guest::run_inside;

use crate::{packages, unstable, workspace};
use anyhow::{Result, bail};
use image::Image;
use machine::{Ended, Outcome};
use std::path::Path;
use std::time::Instant;
use step::Boot;

/// qemu for the guest, and what makes its images.
const PACKAGES: &[&str] = &["busybox-static", "debootstrap", "e2fsprogs", "kmod", "qemu-system-x86"];

/// How often a boot is tried whose machine stands still.
const BOOTS: usize = 3;

/// Builds what is missing, boots, and fails if a step fails. Only steps whose names contain one of the words are run.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let failed = failed_steps(words)?;
    if !failed.is_empty() {
        bail!("failed in the virtual machine:\n  {}", failed.join("\n  "));
    }
    Ok(())
}

/// All steps, and the few that failed once more in a machine of their own.
pub(crate) fn run_twice() -> Result<()> {
    let failed = failed_steps(&[])?;
    if failed.is_empty() {
        return Ok(());
    }
    if failed.len() > unstable::LOOKS {
        bail!("failed in the virtual machine:\n  {}", failed.join("\n  "));
    }
    // What was said of a step begins with its name.
    let names: Vec<String> =
        failed.iter().filter_map(|said| said.split(' ').next()).map(str::to_owned).collect();
    run(&names)?;
    failed.iter().try_for_each(|said| unstable::note(&format!("vm: {said}")))
}

/// The names of the steps that failed.
fn failed_steps(words: &[String]) -> Result<Vec<String>> {
    packages::install(PACKAGES)?;
    let began = Instant::now();
    let image = image::prepare()?;
    eprintln!("==> the guest's system: ready after {:.1} s", began.elapsed().as_secs_f64());
    let built = payload::build(&step::tests(&workspace::packages()?, words))?;
    let steps = step::plan(&built, words);
    if steps.is_empty() {
        bail!("no step of the virtual machine has a name that contains one of {words:?}");
    }
    let payload = payload::pack(&built, &steps)?;
    let mut failed = Vec::new();
    for boot in Boot::ALL {
        let count = steps.iter().filter(|step| step.boot == boot).count();
        if count == 0 {
            continue;
        }
        let outcome = boot_until_finished(&image, &payload, boot)?;
        if outcome.passed + outcome.failed.len() < count {
            bail!("the guest ({boot}) said nothing about some of its {count} steps");
        }
        failed.extend(outcome.failed);
    }
    println!("vm: {} steps, {} failed, {:.0} s", steps.len(), failed.len(), began.elapsed().as_secs_f64());
    Ok(failed)
}

/// Boots again when the emulated machine itself stood still, which no step can cause; the steps all begin anew.
fn boot_until_finished(image: &Image, payload: &Path, boot: Boot) -> Result<Outcome> {
    let mut still = Vec::new();
    for _ in 0..BOOTS {
        match machine::run(image, payload, boot)? {
            Ended::Finished(outcome) => return Ok(outcome),
            Ended::StoodStill(why) => {
                eprintln!("==> the guest ({boot}) stood still: {why}");
                still.push(why);
            }
        }
    }
    bail!("the guest ({boot}) stood still {BOOTS} times; at last: {}", still.pop().unwrap_or_default());
}
