//! The addresses a client is given.
//!
//! Owns their spelling. Knows nothing of connections.

use std::{net::IpAddr, sync::Arc};

use crate::{Error, ErrorKind};

/// The port of an address that names none: etcd's client port.
const DEFAULT_PORT: u16 = 2379;

/// What can name the endpoints of a cluster: one string (which may hold a comma list) or several.
pub trait IntoEndpoints {
    /// The addresses as they were written.
    fn into_endpoints(self) -> Vec<String>;
}

impl IntoEndpoints for &str {
    fn into_endpoints(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl IntoEndpoints for String {
    fn into_endpoints(self) -> Vec<String> {
        vec![self]
    }
}

impl IntoEndpoints for &String {
    fn into_endpoints(self) -> Vec<String> {
        vec![self.clone()]
    }
}

impl<S: AsRef<str>> IntoEndpoints for &[S] {
    fn into_endpoints(self) -> Vec<String> {
        self.iter().map(|part| part.as_ref().to_owned()).collect()
    }
}

impl<S: AsRef<str>> IntoEndpoints for &Vec<S> {
    fn into_endpoints(self) -> Vec<String> {
        self.as_slice().into_endpoints()
    }
}

impl<S: AsRef<str>> IntoEndpoints for Vec<S> {
    fn into_endpoints(self) -> Vec<String> {
        self.as_slice().into_endpoints()
    }
}

impl<S: AsRef<str>, const N: usize> IntoEndpoints for [S; N] {
    fn into_endpoints(self) -> Vec<String> {
        self.as_slice().into_endpoints()
    }
}

/// The distinct addresses in `written`, each in the form `http://host:port` or `unix:path`.
pub(crate) fn parse(written: &[String]) -> Result<Vec<Arc<str>>, Error> {
    let mut urls: Vec<Arc<str>> = Vec::new();
    for part in written.iter().flat_map(|text| text.split(',')) {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let url = parse_one(part)?;
        if !urls.iter().any(|known| **known == *url) {
            urls.push(url.into());
        }
    }
    if urls.is_empty() {
        return Err(refuse(
            "no endpoint was given; name one, such as 127.0.0.1:2379",
        ));
    }
    Ok(urls)
}

pub(crate) fn parse_one(text: &str) -> Result<String, Error> {
    if text.starts_with("unix:") {
        return Ok(text.to_owned());
    }
    let authority = match text.split_once("://") {
        None => text,
        Some(("http", rest)) => rest,
        Some(("https", _)) => {
            return Err(refuse(format!(
                "{text}: TLS is not built in; use an http:// endpoint"
            )));
        }
        Some((scheme, _)) => {
            return Err(refuse(format!(
                "{text}: unknown scheme {scheme}; use http://"
            )));
        }
    };
    let authority = authority.trim_end_matches('/');
    if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
        return Err(refuse(format!("{text}: write an endpoint as host:port")));
    }
    let (host, port) = split_port(authority)
        .ok_or_else(|| refuse(format!("{text}: write an endpoint as host:port")))?;
    let port = match port {
        None => DEFAULT_PORT,
        Some(digits) => match digits.parse() {
            Ok(0) | Err(_) => {
                return Err(refuse(format!("{text}: the port must be from 1 to 65535")));
            }
            Ok(port) => port,
        },
    };
    Ok(format!("http://{host}:{port}"))
}

/// Whether `url`, as [`parse`] spells it, means the machine it is read on.
pub(crate) fn is_loopback(url: &str) -> bool {
    match host(url) {
        None => true,
        Some(host) => {
            host == "localhost"
                || host
                    .parse::<IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    }
}

/// Whether `url`, as [`parse`] spells it, is a place to listen at but not one to go to.
pub(crate) fn is_unspecified(url: &str) -> bool {
    host(url)
        .and_then(|host| host.parse::<IpAddr>().ok())
        .is_some_and(|address| address.is_unspecified())
}

/// The host without brackets; a Unix socket has none.
fn host(url: &str) -> Option<&str> {
    let (host, _) = split_port(url.strip_prefix("http://")?)?;
    Some(host.trim_start_matches('[').trim_end_matches(']'))
}

/// Host and port; an IPv6 host keeps its brackets.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        let (host, rest) = authority.split_at(end);
        return match rest {
            "" => Some((host, None)),
            _ => rest.strip_prefix(':').map(|port| (host, Some(port))),
        };
    }
    match authority.split_once(':') {
        None => Some((authority, None)),
        Some((host, port)) if !host.is_empty() && !port.contains(':') => Some((host, Some(port))),
        Some(_) => None,
    }
}

fn refuse(message: impl Into<String>) -> Error {
    Error::local(ErrorKind::InvalidEndpoint, "connect", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(input: impl IntoEndpoints) -> Vec<String> {
        parse(&input.into_endpoints())
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn every_usual_spelling_is_taken() {
        assert_eq!(urls("127.0.0.1:2379"), ["http://127.0.0.1:2379"]);
        assert_eq!(urls("http://node/"), ["http://node:2379"]);
        assert_eq!(urls("a:1, http://b:2 ,a:1"), ["http://a:1", "http://b:2"]);
        assert_eq!(urls(["a:1", "b:2"]), ["http://a:1", "http://b:2"]);
        assert_eq!(urls(vec!["[::1]:7".to_owned()]), ["http://[::1]:7"]);
        assert_eq!(urls("[::1]"), ["http://[::1]:2379"]);
        assert_eq!(urls("unix:///run/x.sock"), ["unix:///run/x.sock"]);
    }

    #[test]
    fn addresses_of_this_machine_and_of_none_are_known() {
        for url in [
            "http://127.0.0.1:1",
            "http://[::1]:1",
            "http://localhost:1",
            "unix:/x",
        ] {
            assert!(is_loopback(url) && !is_unspecified(url), "{url}");
        }
        for url in ["http://0.0.0.0:1", "http://[::]:1"] {
            assert!(is_unspecified(url) && !is_loopback(url), "{url}");
        }
        assert!(!is_loopback("http://10.0.0.1:1") && !is_unspecified("http://node:1"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "no endpoint"),
            (" , ", "no endpoint"),
            ("https://a:1", "TLS"),
            ("ftp://a:1", "scheme"),
            ("a:0", "port"),
            ("a:99999", "port"),
            ("::1", "host:port"),
            ("http://a:1/path", "host:port"),
            (":2379", "host:port"),
        ] {
            let error = parse(&text.into_endpoints()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidEndpoint);
            assert!(error.to_string().contains(reason), "{text}: {error}");
        }
    }
}
