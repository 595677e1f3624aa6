//! Programs that live on after their starter: a session of their own (setsid(2)).

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes `command` start in a session of its own: no controlling terminal, and no signal of the starter's terminal.
pub fn in_own_session(command: &mut Command) -> &mut Command {
    let enter = || match rustix::process::setsid() {
        Ok(_) => Ok(()),
        Err(errno) => Err(io::Error::from_raw_os_error(errno.raw_os_error())),
    };
    // SAFETY: between fork and exec the closure makes one system call and touches no memory of the parent.
    unsafe { command.pre_exec(enter) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_leads_its_own_session() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "read -r pid comm state ppid group session rest < /proc/self/stat; echo $$ $session",
        ]);
        let output = in_own_session(&mut command).output().expect("sh");
        let text = String::from_utf8(output.stdout).expect("text");
        let (pid, session) = text.trim().split_once(' ').expect("two numbers");
        assert_eq!(pid, session);
    }
}
