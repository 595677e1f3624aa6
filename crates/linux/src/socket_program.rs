//! Programs for the kernel's virtual machine that are told what TCP sockets do, and a table that they read (bpf(2)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::Result;
use crate::bpf::{Instruction, bpf, load, make, raw};

const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE: libc::c_long = 2;
const LINK_CREATE: libc::c_long = 28;

/// BPF_MAP_TYPE_ARRAY.
const ARRAY: u32 = 2;
/// BPF_PROG_TYPE_SOCK_OPS.
const SOCK_OPS_PROGRAM: u32 = 13;
/// BPF_CGROUP_SOCK_OPS, the place of attachment.
const CGROUP_SOCK_OPS: u32 = 3;
/// Loads a constant of 64 bits, which takes two instructions.
const LOAD_CONSTANT: u8 = 0x18;
/// BPF_PSEUDO_MAP_FD: the constant is the descriptor of a map.
const IS_MAP: u8 = 1;

/// The part of `union bpf_attr` that makes a map.
#[repr(C)]
struct MapAttributes {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that changes an element.
#[repr(C)]
struct ElementAttributes {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part of `union bpf_attr` that makes a link.
#[repr(C)]
struct LinkAttributes {
    program: u32,
    target: u32,
    place: u32,
    flags: u32,
}

/// Bytes that a program reads and we write: the only element, with the key 0, of a map.
#[derive(Debug)]
pub struct ByteTable {
    map: OwnedFd,
    length: u32,
}

impl ByteTable {
    /// A table of zeros.
    pub fn create(length: u32) -> Result<Self> {
        let attributes =
            MapAttributes { map_type: ARRAY, key_size: 4, value_size: length, max_entries: 1, flags: 0 };
        let map = make(MAP_CREATE, &attributes, || format!("bpf(BPF_MAP_CREATE, ARRAY, {length})"))?;
        Ok(Self { map, length })
    }

    /// Writes all of it; what is too long is cut off, what is missing is zero.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        let key = 0_u32;
        let mut value = bytes.to_vec();
        value.resize(self.length as usize, 0);
        let attributes = ElementAttributes {
            map: raw(self.map.as_fd()),
            padding: 0,
            key: std::ptr::from_ref(&key) as u64,
            value: value.as_ptr() as u64,
            flags: 0,
        };
        bpf(MAP_UPDATE, &attributes, || "bpf(BPF_MAP_UPDATE_ELEM, ARRAY, 0)".to_owned())?;
        Ok(())
    }

    /// The instructions that load the table into a register, for a call of `bpf_map_lookup_elem`.
    #[must_use]
    pub fn load_into(&self, register: u8) -> [Instruction; 2] {
        let number = i32::try_from(raw(self.map.as_fd())).unwrap_or(i32::MAX);
        let second = Instruction { code: 0, registers: 0, offset: 0, constant: 0 };
        let registers = register | IS_MAP << 4;
        [Instruction { code: LOAD_CONSTANT, registers, constant: number, ..second }, second]
    }
}

/// A loaded program that is told what TCP sockets do (`struct bpf_sock_ops`).
#[derive(Debug)]
pub struct SocketProgram(OwnedFd);

/// The attachment of a program, which ends when this is closed.
#[derive(Debug)]
pub struct SocketProgramLink {
    _link: OwnedFd,
}

impl SocketProgram {
    /// Has the kernel verify and load a program (BPF_PROG_TYPE_SOCK_OPS).
    pub fn load(instructions: &[Instruction]) -> Result<Self> {
        load(SOCK_OPS_PROGRAM, CGROUP_SOCK_OPS, "SOCK_OPS", instructions).map(Self)
    }

    /// Attaches the program to a cgroup of v2, beside others: it is told of the sockets of all processes in it and below.
    pub fn attach(&self, cgroup: BorrowedFd<'_>) -> Result<SocketProgramLink> {
        let attributes = LinkAttributes {
            program: raw(self.0.as_fd()),
            target: raw(cgroup),
            place: CGROUP_SOCK_OPS,
            flags: 0,
        };
        let call = || format!("bpf(BPF_LINK_CREATE, {cgroup:?}, CGROUP_SOCK_OPS)");
        Ok(SocketProgramLink { _link: make(LINK_CREATE, &attributes, call)? })
    }
}
