//! `login` and `logout`: credentials are tried by the daemon and kept on this side.

use std::io::{BufRead, IsTerminal, Read};

use api::registry::{AuthConfig, AuthResponse};
use client::{Client, Request};

use crate::credentials::{self, HUB, host_of};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::{note, write};
use crate::session::Session;
use crate::stream::terminal;

/// `login`.
pub(crate) static LOGIN: Command = Command {
    synopsis: "[OPTIONS] [SERVER]",
    about: "Authenticate to a registry",
    paths: &["login"],
    flags: &[&[
        Flag::text("password", "Password or Personal Access Token (PAT)").short('p'),
        Flag::switch("password-stdin", "Take the Password or Personal Access Token (PAT) from stdin"),
        Flag::text("username", "Username").short('u'),
    ]],
    operands: Operands::Between(0, 1),
    interspersed: true,
    run: |session, typed| Box::pin(login(session, typed)),
};

/// `logout`.
pub(crate) static LOGOUT: Command = Command {
    synopsis: "[SERVER]",
    about: "Log out from a registry",
    paths: &["logout"],
    flags: &[],
    operands: Operands::Between(0, 1),
    interspersed: true,
    run: |session, typed| Box::pin(logout(session, typed)),
};

/// The registry that is meant, as credentials are kept for it.
fn registry(typed: &Typed) -> String {
    match typed.operands().first().map(String::as_str) {
        None | Some("" | "docker.io") => HUB.to_owned(),
        Some(HUB) => HUB.to_owned(),
        Some(server) => host_of(server).to_owned(),
    }
}

async fn login(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let (user, mut password) = (typed.text("username").to_owned(), typed.text("password").to_owned());
    if !password.is_empty() && typed.switch("password-stdin") {
        return Err(Failure::text(
            "conflicting options: cannot specify both --password and --password-stdin",
        ));
    }
    if typed.switch("password-stdin") {
        if user.is_empty() {
            return Err(Failure::text("the --password-stdin option requires --username to be set"));
        }
        password = from_stdin()?;
    } else if !password.is_empty() {
        note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let registry = registry(typed);
    let known = credentials::look_up(session, &registry);
    let client = session.daemon().await?;
    let is_bare = user.is_empty() && password.is_empty();
    if is_bare && !(known.username.is_empty() && known.identity_token.is_empty()) {
        write("Authenticating with existing credentials...\n")?;
        match try_out(client, &known).await {
            Ok(answer) => return finish(session, &registry, known, &answer),
            Err(error) if error.status() == Some(401) => {
                write("Stored credentials invalid or expired\n")?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let asked = ask(&user, password, &known.username)?;
    let auth = AuthConfig { server_address: registry.clone(), ..asked };
    let answer = try_out(client, &auth).await?;
    finish(session, &registry, auth, &answer)
}

async fn try_out(client: &Client, auth: &AuthConfig) -> Result<AuthResponse, client::Error> {
    client.json(Request::post("/auth").json(auth)).await
}

/// Keeps what works: an identity token in place of the password when the registry gave one.
fn finish(
    session: &Session,
    registry: &str,
    mut auth: AuthConfig,
    answer: &AuthResponse,
) -> Result<i32, Failure> {
    if !answer.identity_token.is_empty() {
        auth.password = String::new();
        auth.identity_token.clone_from(&answer.identity_token);
    }
    if let Some(path) = credentials::save(session, registry, &auth)? {
        note(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{path}'.\nConfigure a credential helper to remove \
             this warning. See\nhttps://docs.docker.com/go/credential-store/\n"
        ));
    }
    write(&format!("{}\n", answer.status))?;
    Ok(0)
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(1 << 20)
        .read_to_string(&mut text)
        .map_err(|error| Failure::text(format!("cannot read the password: {error}")))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Asks the user for what was not typed.
fn ask(user: &str, password: String, default_user: &str) -> Result<AuthConfig, Failure> {
    let needs_user = user.is_empty();
    let auth = |username: String, password| AuthConfig { username, password, ..AuthConfig::default() };
    if !needs_user && !password.is_empty() {
        return Ok(auth(user.to_owned(), password));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::text("Error: Cannot perform an interactive login from a non TTY device"));
    }
    let mut username = user.to_owned();
    if needs_user {
        let shown = if default_user.is_empty() { String::new() } else { format!(" ({default_user})") };
        write(&format!("Username{shown}: "))?;
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        read.map_err(|error| Failure::text(format!("cannot read the username: {error}")))?;
        username = match line.trim() {
            "" => default_user.to_owned(),
            typed => typed.to_owned(),
        };
    }
    if username.is_empty() {
        return Err(Failure::text("Error: Non-null Username Required"));
    }
    let password = if password.is_empty() { terminal::read_secret("Password: ")? } else { password };
    if password.is_empty() {
        return Err(Failure::text("Error: Password Required"));
    }
    Ok(auth(username, password))
}

async fn logout(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let registry = registry(typed);
    write(&format!("Removing login credentials for {registry}\n"))?;
    credentials::erase(session, &registry)?;
    Ok(0)
}
