//! Archives with very many entries, made while they are read: what they take is bounded, and what they make is right.

mod support;

use std::io::{self, Read};

use image::{ImportOptions, NoUsers, Silent};
use oci::Reference;
use support::{Scratch, is_root};

/// Bytes of the memory that taking in any archive may need.
const MOST_MEMORY: u64 = 150 << 20;
const ENTRIES: u64 = 1_000_000;
/// Entries where nobody asks for all of them (`cargo test -p image --release -- --ignored million`).
const FEWER: u64 = 150_000;
/// When everything in the archives was changed.
const MODIFIED: u64 = 0o14524770400;

/// A tar of so many entries, each from its number; nothing of it is kept.
struct Stream<F> {
    entries: u64,
    next: u64,
    entry: F,
    block: Vec<u8>,
    position: usize,
    ended: bool,
}

impl<F: FnMut(u64) -> (String, u8, String)> Stream<F> {
    fn new(entries: u64, entry: F) -> Self {
        Self { entries, next: 0, entry, block: Vec::new(), position: 0, ended: false }
    }

    /// The next header, or the two empty blocks at the end.
    fn refill(&mut self) {
        self.position = 0;
        self.block = vec![0; 512];
        if self.next == self.entries {
            self.block.resize(if self.ended { 0 } else { 1024 }, 0);
            self.ended = true;
            return;
        }
        let (path, kind, target) = (self.entry)(self.next);
        self.next += 1;
        self.block[..path.len()].copy_from_slice(path.as_bytes());
        self.block[100..108].copy_from_slice(if kind == b'5' { b"0000755\0" } else { b"0000644\0" });
        self.block[108..116].copy_from_slice(b"0000000\0");
        self.block[116..124].copy_from_slice(b"0000000\0");
        self.block[124..136].copy_from_slice(b"00000000000\0");
        self.block[136..148].copy_from_slice(format!("{MODIFIED:011o}\0").as_bytes());
        self.block[156] = kind;
        self.block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        self.block[257..265].copy_from_slice(b"ustar\x0000");
        self.block[148..156].fill(b' ');
        let sum: u64 = self.block.iter().map(|byte| u64::from(*byte)).sum();
        self.block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

impl<F: FnMut(u64) -> (String, u8, String)> Read for Stream<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.position == self.block.len() {
                self.refill();
                if self.block.is_empty() {
                    break;
                }
            }
            let length = (self.block.len() - self.position).min(buffer.len() - filled);
            buffer[filled..filled + length]
                .copy_from_slice(&self.block[self.position..self.position + length]);
            (self.position, filled) = (self.position + length, filled + length);
        }
        Ok(filled)
    }
}

/// A line of `/proc/self/status`, in bytes.
fn memory(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of memory");
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).expect("a number") << 10
}

/// Imports a stream on a file system in memory, and looks at what it took. A million inodes on a disk would take the time
/// of the disk, which says nothing about us.
fn import(
    name: &str,
    entries: u64,
    entry: impl FnMut(u64) -> (String, u8, String) + Send,
) -> Result<(), String> {
    let memory_disk = std::path::Path::new("/dev/shm");
    let scratch = Scratch::below(memory_disk, &format!("{name}-{entries}"));
    let images = scratch.open();
    let options = ImportOptions {
        reference: Some(Reference::parse("million").expect("a name")),
        ..ImportOptions::default()
    };
    // What earlier work of this process needed is not counted.
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak can be forgotten");
    let imported =
        images.import(Stream::new(entries, entry), &options, &Silent).map_err(|error| error.to_string());
    let peak = memory("VmHWM:");
    assert!(peak < MOST_MEMORY, "{name}: {peak} bytes of memory");
    println!("{name}: {} MB of memory at most, {imported:?}", peak >> 20);
    if imported.is_ok() {
        let image = images.runnable("million", None).expect("the image");
        let lower = images.lower_dirs(&image, &Silent).expect("its layer").remove(0);
        let first = std::fs::read_dir(lower).expect("the layer").next().expect("an entry").expect("an entry");
        let modified = first.metadata().expect("the entry").modified().expect("a time");
        assert_eq!(modified, std::time::UNIX_EPOCH + std::time::Duration::from_secs(MODIFIED));
    } else {
        assert!(images.resolve("million").is_err(), "no name of a part of an image");
        assert_eq!(
            images.disk_usage(&NoUsers).expect("the store can be read").layers,
            0,
            "no part of a layer"
        );
    }
    imported.map(drop)
}

fn take_in_entries(entries: u64) {
    // Names of one file: nothing but entries.
    let links = |number: u64| match number {
        0 => ("f".to_owned(), b'0', String::new()),
        _ => (format!("l{}", number % 30_000), b'1', "f".to_owned()),
    };
    import("million-links", entries, links).expect("hard links, again and again the same names");
    // The same directories over and over, deep in others, each with a time to be set at the end.
    let directories = |number: u64| match number {
        0 => ("d".repeat(60) + "/", b'5', String::new()),
        _ => (format!("{}/{}/{}/", "d".repeat(60), number % 100, number / 100 % 2000), b'5', String::new()),
    };
    import("million-directories", entries, directories).expect("directories");
}

#[test]
fn very_many_entries_are_taken_in_with_bounded_memory() {
    if is_root() {
        take_in_entries(FEWER);
    }
}

#[test]
#[ignore = "takes minutes where the program is not optimised"]
fn a_million_entries_are_taken_in_with_bounded_memory() {
    if is_root() {
        take_in_entries(ENTRIES);
    }
}

#[test]
fn marks_in_too_many_directories_are_refused() {
    if !is_root() {
        return;
    }
    let marks = |number: u64| match (number / 2, number % 2) {
        (directory, 0) => (format!("d{directory}/"), b'5', String::new()),
        (directory, _) => (format!("d{directory}/.wh.gone"), b'0', String::new()),
    };
    let words = import("million-marks", FEWER, marks).expect_err("too many marks");
    assert!(words.contains("marks something as removed in more than"), "{words}");
}
