//! How much of the machine one archive from outside may take.

/// Limits on what is read from outside. Everything beyond is refused with a message that names the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries of one layer or archive.
    pub max_entries: u64,
    /// Bytes of one layer after decompression.
    pub max_layer_size: u64,
    /// How many times larger than its compressed form a layer may be, once it is larger than `ratio_from`.
    pub max_ratio: u64,
    /// The decompressed size in bytes from which the ratio counts.
    pub ratio_from: u64,
    /// Bytes of an entry's path or link target.
    pub max_path: usize,
    /// Bytes of the extended headers of one entry (long names, PAX records, extended attributes).
    pub max_metadata: u32,
    /// Extended attributes of one entry.
    pub max_xattrs: usize,
    /// Bytes that unpacking leaves free on the disk.
    pub keep_free: u64,
    /// Bytes of a manifest, an index or an image configuration.
    pub max_document: u64,
    /// Layers of one image (overlayfs mounts up to 500 lower directories; Docker's limit is 127).
    pub max_layers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_entries: 10_000_000,
            max_layer_size: 512 << 30,
            max_ratio: 1100,
            ratio_from: 4 << 30,
            max_path: 4096,
            max_metadata: 1 << 20,
            max_xattrs: 128,
            keep_free: 256 << 20,
            max_document: 4 << 20,
            max_layers: 127,
        }
    }
}
