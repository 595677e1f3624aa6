//! Images: content store, layers, snapshots, import, load and save.
