//! Ports and mounts that an update adds to a container, and takes from it.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::grammar::Typed;
use crate::value::volume::Volume;
use crate::value::{mount, port, volume};

/// For the table of flags.
pub(crate) fn check_port(text: &str) -> Result<(), String> {
    port::publish(text, &mut port::Bindings::new())
}

/// For the table of flags.
pub(crate) fn check_mount(text: &str) -> Result<(), String> {
    if is_fields(text) { mount::check(text) } else { Ok(()) }
}

/// `type=bind,source=…` has fields; `/a:/b:ro` and `/b` have none.
fn is_fields(text: &str) -> bool {
    text.split(',')
        .any(|field| field.starts_with("type=") || field.starts_with("target=") || field.starts_with("dst="))
}

/// The body's member of our own; `None` when nothing is to change.
pub(super) fn changes(typed: &Typed) -> Result<Option<Value>, Failure> {
    let given = ["publish-add", "publish-rm", "mount-add", "mount-rm"];
    if !given.iter().any(|flag| typed.given(flag)) {
        return Ok(None);
    }
    let directory = std::env::current_dir().unwrap_or_default();
    let (mut mounts, mut binds) = (Vec::new(), Vec::new());
    for text in typed.list("mount-add") {
        if is_fields(text) {
            mounts.push(mount::parse(text).map_err(Failure::text)?);
            continue;
        }
        match volume::parse(text, &directory).map_err(Failure::text)? {
            Volume::Anonymous(target) => binds.push(target),
            Volume::Bind(bind) => binds.push(bind),
        }
    }
    Ok(Some(json!({
        "PublishAdd": ports(&typed.list("publish-add"))?,
        "PublishRemove": ports(&typed.list("publish-rm"))?,
        "MountAdd": mounts,
        "BindAdd": binds,
        "MountRemove": typed.list("mount-rm"),
    })))
}

fn ports(texts: &[&str]) -> Result<Value, Failure> {
    let mut bindings = port::Bindings::new();
    for text in texts {
        port::publish(text, &mut bindings).map_err(Failure::text)?;
    }
    let host = |(address, port): &(String, String)| json!({ "HostIp": address, "HostPort": port });
    let all = bindings.iter().map(|(port, hosts)| (port.clone(), hosts.iter().map(host).collect::<Value>()));
    Ok(Value::Object(all.collect()))
}
