//! Loss of power at each step of an operation: what was not synced is lost or torn, no process is left, and the machine is
//! another boot of itself. What was acknowledged is there, what is there can be used, and `system check` has nothing to say
//! once it has repaired what it can.

mod disk;
mod ends;
mod moments;

use super::api::Api;
use super::ground::Ground;
use super::halted::Halted;
use super::operations::{Operation, Side};
use super::random::Random;
use super::steps::observed;
use anyhow::{Context, Result, ensure};
use disk::Disk;
use moments::Moment;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The operations whose outcome is on the disk; what runs is gone with the power anyway.
pub(super) const KEPT: &[&str] = &[
    "create",
    "create with volumes",
    "remove",
    "remove by force",
    "volume create",
    "volume remove",
    "volume import",
    "volume import --replace",
    "volume clone",
    "volume rename",
    "network create",
    "network remove",
    "network connect of one that does not run",
    "network disconnect of one that does not run",
    "update of the restart policy",
    "import",
    "image load",
    "tag",
    "untag",
    "image remove",
    "pull",
    "pull of a name that moves",
    "tag of a name that moves",
    "commit",
    "container prune",
    "volume prune",
    "network prune",
    "image prune",
];

/// Those that bring content. What of it was verified and safe is there once they were acknowledged; what a pull brought
/// before is as well, since the next attempt goes on there. The others begin with an archive or a container again: what
/// they brought before they had a name for it is nobody's.
const BRINGING: &[&str] = &["import", "image load", "pull", "commit"];

/// The file that tells one boot of a machine from another.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Cuts the power at the steps of each operation, at most `limit` of them; how many tries went wrong.
pub(super) fn run(
    ground: &mut Ground,
    operations: &[Operation],
    limit: Option<usize>,
    random: &mut Random,
) -> Result<usize> {
    let boot = Boot::fake(&ground.daemon.setup().directory)?;
    let mut failed = 0;
    for operation in operations.iter().filter(|operation| KEPT.contains(&operation.name)) {
        let steps = super::steps::steps_of(ground, operation)?;
        let moments = moments::choose(&steps, &ground.daemon.setup().data_root(), limit, random);
        let (mut wrong, mut repairs) = (0, 0);
        for moment in &moments {
            match attempt(ground, &boot, operation, *moment, random) {
                Ok(repaired) => repairs += repaired,
                Err(error) => {
                    let (at, loss) = moment;
                    println!(
                        "FAILED  {}, {loss:?} at step {at} of about {}: {error:#}",
                        operation.name,
                        steps.len()
                    );
                    wrong += 1;
                    ground.begin_anew()?;
                }
            }
        }
        let verdict = if wrong == 0 { "ok    " } else { "FAILED" };
        println!(
            "{verdict}  loss of power during {}: {} moments of about {} steps, {repairs} repairs, {wrong} wrong",
            operation.name,
            moments.len(),
            steps.len()
        );
        failed += wrong;
    }
    failed += ends::run(ground, &boot, limit, random)?;
    boot.close()?;
    Ok(failed)
}

/// What a loss of power was.
struct Lost {
    /// What the client was told.
    made: Result<()>,
    /// Before which step it was.
    place: String,
    /// Blobs that were whole afterwards.
    verified: Vec<String>,
    /// How many things `system check` had to repair.
    repaired: usize,
}

/// Does something, loses the power meanwhile, and brings the daemon back on another boot of the machine. What `processes`
/// sync is safe, the daemon's first.
fn lose(
    ground: &mut Ground,
    boot: &Boot,
    processes: &[u32],
    (at, loss): Moment,
    act: fn(&Api) -> Result<()>,
    random: &mut Random,
) -> Result<Lost> {
    let directory = ground.daemon.setup().directory.clone();
    let root = ground.daemon.setup().data_root();
    // What is safe is one moment's: the daemon may be about something of its own.
    let halted = Halted::halt(ground.daemon.pid())?;
    let mut disk = Disk::all_safe(&root, &directory.join("shelf"))?;
    let (made, steps) = observed(
        processes,
        at,
        |entry, call| disk.see(entry, call),
        || {
            halted.go_on()?;
            act(&ground.api)
        },
    )?;
    let place = steps.get(at - 1).map_or("after the answer".to_owned(), |step| format!("before {step}"));
    ground.cut_power().with_context(|| place.clone())?;
    let after = directory.join("data-after");
    disk.after(loss, &after, random).with_context(|| place.clone())?;
    let gone = directory.join("data-gone");
    std::fs::rename(&root, &gone)?;
    std::fs::rename(&after, &root)?;
    std::fs::remove_dir_all(&gone)?;
    boot.again(random)?;

    let verified = verified_blobs(&root)?;
    let repaired = check_and_repair(ground).with_context(|| place.clone())?;
    let is_lost = || std::fs::exists(root.join("records/records.redb.damaged-1")).unwrap_or(false);
    ensure!(!is_lost(), "{place}: the database could not be opened");
    ground.revive().context("the daemon does not come back").with_context(|| place.clone())?;
    Ok(Lost { made, place, verified, repaired })
}

/// One loss; how many things `system check` had to repair.
fn attempt(
    ground: &mut Ground,
    boot: &Boot,
    operation: &Operation,
    moment: Moment,
    random: &mut Random,
) -> Result<usize> {
    (operation.prepare)(&ground.api).context("prepare")?;
    let daemon = ground.daemon.pid();
    let Lost { made, place, verified, repaired } =
        lose(ground, boot, &[daemon], moment, operation.act, random)?;
    let side = (operation.judge)(&ground.api).with_context(|| place.clone())?;
    let is_kept = side == Side::After || operation.name == "pull";
    if is_kept && BRINGING.contains(&operation.name) {
        let now = verified_blobs(&ground.daemon.setup().data_root())?;
        let lost: Vec<_> = verified.iter().filter(|blob| !now.contains(blob)).collect();
        ensure!(lost.is_empty(), "{place}: verified content is gone: {lost:?}");
    }
    ensure!(made.is_err() || side == Side::After, "{place}: acknowledged, and lost");
    (operation.finish)(&ground.api, side).with_context(|| format!("{place}: working on, {side:?}"))?;
    let left = ground.leftovers()?;
    ensure!(left.is_empty(), "{place}: left behind:\n        {}", left.join("\n        "));
    Ok(repaired)
}

/// `system check` while there is no daemon: what it finds it repairs, and then finds nothing. How many repairs.
fn check_and_repair(ground: &Ground) -> Result<usize> {
    let (clean, _) = check(ground, &[])?;
    if clean {
        return Ok(0);
    }
    let (_, text) = check(ground, &["--repair"])?;
    let (clean, left) = check(ground, &[])?;
    ensure!(clean, "`system check` still says after a repair ({text}): {left}");
    Ok(text.lines().filter(|line| line.starts_with("repaired:")).count())
}

/// Whether `system check` has nothing to say, and what it says.
pub(super) fn check(ground: &Ground, arguments: &[&str]) -> Result<(bool, String)> {
    let setup = ground.daemon.setup();
    let output = Command::new(&setup.program)
        .args(["system", "check", "--data-root"])
        .arg(setup.data_root())
        .args(arguments)
        .output()?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), text))
}

/// The blobs whose content is what their name says.
fn verified_blobs(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join("blobs/sha256")).context("blobs")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let sum: String =
            Sha256::digest(std::fs::read(entry.path())?).iter().map(|byte| format!("{byte:02x}")).collect();
        if sum == name {
            found.push(name);
        }
    }
    Ok(found)
}

/// A boot ID of our own, mounted over the kernel's in this mount namespace.
pub(super) struct Boot {
    file: PathBuf,
}

impl Boot {
    pub(super) fn fake(directory: &Path) -> Result<Self> {
        // Beside the daemon's directory: it is none of what a daemon may leave behind.
        let file = directory.with_file_name("boot-id");
        std::fs::write(&file, std::fs::read(BOOT)?)?;
        let status = Command::new("mount").arg("--bind").arg(&file).arg(BOOT).status().context("mount")?;
        ensure!(status.success(), "mount over {BOOT}: {status}");
        Ok(Self { file })
    }

    /// The machine starts again.
    pub(super) fn again(&self, random: &mut Random) -> Result<()> {
        let mut part = |limit: usize| random.below(limit);
        let text = format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}\n",
            part(1 << 32),
            part(1 << 16),
            part(1 << 12),
            part(1 << 12),
            part(1 << 48)
        );
        Ok(std::fs::write(&self.file, text)?)
    }

    pub(super) fn close(self) -> Result<()> {
        let status = Command::new("umount").arg(BOOT).status().context("umount")?;
        ensure!(status.success(), "umount {BOOT}: {status}");
        Ok(())
    }
}
