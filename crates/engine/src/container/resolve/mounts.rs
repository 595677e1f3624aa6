//! Mounts: `--volume`, `--mount`, `--tmpfs` and the volumes an image declares, checked and put in order.

use std::collections::BTreeSet;

use api::config::Config;
use api::host_config::HostConfig;
use api::mount::{Mount, kind};

use super::super::spec::{IdMap, MountSource, MountSpec};
use super::{Facts, id_map};
use crate::{Error, Result};

/// Mounts of one container; more would only slow its start.
const MAX_MOUNTS: usize = 1024;

/// A path without `.`, `..`, doubled or trailing slashes. `..` does not climb above `/`.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// How many anonymous volumes a request needs names for.
pub(crate) fn anonymous_volumes(config: &Config, host: &HostConfig) -> usize {
    let declared = config.volumes.as_ref().map_or(0, |volumes| volumes.len());
    let unnamed = host.mounts.iter().filter(|mount| is_volume(mount) && mount.source.is_empty()).count();
    let binds = host.binds.iter().flatten().filter(|bind| !bind.contains(':')).count();
    declared + unnamed + binds
}

fn is_volume(mount: &Mount) -> bool {
    mount.kind.is_empty() || mount.kind == kind::VOLUME
}

pub(super) fn resolve(config: &Config, host: &HostConfig, facts: &Facts<'_>) -> Result<Vec<MountSpec>> {
    let mut names = facts.volume_names.iter().cloned();
    let mut taken = BTreeSet::new();
    let mut mounts = Vec::new();
    let mut add = |mount: MountSpec| {
        if mount.destination == "/" {
            return Err(Error::invalid("invalid specification: destination can't be '/'"));
        }
        if !taken.insert(mount.destination.clone()) {
            return Err(Error::invalid(format!("Duplicate mount point: {}", mount.destination)));
        }
        if taken.len() > MAX_MOUNTS {
            return Err(Error::invalid(format!("more than {MAX_MOUNTS} mounts")));
        }
        mounts.push(mount);
        Ok(())
    };
    for bind in host.binds.iter().flatten() {
        add(parse_bind(bind, &mut names)?)?;
    }
    for mount in &host.mounts {
        add(parse_mount(mount, facts, &mut names)?)?;
    }
    for (destination, options) in &host.tmpfs {
        add(parse_tmpfs(destination, options)?)?;
    }
    // What another container lends gives way to what this one asks for, and goes before what the image declares.
    let mut lent: Vec<MountSpec> = Vec::new();
    for mount in &facts.lent_mounts {
        if !taken.contains(&mount.destination) {
            lent.retain(|other| other.destination != mount.destination);
            lent.push(mount.clone());
        }
    }
    taken.extend(lent.iter().map(|mount| mount.destination.clone()));
    mounts.extend(lent);
    for destination in config.volumes.iter().flatten().map(|(destination, _)| clean(destination)) {
        if taken.contains(&destination) {
            continue;
        }
        let name = names.next().ok_or_else(|| Error::system("no name is left for an anonymous volume"))?;
        let source = MountSource::Volume { name, anonymous: true, copy: true, subpath: String::new() };
        taken.insert(destination.clone());
        mounts.push(plain(destination, source));
    }
    mounts.sort_by_key(|mount| mount.destination.matches('/').count());
    Ok(mounts)
}

/// `container[:mode]` of `--volumes-from`: the container, and whether its volumes may be written.
pub(crate) fn parse_lender(text: &str) -> Result<(&str, bool)> {
    if text.is_empty() {
        return Err(Error::invalid("volumes-from specification cannot be an empty string"));
    }
    let (container, mode) = text.split_once(':').unwrap_or((text, "rw"));
    let mut words = mode.split(',');
    if !words.all(|word| matches!(word, "ro" | "rw" | "z" | "Z")) {
        return Err(Error::invalid(format!("invalid mode: {mode}")));
    }
    Ok((container, !mode.split(',').any(|word| word == "ro")))
}

/// The mounts that a container lends: its volumes and binds, which keep what they are and hold.
pub(crate) fn lend(mounts: &[MountSpec], writable: bool) -> impl Iterator<Item = MountSpec> {
    mounts.iter().filter(|mount| !matches!(mount.source, MountSource::Tmpfs { .. })).map(move |mount| {
        let mut lent = mount.clone();
        lent.writable &= writable;
        lent.recursive_readonly |= !lent.writable;
        if let MountSource::Volume { copy, .. } = &mut lent.source {
            *copy = false;
        }
        lent
    })
}

fn refuse_name(name: &str) -> Result<()> {
    crate::volume::refuse_name(name).map_err(|error| error.context(format!("create {name}")))
}

fn plain(destination: String, source: MountSource) -> MountSpec {
    MountSpec {
        destination,
        source,
        writable: true,
        recursive_readonly: false,
        recursive: true,
        propagation: String::new(),
        mode: String::new(),
        id_map: None,
    }
}

fn absolute(path: &str, whole: &str) -> Result<String> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(clean(path));
    }
    Err(Error::invalid(format!(
        "invalid volume specification: '{whole}': invalid mount config for type \"volume\": invalid mount path: '{path}' mount path must be absolute"
    )))
}

/// `[source:]destination[:mode]`.
pub(super) fn parse_bind(text: &str, names: &mut impl Iterator<Item = String>) -> Result<MountSpec> {
    let invalid = || Error::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, mode) = match parts.as_slice() {
        [destination] => ("", *destination, ""),
        [_, "ro" | "rw" | "z" | "Z"] => return Err(invalid()),
        [source, destination] => (*source, *destination, ""),
        [source, destination, mode] => (*source, *destination, *mode),
        _ => return Err(invalid()),
    };
    if parts.len() > 1 && source.is_empty() || destination.is_empty() {
        return Err(invalid());
    }
    let destination = absolute(destination, text)?;
    if destination == "/" {
        let kind = if source.starts_with('/') { kind::BIND } else { kind::VOLUME };
        return Err(Error::invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"{kind}\": invalid specification: \
             destination can't be '/'"
        )));
    }
    let mut copy = true;
    let mut mount = if source.starts_with('/') {
        plain(destination, MountSource::Bind { path: clean(source), create: true })
    } else {
        let anonymous = source.is_empty();
        let name = if anonymous { names.next().ok_or_else(invalid)? } else { source.to_owned() };
        if !anonymous {
            refuse_name(&name)?;
        }
        plain(destination, MountSource::Volume { name, anonymous, copy: true, subpath: String::new() })
    };
    mount.mode = mode.to_owned();
    let is_bind = matches!(mount.source, MountSource::Bind { .. });
    let mut seen = BTreeSet::new();
    for word in mode.split(',').filter(|_| !mode.is_empty()) {
        let class = match word {
            "ro" | "rw" => {
                mount.writable = word == "rw";
                "access"
            }
            "z" | "Z" => "label",
            "nocopy" if !is_bind => {
                copy = false;
                "copy"
            }
            "consistent" | "cached" | "delegated" => "consistency",
            "U" => {
                mount.id_map = Some(IdMap::Owner);
                "idmap"
            }
            _ if word == "idmap" || word.starts_with("idmap=") => {
                mount.id_map = Some(id_map::parse(word.strip_prefix("idmap=").unwrap_or_default())?);
                "idmap"
            }
            "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate" if is_bind => {
                mount.propagation = word.to_owned();
                "propagation"
            }
            _ => return Err(Error::invalid(format!("invalid mode: {mode}"))),
        };
        if !seen.insert(class) {
            return Err(Error::invalid(format!("invalid mode: {mode}")));
        }
    }
    mount.recursive_readonly = !mount.writable;
    if let MountSource::Volume { copy: wanted, .. } = &mut mount.source {
        *wanted = copy;
    }
    Ok(mount)
}

fn parse_mount(
    mount: &Mount,
    facts: &Facts<'_>,
    names: &mut impl Iterator<Item = String>,
) -> Result<MountSpec> {
    let kind = if mount.kind.is_empty() { kind::VOLUME } else { mount.kind.as_str() };
    let invalid = |words: &str| Error::invalid(format!("invalid mount config for type \"{kind}\": {words}"));
    if mount.target.is_empty() {
        return Err(invalid("field Target must not be empty"));
    }
    if !mount.target.starts_with('/') || mount.target.contains('\0') {
        return Err(invalid(&format!("invalid mount path: '{}' mount path must be absolute", mount.target)));
    }
    if clean(&mount.target) == "/" {
        return Err(invalid("invalid specification: destination can't be '/'"));
    }
    let source = match kind {
        kind::BIND => bind_source(mount, facts, &invalid)?,
        kind::VOLUME => volume_source(mount, names, &invalid)?,
        kind::TMPFS => {
            if !mount.source.is_empty() {
                return Err(invalid("field Source must not be specified"));
            }
            refuse_options(mount, &["BindOptions", "VolumeOptions", "ImageOptions"], &invalid)?;
            MountSource::Tmpfs { options: tmpfs_options(mount, &invalid)? }
        }
        kind::IMAGE => image_source(mount, facts, &invalid)?,
        _ => return Err(invalid("mount type unknown")),
    };
    let bind = mount.bind_options.clone().unwrap_or_default();
    if bind.read_only_force_recursive && (bind.non_recursive || !mount.read_only) {
        return Err(invalid("BindOptions.ReadOnlyForceRecursive needs a recursive, read-only mount"));
    }
    match bind.propagation.as_str() {
        "" | "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {}
        other => return Err(invalid(&format!("invalid propagation mode: {other}"))),
    }
    let is_image = matches!(source, MountSource::Image { .. });
    let id_map = match (mount.id_map.as_str(), &source) {
        ("", _) => None,
        (text, MountSource::Bind { .. } | MountSource::Volume { .. }) => {
            Some(id_map::parse(text).map_err(|error| invalid(&error.message))?)
        }
        _ => return Err(invalid("field IdMap must not be specified")),
    };
    Ok(MountSpec {
        destination: clean(&mount.target),
        source,
        writable: !mount.read_only && !is_image,
        recursive_readonly: mount.read_only && !bind.read_only_non_recursive && !bind.non_recursive,
        recursive: !bind.non_recursive,
        propagation: bind.propagation,
        mode: String::new(),
        id_map,
    })
}

/// Refuses options that are for mounts of another type.
fn refuse_options(mount: &Mount, others: &[&str], invalid: &dyn Fn(&str) -> Error) -> Result<()> {
    let given = [
        ("BindOptions", mount.bind_options.is_some()),
        ("VolumeOptions", mount.volume_options.is_some()),
        ("TmpfsOptions", mount.tmpfs_options.is_some()),
        ("ImageOptions", mount.image_options.is_some()),
    ];
    match given.iter().find(|(field, given)| *given && others.contains(field)) {
        Some((field, _)) => Err(invalid(&format!("field {field} must not be specified"))),
        None => Ok(()),
    }
}

fn bind_source(mount: &Mount, facts: &Facts<'_>, invalid: &dyn Fn(&str) -> Error) -> Result<MountSource> {
    refuse_options(mount, &["VolumeOptions", "TmpfsOptions", "ImageOptions"], invalid)?;
    if mount.source.is_empty() {
        return Err(invalid("field Source must not be empty"));
    }
    if !mount.source.starts_with('/') {
        return Err(invalid(&format!("invalid mount path: '{}' mount path must be absolute", mount.source)));
    }
    let create = mount.bind_options.as_ref().is_some_and(|options| options.create_mountpoint);
    if !create && !facts.existing_paths.contains(&mount.source) {
        return Err(invalid(&format!("bind source path does not exist: {}", mount.source)));
    }
    Ok(MountSource::Bind { path: clean(&mount.source), create })
}

fn volume_source(
    mount: &Mount,
    names: &mut impl Iterator<Item = String>,
    invalid: &dyn Fn(&str) -> Error,
) -> Result<MountSource> {
    refuse_options(mount, &["BindOptions", "TmpfsOptions", "ImageOptions"], invalid)?;
    let options = mount.volume_options.clone().unwrap_or_default();
    let anonymous = mount.source.is_empty();
    if anonymous && !options.subpath.is_empty() {
        return Err(invalid("must not set Subpath when using anonymous volumes"));
    }
    if options.subpath.starts_with('/') || options.subpath.split('/').any(|part| part == "..") {
        return Err(invalid("subpath must be a relative path within the volume"));
    }
    if !anonymous {
        refuse_name(&mount.source)?;
    }
    let name = match anonymous {
        true => names.next().ok_or_else(|| invalid("no name is left for an anonymous volume"))?,
        false => mount.source.clone(),
    };
    Ok(MountSource::Volume { name, anonymous, copy: !options.no_copy, subpath: options.subpath })
}

fn image_source(mount: &Mount, facts: &Facts<'_>, invalid: &dyn Fn(&str) -> Error) -> Result<MountSource> {
    refuse_options(mount, &["BindOptions", "VolumeOptions", "TmpfsOptions"], invalid)?;
    if mount.source.is_empty() {
        return Err(invalid("field Source must not be empty"));
    }
    let subpath = mount.image_options.clone().unwrap_or_default().subpath;
    if subpath.starts_with('/') || subpath.split('/').any(|part| part == "..") {
        return Err(invalid("subpath must be a relative path within the image"));
    }
    let id = facts.mounted_images.get(&mount.source).cloned();
    let id = id.ok_or_else(|| Error::no_image(format!("No such image: {}", mount.source)))?;
    Ok(MountSource::Image { name: mount.source.clone(), id, subpath })
}

fn tmpfs_options(mount: &Mount, invalid: &dyn Fn(&str) -> Error) -> Result<Vec<String>> {
    let given = mount.tmpfs_options.clone().unwrap_or_default();
    let mut options = vec!["nosuid".to_owned(), "nodev".to_owned()];
    let mut exec = "noexec".to_owned();
    for option in given.options {
        match option.as_slice() {
            [word] if word == "exec" || word == "noexec" => exec = word.clone(),
            [word] => return Err(invalid(&format!("invalid option: {word}"))),
            [word, value] => return Err(invalid(&format!("invalid option: {word}={value}"))),
            _ => return Err(invalid("invalid option array length")),
        }
    }
    options.push(exec);
    if given.size_bytes != 0 {
        options.push(format!("size={}", given.size_bytes));
    }
    options.push(format!("mode={:o}", if given.mode == 0 { 0o1777 } else { given.mode }));
    Ok(options)
}

fn parse_tmpfs(destination: &str, text: &str) -> Result<MountSpec> {
    if !destination.starts_with('/') {
        return Err(Error::invalid(format!(
            "invalid mount path: '{destination}' mount path must be absolute"
        )));
    }
    const FLAGS: &[&str] = &[
        "ro",
        "rw",
        "exec",
        "noexec",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "sync",
        "async",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
    ];
    const KEYS: &[&str] = &["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];
    let mut options: Vec<String> = vec!["noexec".into(), "nosuid".into(), "nodev".into()];
    let mut writable = true;
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let key = word.split_once('=').map(|(key, _)| key);
        match key {
            Some(key) if KEYS.contains(&key) => {}
            None if FLAGS.contains(&word) => writable = (writable || word == "rw") && word != "ro",
            _ => return Err(Error::invalid(format!("invalid tmpfs option {word:?}"))),
        }
        options.push(word.to_owned());
    }
    let mut mount = plain(clean(destination), MountSource::Tmpfs { options });
    mount.writable = writable;
    Ok(mount)
}
