//! Values of flags, as scripts and people write them, fed with mutated seeds.

use std::path::Path;

use super::{bytes, device, duration, gpu, host, limit, mount, network, port, reference, volume};

#[test]
fn mounts() {
    let seeds = [
        "type=bind,source=/a,target=/b,readonly,bind-propagation=rslave",
        "type=volume,src=v,dst=/x,volume-opt=type=tmpfs,\"volume-opt=o=a,b\",volume-label=k=v",
        "type=tmpfs,destination=/t,tmpfs-size=64m,tmpfs-mode=1777",
        "type=image,source=a:1,target=/i,image-subpath=x",
    ];
    fuzz::text("mounts", &seeds, mount::parse);
}

#[test]
fn ports() {
    let seeds =
        ["127.0.0.1:8080-8090:80-90/tcp", "[::1]::53/udp", "80", "0.0.0.0:1-65535:1-65535/sctp", ":80:80"];
    fuzz::text("ports", &seeds, |text| {
        let published = port::publish(text, &mut port::Bindings::default());
        published.and(port::expose(text).map(drop))
    });
}

#[test]
fn values() {
    let seeds = [
        "10.5GiB",
        "-1",
        "1h30m2.5s",
        "0.000000001",
        "/dev/sda:/dev/x:rwm",
        "vendor.com/gpu=0",
        "all",
        "count=2,\"capabilities=gpu,utility\"",
        "nofile=1024:2048",
        "c 1:3 rwm",
        "name=net,alias=a,ip=10.0.0.2,driver-opt=k=v",
        "host:10.0.0.1",
        "host=::1",
        "/a:/b:ro,z",
        "C:\\x:/y",
        "repo/name:tag@sha256:0000",
        "net.core.somaxconn=1024",
        "/dev/sda:10mb",
        "02:42:ac:11:00:02",
    ];
    fuzz::text("values", &seeds, |text| {
        let each = [
            bytes::parse(text).map(drop),
            duration::parse(text).map(drop),
            device::parse(text).map(drop),
            device::check_cgroup_rule(text),
            gpu::parse(text).map(drop),
            limit::nano_cpus(text).map(drop),
            limit::ulimit(text).map(drop),
            limit::bytes_per_second(text).map(drop),
            network::parse(text).map(drop),
            host::extra_host(text).map(drop),
            host::check_mac_address(text),
            host::check_sysctl(text),
            volume::parse(text, Path::new("/work")).map(drop),
            reference::parse(text).map(drop),
        ];
        // Which of them take it.
        let taken: String = each.iter().map(|one| if one.is_ok() { '+' } else { '-' }).collect();
        Err::<(), _>(taken)
    });
}
