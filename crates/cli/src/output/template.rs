//! Go templates over JSON, with Docker's functions: `json split join title lower upper pad truncate println`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gotmpl::{MissingKey, Template, TemplateError, Value};
use serde_json::Value as Json;

use crate::failure::Failure;

/// A template that has been read.
pub(crate) struct Format(String);

impl Format {
    /// Reads a template; an impossible one is refused before any daemon is asked.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        // `.Label "x"` calls a method in Docker; here it is a function among the fields.
        let format = Self(text.replace(".Label \"", "call .Label \""));
        format.template(&Originals::default())?;
        Ok(format)
    }

    /// The template with what `json` needs to print `data` in its own order of keys.
    fn template(&self, originals: &Originals) -> Result<Template, Failure> {
        let json = originals.clone();
        Template::new("")
            .missing_key(MissingKey::Error)
            .func("json", move |args| {
                let value = args.first().map_or(Json::Null, |arg| json.original(arg));
                let text = value.to_string();
                // A whole row goes through Go's other encoder, which hides what HTML could take for a tag.
                let escape = json.1 && matches!(args.first(), Some(Value::Map(_)));
                Ok(string(if escape { escape_html(&text) } else { text }))
            })
            .func("split", |args| {
                let (text, separator) = (text(args, 0), text(args, 1));
                let parts: Vec<Value> = split(&text, &separator).into_iter().map(string).collect();
                Ok(Value::List(parts.into()))
            })
            .func("join", |args| {
                let items = match args.first() {
                    Some(Value::List(items)) => items.iter().map(ToString::to_string).collect(),
                    _ => Vec::new(),
                };
                Ok(string(items.join(&text(args, 1))))
            })
            .func("title", |args| Ok(string(title(&text(args, 0)))))
            .func("lower", |args| Ok(string(text(args, 0).to_lowercase())))
            .func("upper", |args| Ok(string(text(args, 0).to_uppercase())))
            .func("pad", |args| {
                let count = |index| usize::try_from(int(args, index)).unwrap_or_default();
                Ok(string(format!("{}{}{}", " ".repeat(count(1)), text(args, 0), " ".repeat(count(2)))))
            })
            .func("truncate", |args| {
                let length = usize::try_from(int(args, 1)).unwrap_or_default();
                Ok(string(text(args, 0).chars().take(length).collect::<String>()))
            })
            .parse(&self.0)
            .map_err(|error| Failure::coded(64, format!("template parsing error: {}", words(&error))))
    }

    /// The text for a JSON document, as `inspect --format` prints it.
    pub(crate) fn document(&self, data: &Json) -> Result<String, Failure> {
        let mut originals = Originals::default();
        let value = originals.convert(data);
        let template = self.template(&originals)?;
        template
            .execute_to_string(&value)
            .map_err(|error| Failure::text(format!("template parsing error: {}", words(&error))))
    }

    /// The text for a row of a table.
    pub(crate) fn row(&self, fields: &BTreeMap<String, String>, label: Label) -> Result<String, Failure> {
        // Docker has no platform for images of old daemons, and says so with `null`.
        let json = |key: &str, value: &str| match (key, value) {
            ("Platform", "") => Json::Null,
            _ => Json::from(value),
        };
        let original: Json = fields.iter().map(|(key, value)| (key.clone(), json(key, value))).collect();
        let mut map: BTreeMap<Arc<str>, Value> =
            fields.iter().map(|(key, value)| (key.as_str().into(), string(value))).collect();
        map.insert("Label".into(), Value::Function(Arc::new(move |args| Ok(string(label(&text(args, 0)))))));
        let map = Arc::new(map);
        let mut originals = Originals::default();
        originals.insert(Arc::as_ptr(&map).addr(), &original);
        originals.1 = true;
        let template = self.template(&originals)?;
        template
            .execute_to_string(&Value::Map(map))
            .map_err(|error| Failure::text(format!("failed to execute template: {}", words(&error))))
    }
}

/// The value of a label, or its heading.
pub(crate) type Label = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// The words of an error in Go's order: the line without the column.
fn words(error: &TemplateError) -> String {
    if let TemplateError::MissingKey { key } = error {
        return format!("template: :1:2: executing \"\" at <.{key}>: map has no entry for key {key:?}");
    }
    let text = error.to_string();
    let placed = text.strip_prefix("template: ").and_then(|rest| {
        let (line, rest) = rest.split_once(':')?;
        let (_, message) = rest.split_once(": ")?;
        line.parse::<u32>().is_ok().then(|| format!("template: :{line}: {message}"))
    });
    placed.unwrap_or_else(|| format!("template: :1: executing \"\": {text}"))
}

fn escape_html(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn string(text: impl Into<String>) -> Value {
    Value::String(text.into().into())
}

fn text(args: &[Value], index: usize) -> String {
    args.get(index).map(ToString::to_string).unwrap_or_default()
}

fn int(args: &[Value], index: usize) -> i64 {
    args.get(index).and_then(Value::as_int).unwrap_or_default()
}

fn split(text: &str, separator: &str) -> Vec<String> {
    if separator.is_empty() {
        return text.chars().map(String::from).collect();
    }
    text.split(separator).map(str::to_owned).collect()
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut start = true;
    for letter in text.chars() {
        if start {
            out.extend(letter.to_uppercase())
        } else {
            out.push(letter)
        }
        start = !letter.is_alphanumeric() && letter != '_' && letter != '\'';
    }
    out
}

/// What a template's maps and lists were before: the template engine sorts keys, and `json` must not.
///
/// The engine hands its values on by reference count, so the address of a map tells which one it is.
#[derive(Clone, Default)]
struct Originals(HashMap<usize, Json>, bool);

impl Originals {
    fn insert(&mut self, address: usize, json: &Json) {
        self.0.insert(address, json.clone());
    }

    fn convert(&mut self, json: &Json) -> Value {
        match json {
            Json::Null => Value::Nil,
            Json::Bool(truth) => Value::Bool(*truth),
            Json::String(text) => string(text),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(int), _) => Value::Int(int),
                (None, Some(uint)) => Value::Uint(uint),
                (None, None) => Value::Float(number.as_f64().unwrap_or_default()),
            },
            Json::Array(items) => Value::List(items.iter().map(|item| self.convert(item)).collect()),
            Json::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| (key.as_str().into(), self.convert(value)));
                let map: Arc<BTreeMap<Arc<str>, Value>> = Arc::new(entries.collect());
                self.insert(Arc::as_ptr(&map).addr(), json);
                Value::Map(map)
            }
        }
    }

    fn original(&self, value: &Value) -> Json {
        match value {
            Value::Nil | Value::Function(_) => Json::Null,
            Value::Bool(truth) => Json::from(*truth),
            Value::Int(int) => Json::from(*int),
            Value::Uint(uint) => Json::from(*uint),
            Value::Float(float) => Json::from(*float),
            Value::String(text) => Json::from(&**text),
            Value::List(items) => items.iter().map(|item| self.original(item)).collect(),
            Value::Map(map) => match self.0.get(&Arc::as_ptr(map).addr()) {
                Some(json) => json.clone(),
                None => map.iter().map(|(key, value)| (key.to_string(), self.original(value))).collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_is_filled_from_a_document() {
        let data = json!({
            "Z": {"b": 1, "a": [1, "x"]}, "Name": "/web", "Pid": 42, "Ok": true, "Nothing": null,
            "Env": ["A=1", "B=2"], "Labels": {"k.x": "v"}, "Size": 18446744073709551615_u64
        });
        let check = |template: &str, expected: &str| {
            let found = match Format::parse(template).and_then(|format| format.document(&data)) {
                Ok(text) => text,
                Err(failure) => failure.words().to_owned(),
            };
            assert_eq!(found, expected, "{template}");
        };
        check("{{.Name}} {{.Pid}} {{.Ok}} {{.Size}}", "/web 42 true 18446744073709551615");
        check("{{json .Z}}", r#"{"b":1,"a":[1,"x"]}"#);
        check("{{json .Env}}|{{json .Nothing}}|{{json .Name}}", r#"["A=1","B=2"]|null|"/web""#);
        check("{{range .Env}}{{println .}}{{end}}", "A=1\nB=2\n");
        check("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "k.x=v;");
        check("{{index .Labels \"k.x\"}}", "v");
        check("{{join (split (index .Env 0) \"=\") \"-\"}}", "A-1");
        check("{{title \"hello world\"}} {{upper .Name}} {{lower \"X\"}}", "Hello World /WEB x");
        check("{{pad .Name 1 2}}|{{truncate .Name 2}}", " /web  |/w");
        check("{{if .Ok}}y{{else}}n{{end}}{{.Nothing}}", "y<no value>");
        check(
            "{{.Nope}}",
            "template parsing error: template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\"",
        );
        assert!(Format::parse("{{.Name").is_err());
    }
}
