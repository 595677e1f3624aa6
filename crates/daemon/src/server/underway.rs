//! Requests whose handlers are at work: what a dump of the daemon's state shows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The requests under way.
#[derive(Debug, Default)]
pub struct Underway {
    requests: Mutex<Requests>,
}

#[derive(Debug, Default)]
struct Requests {
    last: u64,
    open: BTreeMap<u64, (String, Instant)>,
}

/// One of them; no longer under way when dropped.
#[derive(Debug)]
pub struct Entry {
    all: Arc<Underway>,
    number: u64,
}

impl Underway {
    /// Notes a request: `GET /containers/json`.
    pub fn begin(self: &Arc<Self>, what: String) -> Entry {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.last += 1;
        let number = requests.last;
        requests.open.insert(number, (what, Instant::now()));
        Entry { all: self.clone(), number }
    }

    /// One line for each, the oldest first.
    pub fn text(&self) -> String {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (what, since) in requests.open.values() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:>9.3} s  {what}", since.elapsed().as_secs_f64());
        }
        text
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut requests = self.all.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_listed_until_it_ends() {
        let all = Arc::new(Underway::default());
        let first = all.begin("GET /a".into());
        let second = all.begin("GET /b".into());
        let names =
            |text: String| text.lines().map(|line| line[13..].to_owned()).collect::<Vec<_>>().join(", ");
        assert_eq!(names(all.text()), "GET /a, GET /b");
        drop(first);
        assert_eq!(names(all.text()), "GET /b");
        drop(second);
        assert_eq!(all.text(), "");
    }
}
