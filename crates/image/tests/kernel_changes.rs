//! What containers change: diff, export, commit, and files copied in and out, also while the container fights back.

mod support;

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use image::{ChangeKind, CommitOptions, Images, Limits, LoadOptions, Silent, Snapshot, archive};
use oci::Reference;
use support::{Scratch, Tar, docker_archive, is_root, listing};

/// An image of two layers and a container of it.
fn container(images: &Images) -> Snapshot {
    let base = Tar::new()
        .dir("etc", 0o755)
        .file("etc/kept", b"1")
        .file("etc/changed", b"1")
        .file("etc/removed", b"1")
        .dir("old", 0o755)
        .file("old/a", b"")
        .end();
    let top = Tar::new().dir("bin", 0o755).raw("bin/tool", b'0', "", 0o4755, b"tool").end();
    images.load(docker_archive("app:1", &[base, top]).as_slice(), &LoadOptions::default(), &Silent).unwrap();
    images.prepare_snapshot("c1", &images.runnable("app:1", None).unwrap(), &Silent).unwrap()
}

fn path_of(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/.", fd.as_raw_fd()))
}

/// What the container of the tests does to its root.
fn change(images: &Images) {
    let root = images.mount("c1").unwrap();
    let path = path_of(&root);
    std::fs::write(path.join("etc/changed"), "22").unwrap();
    std::fs::remove_file(path.join("etc/removed")).unwrap();
    std::fs::remove_dir_all(path.join("old")).unwrap();
    std::fs::create_dir(path.join("old")).unwrap();
    std::fs::write(path.join("old/b"), "new").unwrap();
    std::fs::create_dir(path.join("new")).unwrap();
    std::fs::write(path.join("new/file"), vec![5; 70_000]).unwrap();
    std::fs::hard_link(path.join("new/file"), path.join("new/second")).unwrap();
    std::os::unix::fs::symlink("/etc/kept", path.join("new/link")).unwrap();
    std::fs::hard_link(path.join("bin/tool"), path.join("bin/alias")).unwrap();
}

#[test]
fn changes_are_listed_as_docker_diff_lists_them() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("diff");
    let images = scratch.open();
    container(&images);
    assert_eq!(images.changes("c1").unwrap(), []);
    change(&images);
    let letter = |kind| match kind {
        ChangeKind::Modified => 'C',
        ChangeKind::Added => 'A',
        ChangeKind::Deleted => 'D',
    };
    let lines: Vec<String> =
        images.changes("c1").unwrap().iter().map(|c| format!("{} {}", letter(c.kind), c.path)).collect();
    let expected = [
        "C /bin",
        "A /bin/alias",
        "C /bin/tool",
        "C /etc",
        "C /etc/changed",
        "D /etc/removed",
        "A /new",
        "A /new/file",
        "A /new/link",
        "A /new/second",
        "C /old",
        "A /old/b",
    ];
    assert_eq!(lines, expected);
    assert_eq!(images.changes("none").unwrap_err().to_string(), "No such container: none");
}

#[test]
fn a_commit_is_the_container_and_an_export_imports_as_it() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("commit");
    let images = scratch.open();
    container(&images);
    change(&images);
    let container = listing(&path_of(&images.view("c1").unwrap()));
    let options = CommitOptions {
        reference: Some(Reference::parse("app:2").unwrap()),
        comment: "a comment".to_owned(),
        author: "somebody".to_owned(),
        changes: vec!["ENV A=1".to_owned(), "CMD [\"/bin/tool\"]".to_owned()],
        ..CommitOptions::default()
    };
    let id = images.commit("c1", &options, &Silent).unwrap();
    let image = images.runnable("app:2", None).unwrap();
    assert_eq!((image.id.clone(), image.config.rootfs.diff_ids.len()), (id, 3));
    assert_eq!(image.config.config.env, ["A=1"]);
    assert_eq!(image.config.history.last().unwrap().comment, "a comment");
    images.prepare_snapshot("c2", &image, &Silent).unwrap();
    assert_eq!(listing(&path_of(&images.view("c2").unwrap())), container);

    let mut tar = Vec::new();
    images.export("c1", &mut tar).unwrap();
    let options = image::ImportOptions {
        reference: Some(Reference::parse("flat").unwrap()),
        ..image::ImportOptions::default()
    };
    images.import(tar.as_slice(), &options, &Silent).unwrap();
    images.prepare_snapshot("c3", &images.runnable("flat", None).unwrap(), &Silent).unwrap();
    assert_eq!(listing(&path_of(&images.view("c3").unwrap())), container);
    let output = std::process::Command::new("tar")
        .args(["-tf", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut child = output.unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &tar).unwrap();
    let names = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(names.contains("new/file\nnew/link\nnew/second\n"), "{names}");
}

#[test]
fn a_commit_of_several_generations_stacks() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("generations");
    let images = scratch.open();
    container(&images);
    for generation in 1..5 {
        let id = format!("c{generation}");
        {
            let root = images.mount(&id).unwrap();
            std::fs::write(path_of(&root).join(format!("g{generation}")), "x").unwrap();
        }
        let name = Reference::parse(&format!("app:g{generation}")).unwrap();
        let options = CommitOptions { reference: Some(name.clone()), ..CommitOptions::default() };
        images.commit(&id, &options, &Silent).unwrap();
        let image = images.runnable(&name.familiar(), None).unwrap();
        images.prepare_snapshot(&format!("c{}", generation + 1), &image, &Silent).unwrap();
    }
    let all = listing(&path_of(&images.view("c5").unwrap()));
    assert!((1..5).all(|generation| all.contains(&format!("g{generation} file 1"))), "{all}");
}

fn copy_in(root: &OwnedFd, path: &str, tar: &[u8], options: archive::WriteOptions) -> Result<(), String> {
    archive::write(
        root,
        path,
        tar,
        options,
        &image::Translation::default(),
        &Limits { keep_free: 0, ..Limits::default() },
    )
    .map_err(|e| e.to_string())
}

#[test]
fn files_are_copied_in_and_out() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("cp");
    let images = scratch.open();
    container(&images);
    let root = images.mount("c1").unwrap();
    let path = path_of(&root);
    std::os::unix::fs::symlink("/etc", path.join("link")).unwrap();
    std::os::unix::fs::symlink("../../../../etc/kept", path.join("bin/up")).unwrap();

    let stat = archive::stat(&root, "/bin/tool").unwrap();
    assert_eq!((stat.name.as_str(), stat.size, stat.mode), ("tool", 4, 0x0080_01ed));
    let stat = archive::stat(&root, "/link").unwrap();
    assert_eq!((stat.mode & (1 << 27), stat.link_target.as_str()), (1 << 27, "/etc"));
    assert_eq!(archive::stat(&root, "/bin/up").unwrap().link_target, "/etc/kept");
    assert_eq!(archive::stat(&root, "/link/").unwrap().mode, (1 << 31) | 0o755);
    assert_eq!(archive::stat(&root, "/../../link/kept").unwrap().name, "kept");
    assert_eq!(archive::stat(&root, "/").unwrap().name, "/");
    assert_eq!(archive::stat(&root, "/etc/.").unwrap().name, ".");
    // Links to links are followed to the end, and what is missing stays as it is written.
    std::os::unix::fs::symlink("../link/kept", path.join("bin/through")).unwrap();
    std::os::unix::fs::symlink("through", path.join("bin/first")).unwrap();
    std::os::unix::fs::symlink("/link/../none/x", path.join("bin/broken")).unwrap();
    std::os::unix::fs::symlink("loop", path.join("bin/loop")).unwrap();
    assert_eq!(archive::stat(&root, "/bin/first").unwrap().link_target, "/etc/kept");
    assert_eq!(archive::stat(&root, "/bin/broken").unwrap().link_target, "/none/x");
    assert_eq!(archive::stat(&root, "/bin/loop").unwrap_err().to_string(), "too many links in /bin/loop");
    let missing = archive::stat(&root, "/none").unwrap_err();
    assert_eq!(
        (missing.kind(), missing.to_string().as_str()),
        (image::Kind::NotFound, "Could not find the file /none in container")
    );

    let names = |path: &str| {
        let mut tar = Vec::new();
        let mut told = None;
        archive::read(&root, path, &image::Translation::default(), |stat| told = Some(stat), &mut tar)
            .unwrap();
        assert_eq!(told, Some(archive::stat(&root, path).unwrap()));
        let file = scratch.path.join("out.tar");
        std::fs::write(&file, &tar).unwrap();
        let output = std::process::Command::new("tar").arg("-tf").arg(&file).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(names("/bin/tool"), "tool\n");
    assert_eq!(names("/etc"), "etc/\netc/changed\netc/kept\netc/removed\n");
    assert_eq!(names("/etc/."), "./\n./changed\n./kept\n./removed\n");
    assert_eq!(names("/link"), "link\n");
    assert!(names("/").starts_with("/\n/bin/\n/bin/broken\n"), "{}", names("/"));
    assert_eq!(names("/link/"), "link/\nlink/changed\nlink/kept\nlink/removed\n");

    let tar = Tar::new().file("a/b", b"in").file(".wh.kept", b"plain").dir("./", 0o700).end();
    copy_in(&root, "/etc", &tar, archive::WriteOptions::default()).unwrap();
    copy_in(
        &root,
        "/link",
        &Tar::new().file("through", b"").end(),
        archive::WriteOptions { owner: Some((7, 8)), ..archive::WriteOptions::default() },
    )
    .unwrap();
    let found = listing(&path.join("etc"));
    for line in
        ["a/b file 2 644 0:0", ".wh.kept file 5 644 0:0", "kept file 1 644 0:0", "through file 0 644 7:8"]
    {
        assert!(found.contains(line), "{line}: {found}");
    }
    assert_eq!(
        archive::stat(&root, "/etc").unwrap().mode & 0o777,
        0o755,
        "the directory itself stays as it is"
    );
    let strict = archive::WriteOptions { no_overwrite_dir_non_dir: true, ..archive::WriteOptions::default() };
    let words = copy_in(&root, "/", &Tar::new().file("etc", b"").end(), strict).unwrap_err();
    assert_eq!(words, "cannot overwrite directory \"etc\" with non-directory \"etc\"");
    let words = copy_in(&root, "/etc", &Tar::new().dir("kept", 0o755).end(), strict).unwrap_err();
    assert_eq!(words, "cannot overwrite non-directory \"kept\" with directory \"kept\"");
    let words = copy_in(&root, "/etc/kept", &Tar::new().end(), strict).unwrap_err();
    assert_eq!(words, "extraction point is not a directory");
    assert!(copy_in(&root, "/none", &Tar::new().end(), strict).is_err());
    assert!(
        copy_in(&root, "/etc", &Tar::new().file("../../x", b"").end(), strict)
            .unwrap_err()
            .contains("leads out")
    );
}

#[test]
fn a_container_that_swaps_links_cannot_lead_a_copy_out_of_its_root() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("race");
    let outside = scratch.path.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    let inside = scratch.path.join("root");
    std::fs::create_dir_all(inside.join("dir")).unwrap();
    std::fs::create_dir_all(inside.join("real")).unwrap();
    let root: OwnedFd = std::fs::File::open(&inside).unwrap().into();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let tar = Tar::new()
        .file("dir/secret", b"evil")
        .raw("dir/pipe", b'6', "", 0o777, b"")
        .dir("dir/sub", 0o777)
        .end();
    let before = listing(&outside);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // What a hostile program in the container does: the directory becomes a link out and back again.
            let (dir, link, spare) = (inside.join("dir"), inside.join("link"), inside.join("spare"));
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                drop(std::os::unix::fs::symlink(&outside, &link));
                drop(std::fs::rename(&dir, &spare));
                drop(std::fs::rename(&link, &dir));
                drop(std::fs::remove_file(&dir));
                drop(std::fs::rename(&spare, &dir));
            }
        });
        for _ in 0..400 {
            // Whether one attempt succeeds or is refused depends on the race; where it writes does not.
            drop(copy_in(&root, "/", &tar, archive::WriteOptions::default()));
            let mut out = Vec::new();
            if archive::read(&root, "/dir/", &image::Translation::default(), drop, &mut out).is_ok() {
                assert!(!file_content(&out, b"secret"), "a file outside was read");
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(listing(&outside), before);
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
}

/// Whether a block of the archive starts with the given content (a file's content starts at a block).
fn file_content(archive: &[u8], content: &[u8]) -> bool {
    archive
        .chunks(512)
        .any(|block| block.starts_with(content) && block[content.len()..].iter().all(|byte| *byte == 0))
}

#[test]
fn sizes_are_those_of_the_upper_directory() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("sizes");
    let images = scratch.open();
    container(&images);
    let before = images.snapshot_usage("c1").unwrap();
    {
        let root = images.mount("c1").unwrap();
        std::fs::write(path_of(&root).join("big"), vec![1; 1 << 20]).unwrap();
    }
    let after = images.snapshot_usage("c1").unwrap();
    assert_eq!(after.length - before.length, 1 << 20);
    assert!(images.snapshot_lower_size("c1").unwrap() > 0);
    assert!(
        !Path::new("/proc/self/mountinfo").exists()
            || !std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains("berth-test")
    );
}
