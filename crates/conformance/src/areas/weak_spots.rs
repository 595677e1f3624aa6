//! Attacks on other engines that need a whole container to be tried: what docs/security.md names beside the tests of the
//! crates.

use crate::check::{Check, contains, same};
use crate::scope::{Scope, eventually};
use anyhow::{Context, Result};
use std::net::UdpSocket;

const AREA: &str = "weak spots";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "what a volume has stays, whatever the image has at its place", kept_content),
        Check::new(AREA, "nobody outside is asked for names by an internal network", names_stay_inside),
        Check::new(AREA, "a network without IPv6 gives no address of it", no_ipv6),
        Check::new(AREA, "plugins that bring privileges are refused", plugins),
    ]
}

/// CVE-2020-1726: the image's files over those of a volume that somebody uses already.
fn kept_content(scope: &Scope<'_>) -> Result<()> {
    let volume = scope.name("kept");
    scope.ok(&["volume", "create", &volume])?;
    let at = |place: &str| format!("{volume}:{place}");
    scope.script(&["-v", &at("/v")], "echo mine > /v/passwd")?;
    // The image has an /etc of its own, with a passwd.
    let shown = scope.script(
        &["-v", &at("/etc")],
        "cat /etc/passwd; ls /etc | grep -v -e hosts -e hostname -e resolv.conf",
    )?;
    same("what a container sees", shown, "mine\npasswd")?;
    same("what the volume has", scope.script(&["-v", &at("/v")], "cat /v/*")?, "mine")?;
    // One that is not empty because of a link that leads nowhere is not empty either.
    scope.script(&["-v", &at("/v")], "rm /v/passwd; ln -s /nowhere /v/passwd")?;
    let names = scope.script(&["-v", &at("/etc")], "readlink /etc/passwd")?;
    same("a link", names, "/nowhere")
}

/// CVE-2024-29018: a query for a name carries words out of a network that has no way out.
fn names_stay_inside(scope: &Scope<'_>) -> Result<()> {
    let open = scope.name("open");
    scope.ok(&["network", "create", &open])?;
    let shape = scope.ok(&["network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", &open])?;
    // Somebody outside who answers nothing and writes down who asks.
    let outside = UdpSocket::bind((shape.trim(), 53)).with_context(|| format!("port 53 of {shape}"))?;
    outside.set_nonblocking(true)?;
    let was_asked_for = |name: &[u8]| -> Result<bool> {
        let mut packet = [0; 1500];
        loop {
            match outside.recv(&mut packet) {
                Ok(length) if packet[..length].windows(name.len()).any(|part| part == name) => {
                    return Ok(true);
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    };
    let closed = scope.name("closed");
    scope.ok(&["network", "create", "--internal", &closed])?;
    let flags = ["--network", &closed, "--dns", shape.trim()];
    let asked = scope.run(&flags, &["nslookup", "secretword.example.org"])?;
    same("an answer", asked.code == 0, false)?;
    same("a query that got out", was_asked_for(b"secretword")?, false)?;
    // The same from a network with a way out is heard, so that the silence above means something.
    let flags = ["--network", &open, "--dns", shape.trim()];
    scope.start("asking", &flags, &["nslookup", "plainword.example.org"])?;
    eventually("the query of a network with a way out", || Ok(was_asked_for(b"plainword")?.then_some(())))
}

/// CVE-2024-32473: an address that nobody asked for, by which others on the link are reached.
fn no_ipv6(scope: &Scope<'_>) -> Result<()> {
    let own = scope.name("four");
    scope.ok(&["network", "create", &own])?;
    for network in ["bridge", &own] {
        let addresses = scope.script(
            &["--network", network],
            "grep -v ' lo$' /proc/net/if_inet6 || echo none; ip -6 route | grep -v ' lo ' | grep . || echo none",
        )?;
        same(&format!("IPv6 on {network}"), addresses, "none\nnone")?;
    }
    Ok(())
}

/// GO-2026-4883: a plugin that gets more than was agreed to. None is taken at all.
fn plugins(scope: &Scope<'_>) -> Result<()> {
    if scope.engine.program.is_none() {
        return Err(crate::check::skip("only berth has no such plugins"));
    }
    for path in ["/plugins/pull?remote=some/plugin", "/plugins/create?name=some/plugin"] {
        let answer = scope.api("POST", path)?;
        same(path, (400..600).contains(&answer.status), true)?;
        contains(path, &answer.message(), "plugin")?;
    }
    same("plugins", scope.api("GET", "/plugins")?.expect(200)?.json()?, serde_json::json!([]))
}
