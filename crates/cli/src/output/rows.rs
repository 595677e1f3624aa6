//! Tables and lists: rows of named fields, printed by a format.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use tabwriter::TabWriter;

use super::template::{Format, Label};
use crate::failure::Failure;

/// A kind of row: its fields and their headings, and how a table of them looks.
pub(crate) struct Kind {
    /// Field and heading.
    pub(crate) headings: &'static [(&'static str, &'static str)],
    /// The columns of the table, as a template.
    pub(crate) table: &'static str,
    /// What `--quiet` prints.
    pub(crate) quiet: &'static str,
}

/// One row: its fields, and the labels for `{{.Label "x"}}`.
#[derive(Default)]
pub(crate) struct Row {
    fields: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

impl Row {
    /// A row without labels.
    pub(crate) fn new<const N: usize>(fields: [(&str, String); N]) -> Self {
        Self { fields: fields.map(|(name, value)| (name.to_owned(), value)).into(), ..Self::default() }
    }

    /// Adds labels, also as the field `Labels`.
    pub(crate) fn labels(mut self, labels: &BTreeMap<String, String>) -> Self {
        let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.fields.insert("Labels".to_owned(), pairs.join(","));
        labels.clone_into(&mut self.labels);
        self
    }

    /// The value of a field.
    #[cfg(test)]
    pub(crate) fn field(&self, name: &str) -> &str {
        &self.fields[name]
    }
}

/// The format to use: what was typed, else the user's setting, else the table.
pub(crate) fn choose<'a>(typed: &'a str, quiet: bool, setting: &'a str) -> &'a str {
    match typed {
        "" if quiet || setting.is_empty() => "table",
        "" => setting,
        typed => typed,
    }
}

/// The text for `rows` by `format`: `table`, `table TEMPLATE`, `json`, or a template.
pub(crate) fn render(kind: &Kind, format: &str, quiet: bool, rows: &[Row]) -> Result<String, Failure> {
    let (text, heading) = match format.strip_prefix("table") {
        Some("") if quiet => (kind.quiet, false),
        Some("") => (kind.table, true),
        Some(rest) if rest.starts_with([' ', '\\', '\t', '{']) && quiet => (kind.quiet, false),
        Some(rest) if rest.starts_with([' ', '\\', '\t', '{']) => (rest.trim(), true),
        _ if format == "json" => ("{{json .}}", false),
        _ => (format, false),
    };
    let format = Format::parse(&text.replace("\\t", "\t").replace("\\n", "\n")).map_err(|failure| {
        Failure::text(failure.words().replacen("template parsing error", "failed to parse template", 1))
    })?;
    let mut lines = String::new();
    if heading {
        let headings =
            kind.headings.iter().map(|(field, heading)| ((*field).to_owned(), (*heading).to_owned()));
        let label: Label = Arc::new(label_heading);
        lines.push_str(&format.row(&headings.collect(), label)?);
        lines.push('\n');
    }
    for row in rows {
        let labels = row.labels.clone();
        let label: Label = Arc::new(move |name| labels.get(name).cloned().unwrap_or_default());
        lines.push_str(&format.row(&row.fields, label)?);
        lines.push('\n');
    }
    if heading { aligned(&lines, 10, 3) } else { Ok(lines) }
}

/// The heading of a column of labels: the last word of the label's name.
fn label_heading(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.replace(['-', '_'], " ")
}

/// Columns that are separated by tabs, aligned: at least so wide, with so many blanks between.
pub(crate) fn aligned(lines: &str, width: usize, padding: usize) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::text(format!("cannot align a table: {error}"));
    // Docker counts the blanks as part of the least width; this crate does not.
    let mut writer = TabWriter::new(Vec::new()).minwidth(width - padding).padding(padding);
    writer.write_all(lines.as_bytes()).map_err(|error| failed(&error))?;
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind {
        headings: &[("ID", "CONTAINER ID"), ("Name", "NAMES"), ("Labels", "LABELS")],
        table: "{{.ID}}\\t{{.Name}}",
        quiet: "{{.ID}}",
    };

    fn check(format: &str, quiet: bool, expected: &str) {
        let labels = [("com.x.job-name".to_owned(), "j".to_owned())].into();
        let rows = [
            Row::new([("ID", "1".to_owned()), ("Name", "web".to_owned())]).labels(&labels),
            Row::new([("ID", "22222222222222".to_owned()), ("Name", "db".to_owned())])
                .labels(&BTreeMap::new()),
        ];
        let found = match render(&KIND, format, quiet, &rows) {
            Ok(text) => text,
            Err(failure) => failure.words().to_owned(),
        };
        assert_eq!(found, expected, "{format}");
    }

    #[test]
    fn rows_are_printed_as_the_format_says() {
        check("table", false, "CONTAINER ID     NAMES\n1                web\n22222222222222   db\n");
        check("table", true, "1\n22222222222222\n");
        check(
            "table {{.Name}}\\t{{.ID}}",
            false,
            "NAMES     CONTAINER ID\nweb       1\ndb        22222222222222\n",
        );
        check("{{.Name}}:{{.Label \"com.x.job-name\"}}", false, "web:j\ndb:\n");
        check("table {{.Label \"com.x.job-name\"}}", false, "job name\nj\n\n");
        check(
            "json",
            false,
            "{\"ID\":\"1\",\"Labels\":\"com.x.job-name=j\",\"Name\":\"web\"}\n{\"ID\":\"22222222222222\",\"Labels\":\"\",\"Name\":\"db\"}\n",
        );
        check(
            "{{.Nope}}",
            false,
            "failed to execute template: template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\"",
        );
    }
}
