//! Images: content store, layers, snapshots, import, load and save.

pub mod hello;
