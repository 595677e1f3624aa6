//! Writes the table of system call numbers that the seccomp compiler uses, from the kernel's own headers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The file that is written.
const TABLE: &str = "crates/runtime/src/seccomp/table.rs";

/// The columns of the table, by the names that linux-raw-sys gives to the architectures.
const ARCHITECTURES: [&str; 5] = ["x86_64", "x86", "x32", "aarch64", "arm"];

/// The bit that marks a number as x32's; the table leaves it out.
const X32_BIT: i64 = 0x4000_0000;

/// What the headers of linux-raw-sys do not have: newer calls, and a second name that profiles use.
const ADDED: &[(&str, &str, i64)] = &[
    // Linux 6.18, arch/x86/entry/syscalls/syscall_64.tbl.
    ("uprobe", "x86_64", 336),
    // The first name of sync_file_range2, arch/arm/include/asm/unistd.h.
    ("arm_sync_file_range", "arm", 341),
];

/// Reads the numbers and writes the table.
pub(crate) fn run() -> Result<()> {
    let source = linux_raw_sys()?;
    let mut names: BTreeMap<String, [i64; ARCHITECTURES.len()]> = BTreeMap::new();
    for (column, architecture) in ARCHITECTURES.iter().enumerate() {
        let file = source.join("src").join(architecture).join("general.rs");
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        for (name, number) in text.lines().filter_map(parse) {
            let number = if *architecture == "x32" { number & !X32_BIT } else { number };
            names.entry(name).or_insert([-1; ARCHITECTURES.len()])[column] = number;
        }
    }
    for (name, architecture, number) in ADDED {
        let column =
            ARCHITECTURES.iter().position(|known| known == architecture).context("unknown architecture")?;
        names.entry((*name).to_owned()).or_insert([-1; ARCHITECTURES.len()])[column] = *number;
    }
    std::fs::write(TABLE, print(&names)).with_context(|| format!("write {TABLE}"))?;
    println!("{TABLE}: {} names", names.len());
    Ok(())
}

/// A line such as `pub const __NR_read: u32 = 0;`, or `__ARM_NR_cacheflush` for a call that is private to arm.
fn parse(line: &str) -> Option<(String, i64)> {
    let rest = line.trim().strip_prefix("pub const ")?;
    let (name, number) = rest.strip_suffix(';')?.split_once(": u32 = ")?;
    let name = name.strip_prefix("__NR_").or_else(|| name.strip_prefix("__ARM_NR_"))?;
    let is_a_call =
        !["BASE", "SYSCALL_BASE", "OABI_SYSCALL_BASE", "SYSCALL_MASK", "syscalls"].contains(&name);
    is_a_call.then_some((name.to_owned(), number.parse().ok()?))
}

fn print(names: &BTreeMap<String, [i64; ARCHITECTURES.len()]>) -> String {
    let mut table = String::from(
        "//! The numbers of system calls; written by `cargo xtask syscalls`, not by hand.\n\
         //!\n\
         //! Sources: the kernel's headers as the crate linux-raw-sys carries them, and what `xtask/src/syscalls.rs` adds.\n\
         \n\
         /// Every known name, in the order of the names, with its number on x86_64, i386, x32 (without the bit that marks\n\
         /// it), aarch64 and arm; -1 where there is none.\n\
         pub(super) const NAMES: &[(&str, [i32; 5])] = &[\n",
    );
    for (name, numbers) in names {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        let _ = writeln!(table, "    ({name:?}, [{}]),", numbers.join(", "));
    }
    table + "];\n"
}

/// Where cargo keeps the sources of linux-raw-sys, a dependency of rustix.
fn linux_raw_sys() -> Result<PathBuf> {
    let output = Command::new("cargo").args(["metadata", "--format-version", "1", "--locked"]).output()?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let package = packages.iter().find(|package| package["name"] == "linux-raw-sys");
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let manifest = Path::new(manifest.context("linux-raw-sys is not among the dependencies")?);
    Ok(manifest.parent().context("a manifest without a directory")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_are_taken() {
        assert_eq!(parse("pub const __NR_read: u32 = 0;"), Some(("read".into(), 0)));
        assert_eq!(
            parse("pub const __ARM_NR_cacheflush: u32 = 983042;"),
            Some(("cacheflush".into(), 983_042))
        );
        assert_eq!(parse("pub const __ARM_NR_BASE: u32 = 983040;"), None);
        assert_eq!(parse("pub const O_RDONLY: u32 = 0;"), None);
    }
}
