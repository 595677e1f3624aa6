//! TLS between our own client and the server: who is let in, and who is not. The certificates in `certificates/` were
//! made for these tests and open nothing else.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::{Address, Client, TlsFiles};
use daemon::server::dispatch::{Dispatcher, Identity};
use daemon::server::listener::Listener;
use daemon::server::negotiate::Versions;
use daemon::server::reply;
use daemon::server::router::Router;
use daemon::server::{body::Body, serve, tls};
use http::{Method, StatusCode};
use tokio::sync::watch;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

/// Serves a ping over TLS on a port of its own.
async fn server(verify: bool) -> (SocketAddr, watch::Sender<bool>) {
    let (cert, key, ca) = (file("server.pem"), file("server-key.pem"), file("ca.pem"));
    let files = tls::Files { cert: &cert, key: &key, clients: verify.then_some(ca.as_path()) };
    let acceptor = tls::acceptor(&files).expect("certificates");
    let std_listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = std_listener.local_addr().expect("bound");
    // As a service manager hands it over.
    let listener = Listener::inherited(3, std_listener.into(), Some(acceptor)).expect("a listening socket");
    let mut router = Router::new();
    for method in [Method::HEAD, Method::GET] {
        router.add(method, "/_ping", |_| async {
            Ok(reply::with_body(StatusCode::OK, "text/plain", Body::Empty))
        });
    }
    let identity = Identity { version: "1".into(), experimental: false };
    let dispatcher = Dispatcher::new(router, Versions::default(), identity, ());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(serve::serve(vec![listener], Arc::new(dispatcher), 8, stopped));
    (address, stop)
}

/// What comes of a ping by a client with these certificates.
async fn ping(address: SocketAddr, files: Option<TlsFiles>) -> String {
    let address = Address::parse(&format!("tcp://{address}"), true).expect("an address");
    let mut client = Client::new(address, "test");
    if let Some(files) = files {
        client = client.with_tls(&files).expect("certificates");
    }
    match client.negotiate().await {
        Ok(ping) => format!("{:?}", ping.api_version.map(|version| version.to_string())),
        Err(error) => error.to_string(),
    }
}

fn files(ca: &str, name: Option<&str>, verify: bool) -> Option<TlsFiles> {
    let identity = name.map(|name| (file(&format!("{name}.pem")), file(&format!("{name}-key.pem"))));
    Some(TlsFiles { verify, ca: Some(file(ca)), identity })
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}

const LET_IN: &str = "Some(\"1.57\")";

#[test]
fn clients_with_a_certificate_of_the_ca_are_let_in_and_nobody_else() {
    run(async {
        let (address, _stop) = server(true).await;
        assert_eq!(ping(address, files("ca.pem", Some("client"), true)).await, LET_IN);
        assert_eq!(ping(address, files("other.pem", Some("client"), false)).await, LET_IN);
        for (who, files) in [
            ("nobody", files("ca.pem", None, true)),
            ("a stranger", files("ca.pem", Some("stranger"), true)),
            ("a server", files("ca.pem", Some("server"), true)),
            ("a client of another CA's server", files("other.pem", Some("client"), true)),
            ("without TLS", None),
        ] {
            let found = ping(address, files).await;
            assert!(found.starts_with("error during connect: "), "{who}: {found}");
        }
    });
}

#[test]
fn without_verification_anybody_is_let_in() {
    run(async {
        let (address, _stop) = server(false).await;
        assert_eq!(ping(address, files("ca.pem", None, true)).await, LET_IN);
        assert_eq!(ping(address, files("ca.pem", Some("stranger"), true)).await, LET_IN);
    });
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let (cert, key, missing) = (file("server.pem"), file("server-key.pem"), file("no-such.pem"));
    let check = |files: tls::Files<'_>, part: &str| {
        let error = tls::acceptor(&files).err().expect("refused").to_string();
        assert!(error.contains(part), "{error}");
    };
    check(tls::Files { cert: &missing, key: &key, clients: None }, "name it with --tlscert");
    check(tls::Files { cert: &cert, key: &missing, clients: None }, "name it with --tlskey");
    check(tls::Files { cert: &key, key: &key, clients: None }, "there is none in it");
    check(tls::Files { cert: &cert, key: &key, clients: Some(&missing) }, "name it with --tlscacert");
    check(tls::Files { cert: &file("client.pem"), key: &key, clients: None }, "certificate and key");
}
