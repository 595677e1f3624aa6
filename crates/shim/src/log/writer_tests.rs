//! Tests of the writing end: the exact file, rotation, and what happens when nothing can be written.

use std::fs;
use std::path::Path;

use super::*;
use crate::scratch::Scratch;

pub(in crate::log) fn settings(path: &Path) -> Log {
    Log {
        driver: LogDriver::JsonFile,
        path: path.to_owned(),
        max_size: None,
        max_file: 1,
        compress: false,
        attrs: Vec::new(),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_795_232_587 + second, 120_000_000)
}

#[test]
fn the_file_is_what_docker_writes() {
    let scratch = Scratch::new();
    let path = scratch.path().join("c-json.log");
    let attrs = [("tag", "x"), ("label", "a<b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut writer = Writer::open(&Log { attrs: attrs.to_vec(), ..settings(&path) }).expect("open");
    writer.append(Stream::Stdout, b"one\ntwo ", at(0));
    writer.append(Stream::Stderr, b"oops\r\n", at(1));
    writer.append(Stream::Stdout, b"goes on\nend", at(2));
    writer.finish(Stream::Stdout, at(3));
    writer.finish(Stream::Stderr, at(3));
    let expected = r#"{"log":"one\n","stream":"stdout","attrs":{"label":"a\u003cb","tag":"x"},"time":"2026-11-21T03:43:07.12Z"}
{"log":"oops\r\n","stream":"stderr","attrs":{"label":"a\u003cb","tag":"x"},"time":"2026-11-21T03:43:08.12Z"}
{"log":"two goes on\n","stream":"stdout","attrs":{"label":"a\u003cb","tag":"x"},"time":"2026-11-21T03:43:09.12Z"}
{"log":"end","stream":"stdout","attrs":{"label":"a\u003cb","tag":"x"},"time":"2026-11-21T03:43:10.12Z"}
"#;
    assert_eq!(fs::read_to_string(&path).expect("a file"), expected);
    assert_eq!(*writer.status(), LogStatus::default());
}

#[test]
fn the_same_bytes_give_what_docker_recorded() {
    // Recorded from Docker 20.10 (`docker run --label a=b --log-opt labels=a … cat sample`), times replaced by one.
    let expected = [
        r#"{"log":"plain\n","stream":"stdout","attrs":{"a":"b"},"time":"T"}"#.to_owned(),
        concat!(
            r#"{"log":"\"quoted\" \\ \u003ca href=x\u003e\u0026\u003c/a\u003e\u0009tab\u0000nul"#,
            "\x7f",
            r#"del\u001b[0m\r\n","stream":"stdout","attrs":{"a":"b"},"time":"T"}"#
        )
        .to_owned(),
        r#"{"log":"grüße € 😀 \u2028\u2029\n","stream":"stdout","attrs":{"a":"b"},"time":"T"}"#.to_owned(),
        r#"{"log":"\ufffd\ufffd bad \ufffd\ufffd cut\n","stream":"stdout","attrs":{"a":"b"},"time":"T"}"#
            .to_owned(),
        format!(r#"{{"log":"{}","stream":"stdout","attrs":{{"a":"b"}},"time":"T"}}"#, "x".repeat(16384)),
        format!(r#"{{"log":"{}","stream":"stdout","attrs":{{"a":"b"}},"time":"T"}}"#, "x".repeat(16384)),
        format!(r#"{{"log":"{}\n","stream":"stdout","attrs":{{"a":"b"}},"time":"T"}}"#, "x".repeat(7232)),
        format!(r#"{{"log":"{}","stream":"stdout","attrs":{{"a":"b"}},"time":"T"}}"#, "y".repeat(16384)),
        r#"{"log":"\n","stream":"stdout","attrs":{"a":"b"},"time":"T"}"#.to_owned(),
        r#"{"log":"\n","stream":"stdout","attrs":{"a":"b"},"time":"T"}"#.to_owned(),
        r#"{"log":"\n","stream":"stdout","attrs":{"a":"b"},"time":"T"}"#.to_owned(),
        r#"{"log":"end without newline","stream":"stdout","attrs":{"a":"b"},"time":"T"}"#.to_owned(),
    ];
    let mut sample = b"plain\n\"quoted\" \\ <a href=x>&</a>\ttab\x00nul\x7fdel\x1b[0m\r\n".to_vec();
    sample.extend_from_slice("grüße € 😀 \u{2028}\u{2029}\n".as_bytes());
    sample.extend_from_slice(b"\xff\xfe bad \xe2\x82 cut\n");
    sample.extend_from_slice(&[vec![b'x'; 40_000], b"\n".to_vec(), vec![b'y'; 16_384]].concat());
    sample.extend_from_slice(b"\n\n\nend without newline");
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    let mut writer =
        Writer::open(&Log { attrs: vec![("a".into(), "b".into())], ..settings(&path) }).expect("open");
    writer.append(Stream::Stdout, &sample, at(0));
    writer.finish(Stream::Stdout, at(0));
    let found = fs::read_to_string(&path).expect("a file").replace("2026-11-21T03:43:07.12Z", "T");
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn full_files_are_put_aside_and_the_oldest_goes() {
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    let log = Log { max_size: Some(250), max_file: 3, ..settings(&path) };
    let mut writer = Writer::open(&log).expect("open");
    for number in 0..10 {
        writer.append(Stream::Stdout, format!("line {number}\n").as_bytes(), at(number));
    }
    assert_eq!(scratch.names(), ["l", "l.1", "l.2"]);
    let lines = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(scratch.path().join(name)).expect("a file");
        text.lines().map(|line| line.split("\\n").next().expect("a part")[8..].to_owned()).collect()
    };
    // Each line takes 74 bytes: a file is full when it has 250 or more, as in Docker.
    assert_eq!(lines("l.2"), ["line 0", "line 1", "line 2", "line 3"]);
    assert_eq!(lines("l.1"), ["line 4", "line 5", "line 6", "line 7"]);
    assert_eq!(lines("l"), ["line 8", "line 9"]);
    for number in 10..13 {
        writer.append(Stream::Stdout, format!("line {number}\n").as_bytes(), at(number));
    }
    assert_eq!(lines("l.2"), ["line 4", "line 5", "line 6", "line 7"]);
}

#[test]
fn files_put_aside_are_compressed_bit_by_bit() {
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    let log = Log { max_size: Some(600_000), max_file: 3, compress: true, ..settings(&path) };
    let mut writer = Writer::open(&log).expect("open");
    let line = [vec![b'x'; 10_000], vec![b'\n']].concat();
    for _ in 0..61 {
        writer.append(Stream::Stdout, &line, at(0));
    }
    assert_eq!(scratch.names(), ["l", "l.1", "l.1.gz.tmp"]);
    let steps = std::iter::from_fn(|| writer.work().then_some(())).count();
    assert_eq!(steps, 3);
    assert_eq!(scratch.names(), ["l", "l.1.gz"]);
    for _ in 0..181 {
        writer.append(Stream::Stdout, &line, at(0));
    }
    while writer.work() {}
    assert_eq!(scratch.names(), ["l", "l.1.gz", "l.2.gz"]);
    assert_eq!(*writer.status(), LogStatus::default());
}

#[test]
fn a_single_file_is_replaced_when_it_is_full() {
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    let mut writer = Writer::open(&Log { max_size: Some(100), ..settings(&path) }).expect("open");
    writer.append(Stream::Stdout, b"1\n2\n3\n", at(0));
    assert_eq!(scratch.names(), ["l"]);
    assert!(fs::read_to_string(&path).expect("a file").starts_with("{\"log\":\"3\\n\""));
}

#[test]
fn what_cannot_be_written_is_counted_and_never_half_there() {
    let scratch = Scratch::new();
    let path = scratch.path().join("full");
    std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
    let mut writer = Writer::open(&settings(&path)).expect("open");
    writer.append(Stream::Stdout, b"1\n2\n3", at(0));
    writer.finish(Stream::Stdout, at(0));
    let status = writer.status();
    assert_eq!(status.lost_lines, 3);
    assert_eq!(status.error.as_deref(), Some("cannot write the log: No space left on device (os error 28)"));
}

#[test]
fn a_line_torn_by_a_crash_is_ended_before_the_next_one() {
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    fs::write(&path, "{\"log\":\"to").expect("write");
    let mut writer = Writer::open(&settings(&path)).expect("open");
    writer.append(Stream::Stdout, b"next\n", at(0));
    let text = fs::read_to_string(&path).expect("a file");
    assert_eq!(text.lines().collect::<Vec<_>>().len(), 2, "{text}");
    assert!(text.starts_with("{\"log\":\"to\n{\"log\":\"next"), "{text}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    let refused = |log: Log| Writer::open(&log).err().expect("an error").to_string();
    let driver = serde_json::from_str(r#""gelf""#).expect("any name");
    assert_eq!(
        refused(Log { driver, ..settings(&path) }),
        "invalid log settings: this shim writes json-file, local or none"
    );
    let attrs = vec![("a".into(), "x".repeat(70_000))];
    assert_eq!(
        refused(Log { attrs, ..settings(&path) }),
        "invalid log settings: labels and environment of 70017 bytes exceed the limit of 65536"
    );
    assert!(
        refused(settings(Path::new("/absent/l"))).starts_with("cannot open the log file /absent/l: No such")
    );
}

#[test]
fn memory_is_bounded_by_the_batch_and_given_back() {
    let scratch = Scratch::new();
    let path = scratch.path().join("l");
    let log = Log { max_size: Some(1 << 20), max_file: 1, ..settings(&path) };
    let mut writer = Writer::open(&log).expect("open");
    let mut random = crate::random::Random::from_clock("writer");
    let noise: Vec<u8> = (0..65_536).map(|_| random.below(256) as u8).collect();
    for _ in 0..20 {
        writer.append(Stream::Stdout, &noise, at(0));
        writer.append(Stream::Stderr, &[0xff; 65_536], at(0));
    }
    assert!(writer.encoder.batch.capacity() < 4 * BATCH, "{}", writer.encoder.batch.capacity());
    writer.release();
    assert_eq!(writer.encoder.batch.capacity(), 0);
    assert!(fs::metadata(&path).expect("a file").len() < 1_300_000);
}
