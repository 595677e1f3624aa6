//! Exchanges over a netlink socket: acknowledged requests, dumps, atomic nf_tables batches.

use linux::netlink::{Family, Socket};

use super::message::Message;
use super::parse::{Received, attributes, find, messages, text, u32_at};
use super::{control, flag};

/// The result of a netlink exchange.
pub type Result<T> = std::result::Result<T, Error>;

/// A netlink exchange that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A system call on the socket failed.
    #[error(transparent)]
    System(#[from] linux::Error),
    /// The kernel refused a request; prints as `RTM_NEWLINK(bridge docker0) = EEXIST: File exists`, followed by the
    /// kernel's own explanation when it gave one.
    #[error("{cause}{}", explanation.as_ref().map(|words| format!(" ({words})")).unwrap_or_default())]
    Refused {
        /// The request with its arguments, and the error number.
        cause: linux::Error,
        /// The kernel's extended acknowledgement.
        explanation: Option<String>,
    },
    /// An answer that is not well formed.
    #[error("{request}: the kernel's answer cannot be read: {what}")]
    Malformed {
        /// The request that was answered.
        request: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A request that does not fit into a message.
    #[error("{request}: an attribute is longer than a message can hold")]
    TooLong {
        /// The request.
        request: String,
    },
    /// A dump that the kernel reported as inconsistent each time it was asked.
    #[error("{request}: the list kept changing while it was read; try again")]
    Unstable {
        /// The request.
        request: String,
    },
}

impl Error {
    /// The error number, when the kernel or a system call gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::System(error) | Self::Refused { cause: error, .. } => Some(error.errno()),
            Self::Malformed { .. } | Self::TooLong { .. } | Self::Unstable { .. } => None,
        }
    }

    /// Whether the request named something that does not exist.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        const ENOENT: i32 = 2;
        const ESRCH: i32 = 3;
        const ENODEV: i32 = 19;
        const EADDRNOTAVAIL: i32 = 99;
        matches!(self.errno(), Some(ENOENT | ESRCH | ENODEV | EADDRNOTAVAIL))
    }

    /// Whether the request would have created something that exists already.
    #[must_use]
    pub fn is_present(&self) -> bool {
        const EEXIST: i32 = 17;
        self.errno() == Some(EEXIST)
    }
}

/// One message of a dump: its type and what follows the header.
pub(crate) type Dumped<'a> = (u16, &'a [u8]);

/// A socket with the numbering of its requests.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    sequence: u32,
}

impl Connection {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open(family: Family) -> Result<Self> {
        Ok(Self { socket: Socket::open(family)?, sequence: 0 })
    }

    /// Sends one request and waits for its acknowledgement.
    pub(crate) fn request(&mut self, message: &Message) -> Result<()> {
        self.requests(std::slice::from_ref(message))
    }

    /// Sends several requests in one datagram and waits for all acknowledgements. The kernel carries out each of
    /// them whatever became of those before; the first failure is returned.
    pub(crate) fn requests(&mut self, batch: &[Message]) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        for message in batch {
            self.sequence = self.sequence.wrapping_add(1);
            let message = message.clone().with_flags(flag::ACK);
            write(&message, self.sequence, &mut datagram)?;
        }
        self.socket.send(&datagram)?;
        let mut failure = None;
        let mut answered = 0;
        while answered < batch.len() {
            let datagram = self.socket.receive()?;
            for answer in read(&datagram, batch[0].name())? {
                let index = answer.sequence.wrapping_sub(first) as usize;
                let Some(request) = batch.get(index) else { continue };
                if answer.kind == control::ERROR {
                    answered += 1;
                    failure = failure.or(outcome(&answer, request.name())?);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Asks for a list and gives each of its messages to `visit`; begins again when the list changed meanwhile, so
    /// `visit` is a constructor that is called once for each attempt.
    pub(crate) fn dump<T>(
        &mut self,
        message: &Message,
        mut visit: impl FnMut(&mut Vec<T>, Dumped<'_>) -> Option<()>,
    ) -> Result<Vec<T>> {
        const ATTEMPTS: usize = 16;
        for _ in 0..ATTEMPTS {
            let mut list = Vec::new();
            if self.dump_once(message, |dumped| visit(&mut list, dumped))? {
                return Ok(list);
            }
        }
        Err(Error::Unstable { request: message.name().to_owned() })
    }

    /// One attempt; `false` when the list changed meanwhile.
    fn dump_once(
        &mut self,
        message: &Message,
        mut visit: impl FnMut(Dumped<'_>) -> Option<()>,
    ) -> Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        write(&message.clone().with_flags(flag::DUMP), self.sequence, &mut datagram)?;
        self.socket.send(&datagram)?;
        let mut consistent = true;
        loop {
            let datagram = self.socket.receive()?;
            for answer in read(&datagram, message.name())? {
                if answer.sequence != self.sequence {
                    continue;
                }
                consistent &= answer.flags & flag::DUMP_INTERRUPTED == 0;
                match answer.kind {
                    control::ERROR | control::DONE => {
                        return match outcome(&answer, message.name())? {
                            Some(error) => Err(error),
                            None => Ok(consistent),
                        };
                    }
                    kind => visit((kind, answer.payload))
                        .ok_or_else(|| malformed(message.name(), "an attribute has a wrong length"))?,
                }
            }
        }
    }

    /// Asks for one object; `None` when it does not exist.
    pub(crate) fn get<T>(
        &mut self,
        message: &Message,
        parse: impl Fn(Dumped<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        write(message, self.sequence, &mut datagram)?;
        self.socket.send(&datagram)?;
        loop {
            let datagram = self.socket.receive()?;
            for answer in read(&datagram, message.name())? {
                if answer.sequence != self.sequence {
                    continue;
                }
                if answer.kind != control::ERROR {
                    let found = parse((answer.kind, answer.payload));
                    return found
                        .map(Some)
                        .ok_or_else(|| malformed(message.name(), "an attribute is missing"));
                }
                return match outcome(&answer, message.name())? {
                    Some(error) if error.is_absent() => Ok(None),
                    Some(error) => Err(error),
                    None => Ok(None),
                };
            }
        }
    }

    /// Sends a batch that the kernel carries out as a whole or not at all (nfnetlink). `begin` and `end` are its
    /// brackets.
    pub(crate) fn transact(&mut self, begin: &Message, batch: &[Message], end: &Message) -> Result<()> {
        let Some(last) = batch.len().checked_sub(1) else { return Ok(()) };
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        write(begin, first, &mut datagram)?;
        for (index, message) in batch.iter().enumerate() {
            let acknowledged = if index == last { flag::ACK } else { 0 };
            let sequence = first.wrapping_add(1).wrapping_add(index as u32);
            write(&message.clone().with_flags(acknowledged), sequence, &mut datagram)?;
        }
        self.sequence = first.wrapping_add(batch.len() as u32).wrapping_add(1);
        write(end, self.sequence, &mut datagram)?;
        self.socket.send(&datagram)?;
        self.transact_answer(first, begin, batch)
    }

    /// Reads answers until the last message's, or one to the brackets, which means that nothing was done.
    fn transact_answer(&mut self, first: u32, begin: &Message, batch: &[Message]) -> Result<()> {
        let mut failure = None;
        loop {
            let datagram = self.socket.receive()?;
            for answer in read(&datagram, begin.name())? {
                if answer.kind != control::ERROR {
                    continue;
                }
                let index = answer.sequence.wrapping_sub(first) as usize;
                if index > batch.len() + 1 {
                    continue;
                }
                let bracket = index == 0 || index == batch.len() + 1;
                let request = if bracket { begin } else { &batch[index - 1] };
                failure = failure.or(outcome(&answer, request.name())?);
                if bracket || index == batch.len() {
                    return failure.map_or(Ok(()), Err);
                }
            }
        }
    }

    /// Joins a multicast group and hands the socket over to whoever listens.
    pub(crate) fn listen(self, group: u32) -> Result<Socket> {
        self.socket.join(group)?;
        Ok(self.socket)
    }
}

fn write(message: &Message, sequence: u32, datagram: &mut Vec<u8>) -> Result<()> {
    message.write(sequence, datagram).ok_or_else(|| Error::TooLong { request: message.name().to_owned() })
}

fn read<'a>(datagram: &'a [u8], request: &str) -> Result<Vec<Received<'a>>> {
    messages(datagram).ok_or_else(|| malformed(request, "a message has a wrong length"))
}

fn malformed(request: &str, what: &'static str) -> Error {
    Error::Malformed { request: request.to_owned(), what }
}

/// The failure that an NLMSG_ERROR or NLMSG_DONE carries, if any.
fn outcome(answer: &Received<'_>, request: &str) -> Result<Option<Error>> {
    const EXPLANATION: u16 = 1;
    let Some(code) = u32_at(answer.payload, 0) else {
        return Err(malformed(request, "it is too short for an error number"));
    };
    let errno = code.cast_signed().checked_neg().unwrap_or(i32::MAX);
    if errno == 0 {
        return Ok(None);
    }
    let header = if answer.kind == control::ERROR { 4 + 16 } else { 4 };
    let with_attributes = answer.flags & flag::ACK_ATTRIBUTES != 0;
    let without_copy = answer.kind != control::ERROR || answer.flags & flag::CAPPED != 0;
    let explanation = answer
        .payload
        .get(header..)
        .filter(|_| with_attributes && without_copy)
        .and_then(attributes)
        .and_then(|list| find(&list, EXPLANATION).map(text));
    Ok(Some(Error::Refused { cause: linux::Error::new(request, errno), explanation }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_prints_the_request_and_the_kernels_words() {
        let mut payload = (-22i32).to_ne_bytes().to_vec();
        payload.extend_from_slice(&[0; 16]);
        payload.extend_from_slice(&[12, 0, 1, 0]);
        payload.extend_from_slice(b"bad MTU\0");
        let flags = flag::CAPPED | flag::ACK_ATTRIBUTES;
        let answer = Received { kind: control::ERROR, flags, sequence: 1, payload: &payload };
        let error = outcome(&answer, "RTM_NEWLINK(bridge docker0)").unwrap().unwrap();
        assert_eq!(error.to_string(), "RTM_NEWLINK(bridge docker0) = EINVAL: Invalid argument (bad MTU)");
    }

    #[test]
    fn an_answer_that_is_cut_short_is_an_error_of_its_own() {
        let answer = Received { kind: control::ERROR, flags: 0, sequence: 1, payload: &[1, 2] };
        let error = outcome(&answer, "RTM_GETLINK()").unwrap_err();
        assert!(
            error.to_string().starts_with("RTM_GETLINK(): the kernel's answer cannot be read"),
            "{error}"
        );
    }
}
