//! The processes of a container, as ps(1) of the host shows them.

use std::process::Command;
use std::time::Duration;

use api::container::TopResponse;

use super::state::State;
use crate::engine::Engine;
use crate::{Error, Result};

/// How long ps(1) may take: it reads what a process has mapped, which may be on a file system that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lists the processes of a running container. `arguments` are those of ps(1), `-ef` when empty; they may not contain
/// anything that ps takes for a file or a program.
pub async fn top(engine: &Engine, reference: &str, arguments: &str) -> Result<TopResponse> {
    let handle = engine.containers.find(reference)?;
    let view = handle.view();
    match view.state() {
        State::Running(_) | State::Paused(_) | State::Stopping { .. } => {}
        State::Restarting { .. } => {
            return Err(Error::conflict(format!(
                "Container {} is restarting, wait until the container is running",
                handle.id
            )));
        }
        _ => return Err(Error::conflict(format!("container {} is not running", handle.id))),
    }
    let arguments = if arguments.is_empty() { "-ef" } else { arguments }.to_owned();
    let (owned, record) = (engine.clone(), (*view.record).clone());
    let listing = engine.file_work.run(&handle.id, move || {
        let group = super::group::open(&owned, &record)?;
        let pids = group.pids().map_err(|error| Error::system(error.to_string()))?;
        run_ps(&arguments, &pids)
    });
    let answer = tokio::time::timeout(PATIENCE, listing).await.map_err(|_| {
        let seconds = PATIENCE.as_secs();
        Error::system(format!(
            "ps: no answer for {seconds} s: a process may wait for a file system that does not answer"
        ))
    })??;
    engine.events.publish("container", "top", &handle.id, view.record.attributes());
    Ok(answer)
}

fn run_ps(arguments: &str, pids: &[u32]) -> Result<TopResponse> {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let output = Command::new("ps").args(&words).output();
    let output = output.map_err(|error| Error::system(format!("ps: {error}")))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(Error::system(format!("ps: {}", words.lines().next().unwrap_or_default())));
    }
    parse_ps(&String::from_utf8_lossy(&output.stdout), pids)
}

/// Keeps the rows of `pids`. The last column takes the rest of a line.
fn parse_ps(text: &str, pids: &[u32]) -> Result<TopResponse> {
    let mut lines = text.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let column = titles.iter().position(|title| title == "PID");
    let column = column.ok_or_else(|| Error::invalid("Couldn't find PID field in ps output"))?;
    let mut processes = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let pid = fields.get(column).and_then(|field| field.parse::<u32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) && fields.len() >= titles.len() {
            let (head, rest) = fields.split_at(titles.len() - 1);
            let mut row: Vec<String> = head.iter().map(|field| (*field).to_owned()).collect();
            row.push(rest.join(" "));
            processes.push(row);
        }
    }
    Ok(TopResponse { processes, titles })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_other_processes_are_left_out() {
        let text = "UID   PID  PPID CMD\nroot    1     0 init splash\nroot   42     1 sh -c true\n";
        let answer = parse_ps(text, &[42]).expect("parse");
        assert_eq!(answer.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(answer.processes, [["root", "42", "1", "sh -c true"]]);
        assert!(parse_ps("COMMAND\n", &[]).is_err());
    }
}
