//! The same cases in real containers, and what only containers have: memory limits, layers, a small init. Needs root.

mod harness;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Instant;

use harness::{Case, LIMIT, Lab, attach, interactive, read_all};
use oci::runtime::{NamespaceKind, Spec};
use shim::client::Error;
use shim::protocol::{Create, Descriptor, ErrorKind, Event, Framing, Io, Reply, Request, Root, Target};

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "head", "kill", "ls", "printf", "ps", "seq", "sleep", "stty", "tail", "true", "tty",
];

const CASES: &[Case] = &[
    (
        "twenty_megabytes_of_lines_are_logged_and_read_back",
        twenty_megabytes_of_lines_are_logged_and_read_back,
    ),
    (
        "a_program_that_is_not_there_is_reported_with_its_kind",
        a_program_that_is_not_there_is_reported_with_its_kind,
    ),
    (
        "a_network_namespace_is_told_before_the_container_is_ready",
        a_network_namespace_is_told_before_the_container_is_ready,
    ),
    ("changes_that_need_not_survive_are_mounted_so", changes_that_need_not_survive_are_mounted_so),
    (
        "layers_are_stacked_and_changes_stay_in_the_upper_one",
        layers_are_stacked_and_changes_stay_in_the_upper_one,
    ),
    ("running_out_of_memory_is_told", running_out_of_memory_is_told),
    ("what_shares_the_host_pid_namespace_is_killed_too", what_shares_the_host_pid_namespace_is_killed_too),
    ("a_small_init_passes_signals_and_the_exit_code_on", a_small_init_passes_signals_and_the_exit_code_on),
];

fn main() {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if arguments.first().is_some_and(|name| name == "/sbin/docker-init") {
        std::process::exit(runtime::init::main(arguments[1..].to_vec()));
    }
    if arguments.get(1).is_some_and(|role| role == "shim") {
        std::process::exit(shim::main(&arguments[2..]));
    }
    if let Some(reason) = unfit() {
        assert!(std::env::var_os("CI").is_none(), "cannot run: {reason}");
        println!("SKIP: {reason}");
        return;
    }
    let directory = std::env::temp_dir().join(format!("berth-test-shim-root-{}", std::process::id()));
    make_root(&directory.join("root")).expect("a root file system");
    let lab = Lab { dress, directory: directory.clone() };
    let code = lab.run(harness::cases::CASES).max(lab.run(CASES));
    fs::remove_dir_all(&directory).expect("the root file system is free");
    remove_parent_group();
    std::process::exit(code);
}

/// The shims removed their groups; the one above them is the test's.
fn remove_parent_group() {
    let hierarchy = cgroup::Hierarchy::detect().expect("control groups");
    let path = cgroup::CgroupPath::parse(&harness::parent_group()).expect("a path");
    if let Some(group) = cgroup::Cgroup::open(&hierarchy, &path).expect("open the group") {
        group.remove().expect("no shim left a group behind");
    }
}

fn unfit() -> Option<String> {
    if linux::credentials::effective_uid() != 0 {
        return Some("needs root".into());
    }
    (!Path::new(BUSYBOX).exists()).then(|| format!("{BUSYBOX} (package busybox-static) is missing"))
}

/// A root file system with nothing but busybox.
fn make_root(root: &Path) -> std::io::Result<()> {
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(name))?;
    }
    fs::copy(BUSYBOX, root.join("bin/busybox"))?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::create_dir(root.join("bin/directory"))?;
    fs::write(root.join("bin/text"), "not a program")
}

fn root(lab: &Lab) -> PathBuf {
    lab.directory.join("root")
}

/// Completes a request with a root and namespaces.
fn dress(lab: &Lab, create: &mut Create) {
    let spec = r#"{
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "hostname": "inside",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}]
        }
    }"#;
    let spec: Spec = serde_json::from_str(spec).expect("a configuration");
    create.spec = Spec { process: create.spec.process.take(), ..spec };
    create.root = Root::Path { path: root(lab) };
}

fn twenty_megabytes_of_lines_are_logged_and_read_back(lab: &Lab) {
    let lines = 200_000;
    let text: String = (0..lines).map(|number| format!("{number:099}\n")).collect();
    fs::write(root(lab).join("tmp/lines"), &text).expect("write");
    let mut shim = lab.created("cat /tmp/lines", Io::default());
    let start = Instant::now();
    shim.start();
    assert_eq!(shim.exited().code, 0);
    let written = start.elapsed();
    let start = Instant::now();
    let entries = shim.log();
    let read = start.elapsed();
    println!("      {lines} lines: written in {} ms, read in {} ms", written.as_millis(), read.as_millis());
    assert_eq!(entries.len(), lines);
    assert!(
        entries.iter().map(|entry| entry.bytes.as_slice()).eq(text.split_inclusive('\n').map(str::as_bytes))
    );
    shim.shut_down();
}

fn a_program_that_is_not_there_is_reported_with_its_kind(lab: &Lab) {
    let cases = [
        (
            "/bin/absent",
            ErrorKind::NotFound,
            "exec: \"/bin/absent\": stat /bin/absent: no such file or directory",
        ),
        ("absent", ErrorKind::NotFound, "exec: \"absent\": executable file not found in $PATH"),
        ("/bin/directory", ErrorKind::IsDirectory, "is a directory"),
        ("/bin/text", ErrorKind::Permission, "permission denied"),
    ];
    for (program, kind, words) in cases {
        let mut shim = lab.shim();
        let mut create = lab.create(&shim, "", Io::default());
        create.spec.process.as_mut().expect("a process").args = vec![program.into()];
        let created = shim.call(Request::Create(Box::new(create)));
        let error = match created.and_then(|_| shim.call(Request::Start)) {
            Err(Error::Refused(error)) => error,
            other => panic!("{program}: {other:?}"),
        };
        assert!(error.message.contains(words), "{program}: {}", error.message);
        assert_eq!(error.kind, kind, "{program}: {}", error.message);
        shim.shut_down();
    }
}

fn layers_are_stacked_and_changes_stay_in_the_upper_one(lab: &Lab) {
    let mut shim = lab.shim();
    let directory = lab.directory.join("layers");
    for name in ["top", "upper", "work"] {
        fs::create_dir_all(directory.join(name)).expect("a directory");
    }
    fs::write(directory.join("top/file"), "from the top\n").expect("write");
    let mut create =
        lab.create(&shim, "cat /file; echo changed > /file; echo new > /tmp/new; cat /file", Io::default());
    create.root = Root::Overlay {
        lower: vec![directory.join("top"), root(lab)],
        upper: directory.join("upper"),
        work: directory.join("work"),
        mapped: false,
    };
    shim.make(create);
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains("layers/upper"), "the root is mounted on the host: {mounts}");
    shim.start();
    assert_eq!(shim.exited().code, 0);
    assert_eq!(shim.log_text(), "from the top\nchanged\n");
    assert_eq!(fs::read_to_string(directory.join("upper/tmp/new")).expect("read"), "new\n");
    assert_eq!(fs::read_to_string(directory.join("top/file")).expect("read"), "from the top\n");
    shim.shut_down();
    fs::remove_dir_all(directory).expect("remove");
}

fn a_network_namespace_is_told_before_the_container_is_ready(lab: &Lab) {
    let inode = |fd: OwnedFd| File::from(fd).metadata().expect("a namespace").ino();
    let mut shim = lab.shim();
    let mut create = lab.create(&shim, "true", Io::default());
    let namespaces = &mut create.spec.linux.as_mut().expect("linux").namespaces;
    let network = NamespaceKind::Network;
    namespaces.retain(|namespace| namespace.kind != network);
    let shared = create.clone();
    let namespaces = &mut create.spec.linux.as_mut().expect("linux").namespaces;
    namespaces.push(oci::runtime::Namespace { kind: network, path: None });
    let (reply, mut answered) = shim.call(Request::Create(Box::new(create))).expect("create");
    let Reply::Created { descriptors, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(descriptors, [Descriptor::Pidfd, Descriptor::Netns]);
    let early = shim.client.as_mut().expect("a connection").take_netns().expect("told before");
    assert_eq!(inode(early), inode(answered.pop().expect("told with the answer")));
    shim.start();
    assert_eq!(shim.exited().code, 0);
    shim.shut_down();

    // Who shares the host's is told nothing: nobody may furnish that.
    let mut shim = lab.shim();
    let usual = lab.create(&shim, "true", Io::default());
    shim.make(Create { spec: shared.spec, ..usual });
    assert!(shim.client.as_mut().expect("a connection").take_netns().is_none());
    shim.start();
    assert_eq!(shim.exited().code, 0);
    shim.shut_down();
}

fn changes_that_need_not_survive_are_mounted_so(lab: &Lab) {
    for volatile in [true, false] {
        let mut shim = lab.shim();
        let directory = lab.directory.join("fleeting");
        for name in ["upper", "work"] {
            fs::create_dir_all(directory.join(name)).expect("a directory");
        }
        let script = "cat /proc/self/mountinfo; echo new > /new";
        let create = lab.create(&shim, script, Io::default());
        let root = Root::Overlay {
            lower: vec![root(lab)],
            upper: directory.join("upper"),
            work: directory.join("work"),
            mapped: false,
        };
        shim.make(Create { root, volatile, ..create });
        shim.start();
        assert_eq!(shim.exited().code, 0);
        let text = shim.log_text();
        assert!(text.contains(" overlay overlay "), "{text}");
        let is_so = text.contains(",volatile") || text.contains(",fsync=volatile");
        assert_eq!(is_so, volatile, "{text}");
        assert_eq!(fs::read_to_string(directory.join("upper/new")).expect("read"), "new\n");
        shim.shut_down();
        fs::remove_dir_all(directory).expect("remove");
    }
}

fn running_out_of_memory_is_told(lab: &Lab) {
    let mut shim = lab.shim();
    let mut create = lab.create(&shim, "tail /dev/zero; exit 3", Io::default());
    let resources = serde_json::from_str(r#"{"memory": {"limit": 33554432}}"#).expect("limits");
    create.spec.linux.as_mut().expect("linux").resources = Some(resources);
    shim.make(create);
    shim.start();
    let mut events = Vec::new();
    while !events.iter().any(|event| matches!(event, Event::Exited { .. })) {
        events.push(shim.event(LIMIT).expect("an event"));
    }
    assert!(events.contains(&Event::Oom), "{events:?}");
    assert!(
        matches!(events.last(), Some(Event::Exited { exit }) if exit.oom_killed && exit.code == 3),
        "{events:?}"
    );
    shim.shut_down();
}

fn what_shares_the_host_pid_namespace_is_killed_too(lab: &Lab) {
    let mut shim = lab.shim();
    let mut create = lab.create(&shim, "sleep 1000 & sleep 1000 & echo begun", Io::default());
    let namespaces = &mut create.spec.linux.as_mut().expect("linux").namespaces;
    namespaces.retain(|namespace| namespace.kind != oci::runtime::NamespaceKind::Pid);
    shim.make(create);
    let stream = shim.attach(attach(Framing::Raw));
    shim.start();
    // The output is held by both until they are gone.
    assert_eq!(read_all(&stream), b"begun\n");
    assert_eq!(shim.exited().code, 0);
    shim.shut_down();
}

fn a_small_init_passes_signals_and_the_exit_code_on(lab: &Lab) {
    let mut shim = lab.shim();
    let script = "trap 'echo told; exit 12' TERM; echo pid $$; while :; do read line; done";
    let mut create = lab.create(&shim, script, interactive());
    create.init = true;
    shim.make(create);
    let stream = shim.attach(attach(Framing::Raw));
    shim.start();
    let greeting = harness::read_until(&stream, "\n");
    assert_ne!(greeting, "pid 1\n");
    let (_, descriptors) = shim.call(Request::Hello).expect("hello");
    let pidfd = linux::pidfd::PidFd::from(descriptors.into_iter().next().expect("a pidfd"));
    assert!(pidfd.send(15).expect("signal"));
    // A shell that was told just before it began to read looks at what it was told when the reading ends.
    let closed = shim.call(Request::CloseStdin { target: Target::Container });
    assert!(matches!(closed, Ok(_) | Err(Error::Refused(_))), "{closed:?}");
    assert_eq!(shim.exited().code, 12);
    assert_eq!(shim.log_text(), format!("{greeting}told\n"));
    shim.shut_down();
}
