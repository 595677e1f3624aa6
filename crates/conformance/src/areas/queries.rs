//! Questions about containers, with all that narrows them: filters of ps and prune, events of the past, sizes, top, waits.

use crate::check::{Check, contains, same};
use crate::fixture::BUSYBOX;
use crate::http::Request;
use crate::scope::{Scope, percent_encode};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const AREA: &str = "queries";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "every filter of the list of containers finds what it says", filters),
        Check::new(AREA, "prune removes what has ended and passes its filters", prune),
        Check::new(AREA, "sizes are counted for who asks", sizes),
        Check::new(AREA, "top shows the container's processes, in any columns", top),
        Check::new(AREA, "a wait ends by its condition, and another is refused", waits),
        Check::new(AREA, "events of the past come by time, type, action, container, image and label", events),
        Check::new(AREA, "events come as JSON lines or as a JSON sequence", sequence),
        Check::new(AREA, "disk usage counts containers and volumes", disk_usage),
    ]
}

fn encoded(filters: &Value) -> String {
    percent_encode(&filters.to_string())
}

/// The names that the list has with these filters, sorted, without their slash.
fn listed(scope: &Scope<'_>, filters: &Value) -> Result<Vec<String>> {
    let path = format!("/containers/json?all=1&filters={}", encoded(filters));
    let rows = scope.api("GET", &path)?.expect(200)?.json()?;
    let name = |row: &Value| row["Names"][0].as_str().map(|name| name.trim_start_matches('/').to_owned());
    let mut names: Vec<String> = rows.as_array().context("a list")?.iter().filter_map(name).collect();
    names.sort();
    Ok(names)
}

fn filters(scope: &Scope<'_>) -> Result<()> {
    let (run, network, volume) = (scope.name("run"), scope.name("net"), scope.name("vol"));
    let label = format!("run={run}");
    scope.ok(&["network", "create", &network])?;
    scope.ok(&["volume", "create", &volume])?;
    let mount = format!("{volume}:/data");
    let health = ["--health-cmd", "true", "--health-interval", "1h"];
    let mut flags = vec!["-l", &label, "-l", "colour=red", "--network", &network, "-v", &mount];
    flags.extend(["-p", "127.0.0.1::8080", "--expose", "9000/udp"]);
    let one = scope.start("one", &flags, &["sleep", "300"])?;
    let flags = ["-l", &label, "-l", "colour=blue"].into_iter().chain(health).collect::<Vec<_>>();
    let two = scope.start("two", &flags, &["sh", "-c", "exit 3"])?;
    scope.ended(&two)?;
    let three = scope.name("three");
    scope.ok(&["create", "--name", &three, "-l", &label, BUSYBOX, "true"])?;
    let inspect = scope.inspect(&one)?;
    let id = inspect["Id"].as_str().context("Id")?.to_owned();
    let public = inspect["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostPort"].as_str().context("a port")?;
    let (one, two, three) = (one.as_str(), two.as_str(), three.as_str());
    let all = [one, two, three];
    let rows: &[(Value, &[&str])] = &[
        (json!({}), &all),
        (json!({ "label": ["colour"] }), &[one, two]),
        (json!({ "label": ["colour=red"] }), &[one]),
        (json!({ "label": ["colour=red", "colour=blue"] }), &[]),
        (json!({ "status": ["running"] }), &[one]),
        (json!({ "status": ["exited", "created"] }), &[two, three]),
        (json!({ "exited": ["3"] }), &[two]),
        (json!({ "exited": ["4"] }), &[]),
        (json!({ "name": [one] }), &[one]),
        (json!({ "name": [format!("^/?{two}$")] }), &[two]),
        (json!({ "id": [&id[..20]] }), &[one]),
        (json!({ "network": [network] }), &[one]),
        (json!({ "volume": [volume] }), &[one]),
        (json!({ "volume": ["/data"] }), &[one]),
        (json!({ "publish": [public] }), &[one]),
        (json!({ "publish": [format!("{public}/udp")] }), &[]),
        (json!({ "publish": [format!("{public}-{public}/tcp")] }), &[one]),
        (json!({ "expose": ["8000-8090/tcp"] }), &[one]),
        (json!({ "expose": ["9000/udp"] }), &[one]),
        (json!({ "expose": ["9000/tcp"] }), &[]),
        (json!({ "before": [two] }), &[one]),
        (json!({ "since": [one] }), &[two, three]),
        (json!({ "ancestor": [BUSYBOX] }), &all),
        (json!({ "ancestor": ["hello-world"] }), &[]),
        (json!({ "is-task": ["true"] }), &[]),
        (json!({ "is-task": ["false"] }), &all),
        (json!({ "health": ["none"] }), &[one, three]),
    ];
    for (filter, expected) in rows {
        let mut filter = filter.clone();
        let mut labels = filter["label"].as_array().cloned().unwrap_or_default();
        labels.push(label.as_str().into());
        filter["label"] = labels.into();
        let mut expected: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        expected.sort();
        same(&filter.to_string(), listed(scope, &filter)?, expected)?;
    }
    for (filter, words) in [
        (json!({ "status": ["asleep"] }), "asleep"),
        (json!({ "exited": ["x"] }), "x"),
        (json!({ "colour": ["red"] }), "invalid filter"),
    ] {
        let answer =
            scope.api("GET", &format!("/containers/json?filters={}", encoded(&filter)))?.expect(400)?;
        contains("words", &answer.message(), words)?;
    }
    scope.ok(&["rm", "-f", one])?;
    scope.ok(&["network", "rm", &network])?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn prune(scope: &Scope<'_>) -> Result<()> {
    let label = format!("run={}", scope.name("run"));
    let make = |word: &str, extra: &str, script: &str| -> Result<String> {
        scope.start(word, &["-l", &label, "-l", extra], &["sh", "-c", script])
    };
    let (old, kept) = (make("old", "keep=no", "echo x > /file")?, make("kept", "keep=yes", "true")?);
    let living = make("living", "keep=no", "sleep 300")?;
    for name in [&old, &kept] {
        scope.ended(name)?;
    }
    let call = |filters: &Value| -> Result<Value> {
        scope.api("POST", &format!("/containers/prune?filters={}", encoded(filters)))?.expect(200)?.json()
    };
    let nothing = call(&json!({ "label": [label], "until": ["24h"] }))?;
    same("nothing so old", &nothing["ContainersDeleted"], &Value::Null)?;
    let id = scope.inspect(&old)?["Id"].take();
    let pruned = call(&json!({ "label": [label], "label!": ["keep=yes"] }))?;
    same("ContainersDeleted", &pruned["ContainersDeleted"], &json!([id]))?;
    ensure!(pruned["SpaceReclaimed"].as_u64().is_some_and(|bytes| bytes > 0), "{pruned}");
    let mut left = vec![kept, living];
    left.sort();
    same("left", listed(scope, &json!({ "label": [label] }))?, left)?;
    let answer =
        scope.api("POST", &format!("/containers/prune?filters={}", encoded(&json!({ "name": ["x"] }))))?;
    contains("words", &answer.expect(400)?.message(), "nvalid filter 'name'")
}

fn sizes(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("sized", &[], &["sh", "-c", "head -c 300000 /dev/zero > /file"])?;
    scope.ended(&name)?;
    let plain = scope.inspect(&name)?;
    same("SizeRw for who does not ask", plain["SizeRw"].is_null(), true)?;
    let sized = scope.api("GET", &format!("/containers/{name}/json?size=1"))?.expect(200)?.json()?;
    let number = |found: &Value, key: &str| found[key].as_u64().with_context(|| format!("{key} in {found}"));
    let (written, root) = (number(&sized, "SizeRw")?, number(&sized, "SizeRootFs")?);
    ensure!((300_000..400_000).contains(&written) && root > written, "{written} and {root}");
    let filter = encoded(&json!({ "name": [name] }));
    let path = format!("/containers/json?all=1&size=1&filters={filter}");
    let row = scope.api("GET", &path)?.expect(200)?.json()?[0].take();
    same("the list", (number(&row, "SizeRw")?, number(&row, "SizeRootFs")?), (written, root))
}

fn top(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("topped", &[], &["sh", "-c", "sleep 301 & sleep 302 & wait"])?;
    let ask = |query: &str| scope.api("GET", &format!("/containers/{name}/top{query}"));
    scope.eventually("three processes", || {
        let found = ask("")?.expect(200)?.json()?;
        Ok((found["Processes"].as_array().map(Vec::len) == Some(3)).then_some(()))
    })?;
    let usual = ask("")?.expect(200)?.json()?;
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
    same("Titles", &usual["Titles"], &json!(titles))?;
    let chosen = ask("?ps_args=-o%20pid,args")?.expect(200)?.json()?;
    same("chosen Titles", &chosen["Titles"], &json!(["PID", "COMMAND"]))?;
    let text = chosen["Processes"].to_string();
    contains("one child", &text, "sleep 301")?;
    contains("the other", &text, "sleep 302")?;
    scope.ok(&["kill", &name])?;
    scope.ended(&name)?;
    contains("words", &ask("")?.expect(409)?.message(), "is not running")
}

fn waits(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("waited", &[], &["sh", "-c", "exit 4"])?;
    scope.ended(&name)?;
    for query in ["", "?condition=not-running", "?condition="] {
        let answer = scope.api("POST", &format!("/containers/{name}/wait{query}"))?.expect(200)?;
        same(query, &answer.json()?["StatusCode"], &json!(4))?;
    }
    scope.since_new_engines("it takes any condition")?;
    let wrong = scope.api("POST", &format!("/containers/{name}/wait?condition=bored"))?.expect(400)?;
    contains("words", &wrong.message(), "invalid condition: \"bored\"")
}

/// This moment as events take it: seconds since 1970 and nanoseconds.
pub(super) fn now() -> Result<String> {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(format!("{}.{:09}", since_epoch.as_secs(), since_epoch.subsec_nanos()))
}

/// The actions of the past with these filters, in their order.
fn past(scope: &Scope<'_>, since: &str, filters: &Value) -> Result<Vec<Value>> {
    let path = format!("/events?since={since}&until={}&filters={}", now()?, encoded(filters));
    let text = scope.api("GET", &path)?.expect(200)?.text();
    text.lines().map(|line| serde_json::from_str(line).context("an event")).collect()
}

fn events(scope: &Scope<'_>) -> Result<()> {
    let since = now()?;
    let label = format!("run={}", scope.name("run"));
    let name = scope.start("told", &["-l", &label, "--network", "none"], &["sh", "-c", "exit 5"])?;
    scope.ended(&name)?;
    let actions = |filters: &Value| -> Result<Vec<String>> {
        let found = past(scope, &since, filters)?;
        Ok(found.iter().filter_map(|event| event["Action"].as_str().map(str::to_owned)).collect())
    };
    let whole = ["create", "start", "die"].map(str::to_owned).to_vec();
    let of_containers = |mut filters: Value| {
        filters["type"] = json!(["container"]);
        filters
    };
    for filters in [
        json!({ "container": [name] }),
        json!({ "label": [label] }),
        json!({ "container": [name], "image": [BUSYBOX] }),
        json!({ "container": [name], "event": ["create", "start", "die"] }),
        json!({ "container": [name], "scope": ["local"] }),
    ] {
        same(&filters.to_string(), actions(&of_containers(filters.clone()))?, whole.clone())?;
    }
    let one = of_containers(json!({ "container": [name], "event": ["die"] }));
    same("one action", actions(&one)?, vec!["die".to_owned()])?;
    same("another type", actions(&json!({ "container": [name], "type": ["image"] }))?.len(), 0)?;
    let found = past(scope, &since, &one)?;
    let event = found.first().context("an event")?;
    same("exitCode", &event["Actor"]["Attributes"]["exitCode"], &json!("5"))?;
    let (seconds, nanos) =
        (event["time"].as_i64().context("time")?, event["timeNano"].as_i64().context("ns")?);
    same("both times", nanos / 1_000_000_000, seconds)?;
    // From the moment of its end on, what came before it is left out.
    let from = format!("{seconds}.{:09}", nanos % 1_000_000_000);
    let later = past(scope, &from, &of_containers(json!({ "container": [name] })))?;
    same("since its end", later.len(), 1)
}

fn sequence(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("it knows lines alone")?;
    let name = scope.start("told", &[], &["true"])?;
    scope.ended(&name)?;
    let until = now()?;
    let filters = encoded(&json!({ "container": [name], "type": ["container"] }));
    let path = format!("/events?since=1&until={until}&filters={filters}");
    let read = |accept: &str| Request::new("GET", &path).header("Accept", accept).send(&scope.engine.socket);
    let lines = read("application/x-ndjson")?.expect(200)?;
    same("lines", lines.header("Content-Type"), Some("application/x-ndjson"))?;
    let records = read("application/json-seq")?.expect(200)?;
    same("records", records.header("Content-Type"), Some("application/json-seq"))?;
    let count = lines.text().lines().count();
    ensure!(count >= 3, "{count} events");
    same("as many", records.body.iter().filter(|byte| **byte == 0x1e).count(), count)
}

fn disk_usage(scope: &Scope<'_>) -> Result<()> {
    let volume = scope.name("used");
    let mount = format!("{volume}:/data");
    let script = "head -c 200000 /dev/zero > /data/f; head -c 100000 /dev/zero > /f";
    let name = scope.start("user", &["-v", &mount], &["sh", "-c", script])?;
    scope.ended(&name)?;
    let path = if scope.engine.api >= (1, 52) { "/v1.51/system/df" } else { "/system/df" };
    let found = scope.api("GET", path)?.expect(200)?.json()?;
    let named = |list: &str, key: &str, wanted: &str| -> Result<Value> {
        let rows = found[list].as_array().with_context(|| list.to_owned())?;
        let row = rows.iter().find(|row| row[key].to_string().contains(wanted));
        row.cloned().with_context(|| format!("{wanted} in {list}"))
    };
    let container = named("Containers", "Names", &name)?;
    ensure!(container["SizeRw"].as_u64().is_some_and(|bytes| bytes >= 100_000), "{container}");
    let usage = named("Volumes", "Name", &volume)?["UsageData"].take();
    ensure!(usage["Size"].as_u64().is_some_and(|bytes| bytes >= 200_000), "{usage}");
    same("RefCount", &usage["RefCount"], &json!(1))?;
    scope.ok(&["rm", &name])?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}
