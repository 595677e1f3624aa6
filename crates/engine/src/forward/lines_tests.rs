//! Lines are read on where they were left, and parts of lines know each other.

use shim::log::Writer;
use shim::protocol::{Log, LogDriver};

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(word: &str) -> Self {
        let path = std::env::temp_dir().join(format!("berth-test-lines-{word}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    fn writer(&self) -> Writer {
        let (driver, path) = (LogDriver::Local, self.log());
        let log =
            Log { driver, path, max_size: Some(64 << 10), max_file: 50, compress: true, attrs: Vec::new() };
        Writer::open(&log).unwrap()
    }

    fn lines(&self, limit: Option<u64>) -> Lines {
        Lines::open("c", &self.log(), self.0.join("place.json"), limit).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_795_000_000 + second, 0)
}

/// Sends `batches` batches, and remembers it.
fn send(lines: &mut Lines, batches: usize) -> Vec<Line> {
    let mut sent = Vec::new();
    for _ in 0..batches {
        lines.fill().unwrap();
        let batch = lines.batch();
        lines.save(&batch).unwrap();
        sent.extend(batch);
    }
    sent
}

#[test]
fn another_daemon_goes_on_where_the_last_one_was() {
    let scratch = Scratch::new("on");
    let mut writer = scratch.writer();
    let mut found = Vec::new();
    for round in 0..30 {
        for number in 0..1000 {
            let text = format!("{}\n", round * 1000 + number);
            writer.append(Stream::Stdout, text.as_bytes(), at(round));
            while writer.work() {}
        }
        // It dies after a few batches: what it read and did not send is read again.
        let mut lines = scratch.lines(None);
        let batches = if round == 29 { 1000 } else { 3 };
        found.extend(send(&mut lines, batches));
        lines.fill().unwrap();
    }
    let numbers: Vec<usize> =
        found.iter().map(|line| String::from_utf8_lossy(&line.bytes).parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..30_000), "{} lines", numbers.len());
}

#[test]
fn parts_of_a_line_are_numbered_across_daemons() {
    let scratch = Scratch::new("parts");
    let mut writer = scratch.writer();
    writer.append(Stream::Stdout, &vec![b'x'; 40_000], at(1));
    writer.append(Stream::Stderr, b"whole\n", at(2));
    let mut found = send(&mut scratch.lines(None), 1);
    writer.append(Stream::Stdout, b"end\nnext", at(3));
    writer.finish(Stream::Stdout, at(4));
    found.extend(send(&mut scratch.lines(None), 1));
    let id = Partial::id_of("c", false, at(1));
    let shape: Vec<_> = found
        .iter()
        .map(|line| {
            let partial = line.partial.as_ref().map(|part| (part.id == id, part.ordinal, part.last));
            (line.bytes.len(), partial)
        })
        .collect();
    let expected = [
        (16384, Some((true, 1, false))),
        (16384, Some((true, 2, false))),
        (5, None),
        (7235, Some((true, 3, true))),
        (4, Some((false, 1, false))),
    ];
    assert_eq!(shape, expected);
}

#[test]
fn what_a_small_buffer_has_no_room_for_is_dropped_while_nothing_can_be_sent() {
    let scratch = Scratch::new("drop");
    let mut writer = scratch.writer();
    for number in 0..10_000 {
        writer.append(Stream::Stdout, format!("{number:09}\n").as_bytes(), at(number));
    }
    let mut lines = scratch.lines(Some(9000));
    lines.fill().unwrap();
    assert_eq!((lines.waiting.len(), lines.take_dropped()), (256, 0));
    while lines.read_on().unwrap() {}
    assert_eq!((lines.waiting.len(), lines.take_dropped()), (1000, 9000));
    assert_eq!(send(&mut lines, 5).len(), 1000);
}

#[test]
fn a_spoilt_place_sends_everything_again() {
    let scratch = Scratch::new("spoilt");
    scratch.writer().append(Stream::Stdout, b"one\n", at(0));
    std::fs::write(scratch.0.join("place.json"), b"\0\0\0").unwrap();
    assert_eq!(send(&mut scratch.lines(None), 1).len(), 1);
    assert_eq!(send(&mut scratch.lines(None), 1).len(), 0);
}
