//! What reads archives of others, fed with mutated seeds: reading, unpacking, inflating, loading, changes of a commit.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use linux::file::Time;

use crate::tar::{Entry, EntryKind, Header, Reader, Writer};
use crate::testing::Scratch;
use crate::unpack::Base;
use crate::{Error, Images, Limits, LoadOptions, Options, Result, Silent};

/// One of everything that a layer may have, and what layers that attack have.
fn layers() -> Vec<Vec<u8>> {
    let file = || EntryKind::File { sparse: None };
    let link = |target: &str| EntryKind::Symlink(target.into());
    let hard = |target: &str| EntryKind::HardLink(target.into());
    let usual = [
        ("d/", EntryKind::Dir, ""),
        ("d/file", file(), "some content"),
        ("d/link", link("file"), ""),
        ("d/hard", hard("d/file"), ""),
        ("d/fifo", EntryKind::Fifo, ""),
        ("d/null", EntryKind::CharDevice(1, 3), ""),
        ("d/.wh.gone", file(), ""),
        ("e/.wh..wh..opq", file(), ""),
    ];
    let hostile = [
        ("out", link("../outside"), ""),
        ("out/file", file(), "x"),
        ("abs", link("/../../outside"), ""),
        ("abs/d/", EntryKind::Dir, ""),
        ("h", hard("../outside/file"), ""),
        ("h", file(), "changed"),
        ("d/../../file", file(), "x"),
        (".wh...", file(), ""),
        ("", EntryKind::Dir, ""),
    ];
    vec![archive(&usual), archive(&hostile), archive(&[])]
}

fn archive(entries: &[(&str, EntryKind, &str)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (path, kind, content) in entries {
        let xattrs = [(b"user.a".to_vec(), b"=\n".to_vec())];
        let header = Header {
            path: path.as_bytes(),
            kind,
            mode: 0o755,
            uid: 0,
            gid: 3_000_000,
            modified: Time { seconds: 1_700_000_000, nanoseconds: 5 },
            size: content.len() as u64,
            xattrs: if path.ends_with("file") { &xattrs } else { &[] },
        };
        writer.begin(&header).expect("a header");
        writer.write(content.as_bytes()).expect("content");
    }
    writer.finish().expect("an archive")
}

/// With right checksums a change reaches the decisions behind them.
fn with_right_checksums(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

fn small_limits() -> Limits {
    Limits { max_entries: 1000, max_layer_size: 1 << 20, keep_free: 0, ..Limits::default() }
}

#[test]
fn tar() {
    let read = |input: &[u8]| -> Result<Vec<Entry>> {
        let mut reader = Reader::new(input, "it", &Limits::default());
        let mut entries = Vec::new();
        while let Some(entry) = reader.next()? {
            reader.read_all(1 << 20)?;
            entries.push(entry);
        }
        Ok(entries)
    };
    fuzz::bytes("tar", &layers(), |input| {
        drop(read(input));
        read(&with_right_checksums(input))
    });
}

#[test]
fn unpack() {
    if std::fs::metadata("/proc/self").expect("/proc is mounted").uid() != 0 {
        println!("SKIP: needs root");
        return;
    }
    let scratch = Scratch::new("fuzz-unpack");
    let outside = scratch.path.join("outside");
    std::fs::create_dir(&outside).expect("a directory");
    std::fs::write(outside.join("file"), "untouched").expect("a file");
    for base in [Base::Alone, Base::Tree] {
        fuzz::bytes("unpack", &layers(), |input| {
            let root = scratch.path.join("root");
            std::fs::create_dir(&root).expect("a directory");
            let handle: OwnedFd = std::fs::File::open(&root).expect("the directory").into();
            let bytes = with_right_checksums(input);
            let limits = small_limits();
            let done =
                crate::unpack::unpack(&mut Reader::new(&*bytes, "it", &limits), handle, base, &limits, "it");
            assert_eq!(names(&scratch.path), ["outside", "root"], "something was made outside");
            assert_eq!(names(&outside), ["file"], "something was made outside");
            assert_eq!(std::fs::read_to_string(outside.join("file")).expect("the file"), "untouched");
            std::fs::remove_dir_all(&root).expect("what was unpacked can be removed");
            done
        });
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory can be read");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).expect("memory takes everything");
    writer.finish().expect("an end")
}

#[test]
fn inflate() {
    let layer = layers().swap_remove(0);
    let twice = [gzip(&layer), gzip(b"more")].concat();
    let zstd = zstd::encode_all(&*layer, 3).expect("memory takes everything");
    fuzz::bytes("inflate", &[gzip(&layer), twice, zstd, layer], |input| -> Result<usize> {
        let limits = small_limits();
        let passed = crate::pipeline::run(
            input,
            |_| Ok(()),
            crate::pipeline::Pump::Apart,
            &limits,
            |reader| {
                let mut inflated = Vec::new();
                reader.read_to_end(&mut inflated).map_err(|error| Error::Invalid(error.to_string()))?;
                Ok(inflated)
            },
        )?;
        assert!(passed.value.len() as u64 <= limits.max_layer_size + (1 << 20));
        Ok(passed.value.len())
    });
}

/// An image of one layer as `docker save` writes it.
fn image_archive(layer: &[u8]) -> Vec<u8> {
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        crate::digest_of(layer)
    );
    let layer = String::from_utf8(layer.to_vec()).expect("a layer that is text");
    let file = || EntryKind::File { sparse: None };
    archive(&[
        ("config.json", file(), &config),
        ("0/layer.tar", file(), &layer),
        (
            "manifest.json",
            file(),
            r#"[{"Config":"config.json","RepoTags":["it:1"],"Layers":["0/layer.tar"]}]"#,
        ),
    ])
}

#[test]
fn load() {
    if std::fs::metadata("/proc/self").expect("/proc is mounted").uid() != 0 {
        println!("SKIP: needs root");
        return;
    }
    let scratch = Scratch::new("fuzz-load");
    let store = store::Store::open(&scratch.path.join("meta")).expect("the store opens");
    let mut options = Options::new(scratch.path.clone()).expect("the options are read");
    options.limits = small_limits();
    let images = Images::open(store, options).expect("the image store opens").0;
    let mut layout = Vec::new();
    let hello = crate::hello::hello_world_archive();
    images.load(&*hello, &LoadOptions::default(), &Silent).expect("an image");
    images.save(&["hello-world".to_owned()], &[], &mut layout).expect("an archive");
    let remove = |name: &str| {
        let options = crate::RemoveOptions { force: true };
        drop(images.remove(name, options, &crate::NoUsers));
    };
    remove("hello-world");
    let plain = image_archive(&archive(&[("file", EntryKind::File { sparse: None }, "content")]));
    fuzz::bytes("load", &[layout, plain], |input| {
        let done = images.load(&*with_right_checksums(input), &LoadOptions::default(), &Silent);
        let shown = images.list(&crate::Filters::default(), false, &crate::NoUsers);
        let shown = shown.expect("a list");
        assert!(done.is_ok() || shown.is_empty(), "an image of a refused archive is shown: {done:?}");
        for image in shown {
            remove(&image.id.to_string());
        }
        done
    });
}

#[test]
fn change() {
    let seeds = [
        "CMD [\"sh\", \"-c\", \"x\"]",
        "ENV A=b \"C D\"='e f' G\\ H=i",
        "ENTRYPOINT x y",
        "EXPOSE 80/tcp 443-445",
        "VOLUME [\"/a\", \"/b\"]",
        "LABEL a=b c=\"d $e\"",
        "USER 1:2",
        "WORKDIR /a/../b",
        "ONBUILD RUN x",
        "STOPSIGNAL 15",
        "HEALTHCHECK --interval=1m30s --timeout=3s CMD [\"x\"]",
        "HEALTHCHECK NONE",
        "SHELL [\"/bin/sh\"]",
    ];
    fuzz::text("change", &seeds, |text| {
        crate::change::apply(&mut oci::image::Config::default(), &[text.to_owned()])
    });
}
