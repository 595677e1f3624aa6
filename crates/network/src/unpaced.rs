//! Streams that stay on this host are not paced.
//!
//! A congestion control that paces (BBR) sends a packet when a timer says so. Between two sockets of one kernel there is
//! nothing to be gentle to, and the timers are what bounds the stream. So, where the host's default is one of these:
//!
//! ```text
//! who sends                                     told by
//! a container, to its bridge's subnet           a metric of its route there
//! the host, to a container's own address        the same of the host's route
//! the host, to a port published on itself       a program that is told of every connect(2)
//! ```
//!
//! The route of the last is that of `lo`, which is not ours to change. Nothing else of the host's sockets is changed, and
//! a socket that chose another congestion control keeps it.

use std::collections::BTreeSet;

use linux::bpf::Instruction;
use linux::mount::FileSystem;
use linux::socket_program::{ByteTable, SocketProgram, SocketProgramLink};

use crate::firewall::{Protocol, Ruleset};
use crate::sysctl;

/// Which congestion control sends what stays here. Every kernel has this one.
pub(crate) const UNPACED: &str = "reno";

/// How those begin that pace: `bbr`, and its later versions.
const PACED: [u8; 3] = *b"bbr";

/// Whether new sockets of the calling thread's network namespace pace what they send.
pub(crate) fn is_default() -> Result<bool, linux::Error> {
    let name = sysctl::read("net/ipv4/tcp_congestion_control")?.unwrap_or_default();
    Ok(name.as_bytes().starts_with(&PACED))
}

/// Published TCP ports to which the host's own connections are not paced.
#[derive(Debug, Default)]
pub struct UnpacedPorts {
    ports: BTreeSet<u16>,
    loaded: Option<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    table: ByteTable,
    _link: SocketProgramLink,
}

impl UnpacedPorts {
    /// Follows what is published. Without ports, or where nothing is paced, nothing is loaded.
    ///
    /// # Errors
    /// What the kernel refused: streams are as fast as they are without.
    pub fn follow(&mut self, ruleset: &Ruleset) -> Result<(), linux::Error> {
        let tcp = ruleset.published().filter(|port| port.protocol == Protocol::Tcp);
        let ports: BTreeSet<u16> = tcp.map(|port| port.host_port).collect();
        if ports == self.ports {
            return Ok(());
        }
        self.ports = ports;
        if self.ports.is_empty() || !is_default()? {
            self.loaded = None;
            return Ok(());
        }
        if self.loaded.is_none() {
            self.loaded = Some(Loaded::load()?);
        }
        self.loaded.as_ref().map_or(Ok(()), |loaded| loaded.table.write(&bits(&self.ports)))
    }
}

impl Loaded {
    fn load() -> Result<Self, linux::Error> {
        let table = ByteTable::create(TABLE_LENGTH)?;
        let probe = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))
            .map_err(|error| linux::Error::new("bind(127.0.0.1:0)", error.raw_os_error().unwrap_or(0)))?;
        let namespace = linux::socket::namespace_cookie(&probe)?;
        let program = SocketProgram::load(&program(namespace, table.load_into(1)))?;
        // Whether and where it is mounted does not matter: there is one tree of groups.
        let groups = FileSystem::open("cgroup2")?.mount(0)?;
        let link = program.attach(std::os::fd::AsFd::as_fd(&groups))?;
        Ok(Self { table, _link: link })
    }
}

/// A bit for each port.
const TABLE_LENGTH: u32 = 65536 / 8;

fn bits(ports: &BTreeSet<u16>) -> Vec<u8> {
    let mut bytes = vec![0; TABLE_LENGTH as usize];
    for port in ports {
        bytes[usize::from(port / 8)] |= 1 << (port % 8);
    }
    bytes
}

// Operations of eBPF (RFC 9669).
const LOAD: u8 = 0x61;
const LOAD_BYTE: u8 = 0x71;
const STORE: u8 = 0x62;
const MOVE: u8 = 0xbf;
const SET: u8 = 0xb7;
const ADD: u8 = 0x07;
const ADD_REGISTER: u8 = 0x0f;
const SHIFT_RIGHT: u8 = 0x77;
const SHIFT_RIGHT_BY: u8 = 0x7f;
const AND: u8 = 0x57;
const AND_32: u8 = 0x54;
const TO_BIG_ENDIAN: u8 = 0xdc;
const JUMP: u8 = 0x05;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_UNEQUAL: u8 = 0x55;
const JUMP_UNEQUAL_32: u8 = 0x56;
const JUMP_UNEQUAL_REGISTER: u8 = 0x5d;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const LOAD_CONSTANT: u8 = 0x18;

const MAP_LOOKUP: i32 = 1;
const SETSOCKOPT: i32 = 49;
const GETSOCKOPT: i32 = 57;
/// For such programs from Linux 5.15 on.
const NAMESPACE_COOKIE: i32 = 122;

/// Where `struct bpf_sock_ops` has its fields.
const OPERATION: i16 = 0;
const FAMILY: i16 = 20;
const REMOTE_IPV4: i16 = 24;
const LOCAL_IPV4: i16 = 28;
const REMOTE_IPV6: i16 = 32;
const LOCAL_IPV6: i16 = 48;
/// In network order, in the upper half.
const REMOTE_PORT: i16 = 64;

/// BPF_SOCK_OPS_TCP_CONNECT_CB: before the first packet.
const CONNECTS: i32 = 3;
const IPV4: i32 = 2;
const IPV6: i32 = 10;
const SOL_TCP: i32 = 6;
const TCP_CONGESTION: i32 = 13;

/// Offsets that are replaced by those to the end.
const TO_END: i16 = i16::MAX;

/// The program: a connection in the network namespace with this cookie from an address to itself, at a published port,
/// whose congestion control paces, gets one that does not. `table` loads the bits of the ports into register 1.
fn program(namespace: u64, table: [Instruction; 2]) -> Vec<Instruction> {
    let step = |code, to: u8, from: u8, offset, constant| Instruction {
        code,
        registers: to | from << 4,
        offset,
        constant,
    };
    let word = |bytes: [u8; 4]| i32::from_ne_bytes(bytes);
    let mut steps = vec![
        step(MOVE, 6, 1, 0, 0),
        step(LOAD, 2, 6, OPERATION, 0),
        step(JUMP_UNEQUAL, 2, 0, TO_END, CONNECTS),
        step(MOVE, 1, 6, 0, 0),
        step(CALL, 0, 0, 0, NAMESPACE_COOKIE),
        step(LOAD_CONSTANT, 2, 0, 0, namespace as u32 as i32),
        step(0, 0, 0, 0, (namespace >> 32) as i32),
        step(JUMP_UNEQUAL_REGISTER, 0, 2, TO_END, 0),
        step(LOAD, 2, 6, FAMILY, 0),
        step(JUMP_EQUAL, 2, 0, 5, IPV6),
        step(JUMP_UNEQUAL, 2, 0, TO_END, IPV4),
        step(LOAD, 2, 6, REMOTE_IPV4, 0),
        step(LOAD, 3, 6, LOCAL_IPV4, 0),
        step(JUMP_UNEQUAL_REGISTER, 2, 3, TO_END, 0),
        step(JUMP, 0, 0, 12, 0),
    ];
    for part in [0, 4, 8, 12] {
        steps.extend([
            step(LOAD, 2, 6, REMOTE_IPV6 + part, 0),
            step(LOAD, 3, 6, LOCAL_IPV6 + part, 0),
            step(JUMP_UNEQUAL_REGISTER, 2, 3, TO_END, 0),
        ]);
    }
    steps.extend([
        step(LOAD, 7, 6, REMOTE_PORT, 0),
        step(TO_BIG_ENDIAN, 7, 0, 0, 32),
        step(STORE, 10, 0, -4, 0),
    ]);
    steps.extend(table);
    steps.extend([
        step(MOVE, 2, 10, 0, 0),
        step(ADD, 2, 0, 0, -4),
        step(CALL, 0, 0, 0, MAP_LOOKUP),
        step(JUMP_EQUAL, 0, 0, TO_END, 0),
        step(MOVE, 2, 7, 0, 0),
        step(SHIFT_RIGHT, 2, 0, 0, 3),
        step(AND, 2, 0, 0, 0x1fff),
        step(ADD_REGISTER, 0, 2, 0, 0),
        step(LOAD_BYTE, 0, 0, 0, 0),
        step(AND, 7, 0, 0, 7),
        step(SHIFT_RIGHT_BY, 0, 7, 0, 0),
        step(AND, 0, 0, 0, 1),
        step(JUMP_EQUAL, 0, 0, TO_END, 0),
    ]);
    let option = |length, call| {
        [
            step(MOVE, 1, 6, 0, 0),
            step(SET, 2, 0, 0, SOL_TCP),
            step(SET, 3, 0, 0, TCP_CONGESTION),
            step(MOVE, 4, 10, 0, 0),
            step(ADD, 4, 0, 0, -24),
            step(SET, 5, 0, 0, length),
            step(CALL, 0, 0, 0, call),
        ]
    };
    let [b, r, c] = PACED;
    steps.extend(option(16, GETSOCKOPT));
    steps.extend([
        step(JUMP_UNEQUAL, 0, 0, TO_END, 0),
        step(LOAD, 1, 10, -24, 0),
        step(AND_32, 1, 0, 0, word([0xff, 0xff, 0xff, 0])),
        step(JUMP_UNEQUAL_32, 1, 0, TO_END, word([b, r, c, 0])),
        step(STORE, 10, 0, -24, word(*b"reno")),
        step(STORE, 10, 0, -20, 0),
    ]);
    steps.extend(option(8, SETSOCKOPT));
    let end = steps.len();
    for (place, step) in steps.iter_mut().enumerate().filter(|(_, step)| step.offset == TO_END) {
        step.offset = i16::try_from(end - place - 1).unwrap_or(0);
    }
    steps.extend([step(SET, 0, 0, 0, 1), step(EXIT, 0, 0, 0, 0)]);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_has_its_bit() {
        let bytes = bits(&[0, 9, 65535].into());
        let set: Vec<usize> = (0..65536).filter(|port| bytes[port / 8] & 1 << (port % 8) != 0).collect();
        assert_eq!(set, [0, 9, 65535]);
    }

    #[test]
    fn every_jump_of_the_program_ends_within_it() {
        let none = Instruction { code: 0x18, registers: 1, offset: 0, constant: 0 };
        let program = program(u64::MAX, [none, Instruction { code: 0, ..none }]);
        let jumps = program.iter().enumerate().filter(|(_, step)| matches!(step.code & 7, 5 | 6));
        for (place, step) in jumps.filter(|(_, step)| ![CALL, EXIT].contains(&step.code)) {
            let target = place + 1 + usize::try_from(step.offset).unwrap();
            assert!(target < program.len() - 1, "{place}: {step:?}");
        }
    }

    #[test]
    fn what_is_set_is_what_routes_say() {
        assert_eq!(UNPACED, "reno");
    }
}
