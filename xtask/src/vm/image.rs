//! The first disk of the guest: Debian with systemd, its cloud kernel, and an initramfs that finds the disks.

use super::cpio::Archive;
use super::payload::{self, make_ext4};
use crate::{fixtures, process};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Debian's release; groups of v2, AppArmor and systemd are those of its users.
const RELEASE: &str = "bookworm";

/// The package that always names the newest cloud kernel.
const KERNEL: &str = "linux-image-cloud-amd64";

/// What the tests and the engine call in the guest, beside the essential packages.
const PACKAGES: &str = "apparmor,busybox-static,dbus,iproute2,kmod,nftables,procps,systemd,systemd-sysv";

/// Changes whenever an image made before does not fit any more, for a reason that the other constants do not show.
const GENERATION: u32 = 1;

/// What the disk needs to be found; with their dependencies they go into the initramfs.
const MODULES: &[&str] = &["virtio_pci", "virtio_blk"];

/// What no program of the guest loads by itself in time: in a container nobody may load a module.
const MODULES_AT_BOOT: &[&str] =
    &["overlay", "veth", "bridge", "br_netfilter", "nf_tables", "macvlan", "ipvlan", "dummy", "loop", "bfq"];

const INIT: &str = "\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in MODULES; do /bin/busybox insmod /modules/$module.ko; done
/bin/busybox mount -t ext4 /dev/vda /root && /bin/busybox mount -t ext4 /dev/vdb /rootPAYLOAD || exec /bin/busybox poweroff -f
exec /bin/busybox switch_root /root ${berth_init:-/sbin/init}
";

/// Process 1 of the plain boot. Its own name for the machine's memory and groups is the root of both.
const PLAIN: &str = "\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mount -t securityfs security /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
for module in MODULES; do modprobe -q $module; done
ip link set lo up
XTASK inside vm plain
sync
exec busybox poweroff -f
";

const UNIT: &str = "\
[Unit]
Description=The steps of the test tier
After=basic.target dbus.service apparmor.service
Wants=dbus.service apparmor.service

[Service]
Type=oneshot
Environment=HOME=/root
ExecStart=-XTASK inside vm systemd
ExecStopPost=busybox poweroff -f
StandardOutput=journal+console
TimeoutStartSec=infinity
Delegate=yes

[Install]
WantedBy=multi-user.target
";

/// What [`super::machine`] boots.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) root: PathBuf,
}

/// Makes what is missing; with everything there it only looks at a file.
pub(crate) fn prepare() -> Result<Image> {
    let directory = fixtures::directory().join("vm");
    let image = Image {
        kernel: directory.join("vmlinuz"),
        initramfs: directory.join("initramfs"),
        root: directory.join("root.img"),
    };
    // Written at the end: with the right text the files are complete.
    let (stamp, wanted) = (directory.join("stamp"), stamp_text());
    if fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) {
        return Ok(image);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    make(&directory, &image)?;
    fs::write(&stamp, wanted)?;
    Ok(image)
}

/// Everything that decides what an image holds.
fn stamp_text() -> String {
    [RELEASE, KERNEL, PACKAGES, &plain(), &unit(), &init(&["…".to_owned()]), &GENERATION.to_string()]
        .join("\n")
}

fn make(directory: &Path, image: &Image) -> Result<()> {
    let root = directory.join("root");
    let include = format!("--include={PACKAGES}");
    let target = root.display().to_string();
    process::run("debootstrap", &["--variant=minbase", &include, RELEASE, &target])?;
    for useless in ["var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"] {
        fs::remove_dir_all(root.join(useless)).with_context(|| useless.to_owned())?;
    }
    let release = unpack_kernel(directory, &root, &image.kernel)?;
    fs::write(&image.initramfs, initramfs(&root.join("usr/lib/modules").join(&release))?)?;
    fs::create_dir_all(root.join(payload::INSIDE.trim_start_matches('/')))?;
    write_program(&root.join("sbin/berth-plain"), &plain())?;
    fs::write(root.join("etc/systemd/system/berth-steps.service"), unit())?;
    fs::write(root.join("etc/modules-load.d/berth.conf"), MODULES_AT_BOOT.join("\n"))?;
    fs::write(root.join("etc/hostname"), "guest\n")?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n127.0.1.1 guest\n")?;
    // Nobody logs in, and a tree that is forgotten needs no care.
    for unneeded in ["getty@tty1.service", "serial-getty@ttyS0.service", "systemd-random-seed.service"] {
        std::os::unix::fs::symlink("/dev/null", root.join("etc/systemd/system").join(unneeded))?;
    }
    make_ext4(&root, &image.root, 2048)?;
    fs::remove_dir_all(&root)?;
    Ok(())
}

/// Unpacks the kernel's package, without installing it: this machine boots its own. The kernel's release.
fn unpack_kernel(directory: &Path, root: &Path, kernel: &Path) -> Result<String> {
    let unpacked = directory.join("kernel");
    fs::create_dir_all(&unpacked)?;
    let package = match kernel_package() {
        Ok(name) => name,
        Err(_) => {
            // The lists of packages may not be there at all.
            process::run("apt-get", &["update", "--quiet"])?;
            kernel_package()?
        }
    };
    let place = unpacked.display().to_string();
    let fetch = format!("cd '{place}' && apt-get download --quiet {package} && dpkg-deb -x *.deb .");
    process::run("sh", &["-c", &fetch])?;
    let release = package.trim_start_matches("linux-image-").to_owned();
    fs::rename(unpacked.join(format!("boot/vmlinuz-{release}")), kernel)?;
    let modules = root.join("usr/lib/modules");
    fs::create_dir_all(&modules)?;
    fs::rename(unpacked.join("lib/modules").join(&release), modules.join(&release))?;
    fs::remove_dir_all(&unpacked)?;
    process::run("depmod", &["--basedir", &root.join("usr").display().to_string(), &release])?;
    Ok(release)
}

/// The package of the newest cloud kernel.
fn kernel_package() -> Result<String> {
    let text = process::output("apt-cache", &["depends", "--important", KERNEL])?;
    let name = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(name.with_context(|| format!("{KERNEL} names no kernel:\n{text}"))?.to_owned())
}

/// A busybox, the modules that the disks need, and a script that mounts them and goes on there.
fn initramfs(modules: &Path) -> Result<Vec<u8>> {
    let list = fs::read_to_string(modules.join("modules.dep"))?;
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "modules", "root"] {
        archive.directory(directory);
    }
    archive.program("bin/busybox", &fs::read("/bin/busybox").context("busybox-static")?);
    let files = in_order(&list, MODULES);
    let mut names = Vec::new();
    for file in files {
        let path = modules.join(file);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        archive.program(&format!("modules/{name}.ko"), &fs::read(&path)?);
        names.push(name);
    }
    archive.program("init", init(&names).as_bytes());
    Ok(archive.finish())
}

/// The files of modules and of what they need, what is needed first. `list` is `modules.dep` (modules.dep(5)), whose
/// lines name what is needed first last.
fn in_order<'a>(list: &'a str, names: &[&str]) -> Vec<&'a str> {
    let mut files: Vec<&str> = Vec::new();
    for name in names {
        let end = format!("/{name}.ko");
        for (file, needed) in list.lines().filter_map(|line| line.split_once(':')) {
            if file.ends_with(&end) {
                let needed: Vec<&str> = needed.split_whitespace().collect();
                files.extend(needed.into_iter().rev());
                files.push(file);
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| seen.insert(*file));
    files
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

fn init(modules: &[String]) -> String {
    INIT.replace("MODULES", &modules.join(" ")).replace("PAYLOAD", payload::INSIDE)
}

fn plain() -> String {
    PLAIN.replace("MODULES", &MODULES_AT_BOOT.join(" ")).replace("XTASK", &payload::xtask())
}

fn unit() -> String {
    UNIT.replace("XTASK", &payload::xtask())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_loaded_after_those_they_need_and_once() {
        let list = "k/virtio_ring.ko:\nk/virtio.ko: k/virtio_ring.ko\nk/pci.ko: k/virtio.ko k/virtio_ring.ko\n\
                    k/blk.ko: k/virtio.ko k/virtio_ring.ko\n";
        assert_eq!(
            in_order(list, &["pci", "blk"]),
            ["k/virtio_ring.ko", "k/virtio.ko", "k/pci.ko", "k/blk.ko"]
        );
    }
}
