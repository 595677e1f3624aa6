//! Whether what is kept of images is what it should be.

use std::path::Path;

use image::CheckReport;
use store::Store;

use crate::container::state::State;
use crate::engine::Engine;
use crate::image_use::error;
use crate::{Error, Result};

/// Compares content with its digests and records with content; with `repair` puts right what can be put right. A database
/// that is too damaged for that is made anew, from what this daemon knows.
pub async fn check(engine: &Engine, repair: bool) -> Result<CheckReport> {
    let owned = engine.clone();
    let checked = crate::blocking(move || Ok(owned.images.check(repair))).await?;
    match checked {
        Err(failure) if failure.is_of_database() && repair => start_anew(engine, &failure).await,
        Err(failure) if failure.is_of_database() => {
            Ok(CheckReport { problems: vec![failure.to_string()], ..CheckReport::default() })
        }
        checked => checked.map_err(error),
    }
}

async fn start_anew(engine: &Engine, failure: &image::Error) -> Result<CheckReport> {
    let owned = engine.clone();
    let done = crate::blocking(move || crate::salvage::start_anew(&owned)).await?;
    for container in engine.containers.all() {
        // Its owner writes it, as it is at that moment. One that is being removed needs no record.
        if let Err(error) = container.change(|_| Ok(())).await
            && !matches!(container.view().state(), State::Removing { .. } | State::Gone { .. })
        {
            return Err(error);
        }
    }
    let owned = engine.clone();
    let mut report = crate::blocking(move || owned.images.check_after_loss().map_err(error)).await?;
    report.problems.insert(0, failure.to_string());
    report.repairs.splice(..0, done);
    Ok(report)
}

/// The same for a data root that no daemon uses. A database that is too damaged to be opened is set aside when it is to be
/// repaired: images are found again by their content, and what can still be read of the old file, and is borne out by what
/// lies on the disk, is recorded again.
///
/// # Errors
/// When a daemon uses the data root, or the disk fails.
pub fn check_at(data_root: &Path, repair: bool) -> Result<CheckReport> {
    let records = data_root.join("records");
    if !records.is_dir() {
        return Err(Error::not_found(format!("{} is not a data root of berth", data_root.display())));
    }
    let failure = match look(data_root, &records, |images| images.check(repair)) {
        Err(failure) if failure.is_of_database() => failure,
        looked => return looked.map_err(error),
    };
    let mut before = CheckReport::default();
    before.problems.push(failure.to_string());
    if !repair {
        return Ok(before);
    }
    if let Some(aside) = Store::set_aside(&records)? {
        before.repairs.push(format!("the damaged database is now {}", aside.display()));
        before.repairs.extend(crate::salvage::bring_back(data_root, &aside)?);
    }
    let found = look(data_root, &records, image::Images::check_after_loss).map_err(error)?;
    before.problems.extend(found.problems);
    before.repairs.extend(found.repairs);
    Ok(before)
}

/// Damage of the database is found when it is opened, or not before its pages are read.
fn look(
    data_root: &Path,
    records: &Path,
    check: impl FnOnce(&image::Images) -> image::Result<CheckReport>,
) -> image::Result<CheckReport> {
    let store = Store::open(records)?;
    let (images, recovery) = image::Images::open(store, image::Options::new(data_root)?)?;
    let mut report = check(&images)?;
    report.repairs.splice(..0, recovery.actions);
    Ok(report)
}
