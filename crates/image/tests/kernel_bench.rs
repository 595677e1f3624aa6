//! Measurements on a real root file system, not checks:
//! `BERTH_BENCH_TAR=rootfs.tar cargo test -p image --release --test kernel_bench -- --ignored --nocapture`.
//! With `BERTH_BENCH_TREE=rootfs`, the directory the archive was made of, the unpacked layer is compared with it.

mod support;

use std::fs::File;
use std::time::Instant;

use image::{ImportOptions, LoadOptions, Silent};
use oci::Reference;
use support::{Scratch, listing, open};

fn timed<T>(what: &str, bytes: u64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = work();
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = bytes as f64 / 1e6 / seconds;
    println!("{what:<28} {seconds:7.3} s  {rate:8.1} MB/s of the archive");
    value
}

#[test]
#[ignore = "a measurement of a given archive"]
fn what_import_save_and_load_take() {
    let Some(path) = std::env::var_os("BERTH_BENCH_TAR") else {
        println!("SKIP: BERTH_BENCH_TAR names no archive");
        return;
    };
    let scratch = Scratch::new("bench");
    let images = scratch.open();
    let size = std::fs::metadata(&path).unwrap().len();
    let options =
        ImportOptions { reference: Some(Reference::parse("bench").unwrap()), ..ImportOptions::default() };
    let id = timed("import", size, || images.import(File::open(&path).unwrap(), &options, &Silent).unwrap());
    timed("settle (syncfs, measure)", size, || images.settle().unwrap());
    if let Some(tree) = std::env::var_os("BERTH_BENCH_TREE") {
        let lower = images.lower_dirs(&images.runnable("bench", None).unwrap(), &Silent).unwrap();
        assert!(listing(&lower[0]) == listing(std::path::Path::new(&tree)), "the layer is not the tree");
        println!("the layer is the tree, entry by entry");
    }
    let usage = images.disk_usage(&image::NoUsers).unwrap();
    println!("content {} MB, layers {} MB", usage.content / 1_000_000, usage.layers / 1_000_000);
    let saved = scratch.path.join("saved.tar");
    timed("save", size, || {
        images.save(&["bench".to_owned()], &[], &mut File::create(&saved).unwrap()).unwrap();
    });
    let other = open(&scratch.path.join("other"));
    let loaded = timed("load", size, || {
        other.load(File::open(&saved).unwrap(), &LoadOptions::default(), &Silent).unwrap()
    });
    assert_eq!(loaded[0].id, id);
    timed("load again", size, || {
        other.load(File::open(&saved).unwrap(), &LoadOptions::default(), &Silent).unwrap()
    });
    let image = other.runnable("bench", None).unwrap();
    timed("prepare a snapshot", size, || other.prepare_snapshot("one", &image, &Silent).unwrap());
    timed("prepare another", size, || other.prepare_snapshot("two", &image, &Silent).unwrap());
    timed("remove a snapshot", size, || other.remove_snapshot("one").unwrap());
    timed("verify everything", size, || other.check(false).unwrap());
}
