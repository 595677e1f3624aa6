//! Limits of disk space, on an ext4 of the check's own that holds projects to theirs. Few kernels have what that takes: the
//! area is run when it is named, as the virtual machine does.

use super::doors::in_a_box;
use crate::check::{Check, same, skip};
use crate::scope::Scope;
use anyhow::Result;

pub(crate) const AREA: &str = "quotas";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(
            AREA,
            "--storage-opt size= is what a container may write, and the others are free",
            containers,
        ),
        Check::new(AREA, "a limit stays when the daemon comes back, and goes with its container", restarted),
        Check::new(AREA, "a volume's size is what may be written into it", volumes),
        Check::new(AREA, "overlay2.size is the limit of whoever asks for none", by_default),
    ]
}

/// A daemon on a disk of 512 MB (256 are kept free), and an image `bb`; `fill FILE` in a container writes 16 MB, or tells how much it could.
const PRELUDE: &str = r#"
    truncate -s 512M disk.img; mkdir disk
    mkfs.ext4 -q -F -O quota,project -E quotatype=prjquota disk.img || exit 77
    mount -o loop,prjquota disk.img disk || exit 77
    mkdir -p root/bin; cp "$bb" root/bin/busybox
    for name in sh cat dd stat rm; do ln -s busybox root/bin/$name; done
    cat > root/bin/fill <<'END'
#!/bin/sh
dd if=/dev/zero of=$1 bs=65536 count=256 2>/tmp/said && { echo all; exit; }
size=$(stat -c %s $1)
# Whether it is called a full disk or a used-up quota depends on the file system.
[ $size -gt 4000000 ] && [ $size -le 8388608 ] && echo limited || { echo $size; cat /tmp/said; }
END
    chmod 755 root/bin/fill
    begin() { up --bridge none --data-root $dir/disk --cgroup-parent /berth-check-$(basename $dir) "$@"; }
    run() { "$d" run --net none --tmpfs /tmp "$@"; }
    quiet() { "$d" "$@" > /dev/null; }
    begin
    "$bb" tar -C root -c . | "$d" import - bb > /dev/null"#;

fn script(scope: &Scope<'_>, script: &str) -> Result<String> {
    let end = "down; umount disk || { sleep 1; umount disk; }";
    let output = in_a_box(scope, &format!("{PRELUDE}\n{script}\n{end}"))?;
    if output.code == 77 {
        return Err(skip("no ext4 with project quotas can be made and mounted here"));
    }
    same(&output.stderr.clone(), output.code, 0)?;
    Ok(output.stdout)
}

fn containers(scope: &Scope<'_>) -> Result<()> {
    let said = script(
        scope,
        r#"run --rm --storage-opt size=8m bb fill /file
        run --rm bb fill /file
        run -d --name limited --storage-opt size=8m bb sh -c 'fill /file; busybox sleep 300' > /dev/null
        for i in $(seq 200); do "$d" logs limited | grep -q . && break; sleep 0.05; done
        "$d" logs limited
        "$d" exec limited sh -c 'rm /file && fill /again'
        "$d" inspect --format '{{.HostConfig.StorageOpt.size}}' limited
        quiet rm -f limited"#,
    )?;
    let limited = "limited\n";
    same("said", said, format!("{limited}all\n{limited}{limited}8m\n"))
}

fn restarted(scope: &Scope<'_>) -> Result<()> {
    let said = script(
        scope,
        r#"quiet create --net none --tmpfs /tmp --name kept --storage-opt size=8m bb fill /file
        kill -9 $pid; wait $pid 2>/dev/null; rm -f /run/docker.sock; begin
        "$d" start -a kept
        quiet rm kept
        run --rm --storage-opt size=32m bb fill /file"#,
    )?;
    same("said", said, "limited\nall\n")
}

fn volumes(scope: &Scope<'_>) -> Result<()> {
    let said = script(
        scope,
        r#"quiet volume create --opt size=8m small
        run --rm -v small:/small bb fill /small/file
        run --rm -v small:/small bb sh -c 'rm /small/file; fill /file; fill /small/file'
        quiet volume rm small
        quiet volume create small
        run --rm -v small:/small bb fill /small/file
        quiet volume rm small"#,
    )?;
    let limited = "limited\n";
    same("said", said, format!("{limited}all\n{limited}all\n"))
}

fn by_default(scope: &Scope<'_>) -> Result<()> {
    let said = script(
        scope,
        r#"down; begin --storage-opt overlay2.size=8m
        run --rm bb fill /file
        run --rm --storage-opt size=64m bb fill /file"#,
    )?;
    same("said", said, "limited\nall\n")
}
