//! Programs that keep credentials (`docker-credential-*`): asked, told, and what is said when they fail.

use super::registry::registry_with_passwords;
use crate::check::{Check, contains, same, says};
use crate::command_line::{Client, Output};
use crate::fixture::BUSYBOX;
use crate::program_file;
use crate::registry::{Registry, USER};
use crate::scope::Scope;
use anyhow::Result;
use serde_json::{Value, json};
use std::path::PathBuf;

const AREA: &str = "credentials";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(
            AREA,
            "credsStore keeps what login learns, gives it to push, and forgets it at logout",
            store,
        ),
        Check::new(AREA, "credHelpers goes before credsStore", helpers),
        Check::new(AREA, "a program that knows nothing is no failure", unknown),
        Check::new(
            AREA,
            "a program that fails or is missing is told, and nothing is kept in the clear",
            failing,
        ),
    ]
}

/// A client with a program that keeps credentials in a file and writes down what it was asked.
struct Kept {
    client: Client,
    directory: PathBuf,
    path: String,
    registry: Registry,
}

impl Kept {
    fn new(scope: &Scope<'_>, program: &str, config: &Value) -> Result<Self> {
        let registry = registry_with_passwords(scope)?;
        let directory = scope.directory()?.join("keeper");
        std::fs::create_dir_all(&directory)?;
        let mut client = scope.client().clone();
        client.configuration = directory.join("config");
        std::fs::create_dir_all(&client.configuration)?;
        let config = config.to_string().replace("HOST", &registry.host());
        std::fs::write(client.configuration.join("config.json"), config)?;
        let file = directory.join("docker-credential-keeper");
        let script = program.replace("DIR", &directory.display().to_string());
        program_file::write(&file, &format!("#!/bin/sh\n{script}\n"))?;
        let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap_or_default());
        Ok(Self { client, directory, path, registry })
    }

    fn call(&self, arguments: &[&str], input: &[u8]) -> Result<Output> {
        self.client.call_in(&[("PATH", &self.path)], arguments, input)
    }

    fn login(&self) -> Result<Output> {
        let (user, password) = USER;
        self.call(&["login", "-u", user, "--password-stdin", &self.registry.host()], password.as_bytes())
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.join(name)).unwrap_or_default()
    }
}

/// Keeps one entry, as the protocol has it.
const KEEPER: &str = r#"echo "$1" >> DIR/asked
case $1 in
store) cat > DIR/kept ;;
get) read -r server; echo "$server" >> DIR/servers; [ -f DIR/kept ] && cat DIR/kept || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) cat > /dev/null; rm -f DIR/kept ;;
list) echo "{}" ;;
esac"#;

fn store(scope: &Scope<'_>) -> Result<()> {
    let kept = Kept::new(scope, KEEPER, &json!({ "credsStore": "keeper" }))?;
    let host = kept.registry.host();
    let said = kept.login()?.expect_code(0)?;
    contains("login", &said.stdout, "Login Succeeded")?;
    same("nothing is in the clear", said.stderr.contains("unencrypted"), false)?;
    let entry: Value = serde_json::from_str(&kept.read("kept"))?;
    same("what is kept", &entry, &json!({ "ServerURL": host, "Username": USER.0, "Secret": USER.1 }))?;
    let config: Value =
        serde_json::from_slice(&std::fs::read(kept.client.configuration.join("config.json"))?)?;
    same("the file", &config["auths"], &json!({ host.as_str(): {} }))?;
    let name = format!("{host}/kept:1");
    scope.ok(&["tag", BUSYBOX, &name])?;
    kept.call(&["push", &name], b"")?.expect_code(0)?;
    contains("asked for", &kept.read("servers"), &host)?;
    kept.call(&["logout", &host], b"")?.expect_code(0)?;
    contains("asked", &kept.read("asked"), "erase")?;
    same("kept after the logout", kept.read("kept"), "")?;
    same("push after the logout", kept.call(&["push", &name], b"")?.code, 1)?;
    scope.ok(&["rmi", &name]).map(drop)
}

fn helpers(scope: &Scope<'_>) -> Result<()> {
    let config = json!({ "credsStore": "missing", "credHelpers": { "HOST": "keeper" } });
    let kept = Kept::new(scope, KEEPER, &config)?;
    kept.login()?.expect_code(0)?;
    contains("kept", &kept.read("kept"), USER.1)
}

fn unknown(scope: &Scope<'_>) -> Result<()> {
    let kept = Kept::new(scope, KEEPER, &json!({ "credsStore": "keeper" }))?;
    let name = format!("{}/none:1", kept.registry.host());
    let output = kept.call(&["pull", &name], b"")?.expect_code(1)?;
    same("a word about the program", output.stderr.contains("keychain"), false)?;
    contains("asked", &kept.read("asked"), "get")
}

fn failing(scope: &Scope<'_>) -> Result<()> {
    let kept = Kept::new(
        scope,
        "cat > /dev/null; echo 'the chain is locked'; exit 3",
        &json!({ "credsStore": "keeper" }),
    )?;
    let output = kept.login()?.expect_code(1)?;
    says("a failure", &output.stderr, "the chain is locked")?;
    let file = std::fs::read_to_string(kept.client.configuration.join("config.json"))?;
    same("kept in the clear", file.contains("auth\""), false)?;
    let missing = Kept { client: kept.client.clone(), ..kept };
    std::fs::remove_file(missing.directory.join("docker-credential-keeper"))?;
    let output = missing.login()?.expect_code(1)?;
    says("a missing one", &output.stderr, "docker-credential-keeper")?;
    says("a missing one", &output.stderr, "executable file not found in $PATH")
}
