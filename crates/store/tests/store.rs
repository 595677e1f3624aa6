//! The store as its users see it: records, transactions, bad records, locks, damage.

use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use store::{Intents, Kind, Store, Table};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Thing {
    size: u32,
}

const THINGS: Table<String, Thing> = Table::new("things");
const THINGS_AS_TEXT: Table<String, String> = Table::new("things");
const NUMBERS: Table<u64, Thing> = Table::new("numbers");

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("berth-test-{}-store-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn key(text: &str) -> String {
    text.to_owned()
}

#[test]
fn records_survive_closing_and_several_tables_change_together() {
    let scratch = Scratch::new("reopen");
    let store = Store::open(&scratch.0.join("meta")).unwrap();
    store
        .write(|tx| {
            tx.put(&THINGS, &key("a"), &Thing { size: 1 })?;
            tx.put(&NUMBERS, &7, &Thing { size: 2 })
        })
        .unwrap();
    drop(store);
    let store = Store::open(&scratch.0.join("meta")).unwrap();
    let view = store.read().unwrap();
    assert_eq!(view.get(&THINGS, &key("a")).unwrap(), Some(Thing { size: 1 }));
    assert_eq!(view.get(&NUMBERS, &7).unwrap(), Some(Thing { size: 2 }));
    assert_eq!(view.get(&NUMBERS, &8).unwrap(), None);
}

#[test]
fn a_failed_transaction_changes_nothing() {
    let scratch = Scratch::new("abort");
    let store = Store::open(&scratch.0).unwrap();
    let result: Result<(), store::Error> = store.write(|tx| {
        tx.put(&THINGS, &key("a"), &Thing { size: 1 })?;
        Err(store::Error::Busy)
    });
    assert_eq!(result.unwrap_err().kind(), Kind::Busy);
    assert_eq!(store.read().unwrap().len(&THINGS).unwrap(), 0);
}

#[test]
fn a_snapshot_does_not_see_later_commits() {
    let scratch = Scratch::new("snapshot");
    let store = Store::open(&scratch.0).unwrap();
    store.write(|tx| tx.put(&THINGS, &key("a"), &Thing { size: 1 })).unwrap();
    let before = store.read().unwrap();
    store.write(|tx| tx.delete(&THINGS, &key("a")).map(drop)).unwrap();
    assert_eq!(before.get(&THINGS, &key("a")).unwrap(), Some(Thing { size: 1 }));
    assert_eq!(store.read().unwrap().get(&THINGS, &key("a")).unwrap(), None);
}

#[test]
fn an_unreadable_record_is_reported_and_the_others_are_read() {
    let scratch = Scratch::new("bad");
    let store = Store::open(&scratch.0).unwrap();
    store
        .write(|tx| {
            tx.put(&THINGS, &key("good"), &Thing { size: 1 })?;
            tx.put(&THINGS_AS_TEXT, &key("bad"), &key("not a thing"))
        })
        .unwrap();
    let view = store.read().unwrap();
    let scan = view.scan(&THINGS).unwrap();
    assert_eq!(scan.records, [(key("good"), Thing { size: 1 })]);
    assert_eq!(scan.bad.len(), 1);
    assert_eq!((scan.bad[0].table, scan.bad[0].key.as_str()), ("things", "bad"));
    assert_eq!(view.get(&THINGS, &key("bad")).unwrap_err().kind(), Kind::Undecodable);
    store.write(|tx| tx.delete_raw(&THINGS, "bad").map(drop)).unwrap();
    assert!(store.read().unwrap().scan(&THINGS).unwrap().bad.is_empty());
}

#[test]
fn numbers_are_ordered_and_prefixes_select() {
    let scratch = Scratch::new("order");
    let store = Store::open(&scratch.0).unwrap();
    store
        .write(|tx| {
            for number in [100, 9, 20] {
                tx.put(&NUMBERS, &number, &Thing { size: 0 })?;
            }
            for name in ["b/1", "a/2", "a/1", "ab"] {
                tx.put(&THINGS, &key(name), &Thing { size: 0 })?;
            }
            Ok::<_, store::Error>(())
        })
        .unwrap();
    let view = store.read().unwrap();
    let numbers: Vec<u64> = view.scan(&NUMBERS).unwrap().records.into_iter().map(|(key, _)| key).collect();
    assert_eq!(numbers, [9, 20, 100]);
    let names: Vec<String> =
        view.scan_prefix(&THINGS, "a/").unwrap().records.into_iter().map(|(key, _)| key).collect();
    assert_eq!(names, ["a/1", "a/2"]);
}

#[test]
fn a_second_daemon_is_told_who_holds_the_store() {
    let scratch = Scratch::new("lock");
    let first = Store::open(&scratch.0).unwrap();
    let error = Store::open(&scratch.0).unwrap_err();
    assert_eq!(error.kind(), Kind::Locked);
    let words = format!("in use by another daemon (process {})", std::process::id());
    assert!(error.to_string().contains(&words), "{error}");
    drop(first);
    drop(Store::open(&scratch.0).unwrap());
}

#[test]
fn the_directory_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("mode");
    let store = Store::open(&scratch.0.join("meta")).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&scratch.0.join("meta")), 0o700);
    assert_eq!(mode(store.path()), 0o600);
}

#[test]
fn a_damaged_file_is_a_clear_error_and_can_be_set_aside() {
    let scratch = Scratch::new("damage");
    let path = Store::open(&scratch.0).unwrap().path().to_owned();
    std::fs::write(&path, vec![0x55; 1 << 20]).unwrap();
    let error = Store::open(&scratch.0).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert!(error.to_string().contains("system check --repair"));
    let aside = Store::set_aside(&scratch.0).unwrap().unwrap();
    assert!(aside.exists());
    let store = Store::open(&scratch.0).unwrap();
    assert_eq!(store.read().unwrap().len(&THINGS).unwrap(), 0);
    drop(store);
    assert!(Store::set_aside(&scratch.0).unwrap().is_some());
    assert_eq!(Store::set_aside(&scratch.0).unwrap(), None);
}

#[test]
fn an_integrity_check_finds_a_sound_store_sound() {
    let scratch = Scratch::new("check");
    let store = Store::open(&scratch.0).unwrap();
    store.write(|tx| tx.put(&THINGS, &key("a"), &Thing { size: 1 })).unwrap();
    assert_eq!(store.check().unwrap(), store::Integrity::Sound);
    let view = store.read().unwrap();
    assert_eq!(store.check().unwrap_err().kind(), Kind::Busy);
    drop(view);
    assert_eq!(store.read().unwrap().get(&THINGS, &key("a")).unwrap(), Some(Thing { size: 1 }));
}

#[test]
fn a_torn_file_opens_at_its_last_commit_or_says_that_it_is_damaged() {
    let scratch = Scratch::new("torn");
    let path = {
        let store = Store::open(&scratch.0).unwrap();
        for number in 0..50 {
            store.write(|tx| tx.put(&NUMBERS, &number, &Thing { size: 1 })).unwrap();
        }
        store.path().to_owned()
    };
    let whole = std::fs::read(&path).unwrap();
    let mut opened = 0;
    for cut in [0, 1, 300, 4096, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        match Store::open(&scratch.0) {
            Ok(store) => {
                opened += 1;
                drop(store.read().unwrap().scan(&NUMBERS));
            }
            Err(error) => assert!(matches!(error.kind(), Kind::Corrupt | Kind::System), "{cut}: {error}"),
        }
    }
    assert!(opened > 0, "an empty file is a new store");
}

#[test]
fn an_intent_is_pending_until_it_is_done() {
    const INTENTS: Intents<Thing> = Intents::new("things_intents");
    let scratch = Scratch::new("intent");
    let store = Store::open(&scratch.0).unwrap();
    store.write(|tx| INTENTS.begin(tx, "1", Thing { size: 3 })).unwrap();
    assert!(store.write(|tx| INTENTS.begin(tx, "1", Thing { size: 4 })).is_err());
    store.write(|tx| INTENTS.step(tx, "1", "made")).unwrap();
    store.write(|tx| INTENTS.step(tx, "1", "made")).unwrap();
    assert!(store.write(|tx| INTENTS.step(tx, "2", "made")).is_err());
    let pending = INTENTS.pending(&store.read().unwrap()).unwrap();
    assert_eq!(pending.records.len(), 1);
    assert_eq!(pending.records[0].1.operation, Thing { size: 3 });
    assert_eq!(pending.records[0].1.steps, ["made"]);
    store.write(|tx| INTENTS.done(tx, "1")).unwrap();
    store.write(|tx| INTENTS.done(tx, "1")).unwrap();
    assert!(INTENTS.pending(&store.read().unwrap()).unwrap().records.is_empty());
}

#[test]
fn what_many_write_at_once_is_on_the_disk_when_each_is_told_so() {
    let scratch = Scratch::new("many");
    let copy = Scratch::new("many-copy");
    let store = Store::open(&scratch.0).unwrap();
    std::fs::create_dir_all(&copy.0).unwrap();
    std::thread::scope(|threads| {
        for writer in 0..8 {
            let store = &store;
            threads.spawn(move || {
                for number in 0..25 {
                    store
                        .write(|tx| tx.put(&THINGS, &format!("{writer}-{number}"), &Thing { size: 1 }))
                        .unwrap();
                }
            });
        }
    });
    store.write_relaxed(|tx| tx.put(&THINGS, &key("relaxed"), &Thing { size: 1 })).unwrap();
    // The file has what was synced; the rest is in the memory of who has it open.
    std::fs::copy(store.path(), copy.0.join("records.redb")).unwrap();
    let found = Store::open(&copy.0).unwrap().read().unwrap().scan(&THINGS).unwrap().records;
    assert_eq!(found.len(), 200);
    assert!(found.iter().all(|(name, _)| name != "relaxed"));
}

/// Prints what a durable commit of a 2 kB record costs here: `cargo test -p store --release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn what_a_commit_costs() {
    let scratch = Scratch::new("bench");
    let store = Store::open(&scratch.0).unwrap();
    let text = "x".repeat(2000);
    let mut micros: Vec<u128> = (0..1000)
        .map(|number| {
            let start = Instant::now();
            store.write(|tx| tx.put(&THINGS_AS_TEXT, &format!("{number}"), &text)).unwrap();
            start.elapsed().as_micros()
        })
        .collect();
    micros.sort_unstable();
    println!("commit of one 2 kB record: median {} µs, p99 {} µs", micros[500], micros[990]);
    for writers in [1_usize, 2, 4, 16] {
        let start = Instant::now();
        std::thread::scope(|threads| {
            for writer in 0..writers {
                let (store, text) = (&store, &text);
                threads.spawn(move || {
                    for number in 0..1000 / writers {
                        store
                            .write(|tx| tx.put(&THINGS_AS_TEXT, &format!("{writer}-{number}"), text))
                            .unwrap();
                    }
                });
            }
        });
        println!("1000 commits by {writers}: {} µs each", start.elapsed().as_micros() / 1000);
        store
            .write(|tx| {
                for (key, _) in tx.scan(&THINGS_AS_TEXT)?.records.iter().filter(|(key, _)| key.contains('-'))
                {
                    tx.delete(&THINGS_AS_TEXT, key)?;
                }
                Ok::<_, store::Error>(())
            })
            .unwrap();
    }
    let start = Instant::now();
    drop(store);
    let store = Store::open(&scratch.0).unwrap();
    println!("close and reopen: {} µs", start.elapsed().as_micros());
    let start = Instant::now();
    assert_eq!(store.read().unwrap().scan(&THINGS_AS_TEXT).unwrap().records.len(), 1000);
    println!("scan of 1000 records: {} µs", start.elapsed().as_micros());
}
