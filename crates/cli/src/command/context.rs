//! `context create | inspect | ls | rm | show | update | use`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::inspect::FORMAT;
use super::ps::FORMAT_HELP;
use crate::context::{Context, DEFAULT, Store, check_name};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::json::indented_list;
use crate::output::rows::{Kind, Row, choose, render};
use crate::output::template::Format;
use crate::output::{note, write};
use crate::session::{DEFAULT_SOCKET, Session};

const DESCRIPTION: Flag = Flag::text("description", "Description of the context");
const ENDPOINT: Flag =
    Flag::of("stringToString", "docker", anything, "set the docker endpoint").many().shows("[]");

/// `context create`.
pub(crate) static CREATE: Command = Command {
    synopsis: "[OPTIONS] CONTEXT",
    about: "Create a context",
    paths: &["context create"],
    flags: &[&[DESCRIPTION, ENDPOINT, Flag::text("from", "create context from a named context")]],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(async move { create(session, typed) }),
};

/// `context inspect`.
pub(crate) static INSPECT: Command = Command {
    synopsis: "[OPTIONS] [CONTEXT] [CONTEXT...]",
    about: "Display detailed information on one or more contexts",
    paths: &["context inspect"],
    flags: &[&[FORMAT]],
    operands: Operands::Any,
    interspersed: true,
    run: |session, typed| Box::pin(async move { inspect(session, typed) }),
};

/// `context ls`.
pub(crate) static LS: Command = Command {
    synopsis: "[OPTIONS]",
    about: "List contexts",
    paths: &["context ls", "context list"],
    flags: &[&[
        Flag::text("format", FORMAT_HELP),
        Flag::switch("quiet", "Only show context names").short('q'),
    ]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(async move { list(session, typed) }),
};

/// `context rm`.
pub(crate) static RM: Command = Command {
    synopsis: "CONTEXT [CONTEXT...]",
    about: "Remove one or more contexts",
    paths: &["context rm", "context remove"],
    flags: &[&[Flag::switch("force", "Force the removal of a context in use").short('f')]],
    operands: Operands::AtLeast(1),
    interspersed: true,
    run: |session, typed| Box::pin(async move { remove(session, typed) }),
};

/// `context show`.
pub(crate) static SHOW: Command = Command {
    synopsis: "",
    about: "Print the name of the current context",
    paths: &["context show"],
    flags: &[],
    operands: Operands::None,
    interspersed: true,
    run: |session, _| Box::pin(async move { say(&session.context()?.name) }),
};

/// `context update`.
pub(crate) static UPDATE: Command = Command {
    synopsis: "[OPTIONS] CONTEXT",
    about: "Update a context",
    paths: &["context update"],
    flags: &[&[DESCRIPTION, ENDPOINT]],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(async move { update(session, typed) }),
};

/// `context use`.
pub(crate) static USE: Command = Command {
    synopsis: "CONTEXT",
    about: "Set the current docker context",
    paths: &["context use"],
    flags: &[],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(async move { make_current(session, typed.operand(0)) }),
};

fn anything(_: &str) -> Result<(), String> {
    Ok(())
}

fn say(line: &str) -> Result<i32, Failure> {
    write(&format!("{line}\n")).map(|()| 0)
}

/// An endpoint as typed: `host=…,ca=…,cert=…,key=…,skip-tls-verify=…`, or `from=…`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    host: String,
    skip_verify: bool,
    files: Vec<(&'static str, String)>,
    from: Option<String>,
}

fn asked(words: &[&str]) -> Result<Asked, Failure> {
    let mut values = BTreeMap::new();
    for pair in words.iter().flat_map(|word| word.split(',')) {
        let bad = || {
            Failure::text(format!(
                "invalid argument {pair:?} for \"--docker\" flag: must be formatted as key=value"
            ))
        };
        let (key, value) = pair.split_once('=').ok_or_else(bad)?;
        values.insert(key.trim(), value.trim());
    }
    let mut asked = Asked::default();
    for (key, value) in values {
        match key {
            "host" => asked.host = value.to_owned(),
            "from" => asked.from = Some(value.to_owned()),
            "ca" => asked.files.push(("ca.pem", value.to_owned())),
            "cert" => asked.files.push(("cert.pem", value.to_owned())),
            "key" => asked.files.push(("key.pem", value.to_owned())),
            "skip-tls-verify" => {
                let on = api::query::strict_bool(value);
                asked.skip_verify = on.ok_or_else(|| {
                    Failure::text(format!("skip-tls-verify: invalid boolean value {value:?}"))
                })?;
            }
            other => return Err(Failure::text(format!("unrecognized config key: {other:?}"))),
        }
    }
    if asked.from.is_some() && (!asked.host.is_empty() || !asked.files.is_empty()) {
        return Err(Failure::text("an endpoint is taken from a context or described, not both"));
    }
    Ok(asked)
}

/// Certificates of an endpoint: the name of a file and its content.
type Certificates = Vec<(&'static str, Vec<u8>)>;

impl Asked {
    /// The endpoint's address, whether certificates are looked at, and their contents.
    fn settle(&self, session: &Session, store: &Store) -> Result<(String, bool, Certificates), Failure> {
        if let Some(name) = &self.from {
            let context = find(session, store, name)?;
            return Ok((context.host().to_owned(), context.skips_verification(), copied(store, name)?));
        }
        if !self.host.is_empty() {
            client::Address::parse(&self.host, false).map_err(|error| {
                Failure::text(format!("unable to create docker endpoint config: {error}"))
            })?;
        }
        let read = |(name, path): &(&'static str, String)| {
            Ok((*name, std::fs::read(path).map_err(|error| Failure::open(path, &error))?))
        };
        let files = self.files.iter().map(read).collect::<Result<_, Failure>>()?;
        Ok((self.host.clone(), self.skip_verify, files))
    }
}

/// A context of the store, or the default one.
fn find(session: &Session, store: &Store, name: &str) -> Result<Context, Failure> {
    if name != DEFAULT {
        return store.get(name);
    }
    let host = session.default_host().unwrap_or_else(|| format!("unix://{DEFAULT_SOCKET}"));
    Ok(Context::new(DEFAULT, "", &host, false))
}

fn copied(store: &Store, name: &str) -> Result<Certificates, Failure> {
    let directory = store.tls_dir(name).join("docker");
    let there = store.tls(name);
    let names = crate::context::TLS_FILES.iter().filter(|file| there.iter().any(|other| other == *file));
    let read = |file: &&'static str| {
        let path = directory.join(file);
        let content =
            std::fs::read(&path).map_err(|error| Failure::open(&path.display().to_string(), &error))?;
        Ok((*file, content))
    };
    names.map(read).collect()
}

fn create(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let (store, name) = (session.contexts()?, typed.operand(0));
    check_name(name)?;
    if store.has(name) {
        return Err(Failure::text(format!("context {name:?} already exists")));
    }
    let mut asked = asked(&typed.list("docker"))?;
    let mut description = typed.text("description").to_owned();
    if typed.given("from") {
        if asked != Asked::default() {
            return Err(Failure::text("cannot use --docker flag when --from is set"));
        }
        let from = typed.text("from");
        asked.from = Some(from.to_owned());
        if description.is_empty() {
            find(session, &store, from)?.description().clone_into(&mut description);
        }
    } else if typed.list("docker").is_empty() {
        asked.from = Some(session.context()?.name);
    }
    let (host, skip_verify, files) = asked.settle(session, &store)?;
    store.put(&Context::new(name, &description, &host, skip_verify))?;
    store.put_tls(name, &files)?;
    note(&format!("Successfully created context {name:?}"));
    say(name)
}

fn update(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let (store, name) = (session.contexts()?, typed.operand(0));
    check_name(name)?;
    let mut context = store.get(name)?;
    if typed.given("description") {
        context.describe(typed.text("description"));
    }
    let words = typed.list("docker");
    if !words.is_empty() {
        let (host, skip_verify, files) = asked(&words)?.settle(session, &store)?;
        context.lead_to(&host, skip_verify);
        store.put_tls(name, &files)?;
    }
    store.put(&context)?;
    note(&format!("Successfully updated context {name:?}"));
    say(name)
}

fn inspect(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let store = session.contexts()?;
    let current = [session.context()?.name];
    let names = if typed.operands().is_empty() { &current[..] } else { typed.operands() };
    let documents = names.iter().map(|name| document(session, &store, name));
    let documents = documents.collect::<Result<Vec<Value>, Failure>>()?;
    if typed.text("format").is_empty() {
        let texts: Vec<String> = documents.iter().map(Value::to_string).collect();
        write(&indented_list(&texts))?;
        return Ok(0);
    }
    let format = Format::parse(typed.text("format"))?;
    for document in &documents {
        write(&format!("{}\n", format.document(document)?))?;
    }
    Ok(0)
}

fn document(session: &Session, store: &Store, name: &str) -> Result<Value, Failure> {
    let context = find(session, store, name)?;
    let places = match name {
        DEFAULT => ["<IN MEMORY>".to_owned(), "<IN MEMORY>".to_owned()],
        _ => [store.meta_dir(name), store.tls_dir(name)].map(|path| path.display().to_string()),
    };
    Ok(context.document(&store.tls(name), places))
}

const KIND: Kind = Kind {
    headings: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Current", "CURRENT"),
        ("Error", "ERROR"),
    ],
    table: "{{.Name}}{{if eq .Current \"true\"}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    quiet: "{{.Name}}",
};

fn list(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let store = session.contexts()?;
    let current = session.context()?.name;
    let mut contexts = vec![find(session, &store, DEFAULT)?];
    contexts.extend(store.list()?);
    let rows: Vec<Row> = contexts
        .iter()
        .map(|context| {
            let is_default = context.name() == DEFAULT;
            let description =
                if is_default { "Current DOCKER_HOST based configuration" } else { context.description() };
            Row::new([
                ("Name", context.name().to_owned()),
                ("Description", description.to_owned()),
                ("DockerEndpoint", context.host().to_owned()),
                ("Current", (context.name() == current).to_string()),
                ("Error", String::new()),
            ])
        })
        .collect();
    let quiet = typed.switch("quiet");
    write(&render(&KIND, choose(typed.text("format"), quiet, ""), quiet, &rows)?)?;
    if session.is_overridden() {
        note(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the \
             global --context flag, or unset DOCKER_HOST environment variable.",
        );
    }
    Ok(0)
}

fn remove(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let store = session.contexts()?;
    let current = session.setting("currentContext").to_owned();
    let mut failures = Vec::new();
    for name in typed.operands() {
        match remove_one(session, &store, name, &current, typed.switch("force")) {
            Ok(()) => write(&format!("{name}\n"))?,
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    if failures.is_empty() { Ok(0) } else { Err(Failure::text(failures.join("\n"))) }
}

fn remove_one(
    session: &Session,
    store: &Store,
    name: &str,
    current: &str,
    force: bool,
) -> Result<(), Failure> {
    match () {
        () if name == DEFAULT => return Err(Failure::text("context \"default\" cannot be removed")),
        () if !store.has(name) && force => return Ok(()),
        () if !store.has(name) => return Err(Failure::text(format!("context {name:?} does not exist"))),
        () if name == current && !force => {
            return Err(Failure::text(format!("context {name:?} is in use, set -f flag to force remove")));
        }
        () => {}
    }
    if name == current {
        session.set_setting("currentContext", None)?;
    }
    store.remove(name)
}

fn make_current(session: &Session, name: &str) -> Result<i32, Failure> {
    if name != DEFAULT {
        session.contexts()?.get(name)?;
    }
    session.set_setting("currentContext", Some(name).filter(|name| *name != DEFAULT))?;
    write(&format!("{name}\n"))?;
    note(&format!("Current context is now {name:?}"));
    if name != DEFAULT && session.is_overridden() {
        note(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the \
             global --context flag, or unset DOCKER_HOST environment variable.",
        );
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_described_in_pairs() {
        let found = asked(&["host=tcp://a:1,ca=/c", "skip-tls-verify=1"]).expect("pairs");
        let expected = Asked {
            host: "tcp://a:1".to_owned(),
            skip_verify: true,
            files: vec![("ca.pem", "/c".to_owned())],
            from: None,
        };
        assert_eq!(found, expected);
        let refused = |words: &[&str]| asked(words).expect_err("not an endpoint").to_string();
        assert_eq!(refused(&["foo=bar"]), "unrecognized config key: \"foo\"");
        assert_eq!(refused(&["from=a,host=b"]), "an endpoint is taken from a context or described, not both");
    }
}
