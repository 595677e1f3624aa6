//! What is done at boot, as a pure plan from what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use oci::Digest;
use store::Store;

use crate::Result;
use crate::content::Content;
use crate::error::stream;
use crate::images::Options;
use crate::layers::remove_path;
use crate::lease::{LEASES, is_old};
use crate::record::{LAYERS, SNAPSHOTS};

/// Everything that the plan depends on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// The boot of the machine that is running now.
    pub(crate) boot_id: String,
    /// Partial content: path, and the digest it is to have when that is known.
    pub(crate) partial: Vec<(PathBuf, Option<Digest>)>,
    /// What leases of pulls that were cut still hold.
    pub(crate) leased: BTreeSet<String>,
    /// Digests of verified content.
    pub(crate) blobs: BTreeSet<Digest>,
    /// Directories in `layers/tmp`.
    pub(crate) drafts: Vec<PathBuf>,
    /// Published layer directories by the key of their record.
    pub(crate) layer_dirs: BTreeMap<String, PathBuf>,
    /// Records of layers: boot ID and whether they are durable.
    pub(crate) layer_records: BTreeMap<String, (String, bool)>,
    /// Directories in `snapshots`.
    pub(crate) snapshot_dirs: BTreeMap<String, PathBuf>,
    /// Snapshots that have a record.
    pub(crate) snapshot_records: BTreeSet<String>,
    /// Records that cannot be read.
    pub(crate) bad_records: Vec<store::BadRecord>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// Partial content that can never be completed.
    RemovePartial(PathBuf),
    /// A directory that never became a layer.
    RemoveDraft(PathBuf),
    /// A layer directory without a record, or one whose files may be missing.
    RemoveLayer(PathBuf),
    /// A record of a layer that is not there.
    ForgetLayer(String),
    /// A snapshot directory without a record.
    RemoveSnapshot(PathBuf),
    /// A record that cannot be read; it is left for `system check --repair`.
    ReportBad(store::BadRecord),
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemovePartial(path) => write!(f, "remove partial content {}", path.display()),
            Self::RemoveDraft(path) => write!(f, "remove unfinished layer {}", path.display()),
            Self::RemoveLayer(path) => write!(f, "remove unproven layer {}", path.display()),
            Self::ForgetLayer(key) => write!(f, "forget layer {key}"),
            Self::RemoveSnapshot(path) => write!(f, "remove unowned snapshot {}", path.display()),
            Self::ReportBad(bad) => write!(f, "skip record {:?} of {}: {}", bad.key, bad.table, bad.reason),
        }
    }
}

/// What was done at boot, one line each, for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// What was swept or skipped.
    pub actions: Vec<String>,
}

/// Looks at records and directories.
pub(crate) fn gather(options: &Options, store: &Store, content: &Content) -> Result<Facts> {
    let snapshot = store.read()?;
    let layers = snapshot.scan(&LAYERS)?;
    let snapshots = snapshot.scan(&SNAPSHOTS)?;
    let mut bad_records = layers.bad;
    bad_records.extend(snapshots.bad.iter().cloned());
    bad_records.extend(snapshot.scan(&crate::record::NAMES)?.bad);
    let mut snapshot_records: BTreeSet<String> = snapshots.records.into_iter().map(|(id, _)| id).collect();
    // A record that cannot be read still owns its directory.
    snapshot_records.extend(snapshots.bad.into_iter().map(|bad| bad.key));
    let now = crate::time::now_seconds();
    let leases = snapshot.scan(&LEASES)?.records.into_iter().filter(|(_, lease)| !is_old(lease, now));
    let leased = leases.flat_map(|(_, lease)| lease.keys).collect();
    let root = options.data_root.join("layers");
    let mut layer_dirs = BTreeMap::new();
    for (directory, prefix) in [("sha256", "sha256:"), ("chain-sha256", "chain-sha256:")] {
        for (name, path) in entries(&root.join(directory))? {
            layer_dirs.insert(format!("{prefix}{name}"), path);
        }
    }
    Ok(Facts {
        boot_id: options.boot_id.clone(),
        partial: content.partial()?,
        leased,
        blobs: content.list()?.0.into_iter().map(|blob| blob.digest).collect(),
        drafts: entries(&root.join("tmp"))?.into_values().collect(),
        layer_dirs,
        layer_records: layers.records.into_iter().map(|(key, r)| (key, (r.boot_id, r.durable))).collect(),
        snapshot_dirs: entries(&options.data_root.join("snapshots"))?,
        snapshot_records,
        bad_records,
    })
}

fn entries(directory: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(stream("list a directory of the image store"))? {
        let entry = entry.map_err(stream("list a directory of the image store"))?;
        found.insert(entry.file_name().to_string_lossy().into_owned(), entry.path());
    }
    Ok(found)
}

/// Decides what to do about what was found.
pub(crate) fn plan(facts: &Facts) -> Vec<Op> {
    let mut ops: Vec<Op> = facts.bad_records.iter().cloned().map(Op::ReportBad).collect();
    for (path, digest) in &facts.partial {
        // What a lease holds is continued, unless it has arrived by another way meanwhile.
        let goes_on =
            |digest: &Digest| facts.leased.contains(&digest.to_string()) && !facts.blobs.contains(digest);
        if !digest.as_ref().is_some_and(goes_on) {
            ops.push(Op::RemovePartial(path.clone()));
        }
    }
    ops.extend(facts.drafts.iter().cloned().map(Op::RemoveDraft));
    let trusted = |key: &String| {
        facts.layer_records.get(key).is_some_and(|(boot_id, durable)| *durable || *boot_id == facts.boot_id)
    };
    for (key, path) in &facts.layer_dirs {
        if !trusted(key) {
            ops.push(Op::RemoveLayer(path.clone()));
        }
    }
    for key in facts.layer_records.keys() {
        if !trusted(key) || !facts.layer_dirs.contains_key(key) {
            ops.push(Op::ForgetLayer(key.clone()));
        }
    }
    for (id, path) in &facts.snapshot_dirs {
        if !facts.snapshot_records.contains(id) {
            ops.push(Op::RemoveSnapshot(path.clone()));
        }
    }
    ops
}

/// Does it. Every step may be repeated.
pub(crate) fn apply(ops: &[Op], store: &Store) -> Result<Recovery> {
    let mut forgotten = Vec::new();
    // Records go first: a directory without a record is swept at the next boot, the reverse would be believed.
    for op in ops {
        if let Op::ForgetLayer(key) = op {
            forgotten.push(key);
        }
    }
    if !forgotten.is_empty() {
        store.write(|transaction| {
            for key in &forgotten {
                transaction.delete_raw(&LAYERS, key)?;
            }
            Ok::<_, store::Error>(())
        })?;
    }
    for op in ops {
        match op {
            Op::RemovePartial(path)
            | Op::RemoveDraft(path)
            | Op::RemoveLayer(path)
            | Op::RemoveSnapshot(path) => remove_path(path)?,
            Op::ForgetLayer(_) | Op::ReportBad(_) => {}
        }
    }
    Ok(Recovery { actions: ops.iter().map(ToString::to_string).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(facts: &Facts) -> String {
        plan(facts).iter().map(|op| format!("{op}\n")).collect()
    }

    #[test]
    fn a_clean_store_needs_nothing() {
        let mut facts = Facts { boot_id: "now".into(), ..Facts::default() };
        facts.layer_dirs.insert("sha256:a".into(), "l/a".into());
        facts.layer_records.insert("sha256:a".into(), ("before".into(), true));
        facts.layer_dirs.insert("sha256:b".into(), "l/b".into());
        facts.layer_records.insert("sha256:b".into(), ("now".into(), false));
        facts.snapshot_dirs.insert("c".into(), "s/c".into());
        facts.snapshot_records.insert("c".into());
        assert_eq!(show(&facts), "");
    }

    #[test]
    fn what_a_kill_or_a_loss_of_power_leaves_is_swept() {
        let known = crate::digest_of(b"known");
        let arrived = crate::digest_of(b"arrived");
        let abandoned = crate::digest_of(b"abandoned");
        let mut facts = Facts {
            boot_id: "now".into(),
            partial: vec![
                ("i/new".into(), None),
                ("i/known".into(), Some(known.clone())),
                ("i/abandoned".into(), Some(abandoned)),
                ("i/arrived".into(), Some(arrived.clone())),
            ],
            leased: BTreeSet::from([known.to_string(), arrived.to_string()]),
            blobs: BTreeSet::from([arrived]),
            drafts: vec!["l/tmp/1".into()],
            bad_records: vec![store::BadRecord { table: "layers", key: "x".into(), reason: "eof".into() }],
            ..Facts::default()
        };
        facts.layer_dirs.insert("sha256:unrecorded".into(), "l/unrecorded".into());
        facts.layer_dirs.insert("sha256:unsynced".into(), "l/unsynced".into());
        facts.layer_records.insert("sha256:unsynced".into(), ("before".into(), false));
        facts.layer_records.insert("sha256:missing".into(), ("now".into(), true));
        facts.snapshot_dirs.insert("unowned".into(), "s/unowned".into());
        let expected = "skip record \"x\" of layers: eof
remove partial content i/new
remove partial content i/abandoned
remove partial content i/arrived
remove unfinished layer l/tmp/1
remove unproven layer l/unrecorded
remove unproven layer l/unsynced
forget layer sha256:missing
forget layer sha256:unsynced
remove unowned snapshot s/unowned
";
        assert_eq!(show(&facts), expected);
    }
}
