//! The files of contexts.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::DEFAULT;
use crate::failure::{Failure, system_words};

/// Names of certificates in a context; those that are there count.
pub(crate) const TLS_FILES: &[&str] = &["ca.pem", "cert.pem", "key.pem"];

/// Where contexts are kept.
#[derive(Debug, Clone)]
pub(crate) struct Store(PathBuf);

/// One context as its file has it; what other programs keep there stays.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Context(Value);

impl Context {
    /// A context that leads to `host`.
    pub(crate) fn new(name: &str, description: &str, host: &str, skip_verify: bool) -> Self {
        let mut metadata = Map::new();
        if !description.is_empty() {
            metadata.insert("Description".into(), description.into());
        }
        let endpoint = json!({ "Host": host, "SkipTLSVerify": skip_verify });
        Self(json!({ "Name": name, "Metadata": metadata, "Endpoints": { "docker": endpoint } }))
    }

    /// A context as another one's file has it, under a name of its own.
    pub(crate) fn from_text(name: &str, text: &[u8]) -> Result<Self, serde_json::Error> {
        let fields: Map<String, Value> = serde_json::from_slice(text)?;
        let mut value = Value::Object(fields);
        value["Name"] = name.into();
        Ok(Self(value))
    }

    /// All that its file has.
    pub(crate) fn text(&self) -> String {
        self.0.to_string()
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        self.0["Name"].as_str().unwrap_or_default()
    }

    /// What the user says about it.
    pub(crate) fn description(&self) -> &str {
        self.0["Metadata"]["Description"].as_str().unwrap_or_default()
    }

    /// The daemon's address; empty: the socket of this machine.
    pub(crate) fn host(&self) -> &str {
        self.0["Endpoints"]["docker"]["Host"].as_str().unwrap_or_default()
    }

    /// Whether the daemon's certificate is not looked at.
    pub(crate) fn skips_verification(&self) -> bool {
        self.0["Endpoints"]["docker"]["SkipTLSVerify"].as_bool().unwrap_or_default()
    }

    /// Says something else about it.
    pub(crate) fn describe(&mut self, description: &str) {
        self.0["Metadata"]["Description"] = description.into();
    }

    /// Leads somewhere else.
    pub(crate) fn lead_to(&mut self, host: &str, skip_verify: bool) {
        self.0["Endpoints"]["docker"] = json!({ "Host": host, "SkipTLSVerify": skip_verify });
    }

    /// All of it, as `inspect` shows it.
    pub(crate) fn document(&self, tls: &[String], places: [String; 2]) -> Value {
        let mut document = self.0.clone();
        let material = if tls.is_empty() { json!({}) } else { json!({ "docker": tls }) };
        let [metadata_path, tls_path] = places;
        document["TLSMaterial"] = material;
        document["Storage"] = json!({ "MetadataPath": metadata_path, "TLSPath": tls_path });
        document
    }
}

impl Store {
    /// Below the directory of the user's settings.
    pub(crate) fn new(config_dir: &Path) -> Self {
        Self(config_dir.join("contexts"))
    }

    /// The directory with a context's own file.
    pub(crate) fn meta_dir(&self, name: &str) -> PathBuf {
        self.0.join("meta").join(key(name))
    }

    /// The directory with a context's certificates.
    pub(crate) fn tls_dir(&self, name: &str) -> PathBuf {
        self.0.join("tls").join(key(name))
    }

    /// Every context, by name.
    pub(crate) fn list(&self) -> Result<Vec<Context>, Failure> {
        let directory = self.0.join("meta");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failure::open(&directory.display().to_string(), &error)),
        };
        let mut contexts = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| Failure::open(&directory.display().to_string(), &error))?.path();
            let file = path.join("meta.json");
            if file.exists() {
                contexts.push(read(&file)?);
            }
        }
        contexts.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(contexts)
    }

    /// The context of a name.
    pub(crate) fn get(&self, name: &str) -> Result<Context, Failure> {
        let file = self.meta_dir(name).join("meta.json");
        if !file.exists() {
            let words = system_words(&io::Error::from_raw_os_error(2));
            return Err(Failure::text(format!(
                "context {name:?}: context not found: open {}: {words}",
                file.display()
            )));
        }
        read(&file)
    }

    /// Whether there is one.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.meta_dir(name).join("meta.json").exists()
    }

    /// Writes a context; its certificates are kept.
    pub(crate) fn put(&self, context: &Context) -> Result<(), Failure> {
        let directory = self.meta_dir(context.name());
        make(&directory, 0o755)?;
        write(&directory.join("meta.json"), context.0.to_string().as_bytes(), 0o644)
    }

    /// Replaces a context's certificates by these files: name and content.
    pub(crate) fn put_tls(&self, name: &str, files: &[(&str, Vec<u8>)]) -> Result<(), Failure> {
        self.remove_tls(name)?;
        if files.is_empty() {
            return Ok(());
        }
        let directory = self.tls_dir(name).join("docker");
        make(&directory, 0o700)?;
        files.iter().try_for_each(|(file, content)| write(&directory.join(file), content, 0o600))
    }

    /// Names of a context's certificates.
    pub(crate) fn tls(&self, name: &str) -> Vec<String> {
        let directory = self.tls_dir(name).join("docker");
        let there = TLS_FILES.iter().filter(|file| directory.join(file).exists());
        there.map(|file| (*file).to_owned()).collect()
    }

    /// Removes a context and its certificates.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        remove(&self.meta_dir(name))?;
        self.remove_tls(name)
    }

    fn remove_tls(&self, name: &str) -> Result<(), Failure> {
        remove(&self.tls_dir(name))
    }
}

/// What a name may be, in Docker's words.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Err(Failure::text("context name cannot be empty"));
    }
    if name == DEFAULT {
        return Err(Failure::text("\"default\" is a reserved context name"));
    }
    let begins = name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    let goes_on = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.+-".contains(letter));
    if begins && goes_on && name.len() > 1 {
        return Ok(());
    }
    Err(Failure::text(format!(
        "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
    )))
}

fn key(name: &str) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(name.as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn read(file: &Path) -> Result<Context, Failure> {
    let shown = file.display().to_string();
    let bytes = fs::read(file).map_err(|error| Failure::open(&shown, &error))?;
    let value = serde_json::from_slice(&bytes).map_err(|error| Failure::text(format!("{shown}: {error}")))?;
    Ok(Context(value))
}

fn make(directory: &Path, mode: u32) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(directory);
    made.map_err(|error| Failure::file("mkdir", &directory.display().to_string(), &error))
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let written = || {
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(format!(".{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&hidden)?;
        io::Write::write_all(&mut file, content)?;
        fs::rename(&hidden, path)
    };
    written().map_err(|error| Failure::file("write", &path.display().to_string(), &error))
}

fn remove(directory: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::file("remove", &directory.display().to_string(), &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_kept_where_docker_looks_for_it() {
        let root = std::env::temp_dir().join(format!("berth-contexts-{}", std::process::id()));
        let store = Store::new(&root);
        assert_eq!(store.list().expect("no directory is no context"), []);
        let context = Context::new("foo", "my foo", "tcp://1.2.3.4:2376", false);
        store.put(&context).expect("written");
        store.put_tls("foo", &[("ca.pem", b"x".to_vec())]).expect("written");
        let key = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        let file = root.join("contexts/meta").join(key).join("meta.json");
        assert_eq!(
            fs::read_to_string(file).expect("there"),
            r#"{"Name":"foo","Metadata":{"Description":"my foo"},"Endpoints":{"docker":{"Host":"tcp://1.2.3.4:2376","SkipTLSVerify":false}}}"#
        );
        assert_eq!(store.get("foo").expect("there"), context);
        assert_eq!(store.tls("foo"), ["ca.pem"]);
        store.remove("foo").expect("removed");
        assert!(!store.has("foo") && store.tls("foo").is_empty());
        fs::remove_dir_all(root).expect("cleaned");
    }

    #[test]
    fn names_are_checked() {
        let check = |name: &str, ok: bool| assert_eq!(check_name(name).is_ok(), ok, "{name}");
        check("foo", true);
        check("a1_.+-", true);
        check("b", false);
        check("default", false);
        check("", false);
        check("../up", false);
        check("-x", false);
    }
}
