//! The query of a request: `a=1&b=&c`.

use super::failure::Failure;
use super::target::percent_decode;

/// Parameters in the order given; a name may come several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of a URL after `?`.
    pub fn parse(text: &str) -> Result<Query, Failure> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, Failure>>().map(Query)
    }

    /// The first value of a name; empty when it is absent.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Whether a name is there, with or without a value.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// All values of a name.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    /// A flag by Docker's lenient rule; false when it is absent.
    pub fn flag(&self, name: &str) -> bool {
        api::query::bool_value(self.get(name))
    }

    /// A flag that has a default of its own when it is absent.
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        if self.contains(name) { self.flag(name) } else { default }
    }

    /// A whole number; `None` when it is absent or empty.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|_| Failure::invalid(format!("invalid value for {name:?}: {text:?} is not a number")))
    }

    /// The parameter `filters`.
    pub fn filters(&self) -> Result<api::filters::Filters, Failure> {
        api::filters::Filters::parse(self.get("filters")).map_err(Failure::invalid)
    }

    /// A time in seconds with a fraction, as `since` and `until` have it; `None` when it is absent or empty.
    pub fn time(&self, name: &str) -> Result<Option<api::time::Timestamp>, Failure> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        let time = api::time::parse_parameter(text);
        time.map(Some).map_err(|error| Failure::invalid(format!("invalid value for '{name}': {error}")))
    }
}

fn decode(text: &str) -> Result<String, Failure> {
    percent_decode(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("a=1&b=&c&a=2&d=x%20y+z&&t=%zz").unwrap_err();
        assert_eq!(query.message, "invalid URL escape \"%zz\"");
        let query = Query::parse("a=1&b=&c&a=2&d=x%20y+z%2B&&e==").unwrap();
        assert_eq!(
            (query.get("a"), query.get("b"), query.get("d"), query.get("e")),
            ("1", "", "x y z+", "=")
        );
        assert_eq!(query.all("a"), ["1", "2"]);
        assert!(query.contains("c") && !query.contains("x"));
        assert!(query.flag("a") && !query.flag("b") && query.flag_or("x", true) && !query.flag_or("c", true));
        assert_eq!(query.number("a").unwrap(), Some(1));
        assert_eq!(query.number("b").unwrap(), None);
        assert!(query.number("d").is_err());
    }
}
