//! What others may write: frames on the control socket, and the files of logs, fed with mutated seeds.

use std::io::Write;
use std::os::unix::net::UnixStream;

use shim::log::{Query, Reader};
use shim::protocol::frame::Filled;
use shim::protocol::{FromShim, Inbox, ToShim};

fn frame(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a short frame");
    [&length.to_le_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn frames() {
    let seeds = [
        frame(r#"{"serial":1,"request":"Hello"}"#),
        [frame(r#"{"serial":1,"request":{"Hello":{}}}"#), frame("{}")].concat(),
        frame(r#"{"serial":2,"request":{"Resize":{"target":null,"height":24,"width":80}}}"#),
        frame(r#"{"Event":{"Exited":{"exit":{"code":137,"signal":"SIGKILL","at":"2026-01-01T00:00:00Z"}}}}"#),
        vec![255; 8],
        vec![0; 4],
    ];
    fuzz::bytes("frames", &seeds, |bytes| {
        let (mut here, there) = UnixStream::pair().expect("a pair of sockets");
        // More than the socket takes at once adds nothing to what a parser can do.
        here.write_all(&bytes[..bytes.len().min(64 << 10)]).expect("the socket takes it");
        drop(here);
        let (mut requests, mut answers) = (Inbox::default(), Inbox::default());
        while requests.fill(&there).map_err(|error| error.to_string())? == Filled::Bytes {}
        let mut found = 0;
        let told = loop {
            match requests.take::<ToShim>() {
                Ok(Some(_)) => found += 1,
                Ok(None) => break Ok(found),
                Err(error) => break Err(error.to_string()),
            }
        };
        let (mut here, there) = UnixStream::pair().expect("a pair of sockets");
        here.write_all(&bytes[..bytes.len().min(64 << 10)]).expect("the socket takes it");
        drop(here);
        while answers.fill(&there).map_err(|error| error.to_string())? == Filled::Bytes {}
        while let Ok(Some(_)) = answers.take::<FromShim>() {}
        told
    });
}

#[test]
fn log_files() {
    let seeds = [
        "{\"log\":\"a line\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00.5Z\"}\n\
         {\"log\":\"half\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"b\"},\"time\":\"2026-01-01T00:00:01Z\"}\n{\"log\":\"torn",
        "o 1795232587.500000000 what the program wrote\nE 1795232588.000000000 goes on\ne 1795232588.000000000 here\n",
        "o 99999999999999999999.000000000 x\n\n{}\n{\"log\":1}\n",
        "",
    ];
    let path = std::env::temp_dir().join(format!("berth-test-{}-fuzz.log", std::process::id()));
    fuzz::text("log_files", &seeds, |text| {
        std::fs::write(&path, text).expect("the file can be written");
        let read = |tail| -> Result<usize, String> {
            let mut reader = Reader::open(&path, &Query { tail, ..Query::default() })
                .map_err(|error| error.to_string())?;
            let mut entries = 0;
            while reader.read().map_err(|error| error.to_string())?.is_some() {
                entries += 1;
            }
            Ok(entries)
        };
        let all = read(None);
        let some = read(Some(2));
        if let (Ok(all), Ok(some)) = (&all, &some) {
            assert!(some <= all, "the end of a log is no more than all of it");
        }
        all
    });
    std::fs::remove_file(&path).expect("the file can be removed");
}
