//! The client against a registry that does what it should: every call order, and who sees which credentials.

mod setting;

use std::sync::Arc;

use api::registry::AuthConfig;
use bytes::Bytes;
use oci::image::Document;
use registry::{Error, ErrorKind, Which};
use setting::{auth, client, client_with, layer, read_all, reference};
use testkit::{Access, Fault, INDEX, LAYER, MANIFEST, Registry, digest_of};

fn tag(name: &str) -> Which {
    Which::Tag(name.to_owned())
}

#[tokio::test]
async fn an_image_is_resolved_and_pulled() {
    let registry = Registry::start();
    let digest = registry.image("team/app", "1", &[layer(100), layer(300_000)]);
    let repository = setting::repository(&registry, "team/app:1").await;
    let descriptor = repository.resolve(&tag("1")).await.expect("resolve");
    assert_eq!((descriptor.digest.to_string(), descriptor.media_type.as_str()), (digest.clone(), MANIFEST));
    let fetched = repository.manifest_of(&descriptor).await.expect("manifest");
    let Document::Manifest(manifest) = fetched.document else { panic!("an index") };
    let config = repository.blob_bytes(&manifest.config, 1 << 20).await.expect("config");
    assert_eq!(digest_of(&config), manifest.config.digest.to_string());
    for layer in &manifest.layers {
        let bytes = read_all(&repository, layer, 0..layer.size).await.expect("layer");
        assert_eq!(digest_of(&bytes), layer.digest.to_string());
    }
    let last = manifest.layers.last().expect("a layer");
    let part = read_all(&repository, last, 1000..2000).await.expect("a part");
    assert_eq!(part, layer(300_000)[1000..2000]);
    assert_eq!(repository.tags().await.expect("tags"), ["1"]);
    assert_eq!(registry.count("HEAD", "/manifests/1"), 1);
}

#[tokio::test]
async fn an_image_is_pushed_as_docker_does() {
    let registry = Registry::start();
    let mounted = registry.blob("library/base", layer(5000));
    let repository = setting::repository(&registry, "team/app").await;
    let fresh = setting::descriptor(LAYER, &layer(400_000));
    assert_eq!(repository.has_blob(&fresh.digest).await.expect("HEAD"), None);
    repository.put_blob(&fresh, Arc::new(Bytes::from(layer(400_000)))).await.expect("upload");
    assert_eq!(repository.has_blob(&fresh.digest).await.expect("HEAD"), Some(400_000));
    let known = mounted.parse().expect("a digest");
    assert!(repository.mount(&known, "library/base").await.expect("mount").is_none(), "mounted");
    let unknown = digest_of(b"unknown").parse().expect("a digest");
    let upload = repository.mount(&unknown, "library/base").await.expect("mount").expect("an upload instead");
    let content = setting::descriptor(LAYER, b"unknown");
    upload.put(&content, Arc::new(Bytes::from_static(b"unknown"))).await.expect("upload");
    let bytes = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
    let put = repository.put_manifest(&tag("1"), INDEX, bytes.clone()).await.expect("manifest");
    assert_eq!(registry.stored_manifest("team/app", "1"), Some((INDEX.to_owned(), bytes.to_vec())));
    assert!(repository.has_manifest(&put.digest).await.expect("HEAD"));
    assert!(!repository.has_manifest(&unknown).await.expect("HEAD"));
}

#[tokio::test]
async fn a_stream_of_unknown_length_is_uploaded_in_parts() {
    let registry = Registry::start();
    let repository = setting::repository(&registry, "app").await;
    let content = layer(700_000);
    let mut upload = repository.begin_upload().await.expect("begin");
    let first = Arc::new(Bytes::from(content[..300_000].to_vec()));
    assert_eq!(upload.append(first, 0).await.expect("append"), 300_000);
    let whole = Arc::new(Bytes::from(content.clone()));
    assert_eq!(upload.append(whole, 300_000).await.expect("append"), 700_000);
    assert_eq!(upload.refresh().await.expect("refresh"), 700_000);
    let digest = digest_of(&content);
    upload.finish(&digest.parse().expect("a digest")).await.expect("finish");
    assert_eq!(registry.stored_blob("app", &digest), Some(content));
    repository.begin_upload().await.expect("begin").cancel().await.expect("cancel");
    assert_eq!(registry.count("DELETE", "/blobs/uploads/"), 1);
}

#[tokio::test]
async fn wrong_content_is_not_taken_for_a_push() {
    let registry = Registry::start();
    let repository = setting::repository(&registry, "app").await;
    let announced = setting::descriptor(LAYER, &layer(1000));
    let put = async |bytes: Vec<u8>| repository.put_blob(&announced, Arc::new(Bytes::from(bytes))).await;
    let mut changed = layer(1000);
    changed[0] ^= 1;
    let error = put(changed).await.expect_err("another digest");
    assert_eq!(error.to_string(), "digest invalid: provided digest did not match uploaded content");
    let error = put(layer(999)).await.expect_err("too short");
    assert!(error.to_string().contains("the content ends too early"), "{error}");
    let error = put(layer(1001)).await.expect_err("too long");
    assert!(error.to_string().contains("longer than announced"), "{error}");
    assert_eq!(registry.stored_blob("app", &announced.digest.to_string()), None);
}

#[tokio::test]
async fn what_refers_to_a_manifest_is_found_by_list_or_by_tag() {
    let registry = Registry::start();
    let subject = registry.image("app", "1", &[]);
    let signature = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","artifactType":"a/b","config":{{"mediaType":"x","digest":"{subject}","size":1}},"layers":[],"subject":{{"mediaType":"{MANIFEST}","digest":"{subject}","size":1}}}}"#
    );
    let digest = registry.manifest("app", "", MANIFEST, signature);
    let repository = setting::repository(&registry, "app").await;
    let subject = subject.parse().expect("a digest");
    let found = repository.referrers(&subject, Some("a/b")).await.expect("referrers");
    assert_eq!(found.iter().map(|found| found.digest.to_string()).collect::<Vec<_>>(), [digest.as_str()]);
    assert_eq!(repository.referrers(&subject, Some("c/d")).await.expect("referrers"), []);
    registry.misbehave("GET", "/referrers/", 9, Fault::Status(404, vec![], vec![]));
    assert_eq!(repository.referrers(&subject, None).await.expect("referrers"), []);
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{MANIFEST}","digest":"{digest}","size":7}}]}}"#
    );
    registry.manifest("app", &subject.to_string().replace(':', "-"), INDEX, index);
    assert_eq!(repository.referrers(&subject, None).await.expect("referrers").len(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_dockers_words() {
    let registry = Registry::start();
    registry.image("app", "1", &[]);
    let repository = setting::repository(&registry, "app:2").await;
    let host = registry.host();
    for error in [
        repository.resolve(&tag("2")).await.expect_err("no such tag"),
        repository.manifest(&tag("2")).await.expect_err("no such tag"),
    ] {
        assert_eq!(
            error.to_string(),
            format!("manifest for {host}/app:2 not found: manifest unknown: manifest unknown")
        );
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    let error = repository.blob_bytes(&setting::descriptor(LAYER, b"x"), 10).await.expect_err("no such blob");
    assert!(matches!(error, Error::BlobUnknown { .. }), "{error}");
    let error = setting::repository(&registry, "none").await.tags().await.expect_err("no such repository");
    assert_eq!(
        error.to_string(),
        format!("repository {host}/none not found: name unknown: repository name not known to registry")
    );
}

#[tokio::test]
async fn basic_credentials_are_sent_when_they_are_asked_for() {
    let registry = Registry::start();
    registry.image("app", "1", &[]);
    registry.require(Access::Basic("me".into(), "secret".into()));
    let reference = reference(&registry, "app:1");
    let pull = async |auth: AuthConfig| {
        let repository = client().repository(&reference, &auth).await.expect("a repository");
        repository.resolve(&tag("1")).await
    };
    pull(auth("me", "secret")).await.expect("the right ones");
    let first = registry.seen().into_iter().find(|seen| seen.target.starts_with("/v2/")).expect("a request");
    assert_eq!(first.header("authorization"), None, "not before they are asked for");
    let error = pull(AuthConfig::default()).await.expect_err("none");
    assert!(error.to_string().ends_with("/v2/app/manifests/1\": no basic auth credentials"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let error = pull(auth("me", "wrong")).await.expect_err("wrong ones");
    assert_eq!(error.to_string(), "unauthorized: authentication required");
    let elsewhere = AuthConfig { server_address: "other.example".into(), ..auth("me", "secret") };
    pull(elsewhere).await.expect_err("those of another registry");
}

#[tokio::test]
async fn tokens_are_asked_for_once_and_kept_by_scope() {
    let registry = Registry::start();
    registry.image("app", "1", &[]);
    registry.require(Access::Token("me".into(), "secret".into()));
    let reference = reference(&registry, "app:1");
    let repository = client().repository(&reference, &auth("me", "secret")).await.expect("a repository");
    repository.resolve(&tag("1")).await.expect("resolve");
    let which = tag("1");
    let (one, two) = tokio::join!(repository.tags(), repository.manifest(&which));
    one.expect("tags");
    two.expect("manifest");
    assert_eq!(registry.count("GET", "/token"), 1);
    assert_eq!(registry.count("GET", "scope=repository%3Aapp%3Apull"), 1);
    assert_eq!(registry.count("GET", "account=me&service=kit"), 1);
    repository.begin_upload().await.expect("an upload needs another scope");
    assert_eq!(registry.count("GET", "scope=repository%3Aapp%3Apull%2Cpush"), 1);
    let seen = registry.seen();
    let to_registry = seen.iter().filter(|seen| seen.target.starts_with("/v2/"));
    let leaked =
        to_registry.filter(|seen| seen.header("authorization").is_some_and(|shown| shown.contains("Basic")));
    assert_eq!(leaked.count(), 0, "the secret is for the realm");
    let nobody = client().repository(&reference, &AuthConfig::default()).await.expect("a repository");
    let error = nobody.resolve(&tag("1")).await.expect_err("no token for strangers");
    let host = registry.host();
    let words =
        format!("pull access denied for {host}/app, repository does not exist or may require 'docker login'");
    assert!(error.to_string().starts_with(&words), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let wrong = client().repository(&reference, &auth("me", "wrong")).await.expect("a repository");
    let error = wrong.resolve(&tag("1")).await.expect_err("wrong secret");
    assert_eq!(error.to_string(), "unauthorized: incorrect username or password");
}

#[tokio::test]
async fn refresh_and_registry_tokens_are_used_as_they_are_meant() {
    let registry = Registry::start();
    registry.image("app", "1", &[]);
    registry.require(Access::Token("me".into(), "secret".into()));
    let reference = reference(&registry, "app:1");
    let identity = AuthConfig { identity_token: "refresh".into(), ..AuthConfig::default() };
    let repository = client().repository(&reference, &identity).await.expect("a repository");
    repository.resolve(&tag("1")).await.expect("with a refresh token");
    assert_eq!(registry.count("POST", "/token"), 1);
    let bearer = AuthConfig { registry_token: "a-token".into(), ..AuthConfig::default() };
    let repository = client().repository(&reference, &bearer).await.expect("a repository");
    repository.resolve(&tag("1")).await.expect("with a registry token");
    assert_eq!(registry.count("", "/token"), 1, "nobody else is asked");
}

#[tokio::test]
async fn an_expired_token_is_renewed() {
    let registry = Registry::start();
    registry.image("app", "1", &[]);
    registry.require(Access::Token(String::new(), String::new()));
    let repository = setting::repository(&registry, "app:1").await;
    repository.resolve(&tag("1")).await.expect("resolve");
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"kit\"", registry.host());
    let refusal = Fault::Status(401, vec![("WWW-Authenticate".into(), challenge)], vec![]);
    registry.misbehave("HEAD", "/manifests/", 1, refusal);
    repository.resolve(&tag("1")).await.expect("resolve again");
    assert_eq!(registry.count("GET", "/token"), 2);
}

#[tokio::test]
async fn login_answers_as_docker_does() {
    let registry = Registry::start();
    let login = async |name: &str, secret: &str| {
        client().login(&AuthConfig { server_address: registry.host(), ..auth(name, secret) }).await
    };
    assert_eq!(login("any", "body").await.expect("open").status, "Login Succeeded");
    registry.require(Access::Basic("me".into(), "secret".into()));
    assert_eq!(login("me", "secret").await.expect("right").status, "Login Succeeded");
    let error = login("me", "wrong").await.expect_err("wrong");
    let url = format!("http://{}/v2/", registry.host());
    assert_eq!(error.to_string(), format!("login attempt to {url} failed with status: 401 Unauthorized"));
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    for nowhere in ["https://u@127.0.0.1:1/", "../etc", "a b", "127.0.0.1:1?x"] {
        let auth = AuthConfig { server_address: nowhere.into(), ..auth("me", "secret") };
        let error = client().login(&auth).await.expect_err(nowhere);
        assert_eq!(error.kind(), ErrorKind::InvalidParameter, "{nowhere}: {error}");
    }
    registry.require(Access::Token("me".into(), "secret".into()));
    let answer = login("me", "secret").await.expect("right");
    assert_eq!((answer.status.as_str(), answer.identity_token.as_str()), ("Login Succeeded", "refresh"));
    let error = login("me", "wrong").await.expect_err("wrong");
    assert_eq!(error.to_string(), "unauthorized: incorrect username or password");
}

#[tokio::test]
async fn a_mirror_comes_first_and_the_registry_has_the_last_word() {
    let (mirror, origin) = (Registry::start(), Registry::start());
    let digest = origin.image("app", "1", &[layer(5000)]);
    origin.require(Access::Basic("me".into(), "secret".into()));
    let certs = setting::Directory::new("mirror");
    certs.write(
        &format!("{}/hosts.toml", origin.host()),
        &format!("server = \"http://{}\"\n[host.\"http://{}\"]\n", origin.host(), mirror.host()),
    );
    let client = client_with(|settings| settings.certs_dirs = vec![certs.path().to_owned()]);
    let named = reference(&origin, "app:1");
    let repository = client.repository(&named, &auth("me", "secret")).await.expect("a repository");
    assert_eq!(repository.resolve(&tag("1")).await.expect("from the origin").digest.to_string(), digest);
    let from_mirror = mirror.image("app", "1", &[layer(5000)]);
    assert_eq!(from_mirror, digest);
    let asked = origin.seen().len();
    repository.manifest(&tag("1")).await.expect("from the mirror");
    assert_eq!(origin.seen().len(), asked, "the origin was not asked");
    assert!(
        mirror.seen().iter().all(|seen| seen.header("authorization").is_none()),
        "no credentials for a mirror"
    );
    assert!(mirror.count("", &format!("ns={}", origin.host())) > 0);
    drop(mirror);
    repository.manifest(&tag("1")).await.expect("from the origin again");
}

#[tokio::test]
async fn requests_go_through_the_proxy_that_is_configured() {
    // The kit answers absolute targets like its own, which is all that a proxy for plain HTTP has to do here.
    let proxy = Registry::start();
    let client = client_with(|settings| {
        let url = format!("http://user:word@{}", proxy.host());
        settings.proxies = registry::Proxies::new(&url, &url, "").expect("proxies");
        settings.insecure = vec!["registry.invalid".to_owned()];
    });
    let named = oci::Reference::parse("registry.invalid/app:1").expect("a reference");
    let repository = client.repository(&named, &AuthConfig::default()).await.expect("a repository");
    repository.resolve(&tag("1")).await.expect_err("the kit has no such path");
    let seen = proxy.seen();
    assert_eq!(seen[0].method, "CONNECT");
    assert_eq!(seen[0].target, "registry.invalid:443");
    assert_eq!(seen[0].header("proxy-authorization"), Some("Basic dXNlcjp3b3Jk"));
}
