//! From samples to a page: medians, spread, processor time, ratios to ours (the first column), floors and targets.

use super::{Sample, machine};
use crate::peers::Peers;
use anyhow::Result;
use std::fmt::Write;

/// One comparison: the first column is ours.
#[derive(Debug)]
pub(super) struct Table {
    title: String,
    /// What has to be known to read it, below the title.
    note: String,
    columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// One workload, with a cell for each column.
#[derive(Debug)]
pub(super) struct Row {
    name: String,
    cells: Vec<Option<Cell>>,
    floor: String,
    targets: Vec<Target>,
}

/// What is printed, and the numbers that ratios are made of.
#[derive(Debug)]
struct Cell {
    text: String,
    value: f64,
    cpu: Option<f64>,
}

/// What an issue asks of a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// Ours takes at most this part of the time of the column (`0.6` of crun's); the processor time as well, when it
    /// says so.
    AtMost { part: f64, of: usize, cpu: bool },
    /// Our number is below this.
    Below(f64),
    /// Our number is at least this many times that of the column.
    AtLeast { times: f64, of: usize },
}

/// A target with its fate.
#[derive(Debug)]
struct Verdict {
    met: bool,
    words: String,
}

impl Table {
    pub(super) fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Self { title: title.to_owned(), note: String::new(), columns, rows: Vec::new() }
    }

    pub(super) fn note(mut self, text: &str) -> Self {
        text.clone_into(&mut self.note);
        self
    }

    pub(super) fn markdown(&self) -> String {
        let has_floor = self.rows.iter().any(|row| !row.floor.is_empty());
        let has_target = self.rows.iter().any(|row| !row.targets.is_empty());
        let mut head: Vec<String> = self.columns.clone();
        head.extend(self.columns[1..].iter().map(|column| format!("{column} / {}", self.columns[0])));
        head.extend(has_floor.then(|| "floor".to_owned()));
        head.extend(has_target.then(|| "target".to_owned()));
        let note = if self.note.is_empty() { String::new() } else { format!("{}\n\n", self.note) };
        let mut text = format!("## {}\n\n{note}| | {} |\n|---|", self.title, head.join(" | "));
        text.push_str(&"---|".repeat(head.len()));
        for row in &self.rows {
            let mut cells: Vec<String> = row
                .cells
                .iter()
                .map(|cell| cell.as_ref().map_or("–".to_owned(), |cell| cell.text.clone()))
                .collect();
            cells.extend((1..row.cells.len()).map(|column| row.ratio(column)));
            cells.extend(has_floor.then(|| row.floor.clone()));
            cells.extend(has_target.then(|| {
                let verdicts = row.verdicts(&self.columns);
                let words = verdicts.iter().map(|one| {
                    if one.met { format!("{} ✓", one.words) } else { format!("**{} missed**", one.words) }
                });
                words.collect::<Vec<_>>().join(", ")
            }));
            let _ = write!(text, "\n| {} | {} |", row.name, cells.join(" | "));
        }
        text.push('\n');
        text
    }

    /// One line for each target of the table: where it stands.
    fn verdicts(&self) -> Vec<(bool, String)> {
        let lines = self.rows.iter().flat_map(|row| {
            let verdicts = row.verdicts(&self.columns).into_iter();
            verdicts.map(move |one| (one.met, format!("{}: {}: {}", self.title, row.name, one.words)))
        });
        lines.collect()
    }
}

impl Row {
    /// The median of the wall clock in ms, the middle half of the samples, and the median of the processor time. A column
    /// without samples stays empty.
    pub(super) fn times(name: &str, samples: &[Vec<Sample>]) -> Self {
        let cells = samples.iter().map(|samples| {
            if samples.is_empty() {
                return None;
            }
            let wall = sorted(samples.iter().map(|sample| sample.wall.as_secs_f64() * 1000.0));
            let cpu = sorted(samples.iter().map(|sample| sample.cpu.as_secs_f64() * 1000.0));
            let (low, middle, high) = (quantile(&wall, 0.25), quantile(&wall, 0.5), quantile(&wall, 0.75));
            let used = quantile(&cpu, 0.5);
            let spread =
                if wall.len() > 2 { format!(" ({}-{})", plain(low), plain(high)) } else { String::new() };
            let text = format!("**{}** ms{spread}, {} CPU", plain(middle), plain(used));
            Some(Cell { text, value: middle, cpu: Some(used) })
        });
        Self { name: name.to_owned(), cells: cells.collect(), floor: String::new(), targets: Vec::new() }
    }

    /// One number for each column.
    pub(super) fn numbers(name: &str, unit: &str, values: &[Option<f64>]) -> Self {
        let cell = |value: f64| Cell {
            text: format!("**{}** {unit}", plain(value)).replace("** %", "**%"),
            value,
            cpu: None,
        };
        let cells = values.iter().map(|value| value.map(cell)).collect();
        Self { name: name.to_owned(), cells, floor: String::new(), targets: Vec::new() }
    }

    /// What the machine needs at least for the same.
    pub(super) fn floor(mut self, text: impl Into<String>) -> Self {
        self.floor = text.into();
        self
    }

    pub(super) fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Our median or number.
    pub(super) fn ours(&self) -> f64 {
        self.cells.first().and_then(Option::as_ref).map_or(f64::NAN, |cell| cell.value)
    }

    fn ratio(&self, column: usize) -> String {
        let (Some(Some(ours)), Some(Some(theirs))) = (self.cells.first(), self.cells.get(column)) else {
            return "–".to_owned();
        };
        let wall = plain_ratio(theirs.value / ours.value);
        match (ours.cpu, theirs.cpu) {
            (Some(ours), Some(theirs)) => format!("{wall} ({} CPU)", plain_ratio(theirs / ours)),
            _ => wall,
        }
    }

    fn verdicts(&self, columns: &[String]) -> Vec<Verdict> {
        self.targets.iter().filter_map(|target| self.verdict(target, columns)).collect()
    }

    /// `None` when there is nothing to compare with.
    fn verdict(&self, target: &Target, columns: &[String]) -> Option<Verdict> {
        let ours = self.cells.first()?.as_ref()?;
        match *target {
            Target::Below(limit) => Some(Verdict {
                met: ours.value < limit,
                words: format!("below {}: {}", plain(limit), plain(ours.value)),
            }),
            Target::AtLeast { times, of } => {
                let found = ours.value / self.cells.get(of)?.as_ref()?.value;
                let words = format!("at least {} of {}: {}", plain(times), columns[of], plain_ratio(found));
                Some(Verdict { met: found >= times, words })
            }
            Target::AtMost { part, of, cpu } => {
                let theirs = self.cells.get(of)?.as_ref()?;
                let wall = ours.value / theirs.value;
                let used = ours.cpu.zip(theirs.cpu).filter(|_| cpu).map(|(ours, theirs)| ours / theirs);
                let shown = used.map_or(String::new(), |used| format!(", {} CPU", plain_ratio(used)));
                let words =
                    format!("at most {} of {}: {}{shown}", plain_ratio(part), columns[of], plain_ratio(wall));
                Some(Verdict { met: wall <= part && used.is_none_or(|used| used <= part), words })
            }
        }
    }
}

/// A number with as many places as say something.
fn plain(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 || size.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn plain_ratio(value: f64) -> String {
    if value.abs() < 1.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

pub(super) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which a part of the sorted values lies; NaN when there are none.
pub(super) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1) as f64;
    // Between 0 and the last index: the cast is exact.
    sorted.get((last * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The whole page, with the machine, the versions and the commands it was measured with.
pub(super) fn page(tables: &[Table], rounds: usize, whose: &str, peers: Option<&Peers>) -> Result<String> {
    let mut text = INTRODUCTION.replace("ROUNDS", &rounds.to_string()).replace("WHOSE", whose);
    for table in tables {
        text.push_str(&table.markdown());
        text.push('\n');
    }
    text.push_str("## Targets\n\n");
    let verdicts: Vec<_> = tables.iter().flat_map(Table::verdicts).collect();
    let met = verdicts.iter().filter(|(met, _)| *met).count();
    let _ = writeln!(text, "{met} of {} targets are met.", verdicts.len());
    for (_, line) in verdicts.iter().filter(|(met, _)| !met) {
        let _ = write!(text, "\n- missed: {line}");
    }
    text.push_str("\n\n## The machine and the versions\n\n");
    for (name, value) in machine::facts(peers)? {
        let _ = writeln!(text, "- {name}: {value}");
    }
    Ok(text)
}

const INTRODUCTION: &str = "\
# Benchmarks

Made by `cargo xtask bench`; run it again on a machine of your own (`cargo xtask bench --quick` takes a part of the
time, `cargo xtask bench WORD…` only the sections whose names contain a word). Times are medians of ROUNDS runs unless a
section says otherwise, with the middle half of them in brackets and the processor time of all processes that took part
(client, daemon, shims, container). The candidates take turns within each round. A ratio above 1 says how many times
longer the peer takes, or how much more it needs. The floor is what this machine needs at least for the same work,
measured in the same run by a program that does nothing else (`crates/image/examples/floor.rs`).

The peers are WHOSE; their versions are at the end.
Docker is docker.io with its own client, containerd and runc and its default settings, but for live-restore, which ours does
always; Podman has crun. Every engine has a network namespace, directories on the same disk and a daemon of its own. BuildKit
is not compared: ours does not build images yet.

";

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn quantiles_of_a_few_values() {
        let values = sorted([3.0, 1.0, 2.0, 5.0, 4.0].into_iter());
        assert_eq!(
            (quantile(&values, 0.25), quantile(&values, 0.5), quantile(&values, 0.75)),
            (2.0, 3.0, 4.0)
        );
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_table_has_ratios_to_the_first_column() {
        let mut table = Table::new("T", &["a", "b"]);
        table.rows.push(Row::numbers("memory", "kB", &[Some(10.0), Some(35.0)]));
        let expected =
            "## T\n\n| | a | b | b / a |\n|---|---|---|---|\n| memory | **10** kB | **35** kB | 3.5 |\n";
        assert_eq!(table.markdown(), expected);
    }

    #[test]
    fn a_target_says_where_it_stands() {
        let sample =
            |wall, cpu| Sample { wall: Duration::from_millis(wall), cpu: Duration::from_millis(cpu) };
        let mut table = Table::new("T", &["a", "b"]);
        let row = Row::times("run", &[vec![sample(5, 7)], vec![sample(10, 10)]]);
        table.rows.push(row.target(Target::AtMost { part: 0.6, of: 1, cpu: true }).floor("1 ms"));
        table.rows.push(Row::numbers("memory", "kB", &[Some(10.0), None]).target(Target::Below(11.0)));
        assert_eq!(
            table.verdicts(),
            [
                (false, "T: run: at most 0.60 of b: 0.50, 0.70 CPU".to_owned()),
                (true, "T: memory: below 11: 10".to_owned()),
            ]
        );
        let text = table.markdown();
        assert!(
            text.contains("| 2.0 (1.4 CPU) | 1 ms | **at most 0.60 of b: 0.50, 0.70 CPU missed** |"),
            "{text}"
        );
        assert!(text.contains("| **10** kB | – | – |  | below 11: 10 ✓ |"), "{text}");
    }
}
