//! The progress of pull, push, load and import: lines that change in place on a terminal, plain lines elsewhere.

use api::progress::{Message, Progress};
use client::JsonLines;

use super::units::human_size_precise;
use crate::failure::Failure;

/// Prints progress as it comes, and returns the `aux` values. An error in the stream ends it.
pub(crate) async fn follow(
    mut lines: JsonLines,
    mut sink: impl std::io::Write,
    terminal: bool,
) -> Result<Vec<serde_json::Value>, Failure> {
    let mut screen = Screen::new(terminal);
    let mut aux = Vec::new();
    while let Some(message) = lines.next::<Message>().await? {
        if let Some(error) = message.error {
            let code = if (1..=255).contains(&error.code) { error.code as i32 } else { 1 };
            return Err(Failure::coded(code, error.message));
        }
        if !message.error_message.is_empty() {
            return Err(Failure::text(message.error_message));
        }
        let text = screen.show(&message);
        aux.extend(message.aux);
        sink.write_all(text.as_bytes())
            .and_then(|()| sink.flush())
            .map_err(|error| super::unwritable(&error))?;
    }
    Ok(aux)
}

/// Which line of the terminal belongs to which id.
pub(crate) struct Screen {
    terminal: bool,
    ids: Vec<String>,
}

impl Screen {
    /// An empty screen; without a terminal every message is a line of its own.
    pub(crate) fn new(terminal: bool) -> Self {
        Self { terminal, ids: Vec::new() }
    }

    /// The text that shows a message.
    pub(crate) fn show(&mut self, message: &Message) -> String {
        let bar = message.progress.as_ref().map(bar).unwrap_or_default();
        if !self.terminal {
            // Plain output has no room for numbers that change.
            let silent =
                message.progress.as_ref().is_some_and(|progress| progress.current > 0 || progress.total > 0);
            return if silent { String::new() } else { plain(message) };
        }
        if message.id.is_empty() || (message.progress.is_none() && message.status.is_empty()) {
            // What stands below the changing lines starts a new block.
            if message.id.is_empty() {
                self.ids.clear();
            }
            return plain(message);
        }
        let known = self.ids.iter().position(|id| *id == message.id);
        let (up, first) = match known {
            Some(line) => (self.ids.len() - line, false),
            None => {
                self.ids.push(message.id.clone());
                (0, true)
            }
        };
        let text = format!("{}: {} {bar}", message.id, message.status);
        if first {
            return format!("\x1b[2K\r{}\r\n", text.trim_end());
        }
        format!("\x1b[{up}A\x1b[2K\r{}\r\x1b[{up}B", text.trim_end())
    }
}

fn plain(message: &Message) -> String {
    if !message.stream.is_empty() {
        return message.stream.clone();
    }
    match (message.id.as_str(), message.status.as_str()) {
        ("", "") => String::new(),
        ("", status) => format!("{status}\n"),
        (id, status) => format!("{id}: {status}\n"),
    }
}

/// `[=====>      ]  1.2MB/10MB`.
fn bar(progress: &Progress) -> String {
    let amount = |value: i64| match progress.units.as_str() {
        "" => human_size_precise(value as f64),
        units => format!("{value} {units}"),
    };
    if progress.current <= 0 && progress.total <= 0 {
        return String::new();
    }
    if progress.total <= 0 {
        return format!("{:>8}", amount(progress.current));
    }
    const WIDTH: i64 = 50;
    let filled = (progress.current.clamp(0, progress.total) * WIDTH / progress.total) as usize;
    let head = if filled < WIDTH as usize { ">" } else { "" };
    let bar = format!("[{:<51}]", format!("{}{head}", "=".repeat(filled)));
    let bar = if filled == WIDTH as usize { format!("[{}>]", "=".repeat(filled)) } else { bar };
    if progress.hide_counts {
        return bar;
    }
    let current = amount(progress.current);
    match progress.current > progress.total {
        true => format!("{bar}  {current:>8}"),
        false => format!("{bar}  {current:>8}/{}", amount(progress.total)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_output_has_a_line_per_step() {
        let mut screen = Screen::new(false);
        assert_eq!(
            screen.show(&Message::status("latest", "Pulling from library/x")),
            "latest: Pulling from library/x\n"
        );
        assert_eq!(screen.show(&Message::progress("abc", "Downloading", 5, 10)), "");
        assert_eq!(screen.show(&Message::status("abc", "Pull complete")), "abc: Pull complete\n");
        assert_eq!(screen.show(&Message::stream("Loaded image: x\n")), "Loaded image: x\n");
        assert_eq!(screen.show(&Message::aux(serde_json::json!({}))), "");
    }

    #[test]
    fn a_terminal_has_a_line_per_layer_that_changes() {
        let mut screen = Screen::new(true);
        assert_eq!(screen.show(&Message::status("a", "Waiting")), "\x1b[2K\ra: Waiting\r\n");
        assert_eq!(screen.show(&Message::status("b", "Waiting")), "\x1b[2K\rb: Waiting\r\n");
        let bar = format!("[{:<51}]", format!("{}>", "=".repeat(25)));
        assert_eq!(
            screen.show(&Message::progress("a", "Downloading", 500_000, 1_000_000)),
            format!("\x1b[2A\x1b[2K\ra: Downloading {bar}     500kB/1MB\r\x1b[2B")
        );
    }
}
