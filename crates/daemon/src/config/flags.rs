//! Every flag and file key of dockerd, and which of them this daemon implements.

/// What values a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On or off; alone it means on.
    Switch,
    /// One word.
    Text,
    /// A whole number.
    Number,
    /// May be given several times.
    List,
    /// `name=value`, may be given several times; an object in the file.
    Map,
    /// Only an object of the file.
    Object,
}

/// Whether this daemon implements a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Yes,
    /// It does what this value says and nothing else.
    Only(&'static str),
    /// It is taken and there is nothing here that it could change: why.
    Idle(&'static str),
    /// It does not, and this is what to know about it.
    No(&'static str),
}

/// One flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// `data-root`, without dashes; empty for a key that only the file has.
    pub long: &'static str,
    /// `D`; empty when there is none.
    pub short: &'static str,
    /// Key in the file; empty when the file cannot have it.
    pub key: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Whether it is implemented.
    pub support: Support,
    /// For people; only for flags that are implemented.
    pub help: &'static str,
}

impl Flag {
    /// The name under which a setting is kept: the flag's, or the key's when there is no flag.
    pub fn name(&self) -> &'static str {
        if self.long.is_empty() { self.key } else { self.long }
    }
}

/// The flag with this long name.
pub fn by_long(long: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| !flag.long.is_empty() && flag.long == long)
}

/// The flag with this letter.
pub fn by_short(letter: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| !flag.short.is_empty() && flag.short == letter)
}

/// The flag with this key in the file, or with the key that replaced it.
pub fn by_key(key: &str) -> Option<&'static Flag> {
    let key = if key == "host-gateway-ip" { "host-gateway-ips" } else { key };
    FLAGS.iter().find(|flag| !flag.key.is_empty() && flag.key == key)
}

/// The flag under whose name a setting is kept.
pub fn by_name(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name() == name)
}

const fn flag(
    long: &'static str,
    short: &'static str,
    key: &'static str,
    kind: Kind,
    support: Support,
    help: &'static str,
) -> Flag {
    Flag { long, short, key, kind, support, help }
}

use Kind::{List, Map, Number, Object, Switch, Text};
use Support::{Idle, No, Only, Yes};

const CONTAINERD: Support = Idle("there is no containerd behind this daemon");
const SWARM: Support = Idle("outside of a swarm it changes nothing in dockerd either");
const DEPRECATED: Support = Idle("dockerd takes it and ignores it as well");
const PLUGINS: Support = No("plugins are not implemented yet");
const REALTIME: Support = No("real-time scheduling is not implemented yet");

/// The table. Source of names and kinds: dockerd's reference page and its `config` package.
pub const FLAGS: &[Flag] = &[
    flag("add-runtime", "", "runtimes", Map, Yes, "OCI runtime beside the built-in one: name=path"),
    flag("allow-direct-routing", "", "allow-direct-routing", Switch, Only("false"), ""),
    flag(
        "authorization-plugin",
        "",
        "authorization-plugins",
        List,
        Yes,
        "Plugin that is asked about each request",
    ),
    flag("bip", "", "bip", Text, Yes, "Address and prefix length of the default bridge"),
    flag("bip6", "", "bip6", Text, Yes, "IPv6 address and prefix length of the default bridge"),
    flag(
        "bridge",
        "b",
        "bridge",
        Text,
        Yes,
        "Interface of the default network (default docker0); none for no default network",
    ),
    flag(
        "bridge-accept-fwmark",
        "",
        "bridge-accept-fwmark",
        Text,
        Yes,
        "Let packets with this mark into containers: a number, or value/mask",
    ),
    flag(
        "cdi-spec-dir",
        "",
        "cdi-spec-dirs",
        List,
        Yes,
        "Directory with descriptions of devices (default /etc/cdi and /var/run/cdi)",
    ),
    flag(
        "cgroup-parent",
        "",
        "cgroup-parent",
        Text,
        Yes,
        "Parent of the containers' control groups (default /berth)",
    ),
    flag(
        "config-file",
        "",
        "",
        Text,
        Yes,
        "The file to read (default /etc/docker/daemon.json, if it is there)",
    ),
    flag("containerd", "", "containerd", Text, CONTAINERD, ""),
    flag("containerd-namespace", "", "containerd-namespace", Text, CONTAINERD, ""),
    flag("containerd-plugins-namespace", "", "containerd-plugins-namespace", Text, CONTAINERD, ""),
    flag("cpu-rt-period", "", "cpu-rt-period", Number, REALTIME, ""),
    flag("cpu-rt-runtime", "", "cpu-rt-runtime", Number, REALTIME, ""),
    flag("cri-containerd", "", "cri-containerd", Switch, Only("false"), ""),
    flag(
        "data-root",
        "",
        "data-root",
        Text,
        Yes,
        "Where images, containers and volumes are kept (default /var/lib/berth)",
    ),
    flag("debug", "D", "debug", Switch, Yes, "Log more"),
    flag(
        "default-address-pool",
        "",
        "default-address-pools",
        List,
        Yes,
        "Where subnets come from that nobody chose: base=10.0.0.0/8,size=24",
    ),
    flag(
        "default-cgroupns-mode",
        "",
        "default-cgroupns-mode",
        Text,
        Yes,
        "Cgroup namespace of containers that do not say: private or host",
    ),
    flag(
        "default-gateway",
        "",
        "default-gateway",
        Text,
        Yes,
        "IPv4 address that containers of the default bridge have as their way out",
    ),
    flag(
        "default-gateway-v6",
        "",
        "default-gateway-v6",
        Text,
        Yes,
        "IPv6 address that containers of the default bridge have as their way out",
    ),
    flag(
        "default-ipc-mode",
        "",
        "default-ipc-mode",
        Text,
        Yes,
        "IPC namespace of containers that do not say: private or shareable",
    ),
    flag(
        "default-network-opt",
        "",
        "default-network-opts",
        Map,
        Yes,
        "Option that new networks of a driver have: bridge=name=value",
    ),
    flag(
        "default-runtime",
        "",
        "default-runtime",
        Text,
        Yes,
        "OCI runtime of containers that do not say (default runc: the built-in one)",
    ),
    flag(
        "default-shm-size",
        "",
        "default-shm-size",
        Text,
        Yes,
        "Size of /dev/shm of containers that do not say (default 64m)",
    ),
    flag(
        "default-stop-timeout",
        "",
        "default-stop-timeout",
        Number,
        Yes,
        "Seconds between the stop signal and the kill (default 10)",
    ),
    flag(
        "default-ulimit",
        "",
        "default-ulimits",
        Map,
        Yes,
        "Limit of containers that do not say: name=soft[:hard]",
    ),
    flag("dns", "", "dns", List, Yes, "Name server of containers that do not say"),
    flag("dns-opt", "", "dns-opts", List, Yes, "Resolver option of containers that do not say"),
    flag("dns-search", "", "dns-search", List, Yes, "Search domain of containers that do not say"),
    flag("exec-opt", "", "exec-opts", List, Yes, "Runtime option: native.cgroupdriver=cgroupfs or systemd"),
    flag(
        "exec-root",
        "",
        "exec-root",
        Text,
        Yes,
        "Where what lives until a reboot is kept (default /run/berth)",
    ),
    flag("experimental", "", "experimental", Switch, Yes, "Say that experimental features are on"),
    flag(
        "feature",
        "",
        "features",
        Map,
        Yes,
        "Feature switch: name=true or name=false; none changes anything yet",
    ),
    flag("firewall-backend", "", "firewall-backend", Text, Only("nftables"), ""),
    flag(
        "fixed-cidr",
        "",
        "fixed-cidr",
        Text,
        Yes,
        "Part of the default bridge's subnet that containers get addresses from",
    ),
    flag("fixed-cidr-v6", "", "fixed-cidr-v6", Text, Yes, "IPv6 subnet of the default bridge"),
    flag("group", "G", "group", Text, Yes, "Group that may use the unix socket (default docker)"),
    flag("help", "h", "", Switch, Yes, "Print this and exit"),
    flag(
        "host",
        "H",
        "hosts",
        List,
        Yes,
        "Where to listen: unix:///path, tcp://address:port, fd:// (default unix:///var/run/docker.sock)",
    ),
    flag(
        "host-gateway-ip",
        "",
        "host-gateway-ips",
        List,
        Yes,
        "What host-gateway means in --add-host (default the gateway of the default network)",
    ),
    flag("http-proxy", "", "http-proxy", Text, Yes, "Proxy for registries without TLS"),
    flag("https-proxy", "", "https-proxy", Text, Yes, "Proxy for registries"),
    flag(
        "icc",
        "",
        "icc",
        Switch,
        Yes,
        "Containers of the default network may talk to each other (default true)",
    ),
    flag("init", "", "init", Switch, Yes, "Run an init in containers that do not say"),
    flag("init-path", "", "init-path", Text, No("the init program is built in"), ""),
    flag(
        "insecure-registry",
        "",
        "insecure-registries",
        List,
        Yes,
        "A registry, or a network of them, that needs no TLS",
    ),
    flag("ip", "", "ip", Text, Yes, "Address that ports are published on (default 0.0.0.0)"),
    flag("ip-forward", "", "ip-forward", Switch, Only("true"), ""),
    flag(
        "ip-forward-no-drop",
        "",
        "ip-forward-no-drop",
        Switch,
        Yes,
        "Go on forwarding for others when this daemon switched forwarding on",
    ),
    flag(
        "ip-masq",
        "",
        "ip-masq",
        Switch,
        Yes,
        "Give packets that leave the default network the host's address (default true)",
    ),
    flag("ip6tables", "", "ip6tables", Switch, Only("true"), ""),
    flag("iptables", "", "iptables", Switch, Only("true"), ""),
    flag("ipv6", "", "ipv6", Switch, Yes, "IPv6 on the default bridge"),
    flag("label", "", "labels", List, Yes, "Label of the daemon, shown by info"),
    flag(
        "live-restore",
        "",
        "live-restore",
        Switch,
        Yes,
        "Containers outlive the daemon (default true); false stops them when it ends",
    ),
    flag(
        "log-driver",
        "",
        "log-driver",
        Text,
        Yes,
        "Log driver of containers that do not say: json-file, local, none, syslog, journald, gelf, fluentd or splunk",
    ),
    flag("log-format", "", "log-format", Text, Yes, "text or json (default text)"),
    flag("log-level", "l", "log-level", Text, Yes, "trace, debug, info, warn, error or fatal (default info)"),
    flag("log-opt", "", "log-opts", Map, Yes, "Option of the log driver"),
    flag(
        "max-concurrent-downloads",
        "",
        "max-concurrent-downloads",
        Number,
        Yes,
        "Layers that a pull fetches at a time (default 3)",
    ),
    flag(
        "max-concurrent-uploads",
        "",
        "max-concurrent-uploads",
        Number,
        Yes,
        "Layers that a push sends at a time (default 5)",
    ),
    flag(
        "max-download-attempts",
        "",
        "max-download-attempts",
        Number,
        Yes,
        "How often a layer is tried (default 5)",
    ),
    flag("metrics-addr", "", "metrics-addr", Text, Yes, "Where to serve figures to Prometheus, address:port"),
    flag("mtu", "", "mtu", Number, Yes, "MTU of the default network"),
    flag("network-control-plane-mtu", "", "network-control-plane-mtu", Number, SWARM, ""),
    flag("network-diagnostic-port", "", "network-diagnostic-port", Number, Only("0"), ""),
    flag(
        "no-new-privileges",
        "",
        "no-new-privileges",
        Switch,
        Yes,
        "Forbid gaining privileges in containers that do not say",
    ),
    flag("no-proxy", "", "no-proxy", Text, Yes, "Hosts that need no proxy, separated by commas"),
    flag("node-generic-resource", "", "node-generic-resources", List, SWARM, ""),
    flag("nri-opts", "", "nri-opts", Map, PLUGINS, ""),
    flag("pidfile", "p", "pidfile", Text, Yes, "Where to write the process ID (default /run/berth.pid)"),
    flag(
        "firewall-lock",
        "",
        "firewall-lock",
        Switch,
        Yes,
        "Keep others from changing or flushing our packet filter, where the kernel can (default true)",
    ),
    flag(
        "pace-local",
        "",
        "pace-local",
        Switch,
        Yes,
        "Let the host's congestion control pace what stays on this host, too (BBR does)",
    ),
    flag(
        "publish-policy",
        "",
        "publish-policy",
        Text,
        Yes,
        "What published ports obey: docker (nothing), respect-host (the host's firewall) or localhost",
    ),
    flag("raw-logs", "", "raw-logs", Switch, Yes, "Log without colours"),
    flag("registry-mirror", "", "registry-mirrors", List, Yes, "URL of a mirror of docker.io"),
    flag("restart", "r", "", Switch, Only("true"), ""),
    flag("rootless", "", "rootless", Switch, Only("false"), ""),
    flag(
        "seccomp-profile",
        "",
        "seccomp-profile",
        Text,
        Yes,
        "System call filter of containers that do not say: builtin, unconfined, or a file",
    ),
    flag("selinux-enabled", "", "selinux-enabled", Switch, Only("false"), ""),
    flag(
        "shutdown-timeout",
        "",
        "shutdown-timeout",
        Number,
        Yes,
        "Seconds to wait for requests under way when stopping (default 15)",
    ),
    flag("storage-driver", "s", "storage-driver", Text, Only("overlayfs"), ""),
    flag(
        "storage-opt",
        "",
        "storage-opts",
        List,
        Yes,
        "size=10G: what a container may write to its own layer when it does not say (needs project quotas)",
    ),
    flag("swarm-default-advertise-addr", "", "swarm-default-advertise-addr", Text, SWARM, ""),
    flag(
        "tls",
        "",
        "tls",
        Switch,
        Yes,
        "Encrypt TCP, and have clients show certificates; =false allows tcp:// for everybody",
    ),
    flag(
        "tlscacert",
        "",
        "tlscacert",
        Text,
        Yes,
        "Whose certificates clients may have (default ~/.docker/ca.pem)",
    ),
    flag("tlscert", "", "tlscert", Text, Yes, "The daemon's certificate (default ~/.docker/cert.pem)"),
    flag("tlskey", "", "tlskey", Text, Yes, "The key of the certificate (default ~/.docker/key.pem)"),
    flag("tlsverify", "", "tlsverify", Switch, Yes, "Encrypt TCP; =false takes clients without certificates"),
    flag(
        "userland-proxy",
        "",
        "userland-proxy",
        Switch,
        Yes,
        "Accepted: published ports need no proxy process",
    ),
    flag(
        "userland-proxy-path",
        "",
        "userland-proxy-path",
        Text,
        No("published ports need no proxy process"),
        "",
    ),
    flag(
        "userns-remap",
        "",
        "userns-remap",
        Text,
        Yes,
        "Users of containers are subordinate ids of this user: user, user:group, uid, uid:gid or default (dockremap)",
    ),
    flag("validate", "", "", Switch, Yes, "Check the configuration and exit"),
    flag("version", "v", "", Switch, Yes, "Print the version and exit"),
    flag("", "", "min-api-version", Text, Yes, ""),
    flag(
        "",
        "",
        "builder",
        Object,
        Idle("nothing is built here yet, and nothing collected after builds"),
        "",
    ),
    flag("", "", "proxies", Object, Yes, ""),
    flag("", "", "allow-nondistributable-artifacts", List, DEPRECATED, ""),
    flag("", "", "deprecated-key-path", Text, DEPRECATED, ""),
];

/// The help page.
pub fn help() -> String {
    let mut page = String::from(
        "Usage: berth daemon [OPTIONS]\n\nRuns the engine. Takes dockerd's flags and daemon.json; what is not implemented \
         is refused.\n\nOptions:\n",
    );
    for flag in FLAGS.iter().filter(|flag| !flag.long.is_empty() && !flag.help.is_empty()) {
        let short = if flag.short.is_empty() { "    ".into() } else { format!("-{}, ", flag.short) };
        let value = match flag.kind {
            Switch => "",
            Text | Object => " string",
            Number => " int",
            List => " list",
            Map => " map",
        };
        page.push_str(&format!("  {short}--{:<24} {}\n", format!("{}{value}", flag.long), flag.help));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = FLAGS.iter().map(Flag::name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
        for flag in FLAGS.iter().filter(|flag| !flag.short.is_empty()) {
            assert_eq!(by_short(flag.short), Some(flag));
        }
    }

    #[test]
    fn what_is_implemented_is_explained() {
        for flag in FLAGS.iter().filter(|flag| flag.support == Yes && !flag.long.is_empty()) {
            assert!(!flag.help.is_empty(), "{}", flag.long);
        }
    }
}
