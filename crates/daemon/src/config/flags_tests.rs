//! Every flag and key of dockerd: each is implemented, has nothing to act on, or is refused with words.

use super::flags::{FLAGS, Flag, Kind, Support, by_key, by_long};
use super::{Environment, load, reload};

/// Flag, letter, key of the file, and whether dockerd takes a change at SIGHUP.
const DOCKERD: &[(&str, &str, &str, bool)] = &[
    ("debug", "D", "debug", true),
    ("validate", "", "", false),
    ("tls", "", "tls", false),
    ("tlsverify", "", "tlsverify", false),
    ("tlscacert", "", "tlscacert", false),
    ("tlscert", "", "tlscert", false),
    ("tlskey", "", "tlskey", false),
    ("host", "H", "hosts", false),
    ("registry-mirror", "", "registry-mirrors", true),
    ("insecure-registry", "", "insecure-registries", true),
    ("storage-opt", "", "storage-opts", false),
    ("authorization-plugin", "", "authorization-plugins", true),
    ("exec-opt", "", "exec-opts", false),
    ("pidfile", "p", "pidfile", false),
    ("data-root", "", "data-root", false),
    ("exec-root", "", "exec-root", false),
    ("containerd", "", "containerd", false),
    ("cri-containerd", "", "cri-containerd", false),
    ("feature", "", "features", true),
    ("default-network-opt", "", "default-network-opts", false),
    ("mtu", "", "mtu", false),
    ("network-control-plane-mtu", "", "network-control-plane-mtu", false),
    ("network-diagnostic-port", "", "network-diagnostic-port", true),
    ("raw-logs", "", "raw-logs", false),
    ("log-level", "l", "log-level", false),
    ("log-format", "", "log-format", false),
    ("dns", "", "dns", false),
    ("dns-opt", "", "dns-opts", false),
    ("dns-search", "", "dns-search", false),
    ("host-gateway-ip", "", "host-gateway-ips", false),
    ("label", "", "labels", true),
    ("log-driver", "", "log-driver", false),
    ("log-opt", "", "log-opts", false),
    ("max-concurrent-downloads", "", "max-concurrent-downloads", true),
    ("max-concurrent-uploads", "", "max-concurrent-uploads", true),
    ("max-download-attempts", "", "max-download-attempts", true),
    ("shutdown-timeout", "", "shutdown-timeout", true),
    ("default-stop-timeout", "", "default-stop-timeout", true),
    ("swarm-default-advertise-addr", "", "swarm-default-advertise-addr", false),
    ("experimental", "", "experimental", false),
    ("metrics-addr", "", "metrics-addr", false),
    ("node-generic-resource", "", "node-generic-resources", false),
    ("containerd-namespace", "", "containerd-namespace", false),
    ("containerd-plugins-namespace", "", "containerd-plugins-namespace", false),
    ("default-runtime", "", "default-runtime", true),
    ("http-proxy", "", "http-proxy", false),
    ("https-proxy", "", "https-proxy", false),
    ("no-proxy", "", "no-proxy", false),
    ("cdi-spec-dir", "", "cdi-spec-dirs", false),
    ("nri-opts", "", "nri-opts", true),
    ("restart", "r", "", false),
    ("add-runtime", "", "runtimes", true),
    ("group", "G", "group", false),
    ("storage-driver", "s", "storage-driver", false),
    ("selinux-enabled", "", "selinux-enabled", false),
    ("default-ulimit", "", "default-ulimits", false),
    ("iptables", "", "iptables", false),
    ("ip6tables", "", "ip6tables", false),
    ("ip-forward", "", "ip-forward", false),
    ("ip-forward-no-drop", "", "ip-forward-no-drop", false),
    ("ip-masq", "", "ip-masq", false),
    ("ipv6", "", "ipv6", false),
    ("bip", "", "bip", false),
    ("bip6", "", "bip6", false),
    ("bridge", "b", "bridge", false),
    ("fixed-cidr", "", "fixed-cidr", false),
    ("fixed-cidr-v6", "", "fixed-cidr-v6", false),
    ("default-gateway", "", "default-gateway", false),
    ("default-gateway-v6", "", "default-gateway-v6", false),
    ("icc", "", "icc", false),
    ("ip", "", "ip", false),
    ("userland-proxy", "", "userland-proxy", false),
    ("userland-proxy-path", "", "userland-proxy-path", false),
    ("allow-direct-routing", "", "allow-direct-routing", false),
    ("bridge-accept-fwmark", "", "bridge-accept-fwmark", false),
    ("cgroup-parent", "", "cgroup-parent", false),
    ("userns-remap", "", "userns-remap", false),
    ("live-restore", "", "live-restore", true),
    ("init", "", "init", false),
    ("init-path", "", "init-path", false),
    ("cpu-rt-period", "", "cpu-rt-period", false),
    ("cpu-rt-runtime", "", "cpu-rt-runtime", false),
    ("seccomp-profile", "", "seccomp-profile", false),
    ("default-shm-size", "", "default-shm-size", true),
    ("no-new-privileges", "", "no-new-privileges", false),
    ("default-ipc-mode", "", "default-ipc-mode", true),
    ("default-address-pool", "", "default-address-pools", false),
    ("firewall-backend", "", "firewall-backend", false),
    ("rootless", "", "rootless", false),
    ("default-cgroupns-mode", "", "default-cgroupns-mode", true),
    ("version", "v", "", false),
    ("config-file", "", "", false),
    ("", "", "builder", false),
    ("", "", "min-api-version", false),
    ("", "", "proxies", false),
    ("", "", "host-gateway-ip", false),
    ("", "", "allow-nondistributable-artifacts", false),
    ("", "", "deprecated-key-path", false),
];

/// What dockerd takes at SIGHUP and this daemon at its start alone.
const AT_START: &[&str] = &["network-diagnostic-port", "nri-opts"];

fn found(long: &str, key: &str) -> &'static Flag {
    let flag = if long.is_empty() { by_key(key) } else { by_long(long) };
    flag.unwrap_or_else(|| panic!("--{long} {key:?} is not known"))
}

#[test]
fn every_flag_and_key_of_dockerd_is_known() {
    for (long, short, key, reloads) in DOCKERD {
        let flag = found(long, key);
        // The older form of a key is kept under the newer one.
        if *key == "host-gateway-ip" {
            assert_eq!(flag.key, "host-gateway-ips");
            continue;
        }
        assert_eq!((flag.long, flag.short, flag.key), (*long, *short, *key));
        let taken = reload::RELOADABLE.contains(&flag.name());
        assert_eq!(taken, *reloads && !AT_START.contains(&flag.name()), "--{long} at SIGHUP");
    }
}

/// A value that a flag of the kind takes.
fn value(kind: Kind) -> &'static str {
    match kind {
        Kind::Switch => "true",
        Kind::Number => "7",
        Kind::Map => "a=b",
        Kind::Text | Kind::List | Kind::Object => "a",
    }
}

#[test]
fn what_is_not_implemented_says_so() {
    for flag in FLAGS.iter().filter(|flag| !flag.long.is_empty()) {
        let ask = |value: &str| {
            let args = [format!("--{}={value}", flag.long)];
            load(&args, &Environment::default(), |_| Ok(None)).map(drop).map_err(|error| error.to_string())
        };
        match flag.support {
            Support::Yes => assert!(!flag.help.is_empty(), "--{} has no help", flag.long),
            Support::Idle(why) => assert_eq!((ask(value(flag.kind)), why.is_empty()), (Ok(()), false)),
            Support::Only(only) => {
                assert_eq!(ask(only), Ok(()), "--{}={only}", flag.long);
                let other =
                    if flag.kind == Kind::Switch && only == "true" { "false" } else { value(flag.kind) };
                let words = ask(other).expect_err(flag.long);
                assert!(words.contains(&format!("only {only} is")), "--{}: {words}", flag.long);
            }
            Support::No(why) => {
                let words = ask(value(flag.kind)).expect_err(flag.long);
                assert!(words.contains(why), "--{}: {words}", flag.long);
            }
        }
    }
}

#[test]
fn proxies_may_stand_in_an_object_of_their_own() {
    let file = |text: &str| {
        let text = text.as_bytes().to_vec();
        load(&[], &Environment::default(), |_| Ok(Some(text.clone())))
    };
    let config = file(r#"{"proxies": {"http-proxy": "http://p:1", "no-proxy": "a,b"}}"#).expect("proxies");
    let proxies = config.engine.proxies;
    assert_eq!((proxies.http.as_str(), proxies.except.as_str()), ("http://p:1", "a,b"));
    for text in [r#"{"proxies": {"mtu": 9}}"#, r#"{"proxies": {"x": "y"}}"#] {
        let words = file(text).expect_err("an unknown key").to_string();
        assert!(words.contains("don't match any configuration option"), "{words}");
    }
    assert!(file(r#"{"builder": {"gc": {"enabled": true}}, "deprecated-key-path": "x"}"#).is_ok());
}
