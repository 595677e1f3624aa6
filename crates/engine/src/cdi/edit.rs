//! What devices need in a container, and how that changes the runtime's document. Pure.

use oci::runtime::{Device, DeviceRule, Hook, Hooks, Mount, NetDevice, Spec};
use serde::Deserialize;

/// Of one device, one file, or several together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Edits {
    env: Vec<String>,
    pub(crate) device_nodes: Vec<Node>,
    net_devices: Vec<Interface>,
    mounts: Vec<Asked>,
    hooks: Vec<Called>,
    #[serde(rename = "additionalGids")]
    groups: Vec<u32>,
}

/// A device file. What is missing of its numbers is taken from the host's before the edits are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Node {
    pub(crate) path: String,
    pub(crate) host_path: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) major: i64,
    pub(crate) minor: i64,
    pub(crate) file_mode: Option<u32>,
    permissions: String,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Interface {
    host_interface_name: String,
    name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    host_path: String,
    container_path: String,
    options: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Called {
    hook_name: String,
    path: String,
    args: Vec<String>,
    env: Vec<String>,
    timeout: Option<i64>,
}

impl Edits {
    /// Takes up another's edits after these.
    pub(super) fn add(&mut self, other: &Self) {
        self.env.extend_from_slice(&other.env);
        self.device_nodes.extend_from_slice(&other.device_nodes);
        self.net_devices.extend_from_slice(&other.net_devices);
        self.mounts.extend_from_slice(&other.mounts);
        self.hooks.extend_from_slice(&other.hooks);
        self.groups.extend_from_slice(&other.groups);
    }

    /// What cannot be in a description.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(entry) = self.env.iter().find(|entry| !entry.contains('=')) {
            return Err(format!("invalid environment variable {entry:?}"));
        }
        for node in &self.device_nodes {
            let known = matches!(node.kind.as_str(), "" | "b" | "c" | "u" | "p");
            if !node.path.starts_with('/')
                || !known
                || node.permissions.bytes().any(|byte| !b"rwm".contains(&byte))
            {
                return Err(format!("invalid device node {:?}", node.path));
            }
        }
        if let Some(mount) = self
            .mounts
            .iter()
            .find(|mount| mount.host_path.is_empty() || !mount.container_path.starts_with('/'))
        {
            return Err(format!("invalid mount of {:?} at {:?}", mount.host_path, mount.container_path));
        }
        if let Some(hook) = self.hooks.iter().find(|hook| !hook.path.starts_with('/')) {
            return Err(format!("invalid hook {:?}: its path must be absolute", hook.path));
        }
        match self.hooks.iter().find(|hook| list_of(&mut Hooks::default(), &hook.hook_name).is_none()) {
            Some(hook) => Err(format!("invalid hook name {:?}", hook.hook_name)),
            None => Ok(()),
        }
    }
}

/// The list of hooks of a name; `None` when there is no such list.
fn list_of<'a>(hooks: &'a mut Hooks, name: &str) -> Option<&'a mut Vec<Hook>> {
    Some(match name {
        "prestart" => &mut hooks.prestart,
        "createRuntime" => &mut hooks.create_runtime,
        "createContainer" => &mut hooks.create_container,
        "startContainer" => &mut hooks.start_container,
        "poststart" => &mut hooks.poststart,
        "poststop" => &mut hooks.poststop,
        _ => return None,
    })
}

/// Changes a runtime's document as devices need it.
pub(crate) fn apply(spec: &mut Spec, edits: &Edits) {
    environment(spec, &edits.env);
    edits.device_nodes.iter().for_each(|node| device(spec, node));
    if let Some(linux) = &mut spec.linux {
        let moved = edits
            .net_devices
            .iter()
            .map(|device| (device.host_interface_name.clone(), NetDevice { name: device.name.clone() }));
        linux.net_devices.extend(moved);
    }
    mounts(spec, &edits.mounts);
    for hook in &edits.hooks {
        let hooks = spec.hooks.get_or_insert_default();
        if let Some(list) = list_of(hooks, &hook.hook_name) {
            list.push(Hook {
                path: hook.path.clone(),
                args: hook.args.clone(),
                env: hook.env.clone(),
                timeout: hook.timeout,
            });
        }
    }
    if let Some(process) = &mut spec.process {
        for group in edits.groups.iter().filter(|group| **group != 0) {
            if !process.user.additional_gids.contains(group) {
                process.user.additional_gids.push(*group);
            }
        }
    }
}

/// A variable that is there already gets the new value in its place.
fn environment(spec: &mut Spec, entries: &[String]) {
    let Some(process) = &mut spec.process else { return };
    for entry in entries {
        let name = entry.split_once('=').map_or(entry.as_str(), |(name, _)| name);
        let is_it = |other: &&mut String| other.split_once('=').is_some_and(|(key, _)| key == name);
        match process.env.iter_mut().find(is_it) {
            Some(place) => place.clone_from(entry),
            None => process.env.push(entry.clone()),
        }
    }
}

fn device(spec: &mut Spec, node: &Node) {
    let user = spec.process.as_ref().map(|process| process.user.clone()).unwrap_or_default();
    let own = |id: u32| (id > 0).then_some(id);
    let Some(linux) = &mut spec.linux else { return };
    linux.devices.retain(|device| device.path != node.path);
    linux.devices.push(Device {
        path: node.path.clone(),
        kind: node.kind.clone(),
        major: node.major,
        minor: node.minor,
        file_mode: node.file_mode,
        uid: node.uid.or_else(|| own(user.uid)),
        gid: node.gid.or_else(|| own(user.gid)),
    });
    if matches!(node.kind.as_str(), "b" | "c") {
        let access = if node.permissions.is_empty() { "rwm" } else { &node.permissions };
        linux.resources.get_or_insert_default().devices.push(DeviceRule {
            allow: true,
            kind: node.kind.clone(),
            major: Some(node.major),
            minor: Some(node.minor),
            access: access.to_owned(),
        });
    }
}

fn mounts(spec: &mut Spec, asked: &[Asked]) {
    for mount in asked {
        spec.mounts.retain(|other| other.destination != mount.container_path);
        spec.mounts.push(Mount {
            destination: mount.container_path.clone(),
            source: mount.host_path.clone(),
            kind: if mount.kind.is_empty() { "bind".to_owned() } else { mount.kind.clone() },
            options: mount.options.clone(),
            ..Mount::default()
        });
    }
    // A mount below another one's destination comes after it.
    spec.mounts.sort_by_key(|mount| mount.destination.matches('/').count());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_change_the_document() {
        let edits: Edits = serde_json::from_str(
            r#"{
            "env": ["A=new", "B=2"],
            "deviceNodes": [{"path": "/dev/v0", "type": "c", "major": 1, "minor": 5, "permissions": "rw"}],
            "mounts": [{"hostPath": "/lib/v", "containerPath": "/opt/v", "options": ["ro", "bind"]}],
            "hooks": [{"hookName": "createContainer", "path": "/bin/h", "args": ["h", "x"]}],
            "additionalGids": [0, 44, 44]
        }"#,
        )
        .expect("edits");
        edits.check().expect("good ones");
        let mut spec: Spec = serde_json::from_str(
            r#"{"ociVersion":"1.3.0","process":{"cwd":"/","env":["A=old","C=3"],"user":{"uid":7,"gid":0}},"linux":{}}"#,
        )
        .expect("a document");
        apply(&mut spec, &edits);
        let process = spec.process.as_ref().expect("a process");
        assert_eq!(process.env, ["A=new", "C=3", "B=2"]);
        assert_eq!(process.user.additional_gids, [44]);
        let linux = spec.linux.as_ref().expect("a part for Linux");
        assert_eq!(
            (linux.devices[0].path.as_str(), linux.devices[0].uid, linux.devices[0].gid),
            ("/dev/v0", Some(7), None)
        );
        let rules = &linux.resources.as_ref().expect("resources").devices;
        assert_eq!((rules[0].access.as_str(), rules[0].major), ("rw", Some(1)));
        assert_eq!((spec.mounts[0].destination.as_str(), spec.mounts[0].kind.as_str()), ("/opt/v", "bind"));
        assert_eq!(spec.hooks.expect("hooks").create_container[0].path, "/bin/h");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |text: &str, expected: &str| {
            let words = serde_json::from_str::<Edits>(text)
                .map_err(|error| error.to_string())
                .and_then(|edits| edits.check())
                .expect_err("a refusal");
            assert!(words.contains(expected), "{words}");
        };
        check(r#"{"env":["A"]}"#, "invalid environment variable");
        check(r#"{"deviceNodes":[{"path":"v0"}]}"#, "invalid device node");
        check(r#"{"hooks":[{"hookName":"never","path":"/h"}]}"#, "invalid hook name");
        check(r#"{"mounts":[{"hostPath":"/x","containerPath":"y"}]}"#, "invalid mount");
        check(r#"{"intelRdt":{}}"#, "unknown field");
    }
}
