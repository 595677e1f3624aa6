//! Reading HTTP/1.1 as it passes: heads, the bytes of bodies without their framing, and where messages end.

use std::mem;

/// The most of a head that is kept; no engine sends more.
const LONGEST_HEAD: usize = 64 << 10;

/// The first line and the headers of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) first_line: String,
    headers: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let first_line = lines.next().unwrap_or_default().to_owned();
        let header = |line: &str| line.split_once(':').map(|(k, v)| (k.to_lowercase(), v.trim().to_owned()));
        Self { first_line, headers: lines.filter_map(header).collect() }
    }

    /// The value of a header; `name` in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// How the body's end is known from its headers alone.
    pub(super) fn framing(&self) -> Option<Framing> {
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Some(Framing::Chunked);
        }
        self.header("content-length").and_then(|value| value.parse().ok()).map(Framing::Length)
    }
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
    /// What follows is no HTTP any more.
    Raw,
}

/// Who is told of what passes.
pub(super) trait Watcher {
    /// A head; how its body is framed.
    fn head(&mut self, head: Head) -> Framing;
    fn data(&mut self, bytes: &[u8]);
    /// The message is complete, or `cut` off.
    fn end(&mut self, cut: bool);
}

#[derive(Debug)]
enum State {
    Head(Vec<u8>),
    Body(u64),
    ChunkSize(Vec<u8>),
    Chunk(u64),
    /// The line end after a chunk, or trailers up to an empty line.
    AfterChunk {
        last: bool,
        line: Vec<u8>,
    },
    UntilClose,
    Raw,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Reader<W> {
    watcher: W,
    state: State,
}

impl<W: Watcher> Reader<W> {
    pub(super) fn new(watcher: W) -> Self {
        Self { watcher, state: State::Head(Vec::new()) }
    }

    /// Takes the next bytes of the direction.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = self.step(bytes);
        }
    }

    /// The direction has ended.
    pub(super) fn close(&mut self) {
        match mem::replace(&mut self.state, State::Raw) {
            State::Raw => {}
            State::Head(head) if head.is_empty() => {}
            State::UntilClose => self.watcher.end(false),
            _ => self.watcher.end(true),
        }
    }

    /// Takes some of the bytes; the rest.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        match mem::replace(&mut self.state, State::Raw) {
            State::Raw => &[],
            State::UntilClose => {
                self.watcher.data(bytes);
                self.state = State::UntilClose;
                &[]
            }
            State::Head(mut head) => {
                head.push(bytes[0]);
                if head.ends_with(b"\r\n\r\n") {
                    self.begin(&head);
                } else if head.len() < LONGEST_HEAD {
                    self.state = State::Head(head);
                }
                &bytes[1..]
            }
            State::Body(left) => {
                let (now, rest) = split(bytes, left);
                self.watcher.data(now);
                self.body(left - now.len() as u64);
                rest
            }
            State::ChunkSize(mut line) => {
                line.push(bytes[0]);
                self.state = match line.strip_suffix(b"\r\n") {
                    Some(size) => match chunk_size(size) {
                        0 => State::AfterChunk { last: true, line: Vec::new() },
                        size => State::Chunk(size),
                    },
                    None => State::ChunkSize(line),
                };
                &bytes[1..]
            }
            State::Chunk(left) => {
                let (now, rest) = split(bytes, left);
                self.watcher.data(now);
                self.state = match left - now.len() as u64 {
                    0 => State::AfterChunk { last: false, line: Vec::new() },
                    left => State::Chunk(left),
                };
                rest
            }
            State::AfterChunk { last, mut line } => {
                line.push(bytes[0]);
                self.after_chunk(last, line);
                &bytes[1..]
            }
        }
    }

    fn after_chunk(&mut self, last: bool, line: Vec<u8>) {
        if !line.ends_with(b"\r\n") {
            self.state = State::AfterChunk { last, line };
        } else if !last {
            self.state = State::ChunkSize(Vec::new());
        } else if line.len() > 2 {
            self.state = State::AfterChunk { last, line: Vec::new() };
        } else {
            self.body(0);
        }
    }

    fn begin(&mut self, head: &[u8]) {
        match self.watcher.head(Head::parse(&String::from_utf8_lossy(head))) {
            Framing::Length(length) => self.body(length),
            Framing::Chunked => self.state = State::ChunkSize(Vec::new()),
            Framing::UntilClose => self.state = State::UntilClose,
            Framing::Raw => {
                self.watcher.end(false);
                self.state = State::Raw;
            }
        }
    }

    fn body(&mut self, left: u64) {
        if left == 0 {
            self.watcher.end(false);
            self.state = State::Head(Vec::new());
        } else {
            self.state = State::Body(left);
        }
    }
}

fn split(bytes: &[u8], at_most: u64) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.len().min(usize::try_from(at_most).unwrap_or(usize::MAX)))
}

fn chunk_size(line: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(line);
    u64::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Print(String);

    impl Watcher for &mut Print {
        fn head(&mut self, head: Head) -> Framing {
            self.0.push_str(&format!("<{}>", head.first_line));
            if head.first_line.contains("101") {
                return Framing::Raw;
            }
            head.framing().unwrap_or(Framing::UntilClose)
        }

        fn data(&mut self, bytes: &[u8]) {
            self.0.push_str(&String::from_utf8_lossy(bytes));
        }

        fn end(&mut self, cut: bool) {
            self.0.push_str(if cut { "(cut)" } else { "(end)" });
        }
    }

    #[track_caller]
    fn check(stream: &str, expected: &str) {
        // Whole, and a byte at a time.
        for step in [stream.len(), 1] {
            let mut print = Print::default();
            let mut reader = Reader::new(&mut print);
            stream.as_bytes().chunks(step).for_each(|bytes| reader.feed(bytes));
            reader.close();
            assert_eq!(print.0, expected, "{stream:?} in steps of {step}");
        }
    }

    #[test]
    fn messages_end_where_their_framing_says() {
        check("A\r\nContent-Length: 2\r\n\r\nhiB\r\nContent-Length: 0\r\n\r\n", "<A>hi(end)<B>(end)");
        check(
            "A\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;x\r\n!\r\n0\r\nT: v\r\n\r\nB\r\n\r\nz",
            "<A>hi!(end)<B>z(end)",
        );
        check("A 101\r\n\r\nanything\r\n\r\n", "<A 101>(end)");
        check("A\r\nContent-Length: 9\r\n\r\nhi", "<A>hi(cut)");
    }
}
