//! Counters parsed from recorded control files.

use std::path::PathBuf;

use linux::dir::Dir;

use super::*;

/// A directory of files made for one test.
struct Files(PathBuf);

impl Files {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("berth-test-{}-stats-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        for (file, content) in files {
            std::fs::write(path.join(file), content).unwrap();
        }
        Self(path)
    }

    fn dir(&self) -> Dir {
        Dir::open(&self.0).unwrap()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn entry(major: u64, minor: u64, operation: &str, value: u64) -> BlkioEntry {
    BlkioEntry { major, minor, operation: operation.to_owned(), value }
}

#[test]
fn io_of_v2_is_told_apart_by_operation() {
    let files = Files::new(
        "io",
        &[(
            "io.stat",
            "254:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0 cost.usage=5\n259:1 \n8:0 cost.vrate=100.00\n",
        )],
    );
    let stats = v2::io(&files.dir()).unwrap();
    let bytes = [entry(254, 0, "read", 4096), entry(254, 0, "write", 512), entry(254, 0, "discard", 0)];
    let operations = [entry(254, 0, "read", 2), entry(254, 0, "write", 1), entry(254, 0, "discard", 0)];
    assert_eq!((stats.service_bytes.as_slice(), stats.serviced.as_slice()), (&bytes[..], &operations[..]));
}

#[test]
fn memory_of_v2_has_no_limit_when_it_says_max() {
    let files = Files::new(
        "memory",
        &[
            ("memory.current", "8192\n"),
            ("memory.peak", "12288\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "anon 4096\nfile 0\ninactive_file 100\n"),
            ("memory.events", "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n"),
        ],
    );
    let stats = v2::memory(&files.dir()).unwrap();
    let memory = MemoryUsage { usage: 8192, max_usage: 12288, limit: None, failures: 2 };
    assert_eq!((stats.memory, stats.swap), (memory, None));
    assert_eq!((stats.stat["inactive_file"], stats.events["oom_kill"]), (100, 1));
}

#[test]
fn time_of_v2_is_in_nanoseconds() {
    let files =
        Files::new("cpu", &[("cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\nthrottled_usec 5\n")]);
    let stats = v2::cpu(&files.dir()).unwrap();
    assert_eq!(
        (stats.total_nanos, stats.user_nanos, stats.kernel_nanos, stats.throttled_nanos),
        (30_000, 20_000, 10_000, 5_000)
    );
}

#[test]
fn rdma_reads_the_same_on_both_versions() {
    let files = Files::new(
        "rdma",
        &[
            ("rdma.current", "mlx4_0 hca_handle=2 hca_object=20\n"),
            ("rdma.max", "mlx4_0 hca_handle=3 hca_object=max\nocrdma1 hca_handle=max hca_object=max\n"),
        ],
    );
    let mut stats = Stats::default();
    v1::rdma(&files.dir(), &mut stats).unwrap();
    let used = RdmaStats { handles: 2, objects: 20, handle_limit: Some(3), object_limit: None };
    assert_eq!((stats.rdma["mlx4_0"].clone(), stats.rdma["ocrdma1"].clone()), (used, RdmaStats::default()));
}

#[test]
fn a_file_that_makes_no_sense_is_named_with_the_line() {
    let files = Files::new("bad", &[("cpu.stat", "usage_usec many\n")]);
    let error = v2::cpu(&files.dir()).unwrap_err().to_string();
    assert!(error.ends_with("cpu.stat\": cannot make sense of \"many\""), "{error}");
}
