//! JSON for people: indented by four blanks, with every number and string as the daemon wrote it.

/// Indents a JSON text; the text must be JSON, its tokens are not changed.
pub(crate) fn indent(text: &str, depth: usize) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = depth;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                out.push('"');
                copy_string(&mut letters, &mut out);
            }
            '{' | '[' => {
                out.push(letter);
                while letters.peek().is_some_and(char::is_ascii_whitespace) {
                    letters.next();
                }
                if let Some(close) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            letter if letter.is_ascii_whitespace() => {}
            letter => out.push(letter),
        }
    }
    out
}

fn copy_string(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    while let Some(letter) = letters.next() {
        out.push(letter);
        match letter {
            '"' => return,
            '\\' => out.extend(letters.next()),
            _ => {}
        }
    }
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str("    ");
    }
}

/// A list of JSON documents as `inspect` prints it.
pub(crate) fn indented_list(documents: &[String]) -> String {
    if documents.is_empty() {
        return "[]\n".to_owned();
    }
    let items: Vec<String> =
        documents.iter().map(|document| format!("    {}", indent(document, 1))).collect();
    format!("[\n{}\n]\n", items.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stay_as_they_are() {
        let text = r#" {"a" : [1.50e3, {}, [ ], "x:{,\"]"], "b":{"c":null}} "#;
        let expected = "{\n    \"a\": [\n        1.50e3,\n        {},\n        [],\n        \"x:{,\\\"]\"\n    ],\n    \"b\": {\n        \"c\": null\n    }\n}";
        assert_eq!(indent(text, 0), expected);
        assert_eq!(
            indented_list(&["1".into(), "{\"a\":2}".into()]),
            "[\n    1,\n    {\n        \"a\": 2\n    }\n]\n"
        );
        assert_eq!(indented_list(&[]), "[]\n");
    }
}
