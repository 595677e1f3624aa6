//! How a daemon is configured and reached: flags and file, signals, TLS, ssh, contexts, figures, authorization plugins.

use crate::check::{Check, contains, same, skip};
use crate::command_line::{Output, run};
use crate::program_file;
use crate::scope::Scope;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

const AREA: &str = "doors";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "--validate says what is wrong with a configuration", validate),
        Check::new(
            AREA,
            "SIGHUP changes what can be changed and tells it, and a wrong file changes nothing",
            reload,
        )
        .alone(),
        Check::new(
            AREA,
            "live-restore: false stops containers with the daemon, and policies start them",
            stops,
        )
        .alone(),
        Check::new(AREA, "SIGUSR1 writes down what the daemon does", dump).alone(),
        Check::new(AREA, "TLS lets in who has a certificate of the CA", tls).alone(),
        Check::new(AREA, "figures are served to Prometheus", figures).alone(),
        Check::new(AREA, "an authorization plugin allows and denies, and its absence denies", plugin).alone(),
        Check::new(AREA, "ssh:// runs the relay at the other end", ssh),
        Check::new(AREA, "contexts lead to daemons, and Docker's client reads them", contexts),
    ]
}

/// Runs a script in namespaces of its own, where a daemon finds its default places empty. `$1` is the berth program,
/// `$2` Docker's client or berth's, `$3` a directory that both sides see, `$4` a busybox.
pub(super) fn in_a_box(scope: &Scope<'_>, script: &str) -> Result<Output> {
    let program = scope.engine.program.as_ref().context("the berth program")?;
    let busybox = scope.engine.busybox_program.as_ref().context("a busybox program")?;
    let prelude = "set -u; b=$1; d=$2; dir=$3; bb=$4; cd $dir; ip link set lo up; mount -t tmpfs none /run; \
         mount -t tmpfs none /var/lib; export DOCKER_CONFIG=$dir/config; \
         up() { \"$b\" daemon \"$@\" 2>>$dir/log & pid=$!; for i in $(seq 600); do [ -S /run/docker.sock ] && return; \
         kill -0 $pid || { cat $dir/log >&2; exit 99; }; sleep 0.05; done; exit 98; }; \
         down() { kill $pid; wait $pid; }; \
         logged() { for i in $(seq 200); do grep -q \"$1\" $dir/log && return; sleep 0.05; done; cat $dir/log >&2; exit 97; };";
    let mut command = Command::new("timeout");
    command.args(["90", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["--propagation", "private", "sh", "-c", &format!("{prelude}\n{script}"), "sh"]);
    command.arg(program).arg(&scope.client().program).arg(scope.directory()?).arg(busybox);
    command.env_remove("DOCKER_HOST");
    run(command, b"")
}

fn validate(scope: &Scope<'_>) -> Result<()> {
    let program = scope.engine.program.as_ref().context("the berth program")?;
    let file = scope.directory()?.join("daemon.json");
    let path = file.display().to_string();
    let check = |text: &str, flags: &[&str], code: i32, words: &str| -> Result<()> {
        std::fs::write(&file, text)?;
        let mut command = Command::new(program);
        command.args(["daemon", "--validate", "--config-file", &path]).args(flags);
        let output = run(command, b"")?.expect_code(code).with_context(|| text.to_owned())?;
        contains(text, &output.stderr, words)
    };
    check("{}", &[], 0, "configuration OK")?;
    check(r#"{"labels":["a=b"],"log-opts":{"max-size":"1m"}}"#, &[], 0, "configuration OK")?;
    check(
        r#"{"no-such":1}"#,
        &[],
        1,
        "the following directives don't match any configuration option: no-such",
    )?;
    check(
        r#"{"debug":true}"#,
        &["--debug"],
        1,
        "specified both as a flag and in the configuration file: debug",
    )?;
    check("{", &[], 1, "unable to configure the daemon with file")?;
    check(r#"{"hosts":["tcp://0.0.0.0:2375"]}"#, &[], 1, "without TLS")
}

fn reload(scope: &Scope<'_>) -> Result<()> {
    let script = r#"
        echo '{"labels":["a=1"],"default-shm-size":"1m"}' > c.json
        up --config-file $dir/c.json --bridge none
        since=$(date +%s)
        "$d" info --format '{{.Labels}} {{.Debug}}'
        echo '{"labels":["a=2"],"debug":true,"default-shm-size":"2m","mtu":1400}' > c.json
        kill -HUP $pid; logged 'the configuration was read again'
        "$d" info --format '{{.Labels}} {{.Debug}}'
        echo '{"nonsense":1}' > c.json
        kill -HUP $pid; logged 'everything stays as it was'
        "$d" info --format '{{.Labels}} {{.Debug}}'
        "$d" events --since $since --until $(($(date +%s)+1)) --filter type=daemon \
            --format '{{.Action}} {{index .Actor.Attributes "labels"}} {{index .Actor.Attributes "debug"}}'
        grep -c 'counts once the daemon is started again' log
        down"#;
    let output = in_a_box(scope, script)?.expect_code(0)?;
    let expected = "[a=1] false\n[a=2] true\n[a=2] true\nreload [\"a=2\"] true\n1\n";
    same(&output.stderr.clone(), output.stdout, expected)
}

fn stops(scope: &Scope<'_>) -> Result<()> {
    let script = r#"
        mkdir -p root/bin; cp "$bb" root/bin/busybox
        for name in sh sleep; do ln -s busybox root/bin/$name; done
        echo '{"live-restore":false}' > c.json
        begin() { up --config-file $dir/c.json --bridge none --cgroup-parent /berth-check-$(basename $dir); }
        states() { "$d" ps -a --format '{{.Names}} {{.State}}' | sort; }
        begin
        "$d" info --format '{{.LiveRestoreEnabled}}'
        tar -C root -c . | "$d" import - bb > /dev/null
        make() { name=$1; shift; "$d" run -d --net none --stop-timeout 1 --name $name "$@" > /dev/null; }
        make polite bb sh -c 'trap "exit 7" TERM; while :; do sleep 0.1; done'
        make deaf bb sleep 4242
        make kept --restart unless-stopped bb sleep 4242
        make stopped --restart unless-stopped bb sleep 4242
        "$d" stop stopped > /dev/null
        states; down
        grep -lz '^4242$' /proc/[0-9]*/cmdline 2>/dev/null || echo nobody
        grep -c 'containers are stopped' log
        begin; for i in $(seq 200); do states | grep -q 'kept running' && break; sleep 0.05; done; states
        "$d" inspect --format '{{.State.ExitCode}}' polite deaf
        "$d" rm -f polite deaf kept stopped > /dev/null; down"#;
    let output = in_a_box(scope, script)?.expect_code(0)?;
    let expected = "false\ndeaf running\nkept running\npolite running\nstopped exited\nnobody\n1\n\
        deaf exited\nkept running\npolite exited\nstopped exited\n7\n137\n";
    same(&output.stderr.clone(), output.stdout, expected)
}

fn dump(scope: &Scope<'_>) -> Result<()> {
    let script = r#"
        up --bridge none
        "$b" events > events & waiting=$!
        "$b" ps > /dev/null
        kill -USR1 $pid; logged 'what the daemon does was written'
        kill $waiting
        cat /run/berth/berth-state-*.log; stat -c %a /run/berth/berth-state-*.log
        down"#;
    let output = in_a_box(scope, script)?.expect_code(0)?;
    for part in
        ["== requests whose handlers are at work", "== containers", "== threads", "== open files by kind"]
    {
        contains("the dump", &output.stdout, part)?;
    }
    same("only its owner reads it", output.stdout.lines().last(), Some("600"))
}

/// Makes a CA, a server's and a client's certificate with openssl.
const CERTIFICATES: &str = r#"
    make() { openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout $2-key.pem -out r.csr &&
        printf "$3" > ext && openssl x509 -req -in r.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $2.pem; }
    { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem &&
      make 127.0.0.1 server "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n" &&
      mkdir -p certs && make alice certs/x "extendedKeyUsage=clientAuth\n"; } > openssl.log 2>&1 || { cat openssl.log >&2; exit 96; }
    cp ca.pem certs/ca.pem; mv certs/x.pem certs/cert.pem; mv certs/x-key.pem certs/key.pem
"#;

fn has_openssl() -> Result<()> {
    match Command::new("openssl").arg("version").output() {
        Ok(_) => Ok(()),
        Err(error) => Err(skip(format!("openssl: {error}"))),
    }
}

fn tls(scope: &Scope<'_>) -> Result<()> {
    has_openssl()?;
    let script = format!(
        r#"{CERTIFICATES}
        up --bridge none -H unix:///run/docker.sock -H tcp://127.0.0.1:2376 --tlsverify \
            --tlscacert ca.pem --tlscert server.pem --tlskey server-key.pem
        export DOCKER_HOST=tcp://127.0.0.1:2376
        for client in "$b" "$d"; do
            DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=$dir/certs "$client" version --format '{{{{.Server.Os}}}}'
            "$client" --tlsverify --tlscacert ca.pem --tlscert certs/cert.pem --tlskey certs/key.pem ps -q; echo ps $?
            "$client" --tlsverify --tlscacert ca.pem --tlscert no.pem --tlskey no-key.pem ps -q; echo none $?
            "$client" ps -q > /dev/null; echo plain $?
        done
        down"#
    );
    let output = in_a_box(scope, &script)?.expect_code(0)?;
    let once = "linux\nps 0\nnone 1\nplain 1\n";
    same(&output.stderr.clone(), output.stdout, once.repeat(2))
}

fn figures(scope: &Scope<'_>) -> Result<()> {
    let script = r#"
        up --bridge none --metrics-addr 127.0.0.1:9323
        "$b" ps -q; "$b" info > /dev/null
        "$bb" wget -q -O - http://127.0.0.1:9323/metrics; "$bb" wget -q -O - http://127.0.0.1:9323/containers/json; echo $?
        down"#;
    let output = in_a_box(scope, script)?.expect_code(0)?;
    for part in [
        "engine_daemon_engine_info{",
        "engine_daemon_container_states_containers{state=\"running\"} 0",
        "engine_daemon_host_info_functions_seconds_count{action=\"system_info\"} 1",
        "# TYPE engine_daemon_engine_cpus_cpus gauge",
        "process_resident_memory_bytes ",
    ] {
        contains("the figures", &output.stdout, part)?;
    }
    same("nothing else is served", output.stdout.lines().last(), Some("1"))
}

/// A plugin that allows everything but what has `forbidden` in its path, and writes down what it was asked.
fn serve_plugin(socket: &Path, asked: mpsc::Sender<String>) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            // A request is complete when its length is.
            while !is_complete(&request) {
                match stream.read(&mut piece) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => request.extend_from_slice(&piece[..count]),
                }
            }
            let text = String::from_utf8_lossy(&request).into_owned();
            let answer = match text.split(' ').nth(1) {
                Some("/Plugin.Activate") => r#"{"Implements":["authz"]}"#,
                _ if text.contains("forbidden") => r#"{"Allow":false,"Msg":"not this one"}"#,
                _ => r#"{"Allow":true}"#,
            };
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
            if stream.write_all(format!("{head}{answer}").as_bytes()).is_err() || asked.send(text).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.trim().parse().ok()).is_none_or(|length: usize| body.len() >= length)
}

fn plugin(scope: &Scope<'_>) -> Result<()> {
    has_openssl()?;
    let (sender, asked) = mpsc::channel();
    serve_plugin(&scope.directory()?.join("guard.sock"), sender)?;
    let script = format!(
        r#"{CERTIFICATES}
        mkdir -p /run/docker/plugins; ln -s $dir/guard.sock /run/docker/plugins/guard.sock
        up --bridge none --authorization-plugin guard -H unix:///run/docker.sock -H tcp://127.0.0.1:2376 --tlsverify \
            --tlscacert ca.pem --tlscert server.pem --tlskey server-key.pem
        DOCKER_HOST=tcp://127.0.0.1:2376 DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=$dir/certs "$d" ps -q; echo $?
        "$d" volume create allowed
        "$d" volume rm forbidden; echo $?
        "$d" volume ls -q
        down
        rm /run/docker/plugins/guard.sock
        up --bridge none --authorization-plugin guard
        "$b" ps; echo $?
        down"#
    );
    let output = in_a_box(scope, &script)?.expect_code(0)?;
    same(&output.stderr.clone(), output.stdout, "0\nallowed\n1\nallowed\n1\n")?;
    contains("denied", &output.stderr, "authorization denied by plugin guard: not this one")?;
    contains("absent", &output.stderr, "plugin guard failed with error")?;
    let questions: Vec<String> = asked.try_iter().collect();
    let has = |part: &str| questions.iter().any(|question| question.contains(part));
    same("documents are shown", has("\"RequestBody\":\"ey"), true)?;
    same("who asks", has("\"User\":\"alice\",\"UserAuthNMethod\":\"TLS\""), true)?;
    same("answers are asked about", has("\"ResponseStatusCode\":200"), true)
}

fn ssh(scope: &Scope<'_>) -> Result<()> {
    let program = scope.engine.program.as_ref().context("the berth program")?;
    let directory = scope.directory()?;
    // A stand-in that runs here what ssh would run there, and writes down what it was told.
    let stand_in = directory.join("ssh");
    let script = "#!/bin/sh\necho \"$@\" > \"$(dirname \"$0\")/told\"\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\nexec \"$@\"\n";
    program_file::write(&stand_in, script)?;
    std::os::unix::fs::symlink(program, directory.join("docker"))?;
    let host = format!("ssh://me@there:22{}", scope.engine.socket.display());
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(program);
    command.args(["-H", &host, "ps", "-q"]).env("PATH", &path).env_remove("DOCKER_HOST");
    run(command, b"")?.expect_code(0)?;
    let told = std::fs::read_to_string(directory.join("told"))?;
    contains("ssh is told", &told, "-l me -p 22 -- there docker --host unix://")?;
    let mut command = Command::new(program);
    let name = scope.name("far");
    command.args(["-H", &host, "run", "-i", "--rm", "--name", &name, crate::fixture::BUSYBOX, "cat"]);
    let output = run(
        {
            command.env("PATH", &path).env_remove("DOCKER_HOST");
            command
        },
        b"there and back",
    )?;
    same("through a relay", output.expect_code(0)?.stdout, "there and back")
}

fn contexts(scope: &Scope<'_>) -> Result<()> {
    let program = scope.engine.program.as_ref().context("the berth program")?;
    let settings = scope.directory()?.join("settings");
    let call = |program: &Path, words: &[&str]| -> Result<Output> {
        let mut command = Command::new(program);
        command
            .args(words)
            .env("DOCKER_CONFIG", &settings)
            .env_remove("DOCKER_HOST")
            .env_remove("DOCKER_CONTEXT");
        run(command, b"")
    };
    let host = format!("host=unix://{}", scope.engine.socket.display());
    let made = call(program, &["context", "create", "here", "--docker", &host, "--description", "this one"])?;
    same("create", made.expect_code(0)?.stdout, "here\n")?;
    call(program, &["context", "use", "here"])?.expect_code(0)?;
    call(program, &["ps", "-q"])?.expect_code(0)?;
    call(&scope.client().program, &["ps", "-q"])?.expect_code(0)?;
    let rows = |program: &Path| -> Result<String> {
        let format = "{{.Name}} {{.Current}} {{.Description}}";
        Ok(call(program, &["context", "ls", "--format", format])?.expect_code(0)?.stdout)
    };
    same("both clients", rows(program)?, rows(&scope.client().program)?)?;
    let archive = scope.directory()?.join("here.tar").display().to_string();
    let (ours, theirs) = (program.as_path(), scope.client().program.as_path());
    for (number, (from, to)) in [(ours, theirs), (theirs, ours)].into_iter().enumerate() {
        let (file, name) = (format!("{archive}{number}"), format!("copy{number}"));
        let words = format!("Written file {file:?}\n");
        same("export", call(from, &["context", "export", "here", &file])?.expect_code(0)?.stderr, words)?;
        call(from, &["context", "export", "here", &file])?.expect_code(1)?;
        let made = call(to, &["context", "import", &name, &file])?.expect_code(0)?;
        let words = format!("Successfully imported context {name:?}\n");
        same("import", (made.stdout, made.stderr), (format!("{name}\n"), words))?;
        call(ours, &["--context", &name, "ps", "-q"])?.expect_code(0)?;
        call(ours, &["context", "rm", &name])?.expect_code(0)?;
    }
    let refused = call(program, &["context", "rm", "here"])?.expect_code(1)?;
    contains("rm", &refused.stderr, "context \"here\" is in use, set -f flag to force remove")?;
    let both = call(program, &["--context", "here", "-H", "unix:///x", "ps"])?.expect_code(1)?;
    contains("both", &both.stderr, "conflicting options: cannot specify both --host and --context")?;
    same("rm -f", call(program, &["context", "rm", "-f", "here"])?.expect_code(0)?.stdout, "here\n")?;
    let missing = call(program, &["--context", "here", "ps"])?.expect_code(1)?;
    contains("missing", &missing.stderr, "context \"here\": context not found")
}
