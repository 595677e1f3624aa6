//! What the kernel tests of this crate share: a store of a test's own, and a tar builder that can lie.
#![allow(clippy::allow_attributes, dead_code, reason = "every test binary uses a part of it")]

pub(crate) mod disk;

use std::path::{Path, PathBuf};

use image::{Images, Options};

/// A data root of a test's own, removed at its end.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }

    pub(crate) fn below(directory: &Path, name: &str) -> Self {
        let path = directory.join(format!("berth-test-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).expect("the test directory does not exist yet");
        Self { path }
    }

    pub(crate) fn open(&self) -> Images {
        open(&self.path.join("data"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.path).expect("the test directory can be removed");
    }
}

/// Opens the image store of a data root.
pub(crate) fn open(data_root: &Path) -> Images {
    open_with(data_root, |_| {})
}

/// Opens the image store of a data root with changed options.
pub(crate) fn open_with(data_root: &Path, change: impl FnOnce(&mut Options)) -> Images {
    let store = store::Store::open(&data_root.join("meta")).expect("the store opens");
    let mut options = Options::new(data_root).expect("the options are read");
    options.limits.keep_free = 0;
    change(&mut options);
    Images::open(store, options).expect("the image store opens").0
}

/// Whether the test can run here. Says why not; on CI it must.
pub(crate) fn is_root() -> bool {
    // The directory of a process belongs to its effective user.
    let uid =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("/proc is mounted"));
    if uid == 0 {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "the kernel tier needs root on CI");
    println!("SKIP: needs root");
    false
}

/// Whether a program from Debian's packages is here.
pub(crate) fn has_program(name: &str) -> bool {
    let found =
        std::env::var("PATH").unwrap_or_default().split(':').any(|dir| Path::new(dir).join(name).exists());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{name} must be installed on CI");
        println!("SKIP: {name} is not installed");
    }
    found
}

/// Builds tar archives header by header, right or wrong.
#[derive(Default, Clone)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// An entry with everything given; the checksum is right.
    pub(crate) fn raw(mut self, path: &str, flag: u8, target: &str, mode: u32, content: &[u8]) -> Self {
        let mut block = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, path.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, format!("{:011o}\0", 1_600_000_000).as_bytes());
        put(148, b"        ");
        put(156, &[flag]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        put(329, b"0000000\0");
        put(337, b"0000000\0");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.raw(path, b'0', "", 0o644, content)
    }

    pub(crate) fn dir(self, path: &str, mode: u32) -> Self {
        self.raw(path, b'5', "", mode, b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(path, b'2', target, 0o777, b"")
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        self.raw(path, b'1', target, 0o644, b"")
    }

    /// PAX records for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest;
            while rest + length.to_string().len() != length {
                length = rest + length.to_string().len();
            }
            body.extend_from_slice(format!("{length} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.raw("pax", b'x', "", 0o644, &body)
    }

    /// The archive with its end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// Everything below a directory as text, one line each: kind, mode, owner, size or target, path.
pub(crate) fn listing(root: &Path) -> String {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    fn walk(root: &Path, path: &Path, lines: &mut Vec<String>) {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
            .expect("a directory can be read")
            .map(|e| e.expect("an entry").path())
            .collect();
        entries.sort();
        for entry in entries {
            let facts = std::fs::symlink_metadata(&entry).expect("an entry can be looked at");
            let kind = facts.file_type();
            let what = if kind.is_dir() {
                "dir".to_owned()
            } else if kind.is_symlink() {
                format!("link -> {}", std::fs::read_link(&entry).expect("a link can be read").display())
            } else if kind.is_char_device() {
                format!("char {}", facts.rdev())
            } else if kind.is_block_device() {
                format!("block {}", facts.rdev())
            } else if kind.is_fifo() {
                "fifo".to_owned()
            } else {
                format!("file {}", facts.len())
            };
            let shown = entry.strip_prefix(root).expect("below the root").display().to_string();
            let (mode, uid, gid) = (facts.mode() & 0o7777, facts.uid(), facts.gid());
            lines.push(format!("{shown} {what} {mode:o} {uid}:{gid}"));
            if kind.is_dir() {
                walk(root, &entry, lines);
            }
        }
    }
    let mut lines = Vec::new();
    walk(root, root, &mut lines);
    lines.join("\n")
}

/// An image of the given layers (tars), as a docker-archive.
pub(crate) fn docker_archive(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    docker_archive_of(name, layers, "2026-01-02T03:04:05Z")
}

/// The same, made at a moment (RFC 3339).
pub(crate) fn docker_archive_of(name: &str, layers: &[Vec<u8>], created: &str) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| image::digest_of(layer).to_string()).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": created,
        "config": {"Cmd": ["/bin/sh"], "Labels": {"made-by": "test"}},
        "rootfs": {"type": "layers", "diff_ids": ids},
        "history": ids.iter().map(|id| serde_json::json!({"created_by": id})).collect::<Vec<_>>(),
    })
    .to_string();
    let mut tar = Tar::new().file("config.json", config.as_bytes());
    let mut paths = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let path = format!("{number}/layer.tar");
        tar = tar.file(&path, layer);
        paths.push(path);
    }
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [name], "Layers": paths}]).to_string();
    tar.file("manifest.json", manifest.as_bytes()).end()
}
