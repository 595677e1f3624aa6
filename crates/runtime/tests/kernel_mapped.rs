//! Roots whose files have the container's ids on the disk: layers are mapped, whichever way the kernel takes them.

#[expect(unreachable_pub, dead_code, reason = "shared by several test binaries, each of which uses a part")]
mod support;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Bundle, mapped, unable};

/// Runs a script in a user namespace on two mapped layers; `after` looks at what it wrote.
fn on_layers(how: &str, script: &str, expected: &str, after: impl FnOnce(&Path)) {
    let bundle = Bundle::new().script(script).with(mapped).with(|config| {
        config["mounts"].as_array_mut().expect("mounts").retain(|mount| mount["type"] != "cgroup");
        config["linux"]["namespaces"].as_array_mut().expect("list").retain(|one| one["type"] != "cgroup");
    });
    bundle.save();
    let at = |name: &str| bundle.directory.join(name);
    fs::rename(bundle.root(), at("1")).expect("rename");
    for name in ["2", "upper", "work"] {
        fs::create_dir_all(at(name)).expect("mkdir");
    }
    fs::write(at("1/lower"), "hidden").expect("write");
    for (name, uid) in [("2/lower", 33), ("1/beyond", 70_000), ("1/gone", 0)] {
        fs::write(at(name), "top").expect("write");
        chown(at(name), Some(uid), Some(44)).expect("chown");
    }
    fs::set_permissions(at("1/beyond"), fs::Permissions::from_mode(0o600)).expect("chmod");
    let mut command = Command::new(support::example("overlay"));
    let output = command.arg(&bundle.directory).args([how, "plain"]).stdin(Stdio::null()).output();
    let got = support::result(output.expect("overlay"));
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (5, expected, ""), "{how}");
    assert_eq!(fs::read_to_string(at("1/lower")).expect("lower"), "hidden", "{how}");
    assert!(!at("1/new").exists() && !at("2/new").exists(), "{how}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(&bundle.id), "{how}: something is mounted on the host: {mounts}");
    after(&at("upper"));
}

#[test]
fn what_a_container_sees_and_writes_is_its_own_on_the_disk() {
    if unable() {
        return;
    }
    let script = "stat -c '%n %u:%g' / /lower /beyond /etc; cat /lower; echo; cat /beyond 2>/dev/null || echo closed; \
        echo x > /new; busybox chown 7:8 /new; busybox rm /gone; busybox mkdir /dir; echo y >> /lower; stat -c '%s %u' /lower; \
        busybox chown 0 /beyond 2>/dev/null || echo kept; busybox chown 65536 /new 2>/dev/null || echo nobody; \
        mknod /null c 1 3 2>/dev/null || echo no device; exit 5";
    let expected =
        "/ 0:0\n/lower 33:44\n/beyond 65534:44\n/etc 0:0\ntop\nclosed\n5 33\nkept\nnobody\nno device";
    for how in ["detached", "attached"] {
        on_layers(how, script, expected, |upper| {
            let owner = |name: &str| {
                let found = fs::symlink_metadata(upper.join(name)).expect("what was written");
                (found.uid(), found.gid())
            };
            assert_eq!(owner("new"), (7, 8), "{how}");
            assert_eq!(owner("dir"), (0, 0), "{how}");
            assert_eq!(owner("lower"), (33, 44), "{how}: copied up");
            let mark = fs::symlink_metadata(upper.join("gone")).expect("a mark");
            assert!(mark.file_type().is_char_device() && mark.rdev() == 0, "{how}: a removal is marked");
        });
    }
}
