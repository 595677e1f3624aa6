//! Programs that keep credentials (`docker-credential-*`): one word, a document in, a document out.
//!
//! ```text
//! get     registry on stdin ─► {"ServerURL", "Username", "Secret"}
//! store   {"ServerURL", "Username", "Secret"} on stdin
//! erase   registry on stdin
//! a user named <token> has an identity token for a secret; failures are words on stdout
//! ```

use std::io::Write as _;
use std::process::{Command, Stdio};

use api::registry::AuthConfig;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, system_words};

/// The user of an identity token.
const TOKEN: &str = "<token>";
/// What a helper says that has nothing.
const NOTHING: &str = "credentials not found in native keychain";

/// A helper.
pub(super) struct Helper {
    program: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Credentials {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

impl Helper {
    /// The helper of this name.
    pub(super) fn new(name: &str) -> Self {
        Self { program: format!("docker-credential-{name}") }
    }

    /// What is run.
    #[cfg(test)]
    pub(super) fn program(&self) -> &str {
        &self.program
    }

    /// The credentials of a registry.
    pub(super) fn get(&self, registry: &str) -> Result<Option<AuthConfig>, Failure> {
        let answer = match self.run("get", registry.as_bytes()) {
            Ok(answer) => answer,
            Err(failure) if failure.words().contains(NOTHING) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let found: Credentials = serde_json::from_slice(&answer).map_err(|error| {
            Failure::text(format!("{}: not what a helper answers: {error}", self.program))
        })?;
        let mut auth = AuthConfig { username: found.username, ..AuthConfig::default() };
        if auth.username == TOKEN {
            (auth.username, auth.identity_token) = (String::new(), found.secret);
        } else {
            auth.password = found.secret;
        }
        Ok(Some(auth))
    }

    /// Keeps credentials.
    pub(super) fn store(&self, registry: &str, auth: &AuthConfig) -> Result<(), Failure> {
        let (username, secret) = match auth.identity_token.as_str() {
            "" => (auth.username.clone(), auth.password.clone()),
            token => (TOKEN.to_owned(), token.to_owned()),
        };
        let document = Credentials { server_url: registry.to_owned(), username, secret };
        let bytes = serde_json::to_vec(&document).map_err(|error| Failure::text(error.to_string()))?;
        self.run("store", &bytes).map(drop)
    }

    /// Forgets the credentials of a registry; having none is no failure.
    pub(super) fn erase(&self, registry: &str) -> Result<(), Failure> {
        match self.run("erase", registry.as_bytes()) {
            Err(failure) if !failure.words().contains(NOTHING) => Err(failure),
            _ => Ok(()),
        }
    }

    fn run(&self, word: &str, input: &[u8]) -> Result<Vec<u8>, Failure> {
        let program = &self.program;
        let failed = |why: String| {
            Failure::text(format!("error getting credentials - err: {why}").replacen(
                "getting",
                doing(word),
                1,
            ))
        };
        let mut child = Command::new(program)
            .arg(word)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("exec: {program:?}: {}", why_not_started(&error))))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read what it does not need is none the worse.
            drop(stdin.write_all(input));
        }
        let output = child.wait_with_output().map_err(|error| failed(system_words(&error)))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Err(failed(format!("{}, out: `{said}`", output.status)))
    }
}

/// A name without a slash is looked for in `$PATH`.
fn why_not_started(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
        _ => system_words(error),
    }
}

fn doing(word: &str) -> &'static str {
    match word {
        "store" => "storing",
        "erase" => "erasing",
        _ => "getting",
    }
}
