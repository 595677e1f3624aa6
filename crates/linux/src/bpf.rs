//! Programs for the kernel's virtual machine that decide about device nodes: loaded, and attached to a cgroup (bpf(2)).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Error, Result};

/// One instruction of eBPF (RFC 9669): opcode, registers (destination in the low half), jump offset, constant.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// The operation.
    pub code: u8,
    /// The destination register in the low four bits, the source register in the high four.
    pub registers: u8,
    /// The offset of a jump or of a memory access.
    pub offset: i16,
    /// The constant operand.
    pub constant: i32,
}

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;

/// BPF_PROG_TYPE_CGROUP_DEVICE.
const CGROUP_DEVICE_PROGRAM: u32 = 15;
/// BPF_CGROUP_DEVICE, the place of attachment.
const CGROUP_DEVICE: u32 = 6;
/// BPF_F_ALLOW_MULTI: programs of groups above and below all have to agree.
const ALLOW_MULTI: u32 = 1 << 1;
/// BPF_F_REPLACE: takes the place of one attached program, atomically.
const REPLACE: u32 = 1 << 2;
/// The most programs the kernel attaches to one group in one place (BPF_CGROUP_MAX_PROGS).
const MAX_PROGRAMS: usize = 64;

/// The part of `union bpf_attr` that loads a program.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    program_flags: u32,
    name: [u8; 16],
    interface: u32,
    place: u32,
}

/// The part of `union bpf_attr` that attaches and detaches.
#[repr(C)]
#[derive(Default)]
struct AttachAttributes {
    target: u32,
    program: u32,
    place: u32,
    flags: u32,
    replaced: u32,
}

/// The part of `union bpf_attr` that asks what is attached.
#[repr(C)]
#[derive(Default)]
struct QueryAttributes {
    target: u32,
    place: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    program_count: u32,
    padding: u32,
}

/// A loaded program that decides about access to device nodes.
#[derive(Debug)]
pub struct DeviceProgram(OwnedFd);

impl DeviceProgram {
    /// Has the kernel verify and load a program (BPF_PROG_TYPE_CGROUP_DEVICE).
    pub fn load(instructions: &[Instruction]) -> Result<Self> {
        load(CGROUP_DEVICE_PROGRAM, CGROUP_DEVICE, "CGROUP_DEVICE", instructions).map(Self)
    }

    /// Attaches the program to a cgroup of v2, in the place of `replaced` when that is given.
    ///
    /// Access is granted only when this program and all those of the groups above grant it.
    pub fn attach(&self, cgroup: BorrowedFd<'_>, replaced: Option<&DeviceProgram>) -> Result<()> {
        let attributes = AttachAttributes {
            target: raw(cgroup),
            program: raw(self.0.as_fd()),
            place: CGROUP_DEVICE,
            flags: ALLOW_MULTI | replaced.map_or(0, |_| REPLACE),
            replaced: replaced.map_or(0, |program| raw(program.0.as_fd())),
        };
        bpf(PROG_ATTACH, &attributes, || {
            format!("bpf(BPF_PROG_ATTACH, {cgroup:?}, CGROUP_DEVICE, ALLOW_MULTI)")
        })?;
        Ok(())
    }

    /// Detaches the program from a cgroup.
    pub fn detach(&self, cgroup: BorrowedFd<'_>) -> Result<()> {
        let (target, program) = (raw(cgroup), raw(self.0.as_fd()));
        let attributes =
            AttachAttributes { target, program, place: CGROUP_DEVICE, ..AttachAttributes::default() };
        bpf(PROG_DETACH, &attributes, || format!("bpf(BPF_PROG_DETACH, {cgroup:?}, CGROUP_DEVICE)"))?;
        Ok(())
    }

    /// The programs attached to a cgroup itself, not those of the groups above.
    pub fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<Self>> {
        let mut ids = [0_u32; MAX_PROGRAMS];
        let mut attributes = QueryAttributes {
            target: raw(cgroup),
            place: CGROUP_DEVICE,
            program_ids: ids.as_mut_ptr() as u64,
            program_count: MAX_PROGRAMS as u32,
            ..QueryAttributes::default()
        };
        bpf_mut(PROG_QUERY, &mut attributes, || format!("bpf(BPF_PROG_QUERY, {cgroup:?}, CGROUP_DEVICE)"))?;
        let count = usize::try_from(attributes.program_count).unwrap_or(0).min(MAX_PROGRAMS);
        ids[..count].iter().map(|id| Self::by_id(*id)).collect()
    }

    fn by_id(id: u32) -> Result<Self> {
        make(PROG_GET_FD_BY_ID, &[id, 0, 0], || format!("bpf(BPF_PROG_GET_FD_BY_ID, {id})")).map(Self)
    }
}

/// Has the kernel verify and load a program of a type, which is for one place of attachment.
pub(crate) fn load(
    program_type: u32,
    place: u32,
    name: &str,
    instructions: &[Instruction],
) -> Result<OwnedFd> {
    let license = c"Apache-2.0";
    let attributes = LoadAttributes {
        program_type,
        instruction_count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        place,
        ..LoadAttributes::default()
    };
    let call = || format!("bpf(BPF_PROG_LOAD, {name}, {} instructions)", instructions.len());
    make(PROG_LOAD, &attributes, call)
}

/// Calls bpf(2) for something that makes a descriptor.
pub(crate) fn make<T>(command: libc::c_long, attributes: &T, call: impl Fn() -> String) -> Result<OwnedFd> {
    let fd = bpf(command, attributes, call)?;
    // SAFETY: the call succeeded, so the number is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor's number as the kernel's structures hold it; an open descriptor is never negative.
pub(crate) fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// Calls bpf(2) with attributes that the kernel only reads.
pub(crate) fn bpf<T>(command: libc::c_long, attributes: &T, call: impl Fn() -> String) -> Result<i32> {
    // SAFETY: `attributes` is a live, plain structure of the size given, the kernel does not write to it for the
    // commands used here, and the memory that it points to outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    answer(result, call)
}

/// Calls bpf(2) with attributes that the kernel fills in.
fn bpf_mut<T>(command: libc::c_long, attributes: &mut T, call: impl Fn() -> String) -> Result<i32> {
    // SAFETY: as above, and the structure is exclusively ours while the kernel writes to it.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    answer(result, call)
}

fn answer(result: libc::c_long, call: impl Fn() -> String) -> Result<i32> {
    match i32::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(Error::last(call())),
    }
}
