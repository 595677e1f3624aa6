//! `version`: this program and the daemon.

use client::Request;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::template::Format;
use crate::output::write;
use crate::session::Session;

const FLAGS: &[Flag] = &[Flag::text(
    "format",
    "Format output using a custom template:\n\
     'json':             Print in JSON format\n\
     'TEMPLATE':         Print output using the given Go template.\n\
     Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
)
.short('f')];

/// `version`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Show the Docker version information",
    paths: &["version"],
    flags: &[FLAGS],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed)),
};

/// The line of `--version`: the words that scripts take apart, and who really answers.
pub(crate) fn version_line(program: &str) -> String {
    let name = if program == "docker" { "Docker" } else { "berth" };
    format!("{name} version {}, build berth", env!("CARGO_PKG_VERSION"))
}

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let format = match typed.text("format") {
        "" => None,
        "json" => Some(Format::parse("{{json .}}")?),
        text => Some(Format::parse(text)?),
    };
    let server: Result<Value, Failure> = async {
        let client = session.daemon().await?;
        Ok(client.json(Request::get("/version")).await?)
    }
    .await;
    let (server, failure) = match server {
        Ok(server) => (server, None),
        Err(failure) => (Value::Null, Some(failure)),
    };
    let client = client_part(session);
    match format {
        Some(format) => {
            write(&format!("{}\n", format.document(&json!({ "Client": client, "Server": server }))?))?
        }
        None => write(&text(&client, &server)?)?,
    }
    failure.map_or(Ok(0), Err)
}

fn client_part(session: &Session) -> Value {
    json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": session.client().version().to_string(),
        "DefaultAPIVersion": client::NEWEST.to_string(),
        "GitCommit": "",
        "GoVersion": "",
        "Os": std::env::consts::OS,
        "Arch": go_architecture(std::env::consts::ARCH),
        "BuildTime": "",
        "Context": "default",
    })
}

/// Go's name of an architecture.
fn go_architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn text(client: &Value, server: &Value) -> Result<String, Failure> {
    let word = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let api = word(client, "ApiVersion");
    let newest = word(client, "DefaultAPIVersion");
    let shown = if api == newest { api } else { format!("{api} (downgraded from {newest})") };
    let mut lines = vec![
        "Client: berth".to_owned(),
        format!(" Version:\t{}", word(client, "Version")),
        format!(" API version:\t{shown}"),
        format!(" OS/Arch:\t{}/{}", word(client, "Os"), word(client, "Arch")),
        format!(" Context:\t{}", word(client, "Context")),
    ];
    if !server.is_null() {
        let platform = word(&server["Platform"], "Name");
        lines.extend([String::new(), format!("Server: {platform}").trim_end().to_owned()]);
        for component in server["Components"].as_array().into_iter().flatten() {
            component_lines(component, &mut lines);
        }
    }
    let text = lines.join("\n") + "\n";
    crate::output::rows::aligned(&text, 20, 1)
}

fn component_lines(component: &Value, lines: &mut Vec<String>) {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines.push(format!(" {}:", word(&component["Name"])));
    lines.push(format!("  Version:\t{}", word(&component["Version"])));
    let details = &component["Details"];
    let pair = |lines: &mut Vec<String>, name: &str, value: String| lines.push(format!("  {name}:\t{value}"));
    if component["Name"] != "Engine" {
        let mut names: Vec<_> = details.as_object().into_iter().flatten().collect();
        names.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in names {
            pair(lines, name, word(value));
        }
        return;
    }
    let api =
        format!("{} (minimum version {})", word(&details["ApiVersion"]), word(&details["MinAPIVersion"]));
    pair(lines, "API version", api);
    for (key, name) in [("GoVersion", "Go version"), ("GitCommit", "Git commit"), ("BuildTime", "Built")] {
        let value = word(&details[key]);
        if !value.is_empty() {
            pair(lines, name, value);
        }
    }
    pair(lines, "OS/Arch", format!("{}/{}", word(&details["Os"]), word(&details["Arch"])));
    pair(lines, "Experimental", word(&details["Experimental"]));
}
