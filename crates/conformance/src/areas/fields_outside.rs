//! Fields whose effect is seen around a container and not by one program in it: what is asked for, what comes of it, and
//! what inspect says afterwards.

use crate::check::{Check, same};
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const AREA: &str = "fields";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "AutoRemove has its effect and is shown", auto_remove),
        Check::new(AREA, "PortBindings and ExposedPorts have their effect and are shown", port_bindings),
        Check::new(AREA, "PublishAllPorts has its effect and is shown", publish_all),
        Check::new(AREA, "VolumesFrom and Volumes have their effect and are shown", volumes_from),
        Check::new(AREA, "Links has its effect and is shown", links),
        Check::new(AREA, "Healthcheck has its effect and is shown", healthcheck),
        Check::new(AREA, "StorageOpt without a size has no effect and is shown", storage_options),
        Check::new(AREA, "the settings of an endpoint have their effect and are shown", endpoint),
    ]
}

/// Makes and starts a container that lives; its name.
fn started(scope: &Scope<'_>, word: &str, fields: &Value) -> Result<String> {
    let name = scope.name(word);
    let mut body = fields.clone();
    body["Image"] = BUSYBOX.into();
    if body["Cmd"].is_null() {
        body["Cmd"] = json!(["sleep", "300"]);
    }
    scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(201)?;
    scope.api("POST", &format!("/containers/{name}/start"))?.expect(204)?;
    Ok(name)
}

fn auto_remove(scope: &Scope<'_>) -> Result<()> {
    let body = json!({ "HostConfig": { "AutoRemove": true }, "Volumes": { "/kept": {} } });
    let name = started(scope, "auto", &body)?;
    let inspect = scope.inspect(&name)?;
    same("inspect", &inspect["HostConfig"]["AutoRemove"], &json!(true))?;
    let volume = inspect["Mounts"][0]["Name"].as_str().context("an anonymous volume")?.to_owned();
    scope.api("POST", &format!("/containers/{name}/kill"))?.expect(204)?;
    scope.eventually("its removal", || {
        Ok((scope.api("GET", &format!("/containers/{name}/json"))?.status == 404).then_some(()))
    })?;
    scope.eventually("the removal of its volume", || {
        Ok((scope.api("GET", &format!("/volumes/{volume}"))?.status == 404).then_some(()))
    })
}

/// The port of the host that a container's port is reached by.
fn host_port(inspect: &Value, port: &str) -> Result<u16> {
    let text = inspect["NetworkSettings"]["Ports"][port][0]["HostPort"].as_str();
    Ok(text.with_context(|| format!("{port} in {}", inspect["NetworkSettings"]["Ports"]))?.parse()?)
}

fn port_bindings(scope: &Scope<'_>) -> Result<()> {
    let bindings = json!({ "8080/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "" }], "53/udp": [{ "HostIp": "127.0.0.1", "HostPort": "" }] });
    let body = json!({ "HostConfig": { "PortBindings": bindings }, "ExposedPorts": { "8080/tcp": {}, "9/tcp": {} } });
    let name = started(scope, "ports", &body)?;
    let inspect = scope.inspect(&name)?;
    same("HostConfig.PortBindings", &inspect["HostConfig"]["PortBindings"], &bindings)?;
    for (port, published) in [("8080/tcp", true), ("53/udp", true), ("9/tcp", false)] {
        same(
            &format!("{port} is exposed"),
            inspect["Config"]["ExposedPorts"][port].is_object(),
            port != "53/udp",
        )?;
        let ports = &inspect["NetworkSettings"]["Ports"][port];
        same(&format!("{port} is published"), ports.is_array(), published)?;
    }
    let tcp = &inspect["NetworkSettings"]["Ports"]["8080/tcp"][0];
    same("HostIp", &tcp["HostIp"], &json!("127.0.0.1"))?;
    ensure!(host_port(&inspect, "8080/tcp")? > 0 && host_port(&inspect, "53/udp")? > 0);
    Ok(())
}

fn publish_all(scope: &Scope<'_>) -> Result<()> {
    let body =
        json!({ "HostConfig": { "PublishAllPorts": true }, "ExposedPorts": { "80/tcp": {}, "81/tcp": {} } });
    let name = started(scope, "all", &body)?;
    let inspect = scope.inspect(&name)?;
    same("inspect", &inspect["HostConfig"]["PublishAllPorts"], &json!(true))?;
    let (first, second) = (host_port(&inspect, "80/tcp")?, host_port(&inspect, "81/tcp")?);
    ensure!(first != second && first >= 1024, "{first} and {second}");
    Ok(())
}

fn volumes_from(scope: &Scope<'_>) -> Result<()> {
    let volumes = json!({ "/shared": {} });
    let lender = started(scope, "lender", &json!({ "Volumes": volumes }))?;
    same("Config.Volumes", &scope.inspect(&lender)?["Config"]["Volumes"], &volumes)?;
    scope.ok(&["exec", &lender, "sh", "-c", "echo lent > /shared/file"])?;
    let asked = json!([format!("{lender}:ro")]);
    let borrower = started(scope, "borrower", &json!({ "HostConfig": { "VolumesFrom": asked } }))?;
    let script = "cat /shared/file; touch /shared/x 2>/dev/null || echo refused";
    same("inside", scope.ok(&["exec", &borrower, "sh", "-c", script])?, "lent\nrefused")?;
    let inspect = scope.inspect(&borrower)?;
    same("inspect", &inspect["HostConfig"]["VolumesFrom"], &asked)?;
    same(
        "Mounts",
        (&inspect["Mounts"][0]["RW"], &inspect["Mounts"][0]["Destination"]),
        (&json!(false), &json!("/shared")),
    )
}

fn links(scope: &Scope<'_>) -> Result<()> {
    let server = started(scope, "server", &json!({ "Env": ["COLOUR=red"] }))?;
    let body = json!({ "HostConfig": { "Links": [format!("{server}:db")] } });
    let client = started(scope, "client", &body)?;
    let address = scope.inspect(&server)?["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].take();
    let script = "awk '$2==\"db\"{print $1}' /etc/hosts; echo $DB_ENV_COLOUR";
    let expected = format!("{}\nred", address.as_str().context("an address")?);
    same("inside", scope.ok(&["exec", &client, "sh", "-c", script])?, expected)?;
    let shown = scope.inspect(&client)?["HostConfig"]["Links"].take();
    same("inspect", shown, json!([format!("/{server}:/{client}/db")]))
}

fn healthcheck(scope: &Scope<'_>) -> Result<()> {
    let check = json!({
        "Test": ["CMD-SHELL", "echo well"], "Interval": 100_000_000_u64, "Timeout": 60_000_000_000_u64, "Retries": 2,
        "StartPeriod": 1_000_000_000_u64, "StartInterval": 50_000_000_u64,
    });
    let name = started(scope, "health", &json!({ "Healthcheck": check }))?;
    scope.eventually("health", || {
        Ok((scope.inspect(&name)?["State"]["Health"]["Status"] == "healthy").then_some(()))
    })?;
    same("inspect", scope.inspect(&name)?["Config"]["Healthcheck"].take(), check)
}

fn storage_options(scope: &Scope<'_>) -> Result<()> {
    let name = started(scope, "storage", &json!({ "HostConfig": { "StorageOpt": {} } }))?;
    let shown = scope.inspect(&name)?["HostConfig"]["StorageOpt"].take();
    same("inspect", shown.as_object().is_none_or(serde_json::Map::is_empty), true)
}

fn endpoint(scope: &Scope<'_>) -> Result<()> {
    let network = scope.name("net");
    let subnet = json!({ "Config": [{ "Subnet": "10.231.7.0/24" }] });
    let body = json!({ "Name": network, "IPAM": subnet });
    scope.api_json("POST", "/networks/create", &body)?.expect(201)?;
    let settings = json!({
        "IPAMConfig": { "IPv4Address": "10.231.7.77", "LinkLocalIPs": ["169.254.7.7"] },
        "Aliases": ["other"], "MacAddress": "02:42:0a:e7:07:4d", "GwPriority": 3,
        "DriverOpts": { "com.docker.network.endpoint.ifname": "wan7" },
    });
    let endpoints = json!({ "EndpointsConfig": { network.as_str(): settings } });
    let body = json!({ "HostConfig": { "NetworkMode": network }, "NetworkingConfig": endpoints });
    let name = started(scope, "endpoint", &body)?;
    let script = "cat /sys/class/net/wan7/address; ip -o -4 addr show dev wan7 | awk '{print $4}' | sort; ping -c 1 -q other >/dev/null && echo named";
    let inside = scope.ok(&["exec", &name, "sh", "-c", script]);
    let shown = scope.inspect(&name)?["NetworkSettings"]["Networks"][&network].take();
    scope.ok(&["rm", "-f", &name])?;
    scope.ok(&["network", "rm", &network])?;
    same("inside", inside?, "02:42:0a:e7:07:4d\n10.231.7.77/24\n169.254.7.7/16\nnamed")?;
    for key in ["IPAMConfig", "MacAddress", "GwPriority", "DriverOpts", "Aliases"] {
        same(key, &shown[key], &settings[key])?;
    }
    same("IPAddress", (&shown["IPAddress"], &shown["IPPrefixLen"]), (&json!("10.231.7.77"), &json!(24)))
}
