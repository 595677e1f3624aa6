//! What decisions depend on, asked once.

use linux::procfs::Procfs;

/// What the kernel can do and who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whether overlayfs takes its layers one by one (`lowerdir+`, Linux 6.7); otherwise mount(2) with options is used.
    pub overlay_appends: bool,
    /// Whether overlayfs takes layers that are mounted nowhere (Linux 6.15); otherwise they are attached first, where
    /// nobody sees it.
    pub overlay_takes_detached: bool,
    /// Whether we may mount where we are. Who may not can do it only inside a user namespace of the container's.
    pub mounts: bool,
    /// Whether AppArmor is active.
    pub apparmor: bool,
    /// Whether SELinux is active.
    pub selinux: bool,
    /// The highest capability number.
    pub last_capability: u8,
    /// Whether the kernel shows its memory as /proc/kcore.
    pub kcore: bool,
    /// Control groups of version 2.
    pub cgroup_v2: bool,
    /// Names of the v1 trees, as directories below /sys/fs/cgroup, in the order of the hierarchy; none on v2.
    pub cgroup_trees: Vec<String>,
}

impl Facts {
    /// Asks the kernel.
    pub fn gather(procfs: &Procfs, hierarchy: &cgroup::Hierarchy) -> linux::Result<Self> {
        let release = procfs.read("sys/kernel/osrelease", 256)?;
        let release = version(&String::from_utf8_lossy(&release));
        let version_2 = hierarchy.version() == cgroup::Version::V2;
        let trees = hierarchy.trees().iter().filter(|tree| !version_2 && !tree.beside);
        let name = |tree: &cgroup::Tree| {
            tree.mount_point.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        };
        Ok(Self {
            overlay_appends: release >= (6, 7),
            overlay_takes_detached: release >= (6, 15),
            // A procfs of our own was mounted; or it was refused because not all of procfs is visible here.
            mounts: procfs.is_private() || linux::mount::FileSystem::open("tmpfs").is_ok(),
            apparmor: std::path::Path::new("/sys/kernel/security/apparmor").exists()
                && procfs.has("self/attr/apparmor/exec"),
            selinux: std::path::Path::new("/sys/fs/selinux/enforce").exists(),
            last_capability: last_capability(procfs)?,
            kcore: procfs.has("kcore"),
            cgroup_v2: version_2,
            cgroup_trees: trees.map(name).collect(),
        })
    }
}

fn last_capability(procfs: &Procfs) -> linux::Result<u8> {
    let text = procfs.read("sys/kernel/cap_last_cap", 16)?;
    let number = String::from_utf8_lossy(&text).trim().parse();
    number.map_err(|_| linux::Error::new("read(/proc/sys/kernel/cap_last_cap): not a number", EIO))
}

/// Input or output error (errno(3)).
const EIO: i32 = 5;

/// The first two numbers of a kernel release such as `6.18.44-generic`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #[test]
    fn releases_compare_as_numbers() {
        assert_eq!(super::version("6.18.44-custom\n"), (6, 18));
        assert_eq!(super::version("5.14-rc1"), (5, 14));
        assert_eq!(super::version(""), (0, 0));
    }
}
