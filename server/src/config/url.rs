//! Addresses as the flags write them: `http://127.0.0.1:2379`, `unix:///run/handfast.sock`.
//!
//! Owns their syntax and what may be listened on. It must not resolve names or open sockets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

/// How a URL is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Scheme {
    Http,
    Https,
    Unix,
    Unixs,
}

impl Scheme {
    fn text(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Unixs => "unixs",
        }
    }

    /// Whether the scheme asks for TLS.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Scheme::Https | Scheme::Unixs)
    }
}

/// An address to listen on or to advertise: scheme, host and port, or a socket file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    scheme: Scheme,
    /// Host without brackets, or the path of a socket file.
    host: String,
    /// Zero asks the system for a free port; unused for socket files.
    port: u16,
}

impl Url {
    /// `http://host:port`.
    pub fn tcp(host: &str, port: u16) -> Url {
        Url {
            scheme: Scheme::Http,
            host: host.to_owned(),
            port,
        }
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host (IPv6 without brackets); empty for a socket file.
    pub fn host(&self) -> &str {
        if self.socket_file().is_some() {
            ""
        } else {
            &self.host
        }
    }

    /// The port; zero asks for a free one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same URL with another port: what a listener on port zero turned out to be.
    pub fn with_port(&self, port: u16) -> Url {
        Url {
            port,
            ..self.clone()
        }
    }

    /// The socket file of a `unix` URL.
    pub fn socket_file(&self) -> Option<&Path> {
        match self.scheme {
            Scheme::Unix | Scheme::Unixs => Some(Path::new(&self.host)),
            Scheme::Http | Scheme::Https => None,
        }
    }

    /// Where to listen; `localhost` is IPv4 loopback. `None` for socket files and host names.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.ip().map(|ip| SocketAddr::new(ip, self.port))
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        self.socket_file().is_some() || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// Whether it stands for every address of the machine.
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// Whether both lead to one place; `localhost` is IPv4 loopback.
    pub fn reaches_the_same(&self, other: &Url) -> bool {
        self == other || self.ip().is_some() && self.socket_addr() == other.socket_addr()
    }

    /// Whether it names an IP address (or `localhost`), so that one can listen on it.
    pub(super) fn is_numeric(&self) -> bool {
        self.ip().is_some()
    }

    pub(super) fn check_listenable(&self) -> Result<(), String> {
        if self.scheme.is_encrypted() {
            return Err(format!(
                "{self} asks for TLS, which this version does not offer yet"
            ));
        }
        if self.socket_file().is_some() || self.ip().is_some() {
            return Ok(());
        }
        Err(format!(
            "{self} must name an IP address (or localhost) to listen on"
        ))
    }

    /// Reads the short forms of `--listen`: `2379`, `:2379`, `host:port`, or a whole URL.
    pub(crate) fn parse_listen(text: &str) -> Result<Url, String> {
        if text.contains("://") {
            return text.parse();
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            return format!("http://127.0.0.1:{text}").parse();
        }
        if let Some(port) = text.strip_prefix(':') {
            return format!("http://0.0.0.0:{port}").parse();
        }
        format!("http://{text}").parse()
    }

    fn ip(&self) -> Option<IpAddr> {
        match self.scheme {
            Scheme::Unix | Scheme::Unixs => None,
            _ if self.host == "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            _ => self.host.parse().ok(),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.text();
        match self.scheme {
            Scheme::Unix | Scheme::Unixs => write!(f, "{scheme}://{}", self.host),
            _ if self.host.contains(':') => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            _ => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Url, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| format!("`{text}` is not a URL; write it like http://127.0.0.1:2379"))?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            other => {
                return Err(format!(
                    "`{text}`: scheme `{other}` is not one of http, https, unix"
                ));
            }
        };
        if matches!(scheme, Scheme::Unix | Scheme::Unixs) {
            if rest.is_empty() {
                return Err(format!("`{text}` lacks the path of the socket file"));
            }
            return Ok(Url {
                scheme,
                host: rest.to_owned(),
                port: 0,
            });
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return Err(format!("`{text}` must not have a path"));
        }
        let (host, port) = rest
            .rsplit_once(':')
            .filter(|(host, _)| !host.contains(':') || host.ends_with(']'))
            .ok_or_else(|| format!("`{text}` lacks a port; write it like {text}:2379"))?;
        let port = port
            .parse()
            .map_err(|_| format!("`{text}`: `{port}` is not a port"))?;
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() {
            return Err(format!("`{text}` lacks a host"));
        }
        Ok(Url {
            scheme,
            host: host.to_owned(),
            port,
        })
    }
}
