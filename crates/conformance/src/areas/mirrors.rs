//! Where a name leads: mirrors, containerd's `hosts.toml`, Podman's `registries.conf`, each with a daemon and a registry of
//! its own, and nothing else to reach.

use super::doors::in_a_box;
use crate::check::{Check, contains, same, skip};
use crate::scope::Scope;
use anyhow::Result;

const AREA: &str = "mirrors";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "registry-mirrors are asked for docker.io, one after the other", mirror),
        Check::new(AREA, "hosts.toml leads any registry elsewhere", hosts_toml),
        Check::new(AREA, "registries.conf rewrites, mirrors and blocks", registries_conf),
        Check::new(AREA, "an insecure registry is one that is listed", insecure),
    ]
}

/// A registry at port 5001 that has `library/app:1` and `team/app:1`, and a daemon that is started with `begin`.
const PRELUDE: &str = r#"
    mkdir registry tree; "$bb" echo content > tree/file
    mount -t tmpfs none /etc/docker 2>/dev/null || { mkdir -p /etc/docker && mount -t tmpfs none /etc/docker; }
    mkdir -p /etc/containers && mount -t tmpfs none /etc/containers
    printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "0.0.0.0:5001"}\n' $dir/registry > registry.yml
    docker-registry serve registry.yml > registry.log 2>&1 & registry=$!
    for i in $(seq 600); do "$bb" wget -q -O /dev/null http://127.0.0.1:5001/v2/ 2>/dev/null && break; sleep 0.05; done
    begin() { up --bridge none "$@"; }
    quiet() { "$d" "$@" > /dev/null; }
    begin
    "$bb" tar -C tree -c . > app.tar
    for name in library/app team/app; do
        quiet import app.tar 127.0.0.1:5001/$name:1; quiet push 127.0.0.1:5001/$name:1; quiet rmi 127.0.0.1:5001/$name:1
    done
    pulled() { quiet pull "$1" && "$d" images --format '{{.Repository}}:{{.Tag}}' && quiet rmi "$1"; }
    down"#;

fn script(scope: &Scope<'_>, script: &str) -> Result<(String, String)> {
    if std::process::Command::new("docker-registry").arg("--version").output().is_err() {
        return Err(skip("docker-registry is not installed"));
    }
    let output = in_a_box(scope, &format!("{PRELUDE}\n{script}\ndown; kill $registry"))?.expect_code(0)?;
    Ok((output.stdout, output.stderr))
}

fn mirror(scope: &Scope<'_>) -> Result<()> {
    let (said, _) = script(
        scope,
        r#"begin --registry-mirror http://127.0.0.1:5999 --registry-mirror http://127.0.0.1:5001
        "$d" info --format '{{.RegistryConfig.Mirrors}}'
        pulled app:1"#,
    )?;
    same("said", said, "[http://127.0.0.1:5999/ http://127.0.0.1:5001/]\napp:1\n")
}

fn hosts_toml(scope: &Scope<'_>) -> Result<()> {
    let (said, why) = script(
        scope,
        r#"mkdir -p /etc/docker/certs.d/corp.example /etc/docker/certs.d/push.example
        printf 'server = "https://corp.example"\n[host."http://127.0.0.1:5999"]\n[host."http://127.0.0.1:5001"]\ncapabilities = ["pull", "resolve"]\n' \
            > /etc/docker/certs.d/corp.example/hosts.toml
        printf '[host."http://127.0.0.1:5001/v2"]\ncapabilities = ["push"]\noverride_path = true\n' > /etc/docker/certs.d/push.example/hosts.toml
        begin
        pulled corp.example/team/app:1
        "$d" pull push.example/team/app:1 2>&1 | grep -c 'push.example' | "$bb" sed 's/[1-9]/asked itself/'"#,
    )?;
    same(&why, said, "corp.example/team/app:1\nasked itself\n")
}

fn registries_conf(scope: &Scope<'_>) -> Result<()> {
    let (said, why) = script(
        scope,
        r#"cat > /etc/containers/registries.conf <<'END'
[[registry]]
prefix = "corp.example/apps"
location = "127.0.0.1:5001/team"
insecure = true
[[registry]]
location = "mirrored.example"
[[registry.mirror]]
location = "127.0.0.1:5001"
insecure = true
[[registry]]
location = "blocked.example"
blocked = true
END
        begin
        pulled corp.example/apps/app:1
        pulled mirrored.example/team/app:1
        "$d" pull blocked.example/team/app:1 2>&1 || echo refused"#,
    )?;
    contains(&why, &said, "corp.example/apps/app:1\nmirrored.example/team/app:1\n")?;
    contains("blocked", &said, "blocked")?;
    contains("blocked", &said, "refused")
}

fn insecure(scope: &Scope<'_>) -> Result<()> {
    // An address that is not of the loopback network, and yet reaches nobody else.
    let (said, why) = script(
        scope,
        r#"ip address add 192.0.2.1/32 dev lo
        begin; "$d" pull 192.0.2.1:5001/team/app:1 > refused 2>&1 || echo refused; down
        begin --insecure-registry 192.0.2.0/24; pulled 192.0.2.1:5001/team/app:1"#,
    )?;
    same(&why, said, "refused\n192.0.2.1:5001/team/app:1\n")
}
