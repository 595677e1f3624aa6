//! What command lines and files mean, and why they are refused.

use super::address::Address;
use super::{Environment, load};

/// Prints what a command line and a file mean, or why they are refused.
fn check(args: &[&str], file: Option<&str>, expected: &str) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_string()).collect();
    let printed =
        match load(&args, &Environment::default(), |_| Ok(file.map(|text| text.as_bytes().to_vec()))) {
            Ok(config) => {
                let hosts: Vec<String> = config.hosts.iter().map(Address::to_string).collect();
                format!(
                    "{:?} {} {:?} {} {} {:?}",
                    config.action,
                    hosts.join(" "),
                    config.group,
                    config.data_root.display(),
                    config.versions.min,
                    config.log_level,
                )
            }
            Err(error) => error.to_string(),
        };
    assert_eq!(printed, expected, "{args:?} {file:?}");
}

const PLAIN: &str = "Run unix:///var/run/docker.sock Default(\"docker\") /var/lib/berth 1.24 Info";

#[test]
fn flags_are_read() {
    check(&[], None, PLAIN);
    check(&["-D"], None, &PLAIN.replace("Info", "Debug"));
    check(&["--debug=false", "-l", "warn"], None, &PLAIN.replace("Info", "Warn"));
    check(
        &[
            "-H",
            "unix:///a",
            "-Hunix:///b",
            "--host=tcp://:1",
            "--tls=false",
            "-G=wheel",
            "--data-root",
            "/d",
        ],
        None,
        "Run unix:///a unix:///b tcp://127.0.0.1:1 Named(\"wheel\") /d 1.24 Info",
    );
    check(&["--validate"], None, &PLAIN.replace("Run", "Validate"));
    check(&["-Dv"], None, &PLAIN.replace("Run", "Version").replace("Info", "Debug"));
}

#[test]
fn defaults_for_containers_reach_the_engine() {
    let args = [
        "--bridge=br9",
        "--bip=10.9.0.1/24",
        "--mtu=1400",
        "--icc=false",
        "--cgroup-parent=/x",
        "--default-shm-size=1g",
        "--default-stop-timeout=3",
        "--log-opt",
        "max-size=1m",
        "--init",
        "--dns=9.9.9.9",
    ];
    let args: Vec<String> = args.map(str::to_owned).into();
    let config = load(&args, &Environment::default(), |_| Ok(None)).expect("good flags").engine;
    let bridge = &config.bridge;
    assert_eq!((bridge.name.as_deref(), bridge.address.as_deref()), (Some("br9"), Some("10.9.0.1/24")));
    assert_eq!((bridge.mtu, bridge.inter_container, bridge.masquerade), (1400, false, true));
    assert_eq!(
        (config.cgroup_parent.as_str(), config.default_shm_size, config.default_stop_timeout),
        ("/x", 1 << 30, 3)
    );
    assert_eq!(config.log_opts, [("max-size".to_owned(), "1m".to_owned())]);
    assert_eq!((config.init, config.dns), (true, vec!["9.9.9.9".to_owned()]));
    check(&["--mtu=-1"], None, "--mtu \"-1\": it must be a whole number");
    check(&["--default-shm-size=much"], None, "--default-shm-size \"much\": it must be a size such as 64m");
}

#[test]
fn wrong_flags_are_refused() {
    check(&["--no-such"], None, "unknown flag: --no-such\nSee 'berth daemon --help'.");
    check(&["-Dx"], None, "unknown shorthand flag: 'x' in -x\nSee 'berth daemon --help'.");
    check(&["--data-root"], None, "flag needs an argument: --data-root\nSee 'berth daemon --help'.");
    check(&["run"], None, "the daemon takes no arguments, only flags: \"run\"\nSee 'berth daemon --help'.");
    check(&["--data-root=d"], None, "--data-root must be an absolute path: \"d\"");
    check(
        &["--debug=maybe"],
        None,
        "invalid argument \"maybe\" for \"--debug\" flag: invalid boolean value \"maybe\"\nSee 'berth daemon --help'.",
    );
    check(&["-l", "loud"], None, "invalid logging level: loud");
    check(&["--init-path=/x"], None, "--init-path cannot be used: the init program is built in");
    check(&["--iptables=false"], None, "--iptables=false is not implemented: only true is");
    check(&["--iptables"], None, PLAIN);
    check(
        &["-H", "tcp://0.0.0.0:2375"],
        None,
        "refusing to listen on tcp://0.0.0.0:2375 without TLS: whoever can connect there would be root on this \
         machine. Add --tlsverify with --tlscacert, --tlscert and --tlskey, or use a unix socket and SSH (docker -H \
         ssh://…), or add --tls=false if only trusted users can connect",
    );
}

#[test]
fn the_file_is_read() {
    check(&[], Some(""), PLAIN);
    check(&[], Some("\u{feff}{}"), PLAIN);
    check(
        &["-D"],
        Some(
            r#"{"hosts":["unix:///a"],"data-root":"/d","min-api-version":"1.40","shutdown-timeout":3,"group":null}"#,
        ),
        "Run unix:///a Default(\"docker\") /d 1.40 Debug",
    );
}

#[test]
fn wrong_files_are_refused() {
    let refused = |args: &[&str], file: &str, reason: &str| {
        let prefix = "unable to configure the daemon with file /etc/docker/daemon.json: ";
        check(args, Some(file), &format!("{prefix}{reason}"));
    };
    refused(
        &[],
        r#"{"debug":true,"nope":1,"nor":2}"#,
        "the following directives don't match any configuration option: nope, nor",
    );
    refused(
        &["--debug=false", "-H", "unix:///a"],
        r#"{"debug":true,"hosts":["unix:///b","unix:///c"]}"#,
        "the following directives are specified both as a flag and in the configuration file: debug: (from flag: \
         false, from file: true), host: (from flag: unix:///a, from file: unix:///b,unix:///c)",
    );
    refused(&[], r#"{"debug":"true"}"#, "debug: must be true or false");
    refused(&[], r#"{"hosts":"unix:///a"}"#, "hosts: must be a list of strings");
    refused(&[], "[]", "must be a JSON object");
    refused(&[], "{", "invalid JSON: EOF while parsing an object at line 1 column 1");
    check(
        &[],
        Some(r#"{"live-restore":true,"storage-driver":"btrfs"}"#),
        "--storage-driver=btrfs is not implemented: only overlayfs is",
    );
    check(
        &[],
        Some(r#"{"min-api-version":"1.20"}"#),
        "invalid minimum API version (1.20): must be between 1.24 and 1.57",
    );
    check(&["--config-file", "/nope"], None, "unable to configure the daemon with file /nope: no such file");
}

/// What the certificates of a command line are, and the warnings.
fn check_tls(args: &[&str], environment: &Environment, expected: &str) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_string()).collect();
    let printed = match load(&args, environment, |_| Ok(None)) {
        Ok(config) => {
            let files = config.tls.map(|tls| {
                let shown = [&tls.ca, &tls.cert, &tls.key].map(|path| path.display().to_string());
                format!("verify {} {}", tls.verify, shown.join(" "))
            });
            let warned = config.engine.warnings.len();
            format!("{} warnings {warned}", files.unwrap_or_default()).trim().to_owned()
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(printed, expected, "{args:?}");
}

#[test]
fn certificates_are_found() {
    let plain = Environment { certificates: "/c".into(), ..Environment::default() };
    let verified = Environment { tls_verify: true, ..plain.clone() };
    let usual = "/c/ca.pem /c/cert.pem /c/key.pem";
    check_tls(&[], &plain, "warnings 0");
    check_tls(&["--tls=false", "-H", "tcp://"], &plain, "warnings 1");
    check_tls(&["--tls", "-H", "tcp://"], &plain, &format!("verify true {usual} warnings 0"));
    check_tls(&["--tlsverify=false", "-H", "tcp://"], &plain, &format!("verify false {usual} warnings 1"));
    check_tls(
        &["--tlsverify", "--tlscacert=/a", "--tlscert=/b", "--tlskey=/k"],
        &plain,
        "verify true /a /b /k warnings 0",
    );
    check_tls(&["-H", "tcp://"], &verified, &format!("verify true {usual} warnings 0"));
    check_tls(
        &["--tls=false", "--tlsverify"],
        &plain,
        "--tls=false and --tlsverify contradict each other: leave one out",
    );
    let variables = |name: &str| match name {
        "HOME" => Some("/root".to_owned()),
        "DOCKER_TLS_VERIFY" => Some(String::new()),
        _ => None,
    };
    let read = Environment::read(variables);
    assert_eq!((read.tls_verify, read.certificates), (false, "/root/.docker".into()));
}

#[test]
fn defaults_that_are_words_objects_and_files() {
    let file = r#"{"default-ulimits":{"nofile":{"Name":"nofile","Hard":20,"Soft":10}},"host-gateway-ip":"10.0.0.1",
        "features":{"buildkit":true},"labels":["b=2","a=1"],"default-cgroupns-mode":"host","log-format":"json"}"#;
    let args = ["--default-ulimit=nproc=5:6", "--seccomp-profile=/p"].map(str::to_owned);
    let load_with = |args: &[String], file: &str| {
        load(args, &Environment::default(), |path| {
            Ok(Some(if path == "/p" { b"{}".to_vec() } else { file.as_bytes().to_vec() }))
        })
    };
    assert!(load_with(&args, file).is_err(), "said twice");
    let config = load_with(&args[1..], file).expect("a good file").engine;
    let limits: Vec<_> = config.default_ulimits.iter().map(|limit| (limit.soft, limit.hard)).collect();
    assert_eq!(
        (limits, config.host_gateway),
        (vec![(10, 20)], vec!["10.0.0.1".parse().expect("an address")])
    );
    assert_eq!(
        (config.labels, config.features["buildkit"]),
        (vec!["a=1".to_owned(), "b=2".to_owned()], true)
    );
    assert_eq!(config.default_cgroupns_mode.as_deref(), Some("host"));
    assert!(matches!(config.seccomp_profile, engine::SeccompProfile::Custom { text, .. } if text == "{}"));
    let refused = |file: &str, expected: &str| {
        let found = load_with(&[], file).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(found, Err(expected.to_owned()));
    };
    refused(r#"{"labels":["a"]}"#, "bad attribute format: a");
    refused(r#"{"labels":["a=1","a=2"]}"#, "conflict labels for a=2 and a=1");
    refused(r#"{"default-ipc-mode":"host"}"#, "--default-ipc-mode \"host\": it must be private or shareable");
    refused(r#"{"max-concurrent-downloads":-1}"#, "invalid max concurrent downloads: -1");
    refused(
        r#"{"exec-opts":["native.cgroupdriver=none"]}"#,
        "--exec-opt \"native.cgroupdriver=none\": it must be cgroupfs or systemd",
    );
}
