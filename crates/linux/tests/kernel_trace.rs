//! A process is ended just before the system call that was chosen, and not after it.

use linux::trace::{Decision, Tracer};
use std::io::Write;
use std::process::{Command, Stdio};

/// A shell that makes three files once it is told to; how many there are when it was killed at its `at`th step.
fn files_made_before(at: usize) -> (usize, Vec<&'static str>) {
    let root = std::env::temp_dir().join(format!("berth-test-trace-{}-{at}", std::process::id()));
    std::fs::create_dir_all(&root).expect("a directory");
    let mut child = Command::new("sh")
        .args(["-c", "read word; for n in 1 2 3; do : > $n; done"])
        .current_dir(&root)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh");
    let (process, mut told) = (child.id(), child.stdin.take().expect("a pipe"));
    // A tracer is told of the ends of its own thread's children too, and then nobody else is: it gets a thread.
    let seen = std::thread::spawn(move || {
        let tracer = Tracer::seize(process).expect("seize");
        told.write_all(b"go\n").expect("write");
        let mut seen = Vec::new();
        tracer
            .run(|entry| {
                seen.extend(entry.effect());
                if seen.len() == at { Decision::Kill } else { Decision::Continue }
            })
            .expect("run");
        seen
    })
    .join()
    .expect("the tracer");
    child.wait().expect("wait");
    let made = std::fs::read_dir(&root).expect("read").count();
    std::fs::remove_dir_all(&root).expect("remove");
    (made, seen)
}

#[test]
fn a_process_ends_before_the_chosen_call() {
    for at in 1..=3 {
        let (made, seen) = files_made_before(at);
        assert_eq!((made, seen.len()), (at - 1, at), "{seen:?}");
    }
    let (made, seen) = files_made_before(usize::MAX);
    assert_eq!((made, seen.len()), (3, 3), "{seen:?}");
}
