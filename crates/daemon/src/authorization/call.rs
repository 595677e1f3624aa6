//! What plugins are asked, and what they answer.

use std::collections::BTreeMap;

use api::registry::base64_encode;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::server::gate::{Answered, Asked};

/// What a plugin is asked.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Question {
    user: String,
    user_auth_n_method: String,
    request_method: String,
    request_uri: String,
    /// Base64; only of JSON.
    request_body: String,
    request_headers: BTreeMap<String, String>,
    /// PEM, the client's own first.
    request_peer_certificates: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_headers: Option<BTreeMap<String, String>>,
}

/// What a plugin answers.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Answer {
    /// It may be done.
    pub(super) allow: bool,
    /// Why not.
    pub(super) msg: String,
    /// What went wrong in the plugin.
    pub(super) err: String,
}

pub(super) fn request(asked: &Asked) -> Question {
    let is_known = !asked.certificates.is_empty();
    Question {
        user: asked.user.clone(),
        user_auth_n_method: if is_known { "TLS".to_owned() } else { String::new() },
        request_method: asked.method.to_string(),
        request_uri: asked.uri.clone(),
        request_body: base64_encode(&asked.body),
        request_headers: headers(&asked.headers),
        request_peer_certificates: asked.certificates.iter().map(|certificate| pem(certificate)).collect(),
        ..Question::default()
    }
}

pub(super) fn response(asked: &Asked, answered: &Answered) -> Question {
    Question {
        response_status_code: Some(answered.status.as_u16()),
        response_body: Some(base64_encode(&answered.body)),
        response_headers: Some(headers(&answered.headers)),
        ..request(asked)
    }
}

/// Headers as Go spells them; not those that carry credentials for registries.
fn headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let told = headers.iter().filter(|(name, _)| !name.as_str().starts_with("x-registry-"));
    let spelled = told.map(|(name, value)| {
        let words = name.as_str().split('-').map(capitalized).collect::<Vec<_>>();
        (words.join("-"), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    spelled.collect()
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn pem(certificate: &[u8]) -> String {
    let text = base64_encode(certificate);
    let lines: Vec<String> =
        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;

    #[test]
    fn a_question_has_dockers_names() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().expect("a value"));
        headers.insert("x-registry-auth", "secret".parse().expect("a value"));
        let asked = Asked {
            method: Method::POST,
            uri: "/v1.44/containers/create?name=a".into(),
            headers,
            body: "{}".into(),
            user: "me".into(),
            certificates: vec![vec![1, 2, 3]],
        };
        let answered = Answered { status: StatusCode::CREATED, headers: HeaderMap::new(), body: "x".into() };
        let text = serde_json::to_string(&response(&asked, &answered)).expect("plain data");
        assert_eq!(
            text,
            "{\"User\":\"me\",\"UserAuthNMethod\":\"TLS\",\"RequestMethod\":\"POST\",\"RequestUri\":\"/v1.44/containers/\
             create?name=a\",\"RequestBody\":\"e30=\",\"RequestHeaders\":{\"Content-Type\":\"application/json\"},\
             \"RequestPeerCertificates\":[\"-----BEGIN CERTIFICATE-----\\nAQID\\n-----END CERTIFICATE-----\\n\"],\
             \"ResponseStatusCode\":201,\"ResponseBody\":\"eA==\",\"ResponseHeaders\":{}}"
        );
    }
}
