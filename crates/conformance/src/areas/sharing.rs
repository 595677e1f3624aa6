//! What containers take over from each other and from images: volumes, parts of volumes, memory, files.

use crate::check::{Check, contains, same, says, skip};
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;

const AREA: &str = "sharing";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "--volumes-from takes volumes and binds over, also read-only", volumes_from),
        Check::new(AREA, "--volumes-from gives way to the container's own mounts", precedence),
        Check::new(AREA, "an anonymous volume stays while a second container has it", lifetime),
        Check::new(AREA, "--volumes-from of nothing, or with a bad mode, is refused", bad_lenders),
        Check::new(AREA, "a part of a volume is mounted, and only what is inside it", subpath),
        Check::new(AREA, "--mount type=image shows an image's files, read-only", image),
        Check::new(AREA, "--ipc container: shares memory and queues", ipc),
        Check::new(AREA, "--ipc container: of one that does not share is refused", private_ipc),
        Check::new(AREA, "--storage-opt is refused where there is no quota", storage_opt),
    ]
}

fn volumes_from(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.to_owned();
    fs::write(here.join("f"), "bound\n")?;
    let (volume, bind) = (format!("{}:/named", scope.name("v")), format!("{}:/bound:ro", here.display()));
    let lender =
        scope.start("lender", &["-v", &volume, "-v", &bind, "-v", "/anonymous"], &["sleep", "300"])?;
    let fill = "echo n > /named/f; echo a > /anonymous/f";
    scope.ok(&["exec", &lender, "sh", "-c", fill])?;
    let read = "cat /named/f /anonymous/f /bound/f; echo w > /named/w && echo written; echo x > /bound/x || echo refused";
    same("writable", scope.script(&["--volumes-from", &lender], read)?, "n\na\nbound\nwritten\nrefused")?;
    let read_only = format!("{lender}:ro");
    let words =
        scope.script(&["--volumes-from", &read_only], "cat /named/w; echo x > /named/x || echo refused")?;
    same("read-only", words, "w\nrefused")?;
    let borrower = scope.start("borrower", &["--volumes-from", &read_only], &["sleep", "300"])?;
    let inspect = scope.inspect(&borrower)?;
    same("request", &inspect["HostConfig"]["VolumesFrom"], &json!([read_only]))?;
    let mut mounts: Vec<(&str, bool)> = inspect["Mounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|mount| (mount["Destination"].as_str().unwrap_or_default(), mount["RW"] == true))
        .collect();
    mounts.sort_unstable();
    same("mounts", mounts, [("/anonymous", false), ("/bound", false), ("/named", false)])?;
    scope.ok(&["rm", "-fv", &borrower, &lender])?;
    scope.ok(&["volume", "rm", &scope.name("v")]).map(drop)
}

fn precedence(scope: &Scope<'_>) -> Result<()> {
    let lender =
        scope.start("lender", &["-v", "/shared"], &["sh", "-c", "echo lent > /shared/f; sleep 300"])?;
    scope.eventually("the file", || {
        Ok((scope.docker(&["exec", &lender, "cat", "/shared/f"])?.stdout == "lent\n").then_some(()))
    })?;
    let flags = ["--volumes-from", lender.as_str(), "--tmpfs", "/other"];
    same("lent", scope.script(&flags, "cat /shared/f; ls /other")?, "lent")?;
    let own = format!("{}:/shared", scope.name("own"));
    let flags = ["--volumes-from", lender.as_str(), "-v", own.as_str()];
    same("its own", scope.script(&flags, "ls /shared")?, "")?;
    scope.ok(&["volume", "rm", &scope.name("own")]).map(drop)
}

fn lifetime(scope: &Scope<'_>) -> Result<()> {
    let lender = scope.start("lender", &["-v", "/kept"], &["sh", "-c", "echo k > /kept/f"])?;
    scope.ended(&lender)?;
    let volume = scope.inspect(&lender)?["Mounts"][0]["Name"].as_str().unwrap_or_default().to_owned();
    let borrower = scope.name("borrower");
    scope.ok(&["create", "--name", &borrower, "--volumes-from", &lender, BUSYBOX, "cat", "/kept/f"])?;
    scope.ok(&["rm", "-v", &lender])?;
    same("still there", scope.ok(&["start", "-a", &borrower])?, "k")?;
    scope.ok(&["rm", "-v", &borrower])?;
    same("gone", scope.api("GET", &format!("/volumes/{volume}"))?.status, 404)
}

fn create(scope: &Scope<'_>, host: &Value) -> Result<(u16, String)> {
    let body = json!({ "Image": BUSYBOX, "Cmd": ["true"], "HostConfig": host });
    let answer =
        scope.api_json("POST", &format!("/containers/create?name={}", scope.name("refused")), &body)?;
    Ok((answer.status, answer.message()))
}

fn bad_lenders(scope: &Scope<'_>) -> Result<()> {
    let (status, words) = create(scope, &json!({ "VolumesFrom": ["no-such-container"] }))?;
    same("unknown", status, 400)?;
    says("words", &words, "No such container: no-such-container")?;
    let lender = scope.start("lender", &[], &["sleep", "300"])?;
    for mode in ["upside-down", "rshared", "nocopy"] {
        let (status, words) = create(scope, &json!({ "VolumesFrom": [format!("{lender}:{mode}")] }))?;
        if status == 500 {
            scope.since_new_engines("its status is 500")?;
        }
        same(mode, status, 400)?;
        says("words", &words, &format!("invalid mode: {mode}"))?;
    }
    Ok(())
}

fn subpath(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("it has no parts of volumes")?;
    let volume = scope.name("parts");
    let whole = format!("{volume}:/v");
    scope.script(
        &["-v", &whole],
        "mkdir -p /v/a/b; echo x > /v/a/b/f; echo y > /v/file; ln -s / /v/out; ln -s a/b /v/in",
    )?;
    let mount = |part: &str| format!("type=volume,src={volume},dst=/part,volume-subpath={part}");
    same("directory", scope.script(&["--mount", &mount("a/b")], "ls /part; cat /part/f")?, "f\nx")?;
    same("file", scope.script(&["--mount", &mount("file")], "cat /part")?, "y")?;
    same("a link inside", scope.script(&["--mount", &mount("in")], "cat /part/f")?, "x")?;
    // A link out of the volume leads to the volume itself at most.
    let out = scope.run(&["--mount", &mount("out")], &["ls", "/part"])?;
    same("a link outside", out.stdout.contains("proc"), false)?;
    let missing = scope.run(&["--mount", &mount("none")], &["true"])?;
    same("missing", missing.code == 0, false)?;
    contains("words", &missing.stderr, "no such file or directory")?;
    let body = json!([{ "Type": "volume", "Source": volume, "Target": "/part", "VolumeOptions": { "Subpath": "../x" } }]);
    let (status, words) = create(scope, &json!({ "Mounts": body }))?;
    same("outside", status, 400)?;
    says("words", &words, "subpath must be a relative path within the volume")?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn image(scope: &Scope<'_>) -> Result<()> {
    scope.since_new_engines("it has no image mounts")?;
    // An image of two layers.
    let name = scope.start("layered", &[], &["sh", "-c", "mkdir /opt; echo top > /opt/f; rm /etc/group"])?;
    scope.ended(&name)?;
    let tag = format!("{}:1", scope.name("mounted"));
    scope.ok(&["commit", &name, &tag])?;
    let mount = format!("type=image,source={tag},target=/image");
    let script = "cat /image/opt/f; ls /image/etc/passwd; test ! -e /image/etc/group && echo gone; echo x > /image/x || echo refused";
    let flags = ["--mount", mount.as_str()];
    same("both layers", scope.script(&flags, script)?, "top\n/image/etc/passwd\ngone\nrefused")?;
    let part = format!("type=image,source={tag},target=/part,image-subpath=opt");
    same("a part", scope.script(&["--mount", &part], "ls /part; cat /part/f")?, "f\ntop")?;
    let single = format!("type=image,source={BUSYBOX},target=/image");
    same("one layer", scope.script(&["--mount", &single], "ls /image/etc/passwd")?, "/image/etc/passwd")?;
    let user = scope.start("user", &flags, &["sleep", "300"])?;
    same("in use", scope.docker(&["rmi", &tag])?.code, 1)?;
    let points = &scope.inspect(&user)?["Mounts"][0];
    same(
        "inspect",
        (&points["Type"], &points["Destination"], &points["RW"]),
        (&json!("image"), &json!("/image"), &json!(false)),
    )?;
    scope.ok(&["rm", "-f", &user])?;
    scope.ok(&["rmi", &tag])?;
    let missing = scope.run(&["--mount", "type=image,source=no-such-image:1,target=/x"], &["true"])?;
    contains("missing", &missing.stderr, "No such image: no-such-image:1")
}

fn ipc(scope: &Scope<'_>) -> Result<()> {
    let donor =
        scope.start("donor", &["--ipc", "shareable"], &["sh", "-c", "echo m > /dev/shm/f; sleep 300"])?;
    let mode = format!("container:{donor}");
    let script = "readlink /proc/self/ns/ipc; cat /dev/shm/f; echo back > /dev/shm/g";
    scope.eventually("the file", || {
        Ok((scope.docker(&["exec", &donor, "cat", "/dev/shm/f"])?.stdout == "m\n").then_some(()))
    })?;
    let own = scope.ok(&["exec", &donor, "readlink", "/proc/self/ns/ipc"])?;
    same("memory", scope.script(&["--ipc", &mode], script)?, format!("{own}\nm"))?;
    same("back", scope.ok(&["exec", &donor, "cat", "/dev/shm/g"])?, "back")?;
    let joined = scope.start("joined", &["--ipc", &mode], &["sleep", "300"])?;
    contains(
        "inspect",
        scope.inspect(&joined)?["HostConfig"]["IpcMode"].as_str().unwrap_or_default(),
        "container:",
    )
}

fn private_ipc(scope: &Scope<'_>) -> Result<()> {
    let donor = scope.start("donor", &["--ipc", "private"], &["sleep", "300"])?;
    let refused = scope.run(&["--ipc", &format!("container:{donor}")], &["true"])?;
    same("refused", refused.code == 0, false)?;
    says("words", &refused.stderr, "non-shareable IPC")?;
    let ended = scope.start("ended", &["--ipc", "shareable"], &["true"])?;
    scope.ended(&ended)?;
    let refused = scope.run(&["--ipc", &format!("container:{ended}")], &["true"])?;
    same("one that has ended", refused.code == 0, false)
}

fn storage_opt(scope: &Scope<'_>) -> Result<()> {
    let (status, words) = create(scope, &json!({ "StorageOpt": { "size": "1G" } }))?;
    if status == 201 {
        return Err(skip("this engine's file system has quotas"));
    }
    contains("words", &words, "--storage-opt is supported only for")
}
