//! Legacy links (`--link`): names, environment, and what becomes of them.

use crate::check::{Check, contains, same};
use crate::fixture::BUSYBOX;
use crate::hosts::Hosts;
use crate::scope::{Scope, eventually};
use anyhow::Result;
use serde_json::{Value, json};

const AREA: &str = "links";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "a link on the default bridge is a name in the hosts file", hosts),
        Check::new(AREA, "a link tells ports and environment of the other container", environment),
        Check::new(AREA, "inspect and ps show a link, and follow renames", shown),
        Check::new(AREA, "a linked container that is started again is found at its new address", follows),
        Check::new(AREA, "rm --link removes the link and nothing else", removed),
        Check::new(AREA, "a container whose linked one does not run is not started", not_running),
        Check::new(AREA, "links that cannot be are refused", refused),
        Check::new(AREA, "a link in a network of the user's is a name for its name server", own_network),
    ]
}

/// What needs a daemon of its own.
pub(crate) fn ours() -> Vec<Check> {
    let name = "--icc=false lets a link through to the ports that are exposed, and nothing else";
    vec![Check::new(AREA, name, apart)]
}

fn address(scope: &Scope<'_>, container: &str) -> Result<String> {
    let networks = scope.inspect(container)?["NetworkSettings"]["Networks"].take();
    Ok(networks["bridge"]["IPAddress"].as_str().unwrap_or_default().to_owned())
}

fn line_of(scope: &Scope<'_>, container: &str, name: &str) -> Result<String> {
    let script = format!("grep -w {name} /etc/hosts | tr '\\t' ' '");
    scope.ok(&["exec", container, "sh", "-c", &script])
}

fn hosts(scope: &Scope<'_>) -> Result<()> {
    let child = scope.start("db", &["-h", "inner"], &["sleep", "300"])?;
    let link = format!("{child}:data");
    let parent = scope.start("web", &["--link", &link, "--link", &child], &["sleep", "300"])?;
    let at = address(scope, &child)?;
    same("alias", line_of(scope, &parent, "data")?, format!("{at} data inner {child}"))?;
    let plain =
        scope.ok(&["exec", &parent, "sh", "-c", "tail -n 2 /etc/hosts | head -n 1 | tr '\\t' ' '"])?;
    same("by its name", plain, format!("{at} {child} inner"))?;
    let shares = format!("container:{child}");
    let other = scope.start("shares", &["--net", &shares], &["sleep", "300"])?;
    let link = format!("{other}:through");
    let found = scope.script(&["--link", &link], "grep through /etc/hosts | tr '\\t' ' '")?;
    same("through a shared network", found, format!("{at} through inner {child}"))
}

fn environment(scope: &Scope<'_>) -> Result<()> {
    let flags = ["-e", "SECRET=s=1", "-e", "HOME=/x", "--expose", "81", "--expose", "443", "--expose", "80"];
    let child = scope.start("db", &flags, &["sleep", "300"])?;
    let at = address(scope, &child)?;
    let link = format!("{child}:my-db");
    let flags = ["--link", link.as_str(), "-e", "MY_DB_NAME=overridden"];
    let parent = scope.start("web", &flags, &["sleep", "300"])?;
    let script = "env | grep ^MY_DB | sort | grep -v -e _START -e _END";
    let expected = format!(
        "MY_DB_ENV_SECRET=s=1
MY_DB_NAME=overridden
MY_DB_PORT=tcp://{at}:80
MY_DB_PORT_443_TCP=tcp://{at}:443
MY_DB_PORT_443_TCP_ADDR={at}
MY_DB_PORT_443_TCP_PORT=443
MY_DB_PORT_443_TCP_PROTO=tcp
MY_DB_PORT_80_TCP=tcp://{at}:80
MY_DB_PORT_80_TCP_ADDR={at}
MY_DB_PORT_80_TCP_PORT=80
MY_DB_PORT_80_TCP_PROTO=tcp
MY_DB_PORT_81_TCP=tcp://{at}:81
MY_DB_PORT_81_TCP_ADDR={at}
MY_DB_PORT_81_TCP_PORT=81
MY_DB_PORT_81_TCP_PROTO=tcp"
    );
    same("exec", scope.ok(&["exec", &parent, "sh", "-c", script])?, expected.as_str())?;
    let own = scope.ok(&[
        "exec",
        &parent,
        "sh",
        "-c",
        "tr '\\0' '\\n' < /proc/1/environ | grep ^MY_DB | sort | grep -v -e _START -e _END",
    ])?;
    same("the program", own, expected)?;
    let range = scope.ok(&["exec", &parent, "sh", "-c", "env | grep -e _START -e _END | sort"])?;
    same(
        "range",
        range,
        format!(
            "MY_DB_PORT_80_TCP_END=tcp://{at}:81
MY_DB_PORT_80_TCP_PORT_END=81
MY_DB_PORT_80_TCP_PORT_START=80
MY_DB_PORT_80_TCP_START=tcp://{at}:80"
        ),
    )
}

fn names(scope: &Scope<'_>, container: &str) -> Result<Value> {
    let id = scope.inspect(container)?["Id"].take();
    let rows = scope.api("GET", "/containers/json?all=1")?.expect(200)?.json()?;
    let row = rows.as_array().into_iter().flatten().find(|row| row["Id"] == id);
    Ok(row.map_or(Value::Null, |row| row["Names"].clone()))
}

fn shown(scope: &Scope<'_>) -> Result<()> {
    let child = scope.start("db", &[], &["sleep", "300"])?;
    let parent = scope.start("web", &["--link", &format!("{child}:data")], &["sleep", "300"])?;
    let links =
        |container: &str| Ok::<_, anyhow::Error>(scope.inspect(container)?["HostConfig"]["Links"].take());
    same("inspect", links(&parent)?, json!([format!("/{child}:/{parent}/data")]))?;
    same("the other", links(&child)?, Value::Null)?;
    same("names", names(scope, &child)?, json!([format!("/{child}"), format!("/{parent}/data")]))?;
    let by_link = scope.ok(&["inspect", "-f", "{{.Name}}", &format!("{parent}/data")])?;
    same("found by its link", by_link, format!("/{child}"))?;
    let (new_child, new_parent) = (scope.name("db2"), scope.name("web2"));
    scope.ok(&["rename", &child, &new_child])?;
    scope.ok(&["rename", &parent, &new_parent])?;
    same("renamed", links(&new_parent)?, json!([format!("/{new_child}:/{new_parent}/data")]))?;
    let again = scope.name("again");
    let copied = json!({
        "Image": BUSYBOX,
        "Cmd": ["true"],
        "HostConfig": { "Links": links(&new_parent)? },
    });
    scope.api_json("POST", &format!("/containers/create?name={again}"), &copied)?.expect(201)?;
    same("copied from inspect", links(&again)?, json!([format!("/{new_child}:/{again}/data")]))?;
    scope.ok(&["rm", "-f", &new_child])?;
    same("after the removal", links(&new_parent)?, Value::Null)
}

fn follows(scope: &Scope<'_>) -> Result<()> {
    let child = scope.start("db", &["--stop-timeout", "0"], &["sleep", "300"])?;
    let parent = scope.start("web", &["--link", &format!("{child}:data")], &["sleep", "300"])?;
    scope.ok(&["exec", &parent, "sh", "-c", "echo 192.0.2.9 mine >> /etc/hosts"])?;
    scope.ok(&["stop", &child])?;
    // Somebody else takes the address that has become free, or one after it.
    scope.start("other", &[], &["sleep", "300"])?;
    scope.start("another", &[], &["sleep", "300"])?;
    scope.ok(&["start", &child])?;
    let at = address(scope, &child)?;
    scope.eventually("the new address", || {
        Ok(line_of(scope, &parent, "data")?.starts_with(&format!("{at} data")).then_some(()))
    })?;
    same("own lines", line_of(scope, &parent, "mine")?, "192.0.2.9 mine")
}

fn removed(scope: &Scope<'_>) -> Result<()> {
    let child = scope.start("db", &[], &["sleep", "300"])?;
    let parent = scope.start("web", &["--link", &format!("{child}:data")], &["sleep", "300"])?;
    let plain = scope.api("DELETE", &format!("/containers/{parent}?link=1"))?;
    same(
        "no link",
        (plain.status, plain.message()),
        (500, "Conflict, cannot remove the default link name of the container".to_owned()),
    )?;
    let name = format!("{parent}/data");
    same("rm --link", scope.ok(&["rm", "--link", &name])?, name.as_str())?;
    same("inspect", scope.inspect(&parent)?["HostConfig"]["Links"].take(), Value::Null)?;
    same("names", names(scope, &child)?, json!([format!("/{child}")]))?;
    let left = scope.ok(&["exec", &parent, "sh", "-c", "grep -c data /etc/hosts; true"])?;
    same("hosts", left, "0")?;
    same(
        "both run",
        (
            scope.inspect(&parent)?["State"]["Running"].take(),
            scope.inspect(&child)?["State"]["Running"].take(),
        ),
        (json!(true), json!(true)),
    )?;
    same("again", scope.api("DELETE", &format!("/containers/{name}?link=1"))?.status, 404)
}

fn not_running(scope: &Scope<'_>) -> Result<()> {
    let (child, parent) = (scope.name("db"), scope.name("web"));
    scope.ok(&["create", "--name", &child, BUSYBOX, "sleep", "300"])?;
    scope.ok(&["create", "--name", &parent, "--link", &format!("{child}:data"), BUSYBOX, "true"])?;
    let output = scope.docker(&["start", &parent])?.expect_code(1)?;
    let words = format!("Cannot link to a non running container: /{child} AS /{parent}/data");
    contains("refusal", &output.stderr, &words)?;
    scope.ok(&["start", &child])?;
    scope.ok(&["start", &parent]).map(drop)
}

fn refused(scope: &Scope<'_>) -> Result<()> {
    let create = |host: Value| -> Result<(u16, String)> {
        let body = json!({ "Image": BUSYBOX, "Cmd": ["true"], "HostConfig": host });
        let path = format!("/containers/create?name={}", scope.name("refused"));
        let answer = scope.api_json("POST", &path, &body)?;
        Ok((answer.status, answer.message()))
    };
    let words = "could not get container for no-such: No such container: no-such".to_owned();
    same("unknown", create(json!({ "Links": ["no-such:x"] }))?, (400, words))?;
    let words = "bad format for links: a:b:c".to_owned();
    same("form", create(json!({ "Links": ["a:b:c"] }))?.1, words)?;
    let host = scope.start("host", &["--net", "host"], &["sleep", "300"])?;
    let words = "conflicting options: host type networking can't be used with links. This would result in undefined behavior".to_owned();
    same("to the host's network", create(json!({ "Links": [host] }))?, (400, words.clone()))?;
    let plain = scope.start("plain", &[], &["sleep", "300"])?;
    let asked = json!({ "Links": [plain], "NetworkMode": "host" });
    same("in the host's network", create(asked)?, (400, words))?;
    let words = "conflicting options: container type network can't be used with links. This would result in undefined behavior".to_owned();
    let asked = json!({ "Links": [plain], "NetworkMode": format!("container:{plain}") });
    same("in another's network", create(asked)?, (400, words))
}

fn apart(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &["--icc=false", "--bip", "10.76.0.1/24"])?;
    let serve = "nc -ll -p 81 -e echo hello & exec nc -ll -p 80 -e echo hello";
    let run = |name: &str, flags: &[&str], command: &str| {
        let words = [&["run", "-d", "--name", name], flags, &[BUSYBOX, "sh", "-c", command]].concat();
        hosts.client.expect(&words)
    };
    run("db", &["--expose", "80"], serve)?;
    run("web", &["--link", "db:data"], serve)?;
    run("other", &[], "exec sleep 300")?;
    let answers = |from: &str, to: &str, port: &str| -> Result<bool> {
        Ok(hosts.client.call(&["exec", from, "nc", "-w", "1", to, port])?.stdout == "hello\n")
    };
    let opens = |from: &str, to: &str, port: &str| {
        eventually(&format!("{from} reaches {to} {port}"), || Ok(answers(from, to, port)?.then_some(())))
    };
    opens("db", "127.0.0.1", "81")?;
    opens("web", "127.0.0.1", "80")?;
    opens("web", "data", "80")?;
    let (db, web) = (hosts.address("db")?, hosts.address("web")?);
    for (from, to, port) in
        [("web", &db, "81"), ("other", &db, "80"), ("db", &web, "80"), ("other", &web, "80")]
    {
        same(&format!("{from} to {to} {port}"), answers(from, to, port)?, false)?;
    }
    hosts.client.expect(&["restart", "-t", "0", "db"])?;
    opens("web", "data", "80")?;
    hosts.client.expect(&["rm", "--link", "web/data"])?;
    same("without the link", answers("web", &hosts.address("db")?, "80")?, false)?;
    hosts.close()
}

fn own_network(scope: &Scope<'_>) -> Result<()> {
    let network = scope.name("net");
    scope.ok(&["network", "create", &network])?;
    let child = scope.start("db", &["--net", &network], &["sleep", "300"])?;
    let link = format!("{child}:data");
    let parent = scope.start("web", &["--net", &network, "--link", &link], &["sleep", "300"])?;
    let inspect = scope.inspect(&parent)?;
    same("not the host's part", &inspect["HostConfig"]["Links"], &Value::Null)?;
    let endpoint = &inspect["NetworkSettings"]["Networks"][&network];
    same("the endpoint's part", &endpoint["Links"], &json!([link]))?;
    let resolve = |name: &str| scope.docker(&["exec", &parent, "ping", "-c", "1", "-w", "5", name]);
    resolve("data")?.expect_code(0)?;
    let other = scope.start("other", &["--net", &network], &["sleep", "300"])?;
    let found = scope.docker(&["exec", &other, "nslookup", "data"])?;
    same("for others it is no name", found.code != 0, true)?;
    same("nothing in the hosts file", line_of(scope, &parent, "data").unwrap_or_default(), "")
}
