//! The runtime alone, without the rest of the binary: what the tests of this crate run.

fn main() {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let arguments = arguments.collect();
    std::process::exit(if name.to_string_lossy().ends_with("docker-init") {
        runtime::init::main(arguments)
    } else {
        runtime::cli::main(arguments)
    });
}
