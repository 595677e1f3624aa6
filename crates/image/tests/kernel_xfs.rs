//! The image store on XFS: whatever is unpacked there is what is unpacked elsewhere.

mod support;

use image::{ImportOptions, LoadOptions, NoUsers, RemoveOptions, Silent};
use oci::Reference;
use support::disk::{Disk, Make};
use support::{Scratch, Tar, docker_archive, is_root, listing, open};

/// Everything that a layer may have: kinds, bits, owners, attributes, holes' worth of zeros, long names.
fn layer() -> Vec<u8> {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    Tar::new()
        .dir("./", 0o755)
        .dir("tmp/", 0o1777)
        .file("etc/hostname", b"berth\n")
        .raw("bin/su", b'0', "", 0o4755, b"#!")
        .link("bin/su2", "bin/su")
        .symlink("bin/sh", "/bin/dash")
        .raw("run/pipe", b'6', "", 0o600, b"")
        .pax(&[("path", long.as_bytes()), ("mtime", b"1500000000.123456789")])
        .file("short", b"long name")
        .pax(&[("SCHILY.xattr.user.note", b"hello\0world")])
        .file("etc/noted", b"")
        .file("big", &vec![7; 9 << 20])
        .end()
}

#[test]
fn layers_and_archives_are_the_same_on_xfs() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("xfs");
    let Some(disk) = Disk::mount(&scratch.path, Make::Xfs, "loop") else { return };
    let whiteouts =
        Tar::new().file("etc/.wh.hostname", b"").file("tmp/.wh..wh..opq", b"").file("tmp/new", b"1").end();
    let archive = docker_archive("one", &[layer(), whiteouts]);
    let unpacked = |data_root: &std::path::Path| {
        let images = open(data_root);
        let loaded = images.load(archive.as_slice(), &LoadOptions::default(), &Silent).expect("it is loaded");
        let lower =
            images.lower_dirs(&images.runnable("one", None).expect("it runs"), &Silent).expect("layers");
        let listings: Vec<String> = lower.iter().map(|path| listing(path)).collect();
        let mut saved = Vec::new();
        images.save(&["one".to_owned()], &[], &mut saved).expect("it is saved");
        assert_eq!(images.check(false).expect("a check").problems, Vec::<String>::new());
        (loaded[0].id.clone(), listings, saved, images)
    };
    let (id, listings, saved, images) = unpacked(&disk.place.join("data"));
    let elsewhere = unpacked(&scratch.path.join("data"));
    assert_eq!((&id, &listings), (&elsewhere.0, &elsewhere.1));
    assert!(saved == elsewhere.2, "an archive is another one on XFS");
    assert!(listings.iter().any(|lines| lines.contains("bin/su file 2 4755 0:0")), "{listings:?}");
    // What is removed is gone: nothing but records and empty directories stays.
    images.remove("one", RemoveOptions::default(), &NoUsers).expect("it is removed");
    images.collect().expect("what it took is freed");
    assert_eq!(std::fs::read_dir(disk.place.join("data/blobs/sha256")).expect("blobs").count(), 0);
    assert_eq!(std::fs::read_dir(disk.place.join("data/layers/sha256")).expect("layers").count(), 0);
    let options = ImportOptions {
        reference: Some(Reference::parse("two").expect("a name")),
        ..ImportOptions::default()
    };
    images.import(layer().as_slice(), &options, &Silent).expect("it is imported");
    drop(images);
    drop(disk);
}
