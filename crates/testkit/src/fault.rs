//! What a registry may do wrong.

/// One kind of misbehaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Another status, with headers and a body, in place of the answer.
    Status(u16, Vec<(String, String)>, Vec<u8>),
    /// One byte of the body is another one.
    WrongBytes,
    /// The body has these bytes more behind it, and the length says so.
    Longer(Vec<u8>),
    /// The length says so many bytes more than come; then the connection ends.
    Short(usize),
    /// The connection ends after so many bytes of the body.
    CutAfter(usize),
    /// Nothing comes after so many bytes of the body, and the connection stays open.
    StallAfter(usize),
    /// The body comes at so many bytes in a second.
    Slow(u64),
    /// The answer comes so many milliseconds later.
    Late(u64),
    /// The connection ends before the answer.
    NoAnswer,
    /// These bytes in place of an answer.
    Raw(Vec<u8>),
    /// Another media type.
    ContentType(String),
    /// Another `Docker-Content-Digest`; none when empty.
    ContentDigest(String),
    /// The whole content, whatever part was asked for.
    IgnoreRange,
    /// A `Location` (and status 307) in place of the answer. `{self}` in it is the path that was asked for.
    Redirect(String),
    /// Headers that fill so many bytes.
    HugeHead(usize),
}

/// A fault, and what it is done to.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) method: String,
    pub(crate) part: String,
    pub(crate) times: u32,
    pub(crate) fault: Fault,
}

/// The fault for a request; uses up one of its times.
pub(crate) fn choose(rules: &mut [Rule], method: &str, target: &str) -> Option<Fault> {
    let fits = |rule: &&mut Rule| {
        rule.times > 0 && (rule.method.is_empty() || rule.method == method) && target.contains(&rule.part)
    };
    let rule = rules.iter_mut().find(fits)?;
    rule.times -= 1;
    Some(rule.fault.clone())
}
