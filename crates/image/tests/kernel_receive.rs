//! Content that arrives in pieces, as a pull brings it: cut, continued, wrong, and collected around.

mod support;

use image::{Error, Filters, Images, NoUsers, Silent};
use oci::Reference;
use oci::image::{Descriptor, media_type};
use support::{Scratch, Tar, is_root};

/// A layer, a configuration and a manifest, as a registry would hand them out.
fn parts() -> Vec<(Descriptor, Vec<u8>)> {
    let describe =
        |kind: &str, bytes: &[u8]| Descriptor::new(kind, image::digest_of(bytes), bytes.len() as u64);
    let layer = Tar::new().file("file", &vec![9; 300_000]).end();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [image::digest_of(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": describe(media_type::OCI_CONFIG, &config), "layers": [describe(media_type::OCI_LAYER, &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    vec![
        (describe(media_type::OCI_LAYER, &layer), layer),
        (describe(media_type::OCI_CONFIG, &config), config),
        (describe(media_type::OCI_MANIFEST, &manifest), manifest),
    ]
}

fn receive(images: &Images, hold: &image::Hold, descriptor: &Descriptor, bytes: &[u8]) -> Result<u64, Error> {
    let Some(mut incoming) = images.receive(hold, descriptor)? else { return Ok(descriptor.size) };
    let offset = incoming.offset();
    for piece in bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default().chunks(10_000) {
        incoming.write(piece)?;
    }
    incoming.finish()?;
    Ok(offset)
}

#[test]
fn a_pull_that_is_cut_and_killed_continues_where_it_was() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("receive");
    let parts = parts();
    let images = scratch.open();
    let hold = images.lease("x").unwrap();
    images.keep(&hold, parts.iter().map(|(descriptor, _)| &descriptor.digest)).unwrap();
    let mut incoming = images.receive(&hold, &parts[0].0).unwrap().unwrap();
    incoming.write(&parts[0].1[..100_000]).unwrap();
    assert!(matches!(images.receive(&hold, &parts[0].0), Err(Error::Conflict(_))));
    drop(incoming);
    drop(hold);
    drop(images);

    let images = scratch.open();
    let hold = images.lease("x").unwrap();
    assert_eq!(receive(&images, &hold, &parts[0].0, &parts[0].1).unwrap(), 100_000);
    for (descriptor, bytes) in &parts[1..] {
        receive(&images, &hold, descriptor, bytes).unwrap();
    }
    assert_eq!(images.collect().unwrap().blobs, 0, "what is held is not collected");
    let name = Reference::parse("ghcr.io/x/y:1").unwrap();
    let admitted = images.admit(&hold, &parts[2].0, Some(&name), None, &Silent).unwrap();
    assert_eq!((admitted.id, admitted.name.as_deref()), (parts[2].0.digest.clone(), Some("ghcr.io/x/y:1")));
    images.end(hold).unwrap();
    assert_eq!(images.collect().unwrap().blobs, 0);
    assert!(images.receive(&images.hold(), &parts[0].0).unwrap().is_none(), "it is here already");
    let lower = images.lower_dirs(&images.runnable("ghcr.io/x/y:1", None).unwrap(), &Silent).unwrap();
    assert_eq!(std::fs::metadata(lower[0].join("file")).unwrap().len(), 300_000);
}

#[test]
fn what_is_wrong_or_missing_makes_no_image() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("receive-wrong");
    let parts = parts();
    let images = scratch.open();
    let hold = images.hold();
    let mut wrong = parts[0].1.clone();
    wrong[600] ^= 1;
    assert!(matches!(receive(&images, &hold, &parts[0].0, &wrong), Err(Error::WrongDigest { .. })));
    let mut longer = parts[0].1.clone();
    longer.push(0);
    assert!(matches!(receive(&images, &hold, &parts[0].0, &longer), Err(Error::WrongLength { .. })));
    let shorter = &parts[0].1[..1000];
    assert!(matches!(receive(&images, &hold, &parts[0].0, shorter), Err(Error::WrongLength { .. })));
    receive(&images, &hold, &parts[1].0, &parts[1].1).unwrap();
    receive(&images, &hold, &parts[2].0, &parts[2].1).unwrap();
    let name = Reference::parse("x:1").unwrap();
    let error = images.admit(&hold, &parts[2].0, Some(&name), None, &Silent).unwrap_err();
    assert!(matches!(error, Error::MissingContent(_)), "{error}");
    assert!(images.list(&Filters::default(), false, &NoUsers).unwrap().is_empty());
    drop(hold);
    assert_eq!(images.collect().unwrap().blobs, 2);
    assert!(!images.has(&parts[1].0.digest).unwrap());
}

#[test]
fn a_lease_keeps_what_came_until_its_image_or_a_prune() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("lease");
    let parts = parts();
    let images = scratch.open();
    let hold = images.lease("pull x:1").unwrap();
    images.keep(&hold, parts.iter().map(|(descriptor, _)| &descriptor.digest)).unwrap();
    receive(&images, &hold, &parts[0].0, &parts[0].1).unwrap();
    let layer = image::digest_of(&parts[0].1);
    images.unpack_layer(&hold, &layer, &parts[0].0, &Silent).unwrap();
    let mut cut = images.receive(&hold, &parts[1].0).unwrap().unwrap();
    cut.write(&parts[1].1[..10]).unwrap();
    drop(cut);
    drop((hold, images));

    let images = scratch.open();
    assert_eq!(images.collect().unwrap(), image::Collected::default(), "the pull may go on");
    let hold = images.lease("pull x:1").unwrap();
    assert!(images.is_unpacked(&hold, &layer).unwrap());
    assert_eq!(images.receive(&hold, &parts[1].0).unwrap().unwrap().offset(), 10);
    images.prune(false, &Filters::default(), &NoUsers).unwrap();
    assert!(images.is_unpacked(&hold, &layer).unwrap(), "a pull under way is not pruned");
    drop(hold);
    let pruned = images.prune(false, &Filters::default(), &NoUsers).unwrap();
    assert!(pruned.bytes > 300_000 && pruned.removed.is_empty(), "{pruned:?}");
    let hold = images.lease("pull x:1").unwrap();
    assert!(!images.is_unpacked(&hold, &layer).unwrap() && !images.has(&parts[0].0.digest).unwrap());
    assert_eq!(images.receive(&hold, &parts[1].0).unwrap().unwrap().offset(), 0);
}

#[test]
fn a_layer_that_is_not_what_its_diff_id_says_leaves_nothing() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("lease-liar");
    let parts = parts();
    let images = scratch.open();
    let hold = images.hold();
    receive(&images, &hold, &parts[0].0, &parts[0].1).unwrap();
    let lie = image::digest_of(b"something else");
    let error = images.unpack_layer(&hold, &lie, &parts[0].0, &Silent).unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
    assert!(!images.is_unpacked(&hold, &lie).unwrap());
    let left = |name: &str| std::fs::read_dir(scratch.path.join("data/layers").join(name)).unwrap().count();
    assert_eq!((left("tmp"), left("sha256"), left("chain-sha256")), (0, 0, 0));
}

#[test]
fn what_arrives_is_unseen_until_it_is_verified() {
    use std::os::unix::fs::PermissionsExt;
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("unseen");
    let images = scratch.open();
    let (descriptor, bytes) = &parts()[0];
    let data = scratch.path.join("data");
    let left = |name: &str| std::fs::read_dir(data.join(name)).unwrap().count();
    let places = ["blobs/sha256", "layers/sha256", "layers/chain-sha256"];
    let hold = images.hold();
    let mut incoming = images.receive_layer(&hold, descriptor).unwrap().unwrap();
    incoming.write(&bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(places.map(left), [0, 0, 0], "all but a byte is here, and nothing has a name");
    assert!(!images.has(&descriptor.digest).unwrap());
    assert!(!images.is_unpacked(&hold, &descriptor.digest).unwrap());
    let mode = std::fs::metadata(data.join("layers/tmp")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700, "only root gets to what is not verified");
    incoming.write(&[bytes[bytes.len() - 1] ^ 1]).unwrap();
    assert!(matches!(incoming.finish(), Err(Error::WrongDigest { .. })));
    assert_eq!(places.map(left), [0, 0, 0]);
    assert_eq!((left("layers/tmp"), left("ingest")), (0, 0), "and nothing stays");
    // The same content without the mistake is unpacked when its last byte is here.
    let mut incoming = images.receive_layer(&hold, descriptor).unwrap().unwrap();
    incoming.write(bytes).unwrap();
    incoming.finish().unwrap();
    assert!(images.is_unpacked(&hold, &descriptor.digest).unwrap());
}

#[test]
fn what_inflates_a_lot_is_unpacked_once_it_is_verified() {
    use std::io::Write;
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("inflates");
    let images = scratch.open();
    // Zeros behind the end of an archive: they cost nothing but the inflating.
    let mut layer = Tar::new().file("file", b"content").end();
    layer.resize(300 << 20, 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&layer).unwrap();
    let packed = gzip.finish().unwrap();
    let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, image::digest_of(&packed), packed.len() as u64);
    let diff_id = image::digest_of(&layer);
    let hold = images.hold();
    let mut incoming = images.receive_layer(&hold, &blob).unwrap().unwrap();
    incoming.write(&packed).unwrap();
    incoming.finish().unwrap();
    assert!(!images.is_unpacked(&hold, &diff_id).unwrap(), "before its digest was known to be right");
    images.unpack_layer(&hold, &diff_id, &blob, &Silent).unwrap();
    assert!(images.is_unpacked(&hold, &diff_id).unwrap());
}
