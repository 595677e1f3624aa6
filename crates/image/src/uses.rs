//! Who needs what, kept in the database, so that what a removal frees costs as much as what is removed.
//!
//! ```text
//! name N ──────┐
//!              ├─► image D (manifest or index) ─┬─► blob …    manifests, configurations, layers as they came
//! snapshot S ──┤                                └─► layer …   where its layers may be unpacked
//!              └─► layer …                      what it is mounted from
//!
//! the last use of something goes ─► it is garbage ─► the collector frees it, unless an operation or a lease holds it
//! ```
//!
//! An edge is one record, `<what> <who>`; it changes in the transaction that changes the name or the snapshot. What is
//! in the store and was never used by anything is found at boot.

use std::collections::BTreeSet;

use oci::Digest;
use oci::image::Descriptor;
use serde::{Deserialize, Serialize};
use store::{Table, Transaction};

use crate::Result;
use crate::images::Images;
use crate::record::{LAYERS, NAMES, PARENTS, SNAPSHOTS, SnapshotRecord};

/// What a name, a snapshot or an image needs.
pub(crate) const ROOTS: Table<String, Needs> = Table::new("roots");
/// The edges, `<what> <who>`.
pub(crate) const USES: Table<String, Mark> = Table::new("uses");
/// What nothing uses any more.
pub(crate) const GARBAGE: Table<String, Mark> = Table::new("garbage");
/// Roots whose needs are not known in full, because a document cannot be read. While there is one nothing is freed.
pub(crate) const UNREADABLE: Table<String, Vec<String>> = Table::new("unreadable");

/// A record that says nothing but that it is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {}

/// What somebody needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Needs {
    pub(crate) things: BTreeSet<String>,
    #[serde(skip)]
    pub(crate) unreadable: Vec<String>,
}

impl Needs {
    fn of(things: impl IntoIterator<Item = String>) -> Self {
        Self { things: things.into_iter().collect(), unreadable: Vec::new() }
    }
}

/// An image, by the digest of its manifest or index.
pub(crate) fn image(digest: &Digest) -> String {
    format!("image {digest}")
}

/// A blob.
pub(crate) fn blob(digest: impl std::fmt::Display) -> String {
    format!("blob {digest}")
}

/// An unpacked layer, by the text of its key.
pub(crate) fn layer(key: &str) -> String {
    format!("layer {key}")
}

fn name(key: &str) -> String {
    format!("name {key}")
}

fn snapshot(id: &str) -> String {
    format!("snapshot {id}")
}

fn edge(thing: &str, root: &str) -> String {
    format!("{thing} {root}")
}

/// Lets somebody need exactly this from now on. What nothing uses any more becomes garbage.
fn set(transaction: &mut Transaction, root: &str, needs: &Needs) -> Result<()> {
    let root = root.to_owned();
    // A record that cannot be read leaves edges that `system check --repair` removes; nothing is freed too early.
    let before = transaction.get(&ROOTS, &root).ok().flatten().unwrap_or_default().things;
    for thing in needs.things.difference(&before) {
        transaction.put(&USES, &edge(thing, &root), &Mark {})?;
    }
    if needs.things.is_empty() {
        transaction.delete(&ROOTS, &root)?;
    } else if needs.things != before {
        transaction.put(&ROOTS, &root, needs)?;
    }
    if needs.unreadable.is_empty() {
        transaction.delete(&UNREADABLE, &root)?;
    } else {
        transaction.put(&UNREADABLE, &root, &needs.unreadable)?;
    }
    for thing in before.difference(&needs.things) {
        release(transaction, thing, &root)?;
    }
    Ok(())
}

fn release(transaction: &mut Transaction, thing: &str, root: &str) -> Result<()> {
    transaction.delete(&USES, &edge(thing, root))?;
    if transaction.has_prefix(&USES, &format!("{thing} "))? {
        return Ok(());
    }
    if let Some(id) = thing.strip_prefix("image ") {
        transaction.delete(&PARENTS, &id.to_owned())?;
        return set(transaction, thing, &Needs::default());
    }
    Ok(transaction.put(&GARBAGE, &thing.to_owned(), &Mark {})?)
}

/// Records that a name points at an image; `needs` is what the image needs.
pub(crate) fn point(transaction: &mut Transaction, key: &str, id: &Digest, needs: &Needs) -> Result<()> {
    set(transaction, &image(id), needs)?;
    set(transaction, &name(key), &Needs::of([image(id)]))
}

/// Records that a name points at an image that another name points at already.
pub(crate) fn point_again(transaction: &mut Transaction, key: &str, id: &Digest) -> Result<()> {
    set(transaction, &name(key), &Needs::of([image(id)]))
}

/// Records that a name is gone.
pub(crate) fn forget_name(transaction: &mut Transaction, key: &str) -> Result<()> {
    set(transaction, &name(key), &Needs::default())
}

/// Records what a snapshot is mounted from; `image_needs` when its manifest is not known as an image yet.
pub(crate) fn mount(
    transaction: &mut Transaction,
    id: &str,
    record: &SnapshotRecord,
    image_needs: Option<&Needs>,
) -> Result<()> {
    if let (Some(manifest), Some(needs)) = (&record.manifest, image_needs) {
        set(transaction, &image(manifest), needs)?;
    }
    let layers = record.layers.iter().map(|key| layer(key));
    set(transaction, &snapshot(id), &Needs::of(layers.chain(record.manifest.iter().map(image))))
}

/// Records that a snapshot is gone.
pub(crate) fn forget_snapshot(transaction: &mut Transaction, id: &str) -> Result<()> {
    set(transaction, &snapshot(id), &Needs::default())
}

/// Records what an image needs now, when more of it has come.
pub(crate) fn refresh(transaction: &mut Transaction, id: &Digest, needs: &Needs) -> Result<()> {
    set(transaction, &image(id), needs)
}

/// Whether a name other than `key` points at an image.
pub(crate) fn has_other_name(transaction: &Transaction, id: &Digest, key: &str) -> Result<bool> {
    let names = transaction.scan_prefix(&USES, &format!("{} name ", image(id)))?.records;
    Ok(names.iter().any(|(found, _)| *found != edge(&image(id), &name(key))))
}

/// Whether a name points at an image, whoever else uses it.
pub(crate) fn is_named(transaction: &Transaction, id: &Digest) -> Result<bool> {
    Ok(transaction.has_prefix(&USES, &format!("{} name ", image(id)))?)
}

impl Images {
    /// What an image needs, from its documents.
    pub(crate) fn needs_of(&self, target: &Descriptor) -> Needs {
        self.needs_without(target, &BTreeSet::new())
    }

    /// What an image needs once some of its manifests are gone.
    pub(crate) fn needs_without(&self, target: &Descriptor, doomed: &BTreeSet<Digest>) -> Needs {
        let reachable = self.reachable_without(target, doomed);
        let blobs = reachable.blobs.iter().map(blob);
        let layers = reachable.layers.iter().map(|key| layer(key));
        Needs { things: blobs.chain(layers).collect(), unreadable: reachable.unreadable }
    }

    /// What the manifest of a snapshot needs; `None` when that is known, or there is none.
    pub(crate) fn snapshot_needs(&self, record: &SnapshotRecord) -> Result<Option<Needs>> {
        let Some(manifest) = &record.manifest else { return Ok(None) };
        if self.store.read()?.get(&ROOTS, &image(manifest)).is_ok_and(|needs| needs.is_some()) {
            return Ok(None);
        }
        Ok(Some(self.needs_of(&Descriptor::new("", manifest.clone(), 0))))
    }

    /// At boot: learns what names and snapshots of an older database need, and finds what nothing ever used.
    pub(crate) fn complete_uses(&self) -> Result<()> {
        self.learn_uses()?;
        self.find_orphans()
    }

    /// Records what names and snapshots need of which that is not recorded.
    pub(crate) fn learn_uses(&self) -> Result<()> {
        let view = self.store.read()?;
        let unknown = |root: String| view.get(&ROOTS, &root).map(|needs| needs.is_none()).unwrap_or(true);
        let names: Vec<_> =
            view.scan(&NAMES)?.records.into_iter().filter(|(key, _)| unknown(name(key))).collect();
        let snapshots: Vec<_> =
            view.scan(&SNAPSHOTS)?.records.into_iter().filter(|(id, _)| unknown(snapshot(id))).collect();
        drop(view);
        self.record_uses(&names, &snapshots)
    }

    fn record_uses(
        &self,
        names: &[crate::names::Named],
        snapshots: &[(String, SnapshotRecord)],
    ) -> Result<()> {
        if names.is_empty() && snapshots.is_empty() {
            return Ok(());
        }
        let named: Vec<_> = names.iter().map(|(key, r)| (key, &r.target, self.needs_of(&r.target))).collect();
        let mounted = snapshots
            .iter()
            .map(|(id, record)| {
                let manifest = record.manifest.clone().map(|digest| Descriptor::new("", digest, 0));
                (id, record, manifest.map(|manifest| self.needs_of(&manifest)))
            })
            .collect::<Vec<_>>();
        self.store.write(|transaction| {
            for (key, target, needs) in &named {
                point(transaction, key, &target.digest, needs)?;
            }
            for (id, record, needs) in &mounted {
                mount(transaction, id, record, needs.as_ref())?;
            }
            Ok(())
        })
    }

    /// Marks what is in the store and nothing uses as garbage. A database that knows no image at all may have been lost
    /// and made anew: then content is left for `system check --repair`.
    pub(crate) fn find_orphans(&self) -> Result<()> {
        let view = self.store.read()?;
        if view.len(&ROOTS)? == 0 && view.len(&NAMES)? == 0 && view.len(&GARBAGE)? == 0 {
            return Ok(());
        }
        let mut things: Vec<String> =
            self.content.list()?.0.iter().map(|found| blob(&found.digest)).collect();
        things.extend(view.scan(&LAYERS)?.records.iter().map(|(key, _)| layer(key)));
        let mut orphans = Vec::new();
        for thing in things {
            if !view.has_prefix(&USES, &format!("{thing} "))? {
                orphans.push(thing);
            }
        }
        drop(view);
        if orphans.is_empty() {
            return Ok(());
        }
        self.store.write_relaxed(|transaction| {
            orphans.iter().try_for_each(|thing| transaction.put(&GARBAGE, thing, &Mark {}))
        })?;
        Ok(())
    }

    /// Compares the edges with what documents say, and with `repair` makes them anew.
    pub(crate) fn check_uses(&self, repair: bool, report: &mut crate::CheckReport) -> Result<()> {
        let names = self.names()?;
        let snapshots = self.store.read()?.scan(&SNAPSHOTS)?.records;
        let mut wrong = Vec::new();
        for (key, record) in &names {
            let known = self.store.read()?.get(&ROOTS, &image(&record.target.digest)).ok().flatten();
            let needs = self.needs_of(&record.target);
            if known.is_none_or(|known| !known.things.is_superset(&needs.things)) {
                wrong.push(key.clone());
            }
        }
        for key in &wrong {
            report.problems.push(format!("what the image {key} needs is not recorded in full"));
        }
        if !repair || (wrong.is_empty() && report.problems.is_empty()) {
            return Ok(());
        }
        self.store.write(|transaction| {
            clear(transaction, &ROOTS)?;
            clear(transaction, &USES)?;
            clear(transaction, &UNREADABLE)?;
            clear(transaction, &GARBAGE)
        })?;
        self.record_uses(&names, &snapshots)?;
        if !wrong.is_empty() {
            report.repairs.push("recorded anew what every image needs".to_owned());
        }
        self.find_orphans()
    }
}

/// Takes nothing for garbage any more, until the collector's next look.
pub(crate) fn forget_garbage(transaction: &mut Transaction) -> Result<()> {
    clear(transaction, &GARBAGE)
}

fn clear<R: store::Record>(transaction: &mut Transaction, table: &Table<String, R>) -> Result<()> {
    let found = transaction.scan(table)?;
    let bad = found.bad.into_iter().map(|bad| bad.key);
    for key in found.records.into_iter().map(|(key, _)| key).chain(bad) {
        transaction.delete_raw(table, &key)?;
    }
    Ok(())
}
