//! Networks by name and identifier.

use std::sync::{Arc, PoisonError};

use super::Networks;
use super::record::NetworkRecord;
use crate::{Error, Result};

impl Networks {
    /// All networks: the built-in ones first, then by name.
    pub(crate) fn all(&self) -> Vec<Arc<NetworkRecord>> {
        let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = catalog.values().cloned().collect();
        all.sort_by(|one, other| {
            (!one.is_predefined(), &one.name).cmp(&(!other.is_predefined(), &other.name))
        });
        all
    }

    /// A network by its whole identifier, its name, or a unique beginning of the identifier, in that order.
    pub(crate) fn find(&self, reference: &str) -> Result<Arc<NetworkRecord>> {
        let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        let reference = if reference == "default" { "bridge" } else { reference };
        if let Some(found) = catalog.get(reference) {
            return Ok(Arc::clone(found));
        }
        if let Some(found) = catalog.values().find(|record| record.name == reference) {
            return Ok(Arc::clone(found));
        }
        let mut matching =
            catalog.values().filter(|record| !reference.is_empty() && record.id.starts_with(reference));
        match (matching.next(), matching.next()) {
            (Some(found), None) => Ok(Arc::clone(found)),
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "network {reference} is ambiguous (more than one matches found on the ID)"
            ))),
            _ => Err(Error::not_found(format!("network {reference} not found"))),
        }
    }

    pub(super) fn insert(&self, record: Arc<NetworkRecord>) {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner).insert(record.id.clone(), record);
    }

    pub(super) fn forget(&self, id: &str) {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}
