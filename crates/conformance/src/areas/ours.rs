//! What only berth has: an image without a registry, the host's root as a throw-away one, a daemon when none runs.

use crate::check::{Check, contains, same};
use crate::command_line::run;
use crate::http::Request;
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::json;
use std::process::Command;

const AREA: &str = "ours";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "hello-world runs without a registry", hello_world),
        Check::new(AREA, "--rootfs runs a directory as a root", rootfs),
        Check::new(
            AREA,
            "--rootfs /:O runs the host's own root, and what is written is gone with it",
            host_root,
        ),
        Check::new(AREA, "commands of Docker's that do nothing here say why", absent_commands),
        Check::new(AREA, "a build is refused at once, by every way to ask for one", no_builds),
        Check::new(AREA, "without a daemon, root gets one, and is told so in one line", own_daemon).alone(),
    ]
}

/// berth's command line on the engine, whichever client the other checks use.
pub(super) fn berth(scope: &Scope<'_>, words: &[&str]) -> Result<crate::command_line::Output> {
    let program = scope.engine.program.clone().context("the berth program")?;
    let client = crate::command_line::Client { program, ..scope.client().clone() };
    client.call(words)
}

/// `/session` and `/grpc` are BuildKit's: a client hands its connection over there.
fn no_builds(scope: &Scope<'_>) -> Result<()> {
    for path in ["/session", "/grpc", "/build", "/build?version=2&session=s", "/build/cancel"] {
        let plain = Request::new("POST", path);
        let context = Request::new("POST", path).body("application/x-tar", vec![0; 1 << 20]);
        for request in [plain, context] {
            let answer = request.send(&scope.engine.socket)?.expect(501)?;
            contains(path, &answer.message(), "is not implemented by berth yet")?;
        }
        let upgrade = Request::new("POST", path)
            .header("Connection", "Upgrade")
            .header("Upgrade", "h2c")
            .header("X-Docker-Expose-Session-Uuid", "s");
        same(path, upgrade.open(&scope.engine.socket)?.status, 501)?;
    }
    // `docker system prune` ends with it, and there is nothing to prune.
    let pruned = scope.api("POST", "/build/prune")?.expect(200)?.json()?;
    same("pruned", pruned, json!({"CachesDeleted": null, "SpaceReclaimed": 0}))?;
    Ok(())
}

fn absent_commands(scope: &Scope<'_>) -> Result<()> {
    let plugins = berth(scope, &["plugin", "ls"])?.expect_code(0)?;
    same("plugins", plugins.stdout.trim_end(), "ID        NAME      DESCRIPTION   ENABLED")?;
    let not_here = "This node is not a swarm manager.";
    let cases: &[(&[&str], &str)] = &[
        (&["node", "ls"], not_here),
        (&["service", "create", "--replicas", "2", "x"], not_here),
        (&["secret", "inspect", "x"], not_here),
        (&["swarm", "init", "--advertise-addr", "127.0.0.1"], "swarm mode"),
        (&["plugin", "inspect", "x"], "plugin \"x\" not found"),
        (&["plugin", "rm"], "'docker plugin rm' requires at least 1 argument"),
        (&["build", "-t", "x", "."], "building images is not there yet"),
        (&["buildx", "ls"], "building images is not there yet"),
        (&["volume", "update", "x"], "updating a volume of a cluster"),
        (&["checkpoint", "ls", "x"], "experimental feature is disabled"),
    ];
    for (words, reason) in cases {
        let output = berth(scope, words)?;
        same(&words.join(" "), output.code, 1)?;
        contains(&words.join(" "), &output.stderr, &reason.replace("'docker ", "'berth "))?;
    }
    let help = berth(scope, &["--help"])?.expect_code(0)?.stdout;
    same("help names no commands that do nothing", help.contains("swarm"), false)
}

fn hello_world(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("hello");
    let output = berth(scope, &["run", "--rm", "--name", &name, "hello-world"])?.expect_code(0)?;
    contains("stdout", &output.stdout, "Hello from berth!")?;
    same("it is gone", scope.api("GET", &format!("/containers/{name}/json"))?.status, 404)
}

fn rootfs(scope: &Scope<'_>) -> Result<()> {
    let root = scope.directory()?.join("root");
    std::fs::create_dir_all(root.join("bin"))?;
    let busybox = scope.engine.busybox_program.as_deref().context("a busybox program")?;
    std::fs::copy(busybox, root.join("bin/sh"))?;
    let (name, path) = (scope.name("rootfs"), root.display().to_string());
    let words =
        ["run", "--rm", "--name", &name, "--rootfs", &path, "sh", "-c", "echo made > /here; echo out"];
    same("stdout", berth(scope, &words)?.expect_code(0)?.stdout, "out\n")?;
    same("written in place", std::fs::read_to_string(root.join("here"))?, "made\n")?;
    let path = format!("{}:O", root.display());
    let words =
        ["run", "--rm", "--name", &name, "--rootfs", &path, "sh", "-c", "echo other > /here; echo x > /new"];
    berth(scope, &words)?.expect_code(0)?;
    same("with :O nothing is written", std::fs::read_to_string(root.join("here"))?, "made\n")?;
    same("with :O nothing is made", root.join("new").exists(), false)
}

fn host_root(scope: &Scope<'_>) -> Result<()> {
    let (name, mark) = (scope.name("host"), format!("/etc/{}", scope.name("mark")));
    let script = format!(
        "echo x > {mark}; cat {mark}; echo $$; id -u; cat /etc/debian_version > /dev/null; ls /proc | grep -c '^[0-9]'"
    );
    let words = ["run", "--rm", "--name", &name, "--rootfs", "/:O", "sh", "-c", &script];
    let output = berth(scope, &words)?.expect_code(0)?;
    let lines: Vec<&str> = output.stdout.lines().collect();
    same("written, process, user", &lines[..3], &["x", "1", "0"][..])?;
    same("a handful of processes", lines[3].parse::<u32>().unwrap_or(999) <= 4, true)?;
    same("on the host", std::path::Path::new(&mark).exists(), false)
}

fn own_daemon(scope: &Scope<'_>) -> Result<()> {
    let program = scope.engine.program.as_ref().context("the berth program")?;
    // The default places of a daemon, empty and in namespaces that end with this check.
    let script = "ip link set lo up; mount -t tmpfs none /run; mount -t tmpfs none /var/lib; mount -t tmpfs none /var/log; \
                  \"$1\" run --rm --network none hello-world; code=$?; \
                  \"$1\" run --rm --network none hello-world > /dev/null 2> /run/second; cat /run/second >&2; \
                  kill $(cat /run/berth*.pid /run/docker.pid /run/berth/*.pid 2>/dev/null); exit $code";
    let mut command = Command::new("timeout");
    command.args([
        "60",
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation",
        "private",
    ]);
    command.args(["sh", "-c", script, "sh"]).arg(program).env_remove("DOCKER_HOST");
    let output = run(command, b"")?.expect_code(0)?;
    contains("stdout", &output.stdout, "Hello from berth!")?;
    let told: Vec<&str> = output.stderr.lines().filter(|line| line.contains("started one")).collect();
    same(&format!("said once in {:?}", output.stderr), told.len(), 1)
}
