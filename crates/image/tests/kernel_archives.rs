//! Archives that other tools make and read: skopeo, GNU tar, and our own in both directions.

mod support;

use std::path::Path;
use std::process::Command;

use image::{Filters, ImportOptions, LoadOptions, ManifestKind, NoUsers, RemoveOptions, Removed, Silent};
use oci::{Platform, Reference};
use support::{Scratch, Tar, docker_archive, docker_archive_of, has_program, is_root, listing, open};

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().expect("the program starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {words}");
    output.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are text")
}

fn layers() -> Vec<Vec<u8>> {
    let base = Tar::new().dir("etc", 0o755).file("etc/os-release", b"ID=test\n").file("etc/old", b"").end();
    let top = Tar::new().dir("etc", 0o755).file("etc/.wh.old", b"").file("etc/new", &vec![7; 100_000]).end();
    vec![base, top]
}

#[test]
fn what_is_saved_loads_with_the_same_id_and_skopeo_reads_both_formats() {
    if !is_root() || !has_program("skopeo") {
        return;
    }
    let scratch = Scratch::new("save");
    let images = scratch.open();
    images.load(docker_archive("app:1", &layers()).as_slice(), &LoadOptions::default(), &Silent).unwrap();
    let mut saved = Vec::new();
    images.save(&["app:1".to_owned()], &[], &mut saved).unwrap();
    let id = images.resolve("app:1").unwrap().id;

    let other = open(&scratch.path.join("other"));
    let loaded = other.load(saved.as_slice(), &LoadOptions::default(), &Silent).unwrap();
    assert_eq!((loaded[0].id.clone(), loaded[0].name.as_deref()), (id.clone(), Some("app:1")));
    let mut again = Vec::new();
    other.save(&["app:1".to_owned()], &[], &mut again).unwrap();
    assert!(saved == again, "the same image is saved as the same bytes");

    let tar = scratch.path.join("saved.tar");
    std::fs::write(&tar, &saved).unwrap();
    let path = text(&tar);
    for source in [format!("docker-archive:{path}"), format!("oci-archive:{path}")] {
        let told = String::from_utf8(run("skopeo", &["inspect", "--config", &source])).unwrap();
        assert!(told.contains("made-by"), "{source}: {told}");
    }
    let raw = run("skopeo", &["inspect", "--raw", &format!("oci-archive:{path}")]);
    assert_eq!(image::digest_of(&raw), id, "the manifest goes out byte for byte");
}

#[test]
fn layouts_and_archives_made_by_skopeo_load() {
    if !is_root() || !has_program("skopeo") {
        return;
    }
    let scratch = Scratch::new("skopeo");
    let archive = scratch.path.join("made.tar");
    std::fs::write(&archive, docker_archive("app:1", &layers())).unwrap();
    let source = format!("docker-archive:{}", text(&archive));
    let layout = scratch.path.join("layout");
    let copies = [
        ("docker", vec![], format!("docker-archive:{}:app:docker", text(&scratch.path.join("docker.tar")))),
        ("oci", vec![], format!("oci-archive:{}:app:oci", text(&scratch.path.join("oci.tar")))),
        ("zstd", vec!["--dest-compress-format", "zstd"], format!("oci:{}:app:zstd", text(&layout))),
    ];
    let images = scratch.open();
    let mut listings = Vec::new();
    for (tag, flags, destination) in copies {
        let mut arguments = vec!["copy", "--insecure-policy", "-q"];
        arguments.extend(flags);
        arguments.extend([source.as_str(), destination.as_str()]);
        run("skopeo", &arguments);
        let tar = match tag {
            "zstd" => run("tar", &["-C", text(&layout), "-c", "."]),
            tag => std::fs::read(scratch.path.join(format!("{tag}.tar"))).unwrap(),
        };
        let loaded = images.load(tar.as_slice(), &LoadOptions::default(), &Silent).unwrap();
        assert_eq!(loaded[0].name, Some(format!("app:{tag}")));
        let image = images.runnable(&format!("app:{tag}"), None).unwrap();
        let lower = images.lower_dirs(&image, &Silent).unwrap();
        listings.push(lower.iter().map(|path| listing(path)).collect::<Vec<_>>());
    }
    assert!(listings.windows(2).all(|pair| pair[0] == pair[1]), "{listings:?}");
    assert_eq!(images.list(&Filters::default(), false, &NoUsers).unwrap().len(), 3);
}

#[test]
fn an_image_of_several_platforms_keeps_its_index() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("index");
    let images = scratch.open();
    let (archive, index) = multi_platform(&["amd64", "arm64"], &["amd64", "arm64"]);
    let loaded = images.load(archive.as_slice(), &LoadOptions::default(), &Silent).unwrap();
    assert_eq!((loaded[0].id.clone(), loaded[0].name.as_deref()), (index.clone(), Some("multi:1")));
    let choose = |text: &str| images.runnable("multi:1", Some(&text.parse::<Platform>().unwrap()));
    assert_eq!(choose("linux/amd64").unwrap().config.architecture, "amd64");
    assert_eq!(choose("linux/arm64").unwrap().config.architecture, "arm64");
    assert_eq!(
        choose("linux/s390x").unwrap_err().to_string(),
        "image with reference multi:1 was found but does not provide the specified platform (linux/s390x)"
    );
    let details = images.inspect("multi:1", None).unwrap();
    assert_eq!((details.id, details.manifests.len()), (index.clone(), 2));
    assert!(details.manifests.iter().all(|manifest| manifest.available));

    // One platform only: the index goes out whole, the other platform's content does not.
    let mut saved = Vec::new();
    images.save(&["multi:1".to_owned()], &["linux/arm64".parse().unwrap()], &mut saved).unwrap();
    let other = open(&scratch.path.join("other"));
    let wanted = LoadOptions { platforms: vec!["linux/arm64".parse().unwrap()] };
    assert_eq!(other.load(saved.as_slice(), &wanted, &Silent).unwrap()[0].id, index);
    let kinds: Vec<bool> =
        other.inspect("multi:1", None).unwrap().manifests.iter().map(|m| m.available).collect();
    assert_eq!(kinds, [false, true]);
    let wanted = LoadOptions { platforms: vec!["linux/amd64".parse().unwrap()] };
    assert!(other.load(saved.as_slice(), &wanted, &Silent).is_err());
    assert!(matches!(details.manifests[0].kind, ManifestKind::Image { .. }));
}

/// An OCI layout with an index named `multi:1`; `here` are the architectures whose content is in it.
fn multi_platform(architectures: &[&str], here: &[&str]) -> (Vec<u8>, oci::Digest) {
    use serde_json::json;
    let mut tar = Tar::new();
    let mut manifests = Vec::new();
    let add =
        |tar: Tar, bytes: &[u8]| tar.file(&format!("blobs/sha256/{}", image::digest_of(bytes).hex()), bytes);
    let describe = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": image::digest_of(bytes), "size": bytes.len()});
    for architecture in architectures {
        let layer = Tar::new().file("arch", architecture.as_bytes()).end();
        let config = json!({
            "architecture": architecture, "os": "linux", "created": "2026-01-01T00:00:00Z",
            "rootfs": {"type": "layers", "diff_ids": [image::digest_of(&layer)]},
        })
        .to_string();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": describe("application/vnd.oci.image.config.v1+json", config.as_bytes()),
            "layers": [describe("application/vnd.oci.image.layer.v1.tar", &layer)],
        })
        .to_string();
        let mut descriptor = describe("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
        descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
        manifests.push(descriptor);
        if here.contains(architecture) {
            tar = add(add(add(tar, &layer), config.as_bytes()), manifest.as_bytes());
        }
    }
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}).to_string();
    tar = add(tar, index.as_bytes());
    let mut named = describe("application/vnd.oci.image.index.v1+json", index.as_bytes());
    named["annotations"] = json!({"io.containerd.image.name": "docker.io/library/multi:1"});
    let top = json!({"schemaVersion": 2, "manifests": [named]}).to_string();
    let tar = tar.file("index.json", top.as_bytes()).file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    (tar.end(), image::digest_of(index.as_bytes()))
}

#[test]
fn archives_that_lie_leave_no_image() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("lies");
    let images = scratch.open();
    let good = docker_archive("app:1", &layers());
    let refuse = |archive: &[u8], words: &str| {
        let error = images.load(archive, &LoadOptions::default(), &Silent).unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert!(images.list(&Filters::default(), false, &NoUsers).unwrap().is_empty());
        for directory in ["blobs/sha256", "layers/sha256", "layers/tmp", "ingest"] {
            let left = std::fs::read_dir(scratch.path.join("data").join(directory)).unwrap().count();
            assert_eq!(left, 0, "{words}: {directory}");
        }
    };
    refuse(b"", "neither an OCI layout");
    refuse(&Tar::new().file("other", b"").end(), "neither an OCI layout");
    refuse(&Tar::new().file("manifest.json", b"{}").end(), "manifest.json is malformed");
    refuse(&Tar::new().file("manifest.json", b"[]").end(), "names no image");
    refuse(&Tar::new().file("index.json", b"[1").end(), "index.json is malformed");
    refuse(&good[..good.len() / 2], "unexpected EOF");
    let missing = br#"[{"Config":"no.json","RepoTags":["a:1"],"Layers":[]}]"#;
    refuse(&Tar::new().file("manifest.json", missing).end(), "which is not in it");
    let outside = br#"[{"Config":"../../../etc/passwd","RepoTags":["a:1"],"Layers":[]}]"#;
    refuse(&Tar::new().file("manifest.json", outside).end(), "which is not in it");
    refuse(&Tar::new().file("../escape", b"x").end(), "leads out of it");
    let looping = br#"[{"Config":"a","RepoTags":["a:1"],"Layers":[]}]"#;
    refuse(
        &Tar::new().symlink("a", "b").symlink("b", "a").file("manifest.json", looping).end(),
        "which is not in it",
    );
    let lie =
        Tar::new().file(&format!("blobs/sha256/{}", "a".repeat(64)), b"not this").file("index.json", b"{}");
    refuse(&lie.end(), "unexpected digest");
    // A layer that is not the one the configuration promises.
    let (layer, other) = (Tar::new().file("a", b"").end(), Tar::new().file("b", b"").end());
    let config = serde_json::json!({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[image::digest_of(&other)]}});
    let list = br#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l.tar"]}]"#;
    let tar = Tar::new()
        .file("l.tar", &layer)
        .file("c.json", config.to_string().as_bytes())
        .file("manifest.json", list);
    refuse(&tar.end(), "unexpected digest");
    let name = docker_archive("Not A Name", &layers());
    refuse(&name, "invalid reference format");
    let (archive, _) = multi_platform(&["amd64"], &[]);
    refuse(&archive, "is not in the store");
    // Type confusion: a descriptor that calls a manifest an index.
    let (archive, _) = multi_platform(&["amd64"], &["amd64"]);
    let text = String::from_utf8_lossy(&archive)
        .replace("image.index.v1+json\",\"digest", "image.manifest.v1+json\",\"digest");
    let confused = images.load(text.as_bytes(), &LoadOptions::default(), &Silent);
    assert!(confused.is_err(), "{confused:?}");
}

#[test]
fn a_docker_archive_with_links_between_layers_loads() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("links");
    let images = scratch.open();
    let layer = Tar::new().file("a", b"").end();
    let id = image::digest_of(&layer);
    let config = serde_json::json!({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[id, id]}});
    let list = br#"[{"Config":"c.json","RepoTags":["a:1","b:2"],"Layers":["x/layer.tar","y/layer.tar"]}]"#;
    let tar = Tar::new()
        .dir("x", 0o755)
        .file("x/VERSION", b"1.0")
        .file("x/json", b"{}")
        .file("x/layer.tar", &layer)
        .symlink("y/layer.tar", "../x/layer.tar")
        .file("c.json", config.to_string().as_bytes())
        .file("repositories", b"{}")
        .file("manifest.json", list);
    let loaded = images.load(tar.end().as_slice(), &LoadOptions::default(), &Silent).unwrap();
    let names: Vec<_> = loaded.iter().filter_map(|image| image.name.as_deref()).collect();
    assert_eq!(names, ["a:1", "b:2"]);
    assert_eq!(images.lower_dirs(&images.runnable("a:1", None).unwrap(), &Silent).unwrap().len(), 2);
}

#[test]
fn gnu_tar_archives_of_every_format_import_as_they_are() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("gnutar");
    let tree = scratch.path.join("tree");
    let deep = format!("{}/{}", "directory".repeat(15), "name".repeat(40));
    std::fs::create_dir_all(tree.join(&deep)).unwrap();
    std::fs::write(tree.join(&deep).join("file"), "deep").unwrap();
    std::fs::write(tree.join("with space\nand newline"), "x").unwrap();
    std::fs::hard_link(tree.join(&deep).join("file"), tree.join("hard")).unwrap();
    std::os::unix::fs::symlink("l".repeat(150), tree.join("soft")).unwrap();
    run("chown", &["4000000:4000000", text(&tree.join("hard"))]);
    run("mkfifo", &[text(&tree.join("pipe"))]);
    let images = scratch.open();
    for format in ["gnu", "pax", "posix", "oldgnu"] {
        let tar = run("tar", &["-C", text(&tree), &format!("--format={format}"), "-c", "."]);
        let options =
            ImportOptions { reference: Some(Reference::parse(format).unwrap()), ..ImportOptions::default() };
        images.import(tar.as_slice(), &options, &Silent).unwrap();
        let lower = images.lower_dirs(&images.runnable(format, None).unwrap(), &Silent).unwrap();
        assert_eq!(listing(&lower[0]), listing(&tree), "{format}");
    }
}

#[test]
fn names_lists_and_history_tell_what_was_done() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("names");
    let images = scratch.open();
    let import = |name: &str, content: &[u8], changes: &[&str]| {
        let options = ImportOptions {
            reference: Some(Reference::parse(name).unwrap()),
            message: "imported for a test".to_owned(),
            changes: changes.iter().map(|change| (*change).to_owned()).collect(),
            platform: None,
        };
        images.import(Tar::new().file("f", content).end().as_slice(), &options, &Silent).unwrap()
    };
    let first = import("app", b"1", &["CMD [\"/f\"]", "LABEL a=b", "ENV X=1"]);
    let second = import("app", b"22", &[]);
    assert_ne!(first, second);
    let lines = images.list(&Filters::default(), true, &NoUsers).unwrap();
    let tags: Vec<_> = lines.iter().map(|line| (line.id.clone(), line.repo_tags.clone())).collect();
    assert!(
        tags.contains(&(second.clone(), vec!["app:latest".to_owned()]))
            && tags.contains(&(first.clone(), vec![]))
    );
    let dangling = Filters { dangling: Some(true), ..Filters::default() };
    assert_eq!(images.list(&dangling, false, &NoUsers).unwrap()[0].id, first);
    let labelled = Filters { labels: vec!["a=b".into()], ..Filters::default() };
    assert_eq!(images.list(&labelled, false, &NoUsers).unwrap()[0].id, first);
    let history = images.history(first.hex(), None).unwrap();
    assert_eq!(
        (history.len(), history[0].comment.as_str(), history[0].id.clone()),
        (1, "imported for a test", Some(first.clone()))
    );
    let details = images.inspect(&first.to_string()[..20], None).unwrap();
    assert_eq!(details.config.config.cmd, Some(vec!["/f".to_owned()]));
    assert_eq!((details.repo_tags.len(), details.repo_digests.len()), (0, 0));
    images.tag("app", &Reference::parse("ghcr.io/x/app:v1").unwrap()).unwrap();
    let details = images.inspect("app", None).unwrap();
    assert_eq!(details.repo_tags, ["app:latest", "ghcr.io/x/app:v1"]);
    assert_eq!(details.repo_digests, [format!("app@{second}"), format!("ghcr.io/x/app@{second}")]);
    assert!(details.last_tagged.is_some());
    let removed = images.remove("app", RemoveOptions::default(), &NoUsers).unwrap();
    assert_eq!(removed, [Removed::Untagged("app:latest".into())]);
    let pruned = images.prune(false, &Filters::default(), &NoUsers).unwrap();
    assert_eq!(pruned.removed, [Removed::Deleted(first)]);
    assert!(pruned.bytes > 0);
    let pruned = images.prune(true, &Filters::default(), &NoUsers).unwrap();
    assert_eq!(pruned.removed, [Removed::Untagged("ghcr.io/x/app:v1".into()), Removed::Deleted(second)]);
    assert!(images.list(&Filters::default(), false, &NoUsers).unwrap().is_empty());
}

#[test]
fn the_image_that_berth_carries_loads() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("hello");
    let images = scratch.open();
    let archive = image::hello::hello_world_archive();
    let loaded = images.load(archive.as_slice(), &LoadOptions::default(), &Silent).unwrap();
    assert_eq!(loaded[0].name.as_deref(), Some("hello-world:latest"));
    let image = images.runnable("hello-world", None).unwrap();
    assert_eq!(image.config.config.cmd, Some(vec!["/hello".to_owned()]));
}

#[test]
fn disk_usage_is_what_du_says_and_a_sound_store_checks_clean() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("df");
    let images = scratch.open();
    images.load(docker_archive("app:1", &layers()).as_slice(), &LoadOptions::default(), &Silent).unwrap();
    let usage = images.disk_usage(&NoUsers).unwrap();
    let du = |directory: &str| -> u64 {
        let told = run("du", &["-s", "-B1", text(&scratch.path.join(directory))]);
        String::from_utf8(told).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    };
    // du counts the directory that holds the layers or blobs as well.
    assert_eq!(usage.layers + 4096, du("data/layers/sha256"));
    assert_eq!(usage.content + 4096, du("data/blobs/sha256"));
    assert_eq!((usage.images, usage.active), (1, 0));
    assert_eq!(usage.reclaimable, usage.content + usage.layers);
    assert_eq!(images.check(false).unwrap(), image::CheckReport::default());
}

#[test]
fn a_check_finds_damage_and_repairs_what_can_be_repaired() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("check");
    let images = scratch.open();
    images.load(docker_archive("app:1", &layers()).as_slice(), &LoadOptions::default(), &Silent).unwrap();
    let image = images.runnable("app:1", None).unwrap();
    let lower = images.lower_dirs(&image, &Silent).unwrap();
    std::fs::remove_dir_all(&lower[0]).unwrap();
    let report = images.check(true).unwrap();
    assert!(report.problems[0].contains("has a record and no directory"), "{report:?}");
    assert_eq!(images.lower_dirs(&image, &Silent).unwrap(), lower, "it is unpacked again");
    assert!(lower[0].join("etc/new").exists());

    // What is in a layer is looked at as well, once its files are on the disk.
    images.settle().unwrap();
    assert_eq!(images.check(false).unwrap(), image::CheckReport::default());
    std::fs::remove_file(lower[0].join("etc/new")).unwrap();
    let report = images.check(true).unwrap();
    assert!(report.problems[0].contains("something of it was removed or changed"), "{report:?}");
    assert_eq!(images.lower_dirs(&image, &Silent).unwrap(), lower);
    assert!(lower[0].join("etc/new").exists());

    let blobs = scratch.path.join("data/blobs/sha256");
    let document = std::fs::read(blobs.join(image.manifest.digest.hex())).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    let config = document["config"]["digest"].as_str().unwrap().trim_start_matches("sha256:");
    let (config, aside) = (blobs.join(config), scratch.path.join("aside"));
    std::fs::rename(&config, &aside).unwrap();
    let report = images.check(false).unwrap();
    assert!(report.problems.iter().any(|line| line.contains("is missing: it cannot be run")), "{report:?}");
    std::fs::rename(&aside, &config).unwrap();

    let manifest = blobs.join(image.manifest.digest.hex());
    std::fs::remove_file(&manifest).unwrap();
    std::fs::write(&manifest, "{}").unwrap();
    let report = images.check(false).unwrap();
    assert!(report.problems.iter().any(|line| line.contains("is damaged")), "{report:?}");
    assert!(report.repairs.is_empty());
    let collected = images.collect().unwrap();
    assert_eq!(collected, image::Collected::default(), "what a damaged document names stays");
    let report = images.check(true).unwrap();
    assert!(report.repairs.iter().any(|line| line.contains("removed the name")), "{report:?}");
    assert!(images.list(&Filters::default(), false, &NoUsers).unwrap().is_empty());
}

#[test]
fn names_lost_with_the_database_are_found_again_from_content() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("rebuild");
    let images = scratch.open();
    images.load(docker_archive("app:1", &layers()).as_slice(), &LoadOptions::default(), &Silent).unwrap();
    let id = images.resolve("app:1").unwrap().id;
    drop(images);
    let meta = scratch.path.join("data/meta");
    std::fs::write(meta.join("records.redb"), vec![1; 1 << 20]).unwrap();
    assert_eq!(store::Store::open(&meta).unwrap_err().kind(), store::Kind::Corrupt);
    store::Store::set_aside(&meta).unwrap().unwrap();
    let images = scratch.open();
    let report = images.check(true).unwrap();
    assert!(report.repairs.iter().any(|line| line.contains("can be used by its ID again")), "{report:?}");
    assert_eq!(images.resolve(id.hex()).unwrap().id, id);
    images.prepare_snapshot("c", &images.runnable(id.hex(), None).unwrap(), &Silent).unwrap();
    // What the check found is held by the records again: only what nothing needs is freed.
    assert_eq!(images.collect().unwrap(), image::Collected::default());
    images.remove_snapshot("c").unwrap();
    images.prune(true, &Filters::default(), &NoUsers).unwrap();
    assert_eq!(std::fs::read_dir(scratch.path.join("data/blobs/sha256")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(scratch.path.join("data/layers/sha256")).unwrap().count(), 0);
}

#[test]
fn a_removal_frees_what_no_other_image_and_no_container_needs() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("uses");
    let images = scratch.open();
    let count = |name: &str| std::fs::read_dir(scratch.path.join("data").join(name)).unwrap().count();
    let base = Tar::new().file("base", &vec![1; 10_000]).end();
    for name in ["a:1", "b:1"] {
        let top = Tar::new().file("top", name.as_bytes()).end();
        let archive = docker_archive(name, &[base.clone(), top]);
        images.load(archive.as_slice(), &LoadOptions::default(), &Silent).unwrap();
    }
    assert_eq!((count("blobs/sha256"), count("layers/sha256")), (7, 3));
    images.prepare_snapshot("c", &images.runnable("b:1", None).unwrap(), &Silent).unwrap();
    images.tag("a:1", &Reference::parse("a:2").unwrap()).unwrap();
    let force = RemoveOptions { force: true };
    images.remove("a:1", force, &NoUsers).unwrap();
    assert_eq!((count("blobs/sha256"), count("layers/sha256")), (7, 3), "another name has it");
    images.remove("a:2", force, &NoUsers).unwrap();
    assert_eq!((count("blobs/sha256"), count("layers/sha256")), (4, 2), "the base is shared");
    images.remove("b:1", force, &NoUsers).unwrap();
    assert_eq!((count("blobs/sha256"), count("layers/sha256")), (4, 2), "a container has it");
    drop(images);
    let images = scratch.open();
    assert_eq!(images.collect().unwrap(), image::Collected::default());
    images.remove_snapshot("c").unwrap();
    images.collect().unwrap();
    assert_eq!((count("blobs/sha256"), count("layers/sha256")), (0, 0));
}

#[test]
fn before_and_since_tell_images_of_one_second_apart() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("archives-moments");
    let images = scratch.open();
    let layer = Tar::new().file("a", b"a").end();
    for (name, moment) in [("one", "05.1Z"), ("two", "05.100000001Z"), ("three", "05.9Z")] {
        let archive =
            docker_archive_of(name, std::slice::from_ref(&layer), &format!("2026-01-02T03:04:{moment}"));
        images.load(archive.as_slice(), &LoadOptions::default(), &Silent).unwrap();
    }
    let list = |filters: Filters| -> Vec<String> {
        let lines = images.list(&filters, false, &NoUsers).unwrap();
        lines.into_iter().flat_map(|line| line.repo_tags).collect()
    };
    let of = |name: &str| Some(name.to_owned());
    assert_eq!(list(Filters::default()), ["three:latest", "two:latest", "one:latest"]);
    assert_eq!(list(Filters { before: of("two"), ..Filters::default() }), ["one:latest"]);
    assert_eq!(list(Filters { since: of("two"), ..Filters::default() }), ["three:latest"]);
    let between = Filters { since: of("one"), before: of("three"), ..Filters::default() };
    assert_eq!(list(between), ["two:latest"]);
}
