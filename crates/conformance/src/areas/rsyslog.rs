//! The log driver syslog and Debian's rsyslog with GnuTLS: certificates of both sides, and the formats it understands.

use super::components::{becomes, published, start};
use crate::check::{contains, same, skip};
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;
use std::sync::PoisonError;

/// An authority, a server's and a client's certificate of it, and an authority that nobody knows.
const CERTIFICATES: &str = r#"
    key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for ca in ca other; do openssl req -x509 $key -days 2 -subj /CN=$ca -keyout $ca.key -out $ca.pem; done
    make() { openssl req -new $key -subj "/CN=$1" -keyout $1.key -out r.csr && printf "$2" > ext &&
        openssl x509 -req -in r.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $1.pem; }
    make server "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
    make alice "subjectAltName=DNS:alice\nextendedKeyUsage=clientAuth\n"
    chmod 644 *.key"#;

/// Two doors: one for those with a certificate of alice, one for anybody. What was understood goes to a file each.
const CONFIGURATION: &str = r#"
global(workDirectory="/tmp" defaultNetstreamDriverCAFile="/tls/ca.pem"
       defaultNetstreamDriverCertFile="/tls/server.pem" defaultNetstreamDriverKeyFile="/tls/server.key")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1")
template(name="parts" type="string"
         string="%protocol-version%|%pri%|%timereported:::date-rfc3339%|%hostname%|%app-name%|%procid%|%msg%\n")
ruleset(name="known") { action(type="omfile" file="/tmp/known" template="parts") }
ruleset(name="any") { action(type="omfile" file="/tmp/any" template="parts") }
input(type="imtcp" port="6514" ruleset="known" streamDriver.authMode="x509/name" permittedPeer=["alice"])
input(type="imtcp" port="6515" ruleset="any" streamDriver.authMode="anon")
"#;

/// A server, and the directory with what its clients need.
struct Collector<'a> {
    scope: &'a Scope<'a>,
    name: String,
    directory: String,
}

impl Collector<'_> {
    /// Runs a container whose log goes to a port of the server.
    fn send(&self, word: &str, port: &str, options: &[String], script: &str) -> Result<String> {
        let name = self.scope.name(word);
        let address =
            format!("syslog-address=tcp+tls://127.0.0.1:{}", published(self.scope, &self.name, port)?);
        let mut words = vec!["run", "-d", "--name", &name, "--log-driver", "syslog", "--log-opt", &address];
        options.iter().for_each(|option| words.extend(["--log-opt", option]));
        words.extend([BUSYBOX, "sh", "-c", script]);
        self.scope.ok(&words)?;
        Ok(name)
    }

    /// Words of an option that names a file.
    fn file(&self, option: &str, name: &str) -> String {
        format!("{option}={}/{name}", self.directory)
    }

    /// The parts of the line that ends so, once it is there.
    fn line(&self, file: &str, end: &str) -> Result<Vec<String>> {
        let found = becomes(self.scope, &self.name, &format!("grep '{end}$' /tmp/{file}"))?;
        Ok(found.lines().next().context("a line")?.split('|').map(str::to_owned).collect())
    }
}

fn prepare(directory: &Path) -> Result<()> {
    std::fs::write(directory.join("rsyslog.conf"), CONFIGURATION)?;
    let made = Command::new("sh").args(["-ec", CERTIFICATES]).current_dir(directory).output()?;
    if made.status.code() == Some(127) {
        return Err(skip("openssl"));
    }
    ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

pub(super) fn check(scope: &Scope<'_>) -> Result<()> {
    let directory = scope.directory()?;
    prepare(directory)?;
    let directory = directory.display().to_string();
    let mount = format!("{directory}:/tls:ro");
    let flags = ["-v", &mount, "-p", "127.0.0.1::6514", "-p", "127.0.0.1::6515"];
    let name =
        start(scope, "collector", &flags, &["rsyslogd", "-n", "-f", "/tls/rsyslog.conf", "-i", "NONE"])?;
    let collector = Collector { scope, name, directory };
    let listens = "awk '$4 == \"0A\"{print $2}' /proc/net/tcp | grep -c ':19[7]'";
    becomes(scope, &collector.name, listens)?;
    formats(&collector)?;
    strangers(&collector)
}

/// Each format, from a client that has a certificate.
fn formats(collector: &Collector<'_>) -> Result<()> {
    let own = [
        collector.file("syslog-tls-ca-cert", "ca.pem"),
        collector.file("syslog-tls-cert", "alice.pem"),
        collector.file("syslog-tls-key", "alice.key"),
    ];
    for (format, version, digits) in [("rfc5424", "1", 0), ("rfc5424micro", "1", 6), ("rfc3164", "0", 0)] {
        let more =
            [format!("syslog-format={format}"), "syslog-facility=local3".into(), "tag=t-{{.Name}}".into()];
        let script = format!("echo {format}-out; echo {format}-err >&2");
        let name = collector.send(format, "6514/tcp", &[&own[..], &more].concat(), &script)?;
        for (end, priority) in [("out", "158"), ("err", "155")] {
            let line = collector.line("known", &format!("{format}-{end}"))?;
            let tag = format!("t-{name}");
            same(format, (line[0].as_str(), line[1].as_str(), &line[4]), (version, priority, &tag))?;
            same("no byte more", line[6].trim_start(), format!("{format}-{end}"))?;
            let fraction = line[2].split_once('.').map_or("", |(_, rest)| rest);
            same("digits", fraction.bytes().take_while(u8::is_ascii_digit).count(), digits)?;
            same("a process", line[5].parse::<u32>().is_ok(), true)?;
        }
    }
    Ok(())
}

/// Who cannot know the server says so, and sends nothing; who does not want to know it, sends.
fn strangers(collector: &Collector<'_>) -> Result<()> {
    let scope = collector.scope;
    let skip_verify = ["syslog-tls-skip-verify=true".to_owned(), "syslog-format=rfc5424".to_owned()];
    collector.send("trusting", "6515/tcp", &skip_verify, "echo trusting-out")?;
    collector.line("any", "trusting-out")?;

    let wrong = [collector.file("syslog-tls-ca-cert", "other.pem")];
    let Some(daemon) = scope.engine.daemon.as_ref().filter(|_| scope.engine.program.is_some()) else {
        let refused =
            collector.send("wrong", "6515/tcp", &wrong, "echo wrong-out").err().context("it was sent")?;
        return contains("words", &format!("{refused:#}"), "certificate signed by unknown authority");
    };
    let said = |before: usize| daemon.lock().unwrap_or_else(PoisonError::into_inner).said_since(before);
    let before = daemon.lock().unwrap_or_else(PoisonError::into_inner).said();
    let name = collector.send("wrong", "6515/tcp", &wrong, "echo wrong-out")?;
    let id = scope.inspect(&name)?["Id"].as_str().context("Id")?[..12].to_owned();
    let words = scope.eventually("words about the certificate", || {
        Ok(said(before)
            .lines()
            .find(|line| line.contains(&id) && line.contains("collector"))
            .map(str::to_owned))
    })?;
    contains("words", &words, "invalid peer certificate: UnknownIssuer")?;
    same("what is kept here", scope.ok(&["logs", &name])?.trim(), "wrong-out")?;
    let others = scope.docker(&["exec", &collector.name, "grep", "-c", "wrong-out", "/tmp/any"])?;
    same("what was sent", others.stdout.trim(), "0")
}
