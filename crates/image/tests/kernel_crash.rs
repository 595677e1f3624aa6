//! A kill at every step: what was acknowledged is there, nothing half-made is visible, nothing is left for ever.

mod support;

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use image::{Filters, ImportOptions, LoadOptions, NoUsers, RemoveOptions, Silent, Steps};
use oci::Reference;
use support::{Scratch, Tar, docker_archive, is_root, open, open_with};

static REACHED: AtomicU32 = AtomicU32::new(0);
const ROOT: &str = "BERTH_TEST_ROOT";
const KILL_AT: &str = "BERTH_TEST_KILL_AT";

/// Layers of every sort: plain, with a hard link into the one below, with a removal.
fn archive() -> Vec<u8> {
    let base = Tar::new().dir("d", 0o750).file("d/a", b"a").file("d/b", &vec![3; 50_000]).end();
    let linked = Tar::new().link("link", "d/a").file("d/c", b"c").end();
    let removed = Tar::new().dir("d", 0o750).file("d/.wh.b", b"").end();
    docker_archive("app:1", &[base, linked, removed])
}

fn import() -> Vec<u8> {
    Tar::new().dir("x", 0o755).file("x/y", b"imported").end()
}

/// What the child does, in this order; every step may be its last.
fn work(images: &image::Images) {
    images.load(archive().as_slice(), &LoadOptions::default(), &Silent).unwrap();
    acknowledge("loaded");
    let options =
        ImportOptions { reference: Some(Reference::parse("imported").unwrap()), ..ImportOptions::default() };
    images.import(import().as_slice(), &options, &Silent).unwrap();
    acknowledge("imported");
    images.tag("app:1", &Reference::parse("app:2").unwrap()).unwrap();
    acknowledge("tagged");
    images.prepare_snapshot("one", &images.runnable("app:2", None).unwrap(), &Silent).unwrap();
    acknowledge("prepared");
    images.remove_snapshot("one").unwrap();
    images.remove("imported", RemoveOptions::default(), &NoUsers).unwrap();
    acknowledge("removed");
}

fn acknowledge(what: &str) {
    let root = std::env::var_os(ROOT).unwrap();
    std::fs::write(std::path::Path::new(&root).join(what), "").unwrap();
}

#[test]
#[ignore = "only run as the child that is killed"]
fn the_child_that_is_killed() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let images = open_with(&std::path::Path::new(&root).join("data"), |options| {
        options.steps = Steps::new(|_| {
            let wanted: u32 = std::env::var(KILL_AT).unwrap().parse().unwrap();
            if REACHED.fetch_add(1, Ordering::SeqCst) + 1 == wanted {
                // No destructor runs and nothing is flushed, as after kill -9.
                std::process::exit(99);
            }
        });
    });
    work(&images);
}

#[test]
fn a_kill_at_any_step_loses_nothing_and_leaves_nothing() {
    if !is_root() {
        return;
    }
    let mut kills = 0;
    for step in 1.. {
        let scratch = Scratch::new(&format!("kill{step}"));
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "the_child_that_is_killed"])
            .env(ROOT, &scratch.path)
            .env(KILL_AT, step.to_string())
            .output()
            .unwrap();
        match status.status.code() {
            Some(99) => kills += 1,
            Some(0) => break,
            _ => panic!("step {step}: {}", String::from_utf8_lossy(&status.stdout)),
        }
        check_world(&scratch, step);
    }
    assert!(kills > 40, "the work has only {kills} steps");
    println!("{kills} kills");
}

fn check_world(scratch: &Scratch, step: u32) {
    let images = scratch.open();
    let report = images.check(false).unwrap();
    // Content that came in and was not named yet is a manifest without a name; everything else must be right.
    assert!(
        report.problems.iter().all(|line| line.contains("has lost its names")),
        "step {step}: {report:?}"
    );
    let done = |what: &str| scratch.path.join(what).exists();
    let there = |name: &str| images.resolve(name).is_ok();
    assert!(!done("loaded") || there("app:1"), "step {step}");
    assert!(!done("tagged") || there("app:2"), "step {step}");
    assert!(!done("imported") || done("prepared") || there("imported"), "step {step}");
    assert!(!done("removed") || !there("imported"), "step {step}");
    assert_eq!(
        images.open_snapshot("one", &[]).unwrap().is_some(),
        images.snapshots().unwrap().contains(&"one".to_owned())
    );
    for line in images.list(&Filters::default(), false, &NoUsers).unwrap() {
        let image = images.runnable(line.id.hex(), None).unwrap();
        let lower = images.lower_dirs(&image, &Silent).unwrap();
        assert!(lower.iter().all(|path| path.is_dir()), "step {step}");
    }
    // The same work again succeeds, and afterwards nothing is left of it.
    drop(images);
    let images = scratch.open();
    images.load(archive().as_slice(), &LoadOptions::default(), &Silent).unwrap();
    images.prepare_snapshot("one", &images.runnable("app:1", None).unwrap(), &Silent).unwrap();
    images.remove_snapshot("one").unwrap();
    images.prune(true, &Filters::default(), &NoUsers).unwrap();
    drop(images);
    for directory in
        ["blobs/sha256", "layers/sha256", "layers/chain-sha256", "layers/tmp", "snapshots", "ingest"]
    {
        let path = scratch.path.join("data").join(directory);
        let left: Vec<_> = std::fs::read_dir(&path).unwrap().collect();
        assert!(left.is_empty(), "step {step}: {directory}: {left:?}");
    }
}

#[test]
fn layers_that_were_not_durable_are_unpacked_again_after_a_loss_of_power() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("power");
    let data = scratch.path.join("data");
    let images = open(&data);
    images.load(archive().as_slice(), &LoadOptions::default(), &Silent).unwrap();
    let image = images.runnable("app:1", None).unwrap();
    let snapshot = images.prepare_snapshot("one", &image, &Silent).unwrap();
    drop(images);
    // The machine lost power before the background thread made the layers durable: files are empty.
    const LAYERS: store::Table<String, serde_json::Value> = store::Table::new("layers");
    let store = store::Store::open(&data.join("meta")).unwrap();
    store
        .write(|transaction| {
            for (key, mut record) in transaction.scan(&LAYERS)?.records {
                record["durable"] = false.into();
                transaction.put(&LAYERS, &key, &record)?;
            }
            Ok::<_, store::Error>(())
        })
        .unwrap();
    drop(store);
    std::fs::write(snapshot.lower.last().unwrap().join("d/a"), "").unwrap();
    let images = open_with(&data, |options| options.boot_id = "another boot".to_owned());
    assert!(snapshot.lower.iter().all(|path| !path.exists()));
    assert_eq!(images.snapshot("one").unwrap().unwrap(), snapshot);
    assert_eq!(std::fs::read_to_string(snapshot.lower.last().unwrap().join("d/a")).unwrap(), "a");
}

#[test]
fn a_collector_that_runs_all_the_time_takes_nothing_that_is_needed() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("collector");
    let images = scratch.open();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                images.collect().unwrap();
            }
        });
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let images = &images;
                scope.spawn(move || {
                    for round in 0..5 {
                        let name = format!("w{worker}:{round}");
                        let layer = Tar::new().file("f", name.as_bytes()).file("shared", b"x").end();
                        let shared = Tar::new().file("base", b"the same").end();
                        let archive = docker_archive(&name, &[shared, layer]);
                        images.load(archive.as_slice(), &LoadOptions::default(), &Silent).unwrap();
                        let id = format!("c{worker}-{round}");
                        let image = images.runnable(&name, None).unwrap();
                        let snapshot = images.prepare_snapshot(&id, &image, &Silent).unwrap();
                        images.remove(&name, RemoveOptions { force: true }, &NoUsers).unwrap();
                        assert!(
                            snapshot
                                .lower
                                .iter()
                                .all(|path| path.join("base").exists() || path.join("f").exists())
                        );
                        images.remove_snapshot(&id).unwrap();
                    }
                })
            })
            .collect();
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    images.collect().unwrap();
    assert_eq!(std::fs::read_dir(scratch.path.join("data/layers/sha256")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(scratch.path.join("data/blobs/sha256")).unwrap().count(), 0);
}
