//! Docker Compose, unchanged, against the engine: what its users do with a project.

use crate::check::{Check, contains, same, skip};
use crate::command_line::{Client, Output};
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::PathBuf;

pub(crate) const AREA: &str = "compose";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "up waits for what a service depends on, and down leaves nothing", up_and_down),
        Check::new(AREA, "exec, run, cp, top, port, logs and images reach the right container", words),
        Check::new(AREA, "pause, stop, restart, kill, scale and rm do as they say", life),
        Check::new(AREA, "a change makes only its container anew, with its anonymous volume", made_anew),
        Check::new(AREA, "what a service asks for arrives", asked),
        Check::new(AREA, "configs and secrets are there before the first program", files),
        Check::new(AREA, "networks have the addresses, names and gaps they are given", networks),
        Check::new(AREA, "services share their namespaces", shared),
        Check::new(AREA, "an attached up ends as its service does", attached),
        Check::new(AREA, "an interrupted up stops its services", interrupted),
        Check::new(AREA, "what fails is told in the engine's words", failures),
    ]
}

/// A project with a directory and a name of its own, gone when it is dropped.
struct Project<'a> {
    scope: &'a Scope<'a>,
    compose: Client,
    name: String,
    directory: PathBuf,
}

impl<'a> Project<'a> {
    /// Writes the file of a project; `IMAGE` in it is the busybox image.
    fn new(scope: &'a Scope<'a>, word: &str, file: &str) -> Result<Self> {
        let program = scope.engine.compose.clone();
        let program = program.ok_or_else(|| skip("no docker-compose here: it comes from Debian's mirror"))?;
        let directory = scope.directory()?.join(word);
        std::fs::create_dir_all(&directory).context("the project's directory")?;
        let compose = Client { program, ..scope.client().clone() };
        let project = Self { scope, compose, name: scope.name(word), directory };
        project.write("compose.yaml", file)?;
        Ok(project)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        // A process that ends on its own, and at once when it is asked to.
        let sleeper = "{ image: IMAGE, command: [sleep, '1000'], init: true, stop_grace_period: 5s";
        let text = text.replace("SLEEPER", sleeper).replace("IMAGE", BUSYBOX);
        std::fs::write(self.directory.join(name), text).with_context(|| name.to_owned())
    }

    fn line<'b>(&'b self, arguments: &[&'b str]) -> Vec<&'b str> {
        let directory = self.directory.to_str().unwrap_or_default();
        let own = [
            "--ansi",
            "never",
            "--progress",
            "plain",
            "--project-directory",
            directory,
            "--project-name",
            &self.name,
        ];
        [&own, arguments].concat()
    }

    /// Calls compose; any exit code is an answer.
    fn call(&self, arguments: &[&str]) -> Result<Output> {
        let file = self.directory.join("compose.yaml");
        let environment = [("COMPOSE_FILE", file.to_str().unwrap_or_default()), ("FROM_OUTSIDE", "a word")];
        self.compose.call_in(&environment, &self.line(arguments), b"")
    }

    /// Calls compose, which must succeed; what it printed.
    fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.call(arguments)?.expect_code(0).with_context(|| arguments.join(" "))?;
        Ok(output.stdout.trim_end().to_owned())
    }

    /// Its containers as `service state exit code`, by name.
    fn states(&self) -> Result<String> {
        let listed = self.ok(&["ps", "--all", "--format", "json"])?;
        let parsed = serde_json::Deserializer::from_str(&listed).into_iter::<Value>();
        let mut states = Vec::new();
        for container in parsed {
            let container = container.with_context(|| listed.clone())?;
            let text = |key: &str| container[key].as_str().unwrap_or_default().to_owned();
            states.push(format!("{} {} {}", text("Service"), text("State"), container["ExitCode"]));
        }
        states.sort();
        Ok(states.join(", "))
    }

    /// Identifier of a service's first container.
    fn id(&self, service: &str) -> Result<String> {
        self.ok(&["ps", "--all", "--quiet", service])
    }

    /// What the engine still has of the project.
    fn left(&self) -> Result<String> {
        let label = format!("label=com.docker.compose.project={}", self.name);
        let list = |words: &[&str]| self.scope.ok(&[words, &["--quiet", "--filter", &label]].concat());
        Ok([list(&["ps", "--all"])?, list(&["network", "ls"])?, list(&["volume", "ls"])?].concat())
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        // A check that fails leaves it as it is; what cannot be removed is found when the daemon is looked over.
        let _ = self.call(&["--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "0"]);
    }
}

const CHAIN: &str = "
services:
  web:
    image: IMAGE
    command: [sh, -c, 'mkdir -p /w; cp /data/made /w/index.html; echo serving; exec httpd -f -p 8000 -h /w']
    init: true
    depends_on: { setup: { condition: service_completed_successfully } }
    healthcheck: { test: [CMD, wget, -qO-, 'http://127.0.0.1:8000/'], interval: 200ms, timeout: 30s, retries: 200 }
    ports: ['127.0.0.1::8000']
    networks: { front: { aliases: [www] }, back: {} }
    volumes: ['data:/data', '/anonymous']
  asks:
    image: IMAGE
    command: [sh, -c, 'wget -qO- http://www:8000/ && exec sleep 1000']
    init: true
    depends_on: { web: { condition: service_healthy } }
    networks: [front]
  setup:
    image: IMAGE
    command: [sh, -c, 'echo set up > /data/made']
    network_mode: none
    volumes: ['data:/data']
  aside: SLEEPER, profiles: [more] }
networks: { front: {}, back: { internal: true } }
volumes: { data: {} }
";

fn up_and_down(scope: &Scope<'_>) -> Result<()> {
    let project = Project::new(scope, "chain", CHAIN)?;
    project.ok(&["up", "--detach"])?;
    same("states", project.states()?, "asks running 0, setup exited 0, web running 0")?;
    let logs = scope.eventually("the answer of web", || {
        let logs = project.ok(&["logs", "--no-log-prefix", "asks"])?;
        Ok((!logs.is_empty()).then_some(logs))
    })?;
    // Old versions clear the line first, terminal or not.
    same("logs", logs.trim_start_matches("\u{1b}[2K"), "set up")?;
    let listed: Value = serde_json::from_str(&project.ok(&["ls", "--format", "json"])?)?;
    let own = listed.as_array().into_iter().flatten().find(|one| one["Name"] == project.name.as_str());
    same("ls", own.context("the project in ls")?["Status"].as_str(), Some("exited(1), running(2)")).or_else(
        // Only what runs is counted by some versions.
        |_| same("ls", own.map(|one| &one["Status"]), Some(&Value::from("running(2)"))),
    )?;
    let web = project.id("web")?;
    project.ok(&["--profile", "more", "up", "--detach", "--wait", "--no-recreate"]).ok();
    same("web is the same", project.id("web")?, web)?;
    project.ok(&["--profile", "more", "down", "--volumes", "--timeout", "5"])?;
    same("left", project.left()?, "")
}

fn words(scope: &Scope<'_>) -> Result<()> {
    let project = Project::new(scope, "words", CHAIN)?;
    project.ok(&["up", "--detach", "web"])?;
    let script = "id -u; pwd; echo $A; exit 7";
    let exec = ["exec", "-T", "-e", "A=b", "-u", "1", "-w", "/tmp", "web", "sh", "-c", script];
    same("exec", project.call(&exec)?.expect_code(7)?.stdout, "1\n/tmp\nb\n")?;
    let run = ["run", "--rm", "-T", "--no-deps", "asks", "sh", "-c", "hostname -i; exit 3"];
    contains("run", &project.call(&run)?.expect_code(3)?.stdout, ".")?;
    let copied = project.directory.join("copied");
    project.ok(&["cp", "web:/w/index.html", copied.to_str().unwrap_or_default()])?;
    same("cp out", std::fs::read_to_string(&copied)?, "set up\n")?;
    std::fs::write(&copied, "from outside")?;
    project.ok(&["cp", copied.to_str().unwrap_or_default(), "web:/tmp/in"])?;
    same("cp in", project.ok(&["exec", "-T", "web", "cat", "/tmp/in"])?, "from outside")?;
    contains("top", &project.ok(&["top", "web"])?, "httpd -f -p 8000 -h /w")?;
    let port = project.ok(&["port", "web", "8000"])?;
    same("port", port, scope.ok(&["port", &project.id("web")?, "8000"])?)?;
    contains("logs", &project.ok(&["logs", "--no-color", "--timestamps", "--tail", "1", "web"])?, "serving")?;
    contains("images", &project.ok(&["images", "--format", "json"])?, "conformance/busybox")?;
    // A health check is one more while it runs.
    let stats = ["stats", "--no-stream", "--format", "{{.PIDs}}", &project.id("web")?];
    scope.eventually("two processes", || Ok((scope.ok(&stats)? == "2").then_some(())))
}

fn life(scope: &Scope<'_>) -> Result<()> {
    let project = Project::new(scope, "life", "services: { a: SLEEPER }, b: SLEEPER, depends_on: [a] } }")?;
    project.ok(&["create"])?;
    same("created", project.states()?, "a created 0, b created 0")?;
    project.ok(&["start"])?;
    project.ok(&["pause", "a"])?;
    same("paused", project.states()?, "a paused 0, b running 0")?;
    project.ok(&["unpause", "a"])?;
    let started = scope.inspect(&project.id("a")?)?["State"]["StartedAt"].take();
    project.ok(&["restart", "a"])?;
    let again = scope.inspect(&project.id("a")?)?["State"]["StartedAt"].take();
    same("started again", started == again, false)?;
    project.ok(&["stop"])?;
    same("stopped", project.states()?, "a exited 143, b exited 143")?;
    project.ok(&["start"])?;
    project.ok(&["kill", "--signal", "KILL", "b"])?;
    scope.ended(&project.id("b")?)?;
    same("killed", project.states()?, "a running 0, b exited 137")?;
    project.ok(&["rm", "--force", "b"])?;
    same("removed", project.states()?, "a running 0")?;
    project.ok(&["up", "--detach", "--scale", "b=3"])?;
    same("scaled", project.states()?, "a running 0, b running 0, b running 0, b running 0")?;
    project.ok(&["up", "--detach", "--scale", "b=1"])?;
    same("scaled back", project.states()?, "a running 0, b running 0")?;
    project.ok(&["down", "--timeout", "5"])?;
    same("left", project.left()?, "")
}

fn made_anew(scope: &Scope<'_>) -> Result<()> {
    let file = |word: &str, more: &str| {
        format!(
            "services: {{ a: SLEEPER, volumes: [/anonymous, 'named:/named'], environment: [V={word}] }},
                b: SLEEPER }} {more} }}\nvolumes: {{ named: {{}} }}\n"
        )
    };
    let project = Project::new(scope, "anew", &file("1", ", c: SLEEPER }"))?;
    project.ok(&["up", "--detach"])?;
    project.ok(&["exec", "-T", "a", "sh", "-c", "echo kept > /anonymous/f; echo kept > /named/f"])?;
    let (a, b) = (project.id("a")?, project.id("b")?);
    project.write("compose.yaml", &file("2", ""))?;
    project.ok(&["up", "--detach", "--remove-orphans"])?;
    same("a is new", project.id("a")? == a, false)?;
    same("b is as it was", project.id("b")?, b)?;
    let shown = project.ok(&["exec", "-T", "a", "sh", "-c", "cat /anonymous/f /named/f; echo $V"])?;
    same("a", shown, "kept\nkept\n2")?;
    same("no orphan", project.states()?, "a running 0, b running 0")?;
    project.ok(&["up", "--detach", "--force-recreate", "--renew-anon-volumes", "a"])?;
    let shown = project.ok(&["exec", "-T", "a", "sh", "-c", "ls /anonymous; cat /named/f"])?;
    same("volumes", shown, "kept")
}

const ASKED: &str = "
services:
  a:
    image: IMAGE
    command: [sleep, '1000']
    init: true
    hostname: ahost
    domainname: example.org
    user: '1:1'
    working_dir: /tmp
    read_only: true
    cap_drop: [ALL]
    cap_add: [NET_ADMIN]
    security_opt: ['no-new-privileges:true']
    sysctls: { net.ipv4.ip_unprivileged_port_start: '81' }
    ulimits: { nofile: { soft: 1000, hard: 2000 }, core: 0 }
    shm_size: 32m
    group_add: ['1234']
    dns: [192.0.2.9]
    dns_search: [example.com]
    extra_hosts: ['some=192.0.2.8', 'host.docker.internal:host-gateway']
    tmpfs: '/scratch:size=1m'
    environment: [FROM_OUTSIDE]
    env_file: [more.env]
    labels: { a.label: of a }
    deploy: { resources: { limits: { cpus: '0.5', memory: 64M, pids: 100 } } }
    volumes:
      - { type: bind, source: ./made, target: /made, bind: { create_host_path: true } }
      - { type: tmpfs, target: /typed, tmpfs: { size: 1048576, mode: 0700 } }
    restart: on-failure:3
    logging: { driver: json-file, options: { max-size: 1m } }
";

fn asked(scope: &Scope<'_>) -> Result<()> {
    let project = Project::new(scope, "asked", ASKED)?;
    project.write("more.env", "FROM_A_FILE=yes\n")?;
    project.ok(&["up", "--detach"])?;
    let script = "hostname -f; id -u; id -G; pwd; touch /x 2>&1; grep CapBnd /proc/self/status
        grep NoNewPrivs /proc/self/status; cat /proc/sys/net/ipv4/ip_unprivileged_port_start
        ulimit -n; ulimit -Hn; ulimit -c; grep -c 192.0.2.8 /etc/hosts; grep -c host.docker.internal /etc/hosts
        echo $FROM_OUTSIDE $FROM_A_FILE; stat -c %a /typed; grep search /etc/resolv.conf";
    let expected = "ahost.example.org\n1\n1 1234\n/tmp\ntouch: /x: Read-only file system\n\
        CapBnd:\t0000000000001000\nNoNewPrivs:\t1\n81\n1000\n2000\n0\n1\n1\na word yes\n700\nsearch example.com";
    same("inside", project.ok(&["exec", "-T", "a", "sh", "-c", script])?, expected)?;
    let mounts = project.ok(&["exec", "-T", "a", "sh", "-c", "mount | grep -E ' /(scratch|dev/shm) '"])?;
    contains("scratch", &mounts, "size=1024k")?;
    contains("shm", &mounts, "size=32768k")?;
    same("the bind's source is made", project.directory.join("made").is_dir(), true)?;
    let shown = scope.inspect(&project.id("a")?)?;
    let host = &shown["HostConfig"];
    same("NanoCpus", host["NanoCpus"].as_i64(), Some(500_000_000))?;
    same("Memory", host["Memory"].as_i64(), Some(64 << 20))?;
    same("PidsLimit", host["PidsLimit"].as_i64(), Some(100))?;
    same("RestartPolicy", host["RestartPolicy"]["MaximumRetryCount"].as_i64(), Some(3))?;
    same("label", shown["Config"]["Labels"]["a.label"].as_str(), Some("of a"))
}

const FILES: &str = "
services:
  a:
    image: IMAGE
    command: [sh, -c, 'cat /etc/conf /run/secrets/word /run/secrets/key && echo done && sleep 1000']
    init: true
    configs: [{ source: conf, target: /etc/conf }]
    secrets: [word, { source: key, target: key }]
    volumes: [{ type: bind, source: ./made/later, target: /made, bind: { create_host_path: true, propagation: rprivate } }]
configs: { conf: { content: \"inline\\n\" } }
secrets: { word: { environment: FROM_OUTSIDE }, key: { file: ./key } }
";

fn files(scope: &Scope<'_>) -> Result<()> {
    let project = Project::new(scope, "files", FILES)?;
    project.write("key", "the key\n")?;
    project.ok(&["up", "--detach"])?;
    let log = scope.logged(&project.id("a")?, "done")?;
    contains("log", &log, "inline\n")?;
    contains("log", &log, "a word")?;
    contains("log", &log, "the key\n")
}

const NETWORKS: &str = "
services:
  one: SLEEPER, networks: {
    near: { aliases: [uno], ipv4_address: SUBNET.10, ipv6_address: 'fd00:7e57::10', mac_address: '02:00:00:00:00:11' },
    given: {} } }
  two: SLEEPER, networks: [near] }
  three: SLEEPER, networks: [apart] }
networks:
  near:
    enable_ipv6: true
    ipam: { config: [{ subnet: SUBNET.0/24, ip_range: SUBNET.128/25, gateway: SUBNET.254 }, { subnet: 'fd00:7e57::/64' }] }
    driver_opts: { com.docker.network.driver.mtu: '1400' }
  apart: { internal: true }
  given: { external: true, name: GIVEN }
";

fn networks(scope: &Scope<'_>) -> Result<()> {
    let given = scope.name("given");
    scope.ok(&["network", "create", &given])?;
    let file = NETWORKS.replace("GIVEN", &given).replace("SUBNET", "172.31.205");
    let project = Project::new(scope, "networks", &file)?;
    project.ok(&["up", "--detach"])?;
    let shown = scope.inspect(&project.id("one")?)?["NetworkSettings"]["Networks"].take();
    let near = &shown[format!("{}_near", project.name)];
    same("address", near["IPAddress"].as_str(), Some("172.31.205.10"))?;
    same("address", near["GlobalIPv6Address"].as_str(), Some("fd00:7e57::10"))?;
    same("gateway", near["Gateway"].as_str(), Some("172.31.205.254"))?;
    same("hardware address", near["MacAddress"].as_str(), Some("02:00:00:00:00:11"))?;
    same("given", shown[&given]["IPAddress"].as_str().is_some_and(|address| !address.is_empty()), true)?;
    let reaches = |from: &str, whom: &str| {
        Ok::<_, anyhow::Error>(
            project.call(&["exec", "-T", from, "ping", "-c", "1", "-W", "20", whom])?.code == 0,
        )
    };
    let container = format!("{}-one-1", project.name);
    same("by alias", reaches("two", "uno")?, true)?;
    same("by service", reaches("two", "one")?, true)?;
    same("by container", reaches("two", &container)?, true)?;
    same("by IPv6", reaches("two", "fd00:7e57::10")?, true)?;
    same("from apart", reaches("three", "one")?, false)?;
    let routes = project.ok(&["exec", "-T", "three", "ip", "route"])?;
    same("without a gateway", routes.contains("default"), false)?;
    contains("MTU", &project.ok(&["exec", "-T", "two", "ip", "link", "show", "eth0"])?, "mtu 1400")?;
    project.ok(&["down", "--timeout", "5"])?;
    same("left", project.left()?, "")?;
    same(
        "given is still there",
        scope.ok(&["network", "inspect", "-f", "{{.Name}}", &given])?,
        given.clone(),
    )?;
    scope.ok(&["network", "rm", &given]).map(drop)
}

fn shared(scope: &Scope<'_>) -> Result<()> {
    let file = "services:
  a: SLEEPER, hostname: shares, ipc: shareable }
  b: SLEEPER, network_mode: 'service:a', pid: 'service:a', ipc: 'service:a' }
  c: SLEEPER, volumes_from: [d] }
  d: SLEEPER, volumes: [/lent] }
";
    let project = Project::new(scope, "shared", file)?;
    project.ok(&["up", "--detach"])?;
    let script = "for n in net pid ipc; do readlink /proc/self/ns/$n; done; hostname";
    let inside = |service| project.ok(&["exec", "-T", service, "sh", "-c", script]);
    same("namespaces", inside("b")?, inside("a")?)?;
    project.ok(&["exec", "-T", "d", "touch", "/lent/f"])?;
    same("lent", project.ok(&["exec", "-T", "c", "ls", "/lent"])?, "f")
}

fn attached(scope: &Scope<'_>) -> Result<()> {
    let file = "services:
  a: { image: IMAGE, command: [sh, -c, 'trap \"echo asked; exit 0\" TERM; echo here; while :; do sleep 0.1; done'] }
  b: { image: IMAGE, command: [sh, -c, 'echo of b; exit 4'], depends_on: [a] }
";
    let project = Project::new(scope, "attached", file)?;
    let output = project.call(&["up", "--no-color", "--exit-code-from", "b"])?.expect_code(4)?;
    contains("output", &output.stdout, "of b")?;
    contains("output", &output.stdout, "here")?;
    same("states", project.states()?, "a exited 0, b exited 4")?;
    contains("log", &project.ok(&["logs", "--no-color", "a"])?, "asked")
}

fn interrupted(scope: &Scope<'_>) -> Result<()> {
    let file = "services:
  a: { image: IMAGE, command: [sh, -c, 'trap \"echo asked; exit 5\" TERM; echo here; while :; do sleep 0.1; done'] }
";
    let project = Project::new(scope, "interrupted", file)?;
    let path = project.directory.join("compose.yaml");
    let file = ["--file", path.to_str().unwrap_or_default(), "up", "--no-color"];
    let mut terminal = crate::terminal::Terminal::spawn(&project.compose, &project.line(&file))?;
    terminal.expect("here")?;
    terminal.write("\u{3}")?;
    terminal.end()?;
    same("states", project.states()?, "a exited 5")
}

const FAILURES: &str = "
services:
  nothing: { image: IMAGE, command: [/nowhere], profiles: [nothing] }
  absent: { image: 'conformance/absent:1', pull_policy: never, profiles: [absent] }
  sick: SLEEPER, profiles: [sick], healthcheck: { test: 'exit 1', interval: 100ms, timeout: 30s, retries: 1 } }
  waits: SLEEPER, profiles: [sick], depends_on: { sick: { condition: service_healthy } } }
  fails: { image: IMAGE, command: [sh, -c, 'exit 9'], profiles: [fails] }
  after: SLEEPER, profiles: [fails], depends_on: { fails: { condition: service_completed_successfully } } }
";

fn failures(scope: &Scope<'_>) -> Result<()> {
    let project = Project::new(scope, "failures", FAILURES)?;
    for (profile, words) in [
        ("nothing", "exec: \"/nowhere\": stat /nowhere: no such file or directory"),
        ("absent", "No such image: conformance/absent:1"),
        ("sick", "is unhealthy"),
        ("fails", "didn't complete successfully: exit 9"),
    ] {
        let output = project.call(&["--profile", profile, "up", "--detach"])?;
        same(profile, output.code, 1)?;
        contains(profile, &output.stderr, words)?;
        project.ok(&["--profile", "*", "down", "--timeout", "0"])?;
    }
    Ok(())
}
