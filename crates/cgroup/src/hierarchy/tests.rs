//! Detection from recorded texts.

use super::*;

#[track_caller]
fn check(mountinfo: &str, self_cgroup: &str, expected: &str) {
    let hierarchy = Hierarchy::parse(mountinfo, self_cgroup).unwrap();
    let mut text = format!("{:?}\n", hierarchy.version());
    for tree in hierarchy.trees() {
        let names: Vec<&str> = tree.controllers.iter().map(|c| c.name()).collect();
        let flags = if tree.read_only {
            " ro"
        } else if tree.beside {
            " beside"
        } else {
            ""
        };
        text += &format!("{:?} {names:?} own {:?}{flags}\n", tree.mount_point, tree.own.join("/"));
    }
    assert_eq!(text, expected);
}

#[test]
fn v1_trees_come_before_an_empty_v2_tree_beside_them() {
    check(
        "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
         32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct\n\
         35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
         40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
         42 31 0:39 / /sys/fs/cgroup/other rw,relatime - cgroup cgroup rw,name=other\n\
         43 31 0:37 / /mnt/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
         41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        "9:name=systemd:/\n4:memory:/process_api/ee7a\n1:cpu,cpuacct:/user\n0::/pods\n",
        "V1\n\
         \"/sys/fs/cgroup/cpu,cpuacct\" [\"cpu\", \"cpuacct\"] own \"user\"\n\
         \"/sys/fs/cgroup/memory\" [\"memory\"] own \"process_api/ee7a\"\n\
         \"/sys/fs/cgroup/systemd\" [] own \"\"\n\
         \"/sys/fs/cgroup/other\" [] own \"\"\n\
         \"/sys/fs/cgroup/unified\" [] own \"pods\" beside\n",
    );
}

#[test]
fn v2_is_one_tree() {
    check(
        "25 20 0:22 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
        "0::/system.slice/berth.service\n",
        "V2\n\"/sys/fs/cgroup\" [] own \"system.slice/berth.service\"\n",
    );
}

#[test]
fn a_mount_of_a_part_of_the_tree_shows_the_own_group_from_there() {
    check(
        "700 600 0:32 /docker/abc /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n",
        "4:memory:/docker/abc/inner\n",
        "V1\n\"/sys/fs/cgroup/memory\" [\"memory\"] own \"inner\" ro\n",
    );
}

#[test]
fn a_group_outside_of_the_mount_counts_as_the_top() {
    check(
        "700 600 0:22 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
        "0::/docker/abcdef\n",
        "V2\n\"/sys/fs/cgroup\" [] own \"\"\n",
    );
    check("25 20 0:22 / /cg\\040x rw - cgroup2 none rw\n", "0::/../../a\n", "V2\n\"/cg x\" [] own \"\"\n");
}

#[test]
fn nothing_mounted_is_an_error_that_says_what_to_do() {
    let error = Hierarchy::parse("1 1 0:1 / / rw - ext4 /dev/sda rw\n", "").unwrap_err();
    assert_eq!(error.to_string(), "no control groups are mounted: mount cgroup2 on /sys/fs/cgroup");
}

#[test]
fn a_relative_path_is_taken_from_the_own_group_of_each_tree() {
    let hierarchy = Hierarchy::parse(
        "35 31 0:32 / /cg/memory rw - cgroup cgroup rw,memory\n36 31 0:33 / /cg/pids rw - cgroup cgroup rw,pids\n",
        "4:memory:/own\n8:pids:/\n",
    )
    .unwrap();
    let directories = |path: &str| hierarchy.directories(&CgroupPath::parse(path).unwrap());
    assert_eq!(directories("a/b"), [PathBuf::from("/cg/memory/own/a/b"), PathBuf::from("/cg/pids/a/b")]);
    assert_eq!(directories("/a"), [PathBuf::from("/cg/memory/a"), PathBuf::from("/cg/pids/a")]);
}
