//! Unpacking on a real file system: what layers may contain, and what hostile ones try.

mod support;

use image::{Error, ImportOptions, Kind, LoadOptions, NoUsers, RemoveOptions, Silent};
use oci::Reference;
use support::{Scratch, Tar, docker_archive, is_root, listing, open_with};

fn options(name: &str) -> ImportOptions {
    ImportOptions { reference: Some(Reference::parse(name).unwrap()), ..ImportOptions::default() }
}

/// Imports an archive and lists the unpacked layer.
fn unpacked(name: &str, archive: &[u8]) -> Result<String, Error> {
    let scratch = Scratch::new(name);
    let images = scratch.open();
    images.import(archive, &options("test"), &Silent)?;
    let lower = images.lower_dirs(&images.runnable("test", None).unwrap(), &Silent)?;
    assert_eq!(lower.len(), 1);
    Ok(listing(&lower[0]))
}

/// An archive must be refused, with words, and leave nothing: no image, no layer, no blob, nothing outside.
fn refused(name: &str, archive: &[u8], words: &str) {
    let scratch = Scratch::new(name);
    std::fs::create_dir(scratch.path.join("outside")).unwrap();
    std::fs::write(scratch.path.join("outside/file"), "kept").unwrap();
    let images = scratch.open();
    let before = listing(&scratch.path);
    let error = images.import(archive, &options("test"), &Silent).unwrap_err();
    assert!(error.to_string().contains(words), "{name}: {error}");
    assert_eq!(images.resolve("test").unwrap_err().to_string(), "No such image: test:latest");
    images.collect().unwrap();
    assert_eq!(strip_sizes(&listing(&scratch.path)), strip_sizes(&before), "{name}");
}

fn strip_sizes(listing: &str) -> String {
    listing.lines().filter(|line| !line.contains("records.redb")).collect::<Vec<_>>().join("\n")
}

#[test]
fn everything_a_layer_may_contain_is_unpacked() {
    if !is_root() {
        return;
    }
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let archive = Tar::new()
        .dir("./", 0o711)
        .dir("tmp/", 0o1777)
        .file("etc/hostname", b"berth\n")
        .raw("bin/su", b'0', "", 0o4755, b"#!")
        .link("bin/su2", "bin/su")
        .symlink("bin/sh", "/bin/dash")
        .raw("run/pipe", b'6', "", 0o600, b"")
        .pax(&[("path", long.as_bytes()), ("mtime", b"1500000000.123456789")])
        .file("short", b"long name")
        .pax(&[
            ("SCHILY.xattr.user.note", b"hello\0world"),
            ("SCHILY.xattr.security.capability", &CAPABILITY),
        ])
        .raw("bin/ping", b'0', "", 0o755, b"ping")
        .pax(&[("uid", b"4000000"), ("gid", b"4000001")])
        .file("owned", b"")
        .end();
    let scratch = Scratch::new("everything");
    let images = scratch.open();
    images.import(archive.as_slice(), &options("test"), &Silent).unwrap();
    let lower = images.lower_dirs(&images.runnable("test", None).unwrap(), &Silent).unwrap();
    let expected = format!(
        "bin dir 755 0:0
bin/ping file 4 755 0:0
bin/sh link -> /bin/dash 777 0:0
bin/su file 2 4755 0:0
bin/su2 file 2 4755 0:0
{d} dir 755 0:0
{long} file 9 644 0:0
etc dir 755 0:0
etc/hostname file 6 644 0:0
owned file 0 644 4000000:4000001
run dir 755 0:0
run/pipe fifo 600 0:0
tmp dir 1777 0:0",
        d = "d".repeat(120),
    );
    assert_eq!(listing(&lower[0]), expected);
    use std::os::unix::fs::MetadataExt;
    let long = std::fs::metadata(lower[0].join(&long)).unwrap();
    assert_eq!((long.mtime(), long.mtime_nsec()), (1_500_000_000, 123_456_789));
    assert_eq!(std::fs::metadata(lower[0].join("tmp")).unwrap().mtime(), 1_600_000_000);
    let ping = std::fs::File::open(lower[0].join("bin/ping")).unwrap();
    assert_eq!(linux::xattr::get(&ping, b"user.note").unwrap().unwrap(), b"hello\0world");
    assert_eq!(linux::xattr::get(&ping, b"security.capability").unwrap().unwrap(), CAPABILITY);
    let snapshot = images.prepare_snapshot("c1", &images.runnable("test", None).unwrap(), &Silent).unwrap();
    assert_eq!(std::fs::metadata(&snapshot.upper).unwrap().mode() & 0o7777, 0o711, "the root's mode");
}

/// cap_net_raw+ep in the second version of the format.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn devices_are_made() {
    if !is_root() {
        return;
    }
    let mut null = Tar::new().raw("dev/null", b'3', "", 0o666, b"");
    null.0[329..336].copy_from_slice(b"0000001");
    null.0[337..344].copy_from_slice(b"0000003");
    null.0[148..156].copy_from_slice(b"        ");
    let sum: u32 = null.0[..512].iter().map(|byte| u32::from(*byte)).sum();
    null.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let found = unpacked("devices", &null.end()).unwrap();
    assert_eq!(found, format!("dev dir 755 0:0\ndev/null char {} 666 0:0", (1 << 8) | 3));
}

#[test]
fn paths_that_lead_out_are_refused() {
    if !is_root() {
        return;
    }
    refused("dotdot", &Tar::new().file("../outside/file", b"evil").end(), "leads out of the layer");
    refused("dotdot2", &Tar::new().dir("a/", 0o755).file("a/../../outside/file", b"evil").end(), "leads out");
    refused("dotdot3", &Tar::new().file("a/b/../../../../../etc/evil", b"evil").end(), "leads out");
    refused("wh-dotdot", &Tar::new().file("a/.wh...", b"").end(), "whiteout");
    refused("wh-dot", &Tar::new().file(".wh..", b"").end(), "whiteout");
    refused("wh-empty", &Tar::new().file(".wh.", b"").end(), "whiteout");
}

#[test]
fn absolute_paths_and_links_stay_inside_the_layer() {
    if !is_root() {
        return;
    }
    let archive = Tar::new()
        .file("/etc/absolute", b"x")
        .dir("etc", 0o755)
        .symlink("escape", "/")
        .file("escape/etc/through", b"y")
        .symlink("up", "../../../../../../etc")
        .file("up/above", b"z")
        .symlink("proc", "/proc/self/root/etc")
        .end();
    let expected = "escape link -> / 777 0:0
etc dir 755 0:0
etc/above file 1 644 0:0
etc/absolute file 1 644 0:0
etc/through file 1 644 0:0
proc link -> /proc/self/root/etc 777 0:0
up link -> ../../../../../../etc 777 0:0";
    assert_eq!(unpacked("absolute", &archive).unwrap(), expected);
    assert!(!std::path::Path::new("/etc/through").exists() && !std::path::Path::new("/etc/above").exists());
}

#[test]
fn hard_links_stay_inside_the_layer() {
    if !is_root() {
        return;
    }
    refused("hl-out", &Tar::new().link("shadow", "../../../../etc/shadow").end(), "leads out of the layer");
    refused("hl-abs", &Tar::new().link("shadow", "/etc/shadow").end(), "does not exist");
    let through = Tar::new().symlink("s", "/etc").link("passwd", "s/passwd").end();
    refused("hl-through", &through, "does not exist");
    refused("hl-dir", &Tar::new().dir("d", 0o755).link("l", "d").end(), "is a directory");
    refused("hl-self", &Tar::new().link("l", "l").end(), "its own target");
    refused("hl-root", &Tar::new().link("l", "/").end(), "leads out");
    let onto = Tar::new().symlink("s", "/etc/passwd").link("h", "s").file("h", b"evil").end();
    assert_eq!(unpacked("hl-symlink", &onto).unwrap(), "h file 4 644 0:0\ns link -> /etc/passwd 777 0:0");
}

#[test]
fn link_loops_and_files_used_as_directories_are_refused() {
    if !is_root() {
        return;
    }
    refused("loop", &Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", b"").end(), "");
    refused("file-as-dir", &Tar::new().file("a", b"").file("a/b", b"").end(), "used as a directory");
    refused(
        "root-file",
        &Tar::new().file("./", b"").raw("/", b'2', "x", 0o777, b"").end(),
        "root is not a directory",
    );
}

#[test]
fn later_entries_replace_earlier_ones_of_any_type() {
    if !is_root() {
        return;
    }
    let archive = Tar::new()
        .file("a", b"1")
        .file("a", b"22")
        .dir("b", 0o755)
        .file("b/x", b"")
        .file("b", b"now a file")
        .symlink("c", "/etc")
        .dir("c", 0o700)
        .file("c/inside", b"")
        .file("d", b"")
        .symlink("d", "a")
        .dir("e", 0o755)
        .dir("e", 0o711)
        .end();
    let expected = "a file 2 644 0:0
b file 10 644 0:0
c dir 700 0:0
c/inside file 0 644 0:0
d link -> a 777 0:0
e dir 711 0:0";
    assert_eq!(unpacked("replace", &archive).unwrap(), expected);
}

#[test]
fn whiteouts_become_overlayfs_marks() {
    if !is_root() {
        return;
    }
    let archive = Tar::new()
        .dir("d", 0o755)
        .file("d/.wh.gone", b"")
        .dir("o", 0o755)
        .file("o/.wh..wh..opq", b"")
        .file("o/.wh.redundant", b"")
        .file("o/new", b"")
        .file(".wh..wh.plnk", b"ignored")
        .file(".wh.replaced", b"")
        .dir("replaced", 0o755)
        .file("both", b"x")
        .file(".wh.both", b"")
        .end();
    let base = Tar::new().dir("d", 0o755).dir("o", 0o755).file("both", b"").dir("replaced", 0o755).end();
    let scratch = Scratch::new("whiteouts");
    let images = scratch.open();
    let image = docker_archive("test:latest", &[base, archive.clone()]);
    images.load(image.as_slice(), &LoadOptions::default(), &Silent).unwrap();
    let lower = images.lower_dirs(&images.runnable("test", None).unwrap(), &Silent).unwrap();
    let expected = "both file 1 644 0:0
d dir 755 0:0
d/gone char 0 0 0:0
o dir 755 0:0
o/new file 0 644 0:0
replaced dir 755 0:0";
    assert_eq!(listing(&lower[0]), expected);
    let opaque = |path: &str| {
        let dir = std::fs::File::open(lower[0].join(path)).unwrap();
        linux::xattr::get(&dir, b"trusted.overlay.opaque").unwrap()
    };
    assert_eq!(opaque("o"), Some(b"y".to_vec()));
    assert_eq!(opaque("replaced"), Some(b"y".to_vec()), "a removed directory that comes back is a new one");
    assert_eq!(opaque("d"), None);

    // With nothing below there is nothing to mark, and a mark would show as a broken name.
    images.import(archive.as_slice(), &options("alone"), &Silent).unwrap();
    let lower = images.lower_dirs(&images.runnable("alone", None).unwrap(), &Silent).unwrap();
    assert!(!listing(&lower[0]).contains("char"), "{}", listing(&lower[0]));
}

#[test]
fn attributes_that_steer_the_host_are_left_out() {
    if !is_root() {
        return;
    }
    let archive = Tar::new()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/../../etc"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"system_u:object_r:shadow_t:s0"),
            ("SCHILY.xattr.user.fine", b"yes"),
        ])
        .dir("d", 0o755)
        .end();
    let scratch = Scratch::new("xattrs");
    let images = scratch.open();
    images.import(archive.as_slice(), &options("test"), &Silent).unwrap();
    let lower = images.lower_dirs(&images.runnable("test", None).unwrap(), &Silent).unwrap();
    let names = linux::xattr::list(std::fs::File::open(lower[0].join("d")).unwrap()).unwrap();
    assert_eq!(names, [b"user.fine".to_vec()]);
}

#[test]
fn truncated_and_lying_archives_are_refused() {
    if !is_root() {
        return;
    }
    let whole = Tar::new().file("a", &[1; 5000]).end();
    refused("cut-content", &whole[..3000], "unexpected EOF");
    refused("cut-header", &whole[..300], "unexpected EOF");
    refused(
        "not-tar",
        b"this is not a tar archive, but long enough to be looked at as one".repeat(20).as_slice(),
        "",
    );
    let gzip = compress(&whole, &["gzip", "-c"]);
    refused("cut-gzip", &gzip[..gzip.len() - 4], "inflated");
    refused("xz", b"\xfd7zXZ\0 and so on", "xz compression is not supported");
    let huge = Tar::new().pax(&[("size", b"99999999999999999999")]).file("a", b"");
    refused("pax-size", &huge.end(), "not a number");
    let negative = Tar::new().pax(&[("size", b"-1")]).file("a", b"");
    refused("pax-negative", &negative.end(), "not a number");
    refused(
        "name",
        &Tar::new().pax(&[("path", "n".repeat(256).as_bytes())]).file("a", b"").end(),
        "longer than 255",
    );
    refused("path", &Tar::new().pax(&[("path", "n/".repeat(3000).as_bytes())]).file("a", b"").end(), "path");
    refused("pax-bomb", &Tar::new().pax(&[("comment", &[b'x'; 2 << 20])]).file("a", b"").end(), "limit");
}

fn compress(bytes: &[u8], command: &[&str]) -> Vec<u8> {
    use std::io::Write;
    let mut child = std::process::Command::new(command[0])
        .args(&command[1..])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

#[test]
fn a_bomb_and_a_full_disk_are_refused() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("bomb");
    let bomb = compress(&Tar::new().file("zeros", &vec![0; 64 << 20]).end(), &["gzip", "-c"]);
    let images = open_with(&scratch.path.join("data"), |options| {
        options.limits.max_ratio = 100;
        options.limits.ratio_from = 8 << 20;
    });
    let error = images.import(bomb.as_slice(), &options("test"), &Silent).unwrap_err();
    assert!(error.to_string().contains("decompression bomb"), "{error}");
    drop(images);
    let images = open_with(&scratch.path.join("data"), |options| options.limits.keep_free = u64::MAX);
    let error = images.import(bomb.as_slice(), &options("test"), &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::Full, "{error}");
    drop(images);
    let images = open_with(&scratch.path.join("data"), |options| options.limits.max_entries = 10);
    let many = (0..20).fold(Tar::new(), |tar, number| tar.file(&format!("f{number}"), b""));
    let error = images.import(many.end().as_slice(), &options("test"), &Silent).unwrap_err();
    assert!(error.to_string().contains("more than 10 entries"), "{error}");
    assert!(images.list(&image::Filters::default(), false, &NoUsers).unwrap().is_empty());
}

#[test]
fn sparse_files_of_gnu_tar_keep_their_holes() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("sparse");
    let file = std::fs::File::create(scratch.path.join("sparse")).unwrap();
    file.write_all_at(b"start", 0).unwrap();
    file.write_all_at(b"middle", 40 << 20).unwrap();
    file.set_len(100 << 20).unwrap();
    let images = scratch.open();
    for format in ["gnu", "pax"] {
        let output = std::process::Command::new("tar")
            .args([
                "-C",
                scratch.path.to_str().unwrap(),
                "--sparse",
                &format!("--format={format}"),
                "-c",
                "sparse",
            ])
            .output()
            .unwrap();
        assert!(output.status.success() && output.stdout.len() < 1 << 20);
        images.import(output.stdout.as_slice(), &options(format), &Silent).unwrap();
        let lower = images.lower_dirs(&images.runnable(format, None).unwrap(), &Silent).unwrap();
        let facts = std::fs::metadata(lower[0].join("sparse")).unwrap();
        assert_eq!(facts.len(), 100 << 20, "{format}");
        assert!(facts.blocks() * 512 < 1 << 20, "{format}");
        let copy = std::fs::File::open(lower[0].join("sparse")).unwrap();
        let mut middle = [0; 8];
        copy.read_exact_at(&mut middle, (40 << 20) - 1).unwrap();
        assert_eq!(&middle, b"\0middle\0", "{format}");
    }
}

/// Loads layers and lists what a container of them would see, through a real overlay mount.
fn merged(name: &str, layers: &[Vec<u8>]) -> Result<String, Error> {
    let scratch = Scratch::new(name);
    let images = scratch.open();
    images.load(docker_archive("test:1", layers).as_slice(), &LoadOptions::default(), &Silent)?;
    let image = images.runnable("test:1", None)?;
    let snapshot = images.prepare_snapshot("container", &image, &Silent)?;
    let lower: Vec<&std::path::Path> = snapshot.lower.iter().map(std::path::PathBuf::as_path).collect();
    let mount = linux::overlay::detached(&lower, Some((&snapshot.upper, &snapshot.work)))?;
    let path = format!("/proc/self/fd/{}/.", std::os::fd::AsRawFd::as_raw_fd(&mount));
    let listing = listing(std::path::Path::new(&path));
    drop(mount);
    drop(images);
    Ok(listing)
}

#[test]
fn layers_stack_with_removals_and_replacements() {
    if !is_root() {
        return;
    }
    let base = Tar::new()
        .dir("d", 0o750)
        .file("d/old", b"1")
        .file("d/kept", b"2")
        .dir("o", 0o755)
        .file("o/old", b"");
    let top = Tar::new()
        .dir("d", 0o700)
        .file("d/.wh.old", b"")
        .file("d/new", b"")
        .dir("o", 0o755)
        .file("o/.wh..wh..opq", b"")
        .file("o/new", b"");
    let expected = "d dir 700 0:0
d/kept file 1 644 0:0
d/new file 0 644 0:0
o dir 755 0:0
o/new file 0 644 0:0";
    assert_eq!(merged("stack", &[base.end(), top.end()]).unwrap(), expected);
}

#[test]
fn a_layer_that_does_not_list_its_directories_keeps_their_attributes() {
    if !is_root() {
        return;
    }
    let base = Tar::new()
        .dir("tmp", 0o1777)
        .dir("usr", 0o755)
        .dir("usr/lib", 0o755)
        .symlink("lib", "usr/lib")
        .file("usr/lib/a", b"");
    let top = Tar::new().file("tmp/file", b"").file("lib/b", b"");
    let expected = "lib link -> usr/lib 777 0:0
tmp dir 1777 0:0
tmp/file file 0 644 0:0
usr dir 755 0:0
usr/lib dir 755 0:0
usr/lib/a file 0 644 0:0
usr/lib/b file 0 644 0:0";
    assert_eq!(merged("implied", &[base.end(), top.end()]).unwrap(), expected);
}

#[test]
fn a_hard_link_into_a_lower_layer_is_made() {
    if !is_root() {
        return;
    }
    let base = Tar::new().dir("bin", 0o755).raw("bin/tool", b'0', "", 0o4755, b"tool");
    let top = Tar::new().dir("bin", 0o755).link("bin/alias", "bin/tool");
    let above = Tar::new().file("bin/.wh.tool", b"");
    let expected = "bin dir 755 0:0\nbin/alias file 4 4755 0:0";
    assert_eq!(merged("hardlink", &[base.clone().end(), top.clone().end(), above.end()]).unwrap(), expected);
    let hidden = Tar::new().dir("bin", 0o755).file("bin/.wh.tool", b"");
    let error = merged("hardlink-gone", &[base.end(), hidden.end(), top.end()]).unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[test]
fn a_link_to_a_directory_of_a_lower_layer_is_followed() {
    if !is_root() {
        return;
    }
    let base = Tar::new().dir("run", 0o755);
    let top = Tar::new()
        .dir("var", 0o755)
        .symlink("var/run", "/run")
        .file("var/run/pid", b"1")
        .symlink("dangling", "made/here")
        .file("dangling/x", b"");
    let expected = "dangling link -> made/here 777 0:0
made dir 755 0:0
made/here dir 755 0:0
made/here/x file 0 644 0:0
run dir 755 0:0
run/pid file 1 644 0:0
var dir 755 0:0
var/run link -> /run 777 0:0";
    assert_eq!(merged("links-below", &[base.end(), top.end()]).unwrap(), expected);
}

#[test]
fn an_opaque_root_hides_everything_below() {
    if !is_root() {
        return;
    }
    let base = Tar::new().file("old", b"").dir("d", 0o755).file("d/old", b"");
    let top = Tar::new().file(".wh..wh..opq", b"").file("new", b"").dir("d", 0o700);
    assert_eq!(merged("opaque-root", &[base.end(), top.end()]).unwrap(), "d dir 700 0:0\nnew file 0 644 0:0");
}

#[test]
fn one_hundred_and_twenty_seven_layers_work_and_one_more_is_refused() {
    if !is_root() {
        return;
    }
    let layers: Vec<Vec<u8>> = (0..127).map(|n| Tar::new().file(&format!("f{n:03}"), b"x").end()).collect();
    assert_eq!(merged("layers127", &layers).unwrap().lines().count(), 127);
    let layers: Vec<Vec<u8>> = (0..128).map(|n| Tar::new().file(&format!("f{n:03}"), b"x").end()).collect();
    assert!(merged("layers128", &layers).unwrap_err().to_string().contains("limit of 127"));
}

#[test]
fn layers_are_shared_and_freed_with_their_last_image() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("shared");
    let images = scratch.open();
    let (base, a, b) = (
        Tar::new().file("base", b"1").end(),
        Tar::new().file("a", b"1").end(),
        Tar::new().file("b", b"1").end(),
    );
    images
        .load(docker_archive("one:1", &[base.clone(), a]).as_slice(), &LoadOptions::default(), &Silent)
        .unwrap();
    images.load(docker_archive("two:1", &[base, b]).as_slice(), &LoadOptions::default(), &Silent).unwrap();
    let count = || std::fs::read_dir(scratch.path.join("data/layers/sha256")).unwrap().count();
    assert_eq!(count(), 3);
    images.remove("one:1", RemoveOptions::default(), &NoUsers).unwrap();
    assert_eq!(count(), 2);
    images.remove("two:1", RemoveOptions::default(), &NoUsers).unwrap();
    assert_eq!(count(), 0);
    assert_eq!(std::fs::read_dir(scratch.path.join("data/blobs/sha256")).unwrap().count(), 0);
}
