//! What the newest versions of the API brought: prunes that tell of themselves, umasks; and what Go's runtime tells.

use crate::check::{Check, contains, same};
use crate::fixture::BUSYBOX;
use crate::scope::{Scope, percent_encode};
use anyhow::{Context, Result};
use serde_json::{Value, json};

const AREA: &str = "newest";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "a prune tells of each thing as it goes when it is asked to", told),
        Check::new(AREA, "a umask counts for the program, execs and health checks", umask),
        Check::new(AREA, "what Go's runtime tells of itself is answered clearly", debug),
    ]
}

/// The documents of a stream, one a line.
fn lines(answer: &crate::http::Response) -> Result<Vec<Value>> {
    answer.text().lines().map(|line| serde_json::from_str(line).context("a line")).collect()
}

fn told(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("a prune is told of by its report alone")?;
    let label = scope.name("told");
    let mut ids = Vec::new();
    for number in 0..3 {
        let request = json!({ "Image": BUSYBOX, "Labels": { "of": label } });
        let path = format!("/containers/create?name={}-{number}", scope.name("pruned"));
        let made = scope.api_json("POST", &path, &request)?.expect(201)?.json()?;
        ids.push(made["Id"].clone());
    }
    ids.sort_by_key(Value::to_string);
    let filters = percent_encode(&format!("{{\"label\":[\"of={label}\"]}}"));
    let answer = scope.api("POST", &format!("/containers/prune?stream=1&filters={filters}"))?.expect(200)?;
    same("Content-Type", answer.header("Content-Type"), Some("application/jsonl"))?;
    let lines_told = lines(&answer)?;
    let (last, each) = lines_told.split_last().context("a last line")?;
    let mut gone: Vec<Value> = each.iter().map(|line| line["id"].clone()).collect();
    gone.sort_by_key(Value::to_string);
    same("each", &gone, &ids)?;
    same("words", each.iter().all(|line| line["status"] == "Deleted"), true)?;
    let mut report = last["aux"]["ContainersDeleted"].as_array().context("the report")?.clone();
    report.sort_by_key(Value::to_string);
    same("the report", &report, &ids)?;

    let volume = json!({ "Name": scope.name("v"), "Labels": { "of": label } });
    let network = json!({ "Name": scope.name("n"), "Labels": { "of": label } });
    scope.api_json("POST", "/volumes/create", &volume)?.expect(201)?;
    scope.api_json("POST", "/networks/create", &network)?.expect(201)?;
    let all = percent_encode(&format!("{{\"label\":[\"of={label}\"],\"all\":[\"1\"]}}"));
    for (kind, filters, name) in [("volumes", &all, &volume), ("networks", &filters, &network)] {
        let answer =
            scope.api("POST", &format!("/{kind}/prune?stream=true&filters={filters}"))?.expect(200)?;
        let found = lines(&answer)?;
        same(kind, (found.len(), &found[0]["id"]), (2, &name["Name"]))?;
    }
    // Nothing to tell, an older version, something wrong.
    let path = format!("/containers/prune?stream=1&filters={filters}");
    same("nothing", lines(&scope.api("POST", &path)?.expect(200)?)?.len(), 1)?;
    let older = scope.api("POST", &format!("/v1.55{path}"))?.expect(200)?.json()?;
    same("an older version", older, json!({ "ContainersDeleted": null, "SpaceReclaimed": 0 }))?;
    let wrong = percent_encode("{\"nope\":[\"1\"]}");
    scope.api("POST", &format!("/containers/prune?stream=1&filters={wrong}"))?.expect(400).map(drop)
}

fn umask(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("there is no umask")?;
    let name = scope.name("masked");
    let request = json!({
        "Image": BUSYBOX, "Cmd": ["sh", "-c", "umask; sleep 300"], "User": "7:7",
        "Healthcheck": { "Test": ["CMD-SHELL", "umask"], "Interval": 100_000_000 },
        "HostConfig": { "Umask": 511 },
    });
    scope.api_json("POST", &format!("/containers/create?name={name}"), &request)?.expect(201)?;
    scope.api("POST", &format!("/containers/{name}/start"))?.expect(204)?;
    contains("the program", &scope.logged(&name, "0777")?, "0777")?;
    for user in ["7:7", "0"] {
        let words = ["exec", "--user", user, &name, "sh", "-c", "umask"];
        same(user, scope.ok(&words)?.trim(), "0777")?;
    }
    scope.eventually("a health check", || {
        let log = scope.inspect(&name)?["State"]["Health"]["Log"].take();
        Ok((log[0]["Output"] == "0777\n").then_some(()))
    })?;
    // Nothing at all is not zero.
    let zero = scope.name("zero");
    let request = json!({ "Image": BUSYBOX, "Cmd": ["sh", "-c", "umask"], "HostConfig": { "Umask": 0 } });
    scope.api_json("POST", &format!("/containers/create?name={zero}"), &request)?.expect(201)?;
    scope.api("POST", &format!("/containers/{zero}/start"))?.expect(204)?;
    scope.logged(&zero, "0000")?;
    same("none", scope.script(&[], "umask")?.as_str(), "0022")
}

fn debug(scope: &Scope<'_>) -> Result<()> {
    let variables = scope.api("GET", "/debug/vars")?.expect(200)?.json()?;
    same("cmdline", variables["cmdline"].is_array(), true)?;
    let line = scope.api("GET", "/v1.51/debug/pprof/cmdline")?.expect(200)?.text();
    contains("cmdline", &line, "\0")?;
    if scope.engine.program.is_some() {
        for path in ["/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/trace"] {
            contains(path, &scope.api("GET", path)?.expect(404)?.message(), "not written in Go")?;
        }
    }
    Ok(())
}
