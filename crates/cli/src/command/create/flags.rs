//! The flags that `run` and `create` share: what a container is made of.

use crate::grammar::Flag;
use crate::value::{bytes, device, duration, env, gpu, host, limit, mount, network};

const CGROUPNS: &str = "Cgroup namespace to use (host|private)\n\
    'host':    Run the container in the Docker host's cgroup namespace\n\
    'private': Run the container in its own private cgroup namespace\n\
    '':        Use the cgroup namespace as configured by the\n           default-cgroupns-mode option on the daemon (default)";

/// Every flag of `docker create` except `--name`, `--platform`, `--pull` and `--quiet`.
pub(crate) const FLAGS: &[Flag] = &[
    // Identity and program.
    Flag::text("hostname", "Container host name").short('h'),
    Flag::text("domainname", "Container NIS domain name"),
    Flag::text("user", "Username or UID (format: <name|uid>[:<group|gid>])").short('u'),
    Flag::list("group-add", "Add additional groups to join"),
    Flag::of("octal", "umask", limit::check_umask, "Bits of modes that new files do not get (octal)"),
    Flag::text("workdir", "Working directory inside the container").short('w'),
    Flag::text("entrypoint", "Overwrite the default ENTRYPOINT of the image"),
    Flag::list("env", "Set environment variables").short('e').checked(env::check_variable),
    Flag::list("env-file", "Read in a file of environment variables"),
    Flag::list("label", "Set meta data on a container").short('l').checked(env::check_label),
    Flag::list("label-file", "Read in a line delimited file of labels"),
    Flag::of("map", "annotation", anything, "Add an annotation to the container (passed through to the OCI runtime)")
        .many()
        .shows("map[]"),
    Flag::text("cidfile", "Write the container ID to the file"),
    // Elsewhere `-h` is the short form of this; here it is the host name, and the help text has to say so.
    Flag::switch("help", "Print usage"),
    Flag::switch("init", "Run an init inside the container that forwards signals and reaps processes"),
    Flag::switch("rm", "Automatically remove the container and its associated anonymous volumes when it exits"),
    Flag::text("restart", "Restart policy to apply when a container exits").default("no").shows("\"no\""),
    Flag::text("stop-signal", "Signal to stop the container"),
    Flag::int("stop-timeout", "Timeout (in seconds) to stop a container"),
    Flag::text("runtime", "Runtime to use for this container"),
    Flag::text("isolation", "Container isolation technology"),
    Flag::switch("use-api-socket", "Bind mount Docker API socket and required auth"),
    Flag::switch("rootfs", "Use the directory IMAGE (a path; PATH:O for a throw-away copy-on-write view of it) as the root of the container"),
    // Streams.
    Flag::list("attach", "Attach to STDIN, STDOUT or STDERR").short('a').checked(host::check_stream),
    Flag::switch("interactive", "Keep STDIN open even if not attached").short('i'),
    Flag::switch("tty", "Allocate a pseudo-TTY").short('t'),
    Flag::text("log-driver", "Logging driver for the container"),
    Flag::list("log-opt", "Log driver options"),
    // Health.
    Flag::text("health-cmd", "Command to run to check health"),
    Flag::of("duration", "health-interval", duration::check, "Time between running the check (ms|s|m|h) (default 0s)").default("0s"),
    Flag::text("health-on-failure", "Action when the container becomes unhealthy (none|kill|restart|stop)"),
    Flag::int("health-retries", "Consecutive failures needed to report unhealthy"),
    Flag::of("duration", "health-start-interval", duration::check, "Time between running the check during the start period (ms|s|m|h) (default 0s)").default("0s"),
    Flag::of("duration", "health-start-period", duration::check, "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)").default("0s"),
    Flag::of("duration", "health-timeout", duration::check, "Maximum time to allow one check to run (ms|s|m|h) (default 0s)").default("0s"),
    Flag::switch("no-healthcheck", "Disable any container-specified HEALTHCHECK"),
    // Files.
    Flag::list("volume", "Bind mount a volume").short('v'),
    Flag::list("volumes-from", "Mount volumes from the specified container(s)"),
    Flag::text("volume-driver", "Optional volume driver for the container"),
    Flag::of("mount", "mount", mount::check, "Attach a filesystem mount to the container").many(),
    Flag::list("tmpfs", "Mount a tmpfs directory"),
    Flag::switch("read-only", "Mount the container's root filesystem as read only"),
    Flag::list("storage-opt", "Storage driver options for the container"),
    Flag::of("bytes", "shm-size", bytes::check, "Size of /dev/shm").default("0"),
    // Network.
    Flag::of("network", "network", network::check, "Connect a container to a network").many(),
    Flag::of("network", "net", network::check, "Connect a container to a network").many().hidden(),
    Flag::list("network-alias", "Add network-scoped alias for the container"),
    Flag::list("net-alias", "Add network-scoped alias for the container").hidden(),
    Flag::text("kernel-memory", "Kernel memory limit: the kernel has none any more").hidden(),
    Flag::list("link", "Add link to another container").checked(host::check_link),
    Flag::list("link-local-ip", "Container IPv4/IPv6 link-local addresses"),
    Flag::text("ip", "IPv4 address (e.g., 172.30.100.104)"),
    Flag::text("ip6", "IPv6 address (e.g., 2001:db8::33)"),
    Flag::text("mac-address", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    Flag::list("publish", "Publish a container's port(s) to the host").short('p'),
    Flag::switch("publish-all", "Publish all exposed ports to random ports").short('P'),
    Flag::list("expose", "Expose a port or a range of ports"),
    Flag::list("add-host", "Add a custom host-to-IP mapping (host:ip)").checked(host::check_extra_host),
    Flag::list("dns", "Set custom DNS servers").checked(host::check_ip),
    Flag::list("dns-option", "Set DNS options"),
    Flag::list("dns-opt", "Set DNS options").hidden(),
    Flag::list("dns-search", "Set custom DNS search domains").checked(host::check_dns_search),
    // Namespaces and privileges.
    Flag::text("cgroupns", CGROUPNS),
    Flag::text("ipc", "IPC mode to use"),
    Flag::text("pid", "PID namespace to use"),
    Flag::text("userns", "User namespace to use"),
    Flag::text("uts", "UTS namespace to use"),
    Flag::switch("privileged", "Give extended privileges to this container"),
    Flag::list("cap-add", "Add Linux capabilities"),
    Flag::list("cap-drop", "Drop Linux capabilities"),
    Flag::list("security-opt", "Security Options"),
    Flag::of("map", "sysctl", host::check_sysctl, "Sysctl options").many().shows("map[]"),
    Flag::of("ulimit", "ulimit", limit::check_ulimit, "Ulimit options").many().shows("[]"),
    // Devices.
    Flag::list("device", "Add a host device to the container"),
    Flag::list("device-cgroup-rule", "Add a rule to the cgroup allowed devices list").checked(device::check_cgroup_rule),
    Flag::list("device-read-bps", "Limit read rate (bytes per second) from a device").checked(limit::check_bytes_per_second).shows("[]"),
    Flag::list("device-read-iops", "Limit read rate (IO per second) from a device").checked(limit::check_operations_per_second).shows("[]"),
    Flag::list("device-write-bps", "Limit write rate (bytes per second) to a device").checked(limit::check_bytes_per_second).shows("[]"),
    Flag::list("device-write-iops", "Limit write rate (IO per second) to a device").checked(limit::check_operations_per_second).shows("[]"),
    Flag::of("gpu-request", "gpus", gpu::check, "GPU devices to add to the container ('all' to pass all GPUs)").many(),
    Flag::of("uint16", "blkio-weight", limit::check_uint16, "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)").default("0"),
    Flag::list("blkio-weight-device", "Block IO weight (relative device weight)").checked(limit::check_weight).shows("[]"),
    // Limits.
    Flag::text("cgroup-parent", "Optional parent cgroup for the container"),
    Flag::of("bytes", "memory", bytes::check, "Memory limit").short('m').default("0"),
    Flag::of("bytes", "memory-reservation", bytes::check, "Memory soft limit").default("0"),
    Flag::of("bytes", "memory-swap", bytes::check_swap, "Swap limit equal to memory plus swap: '-1' to enable unlimited swap").default("0"),
    Flag::int("memory-swappiness", "Tune container memory swappiness (0 to 100)").default("-1").shows("-1"),
    Flag::of("decimal", "cpus", limit::check_cpus, "Number of CPUs").default("0"),
    Flag::int("cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period"),
    Flag::int("cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    Flag::int("cpu-rt-period", "Limit CPU real-time period in microseconds"),
    Flag::int("cpu-rt-runtime", "Limit CPU real-time runtime in microseconds"),
    Flag::int("cpu-shares", "CPU shares (relative weight)").short('c'),
    Flag::text("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag::text("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag::int("pids-limit", "Tune container pids limit (set -1 for unlimited)"),
    Flag::switch("oom-kill-disable", "Disable OOM Killer"),
    Flag::int("oom-score-adj", "Tune host's OOM preferences (-1000 to 1000)"),
    Flag::int("cpu-count", "CPU count (Windows only)"),
    Flag::int("cpu-percent", "CPU percent (Windows only)"),
    Flag::of("bytes", "io-maxbandwidth", bytes::check, "Maximum IO bandwidth limit for the system drive (Windows only)").default("0"),
    Flag::of("uint", "io-maxiops", limit::check_uint64, "Maximum IOps limit for the system drive (Windows only)").default("0"),
    // Accepted because scripts still have it: it has no effect in Docker either.
    Flag::switch("disable-content-trust", "Skip image verification").default("true").hidden(),
];

fn anything(_: &str) -> Result<(), String> {
    Ok(())
}
