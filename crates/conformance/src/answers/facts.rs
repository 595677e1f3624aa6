//! The table of what answers hold (`facts.txt`), read into values.

use anyhow::{Context, Result, bail};
use std::collections::HashMap;

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Any,
    Text,
    Integer,
    Number,
    Boolean,
    List(Box<Shape>),
    Map(Box<Shape>),
    /// The shape, or `null`.
    Nullable(Box<Shape>),
    /// An object of the table; `{}` is one without fields and has no name.
    Object(String),
}

/// What an answer's body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    None,
    /// Bytes of any kind, never looked into.
    Bytes,
    Text,
    Json(Shape),
    /// JSON messages one after the other.
    Stream(Shape),
}

/// One field of an object.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) may_be_missing: bool,
    /// The first minor version that has to have it.
    pub(super) since: u32,
    /// The last minor version that may have it.
    pub(super) until: u32,
    /// The values it may have, as JSON prints them without quotes; any when empty.
    pub(super) choices: Vec<String>,
}

/// The whole table.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Method, segments of the path, status, body.
    answers: Vec<(String, Vec<String>, u16, Body)>,
    objects: HashMap<String, Vec<Field>>,
}

impl Facts {
    pub(super) fn of_the_api() -> Result<Self> {
        Self::parse(include_str!("facts.txt"))
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut facts = Self::default();
        let mut object = None;
        for (index, line) in text.lines().enumerate() {
            facts.line(line, &mut object).with_context(|| format!("line {}: {line}", index + 1))?;
        }
        Ok(facts)
    }

    fn line(&mut self, line: &str, object: &mut Option<String>) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [word, ..] if word.starts_with('#') => {}
            ["answer", method, path, status, body] => {
                let path = path.split('/').map(str::to_owned).collect();
                self.answers.push((method.to_owned(), path, status.parse()?, parse_body(body)?));
            }
            ["object", name] => {
                *object = Some(name.to_owned());
                self.objects.insert(name.to_owned(), Vec::new());
            }
            [name, shape, ref rest @ ..] => {
                let of = object.as_ref().context("a field outside of an object")?;
                let field = parse_field(name, shape, rest)?;
                self.objects.entry(of.clone()).or_default().push(field);
            }
            _ => bail!("neither an answer, nor an object, nor a field"),
        }
        Ok(())
    }

    pub(super) fn fields(&self, object: &str) -> Option<&[Field]> {
        self.objects.get(object).map(Vec::as_slice)
    }

    /// The bodies that an endpoint answers with, by status; `None` for an endpoint that is not in the table.
    pub(super) fn answers(&self, method: &str, path: &str) -> Option<Vec<(u16, &Body)>> {
        let best = self.segments(method, path)?;
        Some(self.answers.iter().filter(|a| a.0 == method && a.1 == best).map(|a| (a.2, &a.3)).collect())
    }

    /// The pattern that an endpoint's path fits.
    pub(super) fn pattern(&self, method: &str, path: &str) -> Option<String> {
        self.segments(method, path).map(|segments| segments.join("/"))
    }

    fn segments(&self, method: &str, path: &str) -> Option<&[String]> {
        let path: Vec<&str> = path.split('/').collect();
        let patterns =
            self.answers.iter().filter(|answer| answer.0 == method).map(|answer| answer.1.as_slice());
        // Words before names: `/images/json` is not an image.
        patterns.filter(|pattern| matches(pattern, &path)).min_by_key(|pattern| names(pattern))
    }
}

fn names(pattern: &[String]) -> usize {
    pattern.iter().filter(|segment| segment.starts_with('{')).count()
}

/// Whether a path fits a pattern: `{}` is one segment, `{*}` one or more.
fn matches(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), Some((_, after))) if first == "{*}" => {
            (0..path.len()).any(|more| matches(rest, after.get(more..).unwrap_or_default()))
        }
        (Some((first, rest)), Some((segment, after))) => {
            (first == "{}" || first == segment) && matches(rest, after)
        }
        _ => false,
    }
}

fn parse_body(text: &str) -> Result<Body> {
    Ok(match text {
        "none" => Body::None,
        "bytes" => Body::Bytes,
        "text" => Body::Text,
        _ => match text.strip_prefix('+') {
            Some(shape) => Body::Stream(parse_shape(shape)?),
            None => Body::Json(parse_shape(text)?),
        },
    })
}

fn parse_field(name: &str, shape: &str, rest: &[&str]) -> Result<Field> {
    let mut field = Field {
        name: name.trim_end_matches('?').to_owned(),
        shape: parse_shape(shape)?,
        may_be_missing: name.ends_with('?'),
        since: 0,
        until: u32::MAX,
        choices: Vec::new(),
    };
    for word in rest {
        if let Some(choices) = word.strip_prefix('=') {
            field.choices = choices.split(',').map(|choice| choice.trim_matches('\'').to_owned()).collect();
        } else if let Some(until) = word.strip_prefix('-') {
            field.until = until.parse()?;
        } else if let Some(since) = word.strip_suffix('-') {
            field.since = since.parse()?;
        } else {
            bail!("{word:?} says nothing");
        }
    }
    Ok(field)
}

fn parse_shape(text: &str) -> Result<Shape> {
    let inside = |open, close| text.strip_prefix(open).and_then(|text: &str| text.strip_suffix(close));
    if let Some(of) = text.strip_suffix("|null") {
        return Ok(Shape::Nullable(Box::new(parse_shape(of)?)));
    }
    Ok(match text {
        "any" => Shape::Any,
        "string" => Shape::Text,
        "int" => Shape::Integer,
        "number" => Shape::Number,
        "bool" => Shape::Boolean,
        "{}" => Shape::Object(String::new()),
        _ => match (inside('[', ']'), inside('{', '}')) {
            (Some(of), _) => Shape::List(Box::new(parse_shape(of)?)),
            (_, Some(of)) => Shape::Map(Box::new(parse_shape(of)?)),
            _ if text.starts_with(char::is_uppercase) => Shape::Object(text.to_owned()),
            _ => bail!("{text:?} is no shape"),
        },
    })
}
