//! Ids of a tree that are others in an archive of it: the tree of a container that runs in a user namespace, as the host sees
//! it.

use crate::{Error, Result};

/// Numbers in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRun {
    /// The first one in an archive.
    pub archive: u32,
    /// The first one in the tree.
    pub tree: u32,
    /// How many.
    pub count: u32,
}

/// Which id is which; without any run each is itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    /// Users.
    pub users: Vec<IdRun>,
    /// Groups.
    pub groups: Vec<IdRun>,
}

/// Who is nobody in an archive, as the kernel shows whom a user namespace does not know.
const NOBODY: u32 = 65_534;
/// The attribute with a file's capabilities (capabilities(7)), and its versions: the third names root of its namespace.
const CAPABILITY: &[u8] = b"security.capability";
const REVISION: u32 = 0xff00_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;

impl Translation {
    fn is_same(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// User and group of a file of the tree, as the archive has them.
    pub(crate) fn to_archive(&self, (uid, gid): (u32, u32)) -> (u32, u32) {
        let find = |runs: &[IdRun], id: u32| {
            let run = runs.iter().find(|run| id >= run.tree && id - run.tree < run.count);
            run.map_or(NOBODY, |run| run.archive + (id - run.tree))
        };
        if self.is_same() { (uid, gid) } else { (find(&self.users, uid), find(&self.groups, gid)) }
    }

    /// User and group of an archive's entry, as the tree has them.
    pub(crate) fn to_tree(&self, (uid, gid): (u32, u32)) -> Result<(u32, u32)> {
        let find = |runs: &[IdRun], id: u32| {
            let run = runs.iter().find(|run| id >= run.archive && id - run.archive < run.count);
            let found = run.map(|run| run.tree + (id - run.archive));
            found.ok_or_else(|| Error::Invalid(format!("Container ID {id} cannot be mapped to a host ID")))
        };
        if self.is_same() { Ok((uid, gid)) } else { Ok((find(&self.users, uid)?, find(&self.groups, gid)?)) }
    }

    /// An attribute of a file of the tree, as the archive has it: capabilities in the name of the container's root are
    /// capabilities.
    pub(crate) fn attribute_to_archive(&self, name: &[u8], value: Vec<u8>) -> Vec<u8> {
        let (Some(magic), Some(root)) = (word(&value, 0), word(&value, 20)) else { return value };
        let is_ours = self.to_archive((root, root)).0 == 0;
        if self.is_same() || name != CAPABILITY || magic & REVISION != REVISION_3 || !is_ours {
            return value;
        }
        let mut plain = (magic & !REVISION | REVISION_2).to_le_bytes().to_vec();
        plain.extend_from_slice(&value[4..20]);
        plain
    }

    /// The other way round.
    pub(crate) fn attribute_to_tree(&self, name: &[u8], value: &[u8]) -> Result<Vec<u8>> {
        let magic = word(value, 0).filter(|magic| magic & REVISION == REVISION_2);
        let (Some(magic), false) = (magic, self.is_same() || name != CAPABILITY) else {
            return Ok(value.to_vec());
        };
        let mut named = (magic & !REVISION | REVISION_3).to_le_bytes().to_vec();
        named.extend_from_slice(value.get(4..20).unwrap_or_default());
        named.extend_from_slice(&self.to_tree((0, 0))?.0.to_le_bytes());
        Ok(named)
    }
}

/// A little-endian number of an attribute.
fn word(value: &[u8], at: usize) -> Option<u32> {
    value.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_capabilities_go_both_ways() {
        let run = |tree| vec![IdRun { archive: 0, tree, count: 10 }];
        let ids = Translation { users: run(1000), groups: run(2000) };
        assert_eq!(ids.to_tree((0, 9)).expect("known"), (1000, 2009));
        assert_eq!(ids.to_archive((1000, 2009)), (0, 9));
        assert_eq!(ids.to_archive((0, 2010)), (NOBODY, NOBODY));
        let refused = ids.to_tree((10, 0)).expect_err("nobody");
        assert!(refused.to_string().contains("Container ID 10 cannot be mapped to a host ID"), "{refused}");
        let mut plain = 0x0200_0001_u32.to_le_bytes().to_vec();
        plain.extend_from_slice(&[7; 16]);
        let named = ids.attribute_to_tree(CAPABILITY, &plain).expect("an attribute");
        assert_eq!((named.len(), word(&named, 20)), (24, Some(1000)));
        assert_eq!(ids.attribute_to_archive(CAPABILITY, named.clone()), plain);
        assert_eq!(ids.attribute_to_archive(b"user.x", named.clone()), named);
        let same = Translation::default();
        assert_eq!((same.to_archive((5, 6)), same.to_tree((5, 6)).expect("same")), ((5, 6), (5, 6)));
        assert_eq!(same.attribute_to_archive(CAPABILITY, named.clone()), named);
    }
}
