//! Logs that are sent elsewhere: what each driver's collector gets, and what a collector that is gone does not do.

use crate::check::{Check, contains, same, skip};
use crate::collector::{Collector, acknowledging, http_collector};
use crate::daemon::Daemon;
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::PoisonError;

const AREA: &str = "collectors";

/// Both streams, an empty line, and one without an end.
const SCRIPT: &str = "echo out; echo; echo err >&2; printf end";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "syslog gets lines in each format, over each transport", syslog),
        Check::new(AREA, "gelf gets documents over tcp, and chunks over udp", gelf),
        Check::new(AREA, "fluentd gets messages, acknowledged or not, over tcp and unix sockets", fluentd),
        Check::new(AREA, "splunk gets events", splunk),
        Check::new(AREA, "options of log drivers are refused in Docker's words", refusals),
        Check::new(AREA, "what is not kept here cannot be read here", cache),
    ]
}

/// What berth does and Docker does not.
pub(crate) fn ours() -> Vec<Check> {
    vec![
        Check::new(AREA, "journald gets fields", journald).alone(),
        Check::new(AREA, "a collector that is not there holds up nothing and misses nothing", dead_collector),
        Check::new(AREA, "the last lines are sent although the container is removed", removed),
        Check::new(AREA, "a daemon that was killed goes on sending where it was", killed_daemon).alone(),
    ]
}

/// Runs a script with a log driver, and waits for its end.
fn finished(scope: &Scope<'_>, word: &str, driver: &str, options: &[&str], script: &str) -> Result<String> {
    let name = begun(scope, word, driver, options, &[], script)?;
    scope.ended(&name)?;
    Ok(name)
}

fn begun(
    scope: &Scope<'_>,
    word: &str,
    driver: &str,
    options: &[&str],
    more: &[&str],
    script: &str,
) -> Result<String> {
    let mut flags = vec!["--log-driver", driver, "--label", "a.b=1", "-e", "COLOUR=red"];
    for option in options.iter().chain(&["labels=a.b", "env=COLOUR"]) {
        flags.extend(["--log-opt", option]);
    }
    flags.extend(more);
    scope.start(word, &flags, &["sh", "-c", script])
}

fn syslog(scope: &Scope<'_>) -> Result<()> {
    let udp = Collector::udp()?;
    let address = format!("syslog-address=udp://127.0.0.1:{}", udp.port);
    let name = finished(scope, "syslog-udp", "syslog", &[&address], SCRIPT)?;
    let id = scope.inspect(&name)?["Id"].as_str().context("Id")?[..12].to_owned();
    let text = udp.text_with("end\n")?;
    for (priority, line) in [(30, "out"), (27, "err"), (30, "end")] {
        let found = text.lines().find(|text| text.ends_with(&format!("]: {line}"))).context(line)?;
        // <30>Nov 21 13:22:37 7ac3061facd4[14655]: out
        let (head, rest) = found.split_once('>').context("a priority")?;
        same("priority", head, format!("<{priority}"))?;
        same("tag", rest.get(16..29), Some(format!("{id}[").as_str()))?;
    }
    same("no empty line", text.lines().count(), 3)?;
    let log = scope.docker(&["logs", &name])?.expect_code(0)?;
    same("what is kept here", (log.stdout.as_str(), log.stderr.as_str()), ("out\n\nend", "err\n"))?;

    let tcp = Collector::tcp()?;
    let address = format!("syslog-address=tcp://127.0.0.1:{}", tcp.port);
    let options = [&address, "syslog-format=rfc3164", "syslog-facility=local3", "tag={{.Name}}/x"];
    let name = finished(scope, "syslog-tcp", "syslog", &options, SCRIPT)?;
    let text = tcp.text_with("end\n")?;
    let first = text.lines().find(|line| line.ends_with(": out")).context("out")?;
    contains("tag", first, &format!(" {name}/x["))?;
    same("facility", first.starts_with("<158>"), true)?;

    let path = scope.directory()?.join("syslog.sock");
    let datagrams = Collector::unix_datagram(&path)?;
    let address = format!("syslog-address=unixgram://{}", path.display());
    finished(scope, "syslog-unix", "syslog", &[&address, "syslog-format=rfc5424micro"], SCRIPT)?;
    let text = datagrams.text_with("end\n")?;
    // <30>1 2026-11-21T13:22:40.762578Z host tag pid tag - out
    let first = text.lines().find(|line| line.ends_with(" - out")).context("out")?;
    let words: Vec<&str> = first.split(' ').collect();
    same("words", (words.len(), words[0], words[3] == words[5]), (8, "<30>1", true))?;
    same("six digits", words[1].split_once('.').map(|(_, rest)| rest[..6].parse::<u32>().is_ok()), Some(true))
}

fn documents(bytes: &[u8]) -> Vec<Value> {
    bytes.split(|byte| *byte == 0).filter_map(|text| serde_json::from_slice(text).ok()).collect()
}

fn gelf(scope: &Scope<'_>) -> Result<()> {
    let tcp = Collector::tcp()?;
    let address = format!("gelf-address=tcp://127.0.0.1:{}", tcp.port);
    let name = finished(scope, "gelf-tcp", "gelf", &[&address], SCRIPT)?;
    let found = tcp.until("three documents", |received| {
        Some(documents(&received.bytes)).filter(|found| found.len() == 3)
    })?;
    let of = |line: &str| found.iter().find(|document| document["short_message"] == line).context("a line");
    let out = of("out")?;
    for (field, value) in [
        ("version", json!("1.1")),
        ("level", json!(6)),
        ("_a.b", json!("1")),
        ("_COLOUR", json!("red")),
        ("_container_name", json!(name)),
        ("_image_name", json!(BUSYBOX)),
        ("_command", json!(format!("sh -c {SCRIPT}"))),
    ] {
        same(field, out[field].clone(), value)?;
    }
    same("level of errors", &of("err")?["level"], 3)?;

    let udp = Collector::udp()?;
    let address = format!("gelf-address=udp://127.0.0.1:{}", udp.port);
    let options = [&address, "gelf-compression-type=none"];
    let script = "head -c 10000 /dev/zero | tr '\\0' x; echo";
    finished(scope, "gelf-chunks", "gelf", &options, script)?;
    let joined = udp.until("all chunks", |received| {
        let mut chunks: Vec<_> = received.datagrams.iter().filter(|chunk| chunk.len() > 12).collect();
        chunks.sort_by_key(|chunk| chunk[10]);
        let whole = chunks.first().is_some_and(|first| usize::from(first[11]) == chunks.len());
        whole.then(|| chunks.iter().flat_map(|chunk| &chunk[12..]).copied().collect::<Vec<u8>>())
    })?;
    let document: Value = serde_json::from_slice(&joined)?;
    same("length", document["short_message"].as_str().map(str::len), Some(10_000))?;

    let udp = Collector::udp()?;
    let address = format!("gelf-address=udp://127.0.0.1:{}", udp.port);
    finished(scope, "gelf-gzip", "gelf", &[&address], "echo compressed")?;
    let magic = udp.until("a datagram", |received| Some(received.datagrams.first()?[..2].to_vec()))?;
    same("gzip", magic, [0x1f, 0x8b])
}

fn fluentd(scope: &Scope<'_>) -> Result<()> {
    let tcp = Collector::tcp()?;
    let address = format!("fluentd-address=127.0.0.1:{}", tcp.port);
    let options = [&address, "tag=app.{{.Name}}", "fluentd-sub-second-precision=true"];
    let name = finished(scope, "fluentd", "fluentd", &options, SCRIPT)?;
    let text = tcp.until("four messages", |received| {
        let text = String::from_utf8_lossy(&received.bytes).into_owned();
        (text.matches("container_id").count() == 4).then_some(text)
    })?;
    for part in [
        format!("app.{name}"),
        "container_name\u{fffd}".to_owned(),
        format!("/{name}"),
        "stderr".to_owned(),
        "partial_message\u{fffd}true".to_owned(),
        "COLOUR\u{fffd}red".to_owned(),
    ] {
        contains("messages", &text, &part)?;
    }

    let acknowledged = Collector::answering(acknowledging)?;
    let address = format!("fluentd-address=tcp://127.0.0.1:{}", acknowledged.port);
    finished(scope, "acks", "fluentd", &[&address, "fluentd-request-ack=true"], "seq 2000")?;
    let counts = |bytes: &[u8]| String::from_utf8_lossy(bytes).matches("container_id").count();
    acknowledged.until("2,000 messages", |received| (counts(&received.bytes) == 2000).then_some(()))?;

    let path = scope.directory()?.join("fluentd.sock");
    let unix = Collector::unix(&path)?;
    let address = format!("fluentd-address=unix://{}", path.display());
    finished(scope, "unix", "fluentd", &[&address, "fluentd-async=true"], "echo over-unix")?;
    unix.text_with("over-unix").map(drop)
}

fn splunk(scope: &Scope<'_>) -> Result<()> {
    let collector = Collector::answering(http_collector)?;
    let url = format!("splunk-url=http://127.0.0.1:{}", collector.port);
    let options = [&url, "splunk-token=SECRET", "splunk-verify-connection=false", "splunk-index=i"];
    finished(scope, "splunk", "splunk", &options, "echo event; echo last")?;
    let text = collector.text_with("\"last\"")?;
    contains("path", &text, "POST /services/collector/event/1.0 HTTP/1.1\r\n")?;
    contains("token", &text, "Authorization: Splunk SECRET\r\n")?;
    contains("event", &text, "\"line\":\"event\",\"source\":\"stdout\"")?;
    contains("index", &text, "\"index\":\"i\"")
}

/// A driver, its options, and the words.
type Refusal = (&'static str, &'static [(&'static str, &'static str)], &'static str);

fn refusals(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("some words were others")?;
    let cases: &[Refusal] = &[
        ("syslog", &[("syslog-address", "foo://a")], "unsupported scheme: 'foo'"),
        ("syslog", &[("syslog-address", "unix:///nope")], "stat /nope: no such file or directory"),
        ("syslog", &[("syslog-facility", "x")], "invalid syslog facility"),
        ("syslog", &[("syslog-format", "x")], "Invalid syslog format"),
        ("syslog", &[("max-size", "1m")], "unknown log opt 'max-size' for syslog log driver"),
        ("syslog", &[("cache-disabled", "x")], "invalid value for option cache-disabled: x"),
        ("gelf", &[], "gelf-address is a required parameter"),
        ("gelf", &[("gelf-address", "udp://a")], "gelf: please provide gelf-address as proto://host:port"),
        ("fluentd", &[("fluentd-async", "x")], "strconv.ParseBool: parsing \"x\": invalid syntax"),
        ("journald", &[("x", "1")], "unknown log opt 'x' for journald log driver"),
        ("splunk", &[("x", "1")], "unknown log opt 'x' for splunk log driver"),
        ("etwlogs", &[], "etwlogs"),
    ];
    for (driver, options, words) in cases {
        let options: serde_json::Map<_, _> =
            options.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        let body = json!({
            "Image": BUSYBOX, "Cmd": ["true"],
            "HostConfig": { "LogConfig": { "Type": driver, "Config": options } },
        });
        let answer = scope.api_json("POST", "/containers/create", &body)?.expect(400).context(*words)?;
        contains(driver, &answer.message(), words)?;
    }
    Ok(())
}

fn cache(scope: &Scope<'_>) -> Result<()> {
    let udp = Collector::udp()?;
    let address = format!("syslog-address=udp://127.0.0.1:{}", udp.port);
    let name = finished(scope, "no-cache", "syslog", &[&address, "cache-disabled=true"], "echo sent")?;
    udp.text_with("sent\n")?;
    let output = scope.docker(&["logs", &name])?;
    same("exit code", output.code, 1)?;
    contains("stderr", &output.stderr, "configured logging driver does not support reading")?;
    let options = [&address, "cache-max-size=20k", "cache-max-file=2", "cache-compress=false"];
    let name = finished(scope, "small-cache", "syslog", &options, "seq 5000")?;
    let kept = scope.ok(&["logs", &name])?;
    let numbers: Vec<u32> = kept.lines().filter_map(|line| line.parse().ok()).collect();
    same("the newest is kept, the oldest is not", (numbers.last(), numbers[0] > 1), (Some(&5000), true))
}

/// A directory that only this run sees at a place of the machine's.
struct Covered {
    path: &'static str,
    /// Whether the directory was not there before.
    made: bool,
}

impl Covered {
    fn new(path: &'static str) -> Result<Self> {
        let made = !Path::new(path).exists();
        std::fs::create_dir_all(path)?;
        let covered = Self { path, made };
        let done = Command::new("mount").args(["-t", "tmpfs", "berth-conformance", path]).status()?;
        if !done.success() {
            return Err(skip(format!("nothing can be mounted on {path}")));
        }
        Ok(covered)
    }
}

impl Drop for Covered {
    fn drop(&mut self) {
        // What cannot be unmounted goes with the namespace.
        let _ = Command::new("umount").args(["--lazy", self.path]).status();
        if self.made {
            let _ = std::fs::remove_dir(self.path);
        }
    }
}

fn journald(scope: &Scope<'_>) -> Result<()> {
    const DIRECTORY: &str = "/run/systemd/journal";
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let is_shared = mounts.lines().any(|line| line.contains(" / / ") && line.contains(" shared:"));
    if is_shared && Path::new(DIRECTORY).join("socket").exists() {
        return Err(skip("the machine's journal would be covered for all"));
    }
    let _covered = Covered::new(DIRECTORY)?;
    let journal = Collector::unix_datagram(&Path::new(DIRECTORY).join("socket"))?;
    let name = finished(scope, "journald", "journald", &["tag=t/{{.Name}}"], SCRIPT)?;
    let text = journal.text_with("MESSAGE=end\n")?;
    for field in [
        "MESSAGE=out\nPRIORITY=6\n",
        "MESSAGE=err\nPRIORITY=3\n",
        &format!("CONTAINER_NAME={name}\n"),
        &format!("CONTAINER_TAG=t/{name}\nIMAGE_NAME={BUSYBOX}\nSYSLOG_IDENTIFIER=t/{name}\n"),
        "A_B=1\n",
        "COLOUR=red\n",
        "CONTAINER_PARTIAL_MESSAGE=true\n",
    ] {
        contains("fields", &text, field)?;
    }
    same("logs", scope.docker(&["logs", &name])?.expect_code(0)?.stdout, "out\n\nend")
}

fn dead_collector(scope: &Scope<'_>) -> Result<()> {
    let path = scope.directory()?.join("late.sock");
    let address = format!("fluentd-address=unix://{}", path.display());
    let script = "i=0; while [ $i -lt 3000 ]; do echo line-$i.; i=$((i+1)); done";
    let name = finished(scope, "dead", "fluentd", &[&address, "fluentd-retry-wait=100ms"], script)?;
    same("what is kept here", scope.ok(&["logs", &name])?.lines().count(), 3000)?;
    let text = Collector::unix(&path)?.text_with("line-2999.")?;
    every_line_in_order(&text, 3000)
}

/// Lines `line-<number>.` from 0 on, each at least once, none before an earlier one has come.
fn every_line_in_order(text: &str, count: usize) -> Result<()> {
    let mut next = 0;
    for part in text.split("line-").skip(1) {
        let number: usize = part.split('.').next().unwrap_or_default().parse().context("a number")?;
        anyhow::ensure!(number <= next, "line {number} came when {next} was expected");
        next = next.max(number + 1);
    }
    same("lines", next, count)
}

fn removed(scope: &Scope<'_>) -> Result<()> {
    let tcp = Collector::tcp()?;
    let address = format!("syslog-address=tcp://127.0.0.1:{}", tcp.port);
    let script = "i=0; while [ $i -lt 5000 ]; do echo line-$i.; i=$((i+1)); done";
    let flags = ["--log-driver", "syslog", "--log-opt", &address];
    scope.run(&flags, &["sh", "-c", script])?.expect_code(0)?;
    every_line_in_order(&tcp.text_with("line-4999.")?, 5000)
}

fn killed_daemon(scope: &Scope<'_>) -> Result<()> {
    let Some(daemon) = &scope.engine.daemon else { return Err(skip("the daemon is not the suite's own")) };
    let with =
        |act: fn(&mut Daemon) -> Result<()>| act(&mut daemon.lock().unwrap_or_else(PoisonError::into_inner));
    let tcp = Collector::answering(acknowledging)?;
    let address = format!("fluentd-address=127.0.0.1:{}", tcp.port);
    let script =
        "i=0; while [ $i -lt 6000 ]; do echo line-$i.; i=$((i+1)); [ $((i % 50)) = 0 ] && sleep 0.01; done";
    // Small files that are compressed: what the next daemon reads is not what the last one left.
    let options = [
        &address,
        "fluentd-request-ack=true",
        "fluentd-retry-wait=100ms",
        "cache-max-size=40k",
        "cache-max-file=50",
    ];
    let name = begun(scope, "killed", "fluentd", &options, &[], script)?;
    tcp.text_with("line-100.")?;
    with(Daemon::kill_hard)?;
    with(Daemon::start_again)?;
    tcp.text_with("line-3000.")?;
    with(Daemon::kill_hard)?;
    with(Daemon::start_again)?;
    scope.ended(&name)?;
    every_line_in_order(&tcp.text_with("line-5999.")?, 6000)
}
