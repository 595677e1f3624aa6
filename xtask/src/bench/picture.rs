//! The big image of the benchmark: about 500 MB in ten layers of small and large files, made once and the same anywhere
//! (but for Debian's own layer), as an OCI layout with two tags that share all but the last layer.

use crate::{fixtures, process};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the image is.
#[derive(Debug)]
pub(super) struct Picture {
    /// The OCI layout, with the tags `v1` and `v2`.
    pub(super) layout: PathBuf,
    /// `v1` as `docker save` would have written it before Docker 25: layers uncompressed.
    pub(super) archive: PathBuf,
}

/// What is in a layer.
#[derive(Clone, Copy)]
struct Recipe {
    small: usize,
    /// Mean bytes of a small file.
    size: usize,
    large: usize,
    large_size: usize,
    /// Whether the large files cannot be compressed.
    noise: bool,
}

const fn recipe(small: usize, size: usize, large: usize, large_size: usize, noise: bool) -> Recipe {
    Recipe { small, size, large, large_size, noise }
}

const MB: usize = 1_000_000;
/// The layers above Debian's.
const RECIPES: [Recipe; 9] = [
    recipe(6000, 4000, 0, 0, false),
    recipe(3000, 8000, 3, 10 * MB, false),
    recipe(100, 4000, 1, 50 * MB, true),
    recipe(8000, 3000, 0, 0, false),
    recipe(200, 4000, 4, 11 * MB, false),
    recipe(2000, 6000, 2, 8 * MB, true),
    recipe(50, 2000, 1, 60 * MB, false),
    recipe(1000, 10_000, 8, 2 * MB, true),
    recipe(20, 1000, 0, 0, false),
];
/// The last layer of the other tag.
const OTHER: Recipe = recipe(500, 4000, 1, 4 * MB, false);

/// The image, made when it is missing.
pub(super) fn archives() -> Result<Picture> {
    let directory = fixtures::directory().join("bench");
    let picture = Picture { layout: directory.join("layout"), archive: directory.join("v1.tar") };
    if picture.archive.exists() {
        return Ok(picture);
    }
    eprintln!("==> the big image, in {}", directory.display());
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(directory.join("layout/blobs/sha256"))?;
    make(&picture, &directory)?;
    let text = |path: &Path| path.display().to_string();
    let from = format!("oci:{}:v1", text(&picture.layout));
    let partial = directory.join("v1.partial");
    let to = format!("docker-archive:{}:bench.example/big:v1", text(&partial));
    process::output("skopeo", &["copy", "--quiet", &from, &to])?;
    fs::rename(partial, &picture.archive)?;
    Ok(picture)
}

impl Picture {
    /// The compressed layers of `v1`.
    pub(super) fn blobs(&self) -> Result<Vec<PathBuf>> {
        let read = |path: PathBuf| -> Result<Value> {
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            Ok(serde_json::from_slice(&bytes)?)
        };
        let blob = |digest: &Value| {
            let digest = digest.as_str().unwrap_or_default();
            self.layout.join("blobs").join(digest.replace(':', "/"))
        };
        let index = read(self.layout.join("index.json"))?;
        let manifest = read(blob(&index["manifests"][0]["digest"]))?;
        let layers = manifest["layers"].as_array().context("a manifest with layers")?;
        Ok(layers.iter().map(|layer| blob(&layer["digest"])).collect())
    }
}

/// A layer as the manifest and the configuration name it.
struct Layer {
    descriptor: Value,
    diff_id: String,
}

fn make(picture: &Picture, directory: &Path) -> Result<()> {
    let mut layers = Vec::new();
    if let Some(debian) = fixtures::archives()?.debian {
        let tar = directory.join("layer.tar");
        fs::copy(debian, &tar)?;
        layers.push(pack(&tar, &picture.layout)?);
    }
    for (number, recipe) in RECIPES.iter().enumerate() {
        layers.push(layer(number, *recipe, directory, &picture.layout)?);
    }
    let mut manifests = vec![image("v1", &layers, &picture.layout)?];
    layers.pop();
    layers.push(layer(99, OTHER, directory, &picture.layout)?);
    manifests.push(image("v2", &layers, &picture.layout)?);
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    fs::write(picture.layout.join("index.json"), index.to_string())?;
    fs::write(picture.layout.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())?;
    Ok(())
}

fn layer(number: usize, recipe: Recipe, directory: &Path, layout: &Path) -> Result<Layer> {
    let (tree, tar) = (directory.join("tree"), directory.join("layer.tar"));
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1));
    let top = tree.join(format!("opt/app{number}"));
    for file in 0..recipe.small {
        let place = top.join(format!("m{}/s{}", file / 50, file % 5));
        fs::create_dir_all(&place)?;
        let size = 200 + noise.below(2 * recipe.size);
        fs::write(place.join(format!("f{file}.txt")), noise.text(size))?;
    }
    fs::create_dir_all(top.join("lib"))?;
    for file in 0..recipe.large {
        let bytes = if recipe.noise { noise.bytes(recipe.large_size) } else { noise.text(recipe.large_size) };
        fs::write(top.join(format!("lib/l{file}")), bytes)?;
    }
    let (from, to) = (tree.display().to_string(), tar.display().to_string());
    let plain = ["--sort=name", "--numeric-owner", "--owner=0", "--group=0", "--mtime=@1700000000"];
    process::output("tar", &[&plain[..], &["-C", &from, "-cf", &to, "."]].concat())?;
    fs::remove_dir_all(&tree)?;
    pack(&tar, layout)
}

/// Compresses a layer as registries have them.
fn pack(tar: &Path, layout: &Path) -> Result<Layer> {
    let diff_id = digest(tar)?;
    let path = tar.display().to_string();
    process::output("gzip", &["--force", "--no-name", "-6", &path])?;
    let descriptor =
        keep(&tar.with_extension("tar.gz"), layout, "application/vnd.oci.image.layer.v1.tar+gzip")?;
    Ok(Layer { descriptor, diff_id })
}

/// Makes a file a blob of the layout.
fn keep(file: &Path, layout: &Path, media_type: &str) -> Result<Value> {
    let digest = digest(file)?;
    let size = fs::metadata(file)?.len();
    fs::rename(file, layout.join("blobs").join(digest.replace(':', "/")))?;
    Ok(json!({ "mediaType": media_type, "digest": digest, "size": size }))
}

fn digest(file: &Path) -> Result<String> {
    let said = process::output("sha256sum", &[&file.display().to_string()])?;
    Ok(format!("sha256:{}", said.split_whitespace().next().context("sha256sum")?))
}

fn image(tag: &str, layers: &[Layer], layout: &Path) -> Result<Value> {
    let written = layout.join("document");
    let created = "2026-01-01T00:00:00Z";
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let history: Vec<Value> =
        layers.iter().map(|_| json!({ "created": created, "created_by": "bench" })).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": created, "config": { "Cmd": ["sh"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids }, "history": history,
    });
    fs::write(&written, config.to_string())?;
    let config = keep(&written, layout, "application/vnd.oci.image.config.v1+json")?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let layers: Vec<&Value> = layers.iter().map(|layer| &layer.descriptor).collect();
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    fs::write(&written, manifest.to_string())?;
    let mut descriptor = keep(&written, layout, kind)?;
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    Ok(descriptor)
}

/// What texts are cut from.
const VOCABULARY: &[u8] = include_bytes!("../../../LICENSE");

/// Numbers that look random and are the same in every run (xorshift64*).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % limit
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..size / 8 + 1).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(size);
        bytes
    }

    /// Scraps of the licence, which gzip makes about four times smaller, as it does with programs and texts.
    fn text(&mut self, size: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(size + 16);
        while text.len() < size {
            let at = self.below(VOCABULARY.len() - 12);
            text.extend_from_slice(&VOCABULARY[at..at + 2 + at % 11]);
            text.push(b' ');
        }
        text.truncate(size);
        text
    }
}
