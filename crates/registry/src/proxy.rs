//! Which proxy a request goes through: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, as Go's `httpproxy` reads them. Pure.

use std::net::IpAddr;

use http::Uri;

use crate::network::Network;
use crate::{Error, Result};

/// The proxies of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    except: Vec<Exception>,
}

/// One proxy: where it is, and what it wants to know.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// What is spoken to it.
    pub(crate) kind: Kind,
    /// The name or address, without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// Name and secret, when it wants to know them.
    pub(crate) login: Option<(String, String)>,
}

/// What is spoken to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP.
    Http,
    /// HTTP in TLS.
    Https,
    /// SOCKS 5; names are resolved by the proxy, with `socks5` and `socks5h` alike, as Go has it.
    Socks,
}

impl Kind {
    fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks => "socks5",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks => 1080,
        }
    }
}

impl Proxy {
    /// The value of `Proxy-Authorization`.
    pub(crate) fn authorization(&self) -> Option<String> {
        let (name, secret) = self.login.as_ref()?;
        Some(format!("Basic {}", api::registry::base64_encode(format!("{name}:{secret}").as_bytes())))
    }
}

/// The credentials are not printed.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", self.kind.scheme(), self.host, self.port)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    Everything,
    Network(Network),
    /// A name and, unless it began with a dot, itself; perhaps only with one port.
    Name {
        name: String,
        below_only: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    /// Reads the three values; an empty one is none.
    ///
    /// # Errors
    /// `Settings` when a proxy is not an `http://`, `https://`, `socks5://` or `socks5h://` URL.
    pub fn new(http: &str, https: &str, except: &str) -> Result<Self> {
        Ok(Self {
            http: parse("HTTP_PROXY", http)?,
            https: parse("HTTPS_PROXY", https)?,
            except: except.split(',').filter_map(|word| exception(word.trim())).collect(),
        })
    }

    /// Reads them from an environment given as a function; lower-case names count as well, after upper-case ones.
    ///
    /// # Errors
    /// As [`Proxies::new`].
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let read = |name: &str| {
            let some = |name: &str| variable(name).filter(|value| !value.is_empty());
            some(name).or_else(|| some(&name.to_ascii_lowercase())).unwrap_or_default()
        };
        Self::new(&read("HTTP_PROXY"), &read("HTTPS_PROXY"), &read("NO_PROXY"))
    }

    /// The proxy for a request to `uri`, if any. The machine itself is never behind one.
    pub(crate) fn choose(&self, uri: &Uri) -> Option<&Proxy> {
        let tls = uri.scheme_str() == Some("https");
        let proxy = if tls { self.https.as_ref() } else { self.http.as_ref() }?;
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return None;
        }
        (!self.except.iter().any(|exception| exception.covers(&host, address, port))).then_some(proxy)
    }
}

impl Exception {
    fn covers(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(network) => address.is_some_and(|address| network.contains(address)),
            Self::Name { name, below_only, port: only } => {
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                only.is_none_or(|only| only == port) && (below || (!below_only && host == name))
            }
        }
    }
}

fn exception(word: &str) -> Option<Exception> {
    if word.is_empty() {
        return None;
    }
    if word == "*" {
        return Some(Exception::Everything);
    }
    if let Some(network) = Network::parse(word) {
        return Some(Exception::Network(network));
    }
    let (name, port) = match word.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (word, None),
    };
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix('*').unwrap_or(&name);
    let below_only = name.starts_with('.');
    Some(Exception::Name { name: name.trim_start_matches('.').to_owned(), below_only, port })
}

fn parse(variable: &str, value: &str) -> Result<Option<Proxy>> {
    let value = value.trim();
    if value.is_empty() {
        return Ok(None);
    }
    let refuse = |reason: &str| Error::Settings { place: variable.to_owned(), reason: reason.to_owned() };
    let with_scheme = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let uri: Uri = with_scheme.parse().map_err(|_| refuse("this is not a URL"))?;
    let kind = match uri.scheme_str() {
        Some("http") => Kind::Http,
        Some("https") => Kind::Https,
        Some("socks5" | "socks5h") => Kind::Socks,
        _ => return Err(refuse("only http://, https://, socks5:// and socks5h:// proxies are known")),
    };
    let authority = uri.authority().ok_or_else(|| refuse("the URL has no host"))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(kind.port());
    let login = authority.as_str().rsplit_once('@').map(|(user, _)| {
        let (name, secret) = user.split_once(':').unwrap_or((user, ""));
        (percent_decode(name), percent_decode(secret))
    });
    Ok(Some(Proxy { kind, host, port, login }))
}

/// `%40` back to `@`; what is no such sequence stays.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| bytes[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(except: &str, url: &str, proxied: bool) {
        let proxies = Proxies::new("proxy:3128", "https://u:p%40ss@proxy.example", except).expect("proxies");
        let uri = url.parse().expect("a URL");
        assert_eq!(proxies.choose(&uri).is_some(), proxied, "{url} with NO_PROXY={except:?}");
    }

    #[test]
    fn exceptions_are_names_networks_and_ports() {
        check("", "https://registry.example/v2/", true);
        check("", "http://localhost:5000/v2/", false);
        check("", "http://127.8.0.1:5000/v2/", false);
        check("", "http://[::1]:5000/v2/", false);
        check("*", "https://registry.example/", false);
        check("example", "https://registry.example/", false);
        check("example", "https://example/", false);
        check("example", "https://notexample/", true);
        check(".example", "https://example/", true);
        check("*.example", "https://a.Example/", false);
        check("a.example:8443, 10.0.0.0/8", "https://a.example/", true);
        check("a.example:8443, 10.0.0.0/8", "https://a.example:8443/", false);
        check("a.example:8443, 10.0.0.0/8", "http://10.9.8.7/", false);
        check("10.1.1.1", "http://10.1.1.1:5000/", false);
        check("fd00::/8", "http://[fd00::5]:5000/", false);
    }

    #[test]
    fn a_proxy_has_a_port_and_perhaps_credentials() {
        let proxies = Proxies::new("proxy:3128", "https://u:p%40ss@proxy.example", "").expect("proxies");
        let plain = proxies.choose(&"http://r.example/".parse().expect("a URL")).expect("one");
        assert_eq!((plain.host.as_str(), plain.port, plain.kind), ("proxy", 3128, Kind::Http));
        let tls = proxies.choose(&"https://r.example/".parse().expect("a URL")).expect("one");
        assert_eq!((tls.host.as_str(), tls.port, tls.kind), ("proxy.example", 443, Kind::Https));
        assert_eq!(tls.authorization().as_deref(), Some("Basic dTpwQHNz"));
        assert!(!format!("{tls:?}").contains("dTpw"));
        let proxies = Proxies::new("socks5h://a:b@x", "", "").expect("proxies");
        let socks = proxies.choose(&"http://r.example/".parse().expect("a URL")).expect("one");
        assert_eq!((socks.port, socks.kind), (1080, Kind::Socks));
        assert!(Proxies::new("socks4://x", "", "").is_err());
    }

    #[test]
    fn the_lower_case_names_count_too() {
        let read = |name: &str| (name == "https_proxy").then(|| "http://p:1".to_owned());
        let proxies = Proxies::from_environment(read).expect("proxies");
        assert!(proxies.choose(&"https://r.example/".parse().expect("a URL")).is_some());
        assert!(proxies.choose(&"http://r.example/".parse().expect("a URL")).is_none());
    }
}
