//! The client against a registry that lies, cuts, stalls and leads in circles: every case ends, and says what was wrong.

mod setting;

use std::time::Duration;

use oci::image::Descriptor;
use registry::{Cause, Error, ErrorKind, Which};
use setting::{client_with, layer, read_all, repository};
use testkit::{Fault, INDEX, LAYER, MANIFEST, Registry};

fn tag(name: &str) -> Which {
    Which::Tag(name.to_owned())
}

fn header(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

/// A registry with a blob of 300 000 bytes in `app`.
fn with_blob() -> (Registry, Descriptor, Vec<u8>) {
    let (registry, content) = (Registry::start(), layer(300_000));
    registry.blob("app", content.clone());
    (registry, setting::descriptor(LAYER, &content), content)
}

/// What the client says to a fault in the answer to a GET of `app:1`.
async fn manifest_error(fault: Fault) -> Error {
    let registry = Registry::start();
    registry.image("app", "1", &[]);
    registry.misbehave("GET", "/manifests/", 99, fault);
    repository(&registry, "app:1").await.manifest(&tag("1")).await.expect_err("a fault")
}

#[tokio::test]
async fn a_download_goes_on_where_it_was_cut() {
    let (registry, descriptor, content) = with_blob();
    registry.misbehave("GET", "/blobs/", 1, Fault::CutAfter(70_000));
    registry.misbehave("GET", "/blobs/", 1, Fault::CutAfter(50_000));
    registry.misbehave("GET", "/blobs/", 1, Fault::NoAnswer);
    registry.misbehave("GET", "/blobs/", 1, Fault::StallAfter(30_000));
    registry.misbehave("GET", "/blobs/", 1, Fault::Status(503, vec![], vec![]));
    let repository = repository(&registry, "app").await;
    assert!(read_all(&repository, &descriptor, 0..300_000).await.expect("all of it") == content);
    let ranges: Vec<_> =
        registry.seen().iter().filter_map(|seen| seen.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges.first().map(String::as_str), Some("bytes=70000-299999"));
    assert_eq!(ranges.last().map(String::as_str), Some("bytes=150000-299999"));
}

#[tokio::test]
async fn a_registry_without_ranges_is_read_from_the_beginning_again() {
    let (registry, descriptor, content) = with_blob();
    registry.misbehave("GET", "/blobs/", 1, Fault::CutAfter(100_000));
    registry.misbehave("GET", "/blobs/", 1, Fault::IgnoreRange);
    let repository = repository(&registry, "app").await;
    let mut blob = repository.blob(&descriptor, 0..300_000).await.expect("a blob");
    let mut whole = Vec::new();
    while let Some(piece) = blob.next().await.expect("a piece") {
        whole.extend_from_slice(&piece);
    }
    assert!(whole == content);
    assert!(blob.ignores_ranges());
    registry.misbehave("GET", "/blobs/", 1, Fault::IgnoreRange);
    let part = read_all(&repository, &descriptor, 1000..2000).await.expect("a part");
    assert!(part == content[1000..2000]);
}

#[tokio::test]
async fn a_download_that_never_brings_anything_ends() {
    let (registry, descriptor, _) = with_blob();
    registry.misbehave("GET", "/blobs/", 99, Fault::CutAfter(0));
    let error =
        read_all(&repository(&registry, "app").await, &descriptor, 0..300_000).await.expect_err("cut");
    assert!(error.to_string().ends_with("unexpected EOF"), "{error}");
    assert!(registry.count("GET", "/blobs/") < 30, "not without end");
}

#[tokio::test]
async fn a_blob_of_another_length_is_refused() {
    for fault in [Fault::Longer(vec![7; 10]), Fault::Short(10), Fault::Status(200, vec![], vec![1; 10])] {
        let (registry, descriptor, _) = with_blob();
        registry.misbehave("GET", "/blobs/", 99, fault.clone());
        let repository = repository(&registry, "app").await;
        let error = read_all(&repository, &descriptor, 0..300_000).await.expect_err("another length");
        assert!(matches!(error, Error::Length { expected: 300_000, .. }), "{fault:?}: {error}");
        let error = repository.blob_bytes(&descriptor, 1 << 20).await.expect_err("another length");
        assert!(matches!(error, Error::Length { .. }), "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn a_wrong_range_is_refused() {
    let (registry, descriptor, content) = with_blob();
    let repository = repository(&registry, "app").await;
    let answers = [
        ("bytes 2000-2999/300000", "begins behind"),
        ("bytes 1000-1999/5", "300000"),
        ("nonsense", "is none"),
    ];
    for (range, words) in answers {
        let fault = Fault::Status(206, header("Content-Range", range), content[1000..2000].to_vec());
        registry.misbehave("GET", "/blobs/", 1, fault);
        let error = read_all(&repository, &descriptor, 1000..2000).await.expect_err(range);
        assert!(error.to_string().contains(words), "{range}: {error}");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    let error = repository.blob(&descriptor, 0..300_001).await.expect_err("beyond the end");
    assert!(matches!(error, Error::Length { .. }), "{error}");
}

#[tokio::test]
async fn content_without_its_digest_is_refused() {
    let (registry, descriptor, _) = with_blob();
    registry.misbehave("GET", "/blobs/", 1, Fault::WrongBytes);
    let repository = repository(&registry, "app").await;
    let error = repository.blob_bytes(&descriptor, 1 << 20).await.expect_err("another digest");
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    let error = manifest_error(Fault::WrongBytes).await;
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    let other = testkit::digest_of(b"other");
    let error = manifest_error(Fault::ContentDigest(other.clone())).await;
    assert!(error.to_string().contains(&other), "{error}");
}

#[tokio::test]
async fn a_manifest_that_is_another_than_its_digest_is_refused_also_by_head() {
    let registry = Registry::start();
    let digest = registry.image("app", "1", &[]);
    let other = testkit::digest_of(b"other");
    registry.misbehave("HEAD", "/manifests/", 1, Fault::ContentDigest(other));
    let which = Which::Digest(digest.parse().expect("a digest"));
    let error = repository(&registry, "app").await.resolve(&which).await.expect_err("another digest");
    assert!(matches!(error, Error::Digest { .. }), "{error}");
}

#[tokio::test]
async fn head_without_enough_in_it_is_followed_by_get() {
    let registry = Registry::start();
    let digest = registry.image("app", "1", &[]);
    let repository = repository(&registry, "app:1").await;
    for fault in [
        Fault::ContentDigest(String::new()),
        Fault::ContentType("text/plain".into()),
        Fault::Status(405, vec![], vec![]),
        Fault::Status(404, vec![], vec![]),
    ] {
        registry.misbehave("HEAD", "/manifests/", 1, fault.clone());
        let descriptor = repository.resolve(&tag("1")).await.expect("resolve");
        assert_eq!(
            (descriptor.digest.to_string(), descriptor.media_type.as_str()),
            (digest.clone(), MANIFEST),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_manifest_is_what_its_type_says() {
    let check = async |fault: Fault, words: &str| {
        let error = manifest_error(fault.clone()).await;
        assert!(error.to_string().contains(words), "{fault:?}: {error}");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{fault:?}");
    };
    check(Fault::ContentType(INDEX.into()), "the document says it is").await;
    check(Fault::ContentType("image/png".into()), "the document says it is").await;
    let schema_one = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    check(Fault::ContentType(schema_one.into()), "no longer supported").await;
    let typed = |body: &str| Fault::Status(200, header("Content-Type", MANIFEST), body.as_bytes().to_vec());
    check(typed("{"), "malformed document").await;
    check(typed("[2]"), "malformed document").await;
    check(typed(r#"{"schemaVersion":1}"#), "unsupported schema version 1").await;
    check(typed(r#"{"schemaVersion":2,"config":{},"manifests":[]}"#), "ambiguous").await;
    check(typed(&"[".repeat(100_000)), "malformed document").await;
    check(typed(&" ".repeat((4 << 20) + 1)), "larger than the limit of 4194304 bytes").await;
}

#[tokio::test]
async fn an_index_that_lies_about_a_manifest_is_found_out() {
    let registry = Registry::start();
    let digest = registry.image("app", "1", &[]);
    let repository = repository(&registry, "app").await;
    let right = repository.resolve(&tag("1")).await.expect("resolve");
    let size = Descriptor { size: right.size + 1, ..right.clone() };
    let error = repository.manifest_of(&size).await.expect_err("another size");
    assert!(matches!(error, Error::Length { .. }), "{error}");
    let kind = Descriptor::new(INDEX, digest.parse().expect("a digest"), right.size);
    let error = repository.manifest_of(&kind).await.expect_err("another type");
    assert!(error.to_string().contains("and the index says"), "{error}");
}

#[tokio::test]
async fn redirects_end() {
    let error = manifest_error(Fault::Redirect("{self}".into())).await;
    assert!(error.to_string().contains("redirects lead in a circle"), "{error}");
    let error = manifest_error(Fault::Redirect("{self}x".into())).await;
    assert!(error.to_string().contains("stopped after 10 redirects"), "{error}");
    for nowhere in ["file:///etc/passwd", "", "http://u:p@127.0.0.1/", "gopher://x/"] {
        let error = manifest_error(Fault::Redirect(nowhere.into())).await;
        assert!(matches!(error, Error::Transport { cause: Cause::Redirect(_), .. }), "{nowhere}: {error}");
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_gets_no_credentials() {
    let (registry, storage) = (Registry::start(), Registry::start());
    let content = layer(1000);
    let digest = storage.blob("bucket", content.clone());
    registry.blob("app", content.clone());
    registry.require(testkit::Access::Basic("me".into(), "secret".into()));
    let reference = setting::reference(&registry, "app");
    let repository =
        setting::client().repository(&reference, &setting::auth("me", "secret")).await.expect("a repository");
    let descriptor = setting::descriptor(LAYER, &content);
    // One request learns the challenge, so that the next has its credentials from the start.
    repository.blob_bytes(&descriptor, 1 << 20).await.expect("a blob");
    let away = format!("http://{}/v2/bucket/blobs/{digest}", storage.host());
    registry.misbehave("GET", "/blobs/", 1, Fault::Redirect(away));
    repository.blob_bytes(&descriptor, 1 << 20).await.expect("a blob from elsewhere");
    let seen = storage.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None);
    let asked = registry.seen();
    assert!(asked.last().expect("a request").header("authorization").is_some());
}

#[tokio::test]
async fn too_many_requests_wait_or_say_until_when() {
    let registry = Registry::start();
    let digest = registry.image("app", "1", &[]);
    let repository = repository(&registry, "app:1").await;
    registry.misbehave("HEAD", "/manifests/", 2, Fault::Status(429, vec![], vec![]));
    assert_eq!(repository.resolve(&tag("1")).await.expect("after a pause").digest.to_string(), digest);
    let body =
        br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let limit = Fault::Status(429, header("Retry-After", "3600"), body.to_vec());
    registry.misbehave("", "/manifests/", 99, limit);
    let error = repository.resolve(&tag("1")).await.expect_err("an hour is too long");
    let words = "toomanyrequests: You have reached your pull rate limit. (the registry answers again at ";
    assert!(error.to_string().starts_with(words), "{error}");
    let Error::TooManyRequests { retry_after, .. } = error else { panic!("{error}") };
    assert_eq!(retry_after, Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn failures_of_the_server_are_tried_again_and_then_told() {
    let registry = Registry::start();
    let digest = registry.image("app", "1", &[]);
    let repository = repository(&registry, "app:1").await;
    registry.misbehave("HEAD", "/manifests/", 3, Fault::Status(502, vec![], vec![]));
    assert_eq!(repository.resolve(&tag("1")).await.expect("after some tries").digest.to_string(), digest);
    registry.misbehave("", "/manifests/", 99, Fault::Status(500, vec![], b"<html>".to_vec()));
    let error = repository.resolve(&tag("1")).await.expect_err("always");
    assert!(
        error.to_string().starts_with("received unexpected HTTP status: 500 Internal Server Error"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn refusals_have_dockers_words() {
    let check = async |status: u16, body: &str, words: &str| {
        let error = manifest_error(Fault::Status(status, vec![], body.as_bytes().to_vec())).await;
        assert!(error.to_string().contains(words), "{status} {body}: {error}");
    };
    let denied = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    check(403, denied, "repository does not exist or may require 'docker login': denied: requested access")
        .await;
    check(403, "", "pull access denied for ").await;
    check(401, "", "unauthorized: authentication required").await;
    check(400, r#"{"errors":[{"code":"NAME_INVALID","message":"no"}]}"#, "name invalid: no").await;
    check(418, "\u{1b}[2Jshort and stout", "received unexpected HTTP status: 418").await;
}

#[tokio::test]
async fn what_is_not_http_is_an_error_not_a_hang() {
    for raw in [
        b"SSH-2.0-x\r\n".to_vec(),
        vec![0; 100_000],
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".to_vec(),
    ] {
        let error = manifest_error(Fault::Raw(raw)).await;
        assert!(matches!(error, Error::Transport { .. }), "{error}");
    }
    let error = manifest_error(Fault::HugeHead(1 << 20)).await;
    assert!(matches!(error, Error::Transport { .. }), "{error}");
}

#[tokio::test]
async fn a_registry_that_says_nothing_is_given_up() {
    let registry = Registry::start();
    registry.image("app", "1", &[]);
    registry.misbehave("GET", "/manifests/", 99, Fault::StallAfter(10));
    let client = client_with(|settings| settings.patience.retries = 1);
    let reference = setting::reference(&registry, "app:1");
    let repository = client.repository(&reference, &Default::default()).await.expect("a repository");
    let error = repository.manifest(&tag("1")).await.expect_err("silence");
    assert!(error.to_string().ends_with("i/o timeout"), "{error}");
}

#[tokio::test]
async fn a_port_without_a_registry_is_a_refused_connection() {
    let registry = Registry::start();
    let reference = setting::reference(&registry, "app:1");
    drop(registry);
    let repository =
        setting::client().repository(&reference, &Default::default()).await.expect("a repository");
    let error = repository.resolve(&tag("1")).await.expect_err("nobody");
    assert!(error.to_string().ends_with("connect: connection refused"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_interrupted_upload_begins_again() {
    let registry = Registry::start();
    let content = layer(300_000);
    let descriptor = setting::descriptor(LAYER, &content);
    registry.misbehave("PUT", "/blobs/uploads/", 1, Fault::Status(502, vec![], vec![]));
    registry.misbehave("POST", "/blobs/uploads/", 1, Fault::NoAnswer);
    let repository = repository(&registry, "app").await;
    let source = std::sync::Arc::new(bytes::Bytes::from(content.clone()));
    repository.put_blob(&descriptor, source.clone()).await.expect("an upload");
    assert_eq!(registry.count("PUT", "/blobs/uploads/"), 2);
    assert!(registry.stored_blob("app", &descriptor.digest.to_string()) == Some(content));
}

#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_found() {
    let registry = Registry::start();
    let content = layer(1000);
    let descriptor = setting::descriptor(LAYER, &content);
    registry.misbehave("PUT", "/blobs/uploads/", 1, Fault::NoAnswer);
    let repository = repository(&registry, "app").await;
    repository
        .put_blob(&descriptor, std::sync::Arc::new(bytes::Bytes::from(content)))
        .await
        .expect("an upload");
    assert_eq!(registry.count("PUT", "/blobs/uploads/"), 1);
}

#[tokio::test]
async fn a_mirror_with_wrong_content_is_not_asked_again() {
    let (mirror, origin) = (Registry::start(), Registry::start());
    let content = layer(100_000);
    mirror.blob("app", content.clone());
    origin.blob("app", content.clone());
    mirror.misbehave("GET", "/blobs/", 99, Fault::WrongBytes);
    let certs = setting::Directory::new("distrust");
    certs.write(
        &format!("{}/hosts.toml", origin.host()),
        &format!("server = \"http://{}\"\n[host.\"http://{}\"]\n", origin.host(), mirror.host()),
    );
    let client = client_with(|settings| settings.certs_dirs = vec![certs.path().to_owned()]);
    let reference = setting::reference(&origin, "app");
    let repository = client.repository(&reference, &Default::default()).await.expect("a repository");
    let descriptor = setting::descriptor(LAYER, &content);
    let small = repository.blob_bytes(&descriptor, 1 << 20).await.expect("from the origin");
    assert!(small == content, "verified, so that the mirror was passed over");
    let mut blob = repository.blob(&descriptor, 0..100_000).await.expect("from the mirror");
    while blob.next().await.expect("a piece").is_some() {}
    assert!(blob.distrust(), "the origin is left");
    let right = read_all(&repository, &descriptor, 0..100_000).await.expect("from the origin");
    assert!(right == content);
    let blob = repository.blob(&descriptor, 0..100_000).await.expect("from the origin");
    assert!(!blob.distrust(), "nobody is left");
}

#[tokio::test]
async fn lists_that_never_end_do() {
    let registry = Registry::start();
    let body = br#"{"name":"app","tags":["a"]}"#.to_vec();
    let next = header("Link", "</v2/app/tags/list?n=1000&last=a>; rel=\"next\"");
    registry.misbehave("GET", "/tags/list", u32::MAX, Fault::Status(200, next, body));
    let error = repository(&registry, "app").await.tags().await.expect_err("without end");
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let abroad = Registry::start();
    let away = header("Link", "<http://127.0.0.1:1/v2/app/tags/list>; rel=\"next\"");
    abroad.misbehave("GET", "/tags/list", 1, Fault::Status(200, away, br#"{"tags":null}"#.to_vec()));
    assert_eq!(repository(&abroad, "app").await.tags().await.expect("the first page"), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_server_that_lies_is_an_error() {
    for (answer, words) in [
        (Fault::Status(200, vec![], b"{}".to_vec()), "did not include a token"),
        (Fault::Status(200, vec![], b"[".to_vec()), "the token is not JSON"),
        (Fault::Status(200, vec![], br#"{"token":"a\nb"}"#.to_vec()), "the token is not text"),
        (Fault::Status(200, vec![], vec![b' '; (1 << 20) + 1]), "larger than the limit"),
        (Fault::Status(403, vec![], br#"{"details":"no"}"#.to_vec()), "denied: no"),
        (Fault::Redirect("{self}".into()), "redirects lead in a circle"),
    ] {
        let registry = Registry::start();
        registry.require(testkit::Access::Token(String::new(), String::new()));
        registry.misbehave("GET", "/token", 99, answer);
        let error = repository(&registry, "app:1").await.resolve(&tag("1")).await.expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
    }
}
