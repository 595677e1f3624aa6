//! The cases: what a shim does, seen from outside.

use std::fs;
use std::net::Shutdown;
use std::time::Duration;

use shim::client::{Client, Error};
use shim::log::Stream;
use shim::protocol::{
    Attach, ConsoleSize, Descriptor, Event, Framing, Io, LogDriver, Reply, Request, State, Target,
};

use super::{Case, LIMIT, Lab, Shim, attach, interactive, read_all, read_until, write};

/// A time in which something that must not happen would have happened.
const MOMENT: Duration = Duration::from_millis(300);

pub(crate) const CASES: &[Case] = &[
    ("exit_codes_and_signals_are_reported_and_recorded", exit_codes_and_signals_are_reported_and_recorded),
    ("output_is_logged_with_its_stream", output_is_logged_with_its_stream),
    ("no_line_is_lost_when_the_daemon_dies", no_line_is_lost_when_the_daemon_dies),
    ("a_new_daemon_finds_the_running_container", a_new_daemon_finds_the_running_container),
    ("input_ends_when_its_writer_half_closes", input_ends_when_its_writer_half_closes),
    ("without_stdin_once_input_stays_open", without_stdin_once_input_stays_open),
    ("a_vanished_client_does_not_end_the_input", a_vanished_client_does_not_end_the_input),
    ("every_attached_stream_gets_everything", every_attached_stream_gets_everything),
    ("a_slow_client_makes_the_program_wait", a_slow_client_makes_the_program_wait),
    ("a_dead_client_is_dropped", a_dead_client_is_dropped),
    ("a_terminal_has_its_size_and_echo", a_terminal_has_its_size_and_echo),
    ("exec_has_its_own_streams_and_exit", exec_has_its_own_streams_and_exit),
    ("many_execs_leave_nothing", many_execs_leave_nothing),
    ("exec_in_a_terminal_ends_with_its_leader", exec_in_a_terminal_ends_with_its_leader),
    ("the_end_of_exec_is_kept_for_a_daemon_to_come", the_end_of_exec_is_kept_for_a_daemon_to_come),
    (
        "exec_whose_time_is_over_is_killed_with_its_children",
        exec_whose_time_is_over_is_killed_with_its_children,
    ),
    ("a_child_that_holds_the_output_does_not_hold_exec", a_child_that_holds_the_output_does_not_hold_exec),
    ("a_full_disk_stops_nothing", a_full_disk_stops_nothing),
    ("a_stopped_shim_does_not_hold_its_callers", a_stopped_shim_does_not_hold_its_callers),
    ("requests_in_the_wrong_state_are_refused", requests_in_the_wrong_state_are_refused),
    ("shutdown_ends_everything", shutdown_ends_everything),
    ("memory_is_bounded_whatever_is_written", memory_is_bounded_whatever_is_written),
    ("an_idle_shim_is_small", an_idle_shim_is_small),
];

fn exit_codes_and_signals_are_reported_and_recorded(lab: &Lab) {
    for (script, code, signal) in [("exit 0", 0, None), ("exit 7", 7, None), ("kill -9 $$", 137, Some(9))] {
        // The first process of a pid namespace is not ended by its own signals: a child of the shell is.
        let script = if signal.is_some() { format!("sh -c '{script}'; exit $?") } else { script.to_owned() };
        let mut shim = lab.started(&script, Io::default());
        let exit = shim.exited();
        assert_eq!((exit.code, exit.oom_killed), (code, false), "{script}");
        assert_eq!(shim.record().exit, exit);
        assert_eq!(shim.record().id, shim.id);
        shim.shut_down();
    }
    let mut shim = lab.started("sleep 1000", Io::default());
    let (_, descriptors) = shim.call(Request::Hello).expect("hello");
    let pidfd = linux::pidfd::PidFd::from(descriptors.into_iter().next().expect("a pidfd"));
    assert!(pidfd.send(9).expect("kill"));
    let exit = shim.exited();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    shim.shut_down();
}

fn output_is_logged_with_its_stream(lab: &Lab) {
    let mut shim = lab.started("echo out; echo err >&2; printf end", Io::default());
    assert_eq!(shim.exited().code, 0);
    let mut found: Vec<_> = shim.log().into_iter().map(|entry| (entry.stream, entry.bytes)).collect();
    found.sort_by_key(|(stream, _)| stream.number());
    let expected = [(Stream::Stdout, "out\n"), (Stream::Stdout, "end"), (Stream::Stderr, "err\n")];
    assert_eq!(found, expected.map(|(stream, text)| (stream, text.as_bytes().to_vec())));
    shim.shut_down();
}

fn no_line_is_lost_when_the_daemon_dies(lab: &Lab) {
    let mut shim = lab.created("seq 200000", Io::default());
    let stream = shim.attach(attach(Framing::Raw));
    shim.start();
    read_until(&stream, "\n1000\n");
    shim.lose_daemon();
    drop(stream);
    let pidfd = [(shim.child.as_pidfd().expect("a pidfd"), linux::watch::Interest::Readable)];
    assert_eq!(linux::watch::wait(&pidfd, LIMIT).expect("wait"), [true]);
    let record = shim.record();
    assert_eq!((record.exit.code, record.log.lost_lines), (0, 0));
    let found = shim.log();
    assert_eq!(found.len(), 200_000);
    for (index, entry) in found.iter().enumerate() {
        assert_eq!(entry.bytes, format!("{}\n", index + 1).as_bytes());
    }
    shim.gone();
}

fn a_new_daemon_finds_the_running_container(lab: &Lab) {
    let mut shim = lab.started("echo ready; read line; echo got $line; exit 5", interactive());
    let before = shim.status();
    shim.lose_daemon();
    shim.reconnect();
    let status = shim.status();
    assert_eq!((status.state, status.pid), (State::Running, before.pid));
    assert_eq!(status.start_time_ticks, before.start_time_ticks);
    assert_eq!(status.descriptors, [Descriptor::Pidfd, Descriptor::Netns]);
    let stream = shim.attach(attach(Framing::Raw));
    write(&stream, "hello\n");
    assert!(read_until(&stream, "got hello\n").ends_with("got hello\n"));
    assert_eq!(shim.exited().code, 5);
    assert_eq!(shim.log_text(), "ready\ngot hello\n");
    shim.shut_down();
}

fn input_ends_when_its_writer_half_closes(lab: &Lab) {
    let mut shim = lab.created("cat; echo over", interactive());
    let stream = shim.attach(attach(Framing::Raw));
    shim.start();
    let text = "all of it\n".repeat(50_000);
    let sent = text.clone();
    let writer = stream.try_clone().expect("a clone");
    let sender = std::thread::spawn(move || {
        write(&writer, &sent);
        writer.shutdown(Shutdown::Write).expect("half close");
    });
    assert!(read_all(&stream) == format!("{text}over\n").into_bytes());
    sender.join().expect("all was sent");
    assert_eq!(shim.exited().code, 0);
    shim.shut_down();
}

fn without_stdin_once_input_stays_open(lab: &Lab) {
    let mut shim =
        lab.started("while read line; do echo got $line; done; exit 3", Io { stdin: true, ..Io::default() });
    for text in ["first", "second"] {
        let stream = shim.attach(attach(Framing::Raw));
        write(&stream, &format!("{text}\n"));
        assert_eq!(read_until(&stream, "\n"), format!("got {text}\n"));
        stream.shutdown(Shutdown::Write).expect("half close");
        // As in Docker, that ends the attachment and not the program's input.
        assert_eq!(read_all(&stream), b"");
    }
    assert_eq!(shim.call(Request::CloseStdin { target: Target::Container }).expect("close").0, Reply::Done);
    assert_eq!(shim.exited().code, 3);
    shim.shut_down();
}

fn a_vanished_client_does_not_end_the_input(lab: &Lab) {
    let mut shim = lab.started("read line; echo got $line", interactive());
    let lost = shim.attach(attach(Framing::Raw));
    drop(lost);
    let stream = shim.attach(attach(Framing::Raw));
    write(&stream, "late\n");
    assert_eq!(read_all(&stream), b"got late\n");
    assert_eq!(shim.exited().code, 0);
    shim.shut_down();
}

fn every_attached_stream_gets_everything(lab: &Lab) {
    let mut shim = lab.created("read line; printf out; read line; printf err >&2; read line", interactive());
    let raw = shim.attach(attach(Framing::Raw));
    let mux = shim.attach(Attach { stdin: false, ..attach(Framing::Mux) });
    let only = shim.attach(Attach { stdin: false, stdout: false, ..attach(Framing::Raw) });
    shim.start();
    write(&raw, "1\n");
    read_until(&raw, "out");
    write(&raw, "2\n");
    read_until(&raw, "err");
    write(&raw, "3\n");
    assert_eq!(read_all(&raw), b"");
    assert_eq!(read_all(&mux), b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03err");
    assert_eq!(read_all(&only), b"err");
    assert_eq!(shim.exited().code, 0);
    shim.shut_down();
}

fn a_slow_client_makes_the_program_wait(lab: &Lab) {
    let size = 8 << 20;
    let mut shim = lab.created(&format!("head -c {size} /dev/zero"), Io::default());
    let stream = shim.attach(attach(Framing::Raw));
    shim.start();
    assert_eq!(shim.event(MOMENT), None, "the program ended although nobody read its output");
    assert_eq!(shim.status().state, State::Running);
    assert_eq!(read_all(&stream).len(), size);
    assert_eq!(shim.exited().code, 0);
    let logged: usize = shim.log().iter().map(|entry| entry.bytes.len()).sum();
    assert_eq!(logged, size);
    shim.shut_down();
}

fn a_dead_client_is_dropped(lab: &Lab) {
    let size = 8 << 20;
    let mut shim = lab.created(&format!("head -c {size} /dev/zero"), Io::default());
    let stream = shim.attach(attach(Framing::Raw));
    shim.start();
    assert_eq!(shim.event(MOMENT), None);
    drop(stream);
    assert_eq!(shim.exited().code, 0);
    shim.shut_down();
}

fn a_terminal_has_its_size_and_echo(lab: &Lab) {
    let size = Some(ConsoleSize { height: 11, width: 22 });
    let io = Io { terminal: true, stdin: true, console_size: size, ..Io::default() };
    let mut shim = lab.created("stty size; read line; stty size; tty; exit 4", io);
    let stream = shim.attach(attach(Framing::Raw));
    shim.start();
    read_until(&stream, "11 22\r\n");
    let resize = Request::Resize { target: Target::Container, height: 33, width: 44 };
    assert_eq!(shim.call(resize).expect("resize").0, Reply::Done);
    write(&stream, "go\n");
    let rest = String::from_utf8_lossy(&read_all(&stream)).into_owned();
    assert!(rest.starts_with("go\r\n33 44\r\n/dev/"), "{rest:?}");
    assert_eq!(shim.exited().code, 4);
    assert!(shim.log_text().contains("33 44\r\n"));
    shim.shut_down();
}

fn exec_has_its_own_streams_and_exit(lab: &Lab) {
    let mut shim = lab.started("read line", interactive());
    let stream = shim.exec("e1", "cat; echo err >&2; exit 9", interactive());
    write(&stream, "through\n");
    stream.shutdown(Shutdown::Write).expect("half close");
    assert_eq!(read_all(&stream), b"through\nerr\n");
    let exit = shim.exec_exited("e1");
    assert_eq!((exit.code, exit.signal), (9, None));
    let status = shim.status();
    assert_eq!((status.state, status.execs), (State::Running, vec![]));
    assert_eq!(shim.log_text(), "", "what exec writes is not logged");
    shim.shut_down();
}

fn many_execs_leave_nothing(lab: &Lab) {
    let mut shim = lab.started("read line", interactive());
    let directory = format!("/proc/{}", shim.child.pid());
    let descriptors = || fs::read_dir(format!("{directory}/fd")).expect("descriptors").count();
    let children =
        || fs::read_to_string(format!("{directory}/task/{}/children", &directory[6..])).expect("children");
    let mut before = 0;
    for number in 0..60 {
        let id = format!("e{number}");
        let stream = shim.exec(&id, &format!("echo {number}; exit {number}"), Io::default());
        assert_eq!(read_all(&stream), format!("{number}\n").as_bytes());
        assert_eq!(shim.exec_exited(&id).code, number);
        if number == 0 {
            settle(&mut shim);
            before = descriptors();
        }
    }
    assert_eq!(shim.status().execs, []);
    settle(&mut shim);
    assert_eq!(descriptors(), before);
    assert_eq!(children().split_whitespace().count(), 1, "{}", children());
    shim.shut_down();
}

/// Returns when the shim has put away all that came with earlier answers: this one is refused without any.
fn settle(shim: &mut Shim) {
    let target = Target::Exec("none".into());
    assert!(matches!(shim.call(Request::CloseStdin { target }), Err(Error::Refused(_))));
}

fn exec_in_a_terminal_ends_with_its_leader(lab: &Lab) {
    let mut shim = lab.started("read line", interactive());
    let io = Io { terminal: true, stdin: true, stdin_once: true, ..Io::default() };
    let stream = shim.exec("e1", "echo hello; read line; exit 6", io);
    read_until(&stream, "hello\r\n");
    let resize = Request::Resize { target: Target::Exec("e1".into()), height: 5, width: 6 };
    assert_eq!(shim.call(resize).expect("resize").0, Reply::Done);
    write(&stream, "x\n");
    read_all(&stream);
    assert_eq!(shim.exec_exited("e1").code, 6);
    shim.shut_down();
}

fn the_end_of_exec_is_kept_for_a_daemon_to_come(lab: &Lab) {
    let mut shim = lab.started("read line", interactive());
    let stream = shim.exec("e1", "read line; exit 8", Io { stdin: true, ..Io::default() });
    shim.lose_daemon();
    write(&stream, "go\n");
    assert_eq!(read_all(&stream), b"");
    shim.reconnect();
    let execs = shim.status().execs;
    let found: Vec<_> =
        execs.iter().map(|exec| (exec.exec_id.as_str(), exec.exit.as_ref().map(|exit| exit.code))).collect();
    assert_eq!(found, [("e1", Some(8))]);
    shim.shut_down();
}

fn exec_whose_time_is_over_is_killed_with_its_children(lab: &Lab) {
    let mut shim = lab.started("sleep 1000", Io::default());
    let stream = shim.exec_limited("limited", "sleep 1000 & sleep 1000", Io::default(), Some(200));
    let unhurried = shim.exec_limited("unhurried", "exit 4", Io::default(), Some(3_600_000));
    assert_eq!((shim.exec_exited("unhurried").code, read_all(&unhurried)), (4, Vec::new()));
    // Nobody is there when the time is over, and the end of the stream tells that the child is gone as well.
    shim.lose_daemon();
    assert_eq!(read_all(&stream), b"");
    shim.reconnect();
    let killed = &shim.status().execs[0];
    assert_eq!((killed.exec_id.as_str(), killed.running), ("limited", false));
    assert_eq!(killed.exit.as_ref().map(|exit| exit.code), Some(137));
    shim.shut_down();
}

fn a_child_that_holds_the_output_does_not_hold_exec(lab: &Lab) {
    let mut shim = lab.started("read line", interactive());
    let stream = shim.exec("e1", "sleep 5 & echo begun; exit 2", Io::default());
    assert_eq!(shim.exec_exited("e1").code, 2);
    assert_eq!(read_all(&stream), b"begun\n");
    shim.shut_down();
}

fn a_full_disk_stops_nothing(lab: &Lab) {
    let mut shim = lab.shim();
    std::os::unix::fs::symlink("/dev/full", shim.log_path()).expect("a link");
    let create = lab.create(&shim, "seq 1000; exit 6", Io::default());
    shim.make(create);
    let stream = shim.attach(attach(Framing::Raw));
    shim.start();
    assert!(read_all(&stream).ends_with(b"\n1000\n"));
    assert_eq!(shim.exited().code, 6);
    let log = shim.status().log;
    assert_eq!(log.lost_lines, 1000);
    assert_eq!(log.error.as_deref(), Some("cannot write the log: No space left on device (os error 28)"));
    assert_eq!(shim.record().log, log);
    shim.shut_down();
}

fn a_stopped_shim_does_not_hold_its_callers(lab: &Lab) {
    let mut shim = lab.started("read line", interactive());
    let (stop, go) = (19, 18);
    shim.child.signal(stop).expect("stop");
    let mut client = Client::connect(&shim.exec_dir, MOMENT).expect("a connection");
    let error = client.call(Request::Hello, Vec::new(), MOMENT).expect_err("no answer");
    assert!(matches!(error, Error::TimedOut(MOMENT)), "{error}");
    shim.child.signal(go).expect("go on");
    assert_eq!(shim.status().state, State::Running);
    shim.shut_down();
}

fn requests_in_the_wrong_state_are_refused(lab: &Lab) {
    let mut shim = lab.shim();
    let refused = |shim: &mut Shim, request: Request| match shim.call(request) {
        Err(Error::Refused(error)) => error.message,
        other => panic!("{other:?}"),
    };
    assert_eq!(shim.status().state, State::Empty);
    assert_eq!(refused(&mut shim, Request::Start), "cannot start: the container is not created");
    let mut create = lab.create(&shim, "read line", interactive());
    create.log.driver = LogDriver::Unsupported;
    let text = refused(&mut shim, Request::Create(Box::new(create.clone())));
    assert_eq!(text, "invalid log settings: this shim writes json-file, local or none");
    create.log.driver = LogDriver::None;
    shim.make(create.clone());
    assert_eq!(shim.status().state, State::Created);
    assert_eq!(refused(&mut shim, Request::Create(Box::new(create))), "this shim already has a container");
    let resize = Request::Resize { target: Target::Container, height: 1, width: 1 };
    // Without a terminal there is nothing to do.
    assert!(matches!(shim.call(resize), Ok((Reply::Done, _))));
    let target = Target::Exec("none".into());
    assert_eq!(refused(&mut shim, Request::CloseStdin { target }), "exec none is not there");
    shim.start();
    assert_eq!(refused(&mut shim, Request::Start), "cannot start: the container is already running");
    shim.shut_down();
}

fn shutdown_ends_everything(lab: &Lab) {
    lab.shim().shut_down();
    lab.created("exit 1", Io::default()).shut_down();
    let mut shim = lab.started("sleep 1000", Io::default());
    let stream = shim.exec("e1", "sleep 1000", Io::default());
    let mut other = Client::connect(&shim.exec_dir, LIMIT).expect("a second connection");
    other.call(Request::Hello, Vec::new(), LIMIT).expect("hello");
    assert_eq!(shim.call(Request::Shutdown).expect("shutdown").0, Reply::Done);
    assert_eq!(shim.record().exit.code, 137);
    let events: Vec<Event> = std::iter::from_fn(|| other.event(LIMIT).ok().flatten()).collect();
    assert!(matches!(events.last(), Some(Event::Exited { exit }) if exit.code == 137), "{events:?}");
    assert_eq!(read_all(&stream), b"");
    shim.gone();
}

fn memory_is_bounded_whatever_is_written(lab: &Lab) {
    let mut shim = lab.shim();
    // Noise does not compress and is no UTF-8; zeros are one line without end, six times as long in the log. Together they
    // come to several times what the shim may hold.
    let script = "head -c 2000000 /dev/urandom; head -c 6000000 /dev/zero";
    let mut create = lab.create(&shim, script, Io::default());
    (create.log.max_size, create.log.max_file, create.log.compress) = (Some(4 << 20), 3, true);
    shim.make(create);
    shim.start();
    assert_eq!(shim.exited().code, 0);
    let peak = number(&format!("/proc/{}/status", shim.child.pid()), "RssAnon:");
    let high = number(&format!("/proc/{}/status", shim.child.pid()), "VmHWM:");
    println!("      after 8 MB of noise: RssAnon {peak} kB, VmHWM {high} kB");
    assert!(high < 16_384, "{high} kB");
    assert_eq!(shim.status().log.lost_lines, 0);
    shim.shut_down();
}

fn an_idle_shim_is_small(lab: &Lab) {
    let mut shim = lab.started("seq 50000; echo done; read line", interactive());
    let path = shim.log_path();
    let mut follow =
        shim::log::Reader::open(&path, &shim::log::Query::default()).expect("open").follow().expect("follow");
    let mut last = Vec::new();
    while last != b"done\n" {
        match follow.read().expect("read") {
            Some(entry) => last = entry.bytes,
            None => {
                let fds = [(std::os::fd::AsFd::as_fd(&follow), linux::watch::Interest::Readable)];
                assert_eq!(linux::watch::wait(&fds, LIMIT).expect("wait"), [true]);
            }
        }
    }
    // Memory is given back a moment after the last output; nothing but time tells when.
    let path = format!("/proc/{}/smaps_rollup", shim.child.pid());
    let mut smallest = u64::MAX;
    for _ in 0..20 {
        assert_eq!(shim.event(Duration::from_millis(100)), None);
        smallest = smallest.min(number(&path, "Anonymous:"));
    }
    println!("      idle: {smallest} kB of its own, Pss {} kB", number(&path, "Pss:"));
    assert!(smallest < 160, "{smallest} kB");
    shim.shut_down();
}

/// The number after a name in a file of /proc.
fn number(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).expect("a file of /proc");
    let line = text.lines().find(|line| line.starts_with(name)).expect("a line");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
