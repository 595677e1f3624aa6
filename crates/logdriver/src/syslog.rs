//! syslog: RFC 3164 and RFC 5424 as Docker's driver prints them, over UDP, TCP, TLS (RFC 5425) and unix sockets.

use timestamp::Timestamp;

use crate::option::{given, known};
use crate::target::{Target, Tls, parse};
use crate::{About, Error, Message, Options, Wire};

/// Where a syslog daemon of this machine listens.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];
const PORT: u16 = 514;
const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How a line is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// As programs of the machine talk to their own daemon: no host name.
    Local,
    Rfc3164,
    /// With whole seconds, or with six digits of a fraction.
    Rfc5424 {
        micro: bool,
    },
}

/// The driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog {
    pub(crate) targets: Vec<Target>,
    facility: u8,
    format: Format,
}

impl Syslog {
    pub(crate) fn parse(options: &Options) -> Result<Self, Error> {
        let own = [
            "syslog-address",
            "syslog-facility",
            "syslog-format",
            "syslog-tls-ca-cert",
            "syslog-tls-cert",
            "syslog-tls-key",
            "syslog-tls-skip-verify",
        ];
        known("syslog", options, &own)?;
        let targets = match given(options, "syslog-address") {
            None => LOCAL
                .iter()
                .flat_map(|path| [Target::UnixDatagram(path.into()), Target::Unix(path.into())])
                .collect(),
            Some(address) => vec![target(address, options)?],
        };
        let facility = facility(given(options, "syslog-facility").unwrap_or("daemon"))?;
        let format = match given(options, "syslog-format") {
            None => Format::Local,
            Some("rfc3164") => Format::Rfc3164,
            Some("rfc5424") => Format::Rfc5424 { micro: false },
            Some("rfc5424micro") => Format::Rfc5424 { micro: true },
            Some(_) => return Err(Error::new("Invalid syslog format")),
        };
        Ok(Self { targets, facility, format })
    }

    /// Empty lines are not sent, as with Docker.
    pub(crate) fn encode(&self, about: &About, message: &Message<'_>, wire: &mut Wire) {
        if message.line.is_empty() {
            return;
        }
        let priority = self.facility * 8 + message.severity();
        let (host, tag, pid) = (&about.host, &about.tag, about.pid);
        let head = match self.format {
            Format::Local => format!("<{priority}>{} {tag}[{pid}]: ", stamp(message.time, about.utc_offset)),
            Format::Rfc3164 => {
                format!("<{priority}>{} {host} {tag}[{pid}]: ", stamp(message.time, about.utc_offset))
            }
            Format::Rfc5424 { micro } => {
                let time = rfc3339(message.time, about.utc_offset, micro);
                format!("<{priority}>1 {time} {host} {tag} {pid} {tag} - ")
            }
        };
        // RFC 5425 counts the bytes of each message.
        let is_counted = matches!(self.format, Format::Rfc5424 { .. })
            && matches!(self.targets.as_slice(), [Target::Tls(..)]);
        // A NUL would end the message for many a receiver.
        let kept = message.line.iter().copied().filter(|byte| *byte != 0);
        let body: Vec<u8> = head.bytes().chain(kept).chain([b'\n']).collect();
        if is_counted {
            wire.bytes.extend_from_slice(format!("{} ", body.len()).as_bytes());
        }
        wire.bytes.extend_from_slice(&body);
        wire.end();
    }
}

fn target(address: &str, options: &Options) -> Result<Target, Error> {
    let parsed = parse(address)?;
    let (host, port) = (parsed.host.to_owned(), parsed.port.unwrap_or(PORT));
    Ok(match parsed.scheme {
        "udp" => Target::Udp(host, port),
        "tcp" => Target::Tcp(host, port),
        "tcp+tls" => Target::Tls(host, port, tls(options)),
        "unix" => Target::Unix(parsed.path.into()),
        "unixgram" => Target::UnixDatagram(parsed.path.into()),
        scheme => return Err(Error::new(format!("unsupported scheme: '{scheme}'"))),
    })
}

fn tls(options: &Options) -> Tls {
    let file = |key: &str| given(options, key).map(Into::into);
    Tls {
        authorities: file("syslog-tls-ca-cert"),
        identity: file("syslog-tls-cert").zip(file("syslog-tls-key")),
        // As with Docker, whatever its value.
        skip_verify: options.contains_key("syslog-tls-skip-verify"),
        server_name: None,
    }
}

fn facility(text: &str) -> Result<u8, Error> {
    let named = FACILITIES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    let number = named.or_else(|| text.parse().ok().filter(|number| *number <= 23));
    number.ok_or_else(|| Error::new("invalid syslog facility"))
}

/// The clock on the wall: seconds since 1970 as if it showed UTC.
fn local(time: Timestamp, offset: i32) -> Timestamp {
    Timestamp::new(time.seconds() + i64::from(offset), time.nanoseconds())
}

/// `Nov  1 13:22:37` in local time, as RFC 3164 wants it.
fn stamp(time: Timestamp, offset: i32) -> String {
    let text = local(time, offset).to_seconds();
    let month = text[5..7].parse::<usize>().ok().and_then(|month| MONTHS.get(month - 1)).unwrap_or(&"Jan");
    let day = text[8..10].trim_start_matches('0');
    format!("{month} {day:>2} {}", &text[11..19])
}

/// `2026-11-21T13:22:40.762578Z`, or with the offset of the local time.
fn rfc3339(time: Timestamp, offset: i32, micro: bool) -> String {
    let text = local(time, offset).to_seconds();
    let fraction = if micro { format!(".{:06}", time.nanoseconds() / 1000) } else { String::new() };
    let zone = match offset {
        0 => "Z".to_owned(),
        _ => {
            let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs() / 60);
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
    };
    format!("{}{fraction}{zone}", &text[..19])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Driver;
    use crate::message::tests::{about, options, out, refusal};

    fn sent(pairs: &[(&str, &str)], offset: i32) -> String {
        let driver = Driver::parse("syslog", &options(pairs)).unwrap().unwrap();
        let mut wire = Wire::default();
        let about = About { utc_offset: offset, ..about() };
        driver.encode(&about, &out(b"a \0line"), &mut wire);
        driver.encode(&about, &Message { stderr: true, ..out(b"b") }, &mut wire);
        driver.encode(&about, &out(b""), &mut wire);
        assert_eq!(wire.ends.len(), 2);
        String::from_utf8(wire.bytes).unwrap()
    }

    #[test]
    fn lines_are_printed_as_docker_prints_them() {
        let udp = ("syslog-address", "udp://h");
        assert_eq!(
            sent(&[udp], 0),
            "<30>Nov 21 13:22:40 0123456789ab[77]: a line\n<27>Nov 21 13:22:40 0123456789ab[77]: b\n"
        );
        assert_eq!(
            sent(&[udp, ("syslog-format", "rfc3164"), ("syslog-facility", "local3")], -86_400 * 20),
            "<158>Nov  1 13:22:40 vm 0123456789ab[77]: a line\n<155>Nov  1 13:22:40 vm 0123456789ab[77]: b\n"
        );
        assert_eq!(
            sent(&[udp, ("syslog-format", "rfc5424")], 0),
            "<30>1 2026-11-21T13:22:40Z vm 0123456789ab 77 0123456789ab - a line\n\
             <27>1 2026-11-21T13:22:40Z vm 0123456789ab 77 0123456789ab - b\n"
        );
        let tls = ("syslog-address", "tcp+tls://h:6514");
        assert_eq!(
            sent(&[tls, ("syslog-format", "rfc5424micro")], 19_800),
            "80 <30>1 2026-11-21T18:52:40.762578+05:30 vm 0123456789ab 77 0123456789ab - a line\n\
             75 <27>1 2026-11-21T18:52:40.762578+05:30 vm 0123456789ab 77 0123456789ab - b\n"
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_dockers_words() {
        let cases = [
            ("syslog-address", "foo://a", "unsupported scheme: 'foo'"),
            ("syslog-facility", "foo", "invalid syslog facility"),
            ("syslog-facility", "24", "invalid syslog facility"),
            ("syslog-facility", "-1", "invalid syslog facility"),
            ("syslog-format", "foo", "Invalid syslog format"),
            ("max-size", "1m", "unknown log opt 'max-size' for syslog log driver"),
        ];
        for (key, value, words) in cases {
            assert_eq!(refusal("syslog", &[(key, value)]), words);
        }
    }

    #[test]
    fn addresses_are_understood() {
        let target = |address: &str| {
            let driver = Driver::parse("syslog", &options(&[("syslog-address", address)]));
            driver.unwrap().unwrap().targets().remove(0)
        };
        assert_eq!(target("tcp://1.2.3.4"), Target::Tcp("1.2.3.4".into(), 514));
        assert_eq!(target("udp://[::1]:99"), Target::Udp("::1".into(), 99));
        assert_eq!(target("unixgram:///run/x"), Target::UnixDatagram("/run/x".into()));
        assert_eq!(target("unix:///run/x"), Target::Unix("/run/x".into()));
        assert_eq!(target("tcp+tls://h:1"), Target::Tls("h".into(), 1, Tls::default()));
    }
}
