//! Limits of disk space by project quota, on an ext4 of the test's own. The kernel must have quotas: `cargo xtask vm` has.

mod support;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use linux::mount;
use support::{Scratch, is_root, open};

/// A file system with projects, mounted until it is dropped.
struct Disk<'a>(&'a Path);

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        assert!(run(Command::new("umount").arg(self.0)), "the disk can be unmounted");
    }
}

fn run(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

/// Mounts an ext4 of 128 MB at `place`; `None` where this kernel has no quotas.
fn disk<'a>(file: &Path, place: &'a Path, options: &str) -> Option<Disk<'a>> {
    File::create(file).and_then(|file| file.set_len(128 << 20)).expect("a file for the disk");
    std::fs::create_dir(place).expect("a place for the disk");
    let mut make = Command::new("mkfs.ext4");
    make.args(["-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota"]).arg(file);
    if !run(&mut make) {
        println!("SKIP: no mkfs.ext4 that knows projects");
        return None;
    }
    if !run(Command::new("mount").args(["-t", "ext4", "-o", options]).arg(file).arg(place)) {
        println!("SKIP: this kernel cannot mount an ext4 with project quotas");
        return None;
    }
    Some(Disk(place))
}

/// Writes until something refuses: how many bytes that took, and the error's name.
fn fill(path: &Path, most: usize) -> (usize, String) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the file opens");
    let mut written = 0;
    while written < most {
        match file.write(&[7; 64 << 10]) {
            Ok(length) => written += length,
            Err(error) => return (written, format!("{:?}", error.kind())),
        }
    }
    (written, String::new())
}

#[test]
fn a_container_writes_no_more_than_its_limit() {
    const LIMIT: usize = 8 << 20;
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("quota");
    let (place, root) = (scratch.path.join("disk"), scratch.path.join("root"));
    let Some(disk) = disk(&scratch.path.join("disk.img"), &place, "loop,prjquota") else { return };
    let images = open(&place);
    assert!(images.quotas().are_supported());
    let limited = images.prepare_bare_snapshot("limited").expect("a snapshot");
    images.limit_snapshot("limited", LIMIT as u64).expect("a limit");
    let free = images.prepare_bare_snapshot("free").expect("a snapshot");
    let lower = place.join("lower");
    std::fs::create_dir(&lower).expect("a lower directory");
    std::fs::write(lower.join("big"), vec![1; 2 * LIMIT]).expect("a file below");
    std::fs::create_dir(&root).expect("a place for the root");
    let merged =
        linux::overlay::detached(&[&lower], Some((&limited.upper, &limited.work))).expect("an overlay");
    mount::attach(&merged, mount::open_path(&root).expect("the place")).expect("the overlay is mounted");
    let (written, error) = fill(&root.join("file"), 2 * LIMIT);
    assert!((LIMIT / 2..=LIMIT).contains(&written), "{written} bytes, then {error}");
    assert!(error == "StorageFull" || error == "QuotaExceeded", "{error}");
    // What is copied up counts as well.
    assert!(
        OpenOptions::new().append(true).open(root.join("big")).is_err(),
        "a file larger than the limit came up"
    );
    let (written, error) = fill(&free.upper.join("file"), 2 * LIMIT);
    assert_eq!((written, error.as_str()), (2 * LIMIT, ""), "another container is not limited");
    std::fs::remove_file(root.join("file")).expect("the file can be removed");
    let (written, _) = fill(&root.join("again"), LIMIT / 2);
    assert_eq!(written, LIMIT / 2, "what is removed may be used again");
    mount::detach(&root).expect("the overlay is unmounted");
    drop(merged);
    // The next one does not inherit the first one's project or limit.
    let first = linux::inode::project(File::open(&limited.upper).expect("upper")).expect("a project");
    images.remove_snapshot("limited").expect("it is removed");
    assert_eq!(linux::quota::get(File::open(&place).expect("the disk"), first).expect("its quota").limit, 0);
    let second = images.prepare_bare_snapshot("second").expect("a snapshot");
    images.limit_snapshot("second", 2 * LIMIT as u64).expect("a limit");
    let (written, _) = fill(&second.upper.join("file"), LIMIT + LIMIT / 2);
    assert_eq!(written, LIMIT + LIMIT / 2);
    drop(images);
    drop(disk);
}

#[test]
fn a_file_system_that_only_counts_is_not_relied_on() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("quota-counts");
    let place = scratch.path.join("disk");
    let Some(disk) = disk(&scratch.path.join("disk.img"), &place, "loop,noquota") else { return };
    let images = open(&place);
    assert!(!images.quotas().are_supported());
    drop(images);
    drop(disk);
}
