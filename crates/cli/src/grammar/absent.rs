//! Commands of Docker's that do nothing here: whatever follows their name is answered with the reason.

use client::Request;

use crate::failure::Failure;

/// A command that does nothing here.
pub(crate) struct Absent {
    /// The line in the list of commands.
    pub(crate) about: &'static str,
    /// Who says why.
    pub(crate) why: Why,
}

/// Who says why a command does nothing.
pub(crate) enum Why {
    /// These words do.
    Words(&'static str),
    /// The daemon does, asked with this method for this path; `{}` is the first operand.
    Daemon(Method, &'static str),
}

/// How the daemon is asked.
#[derive(Clone, Copy)]
pub(crate) enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
}

impl Absent {
    /// A command whose absence the daemon explains.
    pub(crate) const fn daemon(about: &'static str, method: Method, path: &'static str) -> Self {
        Self { about, why: Why::Daemon(method, path) }
    }

    /// A command whose absence these words explain.
    pub(crate) const fn words(about: &'static str, words: &'static str) -> Self {
        Self { about, why: Why::Words(words) }
    }

    /// The help text.
    pub(crate) fn help(&self, path: &str) -> String {
        let why = match self.why {
            Why::Words(words) => words,
            Why::Daemon(..) => "This engine has nothing to do for it; the daemon says why when it is asked.",
        };
        format!("Usage:  {path}\n\n{}\n\n{why}\n", self.about)
    }
}

/// The request that the daemon refuses.
pub(crate) fn question(
    method: Method,
    pattern: &str,
    path: &str,
    words: &[String],
) -> Result<Request, Failure> {
    let operand = words.iter().find(|word| !word.starts_with('-'));
    let target = match (pattern.contains("{}"), operand) {
        (false, _) => pattern.to_owned(),
        (true, Some(operand)) => pattern.replace("{}", operand),
        (true, None) => {
            return Err(Failure::text(format!(
                "'{path}' requires at least 1 argument\n\nSee '{path} --help' for more information"
            )));
        }
    };
    Ok(match method {
        Method::Get => Request::get(target),
        Method::Post => Request::post(target),
        Method::Put => Request::put(target),
        Method::Delete => Request::delete(target),
    })
}
