//! `images`, `image ls`: the images, one row per name.

use api::image::Summary;
use client::{Query, Request};
use jiff::Timestamp;

use super::image_tree;
use super::ps::{FORMAT_HELP, local_time};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::rows::{Kind, Row, choose, render};
use crate::output::units::{human_size, short_id};
use crate::output::write;
use crate::session::Session;
use crate::value::filter;
use api::time::human_duration;

const FLAGS: &[Flag] = &[
    Flag::switch("all", "Show all images (default hides intermediate images)").short('a'),
    Flag::switch("digests", "Show digests"),
    Flag::of("filter", "filter", filter::check, "Filter output based on conditions provided")
        .short('f')
        .many(),
    Flag::text("format", FORMAT_HELP),
    Flag::switch("no-trunc", "Don't truncate output"),
    Flag::switch("quiet", "Only show image IDs").short('q'),
    Flag::switch("tree", "List multi-platform images as a tree"),
];

/// `images`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    paths: &["image ls", "image list", "images"],
    flags: &[FLAGS],
    operands: Operands::AtMost(1),
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed)),
};

pub(crate) const HEADINGS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

const TABLE: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";

const TABLE_WITH_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let quiet = typed.switch("quiet");
    let format = choose(typed.text("format"), quiet, session.setting("imagesFormat"));
    let mut filters: Vec<String> = typed.list("filter").into_iter().map(str::to_owned).collect();
    filters.extend(typed.operands().first().map(|name| format!("reference={name}")));
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let query = Query::new()
        .with_switch("all", typed.switch("all"))
        .with_nonempty("filters", &filter::json(&filters));
    let client = session.daemon().await?;
    if typed.switch("tree") {
        for flag in ["quiet", "no-trunc", "digests", "format"] {
            if typed.given(flag) {
                return Err(Failure::text(format!("--{flag} is not yet supported with --tree")));
            }
        }
        let request = Request::get("/images/json").query(query.with("manifests", "1"));
        return write(&image_tree::render(&client.json::<Vec<Summary>>(request).await?)).map(|()| 0);
    }
    let images: Vec<Summary> = client.json(Request::get("/images/json").query(query)).await?;
    let digests = typed.switch("digests") || (format != "table" && format.contains(".Digest"));
    let table = if digests { TABLE_WITH_DIGESTS } else { TABLE };
    let kind = Kind { headings: HEADINGS, table, quiet: "{{.ID}}" };
    let now = Timestamp::now();
    let rows: Vec<Row> =
        images.iter().flat_map(|image| rows(image, digests, !typed.switch("no-trunc"), now)).collect();
    write(&render(&kind, format, quiet, &rows)?)?;
    Ok(0)
}

/// A row for each name of an image; one row of `<none>` for an image without.
pub(crate) fn rows(image: &Summary, digests: bool, truncate: bool, now: Timestamp) -> Vec<Row> {
    names(image, digests)
        .into_iter()
        .map(|(repository, tag, digest)| {
            let id = if truncate { short_id(&image.id).to_owned() } else { image.id.clone() };
            let since = match image.created {
                created if created > 0 => format!("{} ago", human_duration(now.as_second() - created)),
                _ => String::new(),
            };
            let known = |size: i64| if size < 0 { "N/A".to_owned() } else { human_size(size as f64) };
            let unique = if image.shared_size < 0 { -1 } else { image.size - image.shared_size };
            let containers =
                if image.containers < 0 { "N/A".to_owned() } else { image.containers.to_string() };
            Row::new([
                ("ID", id),
                ("Repository", repository),
                ("Tag", tag),
                ("Digest", digest),
                ("CreatedSince", since),
                ("CreatedAt", if image.created > 0 { local_time(image.created) } else { "N/A".to_owned() }),
                ("Size", human_size(image.size as f64)),
                ("Containers", containers),
                ("SharedSize", known(image.shared_size)),
                ("UniqueSize", known(unique)),
            ])
        })
        .collect()
}

const NONE: &str = "<none>";

/// Repository, tag and digest of each name.
fn names(image: &Summary, digests: bool) -> Vec<(String, String, String)> {
    let tags: Vec<(&str, &str)> = image.repo_tags.iter().filter_map(|name| name.rsplit_once(':')).collect();
    let by_digest: Vec<(&str, &str)> =
        image.repo_digests.iter().filter_map(|name| name.split_once('@')).collect();
    let mut found: Vec<(String, String, String)> = Vec::new();
    for (repository, tag) in tags.iter().filter(|(repository, _)| *repository != NONE) {
        let mut own: Vec<&str> = Vec::new();
        if digests {
            own.extend(by_digest.iter().filter(|(name, _)| name == repository).map(|(_, digest)| *digest));
        }
        if own.is_empty() {
            own.push(NONE);
        }
        found.extend(
            own.iter().map(|digest| ((*repository).to_owned(), (*tag).to_owned(), (*digest).to_owned())),
        );
    }
    let untagged = by_digest.iter().filter(|(repository, _)| {
        *repository != NONE && !tags.iter().any(|(tagged, _)| tagged == repository)
    });
    for (repository, digest) in untagged {
        let row = (
            (*repository).to_owned(),
            NONE.to_owned(),
            if digests { (*digest).to_owned() } else { NONE.to_owned() },
        );
        if !found.contains(&row) {
            found.push(row);
        }
    }
    if found.is_empty() {
        found.push((NONE.to_owned(), NONE.to_owned(), NONE.to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_image_has_a_row_for_each_name() {
        let check = |tags: serde_json::Value, digests: serde_json::Value, show: bool, expected: &[&str]| {
            let image = serde_json::from_value(json!({
                "Id": "sha256:0123456789abcdef", "RepoTags": tags, "RepoDigests": digests, "Size": 4_261_550,
                "Created": 0, "SharedSize": -1, "Containers": -1
            }))
            .expect("a summary");
            let found: Vec<String> = rows(&image, show, true, Timestamp::UNIX_EPOCH)
                .iter()
                .map(|row| ["Repository", "Tag", "Digest"].map(|field| row.field(field).to_owned()).join(" "))
                .collect();
            assert_eq!(found, expected);
        };
        check(
            json!(["a:1", "a:2", "localhost:5000/b:x"]),
            json!([]),
            false,
            &["a 1 <none>", "a 2 <none>", "localhost:5000/b x <none>"],
        );
        check(
            json!(["a:1"]),
            json!(["a@sha256:9", "b@sha256:9"]),
            true,
            &["a 1 sha256:9", "b <none> sha256:9"],
        );
        check(json!([]), json!([]), false, &["<none> <none> <none>"]);
        check(json!(["<none>:<none>"]), json!(["<none>@<none>"]), false, &["<none> <none> <none>"]);
    }
}
