//! Random layers: stacked by overlayfs they must look as if they had been applied one after the other, and whatever
//! they contain, nothing outside changes.

mod support;

use std::collections::BTreeMap;

use image::{ImportOptions, LoadOptions, Silent};
use support::{Scratch, Tar, docker_archive, is_root, listing};

/// A small generator of our own, so that a failure can be repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// What a path of the model is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Dir(u32),
    /// A file by its content, which the model gives a number.
    File(usize),
    Link(String),
}

/// A tree as paths; parents are always there.
type Tree = BTreeMap<String, Node>;

fn remove(tree: &mut Tree, path: &str) {
    let below = format!("{path}/");
    tree.retain(|name, _| name != path && !name.starts_with(&below));
}

fn make_parents(tree: &mut Tree, made: &mut Vec<String>, path: &str) -> bool {
    let mut done = String::new();
    let Some((parents, _)) = path.rsplit_once('/') else { return true };
    for part in parents.split('/') {
        done = if done.is_empty() { part.to_owned() } else { format!("{done}/{part}") };
        match tree.get(&done) {
            Some(Node::Dir(_)) => {}
            Some(_) => return false,
            None => drop(tree.insert(done.clone(), Node::Dir(0o755))),
        }
        made.push(done.clone());
    }
    true
}

/// Whether a layer has made something at or below a path.
fn touches(made: &[String], path: &str) -> bool {
    let below = format!("{path}/");
    made.iter().any(|name| name == path || name.starts_with(&below))
}

/// Applies a random layer to the model and builds its tar. Entries that the model cannot apply are left out.
fn random_layer(random: &mut Random, tree: &mut Tree, contents: &mut usize) -> Vec<u8> {
    let names = ["a", "b", "c", "d"];
    let mut tar = Tar::new();
    let mut made: Vec<String> = Vec::new();
    for _ in 0..random.below(14) {
        let depth = 1 + random.below(3);
        let path = (0..depth).map(|_| random.pick(&names)).collect::<Vec<_>>().join("/");
        let before = (tree.clone(), made.clone());
        let kind = random.below(10);
        if !make_parents(tree, &mut made, &path) {
            (*tree, made) = before;
            continue;
        }
        match kind {
            0..=2 => {
                let mode = [0o755, 0o700, 0o1777][random.below(3)];
                if !matches!(tree.get(&path), Some(Node::Dir(_))) {
                    remove(tree, &path);
                }
                tree.insert(path.clone(), Node::Dir(mode));
                tar = tar.dir(&path, mode);
                made.push(path);
            }
            3..=5 => {
                *contents += 1;
                remove(tree, &path);
                tree.insert(path.clone(), Node::File(*contents));
                tar = tar.file(&path, &vec![b'x'; *contents]);
                made.push(path);
            }
            6 => {
                remove(tree, &path);
                tree.insert(path.clone(), Node::Link("nowhere".to_owned()));
                tar = tar.symlink(&path, "nowhere");
                made.push(path);
            }
            7 => {
                // A hard link to any file of the tree, also one of a lower layer.
                let files: Vec<(String, usize)> = tree
                    .iter()
                    .filter_map(|(name, node)| match node {
                        Node::File(content) if *name != path => Some((name.clone(), *content)),
                        _ => None,
                    })
                    .collect();
                if files.is_empty() {
                    (*tree, made) = before;
                    continue;
                }
                let (target, content) = files[random.below(files.len())].clone();
                if target.starts_with(&format!("{path}/")) {
                    (*tree, made) = before;
                    continue;
                }
                remove(tree, &path);
                tree.insert(path.clone(), Node::File(content));
                tar = tar.link(&path, &target);
                made.push(path);
            }
            8 => {
                // Marks come before what the layer has in their place (image specification, whiteouts); the other order
                // means different things to different engines.
                if touches(&made, &path) {
                    (*tree, made) = before;
                    continue;
                }
                remove(tree, &path);
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
                let mark =
                    if parent.is_empty() { format!(".wh.{name}") } else { format!("{parent}/.wh.{name}") };
                tar = tar.file(&mark, b"");
            }
            _ => {
                let parent = match path.rsplit_once('/') {
                    Some((parent, _)) if !touches(&before.1, parent) => parent,
                    _ => {
                        (*tree, made) = before;
                        continue;
                    }
                };
                let below = format!("{parent}/");
                tree.retain(|name, _| !name.starts_with(&below));
                tar = tar.file(&format!("{parent}/.wh..wh..opq"), b"");
            }
        }
    }
    tar.end()
}

fn show(tree: &Tree) -> String {
    let line = |(path, node): (&String, &Node)| match node {
        Node::Dir(mode) => format!("{path} dir {mode:o} 0:0"),
        Node::File(content) => format!("{path} file {content} 644 0:0"),
        Node::Link(target) => format!("{path} link -> {target} 777 0:0"),
    };
    let mut lines: Vec<String> = tree.iter().map(line).collect();
    lines.sort();
    lines.join("\n")
}

/// The entries of a layer, for a failure's message.
fn names(layer: &[u8]) -> String {
    let mut child = std::process::Command::new("tar")
        .arg("-tv")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), layer).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// How many random images are tried; more when somebody asks for it.
fn seeds() -> u64 {
    std::env::var("BERTH_TEST_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(120)
}

#[test]
fn random_layers_stack_as_if_applied_one_after_the_other() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("property");
    let images = scratch.open();
    for seed in 1..=seeds() {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut tree = Tree::new();
        let mut contents = 0;
        let count = 2 + random.below(3);
        let mut layers = Vec::new();
        for _ in 0..count {
            layers.push(random_layer(&mut random, &mut tree, &mut contents));
        }
        let archive = docker_archive("random:1", &layers);
        images
            .load(archive.as_slice(), &LoadOptions::default(), &Silent)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let id = format!("c{seed}");
        images.prepare_snapshot(&id, &images.runnable("random:1", None).unwrap(), &Silent).unwrap();
        let view = images.view(&id).unwrap();
        let path = format!("/proc/self/fd/{}/.", std::os::fd::AsRawFd::as_raw_fd(&view));
        let mut found: Vec<String> =
            listing(std::path::Path::new(&path)).lines().map(str::to_owned).collect();
        found.sort();
        let found = found.join("\n");
        if found != show(&tree) {
            let told: Vec<String> = layers.iter().map(|layer| names(layer)).collect();
            panic!(
                "seed {seed}\nfound:\n{found}\nexpected:\n{}\nlayers:\n{}",
                show(&tree),
                told.join("\n--\n")
            );
        }
    }
}

#[test]
fn random_hostile_archives_change_nothing_outside() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("hostile");
    let outside = scratch.path.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "kept").unwrap();
    let images = scratch.open();
    let up = format!("../../../../../../../..{}", outside.display());
    let absolute = outside.display().to_string();
    let before = listing(&outside);
    let (mut accepted, mut refused) = (0, 0);
    for seed in 1..=400_u64 {
        let mut random = Random(seed.wrapping_mul(0xd134_2543_de82_ef95));
        let names = [
            "a",
            "b",
            "a/b",
            "b/a/c",
            "..",
            "a/../b",
            ".",
            &up,
            &absolute,
            "a/file",
            ".wh.a",
            "a/.wh..wh..opq",
        ];
        let targets = ["a", "b", "..", "/", "../..", &up, &absolute, "a/b", "/proc/self/root", "file"];
        let mut tar = Tar::new();
        for _ in 0..1 + random.below(8) {
            let name = random.pick(&names);
            tar = match random.below(7) {
                0 | 1 => tar.file(name, b"evil"),
                2 => tar.dir(name, 0o777),
                3 | 4 => tar.symlink(name, random.pick(&targets)),
                5 => tar.link(name, random.pick(&targets)),
                _ => tar.raw(name, [b'3', b'4', b'6'][random.below(3)], "", 0o666, b""),
            };
        }
        let options = ImportOptions::default();
        match images.import(tar.end().as_slice(), &options, &Silent) {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
        assert_eq!(listing(&outside), before, "seed {seed}");
    }
    assert!(accepted > 20 && refused > 20, "{accepted} accepted, {refused} refused");
}
