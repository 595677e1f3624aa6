//! The hello-world image that berth carries with it, so that the first container needs no registry.
//!
//! The program is assembled here from its few instructions: a static x86-64 ELF file without a C library.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The name under which the image is offered.
pub const HELLO_WORLD: &str = "hello-world:latest";

/// When the image was made; fixed, so that its bytes and digests never change by themselves.
const CREATED: &str = "2026-11-21T00:00:00Z";

/// What the program prints.
const MESSAGE: &str = "\
Hello from berth!

A container has just run on this machine, and it worked from end to end:
  1. the command line asked the berth daemon for the image hello-world, over the Docker Engine API;
  2. the daemon unpacked it from its own binary, as no registry is needed for this one;
  3. a shim started this program in namespaces of its own, on a root file system of its own;
  4. what the program writes went through the shim and the daemon to your terminal.

Something more useful, a throw-away copy of this machine's own system in which nothing you do will last:
  berth run -it --rm --rootfs /:O bash
";

/// The image as `docker save` would write it (a docker-archive tar): what `docker load` takes.
#[must_use]
pub fn hello_world_archive() -> Vec<u8> {
    let layer = tar(&[("hello", 0o755, &program())]);
    let diff_id = hex_sha256(&layer);
    let config = json_bytes(&json!({
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": {
            "Cmd": ["/hello"],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "WorkingDir": "/",
        },
        "history": [
            { "created": CREATED, "created_by": "COPY hello / # berth" },
            { "created": CREATED, "created_by": "CMD [\"/hello\"]", "empty_layer": true },
        ],
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{diff_id}")] },
    }));
    let config_name = format!("{}.json", hex_sha256(&config));
    let layer_name = format!("{diff_id}.tar");
    let manifest = json_bytes(&json!([
        { "Config": config_name, "RepoTags": [HELLO_WORLD], "Layers": [layer_name] },
    ]));
    tar(&[(&config_name, 0o644, &config), (&layer_name, 0o644, &layer), ("manifest.json", 0o644, &manifest)])
}

/// A static ELF executable that writes [`MESSAGE`] to standard output and exits with 0, or with 1 if it cannot.
fn program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: usize = 64 + 56;
    let code = code(MESSAGE.len());
    let size = (HEADERS + code.len() + MESSAGE.len()) as u64;

    let mut file = Vec::with_capacity(HEADERS + code.len() + MESSAGE.len());
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"); // 64 bit, little endian, version 1, System V
    file.extend(2u16.to_le_bytes()); // e_type: executable at a fixed address
    file.extend(62u16.to_le_bytes()); // e_machine: x86-64
    file.extend(1u32.to_le_bytes()); // e_version
    file.extend((BASE + HEADERS as u64).to_le_bytes()); // e_entry
    file.extend(64u64.to_le_bytes()); // e_phoff: right after this header
    file.extend(0u64.to_le_bytes()); // e_shoff: no sections
    file.extend(0u32.to_le_bytes()); // e_flags
    file.extend(64u16.to_le_bytes()); // e_ehsize
    file.extend(56u16.to_le_bytes()); // e_phentsize
    file.extend(1u16.to_le_bytes()); // e_phnum
    file.extend([0; 6]); // e_shentsize, e_shnum, e_shstrndx

    file.extend(1u32.to_le_bytes()); // p_type: load
    file.extend(5u32.to_le_bytes()); // p_flags: read and execute
    file.extend(0u64.to_le_bytes()); // p_offset: the whole file
    file.extend(BASE.to_le_bytes()); // p_vaddr
    file.extend(BASE.to_le_bytes()); // p_paddr
    file.extend(size.to_le_bytes()); // p_filesz
    file.extend(size.to_le_bytes()); // p_memsz
    file.extend(0x1000u64.to_le_bytes()); // p_align

    file.extend(code);
    file.extend(MESSAGE.as_bytes());
    file
}

/// The instructions: write(2) until everything is out, then exit_group(2). The message follows them.
fn code(message_length: usize) -> Vec<u8> {
    let length = u32::try_from(message_length).unwrap_or(u32::MAX).to_le_bytes();
    let mut code = Vec::new();
    code.extend([0xbf, 1, 0, 0, 0]); //        mov  edi, 1            the descriptor: standard output
    code.extend([0x48, 0x8d, 0x35, 40, 0, 0, 0]); // lea rsi, [rip + 40]   the message, behind the last instruction
    code.push(0xba); //                         mov  edx, length
    code.extend(length);
    code.extend([0xb8, 1, 0, 0, 0]); //  again: mov  eax, 1            write
    code.extend([0x0f, 0x05]); //               syscall
    code.extend([0x48, 0x85, 0xc0]); //         test rax, rax
    code.extend([0x7e, 11]); //                 jle  failed
    code.extend([0x48, 0x01, 0xc6]); //         add  rsi, rax
    code.extend([0x29, 0xc2]); //               sub  edx, eax
    code.extend([0x75, 0xed]); //               jnz  again
    code.extend([0x31, 0xff]); //               xor  edi, edi         status 0
    code.extend([0xeb, 5]); //                  jmp  leave
    code.extend([0xbf, 1, 0, 0, 0]); // failed: mov  edi, 1            status 1
    code.extend([0xb8, 231, 0, 0, 0]); // leave: mov eax, 231          exit_group
    code.extend([0x0f, 0x05]); //               syscall
    code
}

/// A ustar archive of regular files owned by root, without times.
fn tar(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut archive = Vec::new();
    for (name, mode, bytes) in files {
        let mut header = [0u8; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        write_octal(&mut header[100..108], u64::from(*mode));
        write_octal(&mut header[108..116], 0); // uid
        write_octal(&mut header[116..124], 0); // gid
        write_octal(&mut header[124..136], bytes.len() as u64);
        write_octal(&mut header[136..148], 0); // mtime
        header[148..156].fill(b' '); // the checksum counts as blanks
        header[156] = b'0'; // a regular file
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        write_octal(&mut header[148..155], sum);
        archive.extend(header);
        archive.extend(*bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// Octal digits that fill a header field, with a NUL at its end.
fn write_octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
    field[digits] = 0;
}

fn json_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Write};
    use std::os::unix::fs::OpenOptionsExt;
    use std::process::{Child, Command, Output, Stdio};

    fn run(case: &str, standard_output: Stdio) -> Output {
        let path = std::env::temp_dir().join(format!("berth-test-hello-{case}-{}", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o700).open(&path).expect("create");
        file.write_all(&program()).expect("write");
        drop(file);
        let mut command = Command::new(&path);
        command.stdout(standard_output);
        // Another test that forks at this moment holds our written file open until it executes its program.
        let child = loop {
            match command.spawn() {
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                other => break other,
            }
        };
        let output = child.and_then(Child::wait_with_output);
        std::fs::remove_file(&path).expect("remove");
        output.expect("run")
    }

    #[test]
    fn the_program_prints_its_message() {
        let output = run("prints", Stdio::piped());
        assert_eq!(String::from_utf8_lossy(&output.stdout), MESSAGE);
        assert_eq!(output.status.code(), Some(0));
    }

    #[test]
    fn a_message_that_cannot_be_written_is_status_1() {
        let full = std::fs::File::create("/dev/full").expect("/dev/full");
        assert_eq!(run("full", Stdio::from(full)).status.code(), Some(1));
    }

    #[test]
    fn the_lea_points_behind_the_last_instruction() {
        let code = code(1);
        let offset = u32::from_le_bytes([code[8], code[9], code[10], code[11]]) as usize;
        assert_eq!(12 + offset, code.len());
    }

    #[test]
    fn the_archive_is_always_the_same_bytes() {
        assert_eq!(hello_world_archive(), hello_world_archive());
        assert_eq!(hello_world_archive().len() % 512, 0);
    }
}
