//! The program: arguments, environment, user, directory, and what an image adds to a request.

use std::collections::BTreeMap;

use api::config::Config;
use api::host_config::HostConfig;

use super::super::spec::{ProcessSpec, Rlimit};
use super::{Facts, security};
use crate::{Error, Result};

/// The most that arguments and environment together may be; more cannot be executed anyway.
const MAX_ARGUMENTS: usize = 4 << 20;

/// Adds what an image says to what a request says. The request wins; lists and maps are joined as Docker joins
/// them: environment by name, labels and volumes and ports by key, entry point and command as a pair.
pub(crate) fn merge_image(request: &Config, image: &Config) -> Config {
    let mut merged = request.clone();
    if merged.user.is_empty() {
        merged.user = image.user.clone();
    }
    for (port, empty) in &image.exposed_ports {
        merged.exposed_ports.entry(port.clone()).or_insert(*empty);
    }
    merged.env =
        Some(merge_env(image.env.as_deref().unwrap_or_default(), merged.env.as_deref().unwrap_or_default()));
    let mut labels = image.labels.clone().unwrap_or_default();
    labels.extend(merged.labels.take().unwrap_or_default());
    merged.labels = Some(labels);
    let none_given = merged.entrypoint.as_ref().is_none_or(Vec::is_empty);
    if none_given {
        if merged.cmd.as_ref().is_none_or(Vec::is_empty) {
            merged.cmd = image.cmd.clone();
        }
        merged.entrypoint = image.entrypoint.clone();
    }
    if merged.entrypoint.as_deref() == Some(&[String::new()]) {
        merged.entrypoint = None;
    }
    if let Some(check) = &image.healthcheck {
        let own = merged.healthcheck.get_or_insert_default();
        if own.test.as_ref().is_none_or(Vec::is_empty) {
            own.test = check.test.clone();
        }
        let inherit = |own: &mut i64, image: i64| {
            if *own == 0 {
                *own = image;
            }
        };
        inherit(&mut own.interval, check.interval);
        inherit(&mut own.timeout, check.timeout);
        inherit(&mut own.start_period, check.start_period);
        inherit(&mut own.start_interval, check.start_interval);
        inherit(&mut own.retries, check.retries);
    }
    if merged.working_dir.is_empty() {
        merged.working_dir = image.working_dir.clone();
    }
    if let Some(volumes) = &image.volumes {
        let own = merged.volumes.get_or_insert_default();
        for (path, empty) in volumes {
            own.entry(path.clone()).or_insert(*empty);
        }
    }
    if merged.stop_signal.is_empty() {
        merged.stop_signal = image.stop_signal.clone();
    }
    if merged.shell.is_none() {
        merged.shell = image.shell.clone();
    }
    if merged.on_build.is_none() {
        merged.on_build = image.on_build.clone();
    }
    // A wrong one stays as it is, and is refused with it.
    if merged.working_dir.starts_with('/') {
        merged.working_dir = super::mounts::clean(&merged.working_dir);
    }
    merged
}

/// The image's variables with the request's on top: same name replaces, a bare name removes.
fn merge_env(image: &[String], request: &[String]) -> Vec<String> {
    let name =
        |entry: &str| entry.split_once('=').map_or_else(|| entry.to_owned(), |(name, _)| name.to_owned());
    let own: BTreeMap<String, &String> = request.iter().map(|entry| (name(entry), entry)).collect();
    let inherited = image.iter().filter(|entry| !own.contains_key(&name(entry))).cloned();
    request.iter().cloned().chain(inherited).collect()
}

pub(super) fn resolve(config: &Config, host: &HostConfig, facts: &Facts<'_>) -> Result<ProcessSpec> {
    let entrypoint = config.entrypoint.clone().unwrap_or_default();
    let args: Vec<String> = entrypoint.into_iter().chain(config.cmd.clone().unwrap_or_default()).collect();
    if args.is_empty() {
        return Err(Error::invalid("no command specified"));
    }
    let env = environment(config)?;
    let bytes: usize = args.iter().chain(&env).map(|text| text.len() + 1).sum();
    if bytes > MAX_ARGUMENTS {
        return Err(Error::invalid(format!(
            "arguments and environment take {bytes} bytes; the kernel accepts at most {MAX_ARGUMENTS}"
        )));
    }
    if let Some(text) = args.iter().chain(&env).find(|text| text.contains('\0')) {
        return Err(Error::invalid(format!("{text:?} contains a NUL byte")));
    }
    Ok(ProcessSpec {
        args,
        env,
        cwd: working_dir(&config.working_dir)?,
        user: user(&config.user)?,
        groups: host.group_add.clone().unwrap_or_default(),
        tty: config.tty,
        console_size: host.console_size,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        capabilities: security::capabilities(host, facts.capabilities)?,
        no_new_privileges: security::no_new_privileges(host, facts.config.no_new_privileges)?,
        seccomp: security::seccomp(host, &facts.config.seccomp_profile)?,
        apparmor: security::apparmor(host)?,
        oom_score_adj: oom_score_adj(host.oom_score_adj)?,
        rlimits: rlimits(host)?,
        umask: host.umask,
    })
}

fn environment(config: &Config) -> Result<Vec<String>> {
    let given = config.env.clone().unwrap_or_default();
    if let Some(bad) = given.iter().find(|entry| entry.is_empty() || entry.starts_with('=')) {
        return Err(Error::invalid(format!("invalid environment variable: {bad}")));
    }
    // A bare name only removes an inherited variable; nothing of it reaches the program.
    Ok(given.into_iter().filter(|entry| entry.contains('=')).collect())
}

/// Numbers are checked at once; names when the container's files can be read.
fn user(text: &str) -> Result<String> {
    for part in text.split(':') {
        if let Some(number) = crate::container::user::number(part) {
            number?;
        }
    }
    Ok(text.to_owned())
}

fn working_dir(path: &str) -> Result<String> {
    match path {
        "" => Ok("/".to_owned()),
        path if path.starts_with('/') => Ok(super::mounts::clean(path)),
        path => Err(Error::invalid(format!(
            "the working directory '{path}' is invalid, it needs to be an absolute path"
        ))),
    }
}

fn oom_score_adj(value: i64) -> Result<i32> {
    match i32::try_from(value) {
        Ok(small) if (-1000..=1000).contains(&small) => Ok(small),
        _ => Err(Error::invalid(format!("Invalid value {value}, range for oom score adj is [-1000, 1000]"))),
    }
}

fn rlimits(host: &HostConfig) -> Result<Vec<Rlimit>> {
    let mut limits = Vec::new();
    for limit in host.resources.ulimits.iter().flatten() {
        if !api::host_config::ULIMITS.contains(&limit.name.as_str()) {
            return Err(Error::invalid(format!("invalid ulimit type: {}", limit.name)));
        }
        let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
        let (soft, hard) = (value(limit.soft), value(limit.hard));
        if soft > hard {
            return Err(Error::invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                limit.soft, limit.hard
            )));
        }
        limits.push(Rlimit { name: format!("RLIMIT_{}", limit.name.to_uppercase()), soft, hard });
    }
    Ok(limits)
}

/// The signal that stops a program; SIGTERM when the configuration does not say.
pub(crate) fn stop_signal_of(text: &str) -> Result<i32> {
    if text.is_empty() { Ok(15) } else { crate::container::signal::parse(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Option<Vec<String>> {
        Some(items.iter().map(|item| (*item).to_owned()).collect())
    }

    #[test]
    fn entry_point_and_command_are_merged_as_a_pair() {
        let image = Config { entrypoint: list(&["/e"]), cmd: list(&["a", "b"]), ..Config::default() };
        let merged = |entrypoint, cmd| {
            let merged = merge_image(&Config { entrypoint, cmd, ..Config::default() }, &image);
            (merged.entrypoint, merged.cmd)
        };
        assert_eq!(merged(None, None), (list(&["/e"]), list(&["a", "b"])));
        assert_eq!(merged(None, list(&["c"])), (list(&["/e"]), list(&["c"])));
        assert_eq!(merged(list(&["/f"]), None), (list(&["/f"]), None));
        assert_eq!(merged(list(&["/f"]), list(&["c"])), (list(&["/f"]), list(&["c"])));
        assert_eq!(merged(list(&[""]), list(&["c"])), (None, list(&["c"])));
    }

    #[test]
    fn variables_are_replaced_by_name() {
        let image = ["PATH=/bin".to_owned(), "A=1".to_owned(), "B=2".to_owned()];
        let request = ["A=9".to_owned(), "B".to_owned(), "C=3".to_owned()];
        assert_eq!(merge_env(&image, &request), ["A=9", "B", "C=3", "PATH=/bin"]);
    }
}
