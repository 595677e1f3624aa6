//! Facts about the workspace: where it is, and what its manifests say (from `cargo metadata`).

use crate::process;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::PathBuf;

/// The directory that holds the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("xtask"), PathBuf::from);
    manifest.parent().map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// The engine that `cargo build` makes: one static program.
pub(crate) fn berth_program() -> PathBuf {
    root().join("target/x86_64-unknown-linux-gnu/debug/berth")
}

/// The same with optimisation, for figures.
pub(crate) fn release_program() -> PathBuf {
    root().join("target/x86_64-unknown-linux-gnu/release/berth")
}

/// One crate of the workspace, as its manifest declares it.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// One dependency line; `path` is set for crates of this workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) path: Option<PathBuf>,
    /// `dev`, `build`, or `None` for an ordinary one.
    pub(crate) kind: Option<String>,
}

/// One thing cargo can build from a crate.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

/// Every crate of the workspace, in cargo's order.
pub(crate) fn packages() -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let text = process::output("cargo", &["metadata", "--format-version", "1", "--no-deps"])?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("cargo metadata printed something else than JSON")?;
    Ok(metadata.packages)
}
