//! Tests of tables: what they say is what the file holds, and wrong ones are not believed.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{GzDecoder, MultiGzDecoder};
use flate2::write::GzEncoder;

use super::*;
use crate::log::compress::Job;
use crate::random::Random;
use crate::scratch::Scratch;

fn line(second: i64, text: &str, ends: bool) -> String {
    let time = Timestamp::new(1_795_000_000 + second, 0).to_fixed();
    let end = if ends { "\\n" } else { "" };
    format!("{{\"log\":\"{text}{end}\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n")
}

/// Compresses `content`: the compressed file, and its bytes.
fn compressed(scratch: &Scratch, content: &[u8]) -> (File, Vec<u8>) {
    let path = scratch.path().join("l.1");
    std::fs::write(&path, content).expect("write");
    Job::begin(&path).expect("begin").complete().expect("complete");
    let path = scratch.path().join("l.1.gz");
    (File::open(&path).expect("open"), std::fs::read(&path).expect("read"))
}

#[test]
fn the_table_says_what_the_members_hold() {
    let mut random = Random::from_clock("blocks");
    let mut content = String::new();
    for number in 0..6000 {
        // The clock is set back in the middle.
        let second = if number > 3000 { number - 1000 } else { number };
        content += &line(second, &"x".repeat(random.below(900)), random.below(4) > 0);
    }
    let scratch = Scratch::new();
    let (file, bytes) = compressed(&scratch, content.as_bytes());
    let table = table(&file).expect("read").expect("a table");
    assert!(table.0.len() > 5, "{} blocks", table.0.len());
    let (mut at, mut all, mut lines) = (0, Vec::new(), 0);
    for block in &table.0 {
        let mut part = Vec::new();
        GzDecoder::new(&bytes[at..]).read_to_end(&mut part).expect("a member");
        let text: Vec<&[u8]> = part.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let ends = text.iter().filter(|line| line::ends_output_line(line)).count() as u64;
        let latest = text.iter().filter_map(|line| line::time(line)).max().map(nanos);
        let expected = (part.len() as u64, ends, latest);
        assert_eq!((block.content, block.lines, Some(block.latest)), (expected.0, expected.1, expected.2));
        assert!(block.content <= 256 * 1024, "{}", block.content);
        assert_eq!(part.last(), Some(&b'\n'));
        at += usize::try_from(block.compressed).expect("a length");
        all.extend(part);
        lines += ends;
    }
    assert!(all == content.as_bytes());
    assert_eq!(table.lines(), lines);
    // Whoever knows nothing of the table reads the same.
    let mut whole = String::new();
    MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut whole).expect("gzip");
    assert!(whole == content);
}

#[test]
fn a_very_long_line_is_one_block() {
    let scratch = Scratch::new();
    let mut content = vec![b'z'; 3 << 20];
    content.push(b'\n');
    let first = line(5, "after", true);
    content.extend_from_slice(first.as_bytes());
    content.extend_from_slice(b"torn");
    let (file, bytes) = compressed(&scratch, &content);
    let table = table(&file).expect("read").expect("a table");
    assert_eq!(table.0.iter().map(|block| block.content).sum::<u64>(), content.len() as u64);
    assert!(table.0.len() <= 2, "{:?}", table.0);
    let mut whole = Vec::new();
    MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut whole).expect("gzip");
    assert!(whole == content);
}

#[test]
fn large_files_have_larger_blocks_and_a_table_that_fits() {
    let step = 64;
    for length in [0, 1, step, step * MOST, step * MOST + 1, step * MOST * 7] {
        let mut blocks = Blocks::new(length, step);
        let text = "x\n".repeat(usize::try_from(step / 2).expect("a length"));
        for _ in 0..length / step {
            blocks.add(text.as_bytes());
            if blocks.is_full() {
                blocks.end(1);
            }
        }
        blocks.end(1);
        let member = blocks.table();
        assert!(member.len() > AFTER, "{length}: {} bytes do not fit", blocks.entries.len());
        let mut nothing = Vec::new();
        GzDecoder::new(member.as_slice()).read_to_end(&mut nothing).expect("a member");
        assert!(nothing.is_empty());
    }
}

#[test]
fn a_file_without_a_table_or_with_a_wrong_one_has_none() {
    let scratch = Scratch::new();
    let content = line(1, "text", true).repeat(20_000);
    let (_, bytes) = compressed(&scratch, content.as_bytes());
    let mut plain = GzEncoder::new(Vec::new(), Compression::fast());
    plain.write_all(content.as_bytes()).expect("compress");
    let longer = [&b"x"[..], &bytes].concat();
    let more = [&bytes[..], b"x"].concat();
    let mut count = bytes.clone();
    let at = bytes.len() - AFTER;
    count[at + 3] = 0xff;
    let cases =
        [plain.finish().expect("compress"), longer, more, bytes[..at].to_vec(), count, Vec::new(), vec![3]];
    for (number, case) in cases.into_iter().enumerate() {
        let path = scratch.path().join("case");
        std::fs::write(&path, case).expect("write");
        assert!(table(&File::open(&path).expect("open")).expect("read").is_none(), "case {number}");
    }
}
