//! Texts inside of requests, fed with mutated seeds.

use super::{id_map, mounts, ports};
use crate::container::{logging, signal};

#[test]
fn texts_of_requests() {
    let seeds = [
        "/a:/b:ro,z,rslave",
        "name:/x:nocopy",
        "/only",
        "80/tcp",
        "8000-9000",
        "53/udp",
        "SIGRTMIN+3",
        "kill",
        "-1",
        "10m",
        "0.5k",
        "uids=0-100000-65536;gids=0-1-2#5-6-7",
        "owner",
        "container:ro",
    ];
    fuzz::text("texts_of_requests", &seeds, |text| {
        let mut names = std::iter::repeat_with(|| "0".repeat(64));
        let bind = mounts::parse_bind(text, &mut names);
        if let Ok(mount) = &bind {
            assert!(mount.destination.starts_with('/'), "{text:?}: mounted at {:?}", mount.destination);
        }
        let each = [
            bind.is_ok(),
            mounts::parse_lender(text).is_ok(),
            ports::container_port(text).is_ok(),
            id_map::parse(text).is_ok(),
            signal::parse(text).is_ok(),
            logging::parse_size(text).is_ok(),
        ];
        Err::<(), _>(format!("{each:?}"))
    });
}
