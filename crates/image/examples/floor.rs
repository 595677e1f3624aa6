//! What this machine needs at least for the parts of an engine's work: printed as `name<TAB>number` lines for
//! `cargo xtask bench`, which puts them beside its figures.
//!
//! ```text
//! floor ROOT SCRATCH BLOB…      ROOT: a tree with bin/busybox; SCRATCH: an empty directory on the disk; BLOB: gzip files
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use linux::process::{self, Strings, namespace};
use linux::{child, mount, netlink, overlay};
use sha2::{Digest, Sha256};

type Failure = Box<dyn std::error::Error>;

/// How often the short steps are repeated; the median counts.
const TIMES: usize = 60;
/// The namespaces of a container.
const NAMESPACES: u64 =
    namespace::MOUNT | namespace::UTS | namespace::IPC | namespace::PID | namespace::NETWORK;

fn main() -> Result<(), Failure> {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [root, scratch, blobs @ ..] = words.as_slice() else {
        return Err("floor ROOT SCRATCH BLOB…".into());
    };
    // Everything that clones comes first: it is only sound with one thread, and this program has no other.
    say("clone3 and exit, us", micros(median(|| clone(0, || 0))?));
    say("clone3 with five namespaces and exit, us", micros(median(|| clone(NAMESPACES, || 0))?));
    say("clone3 and exec of a static program, us", micros(median(|| clone(0, || execute("/bin/busybox")))?));
    say("container, us", micros(median(|| container(root, scratch))?));
    process::unshare(namespace::NETWORK)?;
    say(
        "veth pair made and removed, us",
        micros(median(|| veth(&netlink::Socket::open(netlink::Family::Route)?))?),
    );
    let (time, processor) = small_files(scratch)?;
    say("small file made, us", time);
    say("small file made, us of processor time", processor);
    let (disk, processor) = disk(scratch)?;
    say("disk, MB/s", disk);
    say("disk, MB/s of processor time", processor);
    let began = processor_time()?;
    let (packed, inflated) = inflate(blobs)?;
    say("gzip inflate, MB/s", rate(inflated, processor_time()?.saturating_sub(began)));
    let began = processor_time()?;
    hash(inflated)?;
    say("sha256, MB/s", rate(inflated, processor_time()?.saturating_sub(began)));
    say("packed bytes", packed as f64);
    say("inflated bytes", inflated as f64);
    Ok(())
}

fn say(name: &str, value: f64) {
    println!("{name}\t{value:.1}");
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

fn median(mut act: impl FnMut() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        act()?;
        times.push(began.elapsed());
    }
    times.sort();
    Ok(times[TIMES / 2])
}

/// Makes a process, and waits for its end.
fn clone(namespaces: u64, body: impl FnOnce() -> i32) -> Result<(), Failure> {
    let made = process::clone_into(namespaces, None, body)?;
    match child::wait(made.pidfd)? {
        Some(child::How::Exited(0)) => Ok(()),
        how => Err(format!("the process ended so: {how:?}").into()),
    }
}

fn execute(program: &str) -> i32 {
    let (Ok(path), Some(arguments), Some(environment)) =
        (std::ffi::CString::new(program), Strings::new([program, "true"]), Strings::new([]))
    else {
        return 2;
    };
    process::execute(&path, &arguments, &environment);
    1
}

/// The least that any engine does for a container: a process in namespaces, a root of its own, a program in it.
fn container(root: &Path, scratch: &Path) -> Result<(), Failure> {
    let (upper, work) = (scratch.join("upper"), scratch.join("work"));
    std::fs::create_dir_all(&upper)?;
    std::fs::create_dir_all(&work)?;
    clone(NAMESPACES, || {
        let inside = || -> linux::Result<()> {
            let tree = overlay::detached(&[root], Some((&upper, &work)))?;
            // Nothing of it may reach the mounts outside.
            let slash = mount::open_path(Path::new("/"))?;
            let change =
                mount::Change { propagation: Some(mount::Propagation::Private), ..Default::default() };
            mount::change(&slash, true, &change)?;
            mount::attach(&tree, &slash)?;
            mount::set_working_dir_to(&tree)?;
            mount::pivot_into_working_dir()
        };
        match inside() {
            Ok(()) => execute("/bin/busybox"),
            Err(error) => {
                eprintln!("{error}");
                3
            }
        }
    })
}

/// RTM_NEWLINK of a pair of links, and RTM_DELLINK of it.
fn veth(socket: &netlink::Socket) -> Result<(), Failure> {
    const NEW: (u16, u16) = (16, 0x605);
    const DELETE: (u16, u16) = (17, 0x5);
    let name = attribute(3, b"floor0\0");
    let kind = attribute(1, b"veth\0");
    let new = [name.clone(), attribute(18, &kind)].concat();
    for ((kind, flags), attributes) in [(NEW, new), (DELETE, name)] {
        let length = u32::try_from(16 + 16 + attributes.len())?;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        // Sequence, port, and an empty ifinfomsg.
        message.extend([0; 8 + 16]);
        message.extend(attributes);
        socket.send(&message)?;
        let answer = socket.receive()?;
        let errno = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
        if errno != Some(0) {
            return Err(format!("netlink answers {errno:?}").into());
        }
    }
    Ok(())
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Processor time that this thread has used. What is compared with an engine's processor time must not count the time in
/// which others had the processor.
fn processor_time() -> Result<Duration, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let used = text.split_whitespace().next().ok_or("schedstat is empty")?;
    Ok(Duration::from_nanos(used.parse()?))
}

/// Microseconds for a file of 4 KiB with mode and times, as unpacking makes them: by the clock, and of the processor.
fn small_files(scratch: &Path) -> Result<(f64, f64), Failure> {
    const COUNT: u32 = 4000;
    let directory = scratch.join("files");
    std::fs::create_dir(&directory)?;
    let handle = File::open(&directory)?;
    let (began, used) = (Instant::now(), processor_time()?);
    for number in 0..COUNT {
        let mut file = File::from(linux::at::create(&handle, format!("f{number}").as_bytes(), 0o644)?);
        file.write_all(&[7; 4096])?;
        let time = linux::file::Time { seconds: 1_000_000_000, nanoseconds: 0 };
        linux::file::set_times(&file, time, time)?;
    }
    let (time, used) = (began.elapsed(), processor_time()?.saturating_sub(used));
    std::fs::remove_dir_all(&directory)?;
    Ok((micros(time) / f64::from(COUNT), micros(used) / f64::from(COUNT)))
}

/// Megabytes per second into one file, until they are on the disk: by the clock, and of the processor.
fn disk(scratch: &Path) -> Result<(f64, f64), Failure> {
    let path = scratch.join("disk");
    let block = vec![7; 1 << 20];
    let (began, used) = (Instant::now(), processor_time()?);
    let mut file = File::create(&path)?;
    for _ in 0..256 {
        file.write_all(&block)?;
    }
    linux::file::sync_data(file.as_fd())?;
    let (time, used) = (began.elapsed(), processor_time()?.saturating_sub(used));
    std::fs::remove_file(&path)?;
    Ok((rate(256 << 20, time), rate(256 << 20, used)))
}

/// Inflates the blobs into nothing.
fn inflate(blobs: &[PathBuf]) -> Result<(u64, u64), Failure> {
    let mut buffer = vec![0; 256 << 10];
    let (mut packed, mut inflated) = (0, 0);
    for blob in blobs {
        let file = File::open(blob)?;
        packed += file.metadata()?.len();
        let mut decoder = MultiGzDecoder::new(file);
        loop {
            let length = decoder.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            inflated += length as u64;
        }
    }
    Ok((packed, inflated))
}

/// Hashes so many bytes.
fn hash(mut left: u64) -> Result<(), Failure> {
    let buffer = vec![7; 256 << 10];
    let mut hasher = Sha256::new();
    while left > 0 {
        let length = usize::try_from(left)?.min(buffer.len());
        hasher.update(&buffer[..length]);
        left -= length as u64;
    }
    std::hint::black_box(hasher.finalize());
    Ok(())
}
