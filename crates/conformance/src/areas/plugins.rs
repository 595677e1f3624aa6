//! Volume plugins over a unix socket: honest ones, ones that hang, ones that lie.

use crate::check::{Check, contains, same};
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use testkit::{Lie, VolumePlugin};

const AREA: &str = "plugins";
const SOCKETS: &str = "/run/docker/plugins";
/// What nobody has to wait for who asks for something else.
const AT_ONCE: Duration = Duration::from_secs(3);

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(
            AREA,
            "a plugin's volume is made, mounted for its containers, unmounted and removed",
            life,
        ),
        Check::new(AREA, "a plugin is found by its file with an address", spec),
        Check::new(AREA, "volumes that only a plugin knows are listed and can be used", foreign),
        // While it hangs, a list of volumes takes as long as a plugin is waited for: other checks measure that.
        Check::new(AREA, "a plugin that hangs is a warning, an error, and keeps nobody else waiting", hangs)
            .alone(),
        Check::new(AREA, "what a plugin says falsely is refused, and no container starts with it", lies),
    ]
}

/// A plugin of this check's own.
struct Own {
    plugin: VolumePlugin,
    name: String,
    root: PathBuf,
}

fn own(scope: &Scope<'_>, word: &str) -> Result<Own> {
    fs::create_dir_all(SOCKETS)?;
    let name = scope.name(word);
    let root = scope.directory()?.join(word);
    fs::create_dir_all(&root)?;
    let plugin = VolumePlugin::start(&Path::new(SOCKETS).join(format!("{name}.sock")), &root);
    Ok(Own { plugin, name, root })
}

fn life(scope: &Scope<'_>) -> Result<()> {
    let own = own(scope, "plug")?;
    let volume = scope.name("v");
    scope.ok(&["volume", "create", "-d", &own.name, "-o", "colour=red", "--label", "a=b", &volume])?;
    same("options", own.plugin.options(&volume), json!({ "colour": "red" }))?;
    let found = scope.api("GET", &format!("/volumes/{volume}"))?.expect(200)?.json()?;
    same("driver", &found["Driver"], own.name.as_str())?;
    same("scope", &found["Scope"], "global")?;
    same("status", &found["Status"], &json!({ "kept": "by the test" }))?;
    same("labels", &found["Labels"], &json!({ "a": "b" }))?;
    let mount = format!("{volume}:/v");
    let user = scope.start("user", &["-v", &mount], &["sleep", "300"])?;
    same("mounted once", own.plugin.users(&volume), Some(1))?;
    scope.ok(&["exec", &user, "sh", "-c", "echo kept > /v/f"])?;
    same("its directory", fs::read_to_string(own.root.join(&volume).join("f"))?, "kept\n")?;
    let point = scope.inspect(&user)?["Mounts"][0].clone();
    same("inspect", (&point["Driver"], &point["Name"]), (&json!(own.name), &json!(volume)))?;
    let second = scope.start("second", &["-v", &mount], &["cat", "/v/f"])?;
    scope.ended(&second)?;
    same("read by a second", scope.ok(&["logs", &second])?, "kept")?;
    scope.eventually("the end of the second use", || {
        Ok((own.plugin.users(&volume) == Some(1)).then_some(()))
    })?;
    let used = scope.docker(&["volume", "rm", &volume])?;
    contains("in use", &used.stderr, "volume is in use")?;
    scope.ok(&["rm", "-f", &user, &second])?;
    same("unmounted", own.plugin.users(&volume), Some(0))?;
    scope.ok(&["volume", "rm", &volume])?;
    same("removed", own.plugin.users(&volume), None)?;
    let by_flag = scope.name("flag");
    let words = scope
        .script(&["--volume-driver", &own.name, "-v", &format!("{by_flag}:/v")], "echo x > /v/f; ls /v")?;
    same("--volume-driver", words, "f")?;
    same("made there", own.root.join(&by_flag).join("f").exists(), true)?;
    scope.ok(&["volume", "rm", &by_flag]).map(drop)
}

fn spec(scope: &Scope<'_>) -> Result<()> {
    let directory = Path::new("/etc/docker/plugins");
    fs::create_dir_all(directory)?;
    let socket = scope.directory()?.join("elsewhere.sock");
    let root = scope.directory()?.join("root");
    let plugin = VolumePlugin::start(&socket, &root);
    for (word, file, text) in [
        ("spec", "spec", format!("unix://{}\n", socket.display())),
        ("json", "json", format!("{{\"Name\":\"x\",\"Addr\":\"unix://{}\"}}", socket.display())),
    ] {
        let name = scope.name(word);
        let path = directory.join(format!("{name}.{file}"));
        fs::write(&path, text)?;
        let volume = scope.name(&format!("{word}-v"));
        let made = scope.docker(&["volume", "create", "-d", &name, &volume]);
        let removed = scope.docker(&["volume", "rm", &volume]);
        fs::remove_file(&path)?;
        same(word, made?.code, 0)?;
        same("removed", removed?.code, 0)?;
        same("asked", plugin.calls().contains(&format!("VolumeDriver.Remove {volume}")), true)?;
    }
    let name = scope.name("tcp");
    let path = directory.join(format!("{name}.spec"));
    fs::write(&path, "tcp://127.0.0.1:1\n")?;
    let refused = scope.docker(&["volume", "create", "-d", &name, &scope.name("x")]);
    fs::remove_file(&path)?;
    same("an address that is no socket", refused?.code, 1)
}

fn foreign(scope: &Scope<'_>) -> Result<()> {
    let own = own(scope, "plug")?;
    let (ours, others) = (scope.name("ours"), scope.name("others"));
    scope.ok(&["volume", "create", "-d", &own.name, &ours])?;
    fs::create_dir_all(own.root.join(&others))?;
    own.plugin.lie(
        "VolumeDriver.List",
        Some(Lie::Document(json!({ "Volumes": [
            { "Name": others, "Mountpoint": own.root.join(&others) },
            { "Name": ours, "Mountpoint": own.root.join(&ours) },
            { "Name": "" },
        ] }))),
    );
    let filter = format!("driver={}", own.name);
    let mut listed: Vec<String> =
        scope.ok(&["volume", "ls", "-q", "--filter", &filter])?.lines().map(str::to_owned).collect();
    listed.sort();
    same("listed", listed, [others.clone(), ours.clone()])?;
    let found = scope.api("GET", &format!("/volumes/{others}"))?.expect(200)?.json()?;
    same("inspected", &found["Driver"], own.name.as_str())?;
    scope.ok(&["volume", "rm", &ours]).map(drop)
}

fn hangs(scope: &Scope<'_>) -> Result<()> {
    let own = own(scope, "hung")?;
    let volume = scope.name("v");
    scope.ok(&["volume", "create", "-d", &own.name, &volume])?;
    for method in ["Get", "List", "Path"] {
        own.plugin.lie(&format!("VolumeDriver.{method}"), Some(Lie::Hang));
    }
    let began = Instant::now();
    let answer = scope.api("GET", &format!("/volumes/{volume}"))?;
    same("inspect", answer.status, 503)?;
    contains("words", &answer.message(), "no answer within")?;
    same("in time", began.elapsed() < Duration::from_secs(15), true)?;
    let list = scope.api("GET", "/volumes")?.expect(200)?.json()?;
    let names: Vec<&str> =
        list["Volumes"].as_array().into_iter().flatten().filter_map(|one| one["Name"].as_str()).collect();
    same("listed all the same", names.contains(&volume.as_str()), true)?;
    contains("with a warning", &list["Warnings"].to_string(), &own.name)?;
    let began = Instant::now();
    scope.api("GET", "/volumes")?.expect(200)?;
    same("not asked again at once", began.elapsed() < AT_ONCE, true)?;
    // Somebody waits for a mount that never comes; everybody else is served.
    own.plugin.lie("VolumeDriver.Mount", Some(Lie::Hang));
    let waiting = scope.name("waiting");
    let mount = format!("{volume}:/v");
    let words = ["run", "--pull", "never", "--name", &waiting, "-v", &mount, crate::fixture::BUSYBOX, "true"];
    std::thread::scope(|threads| -> Result<()> {
        let waits = threads.spawn(move || scope.docker(&words));
        let asked = format!("VolumeDriver.Mount {volume}");
        scope.eventually("the call", || Ok(own.plugin.calls().contains(&asked).then_some(())))?;
        let began = Instant::now();
        scope.ok(&["ps", "-a"])?;
        scope.script(&["-v", "/anonymous"], "true")?;
        same("others are served", began.elapsed() < AT_ONCE * 3, true)?;
        own.plugin.lie("VolumeDriver.Mount", None);
        let output = waits.join().map_err(|_| anyhow::anyhow!("a thread of the check"))??;
        same("the one that waited is told", output.code == 0, false)?;
        contains("words", &output.stderr, "no answer within")
    })?;
    for method in ["Get", "List", "Path"] {
        own.plugin.lie(&format!("VolumeDriver.{method}"), None);
    }
    scope.ok(&["rm", "-f", &waiting]).ok();
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn lies(scope: &Scope<'_>) -> Result<()> {
    let own = own(scope, "liar")?;
    let volume = scope.name("v");
    scope.ok(&["volume", "create", "-d", &own.name, &volume])?;
    let mount = format!("{volume}:/v");
    let nowhere = scope.directory()?.join("nowhere").display().to_string();
    let long = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b' '; 2 << 20]].concat();
    for (what, lie, words) in [
        ("relative", Lie::Document(json!({ "Mountpoint": "etc" })), "which is no absolute path"),
        ("nowhere", Lie::Document(json!({ "Mountpoint": nowhere })), "no such file or directory"),
        ("refusal", Lie::Document(json!({ "Err": "the disk is on fire" })), "the disk is on fire"),
        ("no JSON", Lie::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<x>".to_vec()), "cannot be read"),
        ("no HTTP", Lie::Raw(b"220 ready\r\n\r\n".to_vec()), "no http"),
        ("cut off", Lie::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{".to_vec()), "hung up"),
        ("no end", Lie::Raw(long), "more than"),
    ] {
        own.plugin.lie("VolumeDriver.Mount", Some(lie));
        let name = scope.name("refused");
        let output = scope.docker(&[
            "run",
            "--pull",
            "never",
            "--name",
            &name,
            "-v",
            &mount,
            crate::fixture::BUSYBOX,
            "true",
        ])?;
        same(what, output.code == 0, false)?;
        contains(what, &output.stderr.to_lowercase(), words)?;
        scope.docker(&["rm", "-f", &name])?;
    }
    own.plugin.lie("VolumeDriver.Mount", None);
    own.plugin.lie("VolumeDriver.Get", Some(Lie::Document(json!({ "Volume": { "Name": "another" } }))));
    let answer = scope.api("GET", &format!("/volumes/{volume}"))?;
    same("another's volume", answer.status, 404)?;
    own.plugin.lie("VolumeDriver.Remove", Some(Lie::Document(json!({ "Err": "never" }))));
    let kept = scope.docker(&["volume", "rm", &volume])?;
    contains("a refused removal", &kept.stderr, "never")?;
    scope.ok(&["volume", "rm", "-f", &volume])?;
    let not = scope.api_json("POST", "/volumes/create", &json!({ "Name": "x", "Driver": "../../tmp/x" }))?;
    same("a name that leads elsewhere", not.status, 404)?;
    let activated = own.plugin.calls();
    activated.first().filter(|call| *call == "Plugin.Activate").map(drop).context("activated first")
}
