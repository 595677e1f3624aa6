//! The paths of the distribution specification, and of a token server.

use serde_json::json;

use crate::http::{Reply, Seen};
use crate::{Access, INDEX, State};

/// The token that the realm gives out.
const TOKEN: &str = "a-token";

/// The right answer to a request.
pub(crate) fn answer(state: &mut State, request: &Seen, ignores_range: bool) -> Reply {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    if path == "/token" {
        return token(state, request, query);
    }
    if let Some(refusal) = refuse(state, request) {
        return refusal;
    }
    if path == "/v2/" {
        return reply(200, &[], b"{}");
    }
    let Some(rest) = path.strip_prefix("/v2/") else { return error(404, "NOT_FOUND", "no such path") };
    let split = |word: &str| rest.split_once(word).map(|(name, rest)| (name.to_owned(), rest.to_owned()));
    if let Some((name, which)) = split("/manifests/") {
        return manifest(state, request, &name, &which);
    }
    if let Some((name, rest)) = split("/blobs/uploads/") {
        return upload(state, request, &name, &rest, query);
    }
    if let Some((name, digest)) = split("/blobs/") {
        return blob(state, request, &name, &digest, ignores_range);
    }
    if let Some((name, _)) = split("/tags/list") {
        return match state.store.tags(&name) {
            Some(tags) => reply(200, &[], json!({ "name": name, "tags": tags }).to_string().as_bytes()),
            None => error(404, "NAME_UNKNOWN", "repository name not known to registry"),
        };
    }
    if let Some((name, digest)) = split("/referrers/") {
        let found = state.store.referrers(&name, &digest);
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": found });
        return reply(200, &[("Content-Type", INDEX)], index.to_string().as_bytes());
    }
    error(404, "NOT_FOUND", "no such path")
}

fn manifest(state: &mut State, request: &Seen, name: &str, which: &str) -> Reply {
    if request.method == "PUT" {
        let media = request.header("content-type").unwrap_or_default().to_owned();
        let tag = if which.contains(':') { "" } else { which };
        let digest = state.store.add_manifest(name, tag, &media, request.body.clone());
        let location = format!("/v2/{name}/manifests/{digest}");
        return reply(201, &[("Location", &location), ("Docker-Content-Digest", &digest)], b"");
    }
    match state.store.manifest(name, which) {
        Some((media, bytes)) => {
            let digest = crate::digest_of(bytes);
            reply(200, &[("Content-Type", media), ("Docker-Content-Digest", &digest)], bytes)
        }
        None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
    }
}

fn blob(state: &State, request: &Seen, name: &str, digest: &str, ignores_range: bool) -> Reply {
    let Some(bytes) = state.store.blob(name, digest) else {
        return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    let range = request.header("range").filter(|_| !ignores_range).and_then(|range| {
        let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
        let end = end.parse::<usize>().ok().map_or(bytes.len(), |end| (end + 1).min(bytes.len()));
        Some((start.parse::<usize>().ok()?, end))
    });
    match range {
        Some((start, end)) if start < end => {
            let value = format!("bytes {start}-{}/{}", end - 1, bytes.len());
            reply(206, &[("Content-Range", &value)], &bytes[start..end])
        }
        Some(_) => error(416, "RANGE_INVALID", "no such range"),
        None => reply(200, &[("Content-Type", "application/octet-stream")], bytes),
    }
}

fn upload(state: &mut State, request: &Seen, name: &str, rest: &str, query: &str) -> Reply {
    let parameter = |wanted: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.replace("%3A", ":"))
    };
    if request.method == "POST" {
        if let (Some(digest), Some(from)) = (parameter("mount"), parameter("from"))
            && state.store.mount(name, &digest, &from)
        {
            return reply(201, &[("Docker-Content-Digest", &digest)], b"");
        }
        let id = state.store.begin_upload();
        return moved(name, id, 0, 202);
    }
    let Ok(id) = rest.parse() else {
        return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    };
    if request.method == "DELETE" {
        return reply(if state.store.cancel(id) { 204 } else { 404 }, &[], b"");
    }
    let Some(length) = state.store.append(id, &request.body) else {
        return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    };
    if request.method != "PUT" {
        return moved(name, id, length, if request.method == "GET" { 204 } else { 202 });
    }
    let digest = parameter("digest").unwrap_or_default();
    match state.store.finish(name, id, &digest) {
        Some(true) => reply(201, &[("Docker-Content-Digest", &digest)], b""),
        _ => error(400, "DIGEST_INVALID", "provided digest did not match uploaded content"),
    }
}

fn moved(name: &str, id: u64, length: usize, status: u16) -> Reply {
    let location = format!("/v2/{name}/blobs/uploads/{id}?state=s");
    let range = format!("0-{}", length.saturating_sub(1));
    reply(status, &[("Location", &location), ("Range", &range)], b"")
}

/// A challenge, unless the request shows what is wanted.
fn refuse(state: &State, request: &Seen) -> Option<Reply> {
    let shown = request.header("authorization").unwrap_or_default();
    let (wanted, challenge) = match &state.access {
        Access::Open => return None,
        Access::Basic(user, secret) => (basic(user, secret), "Basic realm=\"kit\"".to_owned()),
        Access::Token(..) => (
            format!("Bearer {TOKEN}"),
            format!(
                "Bearer realm=\"http://{}/token\",service=\"kit\",scope=\"repository:x:pull\"",
                state.host
            ),
        ),
    };
    if shown == wanted {
        return None;
    }
    let mut refusal = error(401, "UNAUTHORIZED", "authentication required");
    refusal.headers.push(("WWW-Authenticate".into(), challenge));
    Some(refusal)
}

fn token(state: &State, request: &Seen, query: &str) -> Reply {
    let Access::Token(user, secret) = &state.access else { return error(404, "NOT_FOUND", "no realm") };
    let body = String::from_utf8_lossy(&request.body);
    let shown = request.header("authorization").unwrap_or_default();
    let is_refresh = body.contains("grant_type=refresh_token") && body.contains("refresh_token=refresh");
    if !is_refresh && !user.is_empty() && shown != basic(user, secret) {
        return reply(401, &[], br#"{"details":"incorrect username or password"}"#);
    }
    let refresh = if query.contains("offline_token=true") { Some("refresh") } else { None };
    let answer = json!({ "token": TOKEN, "expires_in": 300, "refresh_token": refresh });
    reply(200, &[("Content-Type", "application/json")], answer.to_string().as_bytes())
}

/// `Basic`, base64 (RFC 4648) by hand: the kit stands on nothing of ours.
fn basic(user: &str, secret: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("Basic ");
    for chunk in format!("{user}:{secret}").as_bytes().chunks(3) {
        let word = (0..3).fold(0_u32, |word, at| word << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let sextet = usize::try_from(word >> (18 - 6 * at) & 63).unwrap_or(0);
            text.push(if at <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}

fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Reply { status, headers, body: body.to_vec() }
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({ "errors": [{ "code": code, "message": message, "detail": null }] });
    reply(status, &[("Content-Type", "application/json")], body.to_string().as_bytes())
}
