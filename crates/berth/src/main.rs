//! One binary, many roles: the role is chosen from argv before anything else is initialised.

fn main() {
    let args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    std::process::exit(cli::main(args));
}
