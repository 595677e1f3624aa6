//! What can still be read of a database that cannot be opened any more: its pages of records, one by one, wherever they are.
//!
//! ```text
//! page    1 │ – │ number of records: u16 │ ends of keys: u32 … │ ends of values: u32 … │ keys │ values
//! ```
//!
//! Pages lie at multiples of 4096 bytes, and a longer one goes on behind that (redb's file format, numbers with the lowest
//! byte first). No page says which table it is of, nor whether it is still one: what was replaced or removed stays in the
//! file until its page is needed. Whoever takes records from here has to find out whether they are still true.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use serde::de::IgnoredAny;

use crate::open::file_error;
use crate::{Record, Result};

const PAGE: usize = 4096;
/// The first byte of a page of records.
const LEAF: u8 = 1;
/// Bytes before the ends of keys.
const HEAD: usize = 4;
/// Bytes of a database that are looked at: more than a database of metadata has.
const MOST: u64 = 1 << 30;
/// The longest key that is one (a reference has 255 and a domain).
const LONGEST_KEY: usize = 4096;

/// A record that was found, in some table, now or once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Salvaged {
    /// Its key as text.
    pub key: String,
    json: Vec<u8>,
}

impl Salvaged {
    /// The record, when it is one of this type.
    #[must_use]
    pub fn decode<R: Record>(&self) -> Option<R> {
        serde_json::from_slice(&self.json).ok()
    }
}

/// The records in the pages of a database file, each once, in no order that means anything.
///
/// # Errors
/// When the file cannot be read.
pub fn salvage(path: &Path) -> Result<Vec<Salvaged>> {
    let file = std::fs::File::open(path).map_err(file_error("open", path))?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).map_err(file_error("read", path))?;
    let pages = (0..bytes.len()).step_by(PAGE).filter_map(|at| records(&bytes[at..]));
    let mut seen = HashSet::new();
    Ok(pages.flatten().filter(|record| seen.insert(record.clone())).collect())
}

/// The records of what may be a page; `None` when it is none. Those of a page that is damaged in its middle are left out
/// one by one.
fn records(page: &[u8]) -> Option<Vec<Salvaged>> {
    let [LEAF, _, low, high, ..] = *page else { return None };
    let count = usize::from(u16::from_le_bytes([low, high]));
    let keys = HEAD + 8 * count;
    let end = |at: usize| -> Option<usize> {
        let bytes = page.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let values = end(HEAD + 4 * count.checked_sub(1)?)?;
    let (mut key_start, mut value_start) = (keys, values);
    let mut found = Vec::new();
    for number in 0..count {
        let (key_end, value_end) = (end(HEAD + 4 * number)?, end(HEAD + 4 * (count + number))?);
        if let Some(record) = record(page.get(key_start..key_end), page.get(value_start..value_end)) {
            found.push(record);
        }
        (key_start, value_start) = (key_end, value_end);
    }
    Some(found)
}

/// A key and a value that may be a record.
fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Salvaged> {
    let (key, json) = (key?, value?);
    if key.is_empty() || key.len() > LONGEST_KEY || !json.starts_with(b"{") && !json.starts_with(b"\"") {
        return None;
    }
    let key = std::str::from_utf8(key).ok()?.to_owned();
    serde_json::from_slice::<IgnoredAny>(json).ok()?;
    Some(Salvaged { key, json: json.to_vec() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::{Store, Table};

    type Words = BTreeMap<String, String>;
    const TABLE: Table<String, Words> = Table::new("words");

    #[test]
    fn records_are_found_in_what_no_longer_opens() {
        let directory = std::env::temp_dir().join(format!("berth-test-{}-salvage", std::process::id()));
        let words = |number: usize| {
            // Some records are longer than a page.
            let text = "x".repeat(if number.is_multiple_of(7) { 3 * PAGE } else { 10 + number });
            Words::from([("number".to_owned(), number.to_string()), ("text".to_owned(), text)])
        };
        let store = Store::open(&directory).expect("a store");
        for number in 0..200 {
            let put =
                store.write(|transaction| transaction.put(&TABLE, &format!("key {number}"), &words(number)));
            put.expect("a record is written");
        }
        let path = store.path().to_owned();
        drop(store);
        let file = std::fs::File::options().write(true).open(&path).expect("the file");
        file.write_all_at(&[b'x'; PAGE], 0).expect("the head is damaged");
        drop(file);
        assert!(Store::open(&directory).is_err(), "a damaged head is noticed");
        let found = salvage(&path).expect("the file can be read");
        for number in 0..200 {
            let key = format!("key {number}");
            let mut of_key = found.iter().filter(|one| one.key == key);
            assert!(of_key.any(|one| one.decode() == Some(words(number))), "{key}");
        }
        std::fs::remove_dir_all(directory).expect("the directory goes");
    }

    #[test]
    fn an_open_store_goes_on_with_an_empty_database() {
        let directory = std::env::temp_dir().join(format!("berth-test-{}-anew", std::process::id()));
        let store = Store::open(&directory).expect("a store");
        let other = store.clone();
        let put = |store: &Store, key: &str| {
            let words = Words::from([("number".to_owned(), key.to_owned())]);
            store
                .write(|transaction| transaction.put(&TABLE, &key.to_owned(), &words))
                .expect("a record is written");
        };
        put(&store, "one");
        let view = store.read().expect("a view");
        let aside = store.start_anew().expect("it starts anew").expect("there was one");
        let keys = |store: &Store| -> Vec<String> {
            let scan = store.read().and_then(|view| view.scan(&TABLE)).expect("a scan");
            scan.records.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(&other), Vec::<String>::new());
        assert_eq!(view.scan(&TABLE).expect("the old view").records.len(), 1);
        put(&other, "two");
        assert_eq!(keys(&store), ["two"]);
        drop((store, other, view));
        let again = Store::open(&directory).expect("it opens again");
        assert_eq!(keys(&again), ["two"]);
        assert!(salvage(&aside).expect("the old file").iter().any(|one| one.key == "one"));
        drop(again);
        std::fs::remove_dir_all(directory).expect("the directory goes");
    }

    #[test]
    fn what_is_no_page_holds_no_records() {
        let check = |page: &[u8], expected: Option<usize>| {
            assert_eq!(records(page).map(|found| found.len()), expected, "{page:?}");
        };
        check(b"", None);
        check(&[LEAF, 0, 0, 0], None);
        check(&[LEAF, 0, 1, 0], None);
        check(&[2, 0, 1, 0, 13, 0, 0, 0, 15, 0, 0, 0, b'k', b'{', b'}'], None);
        check(&[LEAF, 0, 1, 0, 13, 0, 0, 0, 15, 0, 0, 0, b'k', b'{', b'}'], Some(1));
        check(&[LEAF, 0, 1, 0, 13, 0, 0, 0, 15, 0, 0, 0, b'k', b'{', b'!'], Some(0));
        check(&[LEAF, 0, 1, 0, 13, 0, 0, 0, 99, 0, 0, 0, b'k', b'{', b'}'], Some(0));
        check(&[LEAF, 0, 1, 0, 255, 255, 255, 255, 1, 0, 0, 0, b'k', b'{', b'}'], Some(0));
        check(&[LEAF, 0, 255, 255, 1, 0, 0, 0, 1, 0, 0, 0, b'k', b'{', b'}'], None);
    }
}
