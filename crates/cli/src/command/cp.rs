//! `cp`: files between a container and this side, as archives.

use std::fs;
use std::path::{Path, PathBuf};

use api::path_stat::PathStat;
use client::{Client, Outgoing, Query, Request, Response};

use crate::archive::{pack, unpack::Unpacker};
use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::output::note;
use crate::output::units::human_size;
use crate::session::Session;
use crate::stream::{files, stdio};
use crate::value::volume::clean;

/// `cp`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\t{path} [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    about: "Copy files/folders between a container and the local filesystem",
    paths: &["container cp", "cp"],
    flags: &[&[
        Flag::switch("archive", "Archive mode (copy all uid/gid information)").short('a'),
        Flag::switch("follow-link", "Always follow symbol link in SRC_PATH").short('L'),
        Flag::switch(
            "quiet",
            "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
        )
        .short('q'),
    ]],
    operands: Operands::Exactly(2),
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed)),
};

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let (source, target) = (typed.operand(0), typed.operand(1));
    let copied = match (split(source), split(target)) {
        (Some(_), Some(_)) => return Err(Failure::text("copying between containers is not supported")),
        (None, None) => return Err(Failure::text("must specify at least one container source")),
        (Some((container, path)), None) => {
            let client = session.daemon().await?;
            from_container(client, container, path, target, typed.switch("follow-link")).await?
        }
        (None, Some((container, path))) => {
            let client = session.daemon().await?;
            into_container(client, source, container, path, typed).await?
        }
    };
    let shown = std::io::IsTerminal::is_terminal(&std::io::stderr()) && !typed.switch("quiet");
    if let Some(bytes) = copied.filter(|_| shown) {
        note(&format!("Successfully copied {} to {target}", human_size(bytes as f64)));
    }
    Ok(0)
}

/// `container:path`. A path of this side starts with `/` or `.`, or has no colon.
fn split(text: &str) -> Option<(&str, &str)> {
    let (container, path) = text.split_once(':')?;
    let local = container.starts_with(['/', '.']) || container.is_empty();
    (!local).then_some((container, path))
}

/// What the daemon says about a path: the header of every archive answer.
fn stat(response: &Response) -> Result<PathStat, Failure> {
    let words = "the daemon's answer does not say what the path is";
    PathStat::from_header(response.header(PathStat::HEADER)).ok_or_else(|| Failure::text(words))
}

async fn stat_in(client: &Client, container: &str, path: &str) -> Result<PathStat, client::Error> {
    let request =
        Request::head(format!("/containers/{container}/archive")).query(Query::new().with("path", path));
    let response = client.send(request).await?;
    Ok(stat(&response).unwrap_or_default())
}

/// Bit 31 of Go's file mode.
fn is_dir(stat: &PathStat) -> bool {
    stat.mode & 1 << 31 != 0
}

/// Where a link in a container leads, by its text.
fn resolve_link(path: &str, stat: &PathStat) -> String {
    if stat.link_target.is_empty() {
        return path.to_owned();
    }
    let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
    clean(&parent.join(&stat.link_target))
}

async fn from_container(
    client: &Client,
    container: &str,
    path: &str,
    target: &str,
    follow: bool,
) -> Result<Option<u64>, Failure> {
    let mut source = path.to_owned();
    if follow {
        // What cannot be looked at is told by the copy itself.
        if let Ok(stat) = stat_in(client, container, &source).await {
            source = resolve_link(&source, &stat);
        }
    }
    if target != "-" {
        files::check_directory(target)?;
    }
    let query = Query::new().with("path", &source);
    let request = Request::get(format!("/containers/{container}/archive")).query(query);
    let mut response = client.send(request).await?;
    if target == "-" {
        files::download(response, "").await?;
        return Ok(None);
    }
    let stat = stat(&response)?;
    let contents = source.ends_with("/.") || source == "." || stat.name == "/";
    let base = if contents { String::new() } else { stat.name.clone() };
    let place = local_target(target, is_dir(&stat), contents, &stat.name)?;
    let mut unpacker = Unpacker::new(&base, &place);
    let failed = |error: crate::archive::unpack::UnpackError| Failure::text(error.to_string());
    while let Some(bytes) = response.chunk().await? {
        unpacker.push(&bytes).map_err(failed)?;
    }
    unpacker.finish().map(Some).map_err(failed)
}

/// What the copied thing is called on this side, by the rules of cp(1) as Docker has them.
fn local_target(target: &str, source_is_dir: bool, contents: bool, name: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(target);
    let directory = target.ends_with('/') || target.ends_with("/.");
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() && contents => Ok(path.to_owned()),
        Ok(metadata) if metadata.is_dir() => Ok(path.join(name)),
        Ok(_) if source_is_dir => Err(Failure::text("cannot copy directory")),
        Ok(_) if directory => Err(Failure::text("not a directory")),
        Ok(_) => Ok(path.to_owned()),
        Err(_) if directory && !source_is_dir => Err(Failure::text("no such directory")),
        Err(_) => Ok(path.to_owned()),
    }
}

async fn into_container(
    client: &Client,
    source: &str,
    container: &str,
    path: &str,
    typed: &Typed,
) -> Result<Option<u64>, Failure> {
    let mut path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut stat = match stat_in(client, container, &path).await {
        Ok(stat) => Some(stat),
        // The answer to a question about a path has no words: is it the path that is missing, or the container?
        Err(error) if error.is_not_found() => {
            client.send(Request::get(format!("/containers/{container}/json"))).await?;
            None
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(link) = stat.clone().filter(|stat| !stat.link_target.is_empty()) {
        path = resolve_link(&path, &link);
        stat = stat_in(client, container, &path).await.ok();
    }
    let target_is_dir = stat.as_ref().is_some_and(is_dir);
    if source == "-" {
        if stat.is_some() && !target_is_dir {
            return Err(Failure::text(format!("destination \"{container}:{path}\" must be a directory")));
        }
        put(client, container, &path, Outgoing::Channel(stdio::input()), typed).await?;
        return Ok(None);
    }
    let source_path = Path::new(source);
    let metadata = match typed.switch("follow-link") {
        true => fs::metadata(source_path),
        false => fs::symlink_metadata(source_path),
    };
    let metadata = metadata.map_err(|error| {
        let absolute =
            std::env::current_dir().map_or_else(|_| source_path.to_owned(), |here| here.join(source_path));
        Failure::file("lstat", &clean(&absolute), &error)
    })?;
    let real = if typed.switch("follow-link") { fs::canonicalize(source_path).ok() } else { None };
    let base = base_name(source);
    let (directory, name) =
        remote_target(&path, stat.is_some(), target_is_dir, metadata.is_dir(), &base, source)?;
    let body = Outgoing::Channel(pack::stream(real.as_deref().unwrap_or(source_path), &name));
    put(client, container, &directory, body, typed).await?;
    Ok(Some(metadata.len()))
}

/// The last name of a path; `.` when it ends with a dot or a slash that means the contents.
fn base_name(source: &str) -> String {
    if source.ends_with("/.") || source == "." {
        return ".".to_owned();
    }
    let absolute = std::env::current_dir().unwrap_or_default().join(source);
    let name = absolute.canonicalize().ok().filter(|_| source.ends_with("..")).unwrap_or(absolute);
    name.file_name().map_or_else(|| ".".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The directory to unpack in, and what the copied thing is called there.
fn remote_target(
    path: &str,
    exists: bool,
    target_is_dir: bool,
    source_is_dir: bool,
    base: &str,
    source: &str,
) -> Result<(String, String), Failure> {
    if target_is_dir {
        return Ok((path.to_owned(), base.to_owned()));
    }
    if exists && source_is_dir {
        return Err(Failure::text("cannot copy directory"));
    }
    let directory = path.ends_with('/') || path.ends_with("/.");
    if directory && !source_is_dir {
        return Err(Failure::text(if exists { "not a directory" } else { "no such directory" }));
    }
    if !source_is_dir && (source.ends_with('/') || source.ends_with("/.")) {
        return Err(Failure::text("not a directory"));
    }
    let whole = clean(Path::new(path));
    let (parent, name) = whole.rsplit_once('/').unwrap_or(("", &whole));
    Ok((if parent.is_empty() { "/".to_owned() } else { parent.to_owned() }, name.to_owned()))
}

async fn put(
    client: &Client,
    container: &str,
    directory: &str,
    body: Outgoing,
    typed: &Typed,
) -> Result<(), Failure> {
    let mut query = Query::new();
    if typed.switch("archive") {
        query = query.with("copyUIDGID", "true");
    }
    let query = query.with("noOverwriteDirNonDir", "true").with("path", directory);
    let request = Request::put(format!("/containers/{container}/archive")).query(query);
    Ok(client.call(request.body("application/x-tar", body)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_named_before_the_colon() {
        assert_eq!(split("c:/a:b"), Some(("c", "/a:b")));
        assert_eq!(split("./c:/a"), None);
        assert_eq!(split("/a:b"), None);
        assert_eq!(split("plain"), None);
        assert_eq!(split("-"), None);
    }

    #[test]
    fn what_is_copied_gets_its_name_from_what_is_there() {
        let check = |path: &str,
                     exists: bool,
                     dir: bool,
                     source_dir: bool,
                     base: &str,
                     expected: Result<(&str, &str), &str>| {
            let found = remote_target(path, exists, dir, source_dir, base, "x");
            let found = found.map_err(|failure| failure.words().to_owned());
            let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned())).map_err(str::to_owned);
            assert_eq!(found, expected, "{path}");
        };
        check("/d", true, true, false, "f", Ok(("/d", "f")));
        check("/d", true, true, true, ".", Ok(("/d", ".")));
        check("/new", false, false, true, "d", Ok(("/", "new")));
        check("/a/new", false, false, false, "f", Ok(("/a", "new")));
        check("/f", true, false, false, "g", Ok(("/", "f")));
        check("/f", true, false, true, "d", Err("cannot copy directory"));
        check("/new/", false, false, false, "f", Err("no such directory"));
    }
}
