//! `info`: the daemon in words.

use std::fmt::Write as _;

use client::Request;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::grammar::{Command, Operands, Typed};
use crate::output::template::Format;
use crate::output::units::binary_size;
use crate::output::{note, write};
use crate::session::Session;

/// `info`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Display system-wide information",
    paths: &["system info", "info"],
    flags: &[&[super::inspect::FORMAT]],
    operands: Operands::None,
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed)),
};

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let format = match typed.text("format") {
        "" => None,
        "json" => Some(Format::parse("{{json .}}")?),
        text => Some(Format::parse(text)?),
    };
    let answer: Result<Value, Failure> = async {
        let client = session.daemon().await?;
        Ok(client.json(Request::get("/info")).await?)
    }
    .await;
    let client = json!({ "Debug": false, "Version": env!("CARGO_PKG_VERSION"), "Context": "default", "Plugins": [], "Warnings": null });
    if let Some(format) = format {
        let mut info = answer?;
        info["ClientInfo"] = client;
        write(&format!("{}\n", format.document(&info)?))?;
        return Ok(0);
    }
    let head = format!(
        "Client: berth\n Version:    {}\n Context:    default\n Debug Mode: false\n\nServer:\n",
        env!("CARGO_PKG_VERSION")
    );
    match answer {
        Ok(info) => {
            write(&format!("{head}{}\n", server(&info)))?;
            for warning in info["Warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                note(warning);
            }
            Ok(0)
        }
        Err(failure) => {
            write(&head)?;
            Err(failure)
        }
    }
}

fn server(info: &Value) -> String {
    let mut out = String::new();
    let mut put = |depth: usize, name: &str, value: String| {
        let blank = if name == "Plugins" { "" } else { " " };
        let _ = writeln!(out, "{}{name}:{blank}{value}", " ".repeat(depth));
    };
    let word = |key: &str| plain(&info[key]);
    for (depth, name, key) in [
        (1, "Containers", "Containers"),
        (2, "Running", "ContainersRunning"),
        (2, "Paused", "ContainersPaused"),
        (2, "Stopped", "ContainersStopped"),
        (1, "Images", "Images"),
        (1, "Server Version", "ServerVersion"),
        (1, "Storage Driver", "Driver"),
    ] {
        put(depth, name, word(key));
    }
    for pair in info["DriverStatus"].as_array().into_iter().flatten() {
        put(2, &plain(&pair[0]), plain(&pair[1]));
    }
    for (name, key) in [
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Cgroup Version", "CgroupVersion"),
    ] {
        put(1, name, word(key));
    }
    put(1, "Plugins", String::new());
    for key in ["Volume", "Network", "Authorization", "Log"] {
        let names = words(&info["Plugins"][key]);
        if !names.is_empty() {
            put(2, key, names.join(" "));
        }
    }
    put(1, "Swarm", plain(&info["Swarm"]["LocalNodeState"]));
    let mut runtimes: Vec<&str> =
        info["Runtimes"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    runtimes.sort_unstable();
    if !runtimes.is_empty() {
        put(1, "Runtimes", runtimes.join(" "));
        put(1, "Default Runtime", word("DefaultRuntime"));
    }
    put(1, "Init Binary", word("InitBinary"));
    for (name, key) in [
        ("containerd version", "ContainerdCommit"),
        ("runc version", "RuncCommit"),
        ("init version", "InitCommit"),
    ] {
        put(1, name, plain(&info[key]["ID"]));
    }
    out.push_str(&security(info));
    out.push_str(&machine(info));
    out
}

fn security(info: &Value) -> String {
    let options = words(&info["SecurityOptions"]);
    let mut out = if options.is_empty() { String::new() } else { " Security Options:\n".to_owned() };
    for option in options {
        for (index, part) in option.split(',').enumerate() {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let _ = match (index, key) {
                (0, "name") => writeln!(out, "  {value}"),
                (0, _) => writeln!(out, "  {part}"),
                (_, "profile") => writeln!(out, "   Profile: {value}"),
                _ => writeln!(out, "   {key}: {value}"),
            };
        }
    }
    out
}

fn machine(info: &Value) -> String {
    let mut out = String::new();
    let word = |key: &str| plain(&info[key]);
    let memory = binary_size(info["MemTotal"].as_f64().unwrap_or_default());
    let mut put = |name: &str, value: String| {
        let _ = writeln!(out, " {name}: {value}");
    };
    put("Kernel Version", word("KernelVersion"));
    put("Operating System", word("OperatingSystem"));
    put("OSType", word("OSType"));
    put("Architecture", word("Architecture"));
    put("CPUs", word("NCPU"));
    put("Total Memory", memory);
    put("Name", word("Name"));
    put("ID", word("ID"));
    put("Docker Root Dir", word("DockerRootDir"));
    put("Debug Mode", word("Debug"));
    for (name, key) in [("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")] {
        if !word(key).is_empty() {
            put(name, word(key));
        }
    }
    put("Experimental", word("ExperimentalBuild"));
    for (name, list) in [
        ("Labels", words(&info["Labels"])),
        ("Insecure Registries", words(&info["RegistryConfig"]["InsecureRegistryCIDRs"])),
        ("Registry Mirrors", words(&info["RegistryConfig"]["Mirrors"])),
    ] {
        if !list.is_empty() {
            let lines: String = list.iter().map(|item| format!("  {item}\n")).collect();
            let _ = write!(out, " {name}:\n{lines}");
        }
    }
    let _ = writeln!(out, " Live Restore Enabled: {}", word("LiveRestoreEnabled"));
    out
}

/// A value without quotes; nothing for `null`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(plain).collect()
}
