//! Options of the `local` driver: checked, and turned into the mount that they mean. Pure.

use std::collections::BTreeMap;

use runtime::plan::Options;

use crate::{Error, Result};

/// What the driver understands.
const KNOWN: [&str; 4] = ["type", "o", "device", "size"];
/// An option and those it needs beside it.
const NEEDS: [(&str, &[&str]); 3] =
    [("device", &["type"]), ("type", &["device"]), ("o", &["device", "type"])];

/// What a volume with options shows: mounted over its directory when the first container uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalMount {
    /// The file system: `tmpfs`, `nfs`, …; without meaning for a bind.
    pub(super) kind: String,
    /// A device, a path, or `server:/path`.
    pub(super) device: String,
    /// The options as they were given.
    pub(super) text: String,
    /// What they mean.
    pub(super) options: Options,
}

/// Refuses options that cannot be meant, in the words of Docker's driver.
pub(super) fn validate(options: &BTreeMap<String, String>, has_quotas: impl FnOnce() -> bool) -> Result<()> {
    if let Some(unknown) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(Error::invalid(format!("invalid option: \"{unknown}\"")));
    }
    if options.get("type").is_some_and(|kind| kind == "cifs") && has_port(options) {
        return Err(Error::invalid("port not allowed in CIFS device URL, include 'port' in 'o='"));
    }
    if size_limit(options)? > 0 && !has_quotas() {
        return Err(Error::invalid("quota size requested but no quota support"));
    }
    for (option, needed) in NEEDS.iter().filter(|(option, _)| options.contains_key(*option)) {
        if let Some(missing) = needed.iter().find(|needed| !options.contains_key(**needed)) {
            tracing::debug!(option, missing, "an option of a volume needs another one");
            return Err(Error::invalid(format!("missing required option: \"{missing}\"")));
        }
    }
    if options.values().any(|value| value.contains('\0')) {
        return Err(Error::invalid("an option contains a zero byte"));
    }
    Ok(())
}

/// Bytes that the content of a volume may take; 0 is without limit.
pub(super) fn size_limit(options: &BTreeMap<String, String>) -> Result<u64> {
    match options.get("size").map(String::as_str) {
        None | Some("0") => Ok(0),
        Some(word) => crate::container::parse_size(word),
    }
}

/// `//server:445/share` or `smb://server:445/share`.
fn has_port(options: &BTreeMap<String, String>) -> bool {
    let device = options.get("device").map_or("", String::as_str);
    let host = device.split_once("//").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(""));
    let host = host.rsplit('@').next().unwrap_or("");
    let after_address = host.rsplit(']').next().unwrap_or("");
    after_address.contains(':')
}

/// The mount that options mean; `None` when the volume is a plain directory.
pub(super) fn plan(options: &BTreeMap<String, String>) -> Option<LocalMount> {
    let text = |key: &str| options.get(key).cloned().unwrap_or_default();
    options.contains_key("device").then(|| {
        let given = text("o");
        let words: Vec<String> =
            given.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        LocalMount {
            kind: text("type"),
            device: text("device"),
            options: Options::parse(&words),
            text: given,
        }
    })
}

impl LocalMount {
    /// The name of the server, when it is not an address yet: what a network file system is told must be one.
    pub(super) fn server_name(&self) -> Option<&str> {
        if !(self.kind.starts_with("nfs") || self.kind == "cifs") {
            return None;
        }
        let address = self.options.parameters.iter().find(|(key, _)| key == "addr")?.1.as_deref()?;
        address.parse::<std::net::IpAddr>().is_err().then_some(address)
    }

    /// The same with the server's address.
    pub(super) fn with_address(mut self, address: std::net::IpAddr) -> Self {
        for (_, value) in self.options.parameters.iter_mut().filter(|(key, _)| key == "addr") {
            *value = Some(address.to_string());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> BTreeMap<String, String> {
        let pair = |word: &str| word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        text.split_whitespace().filter_map(pair).collect()
    }

    #[test]
    fn options_are_refused_in_dockers_words() {
        let cases = [
            ("", ""),
            ("type=tmpfs device=tmpfs", ""),
            ("type=tmpfs device=tmpfs o=size=1m,uid=1000", ""),
            ("type=none device=/srv o=bind", ""),
            ("colour=red", "invalid option: \"colour\""),
            ("type=tmpfs", "missing required option: \"device\""),
            ("device=tmpfs", "missing required option: \"type\""),
            ("o=bind", "missing required option: \"device\""),
            ("o=bind device=/srv", "missing required option: \"type\""),
            ("size=1G", "quota size requested but no quota support"),
            ("size=0", ""),
            ("size=much", "invalid size: 'much'"),
            ("type=cifs device=//nas/share o=port=445", ""),
            (
                "type=cifs device=//nas:445/share",
                "port not allowed in CIFS device URL, include 'port' in 'o='",
            ),
            ("type=cifs device=//[fe80::1]/share", ""),
        ];
        for (given, expected) in cases {
            let words =
                validate(&options(given), || false).err().map(|error| error.message).unwrap_or_default();
            assert_eq!(words, expected, "{given}");
        }
    }

    #[test]
    fn options_mean_a_mount() {
        assert_eq!(plan(&options("")), None);
        let bind = plan(&options("type=none device=/srv o=bind,ro")).expect("a mount");
        assert_eq!((bind.options.bind, bind.device.as_str()), (Some(false), "/srv"));
        let memory = plan(&options("type=tmpfs device=tmpfs o=size=1m,nosuid")).expect("a mount");
        assert_eq!(memory.options.parameters, [("size".to_owned(), Some("1m".to_owned()))]);
        assert_eq!(memory.server_name(), None);
        let nfs = plan(&options("type=nfs device=:/x o=addr=nas.local,rw")).expect("a mount");
        assert_eq!(nfs.server_name(), Some("nas.local"));
        let nfs = nfs.with_address(std::net::Ipv4Addr::LOCALHOST.into());
        assert_eq!(nfs.options.parameters, [("addr".to_owned(), Some("127.0.0.1".to_owned()))]);
        assert_eq!(nfs.server_name(), None);
    }
}
