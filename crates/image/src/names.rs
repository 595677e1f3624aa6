//! Names of images: found, given and taken away, with Docker's precedence, words and conflicts.

use oci::image::Descriptor;
use oci::reference::AnyReference;
use oci::{Digest, Reference};
use store::Transaction;

use crate::images::Images;
use crate::record::{NAMES, NameRecord, dangling_name, is_dangling};
use crate::{Error, Result, uses};

/// An image that was found by what somebody typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The image's ID: the digest of its manifest or index.
    pub id: Digest,
    /// The manifest or the index.
    pub target: Descriptor,
    /// The name it was found by, as people write it; `None` when it was found by its ID and has no name.
    pub name: Option<String>,
}

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The container's ID.
    pub id: String,
    /// Whether it is running.
    pub running: bool,
}

/// Tells which containers use an image. The owner of the containers implements it.
pub trait Users {
    /// The containers made of the image with this ID.
    fn users_of(&self, image: &Digest) -> Vec<User>;
}

/// No container uses any image.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoUsers;

impl Users for NoUsers {
    fn users_of(&self, _image: &Digest) -> Vec<User> {
        Vec::new()
    }
}

/// How an image is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Remove although it has several names or stopped containers use it.
    pub force: bool,
}

/// What a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone.
    Untagged(String),
    /// An image is gone.
    Deleted(Digest),
}

/// A name and what it points at.
pub(crate) type Named = (String, NameRecord);

impl Images {
    /// Finds an image by a full ID, a reference, or the beginning of an ID (at least four digits), in this order.
    ///
    /// # Errors
    /// `NotFound` with Docker's words (`No such image: x:latest`, `ambiguous reference`), `Invalid` for what cannot be a
    /// name.
    pub fn resolve(&self, name: &str) -> Result<Found> {
        let names = self.names()?;
        let (key, record) = find(&names, name)?;
        let target = record.target.clone();
        Ok(Found { id: target.digest.clone(), target, name: familiar(key) })
    }

    /// Gives an image another name. An image that loses its last name by that stays as a dangling one.
    ///
    /// # Errors
    /// When there is no such image.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<Found> {
        let found = self.resolve(source)?;
        self.set_name(&target.or_latest(), &found.target, true)?;
        Ok(Found { name: Some(target.or_latest().familiar()), ..found })
    }

    /// Takes a name away, and removes the image with its last one, as `docker rmi` does. What nothing else needs is
    /// freed.
    ///
    /// # Errors
    /// `NotFound`, or `Conflict` with Docker's words when something still uses the image.
    pub fn remove(&self, name: &str, options: RemoveOptions, users: &dyn Users) -> Result<Vec<Removed>> {
        let names = self.names()?;
        let (key, record) = find(&names, name)?;
        let id = record.target.digest.clone();
        let same: Vec<&Named> = names.iter().filter(|(_, record)| record.target.digest == id).collect();
        let containers = users.users_of(&id);
        let plan = plan_removal(name, key, &id, &same, &containers, options.force)?;
        let removed = self.apply_removal(&plan, &id)?;
        if plan.deletes {
            self.collect()?;
        }
        Ok(removed)
    }

    fn apply_removal(&self, plan: &Removal, id: &Digest) -> Result<Vec<Removed>> {
        self.store.write(|transaction| {
            if let Some(target) = &plan.dangling {
                put_dangling(transaction, target)?;
            }
            for key in &plan.names {
                delete_name(transaction, key)?;
            }
            Ok::<_, Error>(())
        })?;
        self.options.steps.reached("names removed");
        let mut removed: Vec<Removed> =
            plan.names.iter().filter_map(|key| familiar(key)).map(Removed::Untagged).collect();
        if plan.deletes {
            removed.push(Removed::Deleted(id.clone()));
        }
        Ok(removed)
    }

    /// All names that can be read.
    pub(crate) fn names(&self) -> Result<Vec<Named>> {
        Ok(self.store.read()?.scan(&NAMES)?.records)
    }

    /// Lets a name point at an image. The image that had it, and that one's dangling name, are taken care of.
    pub(crate) fn set_name(&self, name: &Reference, target: &Descriptor, by_hand: bool) -> Result<()> {
        let key = name.to_string();
        let needs = self.needs_of(target);
        self.store.write(|transaction| {
            let now = crate::time::now_text();
            let before = transaction.get(&NAMES, &key).ok().flatten();
            if let Some(before) = before.as_ref().filter(|before| before.target.digest != target.digest) {
                // An image that loses its last name by this stays without one.
                delete_name_only(transaction, &key, &before.target)?;
            }
            let created = before.as_ref().map_or_else(|| now.clone(), |record| record.created.clone());
            let tagged = by_hand.then_some(now);
            transaction.put(&NAMES, &key, &NameRecord { target: target.clone(), created, tagged })?;
            uses::point(transaction, &key, &target.digest, &needs)?;
            delete_name(transaction, &dangling_name(&target.digest))?;
            Ok::<_, Error>(())
        })?;
        self.options.steps.reached("name recorded");
        Ok(())
    }

    /// Keeps an image that has no name.
    pub(crate) fn set_dangling(&self, target: &Descriptor) -> Result<()> {
        let needs = self.needs_of(target);
        self.store.write(|transaction| {
            if uses::is_named(transaction, &target.digest)? {
                // More of it may be here than before.
                return uses::refresh(transaction, &target.digest, &needs);
            }
            let key = dangling_name(&target.digest);
            transaction.put(&NAMES, &key, &unnamed(target))?;
            uses::point(transaction, &key, &target.digest, &needs)
        })?;
        self.options.steps.reached("name recorded");
        Ok(())
    }
}

fn unnamed(target: &Descriptor) -> NameRecord {
    NameRecord { target: target.clone(), created: crate::time::now_text(), tagged: None }
}

/// Lets an image that is known already live on without a name.
fn put_dangling(transaction: &mut Transaction, target: &Descriptor) -> Result<()> {
    let key = dangling_name(&target.digest);
    transaction.put(&NAMES, &key, &unnamed(target))?;
    uses::point_again(transaction, &key, &target.digest)
}

/// Takes a name away; what nothing needs any more becomes garbage.
pub(crate) fn delete_name(transaction: &mut Transaction, key: &str) -> Result<()> {
    transaction.delete_raw(&NAMES, key)?;
    uses::forget_name(transaction, key)
}

/// Takes a name away from an image that stays, under no name if need be.
fn delete_name_only(transaction: &mut Transaction, key: &str, target: &Descriptor) -> Result<()> {
    put_dangling(transaction, target)?;
    delete_name(transaction, key)?;
    if uses::has_other_name(transaction, &target.digest, &dangling_name(&target.digest))? {
        delete_name(transaction, &dangling_name(&target.digest))?;
    }
    Ok(())
}

/// A name as people write it; `None` for the name of an image that has none.
pub(crate) fn familiar(key: &str) -> Option<String> {
    if is_dangling(key) {
        return None;
    }
    Some(Reference::parse(key).map_or_else(|_| key.to_owned(), |reference| reference.familiar()))
}

/// Finds the record that `text` means.
pub(crate) fn find<'a>(names: &'a [Named], text: &str) -> Result<&'a Named> {
    let with_digest =
        |digest: &Digest| names.iter().filter(|(_, r)| r.target.digest == *digest).collect::<Vec<_>>();
    let reference = match AnyReference::parse(text)? {
        AnyReference::Digest(digest) => {
            return with_digest(&digest).first().copied().ok_or(Error::NoSuchImage(digest.to_string()));
        }
        AnyReference::Named(reference) => reference,
    };
    let missing = || Error::NoSuchImage(reference.or_latest().familiar());
    if let Some(digest) = reference.digest() {
        // The digest decides, but only among the names of the same repository.
        let same_repository =
            |named: &&Named| Reference::parse(&named.0).is_ok_and(|r| r.name() == reference.name());
        return with_digest(digest).into_iter().find(same_repository).ok_or_else(missing);
    }
    let key = reference.or_latest().to_string();
    if let Some(named) = names.iter().find(|(name, _)| *name == key) {
        return Ok(named);
    }
    let Some(prefix) = id_prefix(text) else { return Err(missing()) };
    let mut matches = names.iter().filter(|(_, record)| record.target.digest.hex().starts_with(prefix));
    let first = matches.next().ok_or_else(missing)?;
    if matches.any(|(_, record)| record.target.digest != first.1.target.digest) {
        return Err(Error::Ambiguous);
    }
    Ok(first)
}

/// The digits of a text that may be the beginning of an ID.
fn id_prefix(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let hexadecimal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    ((4..=64).contains(&digits.len()) && hexadecimal).then_some(digits)
}

/// What a removal changes.
#[derive(Debug, PartialEq, Eq)]
struct Removal {
    /// The names that go.
    names: Vec<String>,
    /// What stays without a name.
    dangling: Option<Descriptor>,
    /// Whether the image goes.
    deletes: bool,
}

/// Decides what `docker rmi <typed>` does. `same` are all names of the image.
fn plan_removal(
    typed: &str,
    key: &str,
    id: &Digest,
    same: &[&Named],
    containers: &[User],
    force: bool,
) -> Result<Removal> {
    let all = || same.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let by_id = id_prefix(typed).is_some_and(|prefix| id.hex().starts_with(prefix)) && !same_text(typed, key);
    let conflict = |what: &str, can: &str, why: String| {
        Error::Conflict(format!("unable to delete {what} ({can} be forced) - {why}"))
    };
    let short = |id: &str| id.chars().take(12).collect::<String>();
    let running = containers.iter().find(|container| container.running);
    if !by_id && same.len() > 1 {
        return Ok(Removal { names: vec![key.to_owned()], dangling: None, deletes: false });
    }
    if !by_id && let Some(container) = containers.first() {
        if !force {
            let name = familiar(key).unwrap_or_else(|| typed.to_owned());
            let why =
                format!("container {} is using its referenced image {}", short(&container.id), id.short());
            return Err(conflict(&name, "must", why));
        }
        // The containers need the image: it only loses its name.
        let dangling = same.first().map(|(_, record)| record.target.clone());
        return Ok(Removal { names: all(), dangling, deletes: false });
    }
    if let Some(container) = running {
        let why = format!("image is being used by running container {}", short(&container.id));
        return Err(conflict(id.short(), "cannot", why));
    }
    if !force {
        if repositories(same) > 1 {
            let why = "image is referenced in multiple repositories".to_owned();
            return Err(conflict(id.short(), "must", why));
        }
        if let Some(container) = containers.first() {
            let why = format!("image is being used by stopped container {}", short(&container.id));
            return Err(conflict(id.short(), "must", why));
        }
    }
    Ok(Removal { names: all(), dangling: None, deletes: true })
}

/// Whether what was typed is the name itself, and not the beginning of an ID.
fn same_text(typed: &str, key: &str) -> bool {
    Reference::parse(typed).is_ok_and(|reference| reference.or_latest().to_string() == key)
}

fn repositories(names: &[&Named]) -> usize {
    let mut list: Vec<String> = names
        .iter()
        .filter(|(name, _)| !is_dangling(name))
        .map(|(name, _)| Reference::parse(name).map_or_else(|_| name.clone(), |reference| reference.name()))
        .collect();
    list.sort();
    list.dedup();
    list.len()
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
