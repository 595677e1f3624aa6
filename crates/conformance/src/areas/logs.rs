//! Logs: what was written comes back, by stream, time and count, now and while it is being written.

use crate::check::{Check, contains, same};
use crate::frames::demultiplex;
use crate::http::Request;
use crate::scope::Scope;
use anyhow::{Context, Result};
use std::io::Read;
use std::process::{Command, Stdio};

const AREA: &str = "logs";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "both streams come back, each on its own", streams),
        Check::new(AREA, "the log of an ended container stays until it is removed", ended),
        Check::new(AREA, "--tail gives the last lines", tail),
        Check::new(AREA, "-t puts a time of fixed width before each line", timestamps),
        Check::new(AREA, "--since and --until cut by time", since),
        Check::new(AREA, "-f follows until the end", follow),
        Check::new(AREA, "-f --tail 0 shows only what is new", follow_new),
        Check::new(AREA, "twenty thousand lines come back in order", many),
        Check::new(AREA, "a line of 100,000 characters comes back as one", long_line),
        Check::new(AREA, "an unfinished last line comes back", unfinished),
        Check::new(AREA, "a terminal's log is raw", terminal),
        Check::new(AREA, "the API frames both streams and filters them", frames),
        Check::new(AREA, "a request without a stream is refused", no_stream),
        Check::new(AREA, "--log-driver none keeps nothing", none),
        Check::new(AREA, "the local driver keeps both streams, long lines and any bytes", local),
        Check::new(AREA, "rotation keeps so many files, and what is in them comes back in order", rotation),
        Check::new(AREA, "following goes on across rotation", follow_rotation),
        Check::new(AREA, "a follower that is slower than rotation gets every line", slow_follower),
        Check::new(AREA, "--details shows chosen labels, variables and the tag", details),
        Check::new(AREA, "modes and buffer sizes are checked", modes),
        Check::new(AREA, "the newest API gives entries as documents", documents),
    ]
}

fn finished(scope: &Scope<'_>, word: &str, flags: &[&str], script: &str) -> Result<String> {
    let name = scope.start(word, flags, &["sh", "-c", script])?;
    scope.ended(&name)?;
    Ok(name)
}

fn streams(scope: &Scope<'_>) -> Result<()> {
    let name = finished(scope, "streams", &[], "echo out; echo err >&2")?;
    let output = scope.docker(&["logs", &name])?.expect_code(0)?;
    same("streams", (output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"))
}

/// Some thousand rotations while nobody reads, and a client that reads afterwards: the files have gone, their lines have not.
fn slow_follower(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("loses lines that rotation takes away before they are read")?;
    if scope.engine.program.is_none() {
        return Err(crate::check::skip("Docker loses them"));
    }
    let cases =
        [("max-file=1", "compress=false"), ("max-file=2", "compress=true"), ("max-file=3", "compress=true")];
    for (number, (files, compress)) in cases.into_iter().enumerate() {
        let flags = ["-i", "--log-opt", "max-size=200k", "--log-opt", files, "--log-opt", compress];
        let flags = if files == "max-file=1" { &flags[..5] } else { &flags[..] };
        let script = "read go; seq 100000; echo end >&2";
        let name = scope.start(&format!("fast{number}"), flags, &["sh", "-c", script])?;
        let mut following = Command::new(&scope.client().program)
            .args(["logs", "-f", &name])
            .envs(scope.client().environment())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        scope.client().call_with_input(&["attach", "--sig-proxy=false", &name], b"go\n")?;
        scope.ended(&name)?;
        // Its pipe is full since long: it goes on only now.
        let mut text = String::new();
        following.stdout.take().context("a pipe")?.read_to_string(&mut text)?;
        let output = following.wait_with_output()?;
        same(files, String::from_utf8_lossy(&output.stderr).as_ref(), "end\n")?;
        let expected: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
        same(&format!("{files}: {} bytes", text.len()), text == expected, true)?;
    }
    Ok(())
}

fn ended(scope: &Scope<'_>) -> Result<()> {
    let name = finished(scope, "ended", &[], "echo kept")?;
    same("log", scope.ok(&["logs", &name])?, "kept")?;
    scope.ok(&["rm", &name])?;
    let output = scope.docker(&["logs", &name])?;
    same("exit code", output.code, 1)?;
    contains("stderr", &output.stderr, &format!("No such container: {name}"))
}

fn tail(scope: &Scope<'_>) -> Result<()> {
    let name = finished(scope, "tail", &[], "seq 1000")?;
    same("2", scope.ok(&["logs", "--tail", "2", &name])?, "999\n1000")?;
    same("0", scope.ok(&["logs", "--tail", "0", &name])?, "")?;
    same("all", scope.ok(&["logs", "--tail", "all", &name])?.lines().count(), 1000)?;
    same("more than there are", scope.ok(&["logs", "--tail", "5000", &name])?.lines().count(), 1000)
}

fn timestamps(scope: &Scope<'_>) -> Result<()> {
    let name = finished(scope, "times", &[], "echo one; echo two")?;
    let text = scope.ok(&["logs", "-t", &name])?;
    for (line, expected) in text.lines().zip(["one", "two"]) {
        let (time, rest) = line.split_once(' ').context("a time and a line")?;
        same("line", rest, expected)?;
        // 2026-11-21T01:02:03.123456789Z
        same("width of the time", time.len(), 30)?;
        same("time", time.starts_with("20") && time.ends_with('Z') && &time[19..20] == ".", true)?;
    }
    same("lines", text.lines().count(), 2)
}

fn since(scope: &Scope<'_>) -> Result<()> {
    let name = finished(scope, "since", &[], "echo one; sleep 1.1; echo two")?;
    let text = scope.ok(&["logs", "-t", &name])?;
    let times: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    let [first, second] = times.as_slice() else { anyhow::bail!("two lines expected: {text:?}") };
    same("since the second", scope.ok(&["logs", "--since", second, &name])?, "two")?;
    same("since the first", scope.ok(&["logs", "--since", first, &name])?, "one\ntwo")?;
    same(
        "until the first second",
        scope.ok(&["logs", "--until", &format!("{}.999999999Z", &first[..19]), &name])?,
        "one",
    )?;
    same("since ten minutes", scope.ok(&["logs", "--since", "10m", &name])?, "one\ntwo")
}

fn follow(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("follow", &["-i"], &["sh", "-c", "echo one; read line; echo two; exit 3"])?;
    scope.logged(&name, "one")?;
    let following = Command::new(&scope.client().program)
        .args(["logs", "-f", &name])
        .envs(scope.client().environment())
        .stdout(Stdio::piped())
        .spawn()?;
    scope.client().call_with_input(&["attach", "--sig-proxy=false", &name], b"go\n")?;
    let output = following.wait_with_output()?;
    same("log", String::from_utf8_lossy(&output.stdout).as_ref(), "one\ntwo\n")?;
    same("exit code of logs -f", output.status.code(), Some(0))
}

fn follow_new(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("follow-new", &["-i"], &["sh", "-c", "echo old; read line; echo new"])?;
    scope.logged(&name, "old")?;
    let path = format!("/containers/{name}/logs?stdout=1&follow=1&tail=0");
    let following = Request::new("GET", &path).open(&scope.engine.socket)?;
    scope.client().call_with_input(&["attach", "--sig-proxy=false", &name], b"go\n")?;
    same("log", demultiplex(following)?.stdout, "new\n")
}

fn many(scope: &Scope<'_>) -> Result<()> {
    let name = finished(scope, "many", &[], "seq 20000")?;
    let expected: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    let output = scope.docker(&["logs", &name])?.expect_code(0)?;
    same("lines", output.stdout.lines().count(), 20_000)?;
    same("the same text", output.stdout == expected, true)
}

fn long_line(scope: &Scope<'_>) -> Result<()> {
    let name = finished(scope, "long", &[], "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end")?;
    let text = scope.ok(&["logs", &name])?;
    same("lengths", text.lines().map(str::len).collect::<Vec<_>>(), vec![100_000, 3])?;
    same("tail 2", scope.ok(&["logs", "--tail", "1", &name])?, "end")
}

fn unfinished(scope: &Scope<'_>) -> Result<()> {
    let name = finished(scope, "unfinished", &[], "printf 'one\\ntwo'")?;
    same("log", scope.docker(&["logs", &name])?.stdout, "one\ntwo")
}

fn terminal(scope: &Scope<'_>) -> Result<()> {
    let name = finished(scope, "terminal", &["-t"], "echo out; echo err >&2")?;
    same("log", scope.docker(&["logs", &name])?.stdout, "out\r\nerr\r\n")?;
    let answer = scope.api("GET", &format!("/containers/{name}/logs?stdout=1"))?.expect(200)?;
    same("raw", answer.text(), "out\r\nerr\r\n")
}

fn frames(scope: &Scope<'_>) -> Result<()> {
    let name = finished(scope, "frames", &[], "echo out; echo err >&2")?;
    let read = |query: &str| -> Result<(String, String)> {
        let answer = scope.api("GET", &format!("/containers/{name}/logs?{query}"))?.expect(200)?;
        let streams = demultiplex(answer.body.as_slice())?;
        Ok((streams.stdout, streams.stderr))
    };
    let text = |out: &str, err: &str| (out.to_owned(), err.to_owned());
    same("both", read("stdout=1&stderr=1")?, text("out\n", "err\n"))?;
    same("stdout", read("stdout=true")?, text("out\n", ""))?;
    same("stderr", read("stderr=1")?, text("", "err\n"))?;
    scope.since_new_engines("it names no media type")?;
    let answer = scope.api("GET", &format!("/containers/{name}/logs?stdout=1"))?;
    same("Content-Type", answer.header("Content-Type"), Some("application/vnd.docker.multiplexed-stream"))
}

fn no_stream(scope: &Scope<'_>) -> Result<()> {
    let name = finished(scope, "no-stream", &[], "true")?;
    let answer = scope.api("GET", &format!("/containers/{name}/logs"))?.expect(400)?;
    contains("words", &answer.message(), "Bad parameters: you must choose at least one stream")
}

fn none(scope: &Scope<'_>) -> Result<()> {
    let name = finished(scope, "none", &["--log-driver", "none"], "echo gone")?;
    let output = scope.docker(&["logs", &name])?;
    same("exit code", output.code, 1)?;
    contains("stderr", &output.stderr, "configured logging driver does not support reading")
}

fn local(scope: &Scope<'_>) -> Result<()> {
    let script = "echo out; echo err >&2; head -c 50000 /dev/zero | tr '\\0' x; echo; printf '\\377\\001\\n'; printf end";
    let name = finished(scope, "local", &["--log-driver", "local"], script)?;
    same("driver", &scope.inspect(&name)?["HostConfig"]["LogConfig"]["Type"], "local")?;
    let answer = scope.api("GET", &format!("/containers/{name}/logs?stdout=1&stderr=1"))?.expect(200)?;
    let streams = demultiplex(answer.body.as_slice())?;
    let long = "x".repeat(50_000);
    same("stdout", streams.stdout == format!("out\n{long}\n\u{fffd}\u{1}\nend"), true)?;
    same("stderr", streams.stderr.as_str(), "err\n")?;
    same("--tail", scope.ok(&["logs", "--tail", "1", &name])?, "end")?;
    let text = scope.ok(&["logs", "-t", &name])?;
    let last = text.lines().last().and_then(|line| line.split(' ').next()).context("a time")?.to_owned();
    contains("--since", &scope.ok(&["logs", "--since", &last, &name])?, "end")
}

fn rotation(scope: &Scope<'_>) -> Result<()> {
    for (driver, compress) in [("json-file", "false"), ("json-file", "true"), ("local", "true")] {
        let compress = format!("compress={compress}");
        let flags = [
            "--log-driver",
            driver,
            "--log-opt",
            "max-size=20k",
            "--log-opt",
            "max-file=3",
            "--log-opt",
            &compress,
        ];
        let word = format!("{driver}-{}", compress.len());
        let name = finished(scope, &word, &flags, "seq 20000")?;
        let text = scope.ok(&["logs", &name])?;
        let numbers: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        same("the newest is kept", numbers.last(), Some(&20_000))?;
        same("the oldest is not", numbers.first().is_some_and(|first| *first > 1), true)?;
        same("no gap", numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), true)?;
        // Two files of 20 KiB hold more than 250 lines in any format.
        same("more than one file", numbers.len() > 250, true)?;
        same("--tail", scope.ok(&["logs", "--tail", "200", &name])?.lines().count(), 200)?;
    }
    Ok(())
}

fn follow_rotation(scope: &Scope<'_>) -> Result<()> {
    let flags = ["-i", "--log-opt", "max-size=40k", "--log-opt", "max-file=20"];
    let name = scope.start("rotating", &flags, &["sh", "-c", "echo begin; read go; seq 4000"])?;
    scope.logged(&name, "begin")?;
    let path = format!("/containers/{name}/logs?stdout=1&follow=1");
    let following = Request::new("GET", &path).open(&scope.engine.socket)?;
    scope.client().call_with_input(&["attach", "--sig-proxy=false", &name], b"go\n")?;
    let expected: String = (1..=4000).map(|number| format!("{number}\n")).collect();
    same("every line", demultiplex(following)?.stdout == format!("begin\n{expected}"), true)
}

fn details(scope: &Scope<'_>) -> Result<()> {
    let options =
        ["labels=plain", "labels-regex=^com[.]", "env=COLOUR", "env-regex=^SIZE_", "tag={{.Name}}/x"];
    let mut flags = vec!["--label", "plain=1", "--label", "com.a=b c", "--label", "other=2"];
    flags.extend(["-e", "COLOUR=red", "-e", "SIZE_X=3", "-e", "SHAPE=round"]);
    for option in &options {
        flags.extend(["--log-opt", option]);
    }
    let name = finished(scope, "details", &flags, "echo line")?;
    let expected = format!("COLOUR=red,SIZE_X=3,com.a=b+c,plain=1,tag={name}%2Fx line");
    same("details", scope.ok(&["logs", "--details", &name])?, expected)
}

fn modes(scope: &Scope<'_>) -> Result<()> {
    let flags = ["--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=2m"];
    let name = finished(scope, "mode", &flags, "echo kept")?;
    same("log", scope.ok(&["logs", &name])?, "kept")?;
    let create = |options: &[(&str, &str)]| -> Result<String> {
        let options: serde_json::Map<_, _> =
            options.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        let body = serde_json::json!({
            "Image": crate::fixture::BUSYBOX, "Cmd": ["true"],
            "HostConfig": { "LogConfig": { "Type": "json-file", "Config": options } },
        });
        Ok(scope.api_json("POST", "/containers/create", &body)?.expect(400)?.message())
    };
    contains("mode", &create(&[("mode", "fast")])?, "logger: logging mode not supported: fast")?;
    let lonely = create(&[("max-buffer-size", "1m")])?;
    contains("size", &lonely, "max-buffer-size option is only supported with 'mode=non-blocking'")?;
    contains("option", &create(&[("colour", "red")])?, "unknown log opt 'colour' for json-file log driver")
}

fn documents(scope: &Scope<'_>) -> Result<()> {
    if scope.engine.api < (1, 54) {
        return scope.since_new_engines("it knows no format");
    }
    let name = finished(scope, "documents", &[], "echo out; echo err >&2")?;
    let path = format!("/v1.54/containers/{name}/logs?stdout=1&stderr=1&format=");
    let answer = Request::new("GET", &format!("{path}json")).send(&scope.engine.socket)?.expect(200)?;
    same("Content-Type", answer.header("Content-Type"), Some("application/x-ndjson"))?;
    let text = answer.text();
    let documents: Vec<serde_json::Value> =
        text.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("documents")?;
    same("documents", documents.len(), 2)?;
    let err = documents.iter().find(|document| document["Source"] == "stderr").context("stderr")?;
    same("line", &err["Line"], "err\n")?;
    let sequence = Request::new("GET", &path).header("Accept", "application/json-seq");
    let answer = sequence.send(&scope.engine.socket)?.expect(200)?;
    same("records", answer.body.iter().filter(|byte| **byte == 0x1e).count(), 2)?;
    let wrong = Request::new("GET", &format!("{path}xml")).send(&scope.engine.socket)?.expect(400)?;
    same("words", wrong.message(), "unsupported log format")
}
