//! `--volume`: an anonymous volume, a named volume or a directory of the host, and where it goes.

use std::path::Path;

/// What `--volume` means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Volume {
    /// A new volume without a name, at this path.
    Anonymous(String),
    /// An entry of `HostConfig.Binds`.
    Bind(String),
}

/// Reads `[SOURCE:]TARGET[:OPTIONS]`. A source that starts with a dot is made absolute in `directory`.
pub(crate) fn parse(text: &str, directory: &Path) -> Result<Volume, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    // Docker takes the shortest texts for a target without looking at them.
    let Some((source, rest)) = text.split_once(':').filter(|_| text.len() > 2) else {
        return Ok(Volume::Anonymous(text.to_owned()));
    };
    let sections: Vec<&str> = rest.split(':').collect();
    if source.is_empty() || sections.iter().any(|section| section.is_empty()) {
        return Err(format!("invalid spec: {text}: empty section between colons"));
    }
    if source.starts_with('.') {
        let absolute = clean(&directory.join(source));
        return Ok(Volume::Bind(format!("{absolute}:{rest}")));
    }
    if sections.len() == 1 && text.len() <= 3 && !source.starts_with('/') {
        return Ok(Volume::Anonymous(text.to_owned()));
    }
    Ok(Volume::Bind(text.to_owned()))
}

/// The path without `.` and `..`, by its text alone.
pub(crate) fn clean(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let text = path.to_string_lossy();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_named_bound_or_anonymous() {
        let check = |text: &str, expected: Result<Volume, &str>| {
            assert_eq!(parse(text, Path::new("/here/now")), expected.map_err(str::to_owned), "{text}");
        };
        let bind = |text: &str| Ok(Volume::Bind(text.to_owned()));
        check("/data", Ok(Volume::Anonymous("/data".to_owned())));
        check("/", Ok(Volume::Anonymous("/".to_owned())));
        check("../x", Ok(Volume::Anonymous("../x".to_owned())));
        check("vol:/c", bind("vol:/c"));
        check("/a:/b:ro", bind("/a:/b:ro"));
        check("/a:b", bind("/a:b"));
        check("./x:/y", bind("/here/now/x:/y"));
        check("../x:/y:ro", bind("/here/x:/y:ro"));
        check(".:/y", bind("/here/now:/y"));
        check("", Err("invalid empty volume spec"));
        check("/a:", Err("invalid spec: /a:: empty section between colons"));
        check(":/a", Err("invalid spec: :/a: empty section between colons"));
    }
}
