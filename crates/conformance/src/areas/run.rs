//! `docker run` in its flag forms: what the program sees, what comes back, which exit code.

use crate::check::{Check, contains, same, says};
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::Result;
use serde_json::json;

const AREA: &str = "run";

/// A command in a busybox container: flags, shell script, what it prints, exit code.
struct Case {
    name: &'static str,
    flags: &'static [&'static str],
    script: &'static str,
    prints: &'static str,
    code: i32,
}

const fn case(
    name: &'static str,
    flags: &'static [&'static str],
    script: &'static str,
    prints: &'static str,
) -> Case {
    Case { name, flags, script, prints, code: 0 }
}

const CASES: &[Case] = &[
    case("output comes back", &[], "echo out", "out\n"),
    case(
        "large output comes back whole",
        &[],
        "seq 100000 | md5sum",
        "dea9193b768319cbb4ff1a137ac03113  -\n",
    ),
    case("-e sets a variable", &["-e", "A=b c"], "echo \"$A\"", "b c\n"),
    case(
        "-e without a value takes the client's",
        &["-e", "FROM_THE_CLIENT"],
        "echo $FROM_THE_CLIENT",
        "yes\n",
    ),
    case(
        "the image's PATH is there",
        &[],
        "echo $PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
    ),
    case(
        "others may not write to what a program makes",
        &[],
        "umask; touch /f; stat -c %a /f",
        "0022\n644\n",
    ),
    case("HOME is the user's", &["-u", "alice"], "echo $HOME", "/home/alice\n"),
    case("HOSTNAME is the hostname", &["-h", "pelican"], "echo $HOSTNAME; hostname", "pelican\npelican\n"),
    case("-w sets the working directory", &["-w", "/tmp"], "pwd", "/tmp\n"),
    case(
        "-w makes a directory that is missing",
        &["-w", "/new/dir"],
        "pwd; stat -c %u:%a .",
        "/new/dir\n0:755\n",
    ),
    case("-u takes numbers", &["-u", "1234:4321"], "id -u; id -g; id -G", "1234\n4321\n4321\n"),
    case(
        "-u takes a name, with its groups",
        &["-u", "alice"],
        "id -u; id -g; id -G",
        "1000\n1000\n1000 2000\n",
    ),
    case("-u takes a name and a group", &["-u", "alice:daemon"], "id -u; id -g", "1000\n1\n"),
    case(
        "--group-add adds groups",
        &["-u", "1000", "--group-add", "team", "--group-add", "77"],
        "echo $(id -G | tr ' ' '\\n' | sort -n)",
        "77 1000 2000\n",
    ),
    case("--entrypoint replaces the program", &["--entrypoint", "/bin/echo"], "x", "sh -c x\n"),
    case(
        "--tmpfs is a tmpfs",
        &["--tmpfs", "/scratch"],
        "awk '$2==\"/scratch\"{print $3}' /proc/mounts; touch /scratch/a",
        "tmpfs\n",
    ),
    case(
        "--tmpfs takes options",
        &["--tmpfs", "/scratch:size=64k,mode=700"],
        "stat -c %a /scratch; df -k /scratch | awk 'NR==2{print $2}'",
        "700\n64\n",
    ),
    case(
        "--read-only keeps the root as it is",
        &["--read-only"],
        "touch /a 2>&1; echo $?",
        "touch: /a: Read-only file system\n1\n",
    ),
    case(
        "--read-only leaves a tmpfs writable",
        &["--read-only", "--tmpfs", "/t"],
        "echo x > /t/a; cat /t/a",
        "x\n",
    ),
    case(
        "--add-host goes into /etc/hosts",
        &["--add-host", "db:10.1.2.3"],
        "awk '$2==\"db\"{print $1}' /etc/hosts",
        "10.1.2.3\n",
    ),
    case(
        "--ulimit sets both limits",
        &["--ulimit", "nofile=123:456"],
        "ulimit -Sn; ulimit -Hn",
        "123\n456\n",
    ),
    case(
        "--shm-size sizes /dev/shm",
        &["--shm-size", "1m"],
        "df -k /dev/shm | awk 'NR==2{print $2}'",
        "1024\n",
    ),
    case("/dev/shm has 64 MiB by default", &[], "df -k /dev/shm | awk 'NR==2{print $2}'", "65536\n"),
    case(
        "--sysctl sets a namespaced value",
        &["--sysctl", "net.ipv4.ip_forward=0"],
        "cat /proc/sys/net/ipv4/ip_forward",
        "0\n",
    ),
    case("new files are not writable for everybody", &[], "umask; touch /f; stat -c %a /f", "0022\n644\n"),
    case("/etc/mtab is what the kernel says", &[], "readlink /etc/mtab", "/proc/mounts\n"),
    case("--oom-score-adj is set", &["--oom-score-adj", "123"], "cat /proc/self/oom_score_adj", "123\n"),
    case("standard streams are what they should be", &[], "echo out; echo err >&2", "out\n"),
    case("stdin is empty without -i", &[], "cat; echo end", "end\n"),
    case("an uninterested program may leave its input", &["-i"], "exit 0", ""),
    case(
        "a signal that the program ignores does nothing",
        &[],
        "trap '' TERM; kill -TERM $$; echo alive",
        "alive\n",
    ),
    Case { name: "the program's exit code comes back", flags: &[], script: "exit 42", prints: "", code: 42 },
    Case {
        name: "--init passes the exit code on",
        flags: &["--init"],
        script: "exit 43",
        prints: "",
        code: 43,
    },
    Case {
        name: "--init reports a signal as 128+n",
        flags: &["--init"],
        script: "kill -KILL $$",
        prints: "",
        code: 137,
    },
    case("--init is process 1, and the program its child", &["--init"], "[ $$ -ne 1 ] && echo $PPID", "1\n"),
    case("the program is process 1 without --init", &[], "echo $$", "1\n"),
];

pub(crate) fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> =
        CASES.iter().map(|case| Check::new(AREA, case.name, move |scope| run_case(scope, case))).collect();
    checks.extend([
        Check::new(AREA, "-d prints the full id and returns", detached),
        Check::new(AREA, "-i passes input on to its end", input),
        Check::new(AREA, "-i passes a megabyte on without loss", much_input),
        Check::new(AREA, "input that nobody reads spoils neither output nor exit code", unread_input),
        Check::new(AREA, "stderr stays apart from stdout", streams),
        Check::new(AREA, "--rm removes the container, and without it the container stays", removal),
        Check::new(AREA, "--name names, and a second one of the name is refused", names),
        Check::new(AREA, "-v binds a directory in both directions", bind),
        Check::new(AREA, "-v ...:ro may not be written", bind_read_only),
        Check::new(AREA, "-v binds one file", bind_file),
        Check::new(AREA, "-v makes a source directory that is missing", bind_missing),
        Check::new(AREA, "--env-file sets what the file says", env_file),
        Check::new(AREA, "--cidfile gets the id", cidfile),
        Check::new(AREA, "--init reaps orphans", init_reaps),
        Check::new(AREA, "a missing program is 127", not_found),
        Check::new(AREA, "a file that is no program, and a directory, are 126", not_executable),
        Check::new(AREA, "what the client or the engine refuses is 125", refused),
        Check::new(AREA, "SIGTERM to the client goes to the container", signal_proxy),
        Check::new(AREA, "the default command of an imported Debian is a shell", debian_shell),
        Check::new(AREA, "a real Debian runs, from /etc/os-release to its package database", debian),
    ]);
    checks
}

fn run_case(scope: &Scope<'_>, case: &Case) -> Result<()> {
    let output = scope.run(case.flags, &["sh", "-c", case.script])?.expect_code(case.code)?;
    same("stdout", output.stdout, case.prints)
}

fn detached(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("detached");
    let id = scope.ok(&["run", "-d", "--name", &name, BUSYBOX, "sleep", "300"])?;
    same("a full id", id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), true)?;
    same("Id", scope.inspect(&name)?["Id"].as_str(), Some(id.as_str()))
}

fn input(scope: &Scope<'_>) -> Result<()> {
    let output =
        scope.run_with_input(&["-i"], &["sh", "-c", "cat; echo end"], b"one\ntwo")?.expect_code(0)?;
    same("stdout", output.stdout, "one\ntwoend\n")
}

fn much_input(scope: &Scope<'_>) -> Result<()> {
    let input: Vec<u8> =
        (0..1_000_000u32).map(|number| b'a' + u8::try_from(number % 26).unwrap_or(0)).collect();
    let output = scope.run_with_input(&["-i"], &["cat"], &input)?.expect_code(0)?;
    same("length", output.stdout.len(), input.len())?;
    same("bytes", output.stdout.into_bytes() == input, true)
}

fn unread_input(scope: &Scope<'_>) -> Result<()> {
    let input = vec![b'y'; 4 << 20];
    let output = scope.run_with_input(&["-i"], &["sh", "-c", "echo done; exit 3"], &input)?.expect_code(3)?;
    same("output", (output.stdout.as_str(), output.stderr.as_str()), ("done\n", ""))
}

fn streams(scope: &Scope<'_>) -> Result<()> {
    let output = scope.run(&[], &["sh", "-c", "echo out; echo err >&2"])?.expect_code(0)?;
    same("streams", (output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"))
}

fn removal(scope: &Scope<'_>) -> Result<()> {
    let (kept, removed) = (scope.name("kept"), scope.name("removed"));
    scope.ok(&["run", "--name", &kept, BUSYBOX, "true"])?;
    scope.ok(&["run", "--rm", "--name", &removed, BUSYBOX, "true"])?;
    same("kept", scope.inspect(&kept)?["State"]["Status"].as_str(), Some("exited"))?;
    same("removed", scope.api("GET", &format!("/containers/{removed}/json"))?.status, 404)
}

fn names(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("taken", &[], &["sleep", "300"])?;
    let inspect = scope.inspect(&name)?;
    same("Name", inspect["Name"].as_str(), Some(format!("/{name}").as_str()))?;
    let output = scope.docker(&["run", "--name", &name, BUSYBOX, "true"])?.expect_code(125)?;
    let id = inspect["Id"].as_str().unwrap_or_default();
    let words = format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    );
    contains("stderr", &output.stderr, &words)
}

fn bind(scope: &Scope<'_>) -> Result<()> {
    let directory = scope.directory()?;
    std::fs::write(directory.join("in"), "from the host\n")?;
    let volume = format!("{}:/data", directory.display());
    same("in", scope.script(&["-v", &volume], "cat /data/in; echo back > /data/out")?, "from the host")?;
    same("out", std::fs::read_to_string(directory.join("out"))?, "back\n")
}

fn bind_read_only(scope: &Scope<'_>) -> Result<()> {
    let volume = format!("{}:/data:ro", scope.directory()?.display());
    let output = scope.run(&["-v", &volume], &["touch", "/data/x"])?.expect_code(1)?;
    contains("stderr", &output.stderr, "Read-only file system")
}

fn bind_file(scope: &Scope<'_>) -> Result<()> {
    let file = scope.directory()?.join("one");
    std::fs::write(&file, "text\n")?;
    let volume = format!("{}:/etc/motd", file.display());
    same("file", scope.script(&["-v", &volume], "cat /etc/motd")?, "text")
}

fn bind_missing(scope: &Scope<'_>) -> Result<()> {
    let source = scope.directory()?.join("made/by/the/engine");
    let volume = format!("{}:/data", source.display());
    scope.script(&["-v", &volume], "touch /data/x")?;
    same("source", source.join("x").is_file(), true)
}

fn env_file(scope: &Scope<'_>) -> Result<()> {
    let file = scope.directory()?.join("env");
    std::fs::write(&file, "# comment\nONE=1\nTWO=two words\nFROM_THE_CLIENT\n")?;
    let flags = ["--env-file", &file.display().to_string()];
    same("env", scope.script(&flags, "echo $ONE,$TWO,$FROM_THE_CLIENT")?, "1,two words,yes")
}

fn cidfile(scope: &Scope<'_>) -> Result<()> {
    let file = scope.directory()?.join("id");
    let name = scope.start("cid", &["--cidfile", &file.display().to_string()], &["true"])?;
    same("id", scope.inspect(&name)?["Id"].as_str(), Some(std::fs::read_to_string(file)?.trim()))
}

fn init_reaps(scope: &Scope<'_>) -> Result<()> {
    // The orphan's end is seen through its directory in /proc: it goes only when somebody has waited for it.
    let script =
        "sh -c 'true & echo $!' > /tmp/pid; while [ -d /proc/$(cat /tmp/pid) ]; do :; done; echo gone";
    same("orphan", scope.script(&["--init"], script)?, "gone")
}

fn not_found(scope: &Scope<'_>) -> Result<()> {
    let output = scope.run(&[], &["no-such-program"])?.expect_code(127)?;
    contains("stderr", &output.stderr, "exec: \"no-such-program\": executable file not found in $PATH")?;
    let output = scope.run(&[], &[""])?.expect_code(127)?;
    contains("stderr", &output.stderr, "exec: \"\": executable file not found in $PATH")?;
    let output = scope.run(&[], &["/no/such/program"])?.expect_code(127)?;
    contains("stderr", &output.stderr, "no such file or directory")?;
    // Whoever waits is told as well.
    let id = scope.name("lost");
    scope.ok(&["create", "--name", &id, BUSYBOX, "no-such-program"])?;
    scope.api("POST", &format!("/containers/{id}/start"))?.expect(400)?;
    let waited = scope.api("POST", &format!("/containers/{id}/wait"))?.expect(200)?.json()?;
    same("status", &waited["StatusCode"], &json!(127))?;
    let words = waited["Error"]["Message"].as_str().unwrap_or_default();
    contains("words of wait", words, "executable file not found")
}

fn not_executable(scope: &Scope<'_>) -> Result<()> {
    let output = scope.run(&[], &["/etc/not-a-program"])?.expect_code(126)?;
    contains("a file", &output.stderr, "permission denied")?;
    let output = scope.run(&[], &["/etc"])?.expect_code(126)?;
    says("a directory", &output.stderr, "permission denied")
}

fn refused(scope: &Scope<'_>) -> Result<()> {
    scope.run(&["--no-such-flag"], &["true"])?.expect_code(125)?;
    let output =
        scope.docker(&["run", "--rm", "--pull", "never", "no-such-image", "true"])?.expect_code(125)?;
    says("stderr", &output.stderr, "No such image: no-such-image:latest")?;
    let output = scope.run(&["-m", "1k"], &["true"])?.expect_code(125)?;
    contains("stderr", &output.stderr, "Minimum memory limit allowed is 6MB")
}

fn signal_proxy(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("proxied");
    let script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let mut child = std::process::Command::new(&scope.client().program)
        .args(["run", "--name", &name, BUSYBOX, "sh", "-c", script])
        .envs(scope.client().environment())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()?;
    scope.logged(&name, "ready")?;
    std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    same("exit code", child.wait()?.code(), Some(9))?;
    scope.logged(&name, "caught").map(drop)
}

fn debian_shell(scope: &Scope<'_>) -> Result<()> {
    let (image, name) = (scope.debian()?, scope.name("debian-shell"));
    let output =
        scope.client().call_with_input(&["run", "--rm", "-i", "--name", &name, image], b"echo $BASH\n")?;
    same("stdout", output.expect_code(0)?.stdout, "/usr/bin/bash\n")
}

fn debian(scope: &Scope<'_>) -> Result<()> {
    let (image, name) = (scope.debian()?, scope.name("debian"));
    let script =
        ". /etc/os-release; echo $ID; dpkg-query -W -f '${Status}\\n' bash; perl -e 'print 6*7, \"\\n\"'";
    let output = scope.docker(&["run", "--rm", "--name", &name, image, "bash", "-c", script])?;
    same("stdout", output.expect_code(0)?.stdout, "debian\ninstall ok installed\n42\n")
}
