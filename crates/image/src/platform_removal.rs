//! Removing what only some platforms of an image need.

use std::collections::BTreeSet;

use oci::image::ANNOTATION_REFERENCE_DIGEST;
use oci::{Digest, Platform};

use crate::images::Images;
use crate::names::{RemoveOptions, Removed, Users};
use crate::platform::Child;
use crate::uses;
use crate::{Error, Result};

impl Images {
    /// Removes the manifests of some platforms, what attests them, and what nothing else needs of their content. The name
    /// and the other platforms stay. An image that has only one platform is removed as a whole.
    ///
    /// # Errors
    /// `NotFound` when there is no such image, or a platform of it is not here; `Conflict` when a container uses it.
    pub fn remove_platforms(
        &self,
        name: &str,
        platforms: &[Platform],
        options: RemoveOptions,
        users: &dyn Users,
    ) -> Result<Vec<Removed>> {
        let found = self.resolve(name)?;
        let children = self.children(&found.target)?;
        let doomed = plan(name, &children, platforms)?;
        if doomed.contains(&found.id) {
            return self.remove(name, options, users);
        }
        if let Some(user) = users.users_of(&found.id).first().filter(|user| user.running || !options.force) {
            let (can, state) = if user.running { ("cannot", "running") } else { ("must", "stopped") };
            let container: String = user.id.chars().take(12).collect();
            return Err(Error::Conflict(format!(
                "unable to delete {} ({can} be forced) - image is being used by {state} container {container}",
                found.id.short()
            )));
        }
        let needs = self.needs_without(&found.target, &doomed);
        // What else names such a manifest keeps it.
        let own = uses::image(&found.id);
        let mut alone = Vec::new();
        self.store.write(|transaction| {
            for digest in &doomed {
                let prefix = format!("{} ", uses::blob(digest));
                let used = transaction.scan_prefix(&uses::USES, &prefix)?.records;
                if used.iter().all(|(edge, _)| edge.strip_prefix(&prefix) == Some(own.as_str())) {
                    alone.push(digest.clone());
                }
            }
            uses::refresh(transaction, &found.id, &needs)
        })?;
        self.options.steps.reached("platforms forgotten");
        for digest in &alone {
            self.content.remove(digest)?;
        }
        self.collect()?;
        Ok(doomed.into_iter().map(Removed::Deleted).collect())
    }
}

/// The manifests of the platforms that are here, and those about them.
fn plan(name: &str, children: &[Child], platforms: &[Platform]) -> Result<BTreeSet<Digest>> {
    let here = || children.iter().filter(|child| child.manifest.is_some());
    let mut doomed = BTreeSet::new();
    for wanted in platforms {
        let is_it = |child: &&Child| {
            !child.attestation && child.platform().is_some_and(|platform| platform.same(wanted))
        };
        let found: Vec<Digest> = here().filter(is_it).map(|child| child.descriptor.digest.clone()).collect();
        if found.is_empty() {
            return Err(Error::NoSuchPlatform { name: name.to_owned(), platform: wanted.to_string() });
        }
        doomed.extend(found);
    }
    let is_about = |child: &&Child| {
        let about = child.descriptor.annotations.get(ANNOTATION_REFERENCE_DIGEST);
        child.attestation
            && about.is_some_and(|about| doomed.iter().any(|digest| digest.to_string() == *about))
    };
    let about: Vec<Digest> = here().filter(is_about).map(|child| child.descriptor.digest.clone()).collect();
    doomed.extend(about);
    Ok(doomed)
}
