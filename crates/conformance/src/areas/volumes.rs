//! Volumes: options of the local driver, filters, removal and pruning.

use crate::check::{Check, contains, same, says};
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;

const AREA: &str = "volumes";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "a volume of memory has its size and is empty after its last container", memory),
        Check::new(AREA, "a volume that is a bind shows the directory, also read-only", bind),
        Check::new(AREA, "a volume with options is mounted once for all its containers", shared),
        Check::new(AREA, "options of the local driver are refused in its words", bad_options),
        Check::new(AREA, "a volume that cannot be mounted keeps its container from starting", unmountable),
        Check::new(AREA, "nfs and cifs that cannot be are refused with what the matter is", over_the_network),
        Check::new(AREA, "volume-opt makes a volume with options", volume_opt),
        Check::new(AREA, "one name is one volume: the second creation answers with the first", again),
        Check::new(AREA, "names of volumes that could lead elsewhere are refused", names),
        Check::new(AREA, "volumes are listed by dangling, driver, label and name", filters),
        Check::new(AREA, "a volume in use stays, forced or not; one that is missing may be forced", in_use),
        Check::new(
            AREA,
            "prune takes anonymous volumes, with all=1 named ones, and those with labels",
            prune,
        ),
        Check::new(AREA, "cp into a container that does not run reaches its volume's mount", copied),
    ]
}

/// A volume with these options of the local driver.
fn create(scope: &Scope<'_>, word: &str, options: &[&str]) -> Result<String> {
    let name = scope.name(word);
    let mut arguments = vec!["volume", "create"];
    options.iter().for_each(|option| arguments.extend(["-o", option]));
    arguments.push(&name);
    same("its name", scope.ok(&arguments)?, name.as_str())?;
    Ok(name)
}

fn memory(scope: &Scope<'_>) -> Result<()> {
    let volume = create(scope, "mem", &["type=tmpfs", "device=tmpfs", "o=size=1m,uid=1234,mode=0750"])?;
    let mount = format!("{volume}:/v");
    let script = "df -k /v | tail -1 | tr -s ' ' | cut -d' ' -f1,2; stat -c '%u %a' /v; echo x > /v/f; ls /v";
    same("inside", scope.script(&["-v", &mount], script)?, "tmpfs 1024\n1234 750\nf")?;
    same("its content is gone", scope.script(&["-v", &mount], "ls /v")?, "")?;
    let options = &scope.api("GET", &format!("/volumes/{volume}"))?.json()?["Options"];
    same(
        "options",
        options,
        &json!({ "type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=1234,mode=0750" }),
    )?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn bind(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.join("bound");
    fs::create_dir_all(&here)?;
    fs::write(here.join("f"), "host\n")?;
    let device = format!("device={}", here.display());
    let volume = create(scope, "bound", &["type=none", "o=bind", &device])?;
    let mount = format!("{volume}:/v");
    same("inside", scope.script(&["-v", &mount], "cat /v/f; echo w > /v/w")?, "host")?;
    same("on the host", fs::read_to_string(here.join("w"))?, "w\n")?;
    scope.ok(&["volume", "rm", &volume])?;
    same("the directory stays", here.join("f").exists(), true)?;
    let volume = create(scope, "fixed", &["type=none", "o=bind,ro", &device])?;
    let mount = format!("{volume}:/v");
    let script = "cat /v/f; echo x > /v/x || echo refused";
    same("read-only", scope.script(&["-v", &mount], script)?, "host\nrefused")?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn shared(scope: &Scope<'_>) -> Result<()> {
    let volume = create(scope, "shared", &["type=tmpfs", "device=tmpfs"])?;
    let mount = format!("{volume}:/v");
    let first = scope.start("first", &["-v", &mount], &["sleep", "300"])?;
    scope.ok(&["exec", &first, "sh", "-c", "echo one > /v/f"])?;
    same("the second sees it", scope.script(&["-v", &mount], "cat /v/f; echo two > /v/f")?, "one")?;
    same("and the first", scope.ok(&["exec", &first, "cat", "/v/f"])?, "two")?;
    scope.ok(&["restart", "-t", "0", &first])?;
    same("nobody used it", scope.ok(&["exec", &first, "ls", "/v"])?, "")?;
    scope.ok(&["rm", "-f", &first])?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn refused(scope: &Scope<'_>, body: &Value, status: u16, words: &str) -> Result<()> {
    let answer = scope.api_json("POST", "/volumes/create", body)?;
    same(words, answer.status, status)?;
    says("words", &answer.message(), words)
}

fn bad_options(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("refused");
    for (options, words) in [
        (json!({ "colour": "red" }), "invalid option: \"colour\""),
        (json!({ "type": "tmpfs" }), "missing required option: \"device\""),
        (json!({ "device": "/dev/null" }), "missing required option: \"type\""),
    ] {
        let body = json!({ "Name": name, "DriverOpts": options });
        refused(scope, &body, 400, &format!("create {name}: {words}"))?;
    }
    same("nothing was made", scope.api("GET", &format!("/volumes/{name}"))?.status, 404)
}

fn unmountable(scope: &Scope<'_>) -> Result<()> {
    let missing = scope.directory()?.join("missing");
    let device = format!("device={}", missing.display());
    for (word, options, words) in [
        ("nowhere", ["type=none", "o=bind", device.as_str()], "no such file or directory"),
        ("nofs", ["type=no-such-file-system", "o=ro", "device=/dev/null"], "no such device"),
    ] {
        let volume = create(scope, word, &options)?;
        let output = scope.run(&["-v", &format!("{volume}:/v")], &["true"])?;
        same("exit code", output.code == 0, false)?;
        contains("words", &output.stderr, "failed to mount local volume: mount ")?;
        contains("reason", &output.stderr, words)?;
        scope.ok(&["volume", "rm", &volume])?;
    }
    Ok(())
}

/// A kernel without the file system says so; one that has it says that nobody serves it here.
fn over_the_network(scope: &Scope<'_>) -> Result<()> {
    let known = fs::read_to_string("/proc/filesystems")?;
    for (kind, device, options) in [
        ("nfs", "device=:/export", "o=addr=127.0.0.1,rw,nfsvers=4,soft,timeo=1,retrans=1"),
        ("nfs4", "device=:/export", "o=addr=127.0.0.1,rw,soft,timeo=1,retrans=1"),
        ("cifs", "device=//127.0.0.1/share", "o=addr=127.0.0.1,username=a,password=b"),
    ] {
        let volume = create(scope, kind, &[&format!("type={kind}"), device, options])?;
        let output = scope.run(&["-v", &format!("{volume}:/v")], &["true"])?;
        same("exit code", output.code == 0, false)?;
        contains("words", &output.stderr, "failed to mount local volume: mount ")?;
        let is_known = known.lines().any(|line| line.split_whitespace().last() == Some(kind));
        if !is_known && !scope.engine.is_old() && output.stderr.contains("no such device") {
            contains("reason", &output.stderr, &format!("this kernel has no file system \"{kind}\""))?;
        }
        same(
            "shown",
            &scope.api("GET", &format!("/volumes/{volume}"))?.json()?["Options"]["type"],
            &json!(kind),
        )?;
        scope.ok(&["volume", "rm", &volume])?;
    }
    let body = json!({ "Name": scope.name("url"), "DriverOpts":
        { "type": "cifs", "device": "//127.0.0.1:445/share", "o": "username=a" } });
    let words = "port not allowed in CIFS device URL, include 'port' in 'o='";
    refused(scope, &body, 400, &format!("create {}: {words}", scope.name("url")))?;
    let unknown = create(scope, "unknown", &["type=nfs", "device=:/e", "o=addr=no-such-server.invalid"])?;
    let output = scope.run(&["-v", &format!("{unknown}:/v")], &["true"])?;
    contains("its server", &output.stderr, "error resolving passed in network volume address")
}

fn volume_opt(scope: &Scope<'_>) -> Result<()> {
    let volume = scope.name("opt");
    let mount = format!(
        "type=volume,src={volume},dst=/v,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs,\"volume-opt=o=size=2m,nr_inodes=100\",volume-label=made=here"
    );
    let script = "df -k /v | tail -1 | tr -s ' ' | cut -d' ' -f1,2";
    same("inside", scope.script(&["--mount", &mount], script)?, "tmpfs 2048")?;
    let found = scope.api("GET", &format!("/volumes/{volume}"))?.json()?;
    same("options", &found["Options"]["o"], &json!("size=2m,nr_inodes=100"))?;
    same("labels", &found["Labels"], &json!({ "made": "here" }))?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn again(scope: &Scope<'_>) -> Result<()> {
    let volume = scope.name("twice");
    let make = |label: &str| {
        let body = json!({ "Name": volume, "Labels": { "which": label } });
        scope.api_json("POST", "/volumes/create", &body)
    };
    same("first", make("first")?.status, 201)?;
    let second = make("second")?;
    same("second", second.status, 201)?;
    same("labels", &second.json()?["Labels"], &json!({ "which": "first" }))?;
    let body = json!({ "Name": volume, "Driver": "no-such-driver" });
    let answer = scope.api_json("POST", "/volumes/create", &body)?;
    contains("another driver", &answer.message(), "plugin \"no-such-driver\" not found")?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn names(scope: &Scope<'_>) -> Result<()> {
    for name in ["../up", "a/b", ".hidden", "..", "-dash", "a\u{0}b", "a b", "ä"] {
        let answer = scope.api_json("POST", "/volumes/create", &json!({ "Name": name }))?;
        same(name, answer.status, 400)?;
        contains(name, &answer.message(), "invalid characters for a local volume name")?;
    }
    let answer = scope.api_json("POST", "/volumes/create", &json!({ "Name": "x" }))?.expect(400)?;
    contains("one letter", &answer.message(), "volume name is too short")?;
    for source in ["../up", "a/b", "."] {
        let bind = format!("{source}:/v");
        let body = json!({ "Image": BUSYBOX, "HostConfig": { "Binds": [bind] } });
        let answer = scope.api_json("POST", "/containers/create", &body)?;
        same(source, answer.status, 400)?;
    }
    let long = "a".repeat(256);
    let answer = scope.api_json("POST", "/volumes/create", &json!({ "Name": long }))?;
    same("a name that no file can have", answer.status >= 400, true)
}

fn filters(scope: &Scope<'_>) -> Result<()> {
    let (one, two) = (scope.name("filter-one"), scope.name("filter-two"));
    scope.ok(&["volume", "create", "--label", "colour=red", "--label", "plain", &one])?;
    scope.ok(&["volume", "create", "--label", "colour=blue", &two])?;
    let user = scope.start("user", &["-v", &format!("{one}:/v")], &["sleep", "300"])?;
    let list = |filters: &[&str]| -> Result<String> {
        let mut arguments = vec!["volume", "ls", "-q", "--filter"];
        let name = format!("name={}", scope.name("filter-"));
        arguments.push(&name);
        filters.iter().for_each(|filter| arguments.extend(["--filter", filter]));
        Ok(scope
            .ok(&arguments)?
            .lines()
            .map(|line| line.rsplit('-').next().unwrap_or(""))
            .collect::<Vec<_>>()
            .join(" "))
    };
    for (filters, expected) in [
        (&[][..], "one two"),
        (&["label=colour"], "one two"),
        (&["label=colour=red"], "one"),
        (&["label=colour=red", "label=plain"], "one"),
        (&["label=none"], ""),
        (&["driver=local"], "one two"),
        (&["driver=other"], ""),
        (&["dangling=true"], "two"),
        (&["dangling=false"], "one"),
        (&["name=two"], "one two"),
    ] {
        same(&format!("{filters:?}"), list(filters)?, expected)?;
    }
    let unknown = scope.api("GET", "/volumes?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D")?;
    same("unknown filter", unknown.status, 400)?;
    says("words", &unknown.message(), "invalid filter 'colour'")?;
    scope.ok(&["rm", "-f", &user])?;
    scope.ok(&["volume", "rm", &one, &two]).map(drop)
}

fn in_use(scope: &Scope<'_>) -> Result<()> {
    let volume = create(scope, "used", &[])?;
    let user = scope.start("user", &["-v", &format!("{volume}:/v")], &["sleep", "300"])?;
    let id = scope.inspect(&user)?["Id"].as_str().unwrap_or_default().to_owned();
    for query in ["", "?force=1"] {
        let answer = scope.api("DELETE", &format!("/volumes/{volume}{query}"))?;
        same("status", answer.status, 409)?;
        says("words", &answer.message(), &format!("remove {volume}: volume is in use - [{id}]"))?;
    }
    scope.ok(&["rm", "-f", &user])?;
    scope.ok(&["volume", "rm", &volume])?;
    let missing = scope.docker(&["volume", "rm", &volume])?;
    same("missing", missing.code, 1)?;
    contains("words", &missing.stderr, "no such volume")?;
    scope.ok(&["volume", "rm", "-f", &volume]).map(drop)
}

fn prune(scope: &Scope<'_>) -> Result<()> {
    let label = format!("label={}", scope.name("mine"));
    let mark = scope.name("mine");
    let make = |word: &str, more: &[&str]| -> Result<String> {
        let name = scope.name(word);
        let mut arguments = vec!["volume", "create", "--label", &mark];
        arguments.extend(more);
        arguments.push(&name);
        scope.ok(&arguments)?;
        Ok(name)
    };
    let kept = make("kept", &["--label", "keep=yes"])?;
    let lost = make("lost", &[])?;
    let anonymous = scope.ok(&["volume", "create", "--label", &mark])?;
    let exists =
        |name: &str| -> Result<bool> { Ok(scope.api("GET", &format!("/volumes/{name}"))?.status == 200) };
    scope.ok(&["volume", "prune", "-f", "--filter", &label])?;
    same("anonymous", (exists(&anonymous)?, exists(&lost)?), (false, true))?;
    let user = scope.start("user", &["-v", &format!("{lost}:/v")], &["sh", "-c", "echo content > /v/f"])?;
    scope.ended(&user)?;
    let all = ["volume", "prune", "-af", "--filter", &label, "--filter", "label!=keep=yes"];
    scope.ok(&all)?;
    same("used", (exists(&lost)?, exists(&kept)?), (true, true))?;
    scope.ok(&["rm", &user])?;
    let words = scope.ok(&all)?;
    contains("deleted", &words, &lost)?;
    contains("reclaimed", &words, "Total reclaimed space: ")?;
    same("unused", (exists(&lost)?, exists(&kept)?), (false, true))?;
    scope.ok(&["volume", "rm", &kept]).map(drop)
}

fn copied(scope: &Scope<'_>) -> Result<()> {
    let there = scope.directory()?.join("there");
    fs::create_dir_all(&there)?;
    let device = format!("device={}", there.display());
    let volume = create(scope, "copied", &["type=none", "o=bind", &device])?;
    let container = scope.name("holder");
    scope.ok(&["create", "--name", &container, "-v", &format!("{volume}:/v"), BUSYBOX, "true"])?;
    let file = scope.directory()?.join("file");
    fs::write(&file, "copied\n")?;
    scope.ok(&["cp", &file.display().to_string(), &format!("{container}:/v/f")])?;
    same("in the directory", fs::read_to_string(there.join("f"))?, "copied\n")?;
    scope.ok(&["rm", &container])?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}
