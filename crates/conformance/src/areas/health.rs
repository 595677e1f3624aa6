//! Health checks: who is asked, how often, what the answers make of a container, and what is done about it.

use crate::check::{Check, contains, same, says};
use crate::fixture::BUSYBOX;
use crate::scope::{Scope, percent_encode};
use anyhow::Result;
use serde_json::{Value, json};

const AREA: &str = "health";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(
            AREA,
            "a probe that succeeds makes it healthy, and ps, inspect and events say so",
            healthy,
        ),
        Check::new(AREA, "failures in a row make it unhealthy, and a success well again", unhealthy),
        Check::new(
            AREA,
            "before the first probe it is starting, and made but not started it is nothing",
            starting,
        ),
        Check::new(AREA, "the log keeps five findings of at most 4096 bytes", log),
        Check::new(
            AREA,
            "failures of the start period do not count, and the start interval is used",
            start_period,
        ),
        Check::new(AREA, "a probe that hangs is killed with its children", hanging),
        Check::new(AREA, "a probe that cannot be run has failed", not_run),
        Check::new(AREA, "an image's check is used, changed and turned off", image),
        Check::new(AREA, "a probe has the container's environment, user and directory", surroundings),
        Check::new(AREA, "a paused container is not asked", paused),
        Check::new(AREA, "an ended container is not asked, and a new run begins anew", ended),
        Check::new(AREA, "ps --filter health finds by status", filter),
        Check::new(AREA, "each probe tells exec events", events),
        Check::new(AREA, "what cannot be meant is refused", refused),
    ]
}

/// Checks of `--health-on-failure`, which only berth has.
pub(crate) fn ours() -> Vec<Check> {
    vec![
        Check::new(AREA, "on failure: kill ends it, and the restart policy decides what follows", kill),
        Check::new(AREA, "on failure: stop stops it whatever the restart policy says", stop),
        Check::new(AREA, "on failure: restart starts it again", restart),
        Check::new(AREA, "on failure: an unknown action is refused", unknown_action),
    ]
}

/// Starts a container that sleeps, asked by a shell command every tenth of a second.
fn asked(scope: &Scope<'_>, word: &str, command: &str, flags: &[&str]) -> Result<String> {
    let mut all = vec!["--health-cmd", command, "--health-interval", "100ms"];
    all.extend(flags);
    scope.start(word, &all, &["sleep", "300"])
}

fn health(scope: &Scope<'_>, name: &str) -> Result<Value> {
    Ok(scope.inspect(name)?["State"]["Health"].take())
}

/// Waits until it has this status; its health.
fn becomes(scope: &Scope<'_>, name: &str, status: &str) -> Result<Value> {
    scope.eventually(&format!("{name} being {status}"), || {
        let found = health(scope, name)?;
        Ok((found["Status"] == status).then_some(found))
    })
}

/// The actions of a container's events so far.
pub(super) fn actions(scope: &Scope<'_>, name: &str) -> Result<Vec<String>> {
    let filters = percent_encode(&json!({ "container": [name] }).to_string());
    let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() + 1;
    let path = format!("/events?since=1&until={until}&filters={filters}");
    let text = scope.api("GET", &path)?.expect(200)?.text();
    let all = text.lines().map(serde_json::from_str).collect::<serde_json::Result<Vec<Value>>>()?;
    Ok(all.iter().map(|event| event["Action"].as_str().unwrap_or_default().to_owned()).collect())
}

fn healthy(scope: &Scope<'_>) -> Result<()> {
    let name = asked(scope, "well", "echo fine; echo too >&2", &[])?;
    let found = becomes(scope, &name, "healthy")?;
    same("FailingStreak", &found["FailingStreak"], &json!(0))?;
    let last = &found["Log"][0];
    same("ExitCode", &last["ExitCode"], &json!(0))?;
    contains("Output", last["Output"].as_str().unwrap_or_default(), "fine\n")?;
    contains("Output", last["Output"].as_str().unwrap_or_default(), "too\n")?;
    same("times", last["Start"].as_str() < last["End"].as_str(), true)?;
    let line = scope.ok(&["ps", "--filter", &format!("name={name}"), "--format", "{{.Status}}"])?;
    contains("ps", &line, "(healthy)")?;
    let told = actions(scope, &name)?;
    let changes: Vec<&String> = told.iter().filter(|action| action.starts_with("health_status")).collect();
    same("health events", changes, vec!["health_status: healthy"])
}

fn unhealthy(scope: &Scope<'_>) -> Result<()> {
    let name = asked(scope, "ill", "test -e /well", &["--health-retries", "2"])?;
    let found = becomes(scope, &name, "unhealthy")?;
    same("a streak of two at least", found["FailingStreak"].as_i64() >= Some(2), true)?;
    same("ExitCode", &found["Log"][0]["ExitCode"], &json!(1))?;
    let line = scope.ok(&["ps", "--filter", &format!("name={name}"), "--format", "{{.Status}}"])?;
    contains("ps", &line, "(unhealthy)")?;
    scope.ok(&["exec", &name, "touch", "/well"])?;
    same("FailingStreak", &becomes(scope, &name, "healthy")?["FailingStreak"], &json!(0))?;
    let told = actions(scope, &name)?;
    let changes: Vec<&String> = told.iter().filter(|action| action.starts_with("health_status")).collect();
    same("health events", changes, vec!["health_status: unhealthy", "health_status: healthy"])
}

fn starting(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("new");
    let flags = ["create", "--name", &name, "--health-cmd", "true", BUSYBOX, "sleep", "300"];
    scope.ok(&flags)?;
    same("made", health(scope, &name)?, Value::Null)?;
    scope.ok(&["start", &name])?;
    let expected = json!({ "Status": "starting", "FailingStreak": 0, "Log": [] });
    same("started", health(scope, &name)?, expected)?;
    let line = scope.ok(&["ps", "--filter", &format!("name={name}"), "--format", "{{.Status}}"])?;
    contains("ps", &line, "(health: starting)")
}

fn log(scope: &Scope<'_>) -> Result<()> {
    let name = asked(scope, "log", "head -c 5000 /dev/zero | tr '\\0' x; echo n >> /count", &[])?;
    scope.eventually("seven probes", || {
        let count = scope.docker(&["exec", &name, "cat", "/count"])?.stdout.lines().count();
        Ok((count >= 7).then_some(()))
    })?;
    let found = health(scope, &name)?;
    let log = found["Log"].as_array().cloned().unwrap_or_default();
    same("findings", log.len(), 5)?;
    let expected = "x".repeat(4096) + "...";
    same("output", log[4]["Output"].as_str(), Some(expected.as_str()))?;
    let starts: Vec<_> = log.iter().map(|finding| finding["Start"].as_str().unwrap_or_default()).collect();
    same("oldest first", starts.is_sorted(), true)
}

fn start_period(scope: &Scope<'_>) -> Result<()> {
    // Asked every hour after the start period, so that only the start interval can have asked.
    let flags = [
        "--health-cmd",
        "test -e /well",
        "--health-interval",
        "1h",
        "--health-retries",
        "1",
        "--health-start-period",
        "1h",
    ];
    let name = scope.name("slow");
    let mut all = vec!["run", "-d", "--pull", "never", "--name", &name];
    all.extend(flags);
    all.extend(["--health-start-interval", "100ms", BUSYBOX, "sleep", "300"]);
    scope.ok(&all)?;
    scope.since_new_engines("it knows no start interval")?;
    let found = scope.eventually("three findings", || {
        let found = health(scope, &name)?;
        Ok((found["Log"].as_array().is_some_and(|log| log.len() >= 3)).then_some(found))
    })?;
    same("still", (&found["Status"], &found["FailingStreak"]), (&json!("starting"), &json!(0)))?;
    scope.ok(&["exec", &name, "touch", "/well"])?;
    becomes(scope, &name, "healthy").map(drop)
}

fn hanging(scope: &Scope<'_>) -> Result<()> {
    let command = "echo before; sleep 1234 & sleep 1235";
    let flags = ["--health-timeout", "200ms", "--health-retries", "1"];
    let name = asked(scope, "hanging", command, &flags)?;
    let found = becomes(scope, &name, "unhealthy")?;
    same("ExitCode", &found["Log"][0]["ExitCode"], &json!(-1))?;
    let output = found["Log"][0]["Output"].as_str().unwrap_or_default();
    contains("Output", output, "Health check exceeded timeout (200ms)")?;
    scope.since_new_engines("it says nothing of the output, and leaves the probe's children")?;
    contains("Output", output, "before")?;
    scope.eventually("the end of what the first probe started", || {
        let running = scope.docker(&["exec", &name, "ps"])?.stdout;
        Ok((running.matches("sleep 1234").count() <= 1).then_some(()))
    })
}

fn not_run(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("missing");
    let body = json!({
        "Image": BUSYBOX, "Cmd": ["sleep", "300"],
        "Healthcheck": { "Test": ["CMD", "no-such-program"], "Interval": 100_000_000, "Retries": 1 },
    });
    scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(201)?;
    scope.ok(&["start", &name])?;
    let found = becomes(scope, &name, "unhealthy")?;
    let output = found["Log"][0]["Output"].as_str().unwrap_or_default();
    contains("Output", output, "exec: \"no-such-program\": executable file not found in $PATH")?;
    same("ExitCode", found["Log"][0]["ExitCode"] != 0, true)
}

fn image(scope: &Scope<'_>) -> Result<()> {
    let image = format!("{}:1", scope.name("image"));
    let archive = scope.directory()?.join("root.tar");
    let name = scope.name("donor");
    scope.ok(&["create", "--name", &name, BUSYBOX])?;
    scope.ok(&["export", "-o", &archive.display().to_string(), &name])?;
    let change = "HEALTHCHECK --interval=100ms --retries=7 CMD test -e /etc/passwd";
    scope.ok(&["import", "--change", change, &archive.display().to_string(), &image])?;
    let done = (|| {
        let plain = scope.start_image("plain", &image, &[], &["sleep", "300"])?;
        becomes(scope, &plain, "healthy")?;
        let own = scope.start_image("own", &image, &["--health-cmd", "echo own"], &["sleep", "300"])?;
        let config = scope.inspect(&own)?["Config"]["Healthcheck"].take();
        let expected = json!({ "Test": ["CMD-SHELL", "echo own"], "Interval": 100_000_000, "Retries": 7 });
        same("completed by the image's", config, expected)?;
        let log = becomes(scope, &own, "healthy")?["Log"].take();
        same("output", log[0]["Output"].as_str(), Some("own\n"))?;
        let off = scope.start_image("off", &image, &["--no-healthcheck"], &["sleep", "300"])?;
        same("turned off", health(scope, &off)?, Value::Null)?;
        let line = scope.ok(&["ps", "--filter", &format!("name={off}"), "--format", "{{.Status}}"])?;
        same("ps", line.contains('('), false)
    })();
    scope.docker(&["rm", "-f", &scope.name("plain"), &scope.name("own"), &scope.name("off")])?;
    scope.ok(&["rmi", &image])?;
    done
}

fn surroundings(scope: &Scope<'_>) -> Result<()> {
    let flags = ["-e", "COLOUR=red", "-u", "alice", "-w", "/tmp"];
    let name = asked(scope, "around", "echo $COLOUR; id -un; pwd", &flags)?;
    let found = becomes(scope, &name, "healthy")?;
    same("output", found["Log"][0]["Output"].as_str(), Some("red\nalice\n/tmp\n"))
}

fn paused(scope: &Scope<'_>) -> Result<()> {
    let name = asked(scope, "paused", "true", &["--health-timeout", "200ms"])?;
    becomes(scope, &name, "healthy")?;
    scope.ok(&["pause", &name])?;
    let before = health(scope, &name)?["Log"].take();
    // Another one with the same interval is probed three more times meanwhile.
    let clock = asked(scope, "clock", "true", &[])?;
    let mut starts = std::collections::BTreeSet::new();
    scope.eventually("three probes of another container", || {
        let log = health(scope, &clock)?["Log"].take();
        starts.extend(log.as_array().into_iter().flatten().map(|probe| probe["Start"].to_string()));
        Ok((starts.len() > 3).then_some(()))
    })?;
    let line = scope.ok(&["ps", "--filter", &format!("name={name}"), "--format", "{{.Status}}"])?;
    contains("ps", &line, "(Paused)")?;
    let log = health(scope, &name)?["Log"].take();
    same("findings while paused", log, before)?;
    scope.ok(&["unpause", &name])?;
    becomes(scope, &name, "healthy").map(drop)
}

fn ended(scope: &Scope<'_>) -> Result<()> {
    let name = asked(scope, "over", "test ! -e /tmp/ill", &["-t"])?;
    becomes(scope, &name, "healthy")?;
    scope.ok(&["stop", "-t", "0", &name])?;
    same("not asked", health(scope, &name)?["Status"].as_str(), Some("unhealthy"))?;
    let line = scope.ok(&["ps", "-a", "--filter", &format!("name={name}"), "--format", "{{.Status}}"])?;
    same("ps", line.contains("healthy"), false)?;
    scope.ok(&["start", &name])?;
    same("anew", health(scope, &name)?["Status"] != "unhealthy", true)?;
    becomes(scope, &name, "healthy").map(drop)
}

fn filter(scope: &Scope<'_>) -> Result<()> {
    let well = asked(scope, "filter-well", "true", &[])?;
    let ill = asked(scope, "filter-ill", "false", &["--health-retries", "1"])?;
    let new = scope.start("filter-new", &["--health-cmd", "true"], &["sleep", "300"])?;
    let none = scope.start("filter-none", &[], &["sleep", "300"])?;
    becomes(scope, &well, "healthy")?;
    becomes(scope, &ill, "unhealthy")?;
    for (status, expected) in [("healthy", well), ("unhealthy", ill), ("starting", new), ("none", none)] {
        let (health, name) = (format!("health={status}"), format!("name={}", scope.name("filter")));
        let found = scope.ok(&["ps", "--filter", &health, "--filter", &name, "--format", "{{.Names}}"])?;
        same(status, found, expected)?;
    }
    let output = scope.docker(&["ps", "--filter", "health=splendid"])?;
    same("exit code", output.code, 1)?;
    says("stderr", &output.stderr, "health")
}

fn events(scope: &Scope<'_>) -> Result<()> {
    let name = asked(scope, "events", "exit 0", &[])?;
    let probes = scope.eventually("the events of a probe", || {
        let told = actions(scope, &name)?;
        let probes: Vec<String> = told.into_iter().filter(|action| action.starts_with("exec_")).collect();
        Ok((probes.len() >= 3).then_some(probes))
    })?;
    let expected = ["exec_create: /bin/sh -c exit 0", "exec_start: /bin/sh -c exit 0", "exec_die"];
    same("actions", &probes[..3], &expected[..])
}

fn refused(scope: &Scope<'_>) -> Result<()> {
    for (check, words) in [
        (json!({ "Interval": 10 }), "Interval in Healthcheck cannot be less than 1ms"),
        (json!({ "Timeout": -1 }), "Timeout in Healthcheck cannot be less than 1ms"),
        (json!({ "StartPeriod": 1 }), "StartPeriod in Healthcheck cannot be less than 1ms"),
        (json!({ "Retries": -1 }), "Retries in Healthcheck cannot be negative"),
    ] {
        let body = json!({ "Image": BUSYBOX, "Healthcheck": check });
        let answer = scope.api_json("POST", "/containers/create", &body)?.expect(400)?;
        same("words", answer.message(), words)?;
    }
    Ok(())
}

/// Starts a container that has a check which fails at once, and which does `action` then.
fn failing(scope: &Scope<'_>, action: &str, restart: &str) -> Result<String> {
    let name = scope.name(action);
    let body = json!({
        "Image": BUSYBOX, "Cmd": ["sh", "-c", "trap 'exit 9' TERM; echo run >> /runs; while :; do sleep 0.1; done"],
        "Healthcheck": {
            "Test": ["CMD", "test", "-e", "/again"], "Interval": 100_000_000, "Retries": 1, "OnFailure": action,
        },
        "HostConfig": { "RestartPolicy": { "Name": restart } },
    });
    scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(201)?;
    scope.ok(&["start", &name])?;
    let shown = scope.inspect(&name)?["Config"]["Healthcheck"]["OnFailure"].take();
    same("inspect", shown, json!(action))?;
    Ok(name)
}

fn kill(scope: &Scope<'_>) -> Result<()> {
    let name = failing(scope, "kill", "no")?;
    same("ExitCode", &scope.ended(&name)?["ExitCode"], &json!(137))?;
    let told = actions(scope, &name)?;
    let told: Vec<&str> =
        told.iter().map(String::as_str).filter(|action| !action.starts_with("exec")).collect();
    let end = told.iter().position(|action| action.starts_with("health")).unwrap_or(0);
    same("events", &told[end..], &["health_status: unhealthy", "kill", "network disconnect", "die"][..])
        .or_else(|_| same("events", &told[end..], &["health_status: unhealthy", "kill", "die"][..]))?;
    scope.ok(&["rm", &name])?;
    let name = failing(scope, "kill", "on-failure")?;
    scope.eventually("a second run", || Ok((scope.inspect(&name)?["RestartCount"] != 0).then_some(())))
}

fn stop(scope: &Scope<'_>) -> Result<()> {
    let name = failing(scope, "stop", "always")?;
    same("ExitCode", &scope.ended(&name)?["ExitCode"], &json!(9))?;
    contains("events", &actions(scope, &name)?.join("\n"), "stop")?;
    same("RestartCount", &scope.inspect(&name)?["RestartCount"], &json!(0))
}

fn restart(scope: &Scope<'_>) -> Result<()> {
    let name = failing(scope, "restart", "no")?;
    scope.eventually("three runs", || {
        let runs = scope.docker(&["exec", &name, "cat", "/runs"])?.stdout;
        Ok((runs.lines().count() >= 3).then_some(()))
    })
}

fn unknown_action(scope: &Scope<'_>) -> Result<()> {
    let body = json!({ "Image": BUSYBOX, "Healthcheck": { "OnFailure": "pray" } });
    let answer = scope.api_json("POST", "/containers/create", &body)?.expect(400)?;
    contains("words", &answer.message(), "use one of 'none', 'kill', 'restart' or 'stop'")
}
