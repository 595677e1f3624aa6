//! A socket in front of the engine's: everything passes unchanged, and answers are compared with the table.
//!
//! ```text
//!  clients ──▶ tap ──▶ engine     bytes go on before they are looked at; one thread for each direction
//! ```
//!
//! Whoever shuts down its sending side and whoever leaves altogether must look to the other as they do without us.

use super::compare::{Question, Seen, differences};
use super::facts::Facts;
use super::wire::{Framing, Head, Reader, Watcher};
use anyhow::{Context, Result};
use linux::epoll::{Epoll, Interest};
use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most of a body that is kept to be looked at.
const LONGEST_BODY: usize = 4 << 20;

/// What has been seen so far.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// How many answers were compared.
    pub(crate) answers: usize,
    /// Each difference, with the first request that had it and how often it came.
    pub(crate) differences: BTreeMap<String, (String, usize)>,
}

/// The socket that clients are given.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) socket: PathBuf,
    record: Arc<Mutex<Record>>,
}

impl Tap {
    /// Listens at `socket` for clients of the engine at `engine`, until the process ends.
    pub(crate) fn open(socket: PathBuf, engine: &Path) -> Result<Self> {
        let facts = Arc::new(Facts::of_the_api()?);
        let listener =
            UnixListener::bind(&socket).with_context(|| format!("listen at {}", socket.display()))?;
        let record = Arc::new(Mutex::new(Record::default()));
        let (engine, shared) = (engine.to_owned(), record.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // An engine that is not there: the client finds the connection closed.
                let Ok(server) = UnixStream::connect(&engine) else { continue };
                let connection = Connection {
                    facts: facts.clone(),
                    record: shared.clone(),
                    questions: Arc::default(),
                    has_left: Arc::default(),
                };
                std::thread::spawn(move || connection.carry(client, server));
            }
        });
        Ok(Self { socket, record })
    }

    /// What has been seen since the last call.
    pub(crate) fn take(&self) -> Record {
        std::mem::take(&mut *lock(&self.record))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the two directions of a connection share.
#[derive(Debug, Clone)]
struct Connection {
    facts: Arc<Facts>,
    record: Arc<Mutex<Record>>,
    /// What was asked and not answered yet.
    questions: Arc<Mutex<VecDeque<Question>>>,
    /// Whether the client sends no more: an engine may take that for leaving and end its answer early.
    has_left: Arc<AtomicBool>,
}

impl Connection {
    fn carry(self, client: UnixStream, server: UnixStream) {
        let (Ok(client_reader), Ok(server_reader)) = (client.try_clone(), server.try_clone()) else { return };
        let has_left = self.has_left.clone();
        let asked = Reader::new(Asked { questions: self.questions.clone() });
        let answered =
            Reader::new(Answered { connection: self, head: None, body: Vec::new(), is_cut: false });
        let (to_client, to_server) = (client.try_clone(), server.try_clone());
        let (Ok(mut to_client), Ok(mut to_server)) = (to_client, to_server) else { return };
        std::thread::scope(|threads| {
            threads.spawn(|| {
                copy(client_reader, &mut to_server, asked);
                has_left.store(true, Ordering::Release);
                // Either side may have ended this. Errors mean that it is closed already.
                let _ = server.shutdown(Shutdown::Write);
                let _ = hung_up(&client);
                let _ = server.shutdown(Shutdown::Both);
            });
            copy(server_reader, &mut to_client, answered);
            // An engine that says no more may read on: a client that is still sending must not be told otherwise.
            let _ = client.shutdown(Shutdown::Write);
            let _ = hung_up(&server);
            let _ = client.shutdown(Shutdown::Both);
        });
    }
}

/// Copies one direction to its end.
fn copy<W: Watcher>(mut from: UnixStream, to: &mut UnixStream, mut reader: Reader<W>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(got) => got,
        };
        let passed = to.write_all(&buffer[..got]);
        reader.feed(&buffer[..got]);
        if passed.is_err() {
            break;
        }
    }
    reader.close();
}

/// Waits until both directions of a socket are closed.
fn hung_up(socket: &UnixStream) -> linux::Result<()> {
    let mut epoll = Epoll::new(1)?;
    epoll.add(socket, 0, Interest::NONE)?;
    epoll.wait(&mut Vec::new(), None)?;
    Ok(())
}

/// The client's direction.
struct Asked {
    questions: Arc<Mutex<VecDeque<Question>>>,
}

impl Watcher for Asked {
    fn head(&mut self, head: Head) -> Framing {
        let mut words = head.first_line.split(' ');
        let question = Question::new(words.next().unwrap_or_default(), words.next().unwrap_or_default());
        lock(&self.questions).push_back(question);
        if head.header("upgrade").is_some() {
            return Framing::Raw;
        }
        head.framing().unwrap_or(Framing::Length(0))
    }

    fn data(&mut self, _: &[u8]) {}

    fn end(&mut self, _: bool) {}
}

/// The engine's direction.
struct Answered {
    connection: Connection,
    /// The question that is being answered, and the head of its answer.
    head: Option<(Question, Head)>,
    body: Vec<u8>,
    is_cut: bool,
}

impl Watcher for Answered {
    fn head(&mut self, head: Head) -> Framing {
        let status = status(&head);
        let is_interim = (100..200).contains(&status) && status != 101;
        let next = if is_interim { None } else { lock(&self.connection.questions).pop_front() };
        let Some(question) = next else { return if is_interim { Framing::Length(0) } else { Framing::Raw } };
        let has_body = question.method != "HEAD" && status != 204 && status != 304;
        let framing = head.framing().unwrap_or(Framing::UntilClose);
        self.head = Some((question, head));
        match status {
            101 => Framing::Raw,
            _ if !has_body => Framing::Length(0),
            _ => framing,
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        let room = LONGEST_BODY - self.body.len();
        self.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.is_cut |= bytes.len() > room;
    }

    fn end(&mut self, cut: bool) {
        let body = std::mem::take(&mut self.body);
        let cut = std::mem::take(&mut self.is_cut) || cut || self.connection.has_left.load(Ordering::Acquire);
        let Some((question, head)) = self.head.take() else { return };
        let content_type = head.header("content-type").unwrap_or_default();
        let seen = Seen { status: status(&head), content_type, body: &body, cut };
        let found = differences(&self.connection.facts, &question, &seen);
        let mut record = lock(&self.connection.record);
        record.answers += 1;
        for difference in found {
            let pattern = self.connection.facts.pattern(&question.method, &question.path).unwrap_or_default();
            let key = format!("{} {pattern} {}: {difference}", question.method, seen.status);
            let first = || (question.to_string(), 0);
            record.differences.entry(key).or_insert_with(first).1 += 1;
        }
    }
}

fn status(head: &Head) -> u16 {
    head.first_line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}
