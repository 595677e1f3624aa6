//! What parses answers and files of others, fed with mutated seeds.

use std::path::Path;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};

use crate::Proxies;
use crate::auth::challenge;
use crate::endpoint::{hosts_toml::HostsToml, registries_conf::RegistriesConf};

#[test]
fn challenges() {
    let seeds = [
        "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:library/debian:pull\"",
        "Basic realm=\"a \\\"quoted\\\" word\", charset=UTF-8, Bearer realm=x",
        "Negotiate abc==, NTLM",
    ];
    fuzz::text("challenges", &seeds, |text| {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_str(text).ok()?);
        challenge::choose(&headers)
    });
}

#[test]
fn hosts_toml() {
    let seed = "server = \"https://docker.io\"\n[host.\"https://mirror:5000/v2\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
        ca = \"/etc/ca.pem\"\nclient = [[\"/a.cert\", \"/a.key\"]]\nskip_verify = true\noverride_path = true\n\
        dial_timeout = \"1s\"\n[host.\"https://mirror:5000/v2\".header]\nx-a = [\"b\", \"c\"]\n";
    fuzz::text("hosts_toml", &[seed], HostsToml::parse);
}

#[test]
fn registries_conf() {
    let seed = "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = \"permissive\"\n[[registry]]\nprefix = \"*.example.com/a\"\n\
        location = \"internal/b\"\ninsecure = true\nblocked = false\n[[registry.mirror]]\nlocation = \"m:5000/x\"\n\
        pull-from-mirror = \"digest-only\"\n[aliases]\nx = \"docker.io/library/x\"\n";
    fuzz::text("registries_conf", &[seed], |text| RegistriesConf::parse(Path::new("it"), text));
}

#[test]
fn proxies() {
    let seeds = [
        "http://user:pass%20word@proxy:3128",
        "https://[::1]/",
        "10.0.0.0/8,.example.com,*.x:443,localhost,*",
        "socks5://h",
    ];
    fuzz::text("proxies", &seeds, |text| Proxies::new(text, text, text));
}
