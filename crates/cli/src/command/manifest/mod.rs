//! `manifest …`: lists of images of several platforms, put together on this side and pushed to a registry. No daemon is asked.

mod remote;
mod store;

use oci::Reference;
use oci::image::Descriptor;
use serde_json::{Value, json};

use self::remote::Registries;
use self::store::{Lists, Stored};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::write;
use crate::session::Session;

const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const INSECURE: Flag = Flag::switch("insecure", "Allow communication with an insecure registry");

/// `manifest inspect`.
pub(crate) static INSPECT: Command = Command {
    synopsis: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    about: "Display an image manifest, or manifest list",
    paths: &["manifest inspect"],
    flags: &[&[
        INSECURE,
        Flag::switch("verbose", "Output additional info including layers and platform").short('v'),
    ]],
    operands: Operands::Between(1, 2),
    interspersed: true,
    run: |session, typed| Box::pin(inspect(session, typed)),
};

/// `manifest create`.
pub(crate) static CREATE: Command = Command {
    synopsis: "MANIFEST_LIST MANIFEST [MANIFEST...]",
    about: "Create a local manifest list for annotating and pushing to a registry",
    paths: &["manifest create"],
    flags: &[&[Flag::switch("amend", "Amend an existing manifest list").short('a'), INSECURE]],
    operands: Operands::AtLeast(2),
    interspersed: true,
    run: |session, typed| Box::pin(create(session, typed)),
};

/// `manifest annotate`.
pub(crate) static ANNOTATE: Command = Command {
    synopsis: "[OPTIONS] MANIFEST_LIST MANIFEST",
    about: "Add additional information to a local image manifest",
    paths: &["manifest annotate"],
    flags: &[&[
        Flag::text("arch", "Set architecture"),
        Flag::text("os", "Set operating system"),
        Flag::strings("os-features", "Set operating system feature"),
        Flag::text("os-version", "Set operating system version"),
        Flag::text("variant", "Set architecture variant"),
    ]],
    operands: Operands::Exactly(2),
    interspersed: true,
    run: |session, typed| Box::pin(async move { annotate(session, typed) }),
};

/// `manifest push`.
pub(crate) static PUSH: Command = Command {
    synopsis: "[OPTIONS] MANIFEST_LIST",
    about: "Push a manifest list to a repository",
    paths: &["manifest push"],
    flags: &[&[INSECURE, Flag::switch("purge", "Remove the local manifest list after push").short('p')]],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(push(session, typed)),
};

/// `manifest rm`.
pub(crate) static RM: Command = Command {
    synopsis: "MANIFEST_LIST [MANIFEST_LIST...]",
    about: "Delete one or more manifest lists from local storage",
    paths: &["manifest rm"],
    flags: &[],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(async move { remove(session, typed) }),
};

/// Operating systems and processors that Go knows, and images therefore are of.
const KNOWN: &[(&str, &[&str])] = &[
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("freebsd", &["386", "amd64", "arm"]),
    (
        "linux",
        &[
            "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64le",
            "riscv64", "s390x",
        ],
    ),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64", "arm", "arm64"]),
];

/// A name as it was typed, with the tag that holds when there is none.
fn named(text: &str) -> Result<Reference, Failure> {
    let name = Reference::parse(text).map_err(|error| Failure::text(error.to_string()))?;
    Ok(name.or_latest())
}

async fn inspect(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let lists = Lists::of(session)?;
    let verbose = typed.switch("verbose");
    if let [list, image] = typed.operands() {
        let (list, image) = (named(list)?, named(image)?);
        let stored =
            lists.get(&list, &image)?.ok_or_else(|| Failure::text(format!("No such manifest: {image}")))?;
        return print(&stored.shown(verbose)?);
    }
    let name = named(typed.operand(0))?;
    let local = lists.all(&name)?;
    if !local.is_empty() {
        return print(&shown_list(&local, verbose)?);
    }
    let found = Registries::new(session, typed.switch("insecure")).find(&name).await?;
    print(&match (found.as_slice(), verbose) {
        ([only], _) if !only.is_listed => only.shown(verbose)?,
        (all, verbose) => shown_list(all, verbose)?,
    })
}

/// A list as `inspect` shows it: what would be pushed, or everything about each image.
fn shown_list(all: &[Stored], verbose: bool) -> Result<Value, Failure> {
    if verbose {
        return all.iter().map(|stored| stored.shown(true)).collect();
    }
    Ok(list_of(all))
}

/// What a list is: the first image decides, as with Docker.
fn media_type_of(all: &[Stored]) -> &'static str {
    let is_oci = all.first().is_some_and(|first| first.descriptor.media_type.contains(".oci."));
    if is_oci { OCI_INDEX } else { LIST }
}

fn list_of(all: &[Stored]) -> Value {
    let entry = |descriptor: &Descriptor| {
        json!({
            "mediaType": descriptor.media_type,
            "size": descriptor.size,
            "digest": descriptor.digest.to_string(),
            "platform": descriptor.platform,
        })
    };
    let manifests: Vec<Value> = all.iter().map(|stored| entry(&stored.descriptor)).collect();
    json!({ "schemaVersion": 2, "mediaType": media_type_of(all), "manifests": manifests })
}

/// Prints a document as Docker does, with tabs.
fn print(document: &Value) -> Result<i32, Failure> {
    write(&format!("{}\n", indented(document, b"\t")?))?;
    Ok(0)
}

fn indented(document: &Value, by: &[u8]) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(by);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    serde::Serialize::serialize(document, &mut serializer)
        .map_err(|error| Failure::text(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Failure::text(error.to_string()))
}

async fn create(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let lists = Lists::of(session)?;
    let list = named(typed.operand(0))?;
    if !lists.all(&list)?.is_empty() && !typed.switch("amend") {
        return Err(Failure::text("refusing to amend an existing manifest list with no --amend flag"));
    }
    let registries = Registries::new(session, typed.switch("insecure"));
    let mut images = Vec::new();
    for text in &typed.operands()[1..] {
        let name = named(text)?;
        // One that has been annotated stays so.
        let stored = match lists.get(&list, &name)? {
            Some(stored) => stored,
            None => registries.image(&name).await?,
        };
        images.push(stored);
    }
    images.iter().try_for_each(|stored| lists.save(&list, stored))?;
    write(&format!("Created manifest list {list}\n"))?;
    Ok(0)
}

fn annotate(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let lists = Lists::of(session)?;
    let (list, image) = (named(typed.operand(0))?, named(typed.operand(1))?);
    let Some(mut stored) = lists.get(&list, &image)? else {
        return Err(Failure::text(format!("manifest for image {image} does not exist in {list}")));
    };
    let mut platform = stored.descriptor.platform.take().unwrap_or_default();
    for (flag, field) in [
        ("os", &mut platform.os),
        ("arch", &mut platform.architecture),
        ("variant", &mut platform.variant),
        ("os-version", &mut platform.os_version),
    ] {
        if !typed.text(flag).is_empty() {
            typed.text(flag).clone_into(field);
        }
    }
    for feature in typed.list("os-features") {
        if !platform.os_features.iter().any(|known| known == feature) {
            platform.os_features.push(feature.to_owned());
        }
    }
    let (os, arch) = (&platform.os, &platform.architecture);
    if !KNOWN.iter().any(|(known, processors)| known == os && processors.contains(&arch.as_str())) {
        let words = format!("manifest entry for image has unsupported os/arch combination: {os}/{arch}");
        return Err(Failure::text(words));
    }
    stored.descriptor.platform = Some(platform);
    lists.save(&list, &stored)?;
    Ok(0)
}

async fn push(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let lists = Lists::of(session)?;
    let list = named(typed.operand(0))?;
    let images = lists.all(&list)?;
    if images.is_empty() {
        return Err(Failure::text(format!("{list} not found")));
    }
    for stored in &images {
        let platform = stored.descriptor.platform.clone().unwrap_or_default();
        if platform.os.is_empty() || platform.architecture.is_empty() {
            return Err(Failure::text(format!(
                "manifest {} must have an OS and Architecture to be pushed to a registry",
                stored.reference
            )));
        }
        if stored.reference.domain() != list.domain() {
            return Err(Failure::text(format!(
                "cannot use source images from a different registry than the target image: {} != {}",
                stored.reference.domain(),
                list.domain()
            )));
        }
    }
    let registries = Registries::new(session, typed.switch("insecure"));
    // As Docker's client writes a list, three blanks deep: its digest is that of these bytes.
    let bytes = indented(&list_of(&images), b"   ")?.into_bytes();
    let digest = registries.push(&list, &images, media_type_of(&images), bytes).await?;
    if typed.switch("purge") {
        lists.remove(&list)?;
    }
    write(&format!("{digest}\n"))?;
    Ok(0)
}

fn remove(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let lists = Lists::of(session)?;
    let mut failures = Vec::new();
    for text in typed.operands() {
        let list = named(text)?;
        match lists.all(&list)?.is_empty() {
            true => failures.push(format!("No such manifest: {list}")),
            false => lists.remove(&list)?,
        }
    }
    if failures.is_empty() { Ok(0) } else { Err(Failure::text(failures.join("\n"))) }
}
