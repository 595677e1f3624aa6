//! Tests of the reading end: every query against what a plain filter over all entries gives.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use linux::watch::{Interest, wait};

use super::*;
use crate::log::{Stream, Writer};
use crate::protocol::{Log, LogDriver};
use crate::random::Random;
use crate::scratch::Scratch;

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_795_000_000 + second, 0)
}

fn writer(path: &Path, max_size: Option<u64>, max_file: u32, compress: bool) -> Writer {
    let driver = LogDriver::JsonFile;
    Writer::open(&Log { driver, path: path.to_owned(), max_size, max_file, compress, attrs: Vec::new() })
        .expect("open")
}

fn all(path: &Path, query: &Query) -> Vec<Entry> {
    let mut reader = Reader::open(path, query).expect("open");
    let mut entries = Vec::new();
    while let Some(entry) = reader.read().expect("read") {
        entries.push(entry);
    }
    entries
}

fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned()).collect()
}

/// A log of `lines` numbered lines, one each second, some very long, in files of `max_size`.
fn filled(scratch: &Scratch, random: &mut Random, lines: i64, max_size: u64, compress: bool) -> PathBuf {
    let path = scratch.path().join("l");
    let mut writer = writer(&path, Some(max_size), 100, compress);
    for number in 0..lines {
        let filler = if random.below(25) == 0 { random.below(60_000) } else { random.below(300) };
        let stream = if random.below(3) == 0 { Stream::Stderr } else { Stream::Stdout };
        writer.append(stream, format!("{number} {}\n", "y".repeat(filler)).as_bytes(), at(number));
        while random.below(2) == 0 && writer.work() {}
    }
    path
}

#[test]
fn every_query_gives_what_a_filter_over_everything_gives() {
    let mut random = Random::from_clock("reader");
    // Many small files, plain and compressed, and few that are large enough for a search to leave parts out.
    let cases =
        [(700, 60_000, false), (700, 60_000, true), (2000, 1_500_000, false), (2000, 1_500_000, true)];
    for (lines, max_size, compress) in cases {
        let scratch = Scratch::new();
        let path = filled(&scratch, &mut random, lines, max_size, compress);
        let count = usize::try_from(lines).expect("a count");
        assert!(scratch.names().len() > 1, "{:?}", scratch.names());
        let everything = all(&path, &Query::default());
        let starts: Vec<usize> = everything
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.begins_line)
            .map(|(index, _)| index)
            .collect();
        assert_eq!(starts.len(), count);
        for _ in 0..30 {
            let mut pick = |limit: usize| (random.below(3) > 0).then(|| random.below(limit));
            let (tail, since, until) = (pick(count + count / 8), pick(count + 20), pick(count + 20));
            let query = Query {
                tail: tail.map(|tail| tail as u64),
                since: since.map(|second| at(second as i64)),
                until: until.map(|second| at(second as i64)),
            };
            let first =
                tail.map_or(0, |tail| starts.get(count.saturating_sub(tail)).copied().unwrap_or(usize::MAX));
            let wanted = |(index, entry): &(usize, &Entry)| {
                *index >= first
                    && query.since.is_none_or(|since| entry.time >= since)
                    && query.until.is_none_or(|until| entry.time <= until)
            };
            let expected: Vec<&Entry> =
                everything.iter().enumerate().filter(wanted).map(|(_, entry)| entry).collect();
            let found = all(&path, &query);
            assert!(
                found.iter().eq(expected.iter().copied()),
                "{query:?}: {} {}",
                found.len(),
                expected.len()
            );
        }
    }
}

#[test]
fn parts_of_a_long_line_say_so_and_count_as_one() {
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    let mut writer = writer(&path, None, 1, false);
    writer.append(Stream::Stdout, b"short\n", at(0));
    writer.append(Stream::Stdout, &vec![b'x'; 40_000], at(1));
    writer.append(Stream::Stderr, b"between\n", at(2));
    writer.append(Stream::Stdout, b"\nlast", at(3));
    writer.finish(Stream::Stdout, at(3));
    let shape: Vec<_> = all(&path, &Query::default())
        .iter()
        .map(|entry| (entry.bytes.len(), entry.begins_line, entry.ends_line))
        .collect();
    let expected = [
        (6, true, true),
        (16384, true, false),
        (16384, false, false),
        (8, true, true),
        (7233, false, true),
        (4, true, false),
    ];
    assert_eq!(shape, expected);
    assert_eq!(texts(&all(&path, &Query { tail: Some(1), ..Query::default() })), ["last"]);
}

#[test]
fn torn_foreign_and_endless_lines_are_left_out() {
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    let line = |text: &str| {
        format!("{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T03:43:07Z\"}}\n")
    };
    let mut file = fs::File::create(&path).expect("create");
    file.write_all(line("one").as_bytes()).expect("write");
    file.write_all(b"{\"log\":\"torn\nnot json\n\n\xff\xff\n").expect("write");
    file.write_all(&vec![b'z'; 3 << 20]).expect("write");
    file.write_all(b"\n").expect("write");
    file.write_all(line("two").as_bytes()).expect("write");
    file.write_all(&line("being written").as_bytes()[..20]).expect("write");
    assert_eq!(texts(&all(&path, &Query::default())), ["one\n", "two\n"]);
    assert_eq!(texts(&all(&path, &Query { tail: Some(1), ..Query::default() })), ["two\n"]);
    let query = Query { since: Some(Timestamp::new(1_795_232_587, 0)), ..Query::default() };
    assert_eq!(texts(&all(&path, &query)), ["one\n", "two\n"]);
}

#[test]
fn following_misses_and_repeats_nothing_across_rotation() {
    let mut random = Random::from_clock("follow");
    for (max_file, compress) in [(1, false), (4, false), (4, true)] {
        let scratch = Scratch::new();
        let path = scratch.path().join("l");
        let mut follow = Reader::open(&path, &Query::default()).expect("open").follow().expect("follow");
        assert_eq!(follow.read().expect("read"), None);
        let mut writer = writer(&path, Some(30_000), max_file, compress);
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        for number in 0..3000 {
            let text = format!("{number} {}\n", "z".repeat(random.below(100)));
            writer.append(Stream::Stdout, text.as_bytes(), at(number));
            expected.push(text);
            // One file holds some 100 lines; a reader that keeps up within one rotation loses nothing.
            if random.below(50) == 0 || number % 90 == 0 {
                while let Some(entry) = follow.read().expect("read") {
                    found.extend(texts(&[entry]));
                }
            }
            if random.below(10) == 0 {
                writer.work();
            }
        }
        let ready = wait(&[(follow.as_fd(), Interest::Readable)], Duration::ZERO).expect("wait");
        while let Some(entry) = follow.read().expect("read") {
            found.extend(texts(&[entry]));
        }
        assert!(found == expected, "{} of {} lines, ready {ready:?}", found.len(), expected.len());
    }
}

#[test]
fn a_line_being_written_is_read_when_it_is_whole() {
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    let line = b"{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T03:43:07Z\"}\n";
    fs::write(&path, line).expect("write");
    let mut follow = Reader::open(&path, &Query { tail: Some(0), ..Query::default() })
        .expect("open")
        .follow()
        .expect("follow");
    assert_eq!(follow.read().expect("read"), None);
    let mut file = OpenOptions::new().append(true).open(&path).expect("open");
    for part in line.chunks(7) {
        assert_eq!(follow.read().expect("read"), None);
        file.write_all(part).expect("write");
        assert_eq!(wait(&[(follow.as_fd(), Interest::Readable)], Duration::ZERO).expect("wait"), [true]);
    }
    assert_eq!(texts(&[follow.read().expect("read").expect("an entry")]), ["x\n"]);
    assert_eq!(wait(&[(follow.as_fd(), Interest::Readable)], Duration::ZERO).expect("wait"), [true]);
    assert_eq!(follow.read().expect("read"), None);
    assert_eq!(wait(&[(follow.as_fd(), Interest::Readable)], Duration::ZERO).expect("wait"), [false]);
}

#[test]
fn equal_times_lose_and_repeat_nothing_for_a_follower() {
    let mut random = Random::from_clock("equal");
    for (max_file, compress) in [(2, true), (4, true), (4, false)] {
        let scratch = Scratch::new();
        let path = scratch.path().join("l");
        let mut follow = Reader::open(&path, &Query::default()).expect("open").follow().expect("follow");
        let mut writer = writer(&path, Some(20_000), max_file, compress);
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        for number in 0..4000 {
            // Every line has the same time, as when one write brings thousands of them.
            let text = format!("{number}\n");
            writer.append(Stream::Stdout, text.as_bytes(), at(0));
            expected.push(text);
            // A compressed file takes the place of the one that is being read.
            while random.below(3) > 0 && writer.work() {}
            if random.below(40) == 0 || number % 90 == 0 {
                while let Some(entry) = follow.read().expect("read") {
                    found.extend(texts(&[entry]));
                }
            }
        }
        while let Some(entry) = follow.read().expect("read") {
            found.extend(texts(&[entry]));
        }
        assert!(found == expected, "{} of {} lines", found.len(), expected.len());
    }
}

#[test]
fn reading_resumes_where_it_was_whatever_became_of_the_files() {
    let mut random = Random::from_clock("resume");
    for compress in [false, true] {
        let scratch = Scratch::new();
        let path = scratch.path().join("l");
        let mut writer = writer(&path, Some(20_000), 100, compress);
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let mut position: Option<Position> = None;
        for number in 0..3000 {
            let text = format!("{number} {}\n", "z".repeat(random.below(40)));
            writer.append(Stream::Stderr, text.as_bytes(), at(number / 1000));
            expected.push(text);
            while random.below(3) > 0 && writer.work() {}
            if random.below(100) > 0 && number < 2999 {
                continue;
            }
            let mut reader = match position {
                None => Reader::open(&path, &Query::default()).expect("open"),
                Some(position) => {
                    let (reader, found) = Reader::resume(&path, position).expect("resume");
                    assert!(found);
                    reader
                }
            };
            let stop = if number < 2999 { random.below(600) } else { usize::MAX };
            for _ in 0..stop {
                let Some(entry) = reader.read().expect("read") else { break };
                found.extend(texts(&[entry]));
            }
            position = reader.position().or(position);
        }
        assert!(found == expected, "{} of {} lines", found.len(), expected.len());
        let text = serde_json::to_string(&position).expect("json");
        assert_eq!(serde_json::from_str::<Option<Position>>(&text).expect("json"), position);
    }
}

#[test]
fn what_is_held_is_read_after_its_files_are_gone() {
    for compress in [false, true] {
        let scratch = Scratch::new();
        let path = scratch.path().join("l");
        let mut writer = writer(&path, Some(10_000), 100, compress);
        let mut reader = Reader::open(&path, &Query::default()).expect("open");
        for number in 0..1000 {
            writer.append(Stream::Stdout, format!("{number}\n").as_bytes(), at(number));
            while writer.work() {}
        }
        let mut found = vec![reader.read().expect("read").expect("a line")];
        reader.hold().expect("hold");
        for name in scratch.names() {
            fs::remove_file(scratch.path().join(name)).expect("remove");
        }
        while let Some(entry) = reader.read().expect("read") {
            found.push(entry);
        }
        let expected: Vec<String> = (0..1000).map(|number| format!("{number}\n")).collect();
        assert!(texts(&found) == expected, "{} lines", found.len());
    }
}

#[test]
fn a_place_that_is_gone_says_so() {
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    let mut writer = writer(&path, Some(2_000), 2, false);
    writer.append(Stream::Stdout, b"first\n", at(0));
    let mut reader = Reader::open(&path, &Query::default()).expect("open");
    reader.read().expect("read");
    let position = reader.position().expect("a position");
    for number in 0..200 {
        writer.append(Stream::Stdout, format!("{number}\n").as_bytes(), at(number));
    }
    let (mut reader, found) = Reader::resume(&path, position).expect("resume");
    assert!(!found);
    assert!(reader.read().expect("read").is_some());
}

/// Bytes that this thread has read so far, by the kernel's account.
fn bytes_read() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/io").expect("an account of what is read");
    text.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("rchar").parse().expect("a number")
}

/// What a query costs, in bytes read, and what it finds.
fn cost(path: &Path, query: &Query) -> (u64, Vec<Entry>) {
    let before = bytes_read();
    let found = all(path, query);
    (bytes_read() - before, found)
}

#[test]
fn what_is_asked_for_costs_what_it_returns() {
    // (driver, size of a file, files, compressed): some megabytes of lines, in one file and in several.
    let cases = [
        (LogDriver::JsonFile, 1 << 30, 1, false),
        (LogDriver::Local, 1 << 30, 1, false),
        (LogDriver::JsonFile, 3_000_000, 10, true),
        (LogDriver::Local, 2_000_000, 10, true),
        (LogDriver::JsonFile, 1_000_000, 100, false),
    ];
    for (driver, max_size, max_file, compress) in cases {
        let scratch = Scratch::new();
        let path = scratch.path().join("l");
        let (log_path, max_size) = (path.clone(), Some(max_size));
        let log = Log { driver, path: log_path, max_size, max_file, compress, attrs: Vec::new() };
        let mut writer = Writer::open(&log).expect("open");
        let lines = 70_000;
        for number in 0..lines {
            let text = format!("line {number} {:x}\n", (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            writer.append(Stream::Stdout, text.as_bytes(), at(number));
        }
        writer.close();
        let plain = Query::default();
        let queries = [
            Query { tail: Some(10), ..plain },
            Query { tail: Some(lines.unsigned_abs() - 5), until: Some(at(20)), ..plain },
            Query { since: Some(at(lines - 10)), ..plain },
            Query { since: Some(at(lines / 2)), until: Some(at(lines / 2 + 9)), ..plain },
            Query { since: Some(at(lines / 7)), until: Some(at(lines / 7 + 9)), ..plain },
            Query { until: Some(at(9)), ..plain },
        ];
        for (number, query) in queries.iter().enumerate() {
            // Each file is looked at: a page or two of it, and the table of one that is compressed.
            let files = 10_000 * scratch.names().len() as u64;
            let (bytes, found) = cost(&path, query);
            assert!((10..=16).contains(&found.len()), "{driver:?} {number}: {} lines", found.len());
            // Beyond `until`, a line that is earlier after all may follow within 256 KiB.
            // `--tail` of nearly all lines reads plain files backwards, as their lines are in no table.
            let returned = match number {
                1 if compress => 900_000 + max_size.unwrap_or(0),
                1 => u64::MAX / 2,
                _ => 900_000,
            };
            assert!(bytes < returned + files, "{driver:?} {compress} {query:?}: {bytes} bytes read");
        }
    }
}

#[test]
fn a_place_in_a_compressed_file_is_entered_where_it_is() {
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    let mut writer = writer(&path, Some(4_000_000), 3, true);
    let mut reader = None;
    let mut expected = 0;
    for number in 0..50_000 {
        let text = format!("line {number} {:x}\n", (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        writer.append(Stream::Stdout, text.as_bytes(), at(number));
        if number == 30_000 {
            let reader = reader.insert(Reader::open(&path, &Query::default()).expect("open"));
            while reader.read().expect("read").is_some() {
                expected += 1;
            }
        }
    }
    writer.close();
    assert!(scratch.names().contains(&"l.1.gz".to_owned()), "{:?}", scratch.names());
    let position = reader.and_then(|reader| reader.position()).expect("a place");
    let before = bytes_read();
    let (mut reader, found) = Reader::resume(&path, position).expect("resume");
    let next = reader.read().expect("read").expect("a line");
    assert!(found);
    assert!(texts(&[next])[0].starts_with(&format!("line {expected} ")), "{expected}");
    assert!(bytes_read() - before < 400_000, "{} bytes read", bytes_read() - before);
}

/// Reads to the end of what there is; the texts, and the lines that are said to be lost.
fn rest(follow: &mut Follow) -> (Vec<String>, u64) {
    let (mut found, mut lost) = (Vec::new(), 0);
    while let Some(entry) = follow.read().expect("read") {
        found.extend(texts(&[entry]));
    }
    while let Some(gap) = follow.take_lost() {
        assert!(!gap.uncounted, "{gap:?}");
        lost += gap.lines;
    }
    (found, lost)
}

#[test]
fn a_follower_that_is_overtaken_by_rotation_gets_every_line() {
    let mut random = Random::from_clock("overtaken");
    for (max_file, compress) in [(1, false), (2, false), (2, true), (3, false), (3, true)] {
        let scratch = Scratch::new();
        let path = scratch.path().join("l");
        let reader = Reader::open_to_follow(&path, &Query::default()).expect("open");
        let mut follow = reader.follow().expect("follow");
        let mut writer = writer(&path, Some(2_000), max_file, compress);
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        for number in 0..6000 {
            let text = format!("{number}\n");
            writer.append(Stream::Stdout, text.as_bytes(), at(number));
            expected.push(text);
            // Some thirty lines are in a file: most of the time it is gone long before anybody looks.
            if random.below(2000) == 0 {
                let (some, lost) = rest(&mut follow);
                assert_eq!(lost, 0);
                found.extend(some);
            }
            if random.below(10) == 0 {
                writer.work();
            }
        }
        let (some, lost) = rest(&mut follow);
        found.extend(some);
        assert!(found == expected, "{max_file} {compress}: {} lines of {}", found.len(), expected.len());
        assert_eq!(lost, 0);
        drop(follow);
        let names = scratch.names();
        assert!(!names.iter().any(|name| name.contains("followers")), "{names:?}");
    }
}

#[test]
fn lines_that_are_gone_are_counted() {
    for (max_file, compress) in [(1, false), (2, false), (3, true)] {
        let scratch = Scratch::new();
        let path = scratch.path().join("l");
        let mut writer = writer(&path, Some(2_000), max_file, compress);
        writer.append(Stream::Stdout, b"0\n", at(0));
        // Nobody lends anything to it.
        let mut follow = Reader::open(&path, &Query::default()).expect("open").follow().expect("follow");
        let (mut found, mut lost) = rest(&mut follow);
        for round in 0..20 {
            for number in 0..300 {
                let text = format!("{}\n", round * 300 + number + 1);
                writer.append(Stream::Stdout, text.as_bytes(), at(number));
            }
            let (some, gone) = rest(&mut follow);
            assert!(gone > 0, "{some:?}");
            lost += gone;
            found.extend(some);
        }
        assert_eq!(found.len() as u64 + lost, 6001);
        // A new shim goes on counting.
        writer.close();
        let mut writer = self::writer(&path, Some(2_000), max_file, compress);
        for number in 0..300 {
            writer.append(Stream::Stdout, format!("{}\n", 6001 + number).as_bytes(), at(number));
        }
        let (some, gone) = rest(&mut follow);
        assert_eq!(found.len() as u64 + lost + some.len() as u64 + gone, 6301);
        assert_eq!(some.last().map(String::as_str), Some("6300\n"));
    }
}

#[test]
fn what_a_killed_follower_was_lent_is_taken_back() {
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    let left = scratch.path().join("l.followers").join("77");
    fs::create_dir_all(&left).expect("a directory");
    fs::write(left.join("00000000000000000001"), "old").expect("a file");
    let mut writer = writer(&path, Some(2_000), 1, false);
    for number in 0..100 {
        writer.append(Stream::Stdout, format!("{number}\n").as_bytes(), at(number));
    }
    assert!(!left.exists());
}

#[test]
fn a_clock_that_is_set_back_hides_no_line() {
    let mut random = Random::from_clock("set back");
    for (max_size, compress) in [(100_000, false), (100_000, true), (1_500_000, false), (1_500_000, true)] {
        let scratch = Scratch::new();
        let path = scratch.path().join("l");
        let mut writer = writer(&path, Some(max_size), 100, compress);
        let mut second = 0;
        for number in 0..2000 {
            second += 1;
            if random.below(400) == 0 {
                second = i64::try_from(random.below(2000)).expect("a second");
            }
            let text = format!("{number} {}\n", "y".repeat(random.below(3000)));
            writer.append(Stream::Stdout, text.as_bytes(), at(second));
            while random.below(2) == 0 && writer.work() {}
        }
        let everything = all(&path, &Query::default());
        assert_eq!(everything.len(), 2000);
        for _ in 0..30 {
            let mut pick = || (random.below(3) > 0).then(|| at(random.below(2500) as i64));
            let query = Query { tail: None, since: pick(), until: pick() };
            let wanted = |entry: &&Entry| {
                query.since.is_none_or(|since| entry.time >= since)
                    && query.until.is_none_or(|until| entry.time <= until)
            };
            let expected: Vec<&Entry> = everything.iter().filter(wanted).collect();
            let found = all(&path, &query);
            assert!(
                found.iter().eq(expected.iter().copied()),
                "{query:?}: {} {}",
                found.len(),
                expected.len()
            );
        }
    }
}
