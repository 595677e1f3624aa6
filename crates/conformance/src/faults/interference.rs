//! Somebody else's hands: files of the data root that are gone or damaged, a ruleset that is flushed, a bridge that is
//! deleted, control groups that are removed. It is put right or told; one bad thing never keeps the others from being served.

use super::disks::call;
use super::ground::Ground;
use super::operations::{ask, end, running, service_that_ends};
use super::random::Random;
use super::{images, networks, parts, power, volumes};
use crate::fixture::BUSYBOX;
use crate::scope::eventually;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Deleted,
    Emptied,
    /// Some bytes in the middle are others.
    Garbled,
}

const DAMAGES: [Damage; 3] = [Damage::Deleted, Damage::Emptied, Damage::Garbled];

/// Tries all of it, files at most `limit` times; how much went wrong.
pub(super) fn run(ground: &mut Ground, limit: Option<usize>, random: &mut Random) -> Result<usize> {
    let mut failed = 0;
    for is_up in [false, true] {
        failed += files(ground, is_up, limit, random)?;
    }
    failed += parts::run(ground, WORLD, |ground, attempt| attempt(ground).map(|()| String::new()))?;
    Ok(failed)
}

/// Damages files of the data root one by one, with the daemon down or up.
fn files(ground: &mut Ground, is_up: bool, limit: Option<usize>, random: &mut Random) -> Result<usize> {
    furnish(ground)?;
    ground.daemon.stop()?;
    let root = ground.daemon.setup().data_root();
    let kept = root.with_file_name("data-kept");
    copy(&root, &kept)?;
    let mut targets: Vec<(PathBuf, Damage)> = victims(&root)?
        .into_iter()
        .flat_map(|path| DAMAGES.map(|damage| (path.clone(), damage)))
        .filter(|(path, damage)| *damage == Damage::Deleted || root.join(path).is_file())
        .collect();
    let total = targets.len();
    while limit.is_some_and(|limit| targets.len() > limit.max(1)) {
        targets.remove(random.below(targets.len()));
    }
    let (mut wrong, mut harmless, mut told, mut refused) = (0, 0, 0, 0);
    for (path, damage) in &targets {
        fs::remove_dir_all(&root)?;
        copy(&kept, &root)?;
        match attempt(ground, path, *damage, is_up) {
            Ok(Outcome::Harmless) => harmless += 1,
            Ok(Outcome::Told) => told += 1,
            Ok(Outcome::Refused) => refused += 1,
            Err(error) => {
                println!("FAILED  {} {damage:?}: {error:#}", path.display());
                wrong += 1;
            }
        }
        drop(ground.daemon.kill_hard());
    }
    fs::remove_dir_all(&root)?;
    fs::rename(&kept, &root)?;
    ground.revive()?;
    ground.api.clear()?;
    let (verdict, when) = (if wrong == 0 { "ok    " } else { "FAILED" }, if is_up { "up" } else { "down" });
    println!(
        "{verdict}  damage with the daemon {when}: {} of {total} tries: {harmless} harmless, {told} told, {refused} kept it \
         from starting until repaired, {wrong} wrong",
        targets.len()
    );
    Ok(wrong)
}

/// One of everything that the data root has files of.
fn furnish(ground: &Ground) -> Result<()> {
    let api = &ground.api;
    api.run_container("ended", &service_that_ends())?;
    images::import(api)?;
    networks::create(api)?;
    volumes::create(api, "kept")?;
    volumes::use_it(api, "kept")
}

/// Files and directories to damage, relative to the root. Of the inside of a layer or a snapshot, one file.
fn victims(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        let relative = directory.strip_prefix(root)?.to_owned();
        let is_inside = relative.starts_with("layers") && relative.components().count() >= 3;
        let mut entries: Vec<PathBuf> = fs::read_dir(&directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        entries.sort();
        if is_inside {
            entries.truncate(1);
        }
        if relative.as_os_str() == "removed" {
            // Nobody's any more, and gone as soon as a daemon has the time.
            entries.clear();
        }
        for path in entries {
            found.push(path.strip_prefix(root)?.to_owned());
            if path.is_dir() && !path.is_symlink() {
                pending.push(path);
            }
        }
    }
    Ok(found)
}

/// How a daemon took it.
enum Outcome {
    /// Everything works.
    Harmless,
    /// Something does not, and the daemon or `system check` says so.
    Told,
    /// The daemon does not start, and says what to do; then it does.
    Refused,
}

fn attempt(ground: &mut Ground, path: &Path, damage: Damage, is_up: bool) -> Result<Outcome> {
    let target = ground.daemon.setup().data_root().join(path);
    let said = ground.daemon.said();
    let mut refused = false;
    if is_up {
        ground.revive()?;
        damage_it(&target, damage)?;
    } else {
        damage_it(&target, damage)?;
        refused = !starts(ground)?;
    }
    let mut troubles = survey(ground);
    if damage != Damage::Deleted && path.to_string_lossy().ends_with("-json.log") {
        // Lines that are none are left out, as after a loss of power; nobody knows how many there were.
        troubles.retain(|trouble| !trouble.starts_with("logs:"));
    }
    ground.api.get("/_ping").context("the daemon has ended")?.expect(200)?;
    let report = ground.api.post("/berth/check?repair=0", &Value::Null)?;
    let told = !report.text().contains("\"Problems\":[]") || report.status != 200;
    if is_up {
        // It comes back all the same.
        ground.daemon.kill_hard()?;
        refused = !starts(ground)?;
    }
    if refused {
        return Ok(Outcome::Refused);
    }
    if troubles.is_empty() {
        return Ok(Outcome::Harmless);
    }
    let log = ground.daemon.said_since(said);
    let is_logged = log.contains("ERROR") || log.contains("WARN");
    ensure!(told || is_logged, "nothing is reported, and: {}", troubles.join("; "));
    mend(ground).with_context(|| format!("after {}", troubles.join("; ")))?;
    Ok(Outcome::Told)
}

fn damage_it(path: &Path, damage: Damage) -> Result<()> {
    match damage {
        Damage::Deleted if path.is_dir() && !path.is_symlink() => fs::remove_dir_all(path)?,
        Damage::Deleted => fs::remove_file(path)?,
        Damage::Emptied => fs::File::options().write(true).open(path)?.set_len(0)?,
        Damage::Garbled => {
            use std::os::unix::fs::FileExt;
            let file = fs::File::options().read(true).write(true).open(path)?;
            let middle = file.metadata()?.len() / 2;
            file.write_all_at(b"\xff{garbled}\0", middle)?;
        }
    }
    Ok(())
}

/// Starts the daemon, after a repair when it says that it needs one; whether it started without.
fn starts(ground: &mut Ground) -> Result<bool> {
    let Err(refusal) = ground.revive() else { return Ok(true) };
    let words = format!("{refusal:#}");
    ensure!(words.contains("system check"), "it does not start, and does not say what to do: {words}");
    let (_, text) = power::check(ground, &["--repair"])?;
    ground.revive().with_context(|| format!("after `system check --repair`: {text}"))?;
    Ok(false)
}

/// Uses all that there was; what does not work.
fn survey(ground: &Ground) -> Vec<String> {
    let api = &ground.api;
    let mut troubles = Vec::new();
    let mut note = |what: &str, outcome: Result<()>| {
        if let Err(error) = outcome {
            troubles.push(format!("{what}: {error:#}"));
        }
    };
    let get = |path: &str| api.get(path)?.expect(200).map(drop);
    for path in ["/containers/json?all=1&size=1", "/images/json?all=1", "/volumes", "/networks", "/info"] {
        note(path, get(path));
    }
    note("system df", get("/system/df"));
    note("inspect", get("/containers/ended/json"));
    note(
        "logs",
        api.logs("ended").and_then(|log| {
            ensure!(log == "hello\n", "a log of {log:?}");
            Ok(())
        }),
    );
    note("start", ask(api, "/containers/ended/start").and_then(|()| api.wait("ended").map(drop)));
    note("an image", images::try_out(api, images::SMALL));
    note("what tried it", api.remove("trial"));
    note("another image", images::try_out(api, BUSYBOX));
    note("a volume", volumes::use_it(api, "kept"));
    note("a network", networks::use_it(api));
    troubles
}

/// What cannot be used can be removed, and made again.
fn mend(ground: &Ground) -> Result<()> {
    ground.api.post("/berth/check?repair=1", &Value::Null)?.expect(200)?;
    ground.api.clear()?;
    let api = &ground.api;
    api.send(crate::http::Request::new("DELETE", &format!("/images/{BUSYBOX}?force=1")))?;
    api.load()?;
    images::try_out(api, BUSYBOX)?;
    images::import(api)?;
    images::try_out(api, images::SMALL)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().context("cp")?;
    ensure!(status.success(), "cp -a {}: {status}", from.display());
    Ok(())
}

/// What is done, and whether the daemon bears it.
type Interference = fn(&mut Ground) -> Result<()>;

/// What somebody else can do to the machine around the daemon.
const WORLD: &[(&str, Interference)] = &[
    ("the ruleset is flushed", flushed),
    ("the bridge is deleted", bridge_deleted),
    ("the control groups are removed", groups_removed),
    ("the run-time files of a container are deleted", run_time_files_deleted),
];

fn published() -> Value {
    json!({
        "Image": BUSYBOX,
        "Cmd": ["sh", "-c", "echo hello; exec httpd -f -p 80"],
        "ExposedPorts": { "80/tcp": {} },
        "HostConfig": { "PortBindings": { "80/tcp": [{ "HostPort": "38081" }] } },
    })
}

/// Whether somebody answers at the published port.
fn answers() -> Result<Option<()>> {
    Ok(std::net::TcpStream::connect(("127.0.0.1", 38081)).ok().map(drop))
}

fn flushed(ground: &mut Ground) -> Result<()> {
    ground.api.start("served", &published())?;
    eventually("an answer at the published port", answers)?;
    let before = rules()?;
    call("nft", &["flush", "ruleset"])?;
    let restored = eventually("the rules as they were", || Ok((rules()? == before).then_some(())));
    if let Err(error) = restored {
        let now = rules()?;
        let missing: Vec<&String> = before.iter().filter(|line| !now.contains(line)).collect();
        let added: Vec<&String> = now.iter().filter(|line| !before.contains(line)).collect();
        return Err(error.context(format!("missing {missing:?}, added {added:?}")));
    }
    eventually("an answer at the published port after the flush", answers)?;
    ground.api.remove("served")
}

/// The lines of the ruleset without what counts, in no order: chains come back in another one.
fn rules() -> Result<Vec<String>> {
    let output = Command::new("nft").args(["-s", "list", "ruleset"]).output()?;
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

fn bridge_deleted(ground: &mut Ground) -> Result<()> {
    let name =
        ground.api.get("/networks/bridge")?.expect(200)?.json()?["Options"]["com.docker.network.bridge.name"]
            .as_str()
            .context("the bridge's name")?
            .to_owned();
    call("ip", &["link", "delete", &name])?;
    ground.api.start("served", &published()).context("a start after the bridge was deleted")?;
    eventually("an answer at the published port", answers)?;
    ground.api.remove("served")
}

fn groups_removed(ground: &mut Ground) -> Result<()> {
    running(&ground.api, "grouped")?;
    let main = ground.api.state("grouped")?.unwrap_or_default()["Pid"].clone();
    let groups = fs::read_to_string(format!("/proc/{main}/cgroup"))?;
    end(&ground.api, "grouped")?;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
        if parent == Path::new("/") {
            continue;
        }
        let hierarchy = controllers.trim_start_matches("name=");
        let place = Path::new("/sys/fs/cgroup").join(hierarchy).join(parent.strip_prefix("/")?);
        // Other daemons of this machine may use it, and then it is not empty.
        drop(fs::remove_dir(place));
    }
    running(&ground.api, "grouped")?;
    end(&ground.api, "grouped")
}

fn run_time_files_deleted(ground: &mut Ground) -> Result<()> {
    running(&ground.api, "stripped")?;
    let inspected = ground.api.get("/containers/stripped/json")?.expect(200)?.json()?;
    let id = inspected["Id"].as_str().unwrap_or_default();
    let directory = ground.daemon.setup().exec_root().join("containers").join(id);
    fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
    ensure!(ground.api.status("stripped")? == "running", "it does not run any more");
    ground.api.exec("stripped", &["true"]).context("exec")?;
    end(&ground.api, "stripped")
}
