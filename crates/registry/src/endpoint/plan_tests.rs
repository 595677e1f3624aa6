//! Golden tests of the choice of endpoints: settings and files in, one line for each endpoint out.

use super::*;
use crate::endpoint::hosts_toml::HostsToml;
use crate::endpoint::registries_conf::RegistriesConf;

#[derive(Default)]
struct Case {
    mirrors: &'static [&'static str],
    insecure: &'static [&'static str],
    hosts_toml: &'static str,
    registries_conf: &'static str,
    addresses: &'static [&'static str],
    has_certificates: bool,
    by_digest: bool,
}

fn check(name: &str, case: &Case, expected: &[&str]) {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let settings =
        Settings { mirrors: list(case.mirrors), insecure: list(case.insecure), ..Settings::default() };
    let hosts = HostsToml::parse(case.hosts_toml).expect("hosts.toml");
    let file = Path::new("/etc/containers/registries.conf");
    let facts = Facts {
        hosts_toml: (!case.hosts_toml.is_empty()).then(|| (PathBuf::from("/certs.d/x"), hosts)),
        registries_conf: RegistriesConf::parse(file, case.registries_conf).expect("registries.conf"),
        addresses: case.addresses.iter().map(|address| address.parse().expect("an address")).collect(),
        has_certificates: case.has_certificates,
    };
    let (domain, path) = name.split_once('/').expect("a name");
    let planned = match plan(Wanted { domain, path, by_digest: case.by_digest }, &settings, &facts) {
        Ok(endpoints) => endpoints.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    };
    assert_eq!(planned, expected, "{name}");
}

#[test]
fn docker_io_is_asked_at_its_own_host_behind_its_mirrors() {
    check(
        "docker.io/library/debian",
        &Case::default(),
        &[
            "https://registry-1.docker.io/v2/library/debian pull,resolve,push origin certs.d/registry-1.docker.io",
        ],
    );
    let mirrors = &["http://m.example:5000/", "https://n.example/cache"];
    check(
        "docker.io/library/debian",
        &Case { mirrors, ..Case::default() },
        &[
            "http://m.example:5000/v2/library/debian pull,resolve ns=docker.io certs.d/m.example:5000",
            "https://n.example/cache/v2/library/debian pull,resolve ns=docker.io certs.d/n.example",
            "https://registry-1.docker.io/v2/library/debian pull,resolve,push origin certs.d/registry-1.docker.io",
        ],
    );
    check(
        "quay.io/x",
        &Case { mirrors, ..Case::default() },
        &["https://quay.io/v2/x pull,resolve,push origin certs.d/quay.io"],
    );
}

#[test]
fn mirrors_that_are_no_addresses_are_refused() {
    let check = |mirrors: &'static [&'static str], words: &str| {
        check("docker.io/x", &Case { mirrors, ..Case::default() }, &[words]);
    };
    check(&["ftp://m"], "registry-mirrors: invalid mirror: unsupported scheme \"ftp\" in \"ftp://m\"");
    check(&["https://u:p@m"], "registry-mirrors: invalid mirror: username/password not allowed in URI");
    check(
        &["https://m/?x"],
        "registry-mirrors: invalid mirror: query or fragment at the end of \"https://m/?x\"",
    );
}

#[test]
fn what_is_listed_or_on_this_machine_needs_no_certificate() {
    let insecure = |host: &str, path: &str| {
        format!("https|http://{host}/v2/{path} pull,resolve,push origin unverified certs.d/{host}")
    };
    let secure =
        |host: &str, path: &str| format!("https://{host}/v2/{path} pull,resolve,push origin certs.d/{host}");
    let case = Case { insecure: &["a.example:5000", "10.0.0.0/8"], ..Case::default() };
    check("a.example:5000/x", &case, &[&insecure("a.example:5000", "x")]);
    check("a.example/x", &case, &[&secure("a.example", "x")]);
    check("10.1.2.3:5000/x", &case, &[&insecure("10.1.2.3:5000", "x")]);
    check("11.1.2.3:5000/x", &case, &[&secure("11.1.2.3:5000", "x")]);
    check("localhost:5000/x", &case, &[&insecure("localhost:5000", "x")]);
    check("127.0.0.2:5000/x", &case, &[&insecure("127.0.0.2:5000", "x")]);
    check("[::1]:5000/x", &case, &[&insecure("[::1]:5000", "x")]);
    let resolved = Case { addresses: &["10.9.9.9"], insecure: &["10.0.0.0/8"], ..Case::default() };
    check("b.example/x", &resolved, &[&insecure("b.example", "x")]);
    let certified = Case { has_certificates: true, ..Case::default() };
    check("localhost:5000/x", &certified, &[&secure("localhost:5000", "x")]);
}

#[test]
fn hosts_toml_names_hosts_for_any_registry() {
    let hosts_toml = r#"
        server = "https://registry.example"
        [host."https://m.example/v2/proxy"]
          capabilities = ["pull"]
          override_path = true
          ca = "ca.pem"
          client = [["/abs/a.cert", "a.key"]]
          [host."https://m.example/v2/proxy".header]
            x-key = "k"
        [host."http://n.example:5000"]
          skip_verify = true
    "#;
    check(
        "registry.example/team/app",
        &Case { hosts_toml, ..Case::default() },
        &[
            "https://m.example/v2/proxy/team/app pull ns=registry.example certs.d/m.example \
             ca=/certs.d/x/ca.pem client=/abs/a.cert+/certs.d/x/a.key header=x-key",
            "http://n.example:5000/v2/team/app pull,resolve,push ns=registry.example unverified \
             certs.d/n.example:5000",
            "https://registry.example/v2/team/app pull,resolve,push origin certs.d/registry.example",
        ],
    );
    check(
        "other.example/app",
        &Case { hosts_toml: "[host.\"m.example\"]\n", ..Case::default() },
        &[
            "https://m.example/v2/app pull,resolve,push ns=other.example certs.d/m.example",
            "https://other.example/v2/app pull,resolve,push origin certs.d/other.example",
        ],
    );
}

#[test]
fn registries_conf_rewrites_mirrors_and_blocks() {
    let registries_conf = r#"
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "m.example:5000/hub"
        insecure = true
        [[registry.mirror]]
        location = "d.example"
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "old.example/team"
        location = "new.example/moved"
        [[registry]]
        location = "bad.example"
        blocked = true
    "#;
    let case = Case { registries_conf, ..Case::default() };
    let mirror =
        "https|http://m.example:5000/v2/hub/library/debian pull,resolve unverified certs.d/m.example:5000";
    let hub = "https://registry-1.docker.io/v2/library/debian pull,resolve,push origin certs.d/registry-1.docker.io";
    check("docker.io/library/debian", &case, &[mirror, hub]);
    check(
        "docker.io/library/debian",
        &Case { registries_conf, by_digest: true, ..Case::default() },
        &[mirror, "https://d.example/v2/library/debian pull,resolve certs.d/d.example", hub],
    );
    check(
        "old.example/team/app",
        &case,
        &["https://new.example/v2/moved/app pull,resolve,push certs.d/new.example"],
    );
    check("bad.example/x", &case, &["registry bad.example is blocked in /etc/containers/registries.conf"]);
}
