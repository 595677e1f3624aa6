//! The life of a container: create, start, ps, stop, kill, wait, restart, pause, rename, rm, and their events.

use crate::check::{Check, contains, same, says};
use crate::fixture::BUSYBOX;
use crate::http::Request;
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};

const AREA: &str = "lifecycle";

/// A program that ends by itself only when told so, and says what it hears.
const LISTENER: &str =
    "trap 'echo term; exit 5' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.02; done";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "create, start, stop and remove answer 201, 204, 204 and 204", statuses),
        Check::new(AREA, "what is already so is 304", not_modified),
        Check::new(AREA, "inspect of a running container has what clients read", inspect_running),
        Check::new(AREA, "inspect of an ended container has code and times", inspect_ended),
        Check::new(AREA, "containers are found by name, id and unique prefix", lookup),
        Check::new(AREA, "ps shows running ones, ps -a all, in Docker's words", ps),
        Check::new(AREA, "ps filters by name, status, exit code, label and ancestor", ps_filters),
        Check::new(AREA, "stop sends SIGTERM and reports the program's own code", stop),
        Check::new(AREA, "stop kills what does not listen when the time is over", stop_deaf),
        Check::new(AREA, "--stop-signal is what stop sends", stop_signal),
        Check::new(AREA, "kill sends a signal, and without a name SIGKILL", kill),
        Check::new(AREA, "kill of a container that has ended is 409", kill_ended),
        Check::new(AREA, "wait prints the code, before and after the end", wait),
        Check::new(AREA, "wait answers its headers before it waits", wait_headers),
        Check::new(AREA, "wait for removal ends with the removal", wait_removed),
        Check::new(AREA, "rm of a running container is refused, rm -f does it", remove),
        Check::new(AREA, "start again runs the same program in the same root", start_again),
        Check::new(AREA, "restart stops and starts", restart),
        Check::new(AREA, "restart of one that removes itself finds its files", restart_fleeting),
        Check::new(AREA, "pause stops time for the program and unpause goes on", pause),
        Check::new(AREA, "rename gives another name", rename),
        Check::new(AREA, "the events of a run come in Docker's order", events),
        Check::new(AREA, "--restart on-failure:2 tries twice more", restart_policy),
        Check::new(AREA, "the pause before a restart doubles, and begins anew after ten seconds", back_off),
        Check::new(AREA, "a failed start leaves a created container with the code", failed_start),
        Check::new(AREA, "eight containers at once do not hinder each other", many),
    ]
}

fn create(scope: &Scope<'_>, word: &str, command: &[&str]) -> Result<String> {
    let name = scope.name(word);
    let body = json!({ "Image": BUSYBOX, "Cmd": command });
    let created =
        scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(201)?.json()?;
    same("Id", created["Id"].as_str().map(str::len), Some(64))?;
    same("Warnings", &created["Warnings"], &json!([]))?;
    Ok(name)
}

fn post(scope: &Scope<'_>, path: &str) -> Result<u16> {
    Ok(scope.api("POST", path)?.status)
}

fn statuses(scope: &Scope<'_>) -> Result<()> {
    let name = create(scope, "statuses", &["sleep", "300"])?;
    same("State", &scope.inspect(&name)?["State"]["Status"], "created")?;
    same("start", post(scope, &format!("/containers/{name}/start"))?, 204)?;
    same("State", &scope.inspect(&name)?["State"]["Status"], "running")?;
    same("stop", post(scope, &format!("/containers/{name}/stop?t=0"))?, 204)?;
    same("State", &scope.inspect(&name)?["State"]["Status"], "exited")?;
    same("remove", scope.api("DELETE", &format!("/containers/{name}"))?.status, 204)?;
    same("inspect", scope.api("GET", &format!("/containers/{name}/json"))?.status, 404)?;
    same("remove again", scope.api("DELETE", &format!("/containers/{name}"))?.status, 404)
}

fn not_modified(scope: &Scope<'_>) -> Result<()> {
    let name = create(scope, "already", &["sleep", "300"])?;
    same("stop of a created one", post(scope, &format!("/containers/{name}/stop"))?, 304)?;
    same("start", post(scope, &format!("/containers/{name}/start"))?, 204)?;
    same("start of a running one", post(scope, &format!("/containers/{name}/start"))?, 304)?;
    same("stop", post(scope, &format!("/containers/{name}/stop?t=0"))?, 204)?;
    same("stop of an ended one", post(scope, &format!("/containers/{name}/stop"))?, 304)
}

fn inspect_running(scope: &Scope<'_>) -> Result<()> {
    let name =
        scope.start("inspected", &["-e", "A=b", "-l", "colour=blue", "-w", "/tmp"], &["sleep", "300"])?;
    let found = scope.inspect(&name)?;
    same("State.Running", &found["State"]["Running"], &json!(true))?;
    same("State.Pid", found["State"]["Pid"].as_u64().unwrap_or(0) > 1, true)?;
    same("State.ExitCode", &found["State"]["ExitCode"], &json!(0))?;
    same("State.FinishedAt", &found["State"]["FinishedAt"], "0001-01-01T00:00:00Z")?;
    same("Path and Args", (&found["Path"], &found["Args"]), (&json!("sleep"), &json!(["300"])))?;
    same("Config.Cmd", &found["Config"]["Cmd"], &json!(["sleep", "300"]))?;
    same("Config.Image", &found["Config"]["Image"], BUSYBOX)?;
    same("Config.WorkingDir", &found["Config"]["WorkingDir"], "/tmp")?;
    same("Config.Labels", &found["Config"]["Labels"]["colour"], "blue")?;
    contains("Config.Env", &found["Config"]["Env"].to_string(), "\"A=b\"")?;
    contains("Config.Env", &found["Config"]["Env"].to_string(), "\"PATH=/usr/local/sbin")?;
    same("Image", found["Image"].as_str().is_some_and(|id| id.starts_with("sha256:")), true)?;
    same("Mounts", &found["Mounts"], &json!([]))?;
    same("RestartCount", &found["RestartCount"], &json!(0))?;
    same("HostConfig.NetworkMode", found["HostConfig"]["NetworkMode"].is_string(), true)?;
    same("Config.Hostname", found["Config"]["Hostname"].as_str(), found["Id"].as_str().map(|id| &id[..12]))?;
    let pid = found["State"]["Pid"].to_string();
    let command =
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).context("the process of State.Pid")?;
    same("the process", command, "sleep\u{0}300\u{0}")
}

fn inspect_ended(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("ended", &[], &["sh", "-c", "exit 3"])?;
    let state = scope.ended(&name)?;
    same("ExitCode", &state["ExitCode"], &json!(3))?;
    same("Running and Pid", (&state["Running"], &state["Pid"]), (&json!(false), &json!(0)))?;
    same("OOMKilled and Dead", (&state["OOMKilled"], &state["Dead"]), (&json!(false), &json!(false)))?;
    let (started, finished) = (comparable(&state["StartedAt"]), comparable(&state["FinishedAt"]));
    same(&format!("{started} before {finished}"), started < finished && started.starts_with("20"), true)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A time with all nine digits of its fraction, of which the API leaves out zeros at the end.
fn comparable(time: &Value) -> String {
    let time = text(time);
    let (seconds, fraction) =
        time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), ""));
    format!("{seconds}.{fraction:0<9}")
}

fn lookup(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("found", &[], &["sleep", "300"])?;
    let id = text(&scope.inspect(&name)?["Id"]);
    for key in [name.as_str(), &format!("/{name}"), &id, &id[..12], &id[..20]] {
        same(key, scope.ok(&["inspect", "-f", "{{.Id}}", key])?, id.clone())?;
    }
    let answer = scope.api("GET", "/containers/nobody-has-this-name/json")?.expect(404)?;
    same("words", answer.message(), "No such container: nobody-has-this-name")
}

fn ps(scope: &Scope<'_>) -> Result<()> {
    let running = scope.start("running", &[], &["sleep", "300"])?;
    let ended = scope.start("ended", &[], &["sh", "-c", "exit 3"])?;
    let created = create(scope, "created", &["true"])?;
    scope.ended(&ended)?;
    let rows = |flags: &[&str]| -> Result<String> {
        let mut arguments =
            vec!["ps", "--no-trunc", "--format", "{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Status}}"];
        arguments.extend(flags);
        scope.ok(&arguments)
    };
    let (some, all) = (rows(&[])?, rows(&["-a"])?);
    contains("ps", &some, &format!("{running} {BUSYBOX} \"sleep 300\" running Up "))?;
    same("ended in ps", some.contains(&ended), false)?;
    contains("ps -a", &all, &format!("{ended} {BUSYBOX} \"sh -c 'exit 3'\" exited Exited (3) "))?;
    contains("ps -a", &all, &format!("{created} {BUSYBOX} \"true\" created Created"))?;
    let header = scope.ok(&["ps"])?;
    same(
        "header",
        header.lines().next().map(str::split_whitespace).map(Iterator::collect::<Vec<_>>),
        Some(vec!["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]),
    )
}

fn ps_filters(scope: &Scope<'_>) -> Result<()> {
    let running = scope.start("filter-running", &["-l", "kind=one"], &["sleep", "300"])?;
    let ended = scope.start("filter-ended", &["-l", "kind=two"], &["sh", "-c", "exit 7"])?;
    scope.ended(&ended)?;
    let both = format!("name={}", scope.name("filter"));
    let names = |filter: &str| -> Result<Vec<String>> {
        let text =
            scope.ok(&["ps", "-a", "--filter", &both, "--filter", filter, "--format", "{{.Names}}"])?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    same("newest first", names("status=exited")?, vec![ended.clone()])?;
    same(
        "both",
        scope.ok(&["ps", "-a", "--filter", &both, "--format", "{{.Names}}"])?,
        format!("{ended}\n{running}"),
    )?;
    same("status", names("status=running")?, vec![running.clone()])?;
    same("exited", names("exited=7")?, vec![ended.clone()])?;
    same("label", names("label=kind=two")?, vec![ended.clone()])?;
    same("label key", names("label=kind")?.len(), 2)?;
    same("ancestor", names(&format!("ancestor={BUSYBOX}"))?.len(), 2)?;
    same("since", names(&format!("since={running}"))?, vec![ended.clone()])?;
    same("before", names(&format!("before={ended}"))?, vec![running])?;
    same("limit", scope.ok(&["ps", "-a", "-n", "1", "--filter", &both, "--format", "{{.Names}}"])?, ended)
}

fn stop(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("listener", &[], &["sh", "-c", LISTENER])?;
    scope.logged(&name, "ready")?;
    same("stdout", scope.ok(&["stop", &name])?, name.clone())?;
    same("ExitCode", &scope.inspect(&name)?["State"]["ExitCode"], &json!(5))?;
    contains("log", &scope.ok(&["logs", &name])?, "term")
}

fn stop_deaf(scope: &Scope<'_>) -> Result<()> {
    let name =
        scope.start("deaf", &[], &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"])?;
    scope.logged(&name, "ready")?;
    scope.ok(&["stop", "-t", "1", &name])?;
    same("ExitCode", &scope.inspect(&name)?["State"]["ExitCode"], &json!(137))
}

fn stop_signal(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start(
        "signal",
        &["--stop-signal", "USR1"],
        &["sh", "-c", "trap 'exit 6' USR1; echo ready; while :; do sleep 0.02; done"],
    )?;
    scope.logged(&name, "ready")?;
    scope.ok(&["stop", &name])?;
    same("ExitCode", &scope.inspect(&name)?["State"]["ExitCode"], &json!(6))
}

fn kill(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("target", &[], &["sh", "-c", LISTENER])?;
    scope.logged(&name, "ready")?;
    same("stdout", scope.ok(&["kill", "-s", "SIGUSR1", &name])?, name.clone())?;
    scope.logged(&name, "usr1")?;
    same("still running", &scope.inspect(&name)?["State"]["Running"], &json!(true))?;
    scope.ok(&["kill", &name])?;
    same("ExitCode", &scope.ended(&name)?["ExitCode"], &json!(137))
}

fn kill_ended(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("over", &[], &["true"])?;
    scope.ended(&name)?;
    let answer = scope.api("POST", &format!("/containers/{name}/kill"))?.expect(409)?;
    contains("words", &answer.message(), "is not running")
}

fn wait(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("waited", &["-i"], &["sh", "-c", "read line; exit 11"])?;
    let waiting = std::process::Command::new(&scope.client().program)
        .args(["wait", &name])
        .envs(scope.client().environment())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    scope.client().call_with_input(&["attach", "--sig-proxy=false", &name], b"go\n")?;
    same("before", String::from_utf8_lossy(&waiting.wait_with_output()?.stdout).trim(), "11")?;
    same("after", scope.ok(&["wait", &name])?, "11")
}

fn wait_headers(scope: &Scope<'_>) -> Result<()> {
    let name = create(scope, "next", &["sh", "-c", "exit 12"])?;
    let waiting = Request::new("POST", &format!("/containers/{name}/wait?condition=next-exit"))
        .open(&scope.engine.socket)?;
    same("status before the start", waiting.status, 200)?;
    same("Content-Type", waiting.header("Content-Type"), Some("application/json"))?;
    same("start", post(scope, &format!("/containers/{name}/start"))?, 204)?;
    let answer: Value = serde_json::from_reader(waiting)?;
    same("StatusCode", &answer["StatusCode"], &json!(12))?;
    same("Error", answer.get("Error").is_none_or(Value::is_null), true)
}

fn wait_removed(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("leaving", &["--rm", "-i"], &["sh", "-c", "read line; exit 4"])?;
    let waiting = Request::new("POST", &format!("/containers/{name}/wait?condition=removed"))
        .open(&scope.engine.socket)?;
    scope.client().call_with_input(&["attach", "--sig-proxy=false", &name], b"go\n")?;
    let answer: Value = serde_json::from_reader(waiting)?;
    same("StatusCode", &answer["StatusCode"], &json!(4))?;
    same("inspect", scope.api("GET", &format!("/containers/{name}/json"))?.status, 404)
}

fn remove(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("busy", &[], &["sleep", "300"])?;
    let answer = scope.api("DELETE", &format!("/containers/{name}"))?.expect(409)?;
    says("words", &answer.message(), "remove")?;
    let output = scope.docker(&["rm", &name])?;
    same("exit code", output.code, 1)?;
    same("stdout", scope.ok(&["rm", "-f", &name])?, name.clone())?;
    same("inspect", scope.api("GET", &format!("/containers/{name}/json"))?.status, 404)?;
    scope.since_new_engines("its words are: You cannot remove a running container")?;
    contains(
        "stderr",
        &output.stderr,
        "container is running: stop the container before removing or force remove",
    )
}

fn start_again(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("again", &[], &["sh", "-c", "echo x >> /count; cat /count"])?;
    scope.ended(&name)?;
    same("start -a", scope.ok(&["start", "-a", &name])?, "x\nx")
}

fn restart(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("restarted", &[], &["sh", "-c", "echo started; exec sleep 300"])?;
    scope.logged(&name, "started")?;
    let before = scope.inspect(&name)?;
    scope.ok(&["restart", "-t", "0", &name])?;
    let after = scope.inspect(&name)?;
    same("Running", &after["State"]["Running"], &json!(true))?;
    same("another start", before["State"]["StartedAt"] == after["State"]["StartedAt"], false)?;
    same("RestartCount", &after["RestartCount"], &json!(0))?;
    scope.eventually("two starts in the log", || {
        Ok((scope.ok(&["logs", &name])?.matches("started").count() == 2).then_some(()))
    })
}

/// Its layer is mounted in a way that overlayfs takes only once, unless the mark of it is removed.
fn restart_fleeting(scope: &Scope<'_>) -> Result<()> {
    let name =
        scope.start("fleeting", &["--rm"], &["sh", "-c", "echo x >> /count; cat /count; exec sleep 300"])?;
    scope.logged(&name, "x")?;
    scope.ok(&["restart", "-t", "0", &name])?;
    scope.eventually("what the first run wrote is there in the second", || {
        Ok((scope.ok(&["logs", &name])? == "x\nx\nx").then_some(()))
    })?;
    scope.ok(&["kill", &name])?;
    scope.eventually("it removes itself", || Ok(scope.inspect(&name).is_err().then_some(())))
}

fn pause(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("paused", &[], &["sh", "-c", "while :; do echo tick; sleep 0.02; done"])?;
    scope.logged(&name, "tick")?;
    scope.ok(&["pause", &name])?;
    let state = &scope.inspect(&name)?["State"];
    same(
        "State",
        (&state["Status"], &state["Paused"], &state["Running"]),
        (&json!("paused"), &json!(true), &json!(true)),
    )?;
    contains(
        "ps",
        &scope.ok(&["ps", "--filter", &format!("name={name}"), "--format", "{{.Status}}"])?,
        "(Paused)",
    )?;
    let exec = scope.api_json("POST", &format!("/containers/{name}/exec"), &json!({ "Cmd": ["true"] }))?;
    same("exec", exec.status, 409)?;
    contains("exec", &exec.message(), "is paused, unpause the container before exec")?;
    scope.ok(&["unpause", &name])?;
    same("State", &scope.inspect(&name)?["State"]["Status"], "running")?;
    let ticks = scope.ok(&["logs", &name])?.lines().count();
    scope.eventually("more ticks", || Ok((scope.ok(&["logs", &name])?.lines().count() > ticks).then_some(())))
}

fn rename(scope: &Scope<'_>) -> Result<()> {
    let (name, other) = (scope.start("old-name", &[], &["sleep", "300"])?, scope.name("new-name"));
    scope.ok(&["rename", &name, &other])?;
    same("Name", scope.inspect(&other)?["Name"].as_str(), Some(format!("/{other}").as_str()))?;
    same("old name", scope.api("GET", &format!("/containers/{name}/json"))?.status, 404)
}

fn events(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("watched");
    let filters =
        crate::scope::percent_encode(&format!("{{\"container\":[\"{name}\"],\"type\":[\"container\"]}}"));
    let stream = Request::new("GET", &format!("/events?filters={filters}")).open(&scope.engine.socket)?;
    same("status", stream.status, 200)?;
    scope.ok(&["run", "--rm", "--name", &name, "-l", "colour=blue", BUSYBOX, "sh", "-c", "exit 0"])?;
    let mut actions = Vec::new();
    for line in BufReader::new(stream).lines() {
        let event: Value = serde_json::from_str(&line?)?;
        let attributes = &event["Actor"]["Attributes"];
        same(
            "attributes",
            (&attributes["name"], &attributes["colour"], &attributes["image"]),
            (&json!(name), &json!("blue"), &json!(BUSYBOX)),
        )?;
        let action = text(&event["Action"]);
        if action == "die" {
            same("exitCode", &attributes["exitCode"], "0")?;
        }
        actions.push(action);
        if actions.last().is_some_and(|action| action == "destroy") {
            break;
        }
    }
    same("actions", actions, vec!["create", "attach", "start", "die", "destroy"])
}

fn restart_policy(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("stubborn", &["--restart", "on-failure:2"], &["sh", "-c", "echo try; exit 1"])?;
    scope.eventually("the last try", || {
        let found = scope.inspect(&name)?;
        Ok((found["RestartCount"] == json!(2) && found["State"]["Status"] == "exited").then_some(()))
    })?;
    same("tries", scope.ok(&["logs", &name])?.matches("try").count(), 3)
}

/// Six short runs, one of more than ten seconds, and another. When the pauses were not reset, the one after the long run would be
/// longer than all before it together; a busy machine only adds to them.
fn back_off(scope: &Scope<'_>) -> Result<()> {
    let script = "echo run >>/runs; n=$(grep -c run /runs); if [ $n = 7 ]; then sleep 10.5; fi; [ $n = 8 ] && exit 0; exit 1";
    let name = scope.name("tired");
    let filters =
        crate::scope::percent_encode(&format!("{{\"container\":[\"{name}\"],\"type\":[\"container\"]}}"));
    let stream = Request::new("GET", &format!("/events?filters={filters}")).open(&scope.engine.socket)?;
    scope.start("tired", &["--restart", "on-failure"], &["sh", "-c", script])?;
    let (mut died, mut ends, mut pauses) = (0, 0, Vec::new());
    for line in BufReader::new(stream).lines() {
        let event: Value = serde_json::from_str(&line?)?;
        let nanoseconds = event["timeNano"].as_i64().context("timeNano")?;
        match text(&event["Action"]).as_str() {
            "die" => (died, ends) = (nanoseconds, ends + 1),
            "start" if ends > 0 => pauses.push((nanoseconds - died) / 1_000_000),
            _ => {}
        }
        if ends == 8 {
            break;
        }
    }
    same(&format!("pauses in {pauses:?}"), pauses.len(), 7)?;
    for (pause, least) in pauses.iter().zip([100, 200, 400, 800, 1600, 3200, 100]) {
        same(&format!("{pause} ms of {pauses:?} are at least {least}"), *pause >= least, true)?;
    }
    same(&format!("begun anew in {pauses:?}"), pauses[6] < 6400, true)
}

fn failed_start(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("failed");
    scope.docker(&["run", "-d", "--name", &name, BUSYBOX, "no-such-program"])?.expect_code(127)?;
    let state = &scope.inspect(&name)?["State"];
    same("Status and ExitCode", (&state["Status"], &state["ExitCode"]), (&json!("created"), &json!(127)))?;
    contains("Error", state["Error"].as_str().unwrap_or_default(), "executable file not found in $PATH")
}

fn many(scope: &Scope<'_>) -> Result<()> {
    let outcomes: Vec<Result<()>> = std::thread::scope(|threads| {
        let running: Vec<_> = (0..8)
            .map(|number| {
                threads.spawn(move || {
                    let expected = format!("container {number}");
                    same("stdout", scope.script(&[], &format!("echo container {number}"))?, expected)
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
