//! One line of comma-separated fields with double quotes (RFC 4180), as in `--mount` and `--gpus`.

/// The fields of a line.
pub(crate) fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if let Some(quote) = rest[..end].find('"') {
                let column = line.len() - rest.len() + quote + 1;
                return Err(format!("parse error on line 1, column {column}: bare \" in non-quoted-field"));
            }
            (rest[..end].to_owned(), &rest[end..])
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

fn quoted_field(mut rest: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    loop {
        let Some((text, after)) = rest.split_once('"') else {
            return Err("parse error on line 1: extraneous or missing \" in quoted-field".to_owned());
        };
        field.push_str(text);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None if after.is_empty() || after.starts_with(',') => return Ok((field, after)),
            None => return Err("parse error on line 1: extraneous or missing \" in quoted-field".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_commas_together() {
        let check = |line: &str, expected: &[&str]| {
            assert_eq!(
                fields(line),
                Ok(expected.iter().map(|field| (*field).to_owned()).collect()),
                "{line}"
            );
        };
        check("a,b", &["a", "b"]);
        check("", &[""]);
        check("a,", &["a", ""]);
        check("\"a,b\",c", &["a,b", "c"]);
        check("\"say \"\"x\"\"\"", &["say \"x\""]);
        assert!(fields("a\"b").is_err());
        assert!(fields("\"ab").is_err());
        assert!(fields("\"a\"b").is_err());
    }
}
