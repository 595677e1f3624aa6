//! Whether what is kept of images is what it should be.

use image::CheckReport;

use crate::Result;
use crate::engine::Engine;
use crate::image_use::error;

/// Compares content with its digests and records with content; with `repair` puts right what can be put right.
pub async fn check(engine: &Engine, repair: bool) -> Result<CheckReport> {
    let owned = engine.clone();
    crate::blocking(move || owned.images.check(repair).map_err(error)).await
}
