//! `pull` and `push`: the daemon does it, progress is shown here.

use api::registry::AuthConfig;
use client::{Query, Request};

use crate::credentials::{self, HUB};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::{progress, write};
use crate::session::Session;
use crate::stream::terminal;
use crate::value::reference;

const PULL_FLAGS: &[Flag] = &[
    Flag::switch("all-tags", "Download all tagged images in the repository").short('a'),
    Flag::text("platform", "Set platform if server is multi-platform capable"),
    Flag::switch("quiet", "Suppress verbose output").short('q'),
    Flag::switch("disable-content-trust", "Skip image verification").default("true").hidden(),
];

/// `pull`.
pub(crate) static PULL: Command = Command {
    synopsis: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Download an image from a registry",
    paths: &["image pull", "pull"],
    flags: &[PULL_FLAGS],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(run_pull(session, typed)),
};

const PUSH_FLAGS: &[Flag] = &[
    Flag::switch("all-tags", "Push all tags of an image to the repository").short('a'),
    Flag::text(
        "platform",
        "Push a platform-specific manifest as a single-platform image to the registry.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
    ),
    Flag::switch("quiet", "Suppress verbose output").short('q'),
    Flag::switch("disable-content-trust", "Skip image signing").default("true").hidden(),
];

/// `push`.
pub(crate) static PUSH: Command = Command {
    synopsis: "[OPTIONS] NAME[:TAG]",
    about: "Upload an image to a registry",
    paths: &["image push", "push"],
    flags: &[PUSH_FLAGS],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(run_push(session, typed)),
};

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sink {
    /// Standard output: progress is what the command is for.
    Stdout,
    /// Standard error: standard output belongs to the container.
    Stderr,
}

async fn run_pull(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let (image, all, quiet) = (typed.operand(0), typed.switch("all-tags"), typed.switch("quiet"));
    let parts = reference::parse(image).map_err(Failure::text)?;
    if all && !(parts.tag.is_empty() && parts.digest.is_empty()) {
        return Err(Failure::text("tag can't be used with --all-tags/-a"));
    }
    if !all && parts.tag.is_empty() && parts.digest.is_empty() && !quiet {
        write("Using default tag: latest\n")?;
    }
    session.daemon().await?;
    pull(session, image, typed.text("platform"), all, quiet, Sink::Stdout).await?;
    write(&format!("{}\n", canonical(image, all)))?;
    Ok(0)
}

/// Has the daemon pull an image and shows how far it is.
pub(crate) async fn pull(
    session: &Session,
    image: &str,
    platform: &str,
    all: bool,
    quiet: bool,
    sink: Sink,
) -> Result<(), Failure> {
    let parts = reference::parse(image).map_err(Failure::text)?;
    let tag = match (parts.digest, parts.tag) {
        ("", "") if all => "",
        ("", "") => "latest",
        ("", tag) => tag,
        (digest, _) => digest,
    };
    let query = Query::new()
        .with("fromImage", canonical_name(parts.name))
        .with_nonempty("platform", platform)
        .with_nonempty("tag", tag);
    let mut request = Request::post("/images/create").query(query);
    if let Some(auth) = credentials(session, parts.name) {
        request = request.header("x-registry-auth", auth);
    }
    let lines = session.client().send(request).await?.json_lines();
    match (quiet, sink) {
        (true, _) => progress::follow(lines, std::io::sink(), false).await?,
        (false, Sink::Stdout) => progress::follow(lines, std::io::stdout(), terminal::is_output()).await?,
        (false, Sink::Stderr) => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            progress::follow(lines, std::io::stderr(), terminal).await?
        }
    };
    Ok(())
}

async fn run_push(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let image = typed.operand(0);
    let parts = reference::parse(image).map_err(Failure::text)?;
    let all = typed.switch("all-tags");
    if all && !parts.tag.is_empty() {
        return Err(Failure::text("tag can't be used with --all-tags/-a"));
    }
    let tag = match parts.tag {
        "" if all => "",
        "" => "latest",
        tag => tag,
    };
    if !all && parts.tag.is_empty() && !typed.switch("quiet") {
        write("Using default tag: latest\n")?;
    }
    let client = session.daemon().await?;
    let platform = platform_json(typed.text("platform"));
    let query = Query::new().with_nonempty("tag", tag).with_nonempty("platform", &platform);
    // The daemon insists on the header, even for registries that want no credentials.
    let auth = credentials(session, parts.name).unwrap_or_else(|| encode(&AuthConfig::default()));
    let request =
        Request::post(format!("/images/{}/push", parts.name)).query(query).header("x-registry-auth", auth);
    let lines = client.send(request).await?.json_lines();
    if typed.switch("quiet") {
        progress::follow(lines, std::io::sink(), false).await?;
        write(&format!("{}\n", canonical(image, all)))?;
    } else {
        progress::follow(lines, std::io::stdout(), terminal::is_output()).await?;
    }
    Ok(0)
}

/// `linux/arm64/v8` as the JSON that push and save take; empty for none.
pub(crate) fn platform_json(text: &str) -> String {
    let mut parts = text.split('/');
    let Some(os) = parts.next().filter(|os| !os.is_empty()) else { return String::new() };
    let mut platform = serde_json::Map::new();
    platform.insert("os".into(), os.into());
    for (key, part) in ["architecture", "variant"].iter().zip(parts) {
        platform.insert((*key).to_owned(), part.into());
    }
    serde_json::Value::from(platform).to_string()
}

/// The same for several, which may also be separated by commas.
pub(crate) fn platforms_json(texts: &[&str]) -> Vec<String> {
    let words = texts.iter().flat_map(|text| text.split(','));
    words.map(|word| platform_json(word.trim())).filter(|json| !json.is_empty()).collect()
}

/// The name with a tag, as Docker shows it when it is missing: `busybox:latest`.
pub(crate) fn familiar(image: &str) -> String {
    match reference::parse(image) {
        Ok(parts) if parts.tag.is_empty() && parts.digest.is_empty() => format!("{image}:latest"),
        _ => image.to_owned(),
    }
}

pub(crate) fn domain(name: &str) -> Option<&str> {
    let (first, _) = name.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(first)
}

/// The name with its registry: `docker.io/library/busybox`.
fn canonical_name(name: &str) -> String {
    match domain(name) {
        Some("index.docker.io") => format!("docker.io/{}", &name["index.docker.io/".len()..]),
        Some("docker.io") if name.matches('/').count() == 1 => name.replacen('/', "/library/", 1),
        Some(_) => name.to_owned(),
        None if name.contains('/') => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

fn canonical(image: &str, all: bool) -> String {
    let full = if all { image.to_owned() } else { familiar(image) };
    let name = reference::parse(image).map(|parts| parts.name.to_owned()).unwrap_or_default();
    full.replacen(&name, &canonical_name(&name), 1)
}

/// The registry that credentials for an image are kept for.
pub(crate) fn registry_of(name: &str) -> &str {
    match domain(name) {
        None | Some("docker.io" | "index.docker.io") => HUB,
        Some(registry) => registry,
    }
}

/// The user's credentials for the registry of an image, as the header takes them; `None` when there are none.
fn credentials(session: &Session, name: &str) -> Option<String> {
    let registry = registry_of(name);
    let auth = credentials::look_up(session, registry);
    let none = AuthConfig { server_address: registry.to_owned(), ..AuthConfig::default() };
    (auth != none).then(|| encode(&auth))
}

fn encode(auth: &AuthConfig) -> String {
    auth.to_header().expect("credentials are plain data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_means_the_library_of_docker_hub() {
        for (name, expected) in [
            ("busybox", "docker.io/library/busybox"),
            ("a/b", "docker.io/a/b"),
            ("docker.io/busybox", "docker.io/library/busybox"),
            ("localhost:5000/a", "localhost:5000/a"),
            ("quay.io/a/b", "quay.io/a/b"),
        ] {
            assert_eq!(canonical_name(name), expected);
        }
        assert_eq!(canonical("busybox", false), "docker.io/library/busybox:latest");
        assert_eq!(canonical("a/b:1", false), "docker.io/a/b:1");
        assert_eq!(familiar("busybox:1"), "busybox:1");
    }

    #[test]
    fn a_platform_is_sent_as_json() {
        assert_eq!(
            platforms_json(&["linux/amd64,linux/s390x", "", "windows/amd64"]),
            [
                r#"{"os":"linux","architecture":"amd64"}"#,
                r#"{"os":"linux","architecture":"s390x"}"#,
                r#"{"os":"windows","architecture":"amd64"}"#
            ]
        );
        assert_eq!(platform_json(""), "");
        assert_eq!(
            platform_json("linux/arm64/v8"),
            r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#
        );
    }
}
