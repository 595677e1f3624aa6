//! Images made of containers.

use crate::check::{Check, contains, same};
use crate::fixture::BUSYBOX;
use crate::scope::{Scope, percent_encode};
use anyhow::Result;
use serde_json::{Value, json};

const AREA: &str = "commit";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "what a container changed is in the image, what is mounted is not", content),
        Check::new(AREA, "author, message and command are in its history", history),
        Check::new(AREA, "--change alters the configuration", changes),
        Check::new(AREA, "a body of configuration goes before the container's", body),
        Check::new(AREA, "a container that changed nothing gives an image without a new layer", nothing),
        Check::new(AREA, "a running container is paused meanwhile, unless --pause=false", pausing),
        Check::new(AREA, "bad names, changes and containers are refused", refusals),
        Check::new(AREA, "it tells what it did", events),
    ]
}

/// A container that changed files and has ended.
fn changed(scope: &Scope<'_>, flags: &[&str]) -> Result<String> {
    let script = "echo x > /made; rm /etc/group; mkdir -p /opt/d; echo hidden > /tmp/memory/f";
    let mut all = vec!["--tmpfs", "/tmp/memory"];
    all.extend(flags);
    let name = scope.start("changed", &all, &["sh", "-c", script])?;
    scope.ended(&name)?;
    Ok(name)
}

fn image(scope: &Scope<'_>, image: &str) -> Result<Value> {
    scope.api("GET", &format!("/images/{}/json", percent_encode(image)))?.expect(200)?.json()
}

fn content(scope: &Scope<'_>) -> Result<()> {
    let name = changed(scope, &[])?;
    let tag = format!("{}:1", scope.name("image"));
    let id = scope.ok(&["commit", &name, &tag])?;
    same("printed id", id.starts_with("sha256:"), true)?;
    same("its id", image(scope, &tag)?["Id"].as_str(), Some(id.as_str()))?;
    let script = "cat /made; test ! -e /etc/group && test -d /opt/d && ! test -e /tmp/memory/f && echo fine";
    let output = scope.ok(&["run", "--rm", &tag, "sh", "-c", script])?;
    same("inside", output, "x\nfine")?;
    scope.ok(&["rmi", &tag]).map(drop)
}

fn history(scope: &Scope<'_>) -> Result<()> {
    let name = changed(scope, &[])?;
    let tag = format!("{}:1", scope.name("history"));
    scope.ok(&["commit", "-a", "Some One <one@example.org>", "-m", "why it was made", &name, &tag])?;
    let rows = scope.api("GET", &format!("/images/{}/history", percent_encode(&tag)))?.expect(200)?.json()?;
    same("steps", rows.as_array().map(Vec::len), Some(2))?;
    same("comment", rows[0]["Comment"].as_str(), Some("why it was made"))?;
    contains("command", rows[0]["CreatedBy"].as_str().unwrap_or_default(), "sh -c echo x > /made")?;
    let found = image(scope, &tag)?;
    same("author", found["Author"].as_str(), Some("Some One <one@example.org>"))?;
    same("layers", found["RootFS"]["Layers"].as_array().map(Vec::len), Some(2))?;
    let base = image(scope, BUSYBOX)?["Id"].clone();
    let old =
        scope.api("GET", &format!("/v1.41/images/{}/json", percent_encode(&tag)))?.expect(200)?.json()?;
    same("the image it was made of", &old["Parent"], &base)?;
    scope.ok(&["rmi", &tag]).map(drop)
}

fn changes(scope: &Scope<'_>) -> Result<()> {
    let name = changed(scope, &["-e", "KEPT=1", "-l", "own=label"])?;
    let tag = format!("{}:1", scope.name("changes"));
    let flags = [
        "CMD [\"id\", \"-u\"]",
        "ENV ADDED=\"a b\"",
        "LABEL more=1",
        "USER alice",
        "WORKDIR /opt",
        "WORKDIR d",
        "EXPOSE 80 81/udp",
        "VOLUME /data",
        "STOPSIGNAL SIGINT",
        "ENTRYPOINT [\"env\"]",
        "CMD [\"id\"]",
    ];
    let mut arguments = vec!["commit"];
    for flag in &flags {
        arguments.extend(["-c", flag]);
    }
    arguments.extend([name.as_str(), tag.as_str()]);
    scope.ok(&arguments)?;
    let config = &image(scope, &tag)?["Config"];
    same("command", &config["Cmd"], &json!(["id"]))?;
    same("entry point", &config["Entrypoint"], &json!(["env"]))?;
    same("user", &config["User"], &json!("alice"))?;
    same("directory", &config["WorkingDir"], &json!("/opt/d"))?;
    same("ports", &config["ExposedPorts"], &json!({"80/tcp": {}, "81/udp": {}}))?;
    same("volumes", &config["Volumes"], &json!({"/data": {}}))?;
    same("signal", &config["StopSignal"], &json!("SIGINT"))?;
    same("labels", (&config["Labels"]["own"], &config["Labels"]["more"]), (&json!("label"), &json!("1")))?;
    let env = config["Env"].to_string();
    contains("kept", &env, "KEPT=1")?;
    contains("added", &env, "ADDED=a b")?;
    scope.ok(&["rmi", &tag]).map(drop)
}

fn body(scope: &Scope<'_>) -> Result<()> {
    let name = changed(scope, &["-e", "KEPT=1"])?;
    let tag = scope.name("body");
    let path = format!("/commit?container={name}&repo={tag}&tag=1");
    let config = json!({ "Cmd": ["true"], "Env": ["OWN=2"], "Labels": {"a": "b"} });
    scope.api_json("POST", &path, &config)?.expect(201)?;
    let found = image(scope, &format!("{tag}:1"))?;
    same("command", &found["Config"]["Cmd"], &json!(["true"]))?;
    same("label", &found["Config"]["Labels"]["a"], &json!("b"))?;
    let env = found["Config"]["Env"].to_string();
    contains("its own", &env, "OWN=2")?;
    contains("the container's", &env, "KEPT=1")?;
    scope.ok(&["rmi", &format!("{tag}:1")]).map(drop)
}

fn nothing(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("still", &[], &["true"])?;
    scope.ended(&name)?;
    let tag = format!("{}:1", scope.name("same"));
    scope.ok(&["commit", &name, &tag])?;
    let layers = image(scope, &tag)?["RootFS"]["Layers"].as_array().map(Vec::len);
    if layers == Some(2) {
        scope.since_new_engines("it adds an empty layer")?;
    }
    same("layers", layers, Some(1))?;
    same("runs", scope.ok(&["run", "--rm", &tag, "echo", "yes"])?, "yes")?;
    scope.ok(&["rmi", &tag]).map(drop)
}

fn told(scope: &Scope<'_>, filters: &Value) -> Result<Vec<Value>> {
    let filters = percent_encode(&filters.to_string());
    let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() + 1;
    let answer =
        scope.api("GET", &format!("/events?since=1&until={until}&filters={filters}"))?.expect(200)?;
    Ok(answer.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn pausing(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("busy", &[], &["sleep", "300"])?;
    let actions = |name: &str| -> Result<Vec<String>> {
        let events = told(scope, &json!({ "container": [name], "event": ["pause", "unpause"] }))?;
        Ok(events.iter().filter_map(|event| event["Action"].as_str().map(str::to_owned)).collect())
    };
    let tags = ["a", "b"].map(|tag| format!("{}:{tag}", scope.name("busy")));
    scope.ok(&["commit", "--pause=false", &name, &tags[0]])?;
    same("not paused", actions(&name)?, Vec::<String>::new())?;
    scope.ok(&["commit", &name, &tags[1]])?;
    same("paused", actions(&name)?, ["pause", "unpause"])?;
    same("state", scope.inspect(&name)?["State"]["Status"].as_str(), Some("running"))?;
    scope.ok(&["rmi", &tags[0], &tags[1]]).map(drop)
}

fn refusals(scope: &Scope<'_>) -> Result<()> {
    scope.api("POST", "/commit?container=no-such-container")?.expect(404)?;
    let name = changed(scope, &[])?;
    for query in ["repo=UPPER", "repo=a&tag=b%20c", "changes=RUN%20true", "changes=EXPOSE"] {
        let answer = scope.api("POST", &format!("/commit?container={name}&{query}"))?;
        if answer.status == 500 {
            scope.since_new_engines("its status is 500")?;
        }
        same(query, answer.status, 400)?;
    }
    Ok(())
}

fn events(scope: &Scope<'_>) -> Result<()> {
    let name = changed(scope, &["-l", "own=label"])?;
    let tag = format!("{}:1", scope.name("told"));
    let id = scope.ok(&["commit", "-m", "message", &name, &tag])?;
    let events = told(scope, &json!({ "container": [name], "event": ["commit"] }))?;
    let attributes = &events[0]["Actor"]["Attributes"];
    let found = ["comment", "imageID", "imageRef", "own"].map(|key| attributes[key].as_str());
    same("commit", found, [Some("message"), Some(id.as_str()), Some(tag.as_str()), Some("label")])?;
    let tagged = told(scope, &json!({ "type": ["image"], "event": ["tag"] }))?;
    same("tag", tagged.iter().any(|event| event["Actor"]["Attributes"]["name"] == tag.as_str()), true)?;
    scope.ok(&["rmi", &tag]).map(drop)
}
