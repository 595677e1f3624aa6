//! `docker image prune`, `docker system df` and `berth system check`: the store as a whole.

use std::collections::{BTreeMap, BTreeSet};

use oci::Digest;
use oci::image::{Document, media_type};

use crate::images::Images;
use crate::inspect::layer_record;
use crate::layers::{LayerKey, remove_path};
use crate::list::Filters;
use crate::names::{Removed, Users};
use crate::platform::Child;
use crate::record::{LAYERS, NAMES, SNAPSHOTS, is_dangling};
use crate::uses::{GARBAGE, USES};
use crate::{Error, Result};

/// What a prune did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names and images that are gone.
    pub removed: Vec<Removed>,
    /// Bytes of disk that were freed.
    pub bytes: u64,
}

/// What the image store takes on the disk, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Content: layers as they came, manifests, configurations.
    pub content: u64,
    /// Unpacked layers, each counted once.
    pub layers: u64,
    /// What containers changed.
    pub snapshots: u64,
    /// Content and unpacked layers of images that no container uses.
    pub reclaimable: u64,
    /// How many images there are.
    pub images: u64,
    /// How many images containers use.
    pub active: u64,
}

/// What a check of the store found, one line each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// What is wrong.
    pub problems: Vec<String>,
    /// What was done about it.
    pub repairs: Vec<String>,
}

impl Images {
    /// Removes images that no container uses: dangling ones, or with `all` every one that the filters let through.
    ///
    /// # Errors
    /// When the disk or the database fails.
    pub fn prune(&self, all: bool, filters: &Filters, users: &dyn Users) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        let mut names: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        let mut targets = BTreeMap::new();
        for (name, record) in self.names()? {
            names.entry(record.target.digest.clone()).or_default().push(name);
            targets.insert(record.target.digest.clone(), record.target);
        }
        for (id, names) in names {
            let dangling = names.iter().all(|name| is_dangling(name));
            // An image that cannot be read is the business of `system check`.
            let Ok(facts) = self.facts(&targets[&id]) else { continue };
            if !(all || dangling) || !filters.match_facts(&facts) || !users.users_of(&id).is_empty() {
                continue;
            }
            pruned.removed.extend(self.forget(&id, &names)?);
        }
        // Whoever prunes wants the room, and not the head start of an interrupted pull.
        pruned.bytes = self.collect_with(true)?.bytes;
        Ok(pruned)
    }

    /// Takes all names of an image away, in one transaction; a name that points elsewhere meanwhile stays.
    fn forget(&self, id: &Digest, names: &[String]) -> Result<Vec<Removed>> {
        self.store.write(|transaction| {
            for name in names {
                if transaction.get(&NAMES, name)?.is_some_and(|record| record.target.digest == *id) {
                    crate::names::delete_name(transaction, name)?;
                }
            }
            Ok::<_, Error>(())
        })?;
        let untagged = names.iter().filter_map(|name| crate::names::familiar(name)).map(Removed::Untagged);
        Ok(untagged.chain([Removed::Deleted(id.clone())]).collect())
    }

    /// Measures what the image store takes. New layers are made durable first, so that the sums are those of du(1).
    ///
    /// # Errors
    /// When the disk or the database fails.
    pub fn disk_usage(&self, users: &dyn Users) -> Result<DiskUsage> {
        self.settle()?;
        let mut usage = DiskUsage::default();
        let records = self.layer_records()?;
        let mut blobs = BTreeMap::new();
        for blob in self.content.list()?.0 {
            let bytes = self.content.allocated(&blob.digest)?;
            blobs.insert(blob.digest, bytes);
        }
        usage.content = blobs.values().sum();
        usage.layers = records.values().map(|record| record.size).sum();
        for id in self.snapshots()? {
            usage.snapshots += self.snapshot_usage(&id)?.bytes;
        }
        let (mut used_blobs, mut used_layers) = (BTreeSet::new(), BTreeSet::new());
        let mut targets = BTreeMap::new();
        for (_, record) in self.names()? {
            targets.insert(record.target.digest.clone(), record.target);
        }
        usage.images = targets.len() as u64;
        for (id, target) in targets {
            if users.users_of(&id).is_empty() {
                continue;
            }
            usage.active += 1;
            let reachable = self.reachable_from(&target);
            used_blobs.extend(reachable.blobs);
            used_layers.extend(reachable.layers);
        }
        for (_, snapshot) in self.store.read()?.scan(&SNAPSHOTS)?.records {
            used_layers.extend(snapshot.layers);
        }
        let free_blobs = blobs.iter().filter(|(digest, _)| !used_blobs.contains(*digest));
        let free_layers = records.iter().filter(|(key, _)| !used_layers.contains(*key));
        usage.reclaimable =
            free_blobs.map(|(_, bytes)| bytes).sum::<u64>() + free_layers.map(|(_, r)| r.size).sum::<u64>();
        Ok(usage)
    }

    /// Verifies records against content and content against its digests. With `repair` what is wrong is removed or made
    /// again: damaged content goes, layers whose content is sound are unpacked again when they are needed, records that
    /// cannot be read go, and images that have lost their name records are found again by their manifests.
    ///
    /// # Errors
    /// When the disk or the database fails.
    pub fn check(&self, repair: bool) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        // Before anything is repaired: what a repair lets go of is to be found again by its manifest.
        let garbage = self.store.read()?.scan(&GARBAGE)?.records;
        let garbage: BTreeSet<String> = garbage.into_iter().map(|(thing, _)| thing).collect();
        self.check_database(&mut report)?;
        self.check_content(repair, &mut report)?;
        self.check_records(repair, &mut report)?;
        self.check_layers(repair, &mut report)?;
        self.check_names(repair, &garbage, &mut report)?;
        self.check_layer_content(repair, &mut report)?;
        self.check_uses(repair, &mut report)?;
        Ok(report)
    }

    fn check_database(&self, report: &mut CheckReport) -> Result<()> {
        match self.store.check() {
            Ok(store::Integrity::Sound) => Ok(()),
            Ok(store::Integrity::Repaired) => {
                report.problems.push("the database had damaged pages".to_owned());
                report.repairs.push("the database was repaired from its sound pages".to_owned());
                Ok(())
            }
            // Somebody reads right now; pages that are read have their checksums compared anyway.
            Err(error) if error.kind() == store::Kind::Busy => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn check_content(&self, repair: bool, report: &mut CheckReport) -> Result<()> {
        let (blobs, strange) = self.content.list()?;
        for path in strange {
            report.problems.push(format!("{} is not content", path.display()));
            if repair {
                remove_path(&path)?;
                report.repairs.push(format!("removed {}", path.display()));
            }
        }
        for blob in blobs {
            if self.content.verify(&blob.digest)? {
                continue;
            }
            report.problems.push(format!("content {} is damaged", blob.digest));
            if repair {
                self.content.remove(&blob.digest)?;
                report.repairs.push(format!("removed damaged content {}: pull its image again", blob.digest));
            }
        }
        Ok(())
    }

    fn check_records(&self, repair: bool, report: &mut CheckReport) -> Result<()> {
        let view = self.store.read()?;
        let mut bad = view.scan(&NAMES)?.bad;
        bad.extend(view.scan(&LAYERS)?.bad);
        bad.extend(view.scan(&SNAPSHOTS)?.bad);
        drop(view);
        for record in bad {
            report.problems.push(format!("record {:?} of {}: {}", record.key, record.table, record.reason));
            if repair {
                self.store.write(|transaction| match record.table {
                    "images" => crate::names::delete_name(transaction, &record.key),
                    "layers" => Ok(transaction.delete_raw(&LAYERS, &record.key).map(drop)?),
                    _ => {
                        transaction.delete_raw(&SNAPSHOTS, &record.key)?;
                        crate::uses::forget_snapshot(transaction, &record.key)
                    }
                })?;
                report.repairs.push(format!("removed record {:?} of {}", record.key, record.table));
            }
        }
        Ok(())
    }

    fn check_layers(&self, repair: bool, report: &mut CheckReport) -> Result<()> {
        let again = self.unpackable()?;
        for (text, record) in self.layer_records()? {
            let path = LayerKey::parse(&text).map(|key| self.layers.path(&key)).filter(|path| path.is_dir());
            let problem = match (path, record.seal) {
                (None, _) => "has a record and no directory",
                // Of those that an image has with its content: another is about to be freed, or its image is told anyway.
                (Some(path), Some(seal))
                    if again.contains(&record.diff_id) && crate::usage::survey(&path)?.1 != seal =>
                {
                    "is not as it was unpacked: something of it was removed or changed"
                }
                _ => continue,
            };
            report.problems.push(format!("layer {text} {problem}"));
            if repair {
                self.store.write(|transaction| transaction.delete(&LAYERS, &text))?;
                report.repairs.push(format!("layer {text} will be unpacked again when it is needed"));
            }
        }
        Ok(())
    }

    /// The layers whose content is here, by diff ID.
    fn unpackable(&self) -> Result<BTreeSet<Digest>> {
        let mut found = BTreeSet::new();
        for (_, record) in self.names()? {
            // What cannot be read is told elsewhere.
            for child in self.children(&record.target).unwrap_or_default() {
                let (Some(manifest), Some(config)) = (child.manifest, child.config) else { continue };
                let layers = manifest.layers.iter().filter(|layer| media_type::is_layer(&layer.media_type));
                for (layer, diff_id) in layers.zip(config.rootfs.diff_ids) {
                    if self.content.size(&layer.digest)? == Some(layer.size) {
                        found.insert(diff_id);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Images that are here but for some of their layers' content. What is unpacked of them can still be run.
    fn check_layer_content(&self, repair: bool, report: &mut CheckReport) -> Result<()> {
        let unpacked = self.layer_records()?;
        for (name, record) in self.names()? {
            // What cannot be read has been told already.
            let Ok(children) = self.children(&record.target) else { continue };
            let is_alone = children.len() == 1;
            self.check_documents(&name, &children, report);
            for child in children.iter().filter(|child| !child.attestation) {
                let (Some(manifest), Some(config)) = (&child.manifest, &child.config) else { continue };
                let mut missing = Vec::new();
                for layer in manifest.layers.iter().filter(|layer| media_type::is_layer(&layer.media_type)) {
                    let is_elsewhere = media_type::is_foreign_layer(&layer.media_type);
                    if !is_elsewhere && self.content.size(&layer.digest)? != Some(layer.size) {
                        missing.push(layer.digest.to_string());
                    }
                }
                if missing.is_empty() {
                    continue;
                }
                let missing = missing.join(", ");
                let ids = &config.rootfs.diff_ids;
                let runs = (1..=ids.len()).all(|end| layer_record(&unpacked, &ids[..end]).is_some());
                let can = if runs { "it runs, but cannot be pushed or saved" } else { "it cannot be run" };
                report
                    .problems
                    .push(format!("image {name}: content {missing} is missing: {can}; pull it again"));
                if repair && !runs && is_alone {
                    self.store.write(|transaction| crate::names::delete_name(transaction, &name))?;
                    report.repairs.push(format!("removed the name {name}: pull it again"));
                }
            }
        }
        Ok(())
    }

    /// An image of which a configuration is gone, or every manifest: other platforms of an index need not be here.
    fn check_documents(&self, name: &str, children: &[Child], report: &mut CheckReport) {
        let children: Vec<&Child> = children.iter().filter(|child| !child.attestation).collect();
        if !children.is_empty() && children.iter().all(|child| child.manifest.is_none()) {
            report.problems.push(format!("image {name}: none of its manifests is here: pull it again"));
        }
        for manifest in
            children.iter().filter(|child| child.config.is_none()).filter_map(|child| child.manifest.as_ref())
        {
            if media_type::is_config(&manifest.config.media_type) {
                let digest = &manifest.config.digest;
                report.problems.push(format!(
                    "image {name}: content {digest} is missing: it cannot be run; pull it again"
                ));
            }
        }
    }

    /// Names whose content is gone, and manifests that no name reaches although everything of them is here: not those that
    /// the collector is about to free, because they were removed, or came in and were never named.
    fn check_names(&self, repair: bool, garbage: &BTreeSet<String>, report: &mut CheckReport) -> Result<()> {
        for (name, record) in self.names()? {
            let Err(error) = self.children(&record.target) else { continue };
            report.problems.push(format!("image {name}: {error}"));
            if repair {
                self.store.write(|transaction| crate::names::delete_name(transaction, &name))?;
                report.repairs.push(format!("removed the name {name}: pull it again"));
            }
        }
        for blob in self.content.list()?.0 {
            let thing = crate::uses::blob(&blob.digest);
            let used =
                garbage.contains(&thing) || self.store.read()?.has_prefix(&USES, &format!("{thing} "))?;
            if used || blob.size > self.options.limits.max_document {
                continue;
            }
            let Ok(Document::Manifest(manifest)) = self.document(&blob.digest, "") else { continue };
            let parts = std::iter::once(&manifest.config).chain(&manifest.layers);
            let mut whole = media_type::is_config(&manifest.config.media_type);
            for part in parts {
                whole &= self.content.size(&part.digest)? == Some(part.size);
            }
            if whole {
                report.problems.push(format!("image {} has lost its names", blob.digest));
                if repair {
                    let kind = if manifest.media_type.is_empty() {
                        media_type::OCI_MANIFEST
                    } else {
                        &manifest.media_type
                    };
                    self.set_dangling(&oci::image::Descriptor::new(kind, blob.digest.clone(), blob.size))?;
                    report.repairs.push(format!("image {} can be used by its ID again", blob.digest));
                }
            }
        }
        Ok(())
    }
}
