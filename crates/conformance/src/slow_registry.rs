//! A registry with an image that takes minutes to come, and one that it never tells of.

use crate::areas::noise;
use crate::scope::eventually;
use anyhow::Result;
use testkit::{Fault, Registry, digest_of};

/// Bytes of the layer, and how many of them come in a second.
const LAYER: usize = 4 << 20;
const RATE: u64 = 32 << 10;
/// Longer than anybody waits here.
const NEVER: u64 = 600_000;

/// The registry; it ends with this value.
#[derive(Debug)]
pub struct SlowRegistry {
    registry: Registry,
    blob: String,
}

impl SlowRegistry {
    /// Starts it on loopback.
    #[must_use]
    pub fn start() -> Self {
        let registry = Registry::start();
        let layer = noise(LAYER);
        let blob = format!("/v2/slow/blobs/{}", digest_of(&layer));
        registry.image("slow", "1", &[layer]);
        registry.misbehave("GET", &blob, u32::MAX, Fault::Slow(RATE));
        registry.misbehave("", "/v2/silent/", u32::MAX, Fault::Late(NEVER));
        Self { registry, blob }
    }

    /// An image whose layer comes bit by bit.
    #[must_use]
    pub fn image(&self) -> String {
        format!("{}/slow:1", self.registry.host())
    }

    /// An image of which nothing is heard.
    #[must_use]
    pub fn silent(&self) -> String {
        format!("{}/silent:1", self.registry.host())
    }

    /// Waits until somebody pulls the layer.
    pub fn wait_for_a_layer(&self) -> Result<()> {
        self.wait_for("GET", &self.blob)
    }

    /// Waits until somebody asks for the image of which nothing is heard.
    pub fn wait_for_silence(&self) -> Result<()> {
        self.wait_for("", "/v2/silent/")
    }

    fn wait_for(&self, method: &str, part: &str) -> Result<()> {
        eventually("a question to the registry", || Ok((self.registry.count(method, part) > 0).then_some(())))
    }
}
