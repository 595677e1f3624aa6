//! From samples to a page: medians, spread, processor time, and ratios to ours, which is the first column.

use super::Sample;
use crate::process;
use anyhow::Result;
use std::fmt::Write;

/// One comparison: the first column is ours.
#[derive(Debug)]
pub(super) struct Table {
    title: String,
    columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// One workload, with a cell for each column.
#[derive(Debug)]
pub(super) struct Row {
    name: String,
    cells: Vec<Cell>,
}

/// What is printed, and the number that ratios are made of.
#[derive(Debug)]
struct Cell {
    text: String,
    value: f64,
}

impl Table {
    pub(super) fn new(title: &str, columns: Vec<String>) -> Self {
        Self { title: title.to_owned(), columns, rows: Vec::new() }
    }

    fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n| |", self.title);
        for column in &self.columns {
            let _ = write!(text, " {column} |");
        }
        for column in &self.columns[1..] {
            let _ = write!(text, " {column} / {} |", self.columns[0]);
        }
        text.push_str("\n|---|");
        text.push_str(&"---|".repeat(2 * self.columns.len() - 1));
        for row in &self.rows {
            let _ = write!(text, "\n| {} |", row.name);
            for cell in &row.cells {
                let _ = write!(text, " {} |", cell.text);
            }
            for cell in &row.cells[1..] {
                let _ = write!(text, " {:.1} |", cell.value / row.cells[0].value);
            }
        }
        text.push('\n');
        text
    }
}

impl Row {
    /// The median of the wall clock in ms, the middle half of the samples, and the median of the processor time.
    pub(super) fn times(name: &str, samples: &[Vec<Sample>]) -> Self {
        let cells = samples
            .iter()
            .map(|samples| {
                let wall = sorted(samples.iter().map(|sample| sample.wall.as_secs_f64() * 1000.0));
                let cpu = sorted(samples.iter().map(|sample| sample.cpu.as_secs_f64() * 1000.0));
                let (low, high) = (quantile(&wall, 0.25), quantile(&wall, 0.75));
                let text = format!(
                    "**{:.1}** ms ({low:.1}-{high:.1}), {:.1} CPU",
                    quantile(&wall, 0.5),
                    quantile(&cpu, 0.5)
                );
                Cell { text, value: quantile(&wall, 0.5) }
            })
            .collect();
        Self { name: name.to_owned(), cells }
    }

    pub(super) fn kilobytes(name: &str, values: impl Iterator<Item = u64>) -> Self {
        let cells =
            values.map(|value| Cell { text: format!("**{value}** kB"), value: value as f64 }).collect();
        Self { name: name.to_owned(), cells }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which a part of the sorted values lies; NaN when there are none.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1) as f64;
    // Between 0 and the last index: the cast is exact.
    sorted.get((last * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The whole page, with the machine and the versions it was measured on.
pub(super) fn page(tables: &[Table], rounds: usize) -> Result<String> {
    let mut text =
        String::from("# Benchmarks\n\nMade by `cargo xtask bench`; run it again on a machine of your own. ");
    let _ = writeln!(
        text,
        "Every cell is the median of {rounds} runs, with the middle half of\nthem in brackets and the processor time of all processes that took part (client, daemon, shims, container). The\ncandidates take turns within each round. A ratio above 1 says how many times longer the peer takes, or how much more it needs.\n"
    );
    text.push_str(
        "Docker here is Debian's docker.io with its own client; the newest engine is not packaged there.\n\n",
    );
    for table in tables {
        text.push_str(&table.markdown());
        text.push('\n');
    }
    text.push_str("## The machine and the versions\n\n");
    for (name, value) in machine()? {
        let _ = writeln!(text, "- {name}: {value}");
    }
    Ok(text)
}

fn machine() -> Result<Vec<(&'static str, String)>> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    // Only the number: the rest of the release names the machine's maker.
    let kernel = kernel.split('-').next().unwrap_or_default().trim().to_owned();
    let first = |program: &str, argument: &str| -> Result<String> {
        Ok(process::output(program, &[argument])?.lines().next().unwrap_or_default().to_owned())
    };
    Ok(vec![
        (
            "processors",
            format!(
                "{} x {}",
                cpu.matches("processor\t").count(),
                model.trim_start_matches([' ', '\t', ':'])
            ),
        ),
        (
            "memory",
            memory.lines().next().unwrap_or_default().trim_start_matches("MemTotal:").trim().to_owned(),
        ),
        ("Linux", kernel),
        ("docker.io", first("dockerd", "--version")?),
        ("podman", first("podman", "--version")?),
        ("crun", first("crun", "--version")?),
        ("runc", first("runc", "--version")?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut table = Table::new("T", vec!["a".to_owned(), "b".to_owned()]);
        table.rows.push(Row::kilobytes("memory", [10, 35].into_iter()));
        let expected =
            "## T\n\n| | a | b | b / a |\n|---|---|---|---|\n| memory | **10** kB | **35** kB | 3.5 |\n";
        assert_eq!(table.markdown(), expected);
    }
}
