//! `context export | import`: a context as a tar archive, `meta.json` and `tls/docker/…`, as Docker's client has it.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};

use tar_core::EntryType;
use tar_core::builder::EntryBuilder;
use tar_core::parse::{Limits, ParseEvent, Parser};

use crate::context::{Context, DEFAULT, TLS_FILES, check_name};
use crate::failure::Failure;
use crate::grammar::{Command, Operands, Typed};
use crate::output::{note, write};
use crate::session::Session;

/// The name of a context's own file in an archive.
const META: &str = "meta.json";
/// Where certificates are in an archive.
const TLS: &str = "tls/docker/";
/// The longest archive that is read.
const LONGEST: u64 = 10 << 20;

/// `context export`.
pub(crate) static EXPORT: Command = Command {
    synopsis: "CONTEXT [FILE|-]",
    about: "Export a context to a tar archive FILE or a tar stream on STDOUT",
    paths: &["context export"],
    flags: &[],
    operands: Operands::Between(1, 2),
    interspersed: true,
    run: |session, typed| Box::pin(async move { export(session, typed) }),
};

/// `context import`.
pub(crate) static IMPORT: Command = Command {
    synopsis: "CONTEXT FILE|-",
    about: "Import a context from a tar or zip file",
    paths: &["context import"],
    flags: &[],
    operands: Operands::Exactly(2),
    interspersed: true,
    run: |session, typed| Box::pin(async move { import(session, typed) }),
};

fn export(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let name = typed.operand(0);
    if name == DEFAULT {
        return Err(Failure::text("context \"default\" cannot be exported: it is what the environment says"));
    }
    let store = session.contexts()?;
    let context = store.get(name)?;
    let mut files = vec![(META.to_owned(), 0o644, context.text().into_bytes())];
    for file in store.tls(name) {
        let path = store.tls_dir(name).join("docker").join(&file);
        let content = fs::read(&path).map_err(|error| Failure::open(&path.display().to_string(), &error))?;
        files.push((format!("{TLS}{file}"), 0o600, content));
    }
    let archive = pack(&files).map_err(|error| Failure::text(format!("pack the context: {error}")))?;
    let default = format!("{name}.dockercontext");
    let target = typed.operands().get(1).map_or(default.as_str(), String::as_str);
    if target == "-" {
        let mut output = io::stdout();
        if output.is_terminal() {
            return Err(Failure::text("cowardly refusing to export to a terminal, specify a file path"));
        }
        let sent = output.write_all(&archive).and_then(|()| output.flush());
        return sent.map(|()| 0).map_err(|error| Failure::file("write", "stdout", &error));
    }
    let made = OpenOptions::new().write(true).create_new(true).open(target);
    let mut file = made.map_err(|error| Failure::open(target, &error))?;
    file.write_all(&archive).map_err(|error| Failure::file("write", target, &error))?;
    note(&format!("Written file {target:?}"));
    Ok(0)
}

/// An archive of these files, with the directories they are in.
fn pack(files: &[(String, u32, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut archive = Vec::new();
    let mut entry = |name: &str, kind: EntryType, mode: u32, content: &[u8]| -> io::Result<()> {
        let unfit = |error: tar_core::HeaderError| io::Error::other(error.to_string());
        let mut builder = EntryBuilder::new_ustar();
        builder.entry_type(kind);
        builder.path(name.as_bytes());
        builder.mode(mode).map_err(unfit)?;
        builder.size(content.len() as u64).map_err(unfit)?;
        archive.extend_from_slice(&builder.finish_bytes());
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
        Ok(())
    };
    for (number, (name, mode, content)) in files.iter().enumerate() {
        // The context's own file is the first, its certificates follow.
        if number == 1 {
            entry("tls/", EntryType::Directory, 0o700, &[])?;
            entry(TLS, EntryType::Directory, 0o700, &[])?;
        }
        entry(name, EntryType::Regular, *mode, content)?;
    }
    archive.resize(archive.len() + 1024, 0);
    Ok(archive)
}

fn import(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let (name, source) = (typed.operand(0), typed.operand(1));
    check_name(name)?;
    let store = session.contexts()?;
    if store.has(name) {
        return Err(Failure::text(format!("context {name:?} already exists")));
    }
    let archive = read(source)?;
    let unfit = |words: String| Failure::text(format!("{source}: {words}"));
    let files = unpack(&archive).map_err(unfit)?;
    let meta = files.iter().find(|(file, _)| file == META);
    let (_, meta) = meta.ok_or_else(|| unfit(format!("the archive has no {META}")))?;
    let context = Context::from_text(name, meta).map_err(|error| unfit(error.to_string()))?;
    let certificates: Vec<(&str, Vec<u8>)> = TLS_FILES
        .iter()
        .filter_map(|file| {
            let (_, content) = files.iter().find(|(path, _)| path.strip_prefix(TLS) == Some(file))?;
            Some((*file, content.clone()))
        })
        .collect();
    store.put(&context)?;
    store.put_tls(name, &certificates)?;
    write(&format!("{name}\n"))?;
    note(&format!("Successfully imported context {name:?}"));
    Ok(0)
}

fn read(source: &str) -> Result<Vec<u8>, Failure> {
    let mut archive = Vec::new();
    let count = match source {
        "-" => io::stdin().take(LONGEST + 1).read_to_end(&mut archive),
        path => fs::File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut archive)),
    };
    let count = count.map_err(|error| Failure::open(source, &error))?;
    if count as u64 > LONGEST {
        return Err(Failure::text(format!("{source}: an archive of a context has at most {LONGEST} bytes")));
    }
    Ok(archive)
}

/// The files of an archive; anything that a context does not have is refused.
fn unpack(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
    if archive.starts_with(b"PK") {
        return Err("zip archives are not read: import the tar archive that export writes".to_owned());
    }
    let mut parser = Parser::new(Limits { max_path_len: Some(256), ..Limits::default() });
    let (mut files, mut rest) = (Vec::new(), archive);
    loop {
        let consumed = match parser.parse(rest).map_err(|error| error.to_string())? {
            ParseEvent::Entry { consumed, entry } => {
                let path = String::from_utf8_lossy(&entry.path).into_owned();
                let short = || format!("it ends in the middle of {path}");
                let size = usize::try_from(entry.size).map_err(|_| short())?;
                let padded = usize::try_from(entry.padded_size()).map_err(|_| short())?;
                let content = rest[consumed..].get(..size).ok_or_else(short)?;
                match entry.entry_type {
                    EntryType::Regular if path == META || path.starts_with("tls/") => {
                        files.push((path, content.to_vec()));
                    }
                    EntryType::Directory => {}
                    _ => return Err(format!("unexpected context file {path:?}")),
                }
                consumed.saturating_add(padded)
            }
            ParseEvent::GlobalExtensions { consumed, .. } => consumed,
            ParseEvent::End { .. } => return Ok(files),
            ParseEvent::NeedData { .. } if rest.is_empty() => return Ok(files),
            _ => return Err("it is no tar archive of a context".to_owned()),
        };
        rest = rest.get(consumed..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let files = [
            (META.to_owned(), 0o644, br#"{"Name":"a"}"#.to_vec()),
            (format!("{TLS}ca.pem"), 0o600, vec![7; 700]),
        ];
        let archive = pack(&files).expect("an archive");
        let found = unpack(&archive).expect("files");
        let expected: Vec<(String, Vec<u8>)> =
            files.iter().map(|(name, _, content)| (name.clone(), content.clone())).collect();
        assert_eq!(found, expected);
        assert!(unpack(&archive[..archive.len() - 1400]).is_err(), "cut");
        assert!(unpack(b"PK\x03\x04").is_err());
    }

    #[test]
    fn an_archive_with_other_files_is_refused() {
        let archive = pack(&[("../up".to_owned(), 0o644, Vec::new())]).expect("an archive");
        assert_eq!(unpack(&archive), Err("unexpected context file \"../up\"".to_owned()));
    }
}
