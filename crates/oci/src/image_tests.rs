//! Tests of the image documents: type confusion, Go's nulls, and stable output.

use super::*;

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn manifest() -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{D}","size":2}},"layers":[]}}"#,
        media_type::OCI_MANIFEST,
        media_type::OCI_CONFIG
    )
}

#[test]
fn a_manifest_and_an_index_are_told_apart() {
    assert!(matches!(Document::parse(manifest().as_bytes(), ""), Ok(Document::Manifest(_))));
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    assert!(matches!(Document::parse(index.as_bytes(), ""), Ok(Document::Index(_))));
}

#[test]
fn a_document_that_could_be_read_two_ways_is_refused() {
    let both = format!(
        r#"{{"schemaVersion":2,"manifests":[],"config":{{"mediaType":"x","digest":"{D}","size":2}},"layers":[]}}"#
    );
    assert!(matches!(Document::parse(both.as_bytes(), media_type::OCI_INDEX), Err(DocumentError::Ambiguous)));
    let error = Document::parse(manifest().as_bytes(), media_type::OCI_INDEX).unwrap_err();
    assert!(matches!(error, DocumentError::MediaType { .. }), "{error}");
    let error = Document::parse(manifest().as_bytes(), media_type::DOCKER_MANIFEST).unwrap_err();
    assert!(matches!(error, DocumentError::MediaType { .. }), "{error}");
}

#[test]
fn hostile_documents_are_refused() {
    let refuse =
        |text: &str, media_type: &str| Document::parse(text.as_bytes(), media_type).unwrap_err().to_string();
    assert!(refuse("", "").contains("malformed"));
    assert!(refuse("[]", "").contains("malformed"));
    assert!(refuse(r#"{"schemaVersion":1,"fsLayers":[]}"#, "").contains("schema version 1"));
    assert!(refuse(r#"{"schemaVersion":2}"#, "text/html").contains("unsupported media type"));
    assert!(refuse(&manifest().replace(D, "sha256:../../x"), "").contains("invalid checksum digest"));
    assert!(refuse(&manifest().replace("\"size\":2", "\"size\":-2"), "").contains("malformed"));
    assert!(refuse(&manifest().replace("\"size\":2", "\"size\":2e99"), "").contains("malformed"));
    assert!(refuse(&"[".repeat(100_000), "").contains("not a JSON object"));
    assert!(refuse(&"{\"a\":".repeat(100_000), "").contains("malformed"));
    assert!(refuse(&" ".repeat(MAX_DOCUMENT_SIZE + 1), "").contains("more than the limit"));
}

#[test]
fn go_nulls_and_single_words_are_read() {
    let text = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"User":null,"Env":null,"Cmd":"sh","Entrypoint":null,"Labels":null,
        "ExposedPorts":{{"80/tcp":{{}}}},"OnBuild":null}},"rootfs":{{"type":"layers","diff_ids":["{D}"]}},"history":null,
        "container_config":{{"Hostname":"ignored"}},"docker_version":"20.10"}}"#
    );
    let config: ImageConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(config.config.cmd, Some(vec!["sh".to_owned()]));
    assert_eq!(config.config.entrypoint, None);
    assert_eq!(config.config.env, Vec::<String>::new());
    assert_eq!(config.platform().to_string(), "linux/amd64");
    assert_eq!(
        serde_json::to_string(&config.config).unwrap(),
        r#"{"ExposedPorts":{"80/tcp":{}},"Cmd":["sh"]}"#
    );
}

#[test]
fn a_manifest_prints_in_one_stable_order() {
    let Document::Manifest(parsed) = Document::parse(manifest().as_bytes(), "").unwrap() else {
        panic!("a manifest")
    };
    assert_eq!(serde_json::to_string(&parsed).unwrap(), manifest());
}

#[test]
fn media_types_fall_into_their_families() {
    assert!(media_type::is_layer(media_type::OCI_LAYER_ZSTD));
    assert!(media_type::is_layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"));
    assert!(media_type::is_foreign_layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"));
    assert!(!media_type::is_layer(media_type::IN_TOTO));
    assert!(
        media_type::is_index(media_type::DOCKER_LIST) && !media_type::is_manifest(media_type::DOCKER_LIST)
    );
}

/// Bytes of a manifest changed at random are refused or read; nothing panics.
#[test]
fn seeded_mutations_of_a_manifest_never_panic() {
    let original = manifest().into_bytes();
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    for _ in 0..10_000 {
        let mut bytes = original.clone();
        for _ in 0..=next(6) {
            let at = next(bytes.len().max(1));
            if bytes.is_empty() {
                break;
            }
            match next(3) {
                0 => bytes[at] = u8::try_from(next(256)).unwrap(),
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        drop(Document::parse(&bytes, media_type::OCI_MANIFEST));
    }
}
