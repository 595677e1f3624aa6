//! Containers whose users are others on the host (`--userns-remap`): what they see, what the host sees, what is refused, and
//! what such a container cannot do to the host.

use super::doors::in_a_box;
use crate::check::{Check, contains, same, skip};
use crate::scope::Scope;
use anyhow::Result;

const AREA: &str = "userns";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "with userns-remap the container's root is somebody else on the host", who).alone(),
        Check::new(
            AREA,
            "with userns-remap files have the container's ids, on the disk and in archives",
            files,
        )
        .alone(),
        Check::new(AREA, "with userns-remap cp goes both ways, the container running or not", copies).alone(),
        Check::new(AREA, "with userns-remap what shares the host's rights is refused", refusals).alone(),
        Check::new(AREA, "with userns-remap namespaces are shared together with their users", sharing)
            .alone(),
        Check::new(
            AREA,
            "with userns-remap the container's root has no right over what is the host's",
            hostile,
        )
        .alone(),
        Check::new(AREA, "containers and volumes keep their files with and without userns-remap", change)
            .alone(),
        Check::new(
            AREA,
            "userns-remap says what is wrong with users and their subordinate ids",
            configuration,
        )
        .alone(),
    ]
}

/// A host with users of its own and an image with some files; `begin` starts the daemon, `run` runs a container of it.
const HOST: &str = r#"
    mkdir -p etc root/bin root/etc root/data root/tmp; for name in passwd group; do grep -v '^dockremap:' /etc/$name > etc/$name; done
    echo 'mapped:x:4711:4711::/:/bin/false' >> etc/passwd; echo 'mapped:x:4711:' >> etc/group
    echo 'mapped:300000:65536' > etc/subuid; echo 'mapped:400000:65536' > etc/subgid
    mount --bind etc /etc
    cp "$bb" root/bin/busybox; chmod 755 root/bin/busybox
    for name in sh ls cat id stat touch chown chmod mknod sleep su ps mkdir rm echo head mount grep ping ln wc; do
        ln -s busybox root/bin/$name; done
    echo 'root:x:0:0::/:/bin/sh
web:x:33:33::/:/bin/sh' > root/etc/passwd; chmod 1777 root/tmp; echo below > root/data/file
    chown 33:44 root/data/file; chown 0:0 root root/bin root/etc root/bin/busybox root/etc/passwd
    begin() { up --data-root $dir/state --bridge none --cgroup-parent /berth-check-$(basename $dir) "$@"; }
    image() { tar -C root --numeric-owner -c . | "$d" import - bb > /dev/null; }
    run() { "$d" run --rm --net none "$@"; }
    owner() { stat -c '%u:%g' "$@"; }
"#;

/// Runs a script on such a host; what it said. A machine that cannot map the files of its temporary directory skips.
fn on_host(scope: &Scope<'_>, script: &str) -> Result<(String, String)> {
    let output = in_a_box(scope, &format!("{HOST}\n{script}"))?;
    for reason in
        ["cannot have its ids mapped", "--userns-remap needs Linux", "no user namespace can be made"]
    {
        if let Some(line) = output.stderr.lines().find(|line| line.contains(reason)) {
            return Err(skip(format!("this machine cannot do it: {line}")));
        }
    }
    let output = output.expect_code(0)?;
    Ok((output.stdout, output.stderr))
}

fn check(scope: &Scope<'_>, script: &str, expected: &str) -> Result<()> {
    let (said, errors) = on_host(scope, script)?;
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    same(
        &format!("what the script said; {errors}"),
        said.lines().map(str::trim).collect::<Vec<_>>(),
        expected,
    )
}

fn who(scope: &Scope<'_>) -> Result<()> {
    let script = r#"
        begin --userns-remap mapped; image
        "$d" info --format '{{.SecurityOptions}}' | grep -c name=userns
        "$d" run -d --net none --name one bb sleep 4242 > /dev/null
        "$d" exec one sh -c 'id -u; cat /proc/self/uid_map /proc/self/gid_map | while read a b c; do echo $a $b $c; done'
        "$d" exec -u web one id -u
        "$d" top one -eo pid,uid,cmd | grep -c ' 300000 .*sleep 4242'
        "$d" inspect --format '[{{.HostConfig.UsernsMode}}]' one
        echo streams; "$d" exec -u web one sh -c 'echo out > /proc/self/fd/1; echo err > /proc/self/fd/2' 2>&1
        run -u web bb sh -c 'echo own > /proc/self/fd/1'
        run --init bb sh -c 'echo $$ is not 1' | grep -c 'is not 1'
        run -t bb stat -c '%u:%g' /dev/console | head -c 3; echo
        run bb stat -c '%n %u:%g' /etc/hosts /etc/hostname /etc/resolv.conf /dev/shm /dev/pts
        run bb sh -c 'echo 127.0.0.1 more >> /etc/hosts && grep -c more /etc/hosts'
        run --tmpfs /t:mode=1770 bb stat -c '%u:%g %a' /t
        run --sysctl net.ipv4.ip_forward=1 bb cat /proc/sys/net/ipv4/ip_forward
        run --health-cmd true bb id -u
        run --userns host bb sh -c 'head -1 /proc/self/uid_map | { read a b c; echo $a $b; }'
        "$d" restart -t 0 one > /dev/null; "$d" exec one id -u
        kill -9 $pid; wait $pid 2>/dev/null; rm -f /run/docker.sock; begin --userns-remap mapped:mapped
        "$d" exec one id -u; "$d" stats --no-stream --format '{{.Name}}' one
        "$d" rm -f one > /dev/null; down"#;
    let expected = "1
        0
        0 300000 65536
        0 400000 65536
        33
        1
        []
        streams
        out
        err
        own
        1
        0:5
        /etc/hosts 0:0
        /etc/hostname 0:0
        /etc/resolv.conf 0:0
        /dev/shm 0:0
        /dev/pts 0:0
        1
        0:0 1770
        1
        0
        0 0
        0
        0
        one";
    check(scope, script, expected)
}

fn files(scope: &Scope<'_>) -> Result<()> {
    let script = r#"
        begin --userns-remap 4711; image
        "$d" create --net none --name one -v vol:/data bb sh -c 'touch /made; chown 33:44 /made; stat -c "%n %u:%g" /made /data/file /data
            echo new > /data/new; rm /bin/head' > /dev/null
        "$d" start -a one
        echo on the disk; (cd state/volumes/vol/_data && stat -c '%n %u:%g' . file new)
        owner state/snapshots/*/upper/made
        echo changes; "$d" diff one | grep -v ' /etc\| /dev\| /proc\| /sys'
        echo export; "$d" export one | tar -tv --numeric-owner | grep -o '[0-9]*/[0-9]* .* made$' | cut -d' ' -f1
        "$d" start one > /dev/null; "$d" wait one > /dev/null
        "$d" run -d --net none --name two -v vol:/data bb sh -c 'chown 7:8 /data/new; touch /tmp/up; exec sleep 4242' > /dev/null
        for i in $(seq 200); do "$d" exec two ls /tmp/up 2>/dev/null && break; sleep 0.05; done
        echo running; "$d" export two | tar -tv --numeric-owner | grep -o '[0-9]*/[0-9]* .* tmp/up$' | cut -d' ' -f1
        owner state/volumes/vol/_data/new
        echo commit; "$d" commit two bb2 > /dev/null; run bb2 stat -c '%u:%g' /tmp/up
        "$d" rm -f one two > /dev/null
        echo image; run --mount type=image,source=bb,target=/i bb stat -c '%u:%g' /i /i/data/file
        echo all again; run --userns host -v vol:/data bb stat -c '%n %u:%g' /data/file /data/new
        "$d" volume rm vol > /dev/null; ls state/snapshots | wc -l; grep -c $dir/state /proc/self/mountinfo; down"#;
    let expected = "/made 33:44
        /data/file 33:44
        /data 0:0
        on the disk
        . 0:0
        file 33:44
        new 0:0
        33:44
        changes
        C /bin
        D /bin/head
        A /made
        export
        33/44
        /tmp/up
        running
        0/0
        7:8
        commit
        0:0
        image
        0:0
        33:44
        all again
        /data/file 33:44
        /data/new 7:8
        0
        0";
    check(scope, script, expected)
}

fn copies(scope: &Scope<'_>) -> Result<()> {
    let script = r#"
        begin --userns-remap mapped; image
        "$d" run -d --net none --name one -v vol:/v bb sleep 4242 > /dev/null
        "$d" exec one sh -c 'echo a > /tmp/a; chown 5:6 /tmp/a; echo b > /v/b; chown 7:8 /v/b'
        shown() { tar -tv --numeric-owner | tr -s ' ' | cut -d' ' -f2,6; }
        mkdir in; echo c > in/c; ln -s c in/l; chown -h 9:10 in/c in/l
        for how in running stopped; do
            echo $how
            "$d" cp one:/tmp/a - | shown; "$d" cp one:/v/b - | shown; "$d" cp one:/etc/hosts - | shown
            tar -C in --numeric-owner -c . | "$d" cp -a - one:/tmp
            tar -C in --numeric-owner -c c | "$d" cp -a - one:/v
            "$d" cp in/c one:/data/$how
            [ $how = running ] && "$d" exec one stat -c '%n %u:%g' /tmp/c /tmp/l /v/c
            "$d" cp one:/tmp/c - | shown
            "$d" stop -t 0 one > /dev/null
        done
        echo too far; chown 70000:0 in/c; "$d" start one > /dev/null
        tar -C in --numeric-owner -c c | "$d" cp -a - one:/tmp 2>&1 | grep -o 'Container ID 70000 cannot be mapped to a host ID'
        "$d" rm -f one > /dev/null; "$d" volume rm vol > /dev/null; down"#;
    let same = "5/6 a
        7/8 b
        0/0 hosts";
    let expected = format!(
        "running
        {same}
        /tmp/c 9:10
        /tmp/l 9:10
        /v/c 9:10
        9/10 c
        stopped
        {same}
        9/10 c
        too far
        Container ID 70000 cannot be mapped to a host ID"
    );
    check(scope, script, &expected)
}

fn refusals(scope: &Scope<'_>) -> Result<()> {
    let script = r#"
        begin --userns-remap mapped; image
        refused() { run "$@" bb true 2>&1 | grep -o 'privileged mode is.*namespaces\.\|cannot share the host.*\|container .* is in the user.*\|user 65536.*'; }
        refused --privileged
        "$d" run --rm --network host bb true 2>&1 | grep -o 'cannot share the host.*'
        refused --pid host
        refused -u 65536
        refused -u 65536:65536
        "$d" run -d --net none --userns host --name plain bb sleep 4242 > /dev/null
        run --pid container:plain bb true 2>&1 | grep -o 'is in the user namespace of the host'
        run --privileged --userns host bb id -u
        run --pid host --userns host bb id -u
        run --ipc host --uts host bb id -u
        "$d" rm -f plain > /dev/null; "$d" ps -aq | wc -l; down"#;
    let expected = "privileged mode is incompatible with user namespaces.
        cannot share the host's network namespace when user namespaces are enabled
        cannot share the host PID namespace when user namespaces are enabled
        user 65536 of the container is nobody on the host: --userns-remap gives it 65536 ids
        user 65536 of the container is nobody on the host: --userns-remap gives it 65536 ids
        is in the user namespace of the host
        0
        0
        0
        0";
    check(scope, script, expected)
}

fn sharing(scope: &Scope<'_>) -> Result<()> {
    let script = r#"
        begin --userns-remap mapped; image
        for name in one two; do "$d" run -d --net none --ipc shareable --name $name -v vol:/v bb sleep 4242 > /dev/null; done
        users() { "$d" inspect --format '{{.State.Pid}}' $1 | { read p; readlink /proc/$p/ns/user; }; }
        [ "$(users one)" != "$(users two)" ] && echo apart
        for kind in net pid ipc; do
            "$d" run -d --name joined --$kind container:one $([ $kind = net ] || echo --net none) -v vol:/v bb sleep 4242 > /dev/null
            [ "$(users one)" = "$(users joined)" ] && echo $kind
            "$d" exec joined sh -c 'id -u; stat -c %u:%g / /v /etc/hosts'
            "$d" rm -f joined > /dev/null
        done
        "$d" run --rm --net container:one --pid container:two bb true 2>&1 | grep -o 'has another user namespace'
        "$d" run --rm --userns host --net container:one bb sh -c 'head -1 /proc/self/uid_map | { read a b c; echo $a $b; }'
        "$d" rm -f one two > /dev/null; down"#;
    let joined = "0\n0:0\n0:0\n0:0";
    let expected =
        format!("apart\nnet\n{joined}\npid\n{joined}\nipc\n{joined}\nhas another user namespace\n0 0");
    check(scope, script, &expected)
}

/// A program that ends with the number of its effective user, modulo 256: an ELF file of one segment (elf(5)).
fn euid_program() -> Vec<u8> {
    // geteuid(), then exit() with what it says.
    const CODE: [u8; 16] = [0xb8, 0x6b, 0, 0, 0, 0x0f, 0x05, 0x89, 0xc7, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05];
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + CODE.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // An executable for x86-64, version 1; where it begins, where the program headers are, and no sections.
    put(&[2, 0, 62, 0, 1, 0, 0, 0]);
    [BASE + HEADERS, 64, 0].iter().for_each(|number: &u64| put(&number.to_le_bytes()));
    put(&[0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    // The whole file is loaded, to be read and executed.
    put(&[1, 0, 0, 0, 5, 0, 0, 0]);
    [0, BASE, BASE, size, size, 0x1000].iter().for_each(|number| put(&number.to_le_bytes()));
    put(&CODE);
    file
}

fn hostile(scope: &Scope<'_>) -> Result<()> {
    std::fs::write(scope.directory()?.join("euid"), euid_program())?;
    let script = r#"
        mkdir shut open; echo secret > shut/f; chmod 600 shut/f; chmod 777 open
        for place in shut root/bin; do cp euid $place/rooted; chown 0:0 $place/rooted; chmod 4755 $place/rooted; done
        cp euid root/bin/beyond; chown 70000:70000 root/bin/beyond; chmod 6755 root/bin/beyond
        begin --userns-remap mapped; image
        run -v $dir/shut:/s -v $dir/open:/o bb sh -c '
            cat /s/f 2>/dev/null && echo read; touch /s/new 2>/dev/null && echo made
            chown 0 /s/f 2>/dev/null && echo owned; chmod 777 /s/f 2>/dev/null && echo opened
            rm -f /s/f 2>/dev/null && echo removed; stat -c %u:%g /s/f
            mknod /o/null c 1 3 2>/dev/null && echo device; mount -t tmpfs none /tmp 2>/dev/null && echo mounted
            echo 1 > /proc/sysrq-trigger 2>/dev/null && echo sysrq
            touch /o/mine; chown 65536 /o/mine 2>/dev/null && echo beyond; true'
        run -v $dir/new/below:/n bb touch /n/f; owner new new/below new/below/f
        echo on the host; owner shut/f open/mine; stat -c %a shut/f
        chmod 755 shut; user() { run "$@"; echo $?; }
        echo of the host; user -u web -v $dir/shut:/s bb /s/rooted
        echo of a layer; user -u web bb rooted; user -u web --security-opt no-new-privileges bb rooted; user -u web bb beyond
        echo a process of the host; sleep 4243 & other=$!
        run --cap-add ALL bb sh -c "kill -9 $other 2>/dev/null && echo killed; cat /proc/$other/status 2>/dev/null"
        kill -0 $other && echo lives; kill $other
        stat -c '%a %u:%g' state; grep -lzx 'hold-user-namespac[e]' /proc/[0-9]*/cmdline 2>/dev/null | wc -l; down"#;
    let expected = "65534:65534
        300000:400000
        300000:400000
        300000:400000
        on the host
        0:0
        300000:400000
        600
        of the host
        33
        of a layer
        0
        33
        33
        a process of the host
        lives
        710 0:0
        0";
    check(scope, script, expected)
}

fn change(scope: &Scope<'_>) -> Result<()> {
    let script = r#"
        begin; image
        "$d" run -d --net none --name one -v vol:/v bb sh -c 'touch /f /v/f; chown 5:6 /f /v/f; exec sleep 4242' > /dev/null
        for i in $(seq 200); do "$d" exec one stat -c %u:%g /f 2>/dev/null | grep 5:6 && break; sleep 0.05; done
        down; begin --userns-remap mapped
        echo lives on; "$d" exec one sh -c 'head -1 /proc/self/uid_map | { read a b c; echo $a $b; }; stat -c %u:%g /f /v/f'
        "$d" cp one:/f - | tar -tv --numeric-owner | cut -d' ' -f2
        "$d" restart -t 0 one > /dev/null
        echo mapped; "$d" exec one sh -c 'head -1 /proc/self/uid_map | { read a b c; echo $a $b; }; stat -c %u:%g /f /v/f'
        "$d" cp one:/f - | tar -tv --numeric-owner | cut -d' ' -f2
        down; begin
        echo still mapped; "$d" exec one sh -c 'head -1 /proc/self/uid_map | { read a b c; echo $a $b; }; stat -c %u:%g /f /v/f'
        "$d" cp one:/f - | tar -tv --numeric-owner | cut -d' ' -f2
        "$d" rm -f one > /dev/null; down"#;
    let expected = "5:6
        lives on
        0 0
        5:6
        5:6
        5/6
        mapped
        0 300000
        5:6
        5:6
        5/6
        still mapped
        0 300000
        5:6
        5:6
        5/6";
    check(scope, script, expected)
}

fn configuration(scope: &Scope<'_>) -> Result<()> {
    let script = r#"
        try() { "$b" daemon --validate --userns-remap "$1" 2>&1 | tail -1; }
        try mapped; try a:b:c; try nobody-here; try mapped:nobody-here; try root; try default
        echo 'mapped:0:65536' > etc/subuid; try mapped
        echo 'somebody:1' > etc/subuid; try mapped
        rm etc/subuid; try mapped"#;
    let (said, errors) = on_host(scope, script)?;
    let words = [
        "configuration OK",
        "invalid user/group specification in --userns-remap: \"a:b:c\"",
        "there is no user \"nobody-here\" in /etc/passwd",
        "there is no group \"nobody-here\" in /etc/group",
        "root cannot be remapped with itself",
        "useradd --system --user-group dockremap",
        "/etc/subuid:1: \"mapped:0:65536\": 0 is root of the host, who must not be root of a container",
        "/etc/subuid:1: \"somebody:1\": it must be user:first:count",
        "mapped has no ids in /etc/subuid: add a line such as mapped:100000:65536",
    ];
    same(&format!("lines; {errors}{said}"), said.lines().count(), words.len())?;
    for (line, words) in said.lines().zip(words) {
        contains("--validate", line, words)?;
    }
    Ok(())
}
