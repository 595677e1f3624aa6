//! Regular expressions that clients give: as filters, and to choose what is repeated with each line of a log.

use api::filters::Filters;
use regex::{Regex, RegexBuilder};

/// Bytes that a compiled expression may take: searching is linear in any case.
const SIZE_LIMIT: usize = 1 << 20;

/// Compiles an expression. Go's syntax, which Docker takes, and ours are the same but for corners (RE2).
pub(crate) fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(SIZE_LIMIT).build()
}

/// The values of one filter: each matches what it is equal to, and what it matches somewhere as an expression.
#[derive(Debug)]
pub(crate) struct Patterns(Option<Vec<(String, Option<Regex>)>>);

impl Patterns {
    /// The values that `filters` have for `key`. One that is no expression matches what it is equal to alone.
    pub(crate) fn of(filters: &Filters, key: &str) -> Self {
        let all = || filters.get(key).map(|text| (text.to_owned(), compile(text).ok())).collect();
        Self(filters.contains(key).then(all))
    }

    /// Whether any value matches one of the texts; true when there is no such filter.
    pub(crate) fn match_any(&self, texts: &[&str]) -> bool {
        let Some(all) = &self.0 else { return true };
        all.iter().any(|(plain, pattern)| {
            texts.iter().any(|text| plain == text || pattern.as_ref().is_some_and(|it| it.is_match(text)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_match_as_expressions_or_whole() {
        for (pattern, matches) in [
            ("web", true),
            ("^web1$", true),
            ("^/web1$", true),
            ("^web$", false),
            ("^we.*[0-9]$", true),
            ("(db|web)[12]", true),
            ("1$", true),
            ("^eb", false),
            ("(unclosed", false),
            ("", true),
        ] {
            let mut filters = Filters::default();
            filters.add("name", pattern);
            assert_eq!(Patterns::of(&filters, "name").match_any(&["web1", "/web1"]), matches, "{pattern}");
            assert!(Patterns::of(&filters, "id").match_any(&["anything"]));
        }
    }
}
