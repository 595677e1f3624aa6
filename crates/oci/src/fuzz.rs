//! What parses text of others, fed with mutated seeds.

use crate::image::{Document, ImageConfig, media_type};
use crate::{AnyReference, Digest, Platform, Reference};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn reference() {
    let pinned = format!("localhost:5000/a_b/c--d@{DIGEST}");
    let seeds =
        ["debian:12", "Docker.io/library/debian", "[::1]:5000/x:latest", "a.b/c/d.e__f:T_1.2-3", &pinned];
    fuzz::text("reference", &seeds, |text| {
        let parsed = Reference::parse(text);
        if let Ok(reference) = &parsed {
            // What is shown means what was read.
            assert_eq!(Reference::parse(&reference.to_string()).as_ref(), Ok(reference));
            assert_eq!(Reference::parse(&reference.familiar()).as_ref(), Ok(reference));
            assert!(
                !reference.to_string().contains("//")
                    && !reference.path().split('/').any(|part| part == "..")
            );
        }
        drop(AnyReference::parse(text));
        parsed
    });
}

#[test]
fn digest() {
    let long = format!("sha512:{}", "0f".repeat(64));
    fuzz::text("digest", &[DIGEST, &long, "sha256:", "md5:00"], |text| {
        let parsed = text.parse::<Digest>();
        if let Ok(digest) = &parsed {
            assert_eq!(digest.to_string(), text);
            assert!(!digest.hex().contains(['/', '.']));
        }
        parsed
    });
}

#[test]
fn platform() {
    fuzz::text("platform", &["linux/amd64", "linux/arm/v7", "windows(10.0.17763)/amd64", "arm64"], |text| {
        let parsed = text.parse::<Platform>();
        if let Ok(platform) = &parsed {
            assert_eq!(
                platform.to_string().parse::<Platform>().as_ref().map(Platform::to_string),
                Ok(platform.to_string())
            );
            assert!(platform.rank(platform).is_some(), "every platform is good enough for itself");
        }
        parsed
    });
}

#[test]
fn document() {
    let part = format!(r#"{{"mediaType":"{}","digest":"{DIGEST}","size":7}}"#, media_type::OCI_MANIFEST);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{part},"layers":[{part},{part}],"annotations":{{"a":"b"}}}}"#,
        media_type::OCI_MANIFEST
    );
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{{"digest":"{DIGEST}","mediaType":"{}","size":7,"platform":{{"os":"linux","architecture":"arm","variant":"v7"}}}}]}}"#,
        media_type::OCI_INDEX,
        media_type::OCI_MANIFEST
    );
    for said in [media_type::OCI_MANIFEST, media_type::OCI_INDEX, "application/json", ""] {
        fuzz::text("document", &[&manifest, &index], |text| Document::parse(text.as_bytes(), said));
    }
}

#[test]
fn config() {
    let seeds = [
        r#"{"architecture":"amd64","os":"linux","created":"2026-01-02T03:04:05Z","config":{"Cmd":["/bin/sh"],"Env":["A=b"],
            "Labels":{"a":"b"},"ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"StopSignal":"SIGINT",
            "Healthcheck":{"Test":["CMD","x"],"Interval":1000000000}},
            "rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"x","empty_layer":true}]}"#,
        r#"{"os":"linux","architecture":"arm64","variant":"v8","os.version":"","os.features":["x"],"config":null,"rootfs":{"type":"layers","diff_ids":null}}"#,
    ];
    fuzz::text("config", &seeds, |text| serde_json::from_str::<ImageConfig>(text));
}

#[test]
fn spec() {
    let seed = r#"{"ociVersion":"1.2.0","root":{"path":"rootfs","readonly":true},"hostname":"h",
        "process":{"terminal":false,"user":{"uid":0,"gid":0},"args":["sh"],"env":["A=b"],"cwd":"/","rlimits":[{"type":"RLIMIT_NOFILE","hard":1,"soft":1}],
            "capabilities":{"bounding":["CAP_KILL"]}},
        "mounts":[{"destination":"/proc","type":"proc","source":"proc","options":["nosuid"]}],
        "linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/x"}],"uidMappings":[{"containerID":0,"hostID":1,"size":2}],
            "resources":{"devices":[{"allow":false,"access":"rwm","major":-1}],"memory":{"limit":1},"cpu":{"quota":-1},"pids":{"limit":3}},
            "seccomp":{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}}}"#;
    fuzz::text("spec", &[seed], |text| serde_json::from_str::<crate::runtime::Spec>(text));
}
