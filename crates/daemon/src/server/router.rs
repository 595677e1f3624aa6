//! The table of routes. A pattern is a list of words with at most one `{name}` (one segment) or `{name*}` (one or
//! more segments, in the middle as well): `/images/{name*}/json`.

use std::future::Future;
use std::pin::Pin;

use http::Method;

use super::call::Call;
use super::failure::Failure;
use super::reply::Reply;

/// What a handler gives.
pub type Outcome = Result<Reply, Failure>;
type HandlerFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;
/// A handler, without its type.
pub type Handler<S> = Box<dyn Fn(Call<S>) -> HandlerFuture + Send + Sync>;

/// The table of routes; the first that matches is taken.
pub struct Router<S> {
    routes: Vec<Route<S>>,
}

struct Route<S> {
    name: String,
    method: Method,
    pattern: Pattern,
    handler: Handler<S>,
}

impl<S: Send + 'static> Router<S> {
    /// An empty table.
    pub fn new() -> Router<S> {
        Router { routes: Vec::new() }
    }

    /// Adds a route.
    pub fn add<F, R>(&mut self, method: Method, pattern: &'static str, handler: F)
    where
        F: Fn(Call<S>) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        let handler: Handler<S> = Box::new(move |call| Box::pin(handler(call)));
        let name = format!("{method} {pattern}");
        self.routes.push(Route { name, method, pattern: Pattern::new(pattern), handler });
    }

    /// Adds a route that came with `1.minor`. Older versions are refused with 400, as in Docker: 404 would tell a client that
    /// what the path names is not there.
    pub fn add_since<F, R>(&mut self, minor: u32, method: Method, pattern: &'static str, handler: F)
    where
        F: Fn(Call<S>) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        let path = pattern.replace("*}", ":.*}");
        let refusal = Failure::invalid(format!("{method} {path} requires minimum API version 1.{minor}"));
        self.add(method, pattern, move |call: Call<S>| {
            let work = call.is_at_least(minor).then(|| handler(call));
            let refusal = refusal.clone();
            async move {
                match work {
                    Some(work) => work.await,
                    None => Err(refusal),
                }
            }
        });
    }

    /// The route for a request, as [`Router::list`] names it, its handler, and the values of its pattern's names.
    pub fn find(&self, method: &Method, segments: &[String]) -> Option<(&str, &Handler<S>, Params)> {
        self.routes.iter().filter(|route| route.method == *method).find_map(|route| {
            let params = route.pattern.matches(segments)?;
            Some((route.name.as_str(), &route.handler, params))
        })
    }

    /// Every route as a line, in order: `GET /images/{name*}/json`.
    pub fn list(&self) -> Vec<String> {
        self.routes.iter().map(|route| route.name.clone()).collect()
    }
}

impl<S: Send + 'static> Default for Router<S> {
    fn default() -> Router<S> {
        Router::new()
    }
}

/// Values of a pattern's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(&'static str, String)>);

impl Params {
    /// The value of a name of the pattern; empty for any other name.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }
}

struct Pattern {
    parts: Vec<Part>,
}

enum Part {
    Word(&'static str),
    One(&'static str),
    Many(&'static str),
}

impl Pattern {
    fn new(text: &'static str) -> Pattern {
        let parts = text.split('/').filter(|part| !part.is_empty()).map(|part| {
            let name = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            match name.map(|name| (name, name.strip_suffix('*'))) {
                None => Part::Word(part),
                Some((_, Some(name))) => Part::Many(name),
                Some((name, None)) => Part::One(name),
            }
        });
        Pattern { parts: parts.collect() }
    }

    fn matches(&self, segments: &[String]) -> Option<Params> {
        let mut params = Params::default();
        let mut at = 0;
        for (index, part) in self.parts.iter().enumerate() {
            let left = self.parts.len() - index - 1;
            let here = segments.get(at)?;
            match part {
                Part::Word(word) if word != here => return None,
                Part::Word(_) => at += 1,
                Part::One(name) => {
                    params.0.push((name, here.clone()));
                    at += 1;
                }
                // Everything but what the parts after it need: a pattern has one of these.
                Part::Many(name) => {
                    let end = segments.len().checked_sub(left).filter(|end| *end > at)?;
                    params.0.push((name, segments[at..end].join("/")));
                    at = end;
                }
            }
        }
        (at == segments.len()).then_some(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &'static str, path: &str, expected: Option<&[(&str, &str)]>) {
        let segments: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(String::from).collect();
        let found = Pattern::new(pattern).matches(&segments);
        let found: Option<Vec<(&str, &str)>> = found
            .as_ref()
            .map(|params| params.0.iter().map(|(name, value)| (*name, value.as_str())).collect());
        assert_eq!(found.as_deref(), expected, "{pattern} {path}");
    }

    #[test]
    fn patterns_match() {
        check("/info", "/info", Some(&[]));
        check("/info", "/info/x", None);
        check("/info", "/", None);
        check("/exec/{id}/json", "/exec/abc/json", Some(&[("id", "abc")]));
        check("/exec/{id}/json", "/exec/a/b/json", None);
        check("/images/{name*}/json", "/images/a/json", Some(&[("name", "a")]));
        check("/images/{name*}/json", "/images/json", None);
        check("/images/{name*}/json", "/images/host:5000/a/b:1/json", Some(&[("name", "host:5000/a/b:1")]));
        check("/images/{name*}/json", "/images/json/json", Some(&[("name", "json")]));
        check("/images/{name*}", "/images/a/b/c", Some(&[("name", "a/b/c")]));
        check("/images/{name*}/json", "/images/a/jso", None);
        check("/c/{name*}/checkpoints/{id}", "/c/a/b/checkpoints/x", Some(&[("name", "a/b"), ("id", "x")]));
    }
}
