//! The client against Debian's docker-registry: push and pull, in the clear, over TLS with certs.d, with htpasswd.

mod setting;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use api::registry::AuthConfig;
use bytes::Bytes;
use oci::Reference;
use oci::image::{Document, media_type};
use registry::{Client, Error, ErrorKind, Repository, Result, Which};
use setting::{Directory, auth, client, client_with, descriptor, layer, read_all};

/// `htpasswd -Bbn me secret`.
const HTPASSWD: &str = "me:$2y$05$39fxBs1dJi4Zexd9/kpMXOZwIfDyeDva6f6B2UTmWuikLLOYpBrGi\n";

/// A docker-registry that lives as long as its test.
struct Debian {
    process: Child,
    port: u16,
    directory: Directory,
}

impl Debian {
    /// Starts one, with `http` and `auth` sections as given. `None`, said aloud, when a program that it takes is missing.
    fn start(name: &str, prepare: impl FnOnce(&Directory) -> (String, String)) -> Option<Self> {
        for program in ["docker-registry", "openssl"] {
            if Command::new(program).arg("help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
            {
                assert!(std::env::var("CI").is_err(), "{program} is not installed");
                println!("SKIP: {program} is not installed");
                return None;
            }
        }
        let directory = Directory::new(name);
        let (http, auth) = prepare(&directory);
        let store = directory.path().join("store").display().to_string();
        let text = format!(
            "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {store}\n  delete:\n    enabled: true\n\
             http:\n  addr: 127.0.0.1:0\n  secret: test\n{http}{auth}"
        );
        let file = directory.write("config.yml", &text);
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(file)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry");
        let mut lines = BufReader::new(process.stderr.take().expect("its log"));
        let port = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).expect("its log") > 0, "docker-registry ended: {text}");
            if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                break digits.parse().expect("a port");
            }
        };
        // Its log is drained, so that it never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Some(Self { process, port, directory })
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    async fn repository(&self, client: &Client, name: &str, auth: &AuthConfig) -> Repository {
        let reference = Reference::parse(&format!("{}/{name}", self.host())).expect("a reference");
        client.repository(&reference, auth).await.expect("a repository")
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        let killed = self.process.kill();
        let waited = self.process.wait();
        if let (Err(error), _) | (_, Err(error)) = (killed, waited.map(drop)) {
            eprintln!("docker-registry: {error}");
        }
    }
}

/// Pushes an image of two layers and pulls it back.
async fn there_and_back(repository: &Repository) -> Result<()> {
    let layers = [layer(10), layer(3_000_000)];
    let config = Bytes::from_static(
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
    );
    let mut manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":["#,
        media_type::OCI_MANIFEST,
        serde_json::to_string(&descriptor(media_type::OCI_CONFIG, &config)).expect("JSON")
    );
    for (at, bytes) in layers.iter().enumerate() {
        let described = descriptor(media_type::OCI_LAYER, bytes);
        if repository.has_blob(&described.digest).await?.is_none() {
            repository.put_blob(&described, Arc::new(Bytes::from(bytes.clone()))).await?;
        }
        assert_eq!(repository.has_blob(&described.digest).await?, Some(described.size));
        let comma = if at == 0 { "" } else { "," };
        manifest.push_str(&format!("{comma}{}", serde_json::to_string(&described).expect("JSON")));
    }
    manifest.push_str("]}");
    repository.put_blob(&descriptor(media_type::OCI_CONFIG, &config), Arc::new(config.clone())).await?;
    let which = Which::Tag("1".to_owned());
    let put =
        repository.put_manifest(&which, media_type::OCI_MANIFEST, Bytes::from(manifest.clone())).await?;
    assert_eq!(repository.resolve(&which).await?, put);
    let fetched = repository.manifest_of(&put).await?;
    assert_eq!(fetched.bytes, manifest.as_bytes());
    let Document::Manifest(document) = fetched.document else { panic!("an index") };
    assert_eq!(repository.blob_bytes(&document.config, 1 << 20).await?, config);
    for (described, bytes) in document.layers.iter().zip(&layers) {
        assert!(read_all(repository, described, 0..described.size).await? == *bytes);
    }
    let part = read_all(repository, &document.layers[1], 1_000_000..1_000_100).await?;
    assert!(part == layers[1][1_000_000..1_000_100]);
    assert_eq!(repository.tags().await?, ["1"]);
    assert_eq!(repository.referrers(&put.digest, None).await?, []);
    Ok(())
}

#[tokio::test]
async fn in_the_clear_on_loopback() {
    let Some(debian) = Debian::start("plain", |_| (String::new(), String::new())) else { return };
    let repository = debian.repository(&client(), "team/app", &AuthConfig::default()).await;
    there_and_back(&repository).await.expect("push and pull");
    let base = descriptor(media_type::OCI_LAYER, &layer(3_000_000));
    let other = debian.repository(&client(), "team/other", &AuthConfig::default()).await;
    assert_eq!(other.has_blob(&base.digest).await.expect("HEAD"), None);
    assert!(other.mount(&base.digest, "team/app").await.expect("mount").is_none(), "mounted");
    assert_eq!(other.has_blob(&base.digest).await.expect("HEAD"), Some(base.size));
    let mut upload = other.begin_upload().await.expect("begin");
    let content = layer(700_000);
    let part = Arc::new(Bytes::from(content[..300_000].to_vec()));
    assert_eq!(upload.append(part, 0).await.expect("append"), 300_000);
    assert_eq!(
        upload.append(Arc::new(Bytes::from(content.clone())), 300_000).await.expect("append"),
        700_000
    );
    upload.finish(&descriptor("", &content).digest).await.expect("finish");
    other.begin_upload().await.expect("begin").cancel().await.expect("cancel");
    let wrong = debian.repository(&client(), "team/app", &AuthConfig::default()).await;
    let announced = descriptor(media_type::OCI_LAYER, b"one");
    let error =
        wrong.put_blob(&announced, Arc::new(Bytes::from_static(b"two"))).await.expect_err("another digest");
    assert_eq!(error.to_string(), "digest invalid: provided digest did not match uploaded content");
    let error = wrong.resolve(&Which::Tag("2".to_owned())).await.expect_err("no such tag");
    let host = debian.host();
    let words = format!("manifest for {host}/team/app:2 not found: manifest unknown: manifest unknown");
    assert_eq!(error.to_string(), words);
    let none = debian.repository(&client(), "team/none", &AuthConfig::default()).await;
    assert!(matches!(none.tags().await.expect_err("none"), Error::RepositoryUnknown { .. }));
}

#[tokio::test]
async fn with_a_password_file() {
    let secured = |directory: &Directory| {
        let file = directory.write("htpasswd", HTPASSWD).display().to_string();
        (String::new(), format!("auth:\n  htpasswd:\n    realm: test\n    path: {file}\n"))
    };
    let Some(debian) = Debian::start("basic", secured) else { return };
    let repository = debian.repository(&client(), "app", &auth("me", "secret")).await;
    there_and_back(&repository).await.expect("push and pull");
    let tag = Which::Tag("1".to_owned());
    let anonymous = debian.repository(&client(), "app", &AuthConfig::default()).await;
    let error = anonymous.resolve(&tag).await.expect_err("no credentials");
    assert!(error.to_string().ends_with("no basic auth credentials"), "{error}");
    let wrong = debian.repository(&client(), "app", &auth("me", "wrong")).await;
    let error = wrong.resolve(&tag).await.expect_err("wrong credentials");
    assert_eq!(error.to_string(), "unauthorized: authentication required");
    let login = async |secret: &str| {
        client().login(&AuthConfig { server_address: debian.host(), ..auth("me", secret) }).await
    };
    assert_eq!(login("secret").await.expect("login").status, "Login Succeeded");
    assert_eq!(login("wrong").await.expect_err("login").kind(), ErrorKind::Unauthorized);
}

fn openssl(directory: &Directory, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(directory.path());
    let output = command.output().expect("openssl");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and a certificate of the server and of a client by it.
fn certificates(directory: &Directory) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(
        directory,
        &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 30 -subj /CN=test-authority"),
    );
    for (name, extension) in [
        ("server", "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n"),
        ("client", "subjectAltName=DNS:client\nextendedKeyUsage=clientAuth\n"),
    ] {
        directory.write(&format!("{name}.ext"), extension);
        openssl(directory, &format!("req -new {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(
            directory,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days 30 -extfile {name}.ext"
            ),
        );
    }
}

fn tls_section(directory: &Directory, more: &str) -> (String, String) {
    certificates(directory);
    let at = directory.path().display();
    (format!("  tls:\n    certificate: {at}/server.pem\n    key: {at}/server.key\n{more}"), String::new())
}

/// Lays certificates of `debian` out as Docker has them, in a directory of their own.
fn certs_d(debian: &Debian, files: &[(&str, &str)]) -> Directory {
    let directory = Directory::new("certs.d");
    for (from, to) in files {
        let text = std::fs::read_to_string(debian.directory.path().join(from)).expect("a certificate");
        directory.write(&format!("{}/{to}", debian.host()), &text);
    }
    directory
}

fn knowing(certs: &Directory) -> Client {
    client_with(|settings| settings.certs_dirs = vec![certs.path().to_owned()])
}

#[tokio::test]
async fn over_tls_with_the_authority_of_certs_d() {
    let Some(debian) = Debian::start("tls", |directory| tls_section(directory, "")) else { return };
    let certs = certs_d(&debian, &[("ca.pem", "ca.crt")]);
    let repository = debian.repository(&knowing(&certs), "app", &AuthConfig::default()).await;
    there_and_back(&repository).await.expect("push and pull");

    let other = Directory::new("other");
    openssl(&other, "req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 30 -subj /CN=other");
    let other_authority = std::fs::read_to_string(other.path().join("c.pem")).expect("a certificate");
    let wrong = Directory::new("wrong");
    wrong.write(&format!("{}/ca.crt", debian.host()), &other_authority);
    let repository = debian.repository(&knowing(&wrong), "app", &AuthConfig::default()).await;
    let error = repository.tags().await.expect_err("another authority");
    let words = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert!(error.to_string().ends_with(words), "{error}");

    // On loopback, without any certificates in place, any certificate will do.
    let repository = debian.repository(&client(), "app", &AuthConfig::default()).await;
    assert_eq!(repository.tags().await.expect("unverified"), ["1"]);

    let hosts = Directory::new("hosts");
    let host = debian.host();
    let authority = debian.directory.path().join("ca.pem");
    hosts.write(
        "registry.invalid/hosts.toml",
        &format!("[host.\"https://{host}\"]\n  ca = \"{}\"\n", authority.display()),
    );
    let reference = Reference::parse("registry.invalid/app:1").expect("a reference");
    let client = knowing(&hosts);
    let mirrored = client.repository(&reference, &AuthConfig::default()).await.expect("a repository");
    assert_eq!(mirrored.tags().await.expect("from the mirror"), ["1"]);
}

#[tokio::test]
async fn over_tls_with_a_certificate_of_the_client() {
    let mutual = |directory: &Directory| {
        let more = format!("    clientcas:\n      - {}/ca.pem\n", directory.path().display());
        tls_section(directory, &more)
    };
    let Some(debian) = Debian::start("mutual", mutual) else { return };
    let files = [("ca.pem", "ca.crt"), ("client.pem", "client.cert"), ("client.key", "client.key")];
    let certs = certs_d(&debian, &files);
    let repository = debian.repository(&knowing(&certs), "app", &AuthConfig::default()).await;
    there_and_back(&repository).await.expect("push and pull");
    let without = certs_d(&debian, &files[..1]);
    let repository = debian.repository(&knowing(&without), "app", &AuthConfig::default()).await;
    let error = repository.tags().await.expect_err("no certificate");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let lonely = certs_d(&debian, &files[..2]);
    let reference = Reference::parse(&format!("{}/app", debian.host())).expect("a reference");
    let error = knowing(&lonely).repository(&reference, &AuthConfig::default()).await.expect_err("no key");
    assert!(
        error.to_string().contains("missing key client.key for client certificate client.cert"),
        "{error}"
    );
}

#[tokio::test]
async fn a_registry_in_the_clear_where_tls_is_wanted() {
    let Some(debian) = Debian::start("clear", |_| (String::new(), String::new())) else { return };
    // Certificates for the host make even loopback strict.
    let other = Directory::new("strict");
    openssl(&other, "req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 30 -subj /CN=other");
    let authority = std::fs::read_to_string(other.path().join("c.pem")).expect("a certificate");
    let certs = Directory::new("strict-certs.d");
    certs.write(&format!("{}/ca.crt", debian.host()), &authority);
    let repository = debian.repository(&knowing(&certs), "app", &AuthConfig::default()).await;
    let error = repository.resolve(&Which::Tag("1".to_owned())).await.expect_err("no TLS there");
    let host = debian.host();
    let words = format!(
        "Head \"https://{host}/v2/app/manifests/1\": http: server gave HTTP response to HTTPS client"
    );
    assert_eq!(error.to_string(), words);
}

fn base64url(bytes: &[u8]) -> String {
    api::registry::base64_encode(bytes).replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
}

/// A token for docker-registry: a JWT that the key of `token.pem` has signed (distribution, "token authentication: JWT").
fn token(directory: &Directory, access: &str) -> String {
    let certificate = directory.read("token.pem");
    let lines = certificate.lines().filter(|line| !line.starts_with("---"));
    let chain: String = lines.collect();
    let now = jiff::Timestamp::now().as_second();
    let head = format!(r#"{{"typ":"JWT","alg":"RS256","x5c":["{chain}"]}}"#);
    let claims = format!(
        r#"{{"iss":"kit","sub":"me","aud":"debian","exp":{},"nbf":{},"iat":{now},"jti":"1","access":[{access}]}}"#,
        now + 600,
        now - 600
    );
    let signed = format!("{}.{}", base64url(head.as_bytes()), base64url(claims.as_bytes()));
    directory.write("signed", &signed);
    openssl(directory, "dgst -sha256 -sign token.key -out signature signed");
    let signature = std::fs::read(directory.path().join("signature")).expect("a signature");
    format!("{signed}.{}", base64url(&signature))
}

#[tokio::test]
async fn with_tokens_of_a_realm() {
    let realm = testkit::Registry::start();
    let address = realm.host();
    let with_realm = |directory: &Directory| {
        openssl(
            directory,
            "req -x509 -newkey rsa:2048 -nodes -keyout token.key -out token.pem -days 30 -subj /CN=kit",
        );
        let bundle = directory.path().join("token.pem").display().to_string();
        let auth = format!(
            "auth:\n  token:\n    realm: http://{address}/token\n    service: debian\n    issuer: kit\n    rootcertbundle: {bundle}\n"
        );
        (String::new(), auth)
    };
    let Some(debian) = Debian::start("token", with_realm) else { return };
    let gives = |scope: &str, actions: &str| {
        let access = format!(r#"{{"type":"repository","name":"app","actions":[{actions}]}}"#);
        let body = format!(r#"{{"token":"{}","expires_in":600}}"#, token(&debian.directory, &access));
        let answer = testkit::Fault::Status(200, Vec::new(), body.into_bytes());
        realm.misbehave("GET", scope, u32::MAX, answer);
    };
    gives("scope=repository%3Aapp%3Apull%2Cpush", r#""pull","push""#);
    gives("scope=repository%3Aapp%3Apull", r#""pull""#);
    let repository = debian.repository(&client(), "app", &auth("me", "secret")).await;
    there_and_back(&repository).await.expect("push and pull");
    let shown = realm.seen();
    assert_eq!(shown.len(), 2, "one token for each scope");
    assert!(shown.iter().all(|seen| seen.header("authorization") == Some("Basic bWU6c2VjcmV0")));
    assert!(shown.iter().all(|seen| seen.target.contains("service=debian")));
    // A token that does not allow it is how a registry says that a repository is not for this user.
    let other = debian.repository(&client(), "other", &auth("me", "secret")).await;
    gives("scope=repository%3Aother%3Apull", r#""pull""#);
    let error = other.resolve(&Which::Tag("1".to_owned())).await.expect_err("not for this user");
    let host = debian.host();
    let words = format!(
        "pull access denied for {host}/other, repository does not exist or may require 'docker login'"
    );
    assert!(error.to_string().starts_with(&words), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
