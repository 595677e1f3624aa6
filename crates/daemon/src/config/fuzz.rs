//! What the administrator writes, fed with mutated seeds.

use super::address::Address;
use super::{command_line, file};

#[test]
fn daemon_json() {
    let seeds = [
        r#"{"data-root":"/srv","hosts":["unix:///run/x.sock","tcp://127.0.0.1:2376"],"tlsverify":true,"mtu":1400}"#,
        r#"{"default-ulimits":{"nofile":{"Name":"nofile","Hard":64000,"Soft":64000}},"default-address-pools":[{"base":"10.0.0.0/8","size":24}]}"#,
        "\u{feff}{\"log-opts\":{\"max-size\":\"10m\"},\"runtimes\":{\"crun\":{\"path\":\"/usr/bin/crun\",\"runtimeArgs\":[\"-d\"]}},\"proxies\":{\"no-proxy\":\"a\"}}",
        r#"{"insecure-registries":null,"registry-mirrors":["https://a"],"max-concurrent-downloads":3,"features":{"x":true}}"#,
    ];
    fuzz::bytes("daemon_json", &seeds, file::parse);
}

#[test]
fn command_lines() {
    let seeds =
        ["--data-root\n/srv\n-H\nunix:///x\n--debug", "--mtu=1400\n--tls=false\n-D", "--dns\n8.8.8.8\n--\nx"];
    fuzz::text("command_lines", &seeds, |text| {
        let words: Vec<String> = text.split('\n').map(str::to_owned).collect();
        command_line::parse(&words)
    });
}

#[test]
fn addresses() {
    let seeds = [
        "unix:///run/berth.sock",
        "tcp://[::1]:2376",
        "tcp://:2375",
        "fd://3",
        "fd://",
        "tcp://127.0.0.1:/x",
    ];
    fuzz::text("addresses", &seeds, |text| {
        let plain = Address::parse(text, false);
        assert_eq!(plain.is_ok(), Address::parse(text, true).is_ok(), "{text:?}");
        plain
    });
}
