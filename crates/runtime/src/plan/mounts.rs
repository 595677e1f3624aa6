//! The root file system, its mounts, its devices, and the paths that are protected in it.

use std::path::{Path, PathBuf};

use linux::mount::{Propagation, attribute};
use oci::runtime::{Device, Linux, Mount as Asked};

use super::op::{Attributes, BindSource, Mount, NewFileSystem, Node, Op, Propagate, RootMount, Source, What};
use super::options::{Options, propagation};
use super::{Input, MountMap, Plan, id_maps};
use crate::facts::Facts;
use crate::request::Rootfs;
use crate::{Error, Result};

/// File systems that have no device: for these, "read-only" is a matter of the mount alone.
const VIRTUAL: &[&str] =
    &["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "bpf", "overlay"];

/// The devices every container has (config-linux, "Default Devices").
const DEVICES: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Plans everything from the host's mounts to the finished root.
pub(super) fn plan_root(plan: &mut Plan, input: Input<'_>, linux: &Linux, facts: &Facts) -> Result<()> {
    if super::shares_mounts(plan) {
        return plan_shared_root(plan, input, linux, facts);
    }
    let asked = root_propagation(linux)?;
    if super::joins(plan, linux::process::namespace::MOUNT) {
        plan.ops.push(Op::JoinMounts);
    }
    // What was copied from the host must not carry mounts back to it, unless that is asked for.
    let from_host = match asked {
        Some(Propagate { kind: Propagation::Private, .. }) => Propagation::Private,
        _ => Propagation::Slave,
    };
    plan.ops.push(Op::PropagateAll(Propagate { kind: from_host, recursive: true }));
    // A copy is a peer of what it was copied from: what is mounted on it would appear on the host. Shared is a root with
    // peers of its own, not with the host's (config-linux, "Rootfs Mount Propagation").
    let apart = match asked {
        Some(Propagate { kind: Propagation::Shared, .. }) => Propagation::Private,
        _ => Propagation::Slave,
    };
    let root = root_mount(plan, input, facts)?;
    plan.ops.push(Op::AttachRoot(root, apart));
    plan_content(plan, input, linux, facts)?;
    plan.ops.push(if input.no_pivot { Op::MoveRoot } else { Op::PivotRoot });
    if let Some(asked) = asked {
        plan.ops.push(Op::PropagateRoot(asked));
    }
    if input.spec.root.as_ref().is_some_and(|root| root.readonly) {
        plan.ops.push(Op::ReadOnlyRoot);
    }
    Ok(())
}

/// Without a mount namespace the host has all the mounts as well, and keeps them, as with runc: what would hide or
/// change something of the host's is refused.
fn plan_shared_root(plan: &mut Plan, input: Input<'_>, linux: &Linux, facts: &Facts) -> Result<()> {
    if !linux.masked_paths.is_empty() || !linux.readonly_paths.is_empty() {
        return Err(Error::invalid("unable to restrict sys entries without a private MNT namespace"));
    }
    if !linux.rootfs_propagation.is_empty() {
        return Err(Error::invalid("linux.rootfsPropagation needs a mount namespace of the container's own"));
    }
    if matches!(input.rootfs, Rootfs::Overlay { .. }) {
        return Err(Error::invalid("an overlay root needs a mount namespace of the container's own"));
    }
    let root = root_mount(plan, input, facts)?;
    plan.ops.push(Op::AttachRoot(root, Propagation::Private));
    plan_content(plan, input, linux, facts)?;
    plan.ops.push(Op::ChangeRoot);
    if input.spec.root.as_ref().is_some_and(|root| root.readonly) {
        plan.ops.push(Op::ReadOnlyRoot);
    }
    Ok(())
}

/// From the attached root to the moment before it is entered.
fn plan_content(plan: &mut Plan, input: Input<'_>, linux: &Linux, facts: &Facts) -> Result<()> {
    if matches!(input.rootfs, Rootfs::Overlay { .. }) {
        // As in every container of Docker, for programs older than /proc/mounts; below what is mounted on /etc.
        plan.ops.push(Op::Link("/etc/mtab".into(), "/proc/mounts", false));
    }
    for mount in &input.spec.mounts {
        plan_mount(plan, input, mount, linux, facts)?;
    }
    plan_dev(plan, input, linux, facts)?;
    super::await_groups(plan, facts);
    let hooks = input.spec.hooks.as_ref();
    if hooks.is_some_and(|hooks| !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty()) {
        plan.ops.push(Op::HostHooks);
    }
    if hooks.is_some_and(|hooks| !hooks.create_container.is_empty()) {
        plan.ops.push(Op::CreateHooks);
    }
    Ok(())
}

fn root_propagation(linux: &Linux) -> Result<Option<Propagate>> {
    let unknown = |word| Error::invalid(format!("linux.rootfsPropagation {word:?} is not known"));
    match linux.rootfs_propagation.as_str() {
        "" => Ok(None),
        word => propagation(word).map(Some).ok_or_else(|| unknown(word)),
    }
}

fn root_mount(plan: &mut Plan, input: Input<'_>, facts: &Facts) -> Result<RootMount> {
    let (lower, upper, work, volatile, mapped) = match input.rootfs {
        Rootfs::Path(path) => {
            let path = input.bundle.join(path);
            let source = add_source(plan, Source::Path { path: path.clone(), recursive: true });
            return Ok(RootMount::Bind(source, path));
        }
        Rootfs::Overlay { lower, upper, work, volatile, mapped } => {
            (lower.clone(), upper.clone(), work.clone(), *volatile, *mapped)
        }
    };
    if mapped {
        let map = container_map(plan)
            .ok_or_else(|| Error::invalid("the root is to be id-mapped, but there is no user namespace"))?;
        let (map, attached) = (add_map(plan, map), !facts.overlay_takes_detached);
        return Ok(RootMount::OverlayMapped { lower, upper, work, volatile, map, attached });
    }
    Ok(match facts.overlay_appends {
        true => RootMount::Overlay { lower, upper, work, volatile },
        false => RootMount::OverlayByOptions { lower, upper, work, volatile },
    })
}

/// The map of the container's own user namespace, or of the one that it joins.
fn container_map(plan: &Plan) -> Option<MountMap> {
    match &plan.user_maps {
        Some(maps) => Some(MountMap::Own(maps.clone())),
        None => super::joins(plan, linux::process::namespace::USER).then_some(MountMap::Joined),
    }
}

/// The number of a map; there is one of each.
fn add_map(plan: &mut Plan, map: MountMap) -> usize {
    plan.id_maps.iter().position(|known| *known == map).unwrap_or_else(|| {
        plan.id_maps.push(map);
        plan.id_maps.len() - 1
    })
}

fn add_source(plan: &mut Plan, source: Source) -> usize {
    plan.sources.push(source);
    plan.sources.len() - 1
}

fn plan_mount(plan: &mut Plan, input: Input<'_>, asked: &Asked, linux: &Linux, facts: &Facts) -> Result<()> {
    // The specification wants it absolute; what is not starts at the root, as in runc.
    let target = Path::new("/").join(&asked.destination);
    // One that begins with the host's path of the root means what is inside of it, as in runc.
    let target = below_root(input, &target).unwrap_or(target);
    if target.parent().is_none() {
        return Err(Error::invalid("mount destination \"/\" would hide the root"));
    }
    let options = Options::parse(&asked.options);
    let bind = options.bind.or(if asked.kind == "bind" { Some(false) } else { None });
    match (bind, asked.kind.as_str()) {
        (Some(recursive), _) => plan_bind(plan, input, asked, target, options, recursive, facts),
        (None, "cgroup" | "cgroup2") => {
            plan_cgroup(plan, target, &options, input, facts);
            Ok(())
        }
        (None, _) => plan_file_system(plan, asked, target, options, linux),
    }
}

fn plan_bind(
    plan: &mut Plan,
    input: Input<'_>,
    asked: &Asked,
    target: PathBuf,
    options: Options,
    recursive: bool,
    facts: &Facts,
) -> Result<()> {
    if asked.source.is_empty() {
        return Err(Error::invalid(format!("bind mount onto {:?} has no source", asked.destination)));
    }
    // What is left of the options is for a new file system: as with mount(8), it says nothing about a bind.
    let id_map = mount_map(plan, asked, &options)?;
    if id_map.is_some() && !facts.mounts {
        return Err(Error::invalid("id-mapped mounts are not supported for rootless containers"));
    }
    let id_map = id_map.map(|(map, below)| (add_map(plan, map), below));
    // Mounts made on the host later are seen, mounts made here stay here; unless they are to be shared.
    let shared = options.propagation.iter().any(|asked| asked.kind == Propagation::Shared);
    let path = input.bundle.join(&asked.source);
    let source = match below_root(input, &path) {
        Some(path) => BindSource::Inside { path, recursive },
        // A copy made later would hear of nothing when everything from the host is private, would never be its peer, and
        // would have the root in it that is attached there; the root of a user namespace cannot go everywhere; and what
        // procfs leads to may be mounted nowhere, which another mount namespace cannot copy. To be shared with the host is
        // for the whole root to say (rootfsPropagation), as with runc.
        None if facts.mounts && super::in_user_namespace(plan)
            || shared && root_is_shared(input)
            || root_is_private(plan)
            || super::joins(plan, linux::process::namespace::MOUNT)
            || path.starts_with("/proc")
            || recursive && holds_root(input, &path) =>
        {
            BindSource::Opened(add_source(plan, Source::Path { path, recursive }))
        }
        None => BindSource::Host { path, recursive },
    };
    let mut propagation = Vec::new();
    if !shared {
        propagation.push(Propagate { kind: Propagation::Slave, recursive: true });
    }
    propagation.extend(options.propagation);
    let what = What::Bind { source, id_map };
    let mount = Mount { what, target, attributes: options.attributes, propagation, copy_up: false };
    plan.ops.push(Op::Mount(Box::new(mount)));
    Ok(())
}

/// The path inside the root of a path of the host that lies in it.
fn below_root(input: Input<'_>, path: &Path) -> Option<PathBuf> {
    let Rootfs::Path(root) = input.rootfs else { return None };
    let root = input.bundle.join(root);
    let below = path.strip_prefix(&root).ok().filter(|_| root != Path::new("/"))?;
    Some(Path::new("/").join(below))
}

/// Whether the root is attached at or below a path of the host.
fn holds_root(input: Input<'_>, path: &Path) -> bool {
    match input.rootfs {
        Rootfs::Path(root) => input.bundle.join(root).starts_with(path),
        Rootfs::Overlay { .. } => path == Path::new("/"),
    }
}

fn root_is_shared(input: Input<'_>) -> bool {
    let asked = input.spec.linux.as_ref().and_then(|linux| propagation(&linux.rootfs_propagation));
    asked.is_some_and(|asked| asked.kind == Propagation::Shared)
}

fn root_is_private(plan: &Plan) -> bool {
    plan.ops.contains(&Op::PropagateAll(Propagate { kind: Propagation::Private, recursive: true }))
}

/// The id map of a bind mount, and whether it holds for mounts below.
fn mount_map(plan: &Plan, asked: &Asked, options: &Options) -> Result<Option<(MountMap, bool)>> {
    if !asked.uid_mappings.is_empty() || !asked.gid_mappings.is_empty() {
        let maps = id_maps(&asked.uid_mappings, &asked.gid_mappings, "mounts[]")?;
        return Ok(Some((MountMap::Own(maps), options.id_map.unwrap_or(false))));
    }
    let Some(below) = options.id_map else { return Ok(None) };
    match container_map(plan) {
        Some(map) => Ok(Some((map, below))),
        None => Err(Error::invalid(format!(
            "mount {:?} is to be id-mapped, but neither it nor the container has id mappings",
            asked.destination
        ))),
    }
}

fn plan_file_system(
    plan: &mut Plan,
    asked: &Asked,
    target: PathBuf,
    options: Options,
    linux: &Linux,
) -> Result<()> {
    if asked.kind.is_empty() {
        return Err(Error::invalid(format!("mount onto {:?} has no type", asked.destination)));
    }
    if options.copy_up && asked.kind != "tmpfs" {
        return Err(Error::invalid(format!("mount {:?}: tmpcopyup is only for tmpfs", asked.destination)));
    }
    let mut parameters = options.parameters;
    if options.attributes.set & attribute::READ_ONLY != 0 && !VIRTUAL.contains(&asked.kind.as_str()) {
        parameters.push(("ro".to_owned(), None));
    }
    if !linux.mount_label.is_empty() && asked.kind == "tmpfs" {
        parameters.push(("context".to_owned(), Some(linux.mount_label.clone())));
    }
    let source = if asked.source.is_empty() { asked.kind.clone() } else { asked.source.clone() };
    let mut attributes = options.attributes;
    if asked.kind == "tmpfs" && target == Path::new("/dev") {
        // Devices come into it first: plan_dev makes it read-only.
        attributes.set &= !attribute::READ_ONLY;
    }
    let mount = Mount {
        what: What::New(NewFileSystem { kind: asked.kind.clone(), source, parameters }),
        target,
        attributes,
        propagation: options.propagation,
        copy_up: options.copy_up,
    };
    plan.ops.push(Op::Mount(Box::new(mount)));
    Ok(())
}

/// The container's view of its control groups: on v2 one file system, on v1 its own group of every tree below a tmpfs.
fn plan_cgroup(plan: &mut Plan, target: PathBuf, options: &Options, input: Input<'_>, facts: &Facts) {
    let attributes = options.attributes;
    let new = |kind: &str, parameters| NewFileSystem { kind: kind.into(), source: kind.into(), parameters };
    let mount = |what, target, attributes| {
        Op::Mount(Box::new(Mount { what, target, attributes, propagation: Vec::new(), copy_up: false }))
    };
    let kind = linux::process::namespace::CGROUP;
    let has_groups = plan.new & kind != 0 || super::joins(plan, kind);
    if facts.cgroup_v2 && facts.mounts && super::in_user_namespace(plan) && !has_groups {
        // The groups of the host belong to its users: they can be shown, not mounted anew.
        let source = Source::Path { path: "/sys/fs/cgroup".into(), recursive: false };
        let source = add_source(plan, source);
        let what = What::Bind { source: BindSource::Opened(source), id_map: None };
        plan.ops.push(mount(what, target, attributes));
        return;
    }
    if facts.cgroup_v2 {
        plan.ops.push(mount(What::New(new("cgroup2", Vec::new())), target, attributes));
        return;
    }
    let writable = Attributes { set: attributes.set & !attribute::READ_ONLY, ..attributes };
    let mode = vec![("mode".to_owned(), Some("755".to_owned()))];
    plan.ops.push(mount(What::New(new("tmpfs", mode)), target.clone(), writable));
    if input.has_cgroup {
        for (number, name) in facts.cgroup_trees.iter().enumerate() {
            let source = add_source(plan, Source::CgroupTree(number));
            let what = What::Bind { source: BindSource::Opened(source), id_map: None };
            plan.ops.push(mount(what, target.join(name), attributes));
            // Trees with several controllers are found by the name of each.
            for (alias, link) in [
                ("cpu", "cpu,cpuacct"),
                ("cpuacct", "cpu,cpuacct"),
                ("net_cls", "net_cls,net_prio"),
                ("net_prio", "net_cls,net_prio"),
            ] {
                if link == name {
                    plan.ops.push(Op::Link(target.join(alias), link, false));
                }
            }
        }
    }
    if attributes.set & attribute::READ_ONLY != 0 {
        plan.ops.push(Op::ReadOnlyMount(target));
    }
}

fn plan_dev(plan: &mut Plan, input: Input<'_>, linux: &Linux, facts: &Facts) -> Result<()> {
    let bound = |mount: &Asked| {
        Path::new(&mount.destination) == Path::new("/dev")
            && (mount.kind == "bind"
                || mount.options.iter().any(|option| option == "bind" || option == "rbind"))
    };
    let terminal = input.spec.process.as_ref().filter(|process| process.terminal);
    if !input.spec.mounts.iter().any(bound) {
        plan_devices(plan, linux)?;
        for (path, text) in [
            ("/dev/fd", "/proc/self/fd"),
            ("/dev/stdin", "/proc/self/fd/0"),
            ("/dev/stdout", "/proc/self/fd/1"),
            ("/dev/stderr", "/proc/self/fd/2"),
        ] {
            plan.ops.push(Op::Link(path.into(), text, false));
        }
        if facts.kcore {
            plan.ops.push(Op::Link("/dev/core".into(), "/proc/kcore", false));
        }
        plan.ops.push(Op::Link("/dev/ptmx".into(), "pts/ptmx", true));
    }
    if let Some(process) = terminal {
        let size = process
            .console_size
            .and_then(|size| Some((u16::try_from(size.height).ok()?, u16::try_from(size.width).ok()?)));
        plan.ops.extend([Op::OpenTerminal(size), Op::BindConsole]);
    }
    let dev = |mount: &&Asked| Path::new("/").join(&mount.destination) == Path::new("/dev");
    let dev = input.spec.mounts.iter().rfind(dev).filter(|mount| mount.kind == "tmpfs");
    if dev.is_some_and(|mount| Options::parse(&mount.options).attributes.set & attribute::READ_ONLY != 0) {
        plan.ops.push(Op::ReadOnlyMount("/dev".into()));
    }
    Ok(())
}

fn plan_devices(plan: &mut Plan, linux: &Linux) -> Result<()> {
    let mut nodes: Vec<Node> = Vec::new();
    for (path, major, minor) in DEVICES {
        if !linux.devices.iter().any(|device| device.path == *path) {
            let (path, mode) = (PathBuf::from(path), 0o666);
            nodes.push(Node { path, kind: 'c', major: *major, minor: *minor, mode, uid: 0, gid: 0 });
        }
    }
    // The multiplexer is always that of the container's own terminals, and linked.
    for device in linux.devices.iter().filter(|device| device.path != "/dev/ptmx") {
        nodes.push(node(device)?);
    }
    let mapped = super::in_user_namespace(plan);
    for node in nodes {
        if mapped && node.kind != 'p' {
            // A user namespace may not make devices: the host's are bound.
            let path = node.path.clone();
            let source =
                Source::Device { path, block: node.kind == 'b', major: node.major, minor: node.minor };
            let source = add_source(plan, source);
            plan.ops.push(Op::BindNode(source, node.path));
        } else {
            plan.ops.push(Op::MakeNode(node));
        }
    }
    Ok(())
}

fn node(device: &Device) -> Result<Node> {
    let refuse = |what: &str| Error::invalid(format!("linux.devices: {:?}: {what}", device.path));
    let path = PathBuf::from(&device.path);
    if !path.is_absolute() || path.file_name().is_none() {
        return Err(refuse("not an absolute path"));
    }
    let kind = match device.kind.as_str() {
        "c" | "u" => 'c',
        "b" => 'b',
        "p" => 'p',
        _ => return Err(refuse("type is not one of c, b, u, p")),
    };
    let number = |number: i64| u32::try_from(number).map_err(|_| refuse("major or minor is out of range"));
    let (major, minor) = if kind == 'p' { (0, 0) } else { (number(device.major)?, number(device.minor)?) };
    Ok(Node {
        path,
        kind,
        major,
        minor,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}

/// Paths made read-only, then paths made unreadable.
pub(super) fn plan_protected_paths(plan: &mut Plan, linux: &Linux) -> Result<()> {
    for path in linux.readonly_paths.iter().chain(&linux.masked_paths) {
        if !Path::new(path).is_absolute() {
            return Err(Error::invalid(format!("masked or read-only path {path:?} is not absolute")));
        }
    }
    plan.ops.extend(linux.readonly_paths.iter().map(|path| Op::ReadOnly(path.into())));
    if linux.masked_paths.is_empty() {
        return Ok(());
    }
    // The host's, verified: the container's own /dev/null may be anything.
    let null = Source::Device { path: "/dev/null".into(), block: false, major: 1, minor: 3 };
    let null = add_source(plan, null);
    plan.ops.extend(linux.masked_paths.iter().map(|path| Op::Mask(path.into(), null)));
    Ok(())
}
