//! `images --tree`: each image with its platforms below it.

use api::descriptor::Platform;
use api::image::{ManifestSummary, Summary};

use crate::output::units::{human_size, short_id};

/// Lines of text, columns in line.
pub(crate) fn render(images: &[Summary]) -> String {
    let mut images: Vec<&Summary> = images.iter().collect();
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let blocks: Vec<Vec<Line>> = images.iter().map(|image| block(image)).collect();
    let widest = blocks.iter().flatten().map(|line| line.name.chars().count()).max().unwrap_or_default();
    let width = widest.max("IMAGE".len());
    let mut text = format!("{:width$}   ID             DISK USAGE   CONTENT SIZE   EXTRA\n", "IMAGE");
    let spaced = blocks.iter().any(|lines| lines.iter().any(|line| line.is_branch));
    for lines in &blocks {
        for line in lines {
            text.push_str(&line.print(width));
        }
        if spaced {
            text.push('\n');
        }
    }
    text
}

/// One line; of several names of an image only the last one has the figures.
#[derive(Default)]
struct Line {
    name: String,
    figures: Option<Figures>,
    is_branch: bool,
}

struct Figures {
    id: String,
    disk: i64,
    content: i64,
    in_use: bool,
}

impl Line {
    fn print(&self, width: usize) -> String {
        let Some(Figures { id, disk, content, in_use }) = &self.figures else {
            return format!("{}\n", self.name);
        };
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let size = |bytes: i64| human_size(bytes as f64);
        let used = if *in_use { "U" } else { "" };
        let line = format!(
            "{:width$}   {:12}   {:>10}   {:>12}     {used}",
            self.name,
            short_id(id),
            size(*disk),
            size(*content)
        );
        format!("{}\n", line.trim_end())
    }
}

/// The names of an image, and what it has for each platform.
fn block(image: &Summary) -> Vec<Line> {
    let platforms: Vec<(&ManifestSummary, &Platform, bool)> = image
        .manifests
        .iter()
        .filter(|manifest| manifest.kind == "image")
        .filter_map(|manifest| {
            let data = manifest.image_data.as_ref()?;
            Some((manifest, &data.platform, !data.containers.is_empty()))
        })
        .collect();
    let mut lines: Vec<Line> =
        image.repo_tags.iter().map(|name| Line { name: name.clone(), ..Line::default() }).collect();
    if lines.is_empty() {
        lines.push(Line { name: "<untagged>".to_owned(), ..Line::default() });
    }
    if let Some(last) = lines.last_mut() {
        last.figures = Some(Figures {
            id: image.id.clone(),
            disk: image.size,
            content: platforms.iter().map(|(manifest, ..)| manifest.size.content).sum(),
            in_use: image.containers > 0 || platforms.iter().any(|(.., in_use)| *in_use),
        });
    }
    for (place, (manifest, platform, in_use)) in platforms.iter().enumerate() {
        let branch = if place + 1 == platforms.len() { "└─" } else { "├─" };
        let (disk, content) = (manifest.size.total, manifest.size.content);
        lines.push(Line {
            name: format!("{branch} {}", words(platform)),
            figures: Some(Figures { id: manifest.id.clone(), disk, content, in_use: *in_use }),
            is_branch: true,
        });
    }
    lines
}

fn words(platform: &Platform) -> String {
    let parts = [&platform.os, &platform.architecture, &platform.variant].map(String::as_str);
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn images_are_shown_with_their_platforms() {
        let manifest = |id: &str, architecture: &str, used: &[&str]| {
            json!({ "ID": format!("sha256:{}", id.repeat(64)), "Kind": "image", "Size": { "Content": 3450, "Total": 7550 },
                "ImageData": { "Platform": { "os": "linux", "architecture": architecture }, "Containers": used } })
        };
        let images: Vec<Summary> = serde_json::from_value(json!([
            { "Id": format!("sha256:{}", "a".repeat(64)), "RepoTags": ["old:1"], "Size": 7550, "Created": 1, "Manifests": [] },
            { "Id": format!("sha256:{}", "b".repeat(64)), "RepoTags": ["hello-world:latest", "other:2"], "Size": 42_700,
              "Created": 2, "Manifests": [manifest("c", "amd64", &["x"]), { "Kind": "attestation" }, manifest("d", "arm64", &[])] },
        ]))
        .expect("summaries");
        assert_eq!(
            render(&images),
            "\
IMAGE                ID             DISK USAGE   CONTENT SIZE   EXTRA
hello-world:latest
other:2              bbbbbbbbbbbb       42.7kB          6.9kB     U
├─ linux/amd64       cccccccccccc       7.55kB         3.45kB     U
└─ linux/arm64       dddddddddddd       7.55kB         3.45kB

old:1                aaaaaaaaaaaa       7.55kB             0B

"
        );
    }
}
