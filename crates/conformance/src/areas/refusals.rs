//! Bad input: the right status, Docker's words, and nothing left behind.

use crate::check::{Check, same, says};
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::Result;
use serde_json::{Value, json};

const AREA: &str = "refusals";

/// A body of `POST /containers/create` that must be refused; `Image` and `Cmd` are added when absent.
struct Case {
    name: &'static str,
    body: &'static str,
    status: u16,
    words: &'static str,
    /// What an old engine does instead, if it is not the same.
    old: Option<&'static str>,
}

const fn case(name: &'static str, body: &'static str, words: &'static str) -> Case {
    Case { name, body, status: 400, words, old: None }
}

const CREATE: &[Case] = &[
    Case {
        status: 404,
        ..case("an unknown image", r#"{"Image":"no-such-image:v1"}"#, "No such image: no-such-image:v1")
    },
    case("an image reference that is none", r#"{"Image":"UPPER:CASE:x"}"#, "invalid reference format"),
    Case {
        old: Some("its status is 500"),
        ..case("a bind of nothing", r#"{"HostConfig":{"Binds":[":"]}}"#, "invalid volume specification")
    },
    Case {
        old: Some("its status is 500"),
        ..case("a bind onto the root", r#"{"HostConfig":{"Binds":["/tmp:/"]}}"#, "destination can't be '/'")
    },
    Case {
        old: Some("its status is 500"),
        ..case(
            "a bind mode that is none",
            r#"{"HostConfig":{"Binds":["/tmp:/x:upside-down"]}}"#,
            "invalid mode: upside-down",
        )
    },
    case(
        "a bind of a relative path",
        r#"{"HostConfig":{"Binds":["some/dir:/x"]}}"#,
        "includes invalid characters for a local volume name",
    ),
    Case {
        old: Some("its status is 500"),
        ..case(
            "a bind to a relative target",
            r#"{"HostConfig":{"Binds":["/tmp:x"]}}"#,
            "mount path must be absolute",
        )
    },
    case(
        "the same target twice",
        r#"{"HostConfig":{"Binds":["/tmp:/x","/var:/x"]}}"#,
        "Duplicate mount point: /x",
    ),
    case(
        "a bind mount of a missing source",
        r#"{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/no/such/source","Target":"/x"}]}}"#,
        "bind source path does not exist: /no/such/source",
    ),
    case(
        "a mount of an unknown type",
        r#"{"HostConfig":{"Mounts":[{"Type":"wormhole","Target":"/x"}]}}"#,
        "mount type unknown",
    ),
    case(
        "a mount without a target",
        r#"{"HostConfig":{"Mounts":[{"Type":"tmpfs"}]}}"#,
        "field Target must not be empty",
    ),
    case("a tmpfs on a relative path", r#"{"HostConfig":{"Tmpfs":{"x":""}}}"#, "mount path must be absolute"),
    case("less memory than 6 MB", r#"{"HostConfig":{"Memory":1000}}"#, "Minimum memory limit allowed is 6MB"),
    case(
        "a reservation above the limit",
        r#"{"HostConfig":{"Memory":67108864,"MemoryReservation":134217728}}"#,
        "Minimum memory limit can not be less than memory reservation limit",
    ),
    case(
        "swap without memory",
        r#"{"HostConfig":{"MemorySwap":67108864}}"#,
        "You should always set the Memory limit when using Memoryswap limit",
    ),
    case(
        "less swap than memory",
        r#"{"HostConfig":{"Memory":134217728,"MemorySwap":67108864}}"#,
        "Minimum memoryswap limit should be larger than memory limit",
    ),
    case(
        "more CPUs than there are",
        r#"{"HostConfig":{"NanoCpus":999000000000}}"#,
        "range of CPUs is from 0.01 to",
    ),
    case(
        "CPUs and a quota",
        r#"{"HostConfig":{"NanoCpus":500000000,"CpuQuota":1000}}"#,
        "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
    ),
    case(
        "a CPU period that is too short",
        r#"{"HostConfig":{"CpuPeriod":10}}"#,
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    ),
    case(
        "CPUs that are not there",
        r#"{"HostConfig":{"CpusetCpus":"4000"}}"#,
        "Requested CPUs are not available",
    ),
    // "Not found" would be the image to clients, which pull it.
    case(
        "the processes of nobody",
        r#"{"HostConfig":{"PidMode":"container:no-such"}}"#,
        "No such container: no-such",
    ),
    case("volumes of nobody", r#"{"HostConfig":{"VolumesFrom":["no-such"]}}"#, "No such container: no-such"),
    case("a volume's name of one letter", r#"{"HostConfig":{"Binds":["x:/x"]}}"#, "volume name is too short"),
    case(
        "a capability that is none",
        r#"{"HostConfig":{"CapAdd":["FLY"]}}"#,
        "unknown capability: \"CAP_FLY\"",
    ),
    case(
        "a restart policy that is none",
        r#"{"HostConfig":{"RestartPolicy":{"Name":"sometimes"}}}"#,
        "restart policy",
    ),
    case(
        "removal and restart together",
        r#"{"HostConfig":{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}}"#,
        "can't create 'AutoRemove' container with restart policy",
    ),
    case(
        "a port that is none",
        r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"many"}]}}}"#,
        "invalid port specification: \"many\"",
    ),
    Case {
        old: Some("it leaves this to its client"),
        ..case(
            "a namespace mode that is none",
            r#"{"HostConfig":{"PidMode":"sideways"}}"#,
            "invalid PID mode",
        )
    },
    Case {
        old: Some("it leaves this to its client"),
        ..case("an IPC mode that is none", r#"{"HostConfig":{"IpcMode":"sideways"}}"#, "invalid IPC mode")
    },
    case(
        "a cgroup namespace mode that is none",
        r#"{"HostConfig":{"CgroupnsMode":"sideways"}}"#,
        "invalid cgroup namespace mode",
    ),
    Case {
        old: Some("it looks for a plugin of that name"),
        ..case(
            "a log driver that is none",
            r#"{"HostConfig":{"LogConfig":{"Type":"carrier-pigeon"}}}"#,
            "no log driver named 'carrier-pigeon' is registered",
        )
    },
    case(
        "a log option that is none",
        r#"{"HostConfig":{"LogConfig":{"Type":"json-file","Config":{"colour":"blue"}}}}"#,
        "unknown log opt 'colour' for json-file log driver",
    ),
    case(
        "an oom score out of range",
        r#"{"HostConfig":{"OomScoreAdj":5000}}"#,
        "range for oom score adj is [-1000, 1000]",
    ),
    case("negative shared memory", r#"{"HostConfig":{"ShmSize":-1}}"#, "SHM size can not be less than 0"),
    case(
        "a relative working directory",
        r#"{"WorkingDir":"some/dir"}"#,
        "the working directory 'some/dir' is invalid, it needs to be an absolute path",
    ),
    case("a variable without a name", r#"{"Env":["=x"]}"#, "invalid environment variable: =x"),
    case("a stop signal that is none", r#"{"StopSignal":"NOPE"}"#, "Invalid signal: NOPE"),
    Case {
        old: Some("it leaves this to its client"),
        ..case(
            "a hostname that is too long",
            r#"{"Hostname":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#,
            "is too long",
        )
    },
    case(
        "a hostname with the host's network namespace of another",
        r#"{"Hostname":"x","HostConfig":{"NetworkMode":"container:abc"}}"#,
        "conflicting options: hostname and the network mode",
    ),
];

pub(crate) fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = CREATE
        .iter()
        .map(|case| {
            Check::new(AREA, format!("create refuses {}", case.name), move |scope| refuse(scope, case))
        })
        .collect();
    checks.extend([
        Check::new(AREA, "create refuses a name with other characters", bad_name),
        Check::new(AREA, "create refuses a name that is taken", taken_name),
        Check::new(AREA, "create refuses an image without a command", no_command),
        Check::new(AREA, "start refuses an unknown user", unknown_user),
        Check::new(AREA, "start refuses a number of a user that is too large", huge_user),
        Check::new(AREA, "start refuses an unknown network", unknown_network),
        Check::new(AREA, "every route says No such container", unknown_container),
        Check::new(AREA, "a signal that is none is refused", bad_signal),
        Check::new(AREA, "a prefix of two containers is refused as ambiguous", ambiguous),
        Check::new(AREA, "numbers that are none are refused", bad_numbers),
        Check::new(AREA, "a body of 64 MiB does the engine no harm", huge_body),
        Check::new(AREA, "deeply nested JSON is refused and does the engine no harm", deep_json),
    ]);
    checks
}

fn refuse(scope: &Scope<'_>, case: &Case) -> Result<()> {
    let name = scope.name("refused");
    let mut body: Value = serde_json::from_str(case.body)?;
    for (key, value) in [("Image", json!(BUSYBOX)), ("Cmd", json!(["true"]))] {
        if body.get(key).is_none() {
            body[key] = value;
        }
    }
    let answer = scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?;
    if let Some(old) = case.old {
        scope.since_new_engines(old)?;
    }
    same("status", (answer.status, answer.message()).0, case.status)?;
    says("words", &answer.message(), case.words)?;
    same("a container of that name", scope.api("GET", &format!("/containers/{name}/json"))?.status, 404)
}

fn bad_name(scope: &Scope<'_>) -> Result<()> {
    let body = json!({ "Image": BUSYBOX, "Cmd": ["true"] });
    for name in ["-x", "a%20b", "x", "%C3%A4bc", "a%2Fb"] {
        let answer =
            scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(400)?;
        says(name, &answer.message(), "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")?;
    }
    Ok(())
}

fn taken_name(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("taken", &[], &["sleep", "300"])?;
    let body = json!({ "Image": BUSYBOX, "Cmd": ["true"] });
    let answer = scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(409)?;
    says(
        "words",
        &answer.message(),
        &format!("The container name \"/{name}\" is already in use by container"),
    )
}

fn no_command(scope: &Scope<'_>) -> Result<()> {
    let image = scope.name("commandless");
    let mut root = crate::tar::Writer::new(Vec::new());
    root.add("x", 0o644, &crate::tar::Kind::File(b"x"))?;
    scope.client().call_with_input(&["import", "-", &image], &root.finish()?)?.expect_code(0)?;
    let answer = scope.api_json("POST", "/containers/create", &json!({ "Image": image }))?;
    scope.ok(&["rmi", &image])?;
    let answer = answer.expect(400)?;
    says("words", &answer.message(), "no command specified")
}

fn unknown_user(scope: &Scope<'_>) -> Result<()> {
    let output = scope.run(&["-u", "nobody-knows"], &["true"])?;
    same("exit code", output.code, 125)?;
    says("stderr", &output.stderr, "unable to find user nobody-knows: no matching entries in passwd file")?;
    let output = scope.run(&["-u", "0:nobody-knows"], &["true"])?;
    says("stderr", &output.stderr, "unable to find group nobody-knows: no matching entries in group file")
}

fn huge_user(scope: &Scope<'_>) -> Result<()> {
    for user in ["4294967296", "2147483648", "-1:0"] {
        let output = scope.run(&["-u", user], &["id", "-u"])?;
        same(&format!("{user} ran as {:?}", output.stdout), output.code == 0, false)?;
    }
    Ok(())
}

fn unknown_network(scope: &Scope<'_>) -> Result<()> {
    let output = scope.run(&["--network", "no-such-network"], &["true"])?.expect_code(125)?;
    same("the image is looked for", output.stderr.contains("Unable to find image"), false)?;
    says("stderr", &output.stderr, "network no-such-network not found")
}

fn unknown_container(scope: &Scope<'_>) -> Result<()> {
    for (method, path) in [
        ("GET", "json"),
        ("GET", "logs?stdout=1"),
        ("POST", "start"),
        ("POST", "stop"),
        ("POST", "restart"),
        ("POST", "kill"),
        ("POST", "wait"),
        ("POST", "resize?h=1&w=1"),
        ("POST", "pause"),
        ("POST", "unpause"),
        ("POST", "rename?name=y"),
        ("GET", "top"),
        ("GET", "stats?stream=0"),
    ] {
        let answer = scope.api(method, &format!("/containers/nobody-has-this-name/{path}"))?;
        same(path, answer.status, 404)?;
        says(path, &answer.message(), "No such container: nobody-has-this-name")?;
    }
    Ok(())
}

fn bad_signal(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("signalled", &[], &["sleep", "300"])?;
    let answer = scope.api("POST", &format!("/containers/{name}/kill?signal=NOPE"))?.expect(400)?;
    says("words", &answer.message(), &format!("cannot kill container: {name}: Invalid signal: NOPE"))?;
    let answer = scope.api("POST", &format!("/containers/{name}/kill?signal=65"))?.expect(400)?;
    says("words", &answer.message(), "the linux daemon does not support signal 65")?;
    let shown = scope.inspect(&name)?["ImageManifestDescriptor"]["platform"]["os"].clone();
    same("the platform of its manifest", shown, json!("linux"))?;
    same("running", &scope.inspect(&name)?["State"]["Running"], &json!(true))
}

fn ambiguous(scope: &Scope<'_>) -> Result<()> {
    // Seventeen ids, sixteen first digits: two of them share one.
    let mut first: Vec<char> = Vec::new();
    for number in 0..17 {
        let name = scope.name(&format!("twin{number}"));
        let body = json!({ "Image": BUSYBOX, "Cmd": ["true"] });
        let created =
            scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(201)?.json()?;
        let digit = created["Id"].as_str().and_then(|id| id.chars().next()).unwrap_or('?');
        if first.contains(&digit) {
            let answer = scope.api("GET", &format!("/containers/{digit}/json"))?;
            same(
                "words",
                says("words", &answer.message(), "multiple IDs found with provided prefix").is_ok(),
                true,
            )?;
            scope.since_new_engines("it answers 404")?;
            return same("status", answer.status, 400);
        }
        first.push(digit);
    }
    anyhow::bail!("seventeen ids with different first digits: {first:?}")
}

fn bad_numbers(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("it calls some of them its own errors")?;
    let name = scope.start("numbers", &[], &["sleep", "300"])?;
    for (method, path) in [
        ("POST", format!("/containers/{name}/stop?t=soon")),
        ("GET", "/containers/json?limit=few".to_owned()),
        ("POST", format!("/containers/{name}/resize?h=x&w=1")),
    ] {
        same(&path, scope.api(method, &path)?.status, 400)?;
    }
    Ok(())
}

fn huge_body(scope: &Scope<'_>) -> Result<()> {
    let body = json!({ "Image": BUSYBOX, "Cmd": ["x".repeat(64 * 1024 * 1024)] });
    let name = scope.name("huge");
    // An engine may take it, refuse it, or close the connection while the body is still being written.
    if let Ok(answer) = scope.api_json("POST", &format!("/containers/create?name={name}"), &body) {
        same("status", matches!(answer.status, 201 | 400 | 413), true)?;
    }
    same("the engine lives", scope.api("GET", "/_ping")?.status, 200)
}

fn deep_json(scope: &Scope<'_>) -> Result<()> {
    let body = format!("{{\"Labels\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let request =
        crate::http::Request::new("POST", "/containers/create").body("application/json", body.into_bytes());
    if let Ok(answer) = request.send(&scope.engine.socket) {
        same("status", answer.status, 400)?;
    }
    same("the engine lives", scope.api("GET", "/_ping")?.status, 200)
}
