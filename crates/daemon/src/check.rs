//! `berth system check --data-root`: a look at what a daemon keeps while there is none, for when it does not start.

use std::ffi::OsString;
use std::path::PathBuf;

/// What is to be looked at.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    data_root: PathBuf,
    repair: bool,
}

const USAGE: &str = "Usage:  berth system check --data-root DIR [--repair]";

fn parse(args: impl Iterator<Item = OsString>) -> Result<Request, String> {
    let (mut data_root, mut repair) = (None, false);
    let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--repair" | "--repair=true" => repair = true,
            "--repair=false" => repair = false,
            "--data-root" => data_root = args.next().map(PathBuf::from),
            other => match other.strip_prefix("--data-root=") {
                Some(path) => data_root = Some(PathBuf::from(path)),
                None => return Err(format!("unknown argument: {other}\n\n{USAGE}")),
            },
        }
    }
    let data_root = data_root.ok_or_else(|| format!("--data-root needs a directory\n\n{USAGE}"))?;
    Ok(Request { data_root, repair })
}

/// Checks, prints a line for each problem and each repair, and answers with the exit code: 1 when something is wrong and
/// was not repaired.
pub fn main(args: impl Iterator<Item = OsString>) -> i32 {
    let checked = parse(args).and_then(|request| {
        engine::images::check_at(&request.data_root, request.repair)
            .map(|report| (report, request.repair))
            .map_err(|error| error.to_string())
    });
    match checked {
        Ok((report, repaired)) => {
            for problem in &report.problems {
                println!("problem: {problem}");
            }
            for done in &report.repairs {
                println!("repaired: {done}");
            }
            i32::from(!report.problems.is_empty() && !repaired)
        }
        Err(words) => {
            eprintln!("berth: {words}");
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_say_where_and_whether_to_repair() {
        let check = |args: &[&str], expected: Option<(&str, bool)>| {
            let found = parse(args.iter().map(OsString::from)).ok();
            let expected = expected.map(|(path, repair)| Request { data_root: path.into(), repair });
            assert_eq!(found, expected, "{args:?}");
        };
        check(&["--data-root", "/d"], Some(("/d", false)));
        check(&["--repair", "--data-root=/d"], Some(("/d", true)));
        check(&["--repair"], None);
        check(&["--data-root=/d", "more"], None);
    }
}
