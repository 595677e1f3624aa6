//! Limits of disk space by project quota, on file systems of the test's own. The kernel must have quotas: `cargo xtask vm`
//! has those of ext4; those of XFS are tried where the kernel has them (CONFIG_XFS_QUOTA).

mod support;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use linux::mount;
use support::disk::{Disk, Make};
use support::{Scratch, is_root, open};

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
    limit_a_container(Make::Ext4);
}

#[test]
fn a_container_writes_no_more_than_its_limit_on_xfs() {
    limit_a_container(Make::Xfs);
}

fn limit_a_container(make: Make) {
    const LIMIT: usize = 8 << 20;
    if !is_root() {
        return;
    }
    let scratch = Scratch::new(&format!("quota-{make:?}"));
    let Some(disk) = Disk::mount(&scratch.path, make, "loop,prjquota") else { return };
    let (place, root) = (&disk.place, scratch.path.join("root"));
    let images = open(place);
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
    assert_eq!(linux::quota::get(File::open(place).expect("the disk"), first).expect("its quota").limit, 0);
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
    let Some(disk) = Disk::mount(&scratch.path, Make::Ext4, "loop,noquota") else { return };
    let images = open(&disk.place);
    assert!(!images.quotas().are_supported());
    drop(images);
    drop(disk);
}
