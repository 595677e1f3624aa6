//! Moves a network interface into another network namespace, with its name and its lasting addresses (rtnetlink(7)).

use std::os::fd::{AsFd, AsRawFd};

use crate::netlink::{Family, Socket};
use crate::{Error, Result};

const ACKNOWLEDGEMENT: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const DUMP: u16 = 0x300;
const CREATE_ONLY: u16 = 0x600;

const LINK_NAME: u16 = 3;
const LINK_NAMESPACE_FD: u16 = 28;
/// The attributes of an address that are kept: address, local end, broadcast.
const ADDRESS_PARTS: [u16; 3] = [1, 2, 4];
const ADDRESS_FLAGS: u16 = 8;
/// An address that was given by hand, and not by a router (IFA_F_PERMANENT).
const PERMANENT: u32 = 0x80;
/// The scope of addresses that mean the same everywhere.
const UNIVERSE: u8 = 0;
const UP: u32 = 1;

/// The length of a message's header, of `struct ifinfomsg` and of `struct ifaddrmsg`.
const HEADER: usize = 16;
const LINK: usize = 16;
const ADDRESS: usize = 8;

/// Where interfaces are looked at and changed: one network namespace.
#[derive(Debug)]
pub struct Interfaces(Socket);

/// An address of an interface, to be given to it again.
#[derive(Debug, Clone)]
pub struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<u8>,
}

impl Interfaces {
    /// Those of the calling thread's network namespace, now and later.
    pub fn open() -> Result<Self> {
        Socket::open(Family::Route).map(Self)
    }

    /// The number of the interface of that name; `None` when there is none.
    pub fn find(&self, name: &str) -> Result<Option<u32>> {
        let mut body = link(0, 0, 0);
        attribute(&mut body, LINK_NAME, &zero_ended(name));
        match self.ask(GET_LINK, REQUEST, &body, || format!("RTM_GETLINK({name:?})")) {
            Err(error) if error.errno() == libc::ENODEV => Ok(None),
            other => Ok(other?.first().map(|message| u32_at(message, HEADER + 4))),
        }
    }

    /// The numbers of all interfaces.
    pub fn numbers(&self) -> Result<Vec<u32>> {
        let found = self.ask(GET_LINK, REQUEST | DUMP, &link(0, 0, 0), || "RTM_GETLINK(all)".to_owned())?;
        Ok(found.iter().map(|message| u32_at(message, HEADER + 4)).collect())
    }

    /// The addresses of an interface that were given by hand and are not of its own link.
    pub fn lasting_addresses(&self, number: u32) -> Result<Vec<Address>> {
        let body = [0; ADDRESS];
        let found = self.ask(GET_ADDRESS, REQUEST | DUMP, &body, || "RTM_GETADDR(all)".to_owned())?;
        Ok(found.iter().filter_map(|message| lasting(message, number)).collect())
    }

    /// Moves an interface into another network namespace under a name, in which `%d` stands for the next free number.
    pub fn give(&self, number: u32, namespace: impl AsFd, name: &str) -> Result<()> {
        let mut body = link(number, 0, 0);
        let fd = u32::try_from(namespace.as_fd().as_raw_fd()).unwrap_or_default();
        attribute(&mut body, LINK_NAMESPACE_FD, &fd.to_ne_bytes());
        attribute(&mut body, LINK_NAME, &zero_ended(name));
        let call = || format!("RTM_NEWLINK(interface {number} to namespace {fd} as {name:?})");
        self.ask(NEW_LINK, REQUEST | ACKNOWLEDGE, &body, call).map(drop)
    }

    /// Gives an interface an address.
    pub fn add_address(&self, number: u32, address: &Address) -> Result<()> {
        let mut body = vec![address.family, address.prefix, 0, UNIVERSE];
        body.extend(number.to_ne_bytes());
        body.extend(&address.attributes);
        let call = || format!("RTM_NEWADDR(interface {number})");
        self.ask(NEW_ADDRESS, REQUEST | ACKNOWLEDGE | CREATE_ONLY, &body, call).map(drop)
    }

    /// Switches an interface on.
    pub fn switch_on(&self, number: u32) -> Result<()> {
        let call = || format!("RTM_NEWLINK(interface {number} up)");
        self.ask(NEW_LINK, REQUEST | ACKNOWLEDGE, &link(number, UP, UP), call).map(drop)
    }

    /// Sends one request and collects the answers up to the acknowledgement or the end of the list.
    fn ask(&self, kind: u16, flags: u16, body: &[u8], call: impl Fn() -> String) -> Result<Vec<Vec<u8>>> {
        let mut request = Vec::with_capacity(HEADER + body.len());
        request.extend(u32::try_from(HEADER + body.len()).unwrap_or_default().to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(flags.to_ne_bytes());
        request.extend([0; 8]);
        request.extend(body);
        self.0.send(&request)?;
        let mut answers = Vec::new();
        loop {
            let datagram = self.0.receive()?;
            let mut rest: &[u8] = &datagram;
            while rest.len() >= HEADER {
                let length = usize::try_from(u32_at(rest, 0)).unwrap_or(0).clamp(HEADER, rest.len());
                let (message, after) = rest.split_at(length);
                rest = after.get(length.next_multiple_of(4) - length..).unwrap_or_default();
                match u16::from_ne_bytes([message[4], message[5]]) {
                    DONE => return Ok(answers),
                    ACKNOWLEDGEMENT => {
                        let errno = u32_at(message, HEADER).cast_signed();
                        return if errno == 0 { Ok(answers) } else { Err(Error::new(call(), -errno)) };
                    }
                    _ => answers.push(message.to_vec()),
                }
            }
            if flags & (DUMP | ACKNOWLEDGE) == 0 && !answers.is_empty() {
                return Ok(answers);
            }
        }
    }
}

/// `struct ifinfomsg`.
fn link(number: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for field in [number, flags, change] {
        body.extend(field.to_ne_bytes());
    }
    debug_assert_eq!(body.len(), LINK);
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(u16::try_from(4 + value.len()).unwrap_or_default().to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn zero_ended(name: &str) -> Vec<u8> {
    name.bytes().chain([0]).collect()
}

/// A number in a message; zero where the message is too short.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
    field.map_or(0, u32::from_ne_bytes)
}

/// The address in a message, if it is one of this interface that lasts.
fn lasting(message: &[u8], number: u32) -> Option<Address> {
    let head = message.get(HEADER..HEADER + ADDRESS)?;
    let (family, prefix, scope) = (head[0], head[1], head[3]);
    if scope != UNIVERSE || u32_at(head, 4) != number {
        return None;
    }
    let (mut flags, mut attributes) = (u32::from(head[2]), Vec::new());
    let mut rest = message.get(HEADER + ADDRESS..)?;
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]])).clamp(4, rest.len());
        let (kind, value) = (u16::from_ne_bytes([rest[2], rest[3]]), &rest[4..length]);
        if kind == ADDRESS_FLAGS {
            flags = u32_at(value, 0);
        } else if ADDRESS_PARTS.contains(&kind) {
            attribute(&mut attributes, kind, value);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    (flags & PERMANENT != 0).then_some(Address { family, prefix, attributes })
}
