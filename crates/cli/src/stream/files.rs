//! Archives between the daemon and files of the user's, or standard input and output.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use client::{Outgoing, Response, Stream};

use super::stdio::{self, Output};
use crate::failure::Failure;

/// The body of a request that sends a file, or standard input for `-`.
pub(crate) fn upload(path: &str) -> Result<Outgoing, Failure> {
    if path == "-" {
        return Ok(Outgoing::Channel(stdio::input()));
    }
    let file = File::open(path).map_err(|error| Failure::open(path, &error))?;
    Ok(Outgoing::Channel(stdio::read_all(file)))
}

/// Writes the body of an answer to a file, or to standard output for an empty path.
pub(crate) async fn download(mut response: Response, path: &str) -> Result<(), Failure> {
    if path.is_empty() {
        let output = Output::start();
        while let Some(bytes) = response.chunk().await? {
            if !output.write(Stream::Stdout, bytes).await {
                break;
            }
        }
        return output.finish();
    }
    // The file appears when it is whole: a broken download leaves what was there before.
    let partial = format!("{path}.partial-{}", std::process::id());
    let mut file = File::create_new(&partial).map_err(|error| Failure::open(&partial, &error))?;
    let copied = copy(&mut response, &mut file, path).await;
    let moved = copied
        .and_then(|()| fs::rename(&partial, path).map_err(|error| Failure::file("rename", path, &error)));
    if moved.is_err() {
        let _ = fs::remove_file(&partial);
    }
    moved
}

async fn copy(response: &mut Response, file: &mut File, path: &str) -> Result<(), Failure> {
    let written = |result: io::Result<()>| result.map_err(|error| Failure::file("write", path, &error));
    while let Some(bytes) = response.chunk().await? {
        written(file.write_all(&bytes))?;
    }
    written(file.sync_all())
}

/// Refuses a file that could not be written, before the daemon does any work.
pub(crate) fn check_output(path: &str) -> Result<(), Failure> {
    check_directory(path)?;
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            Err(Failure::text(format!("invalid output path: {path:?} must be a regular file")))
        }
        _ => Ok(()),
    }
}

/// Refuses a path whose directory is not there.
pub(crate) fn check_directory(path: &str) -> Result<(), Failure> {
    let target = Path::new(path);
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return Err(Failure::text(format!(
            "invalid output path: directory {:?} does not exist",
            crate::value::volume::clean(&std::env::current_dir().unwrap_or_default().join(parent))
        )));
    }
    Ok(())
}
