//! Tests of the codec: the JSON on the wire, and frames that arrive in any pieces.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::*;
use crate::protocol::{
    Attach, Error, ErrorKind, Event, Exit, Framing, FromShim, Reply, Request, Target, ToShim,
};
use crate::timestamp::Timestamp;

fn text<M: Message>(message: &M) -> String {
    String::from_utf8(encode(message).expect("encode").split_off(HEADER)).expect("JSON is text")
}

#[test]
fn messages_stand_on_the_wire_as_documented() {
    let exit = Exit { code: 137, signal: Some(9), at: Timestamp::new(1, 5), oom_killed: true };
    let attach = Attach {
        target: Target::Exec("e1".into()),
        stdin: true,
        stdout: true,
        stderr: false,
        framing: Framing::Mux,
    };
    let found = [
        text(&ToShim { serial: 1, request: Request::Hello }),
        text(&ToShim {
            serial: 2,
            request: Request::Resize { target: Target::Container, height: 24, width: 80 },
        }),
        text(&ToShim { serial: 3, request: Request::Attach(attach) }),
        text(&FromShim::Reply { serial: 3, reply: Reply::Attached }),
        text(&FromShim::Reply { serial: 4, reply: Reply::Error(Error::new(ErrorKind::NotFound, "no such")) }),
        text(&FromShim::Event(Event::Exited { exit })),
        text(&FromShim::Event(Event::Oom)),
    ];
    let expected = [
        r#"{"serial":1,"request":"hello"}"#,
        r#"{"serial":2,"request":{"resize":{"target":"container","height":24,"width":80}}}"#,
        r#"{"serial":3,"request":{"attach":{"target":{"exec":"e1"},"stdin":true,"stdout":true,"stderr":false,"framing":"mux"}}}"#,
        r#"{"reply":{"serial":3,"reply":"attached"}}"#,
        r#"{"reply":{"serial":4,"reply":{"error":{"kind":"not_found","message":"no such"}}}}"#,
        r#"{"event":{"exited":{"exit":{"code":137,"signal":9,"at":"1970-01-01T00:00:01.000000005Z","oom_killed":true}}}}"#,
        r#"{"event":"oom"}"#,
    ];
    assert_eq!(found, expected);
}

#[test]
fn frames_that_arrive_byte_by_byte_are_put_together() {
    let (left, right) = linux::socket::pair().expect("pair");
    let (reader, writer) = std::io::pipe().expect("pipe");
    let attach =
        Attach { target: Target::Container, stdin: false, stdout: true, stderr: true, framing: Framing::Raw };
    let messages = [
        (ToShim { serial: 1, request: Request::Hello }, vec![]),
        (ToShim { serial: 2, request: Request::Attach(attach.clone()) }, vec![OwnedFd::from(writer)]),
        (ToShim { serial: 3, request: Request::Attach(attach) }, vec![OwnedFd::from(reader)]),
        (ToShim { serial: 4, request: Request::Start }, vec![]),
    ];
    let mut inbox = Inbox::default();
    let mut found = Vec::new();
    for (message, descriptors) in &messages {
        let bytes = encode(message).expect("encode");
        for (index, byte) in bytes.iter().enumerate() {
            let fds: Vec<_> = if index == 0 { descriptors.iter().map(AsFd::as_fd).collect() } else { vec![] };
            assert_eq!(linux::socket::send(&left, &[*byte], &fds), Ok(1));
            if index % 3 == 0 {
                while inbox.fill(&right).expect("fill") == Filled::Bytes {}
            }
        }
    }
    while inbox.fill(&right).expect("fill") == Filled::Bytes {}
    while let Some((message, descriptors)) = inbox.take::<ToShim>().expect("take") {
        found.push((message, descriptors.len()));
    }
    let expected: Vec<_> = messages.iter().map(|(message, fds)| (message.clone(), fds.len())).collect();
    assert_eq!(found, expected);
    assert_eq!(inbox.bytes.capacity(), 0);
}

#[test]
fn a_long_message_is_sent_in_as_many_pieces_as_the_socket_takes() {
    let (left, right) = linux::socket::pair().expect("pair");
    let long = "x".repeat(3_000_000);
    let message = FromShim::Reply { serial: 9, reply: Reply::Error(Error::new(ErrorKind::Other, long)) };
    let mut outbox = Outbox::default();
    outbox.push(&message, vec![]).expect("push");
    outbox.push(&FromShim::Event(Event::Oom), vec![]).expect("push");
    let mut inbox = Inbox::default();
    let mut found: Vec<FromShim> = Vec::new();
    while found.len() < 2 {
        outbox.flush(&left).expect("flush");
        while inbox.fill(&right).expect("fill") == Filled::Bytes {}
        while let Some((message, _)) = inbox.take().expect("take") {
            found.push(message);
        }
    }
    assert!(found == [message, FromShim::Event(Event::Oom)]);
    assert!(outbox.is_empty());
}

#[test]
fn lies_end_the_connection() {
    let receive = |bytes: &[u8], fds: &[BorrowedFd<'_>]| {
        let (left, right) = linux::socket::pair().expect("pair");
        linux::socket::send(&left, bytes, fds).expect("send");
        let mut inbox = Inbox::default();
        assert_eq!(inbox.fill(&right).expect("fill"), Filled::Bytes);
        inbox.take::<ToShim>().expect_err("an error").to_string()
    };
    let framed = |text: &[u8]| {
        let mut frame = u32::try_from(text.len()).expect("short").to_le_bytes().to_vec();
        frame.extend_from_slice(text);
        frame
    };
    let too_long = "a control frame of 4294967295 bytes is longer than the limit of 16777216";
    assert_eq!(receive(&[0xff; 4], &[]), too_long);
    let attach = framed(br#"{"serial":1,"request":{"attach":{"framing":"raw"}}}"#);
    assert_eq!(receive(&attach, &[]), "a control message came with 0 descriptors instead of 1");
    let hello = framed(br#"{"serial":1,"request":"hello"}"#);
    let stdin = std::io::stdin();
    assert_eq!(receive(&hello, &[stdin.as_fd()]), "a control message came with 1 descriptors instead of 0");
    assert!(receive(&framed(b"no"), &[]).starts_with("a control frame is not understood: "));
}
