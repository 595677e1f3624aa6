//! Everything about one image, and how it came to be.

use api::descriptor::{Descriptor, Platform};
use api::image::{
    AttestationProperties, AttestationStatement, HistoryItem, ImageProperties, ManifestSummary, UnpackedSize,
};
use api::image_inspect::{ImageConfig, Inspect, Metadata, RootFs};
use image::ManifestKind;

use super::list::sizes;
use crate::engine::Engine;
use crate::image_use::{error, platform};
use crate::{Error, Result};

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn api_platform(found: &oci::Platform) -> Platform {
    Platform {
        architecture: found.architecture.clone(),
        os: found.os.clone(),
        os_version: found.os_version.clone(),
        os_features: found.os_features.clone(),
        variant: found.variant.clone(),
    }
}

/// A descriptor as the API shows it.
pub(super) fn api_descriptor(found: &oci::image::Descriptor) -> Descriptor {
    Descriptor {
        media_type: found.media_type.clone(),
        digest: found.digest.to_string(),
        size: signed(found.size),
        annotations: found.annotations.clone(),
        platform: found.platform.as_ref().map(api_platform),
        ..Descriptor::default()
    }
}

/// The manifest that a container is made from.
pub(crate) fn manifest_of(runnable: &image::Runnable) -> Descriptor {
    let platform = Some(api_platform(&runnable.platform));
    Descriptor { platform, ..api_descriptor(&runnable.manifest) }
}

/// One manifest of an image as the API shows it.
pub(super) fn manifest_summary(found: &image::ManifestSummary, containers: &[String]) -> ManifestSummary {
    let mut summary = ManifestSummary {
        id: found.descriptor.digest.to_string(),
        descriptor: api_descriptor(&found.descriptor),
        available: found.available,
        ..ManifestSummary::default()
    };
    let mut unpacked_bytes = 0;
    match &found.kind {
        ManifestKind::Image { platform, unpacked_size } => {
            unpacked_bytes = *unpacked_size;
            summary.kind = "image".to_owned();
            summary.image_data = Some(ImageProperties {
                platform: api_platform(platform),
                size: UnpackedSize { unpacked: signed(*unpacked_size) },
                containers: containers.to_vec(),
                ..ImageProperties::default()
            });
        }
        ManifestKind::Attestation { subject } => {
            summary.kind = "attestation".to_owned();
            summary.attestation_data = Some(AttestationProperties {
                subject: subject.as_ref().map(ToString::to_string).unwrap_or_default(),
            });
        }
        ManifestKind::Unknown => summary.kind = "unknown".to_owned(),
    }
    summary.size = sizes(found.content_size, unpacked_bytes);
    summary
}

/// Inspects an image; `manifests` adds the list of its manifests.
pub async fn inspect(engine: &Engine, name: &str, wanted: Option<&str>, manifests: bool) -> Result<Inspect> {
    let (engine, name, wanted) = (engine.clone(), name.to_owned(), platform(wanted)?);
    let found = crate::blocking(move || engine.images.inspect(&name, wanted.as_ref()).map_err(error)).await?;
    let config: ImageConfig = serde_json::to_value(&found.config.config)
        .and_then(|value| api::json::from_value(&value))
        .map_err(|error| Error::system(format!("configuration of an image: {error}")))?;
    let layers = found.config.rootfs.diff_ids.iter().map(ToString::to_string).collect();
    let list = if manifests {
        found.manifests.iter().map(|one| manifest_summary(one, &[])).collect()
    } else {
        Vec::new()
    };
    Ok(Inspect {
        id: found.id.to_string(),
        repo_tags: found.repo_tags,
        repo_digests: found.repo_digests,
        parent: found.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        comment: found.config.comment.clone(),
        created: found.config.created.clone().unwrap_or_default(),
        author: found.config.author.clone(),
        config: Some(config),
        architecture: found.platform.architecture.clone(),
        variant: found.platform.variant.clone(),
        os: found.platform.os.clone(),
        os_version: found.platform.os_version.clone(),
        size: signed(found.size),
        root_fs: RootFs { kind: "layers".to_owned(), layers },
        metadata: Metadata {
            last_tag_time: found.last_tagged.unwrap_or_else(|| crate::time::NEVER.to_owned()),
        },
        descriptor: Some(api_descriptor(&found.target)),
        manifests: list,
        ..Inspect::default()
    })
}

/// The steps that made an image, newest first.
pub async fn history(engine: &Engine, name: &str, wanted: Option<&str>) -> Result<Vec<HistoryItem>> {
    let (engine, name, wanted) = (engine.clone(), name.to_owned(), platform(wanted)?);
    let steps = crate::blocking(move || engine.images.history(&name, wanted.as_ref()).map_err(error)).await?;
    let shown = |step: image::HistoryEntry| HistoryItem {
        comment: step.comment,
        created: step.created,
        created_by: step.created_by,
        id: step.id.map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
        size: signed(step.size),
        tags: Some(step.tags).filter(|tags| !tags.is_empty()),
    };
    Ok(steps.into_iter().map(shown).collect())
}

/// What is attested of one platform of an image; of some types only when there are `types`.
pub async fn attestations(
    engine: &Engine,
    name: &str,
    wanted: Option<&str>,
    types: &[String],
    with_statements: bool,
) -> Result<Vec<AttestationStatement>> {
    let wanted = platform(wanted)?;
    let (engine, name, types) = (engine.clone(), name.to_owned(), types.to_vec());
    crate::blocking(move || {
        let mut found = engine.images.attestations(&name, wanted.as_ref()).map_err(error)?;
        found.retain(|one| types.is_empty() || types.contains(&one.predicate_type));
        let shown = found.into_iter().map(|one| {
            let statement = if with_statements {
                let text = engine.images.statement(&one).map_err(error)?;
                let digest = &one.descriptor.digest;
                let malformed = |error| Error::system(format!("{digest}: malformed statement: {error}"));
                Some(serde_json::value::RawValue::from_string(text).map_err(malformed)?)
            } else {
                None
            };
            let descriptor = api_descriptor(&one.descriptor);
            Ok(AttestationStatement { descriptor, predicate_type: one.predicate_type, statement })
        });
        shown.collect()
    })
    .await
}
