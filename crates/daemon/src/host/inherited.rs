//! Sockets that the service manager made and handed over: sd_listen_fds(3).

use std::os::fd::OwnedFd;

/// The first descriptor that is handed over.
const FIRST: i32 = 3;

/// What the environment says about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// `LISTEN_PID`: for whom they are.
    pub pid: Option<String>,
    /// `LISTEN_FDS`: how many there are.
    pub count: Option<String>,
    /// `LISTEN_FDNAMES`: their names, separated by colons.
    pub names: Option<String>,
}

/// A socket that was handed over.
#[derive(Debug)]
pub struct Inherited {
    /// Its number as a descriptor: 3 is the first.
    pub number: i32,
    /// Its name; empty when it has none.
    pub name: String,
    /// The socket.
    pub fd: OwnedFd,
}

/// The names of the sockets that are for this process, in order; how many there are is how long the list is.
pub fn announced(announcement: &Announcement, own_pid: u32) -> Result<Vec<String>, String> {
    let is_ours = announcement.pid.as_ref().is_some_and(|pid| pid.trim() == own_pid.to_string());
    let Some(count) = announcement.count.as_deref().filter(|_| is_ours) else { return Ok(Vec::new()) };
    let count: u16 = count.parse().map_err(|_| format!("LISTEN_FDS={count:?} is not a number of sockets"))?;
    let names = announcement.names.as_deref().unwrap_or_default();
    let mut names: Vec<String> = names.split(':').map(str::to_owned).collect();
    names.resize(usize::from(count), String::new());
    Ok(names)
}

/// Takes the sockets that are for this process. Once in a process.
pub fn take(announcement: &Announcement) -> Result<Vec<Inherited>, String> {
    let names = announced(announcement, std::process::id())?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // What this process starts has no use for them.
    linux::process::close_on_exec_from(FIRST as u32).map_err(|error| {
        format!("cannot keep the sockets that LISTEN_FDS announces to ourselves: {error}")
    })?;
    let take = |(number, name): (i32, String)| {
        let fd = linux::process::inherited(number);
        let fd = fd.ok_or_else(|| format!("LISTEN_FDS announces descriptor {number}, and it is not open"))?;
        Ok(Inherited { number, name, fd })
    };
    (FIRST..).zip(names).map(take).collect()
}

/// Takes those that `which` means out of the list: all when it is empty, else by number or name.
pub fn choose(which: &str, all: &mut Vec<Inherited>) -> Result<Vec<Inherited>, String> {
    let is_meant =
        |socket: &Inherited| which.is_empty() || socket.name == which || which.parse() == Ok(socket.number);
    let (meant, rest) = std::mem::take(all).into_iter().partition(is_meant);
    *all = rest;
    if Vec::<Inherited>::is_empty(&meant) {
        return Err(format!(
            "no sockets found for fd://{which}: the service manager handed over none{}. Start the daemon through its \
             socket unit, or use another -H",
            if which.is_empty() { "" } else { " of this number or name" }
        ));
    }
    Ok(meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pid: &str, count: &str, names: &str, expected: Result<&[&str], &str>) {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let said = Announcement { pid: some(pid), count: some(count), names: some(names) };
        let expected: Result<Vec<String>, String> = expected
            .map(|names| names.iter().map(|name| (*name).to_owned()).collect())
            .map_err(str::to_owned);
        assert_eq!(announced(&said, 7), expected, "{said:?}");
    }

    #[test]
    fn sockets_for_this_process_are_counted() {
        check("", "", "", Ok(&[]));
        check("8", "2", "", Ok(&[]));
        check("7", "", "", Ok(&[]));
        check("7", "2", "", Ok(&["", ""]));
        check("7", "2", "a:b", Ok(&["a", "b"]));
        check("7", "1", "a:b", Ok(&["a"]));
        check("7", "x", "", Err("LISTEN_FDS=\"x\" is not a number of sockets"));
        check("7", "70000", "", Err("LISTEN_FDS=\"70000\" is not a number of sockets"));
    }

    #[test]
    fn one_is_chosen_by_number_or_name() {
        let socket = |number: i32, name: &str| {
            let (fd, _) = std::os::unix::net::UnixStream::pair().expect("a pair");
            Inherited { number, name: name.into(), fd: fd.into() }
        };
        let mut all = vec![socket(3, "a"), socket(4, "b"), socket(5, "a")];
        let numbers = |found: Vec<Inherited>| found.iter().map(|socket| socket.number).collect::<Vec<_>>();
        assert_eq!(numbers(choose("4", &mut all).expect("there")), [4]);
        assert_eq!(numbers(choose("a", &mut all).expect("there")), [3, 5]);
        assert!(choose("a", &mut all).is_err_and(|error| error.contains("no sockets found for fd://a")));
        assert!(choose("", &mut all).is_err());
    }
}
