//! containerd's `hosts.toml`: which hosts are asked for a registry's content (containerd, docs/hosts.md). Pure.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue};
use toml::{Table, Value};

use super::Capabilities;

/// More hosts than anybody configures.
const MOST_HOSTS: usize = 64;

/// What a `hosts.toml` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostsToml {
    /// The registry itself; with an address only when `server` is there.
    pub(crate) server: Option<HostEntry>,
    /// In the order of the file.
    pub(crate) hosts: Vec<HostEntry>,
}

/// One host of it. Paths are as written: relative ones start at the file's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostEntry {
    /// `https://mirror.example/v2/x`.
    pub(crate) url: String,
    pub(crate) can: Capabilities,
    pub(crate) authorities: Vec<PathBuf>,
    pub(crate) identities: Vec<(PathBuf, Option<PathBuf>)>,
    pub(crate) skip_verify: bool,
    pub(crate) override_path: bool,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl HostsToml {
    /// Reads the text of a file; the error says which member is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let server = match table.get("server") {
            None => None,
            Some(Value::String(url)) if url.is_empty() => None,
            Some(Value::String(url)) => Some(entry(url, &table, Capabilities::ALL)?),
            Some(_) => return Err("server is not a text".to_owned()),
        };
        let mut hosts = Vec::new();
        if let Some(list) = table.get("host") {
            let list = list.as_table().ok_or("host is not a table")?;
            if list.len() > MOST_HOSTS {
                return Err(format!("more than {MOST_HOSTS} hosts"));
            }
            for (url, host) in list {
                let host = host.as_table().ok_or_else(|| format!("host.{url:?} is not a table"))?;
                hosts.push(entry(url, host, Capabilities::ALL)?);
            }
        }
        Ok(Self { server, hosts })
    }
}

fn entry(url: &str, table: &Table, default: Capabilities) -> Result<HostEntry, String> {
    let within = |name: &str| format!("{name} of {url:?}");
    let flag = |name: &str| match table.get(name) {
        None => Ok(false),
        Some(Value::Boolean(value)) => Ok(*value),
        Some(_) => Err(format!("{} is neither true nor false", within(name))),
    };
    Ok(HostEntry {
        url: url.to_owned(),
        can: capabilities(table, default).map_err(|reason| format!("{} {reason}", within("capabilities")))?,
        authorities: table.get("ca").map_or(Ok(Vec::new()), |value| {
            texts(value).map(|files| files.into_iter().map(PathBuf::from).collect())
        })?,
        identities: table.get("client").map_or(Ok(Vec::new()), clients)?,
        skip_verify: flag("skip_verify")?,
        override_path: flag("override_path")?,
        headers: headers(table)?,
    })
}

fn capabilities(table: &Table, default: Capabilities) -> Result<Capabilities, String> {
    let Some(value) = table.get("capabilities") else { return Ok(default) };
    let mut can = Capabilities { pull: false, resolve: false, push: false };
    for word in texts(value)? {
        match word.as_str() {
            "pull" => can.pull = true,
            "resolve" => can.resolve = true,
            "push" => can.push = true,
            // The list of referrers is content like any other.
            "referrers" => {}
            other => return Err(format!("has the unknown word {other:?}")),
        }
    }
    Ok(can)
}

/// A text, or a list of texts.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("a member is not a text".to_owned());
    match value {
        Value::Array(list) => list.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

/// `"both.pem"`, `["a.pem", …]`, `[["a.cert", "a.key"], …]`.
fn clients(value: &Value) -> Result<Vec<(PathBuf, Option<PathBuf>)>, String> {
    let one = |value: &Value| match value {
        Value::String(both) => Ok((PathBuf::from(both), None)),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(certificate), Value::String(key)] => {
                Ok((certificate.into(), Some(key).filter(|key| !key.is_empty()).map(PathBuf::from)))
            }
            _ => Err("a pair of client is not two file names".to_owned()),
        },
        _ => Err("client is not a file name or a list".to_owned()),
    };
    match value {
        Value::Array(list) => list.iter().map(one).collect(),
        other => Ok(vec![one(other)?]),
    }
}

fn headers(table: &Table) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let Some(value) = table.get("header") else { return Ok(Vec::new()) };
    let mut headers = Vec::new();
    for (name, value) in value.as_table().ok_or("header is not a table")? {
        let parsed =
            HeaderName::try_from(name.as_str()).map_err(|_| format!("header {name:?} is not a name"))?;
        for text in texts(value)? {
            let mut value = HeaderValue::try_from(text)
                .map_err(|_| format!("header {name:?} has a value that cannot be sent"))?;
            value.set_sensitive(true);
            headers.push((parsed.clone(), value));
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_hosts_in_order_with_what_they_can() {
        let text = r#"
            server = "https://registry.example"
            [host."https://second.first.example"]
              capabilities = ["pull", "resolve"]
              ca = "ca.pem"
              client = [["a.cert", "a.key"], "both.pem"]
              [host."https://second.first.example".header]
                x-token = ["one", "two"]
            [host."http://a.example:5000/v2/hub"]
              skip_verify = true
              override_path = true
        "#;
        let read = HostsToml::parse(text).expect("a file");
        assert_eq!(read.server.expect("a server").url, "https://registry.example");
        let urls: Vec<_> = read.hosts.iter().map(|host| host.url.as_str()).collect();
        assert_eq!(urls, ["https://second.first.example", "http://a.example:5000/v2/hub"]);
        let first = &read.hosts[0];
        assert!(!first.can.push && first.can.pull);
        assert_eq!(first.authorities, [PathBuf::from("ca.pem")]);
        assert_eq!(first.identities, [("a.cert".into(), Some("a.key".into())), ("both.pem".into(), None)]);
        assert_eq!(first.headers.len(), 2);
        assert!(read.hosts[1].skip_verify && read.hosts[1].override_path && read.hosts[1].can.push);
    }

    #[test]
    fn a_broken_file_says_what_is_wrong() {
        let check = |text: &str, words: &str| {
            let error = HostsToml::parse(text).expect_err(text);
            assert!(error.contains(words), "{text:?}: {error}");
        };
        check("server = 1", "server is not a text");
        check("host = 1", "host is not a table");
        check("[host.\"https://x\"]\ncapabilities = [\"fly\"]", "the unknown word \"fly\"");
        check("[host.\"https://x\"]\nskip_verify = \"yes\"", "neither true nor false");
        check("[host.\"https://x\".header]\nx = \"a\\nb\"", "cannot be sent");
        check("server = ", "");
        check(&"[".repeat(100_000), "");
        check(&format!("a = {}", "[".repeat(100_000)), "");
    }

    #[test]
    fn no_change_of_a_file_makes_the_reader_fail() {
        let whole = "server = \"https://r\"\n[host.\"https://m:5/v2\"]\ncapabilities = [\"pull\"]\nclient = [[\"a\", \"b\"]]\n[host.\"https://m:5/v2\".header]\nx = [\"1\"]\n";
        for text in crate::endpoint::changed(whole) {
            // An error or a value; what must not come is a panic.
            let _either = HostsToml::parse(&text);
        }
    }
}
