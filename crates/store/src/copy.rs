//! What can be read of a database whose file cannot be written: on a disk that has become read-only it could not even be
//! opened, since opening puts right what was under way. A copy in memory can.

use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};

use crate::Result;
use crate::open::{file_error, open_error};

/// Everything that was committed durably, in a database that writes nowhere.
pub(crate) fn in_memory(path: &Path) -> Result<Database> {
    let bytes = std::fs::read(path).map_err(file_error("read", path))?;
    let memory = InMemoryBackend::new();
    let copied = memory.set_len(bytes.len() as u64).and_then(|()| memory.write(0, &bytes));
    copied.map_err(file_error("copy", path))?;
    Database::builder().create_with_backend(memory).map_err(|error| open_error(error, path))
}

#[cfg(test)]
mod tests {
    use redb::{ReadableDatabase, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<&str, u64> = TableDefinition::new("t");

    #[test]
    fn what_was_durable_is_read_while_the_file_is_open_and_stays_as_it_is() {
        let path = std::env::temp_dir().join(format!("berth-test-copy-{}.redb", std::process::id()));
        let database = Database::create(&path).expect("create");
        let set = |value: u64, durability| {
            let mut write = database.begin_write().expect("write");
            write.set_durability(durability).expect("durability");
            write.open_table(TABLE).expect("table").insert("k", value).expect("insert");
            write.commit().expect("commit");
        };
        set(1, redb::Durability::Immediate);
        set(2, redb::Durability::None);
        let before = std::fs::read(&path).expect("read");
        let copy = in_memory(&path).expect("a copy");
        let read = copy.begin_read().expect("read");
        let value = read.open_table(TABLE).expect("table").get("k").expect("get").map(|value| value.value());
        assert_eq!(value, Some(1));
        assert!(std::fs::read(&path).expect("read") == before, "the file was changed");
        std::fs::remove_file(&path).expect("remove");
    }
}
