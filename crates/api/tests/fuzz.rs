//! What clients send, fed with mutated seeds: bodies, filters, times, keys and streams.

use api::filters::Filters;
use api::frame::Decoder;

/// Bodies with something of every kind in them.
const CREATE: &str = r#"{"Hostname":"h","Image":"debian","Cmd":["a",null],"Entrypoint":"x","Env":["A=1"],"ExposedPorts":{"80/tcp":{}},
    "Volumes":{"/v":{}},"Labels":{"a":"b"},"Healthcheck":{"Test":["CMD","x"],"Interval":1000000,"Retries":3},"StopTimeout":3,
    "HostConfig":{"Binds":["/a:/b:ro"],"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},"Memory":9007199254740993,
    "RestartPolicy":{"Name":"always","MaximumRetryCount":0},"NetworkMode":"host","Mounts":[{"Type":"bind","Source":"/a","Target":"/b",
    "BindOptions":{"Propagation":"rslave"}}],"Ulimits":[{"Name":"nofile","Soft":1,"Hard":2}],"Devices":[{"PathOnHost":"/dev/null"}],
    "LogConfig":{"Type":"json-file","Config":{"max-size":"1m"}},"StorageOpt":{"size":"1G"},"Tmpfs":{"/t":"size=1m"}},
    "NetworkingConfig":{"EndpointsConfig":{"n":{"IPAMConfig":{"IPv4Address":"10.0.0.2"},"Aliases":["a"],"DriverOpts":null}}}}"#;
const NETWORK: &str = r#"{"Name":"n","Driver":"bridge","EnableIPv6":true,"Internal":false,"IPAM":{"Driver":"default","Config":[
    {"Subnet":"10.0.0.0/24","Gateway":"10.0.0.1","IPRange":"10.0.0.0/25","AuxiliaryAddresses":{"a":"10.0.0.9"}}]},"Options":{"a":"b"}}"#;

#[test]
fn bodies() {
    let volume = r#"{"Name":"v","Driver":"local","DriverOpts":{"type":"tmpfs"},"Labels":null}"#;
    let exec = r#"{"AttachStdin":true,"Cmd":["sh"],"Env":["A=1"],"ConsoleSize":[24,80],"Privileged":false}"#;
    let auth = r#"{"username":"u","password":"p","serveraddress":"https://r:5000/","identitytoken":""}"#;
    let deep = "[".repeat(5000);
    fuzz::text("bodies", &[CREATE, NETWORK, volume, exec, auth, "null", "{}", &deep], |text| {
        let bytes = text.as_bytes();
        let create = api::json::from_slice::<api::container_create::CreateRequest>(bytes).is_ok();
        let network = api::json::from_slice::<api::network::CreateRequest>(bytes).is_ok();
        let volume = api::json::from_slice::<api::volume::CreateRequest>(bytes).is_ok();
        let exec = api::json::from_slice::<api::exec::ExecCreateRequest>(bytes).is_ok();
        let auth = api::json::from_slice::<api::registry::AuthConfig>(bytes).is_ok();
        [create, network, volume, exec, auth].iter().fold(0_usize, |found, is| found << 1 | usize::from(*is))
    });
}

#[test]
fn filters() {
    let seeds = [
        r#"{"label":{"a=b":true,"c":true},"status":{"running":true}}"#,
        r#"{"label":["a=b"],"dangling":["1"]}"#,
        r#"{"until":{"10m":false}}"#,
        "null",
        "",
    ];
    fuzz::text("filters", &seeds, |text| {
        let filters = Filters::parse(text);
        if let Ok(filters) = &filters {
            let again = Filters::parse(&filters.to_parameter()).expect("what was written can be read");
            assert_eq!(again.keys().collect::<Vec<_>>(), filters.keys().collect::<Vec<_>>());
            drop(filters.validate(&["label", "status"]));
            drop(filters.bool_value("dangling"));
        }
        filters
    });
}

#[test]
fn parameters() {
    let seeds =
        ["true", "0", "1h2m3.5s", "-9223372036854775808ns", "ctrl-p,ctrl-q", "ctrl-@,a", "1.000000001"];
    fuzz::text("parameters", &seeds, |text| {
        let found = [
            api::query::strict_bool(text).is_some(),
            api::query::duration_nanos(text).is_some(),
            api::detach_keys::parse(text).is_some(),
        ];
        found.iter().fold(0_usize, |found, is| found << 1 | usize::from(*is))
    });
}

#[test]
fn frames() {
    let seeds: [&[u8]; 4] = [
        b"\x01\0\0\0\0\0\0\x03abc\x02\0\0\0\0\0\0\x01d",
        b"\x01\0\0\0\0\0\0\0",
        b"\x09\0\0\0\0\0\0\x01x",
        b"\x01\0\0\0\xff\xff\xff\xff",
    ];
    fuzz::bytes("frames", &seeds, |stream| {
        let take = |size: usize| {
            let (mut decoder, mut payload) = (Decoder::default(), Vec::new());
            let mut all = Ok(());
            for piece in stream.chunks(size) {
                all = decoder.push(piece, |stream, part| payload.push((stream, part.to_vec())));
                if all.is_err() {
                    break;
                }
            }
            let bytes: usize = payload.iter().map(|(_, part)| part.len()).sum();
            (all, bytes, decoder.is_between_frames())
        };
        let (whole, in_pieces) = (take(usize::MAX), take(3));
        assert_eq!(whole.0.is_ok(), in_pieces.0.is_ok());
        if whole.0.is_ok() {
            assert_eq!((whole.1, whole.2), (in_pieces.1, in_pieces.2));
        }
        whole.0
    });
}
