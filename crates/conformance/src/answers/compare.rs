//! An answer compared with the table: what is unknown, missing, or of another type.

use super::facts::{Body, Facts, Field, Shape};
use serde_json::{Deserializer, Map, Value};
use std::fmt;

/// What was asked: the path without its version and query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) method: String,
    pub(super) path: String,
    /// The minor version in the path; the newest when there was none.
    pub(super) version: u32,
}

impl Question {
    /// From the method and the target of a request line.
    pub(super) fn new(method: &str, target: &str) -> Self {
        let path = target.split('?').next().unwrap_or_default();
        let versioned = path
            .strip_prefix("/v1.")
            .and_then(|rest| rest.split_once('/'))
            .and_then(|(minor, rest)| Some((minor.parse().ok()?, format!("/{rest}"))));
        let (version, path) = versioned.unwrap_or_else(|| (u32::MAX, path.to_owned()));
        Self { method: method.to_owned(), path, version }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            u32::MAX => write!(f, "{}", self.path),
            minor => write!(f, "/v1.{minor}{}", self.path),
        }
    }
}

/// An answer as it was seen; the body without its framing.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) status: u16,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
    /// Whether the body is only the beginning, because there was too much of it or because somebody left.
    pub(super) cut: bool,
}

/// What does not fit, one line each; a line names the place but not the value's own names.
pub(super) fn differences(facts: &Facts, question: &Question, seen: &Seen<'_>) -> Vec<String> {
    let Some(answers) = facts.answers(&question.method, &question.path) else { return Vec::new() };
    if seen.status >= 400 {
        // Versions before 1.24 are refused, and as text.
        if question.version < 24 {
            return Vec::new();
        }
        return error_body(question, seen);
    }
    let Some((_, body)) = answers.iter().find(|(status, _)| *status == seen.status) else {
        return vec![format!("status {} is none of this endpoint", seen.status)];
    };
    let mut walk = Walk { facts, version: question.version, found: Vec::new() };
    // What a prune removes is told as it goes when that was asked for, and the report comes last.
    let told = Body::Stream(Shape::Object("Progress".to_owned()));
    let is_told = question.path.ends_with("/prune") && seen.content_type == "application/jsonl";
    match if is_told { &told } else { body } {
        Body::Bytes => {}
        Body::Text if std::str::from_utf8(seen.body).is_ok() => {}
        Body::Text => walk.found.push("the body is not text".to_owned()),
        Body::None if seen.body.is_empty() => {}
        Body::None => walk.found.push(format!("{} bytes of a body where none belongs", seen.body.len())),
        Body::Json(shape) => match serde_json::from_slice::<Value>(seen.body) {
            Ok(value) => {
                walk.content_type(seen, &["application/json"]);
                walk.value("", shape, &value);
            }
            Err(_) if seen.cut => {}
            Err(error) => walk.found.push(format!("the body is not JSON: {error}")),
        },
        Body::Stream(shape) => {
            let types =
                ["application/json", "application/jsonl", "application/x-ndjson", "application/json-seq"];
            walk.content_type(seen, &types);
            let body: Vec<u8> = seen.body.iter().copied().filter(|byte| *byte != 0x1e).collect();
            for message in Deserializer::from_slice(&body).into_iter::<Value>() {
                match message {
                    Ok(message) => walk.value("", shape, &message),
                    Err(_) if seen.cut => break,
                    Err(error) => walk.found.push(format!("a message is not JSON: {error}")),
                }
            }
        }
    }
    walk.found
}

/// Errors are `{"message": text}` everywhere, but for the two endpoints that print them.
fn error_body(question: &Question, seen: &Seen<'_>) -> Vec<String> {
    let is_plain = question.path.ends_with("/attach") || question.path.ends_with("/start");
    if seen.cut || question.method == "HEAD" || is_plain && !seen.content_type.starts_with("application/json")
    {
        return Vec::new();
    }
    let body = serde_json::from_slice::<Map<String, Value>>(seen.body).unwrap_or_default();
    match body.get("message") {
        Some(Value::String(words)) if !words.is_empty() && body.len() == 1 => Vec::new(),
        _ => vec![format!("the error is not {{\"message\": …}} but {}", String::from_utf8_lossy(seen.body))],
    }
}

struct Walk<'a> {
    facts: &'a Facts,
    version: u32,
    found: Vec<String>,
}

impl Walk<'_> {
    fn content_type(&mut self, seen: &Seen<'_>, allowed: &[&str]) {
        let is = seen.content_type.split(';').next().unwrap_or_default().trim();
        if !allowed.contains(&is) {
            self.found.push(format!("the media type is {is:?}"));
        }
    }

    fn value(&mut self, place: &str, shape: &Shape, value: &Value) {
        match (shape, value) {
            (Shape::Nullable(_), Value::Null) => {}
            (Shape::Nullable(of), _) => self.value(place, of, value),
            (Shape::Any, _)
            | (Shape::Text, Value::String(_))
            | (Shape::Number, Value::Number(_))
            | (Shape::Boolean, Value::Bool(_)) => {}
            (Shape::Integer, Value::Number(number)) if !number.is_f64() => {}
            (Shape::List(of), Value::Array(values)) => {
                for value in values {
                    self.value(&format!("{place}[]"), of, value);
                }
            }
            (Shape::Map(of), Value::Object(values)) => {
                for value in values.values() {
                    self.value(&format!("{place}{{}}"), of, value);
                }
            }
            (Shape::Object(name), Value::Object(values)) => self.object(place, name, values),
            _ => self.found.push(format!("{place} is {} where {shape:?} belongs", kind(value))),
        }
    }

    fn object(&mut self, place: &str, name: &str, values: &Map<String, Value>) {
        let fields = self.facts.fields(name).unwrap_or_default();
        let version = self.version;
        for field in fields.iter().filter(|field| version <= field.until) {
            let place = format!("{place}.{}", field.name);
            match values.get(&field.name) {
                Some(value) => self.field(&place, field, value),
                None if field.may_be_missing || self.version < field.since => {}
                None => self.found.push(format!("{place} is missing")),
            }
        }
        let knows = |key: &str| fields.iter().any(|field| field.name == key && self.version <= field.until);
        for key in values.keys().filter(|key| !knows(key)) {
            self.found.push(format!("{place}.{key} is unknown"));
        }
    }

    fn field(&mut self, place: &str, field: &Field, value: &Value) {
        self.value(place, &field.shape, value);
        let is_chosen = |value: &Value| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            field.choices.contains(&text)
        };
        if !field.choices.is_empty() && !value.is_null() && !is_chosen(value) {
            self.found.push(format!("{place} is {value}, none of {:?}", field.choices));
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "
answer GET /things/{*}/json 200 Thing
answer GET /things/json 200 [Thing]
answer GET /events 200 +Thing
answer DELETE /things/{*} 204 none
object Thing
  Id string
  Kind string =a,b,''
  Size? int|null
  New bool 44-
  Old bool -43
  Parts {[{}]|null}|null
";

    #[track_caller]
    fn check(line: &str, status: u16, body: &str, expected: &[&str]) {
        let facts = Facts::parse(TABLE).unwrap();
        let (method, target) = line.split_once(' ').unwrap();
        let seen = Seen { status, content_type: "application/json", body: body.as_bytes(), cut: false };
        assert_eq!(differences(&facts, &Question::new(method, target), &seen), expected, "{line} {body}");
    }

    #[test]
    fn the_table_of_the_api_can_be_read() {
        Facts::of_the_api().unwrap();
    }

    #[test]
    fn what_fits_is_no_difference() {
        let new = r#"{"Id":"x","Kind":"","New":true,"Parts":{"p":[{}],"q":null}}"#;
        check("GET /things/a/b/json?x=y", 200, new, &[]);
        check("GET /v1.44/things/json", 200, &format!("[{new}]"), &[]);
        check("GET /events", 200, &format!("{new}\n{new}"), &[]);
        check("GET /v1.43/things/a/json", 200, r#"{"Id":"x","Kind":"a","Old":true,"Parts":null}"#, &[]);
        check("DELETE /things/a", 204, "", &[]);
        check("DELETE /things/a", 404, r#"{"message":"no"}"#, &[]);
        check("GET /elsewhere", 200, "?", &[]);
    }

    #[test]
    fn what_does_not_fit_is_told_by_its_place() {
        let odd = r#"{"Id":1,"Kind":"c","Size":1.5,"New":true,"Parts":{"p":[{"q":1}]},"More":1,"Old":true}"#;
        let expected = [
            ".Id is a number where Text belongs",
            ".Kind is \"c\", none of [\"a\", \"b\", \"\"]",
            ".Size is a fraction where Integer belongs",
            ".Parts{}[].q is unknown",
            ".More is unknown",
            ".Old is unknown",
        ];
        check("GET /things/a/json", 200, odd, &expected);
        check("GET /v1.43/things/a/json", 200, r#"{"Id":"x","Kind":"a","Parts":{}}"#, &[".Old is missing"]);
        check("GET /things/json", 200, "{}", &[" is an object where List(Object(\"Thing\")) belongs"]);
        check("DELETE /things/a", 200, "", &["status 200 is none of this endpoint"]);
        check("DELETE /things/a", 204, "x", &["1 bytes of a body where none belongs"]);
        check("DELETE /things/a", 404, "no", &["the error is not {\"message\": …} but no"]);
    }
}
