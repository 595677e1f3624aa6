//! A second program in a running container.

use crate::check::{Check, contains, same, says};
use crate::frames::demultiplex;
use crate::http::Request;
use crate::scope::Scope;
use anyhow::Result;
use serde_json::{Value, json};

const AREA: &str = "exec";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "output, errors and exit code come back", output),
        Check::new(AREA, "-e, -w and -u are the program's, and the container's environment is there", flags),
        Check::new(AREA, "-i passes input on to its end", input),
        Check::new(AREA, "-d returns at once", detached),
        Check::new(AREA, "it runs in the container's namespaces, limits and confinement", inside),
        Check::new(AREA, "a missing program is 127, one that may not run 126", not_found),
        Check::new(AREA, "a container that does not run is 409", not_running),
        Check::new(AREA, "an unknown user is refused", unknown_user),
        Check::new(AREA, "--privileged has every capability", privileged),
        Check::new(AREA, "the API creates, starts and inspects it", api),
        Check::new(AREA, "the API starts it detached", api_detached),
        Check::new(AREA, "an unknown id is 404", unknown),
        Check::new(AREA, "sixteen at once do not hinder each other", many),
        Check::new(AREA, "a program that outlives the container's end is killed with it", killed),
    ]
}

fn sleeper(scope: &Scope<'_>, flags: &[&str]) -> Result<String> {
    scope.start("sleeper", flags, &["sleep", "300"])
}

fn output(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    let output =
        scope.docker(&["exec", &name, "sh", "-c", "echo out; echo err >&2; exit 9"])?.expect_code(9)?;
    same("streams", (output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"))
}

fn flags(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &["-e", "FROM_RUN=1", "-w", "/etc"])?;
    let script = "echo $FROM_RUN $A; pwd; id -u; echo $HOME";
    same("none", scope.ok(&["exec", &name, "sh", "-c", script])?, "1\n/etc\n0\n/root")?;
    let text = scope.ok(&["exec", "-e", "A=b", "-w", "/tmp", "-u", "alice", &name, "sh", "-c", script])?;
    same("all", text, "1 b\n/tmp\n1000\n/home/alice")
}

fn input(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    let output =
        scope.client().call_with_input(&["exec", "-i", &name, "sh", "-c", "cat; echo end"], b"one\ntwo\n")?;
    same("stdout", output.expect_code(0)?.stdout, "one\ntwo\nend\n")
}

fn detached(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    same("stdout", scope.ok(&["exec", "-d", &name, "sh", "-c", "echo x > /made"])?, "")?;
    scope.eventually("the file", || {
        Ok((scope.docker(&["exec", &name, "cat", "/made"])?.stdout == "x\n").then_some(()))
    })
}

fn inside(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    let script = "for n in pid mnt uts ipc net; do readlink /proc/$1/ns/$n; done; grep -E '^(CapEff|CapBnd|Seccomp|NoNewPrivs):' /proc/$1/status; cat /proc/$1/cgroup";
    let own = scope.ok(&["exec", &name, "sh", "-c", script, "sh", "self"])?;
    let init = scope.ok(&["exec", &name, "sh", "-c", script, "sh", "1"])?;
    same("exec and process 1", own, init)?;
    contains("processes", &scope.ok(&["exec", &name, "ps"])?, "sleep 300")
}

fn not_found(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    let output = scope.docker(&["exec", &name, "no-such-program"])?;
    contains("words", &(output.stdout.clone() + &output.stderr), "executable file not found in $PATH")?;
    let refused = scope.docker(&["exec", &name, "/etc/not-a-program"])?;
    contains("words", &(refused.stdout.clone() + &refused.stderr), "permission denied")?;
    same("one that may not run", refused.code, 126)?;
    scope.since_new_engines("a missing program of exec is 126 as well")?;
    same("a missing one", output.code, 127)
}

fn not_running(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("over", &[], &["true"])?;
    scope.ended(&name)?;
    let answer = scope
        .api_json("POST", &format!("/containers/{name}/exec"), &json!({ "Cmd": ["true"] }))?
        .expect(409)?;
    contains("words", &answer.message(), "is not running")
}

fn unknown_user(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    let output = scope.docker(&["exec", "-u", "nobody-knows", &name, "true"])?;
    same("failed", output.code == 0, false)?;
    says(
        "stderr",
        &(output.stdout + &output.stderr),
        "unable to find user nobody-knows: no matching entries in passwd file",
    )
}

fn privileged(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    let script = "awk '/^CapEff/{print $2}' /proc/self/status";
    same("default", scope.ok(&["exec", &name, "sh", "-c", script])?, "00000000a80425fb")?;
    let all = scope.docker(&["exec", "--privileged", &name, "sh", "-c", script])?;
    if all.stdout.contains("unable to apply caps") {
        scope.since_new_engines("its runtime fails where the machine itself lacks a capability")?;
    }
    same("all", all.expect_code(0)?.stdout.trim_end(), scope.script(&["--privileged"], script)?)
}

/// Creates an exec over the API; its id.
fn create(scope: &Scope<'_>, name: &str, body: &Value) -> Result<String> {
    let created = scope.api_json("POST", &format!("/containers/{name}/exec"), body)?.expect(201)?.json()?;
    Ok(created["Id"].as_str().unwrap_or_default().to_owned())
}

fn api(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    let body = json!({ "Cmd": ["sh", "-c", "echo out; echo err >&2; exit 7"], "AttachStdout": true, "AttachStderr": true });
    let id = create(scope, &name, &body)?;
    let before = scope.api("GET", &format!("/exec/{id}/json"))?.expect(200)?.json()?;
    same("before", (&before["Running"], &before["ExitCode"]), (&json!(false), &Value::Null))?;
    let start = Request::new("POST", &format!("/exec/{id}/start")).json(&json!({}));
    let answer = start.open(&scope.engine.socket)?;
    same("status", answer.status, 200)?;
    let streams = demultiplex(answer)?;
    same("streams", (streams.stdout.as_str(), streams.stderr.as_str()), ("out\n", "err\n"))?;
    let after = scope.eventually("the end of the exec", || {
        let found = scope.api("GET", &format!("/exec/{id}/json"))?.expect(200)?.json()?;
        Ok((found["Running"] == json!(false)).then_some(found))
    })?;
    same("ExitCode", &after["ExitCode"], &json!(7))?;
    same("ContainerID", &after["ContainerID"], &scope.inspect(&name)?["Id"])?;
    same(
        "ProcessConfig",
        (&after["ProcessConfig"]["entrypoint"], &after["ProcessConfig"]["tty"]),
        (&json!("sh"), &json!(false)),
    )
}

fn api_detached(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    let id = create(scope, &name, &json!({ "Cmd": ["sh", "-c", "exit 3"] }))?;
    let answer = scope.api_json("POST", &format!("/exec/{id}/start"), &json!({ "Detach": true }))?;
    same("status", answer.status, 200)?;
    scope.eventually("its code", || {
        let found = scope.api("GET", &format!("/exec/{id}/json"))?.expect(200)?.json()?;
        Ok((found["ExitCode"] == json!(3)).then_some(()))
    })
}

fn unknown(scope: &Scope<'_>) -> Result<()> {
    let answer = scope.api("GET", "/exec/0123456789abcdef/json")?.expect(404)?;
    says("words", &answer.message(), "No such exec instance")?;
    same("start", scope.api_json("POST", "/exec/0123456789abcdef/start", &json!({}))?.status, 404)?;
    let answer = scope
        .api_json("POST", "/containers/nobody-has-this-name/exec", &json!({ "Cmd": ["true"] }))?
        .expect(404)?;
    same("words", answer.message(), "No such container: nobody-has-this-name")
}

fn many(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    let outcomes: Vec<Result<()>> = std::thread::scope(|threads| {
        let running: Vec<_> = (0..16)
            .map(|number| {
                let name = name.as_str();
                threads.spawn(move || {
                    let text = number.to_string();
                    same("stdout", scope.ok(&["exec", name, "echo", &text])?, text.clone())
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("panicked"))))
            .collect()
    });
    outcomes.into_iter().collect()
}

fn killed(scope: &Scope<'_>) -> Result<()> {
    let name = sleeper(scope, &[])?;
    let child = std::process::Command::new(&scope.client().program)
        .args(["exec", &name, "sh", "-c", "echo $$ > /ready; exec sleep 300"])
        .envs(scope.client().environment())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()?;
    scope.eventually("the exec", || {
        Ok((scope.docker(&["exec", &name, "test", "-s", "/ready"])?.code == 0).then_some(()))
    })?;
    scope.ok(&["kill", &name])?;
    same("exit code of exec", child.wait_with_output()?.status.code(), Some(137))
}
