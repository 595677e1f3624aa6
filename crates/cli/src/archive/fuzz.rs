//! Archives of a hostile daemon, fed with mutated seeds: nothing is made beside the target.

use std::fs;

use super::unpack::Unpacker;

/// A header of a ustar archive with its content.
fn entry(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

#[test]
fn archives() {
    let base = std::env::temp_dir().join(format!("berth-test-archives-{}", std::process::id()));
    let target = base.join("target");
    let seeds = [
        [entry("a/", b'5', "", b""), entry("a/file", b'0', "", b"content"), vec![0; 1024]].concat(),
        [entry("a", b'2', "..", b""), entry("a/out", b'0', "", b"out"), vec![0; 1024]].concat(),
        [entry("a", b'1', "../../x", b""), entry("../up", b'0', "", b"up")].concat(),
        [entry("x", b'x', "", b"30 path=/tmp/berth-test-abs\n"), entry("a", b'0', "", b"1")].concat(),
    ];
    fuzz::bytes("archives", &seeds, |bytes| {
        fs::create_dir_all(&base).expect("a directory");
        let mut unpacker = Unpacker::new("a", &target);
        let pushed = bytes.chunks(700).try_for_each(|piece| unpacker.push(piece));
        let written = pushed.and_then(|()| unpacker.finish()).map_err(|error| error.to_string());
        let made: Vec<_> =
            fs::read_dir(&base).expect("a list").flatten().map(|one| one.file_name()).collect();
        assert!(made.iter().all(|name| name == "target"), "made beside the target: {made:?}");
        fs::remove_dir_all(&base).expect("nothing is left");
        written
    });
}
