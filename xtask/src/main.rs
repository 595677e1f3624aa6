//! Development commands, one word each: `cargo xtask check | test | conformance | vm | faults | fuzz | demo | bench`.

mod attacks;
mod bench;
mod check;
mod compose;
mod demo;
mod everything;
mod faults;
mod fixtures;
mod fuzz;
mod layers;
mod packages;
mod peers;
mod process;
mod sandbox;
mod sources;
mod suite;
mod syscalls;
mod unstable;
mod vm;
mod workspace;

use anyhow::{Result, bail};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  check          format, lints, layers, unit and golden tests; needs no root
  test           everything CI runs; needs root and Debian's packages, which it installs
  demo           the README's main job, once, told step by step; needs root
  bench [--quick] [--rounds N] [--peers newest|system] [WORD...]
                 ours and the peers' figures in one run, into docs/benchmarks.md, or those of some sections; needs root
  conformance [--against SOCKET | --engine berth|docker] [--client PROGRAM] [--jobs N] [WORD...]
                 the black-box suite, or those of its checks whose names contain a WORD; needs root
  vm [WORD...]   kernel tests under cgroup v2, systemd and AppArmor, in a virtual machine; needs root
  faults [--seed N] [--steps N] [--seconds N] [--lives N] [--containers N] [--execs N] [--release | --program FILE] [WORD...]
                 the daemon killed before every step of every operation (or N of each) and at random, the power cut, what it
                 needs used up, its files damaged; `load` only when asked for; needs root
  fuzz [--seconds N] [--seed N] [TARGET...]
                 parsers fed with mutated seeds, N seconds (60) each, or those whose names contain a TARGET; needs root for some
  syscalls       write the table of system call numbers for the seccomp compiler
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[String]) -> Result<()> {
    let (command, rest) =
        words.split_first().map_or(("help", &[][..]), |(first, rest)| (first.as_str(), rest));
    match command {
        "check" => check::run(),
        "test" => everything::run(),
        "demo" => demo::run(),
        "bench" => bench::run(rest),
        "faults" => faults::run(rest),
        "fuzz" => fuzz::run(rest),
        "conformance" => suite::run(rest),
        sandbox::INSIDE => dispatch_inside(rest),
        // Run by the bench inside containers.
        "load" => bench::put_load(rest),
        "vm" => vm::run(rest),
        "syscalls" => syscalls::run(),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown command {other:?}\n\n{USAGE}"),
    }
}

/// Commands that run themselves again in namespaces of their own arrive here.
fn dispatch_inside(words: &[String]) -> Result<()> {
    match words.split_first() {
        Some((command, rest)) if command == "conformance" => {
            suite::run_inside(rest, sandbox::Around::Namespaces)
        }
        Some((command, rest)) if command == "bench" => bench::run_inside(rest),
        Some((command, rest)) if command == "vm" => vm::run_inside(rest),
        Some((command, rest)) if command == "faults" => faults::run_inside(rest),
        Some((command, _)) if command == "demo" => demo::run_inside(),
        _ => bail!("nothing to do inside: {words:?}"),
    }
}
