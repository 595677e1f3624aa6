//! `inspect`: everything the daemon knows about objects, as JSON or through a template.

use client::{Client, Query, Request};
use serde_json::Value;

use super::pull::platform_json;
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::json::indented_list;
use crate::output::template::Format;
use crate::output::{note, write};
use crate::session::Session;

pub(crate) const FORMAT: Flag = Flag::text(
    "format",
    "Format output using a custom template:\n\
     'json':             Print in JSON format\n\
     'TEMPLATE':         Print output using the given Go template.\n\
     Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
)
.short('f');

const SIZE: Flag = Flag::switch("size", "Display total file sizes").short('s');

/// `inspect`, of anything.
pub(crate) static ANY: Command = Command {
    synopsis: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Return low-level information on Docker objects",
    paths: &["inspect"],
    flags: &[&[
        FORMAT,
        Flag::switch("size", "Display total file sizes if the type is container").short('s'),
        Flag::text("type", "Only inspect objects of the given type"),
    ]],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(run_any(session, typed)),
};

/// `container inspect`.
pub(crate) static CONTAINER: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Display detailed information on one or more containers",
    paths: &["container inspect"],
    flags: &[&[FORMAT, SIZE]],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed, &[Kind::Container])),
};

/// `image inspect`.
pub(crate) static IMAGE: Command = Command {
    synopsis: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Display detailed information on one or more images",
    paths: &["image inspect"],
    flags: &[&[
        FORMAT,
        Flag::text(
            "platform",
            "Inspect a specific platform of the multi-platform image.\nIf the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
        ),
    ]],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed, &[Kind::Image])),
};

/// `network inspect`.
pub(crate) static NETWORK: Command = Command {
    synopsis: "[OPTIONS] NETWORK [NETWORK...]",
    about: "Display detailed information on one or more networks",
    paths: &["network inspect"],
    flags: &[&[FORMAT, Flag::switch("verbose", "Verbose output for diagnostics").short('v')]],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed, &[Kind::Network])),
};

/// `volume inspect`.
pub(crate) static VOLUME: Command = Command {
    synopsis: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Display detailed information on one or more volumes",
    paths: &["volume inspect"],
    flags: &[&[FORMAT]],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed, &[Kind::Volume])),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Container,
    Image,
    Network,
    Volume,
    Plugin,
}

impl Kind {
    /// In the order in which a name is looked for.
    const ALL: &[Kind] = &[Kind::Container, Kind::Image, Kind::Network, Kind::Volume, Kind::Plugin];

    fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Plugin => "plugin",
        }
    }

    fn path(self, name: &str) -> String {
        match self {
            Self::Container => format!("/containers/{name}/json"),
            Self::Image => format!("/images/{name}/json"),
            Self::Network => format!("/networks/{name}"),
            Self::Volume => format!("/volumes/{name}"),
            Self::Plugin => format!("/plugins/{name}/json"),
        }
    }
}

async fn run_any(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let word = typed.text("type");
    if word.is_empty() && !typed.given("type") {
        return run(session, typed, Kind::ALL).await;
    }
    match Kind::ALL.iter().position(|kind| kind.word() == word) {
        Some(index) => run(session, typed, &Kind::ALL[index..=index]).await,
        None if word.is_empty() => Err(Failure::text(
            "type is empty: must be one of \"container\", \"image\", \"network\", \"plugin\" or \"volume\"",
        )),
        None => Err(Failure::text(format!(
            "unknown type: {word:?}: must be one of \"container\", \"image\", \"network\", \"plugin\" or \"volume\""
        ))),
    }
}

async fn run(session: &Session, typed: &Typed, kinds: &[Kind]) -> Result<i32, Failure> {
    let format = match typed.text("format") {
        "" | "json" => None,
        text => Some(Format::parse(text)?),
    };
    let compact = typed.text("format") == "json";
    let client = session.daemon().await?;
    let (mut documents, mut failures, mut lines) = (Vec::new(), Vec::new(), String::new());
    for name in typed.operands() {
        let found = find(client, name, kinds, typed).await.and_then(|document| {
            if let Some(format) = &format {
                let value: Value = serde_json::from_str(&document)
                    .map_err(|error| Failure::text(format!("unable to read inspect data: {error}")))?;
                lines.push_str(&format.document(&value)?);
                lines.push('\n');
            }
            Ok(document)
        });
        match found {
            Ok(document) => documents.push(document),
            Err(failure) => failures.push(failure.words().to_owned()),
        }
    }
    match (format, compact) {
        (Some(_), _) => write(&lines)?,
        (None, true) => write(&format!("[{}]\n", documents.join(",")))?,
        (None, false) => write(&indented_list(&documents))?,
    }
    for failure in &failures {
        note(failure);
    }
    Ok(i32::from(!failures.is_empty()))
}

/// The first kind of object that has the name, as the JSON text of the daemon.
async fn find(client: &Client, name: &str, kinds: &[Kind], typed: &Typed) -> Result<String, Failure> {
    for kind in kinds {
        let mut query = Query::new();
        if *kind == Kind::Container && typed.knows("size") {
            query = query.with_switch("size", typed.switch("size"));
        }
        if *kind == Kind::Network {
            query = query.with_nonempty(
                "verbose",
                if typed.knows("verbose") && typed.switch("verbose") { "true" } else { "" },
            );
        }
        if *kind == Kind::Image && typed.knows("platform") {
            query = query.with_nonempty("platform", &platform_json(typed.text("platform")));
        }
        match client.send(Request::get(kind.path(name)).query(query)).await {
            Ok(response) => {
                let bytes = response.bytes().await?;
                return Ok(String::from_utf8_lossy(&bytes).trim().to_owned());
            }
            Err(error) if kinds.len() > 1 && is_no_answer(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::text(format!("Error: No such object: {name}")))
}

/// The name is of another kind, or this daemon has no such kind.
fn is_no_answer(error: &client::Error) -> bool {
    matches!(error.status(), Some(404 | 400 | 501 | 503))
}
