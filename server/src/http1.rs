//! The plain HTTP answers on the client port: health and version.
//!
//! Owns `/health`, `/livez`, `/readyz` and `/version` as etcd words them. The JSON gateway and the
//! metrics are to be other modules.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;

use crate::api::Node;
use crate::limits::API_VERSION;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What `/livez` looks at.
const LIVE: &[Check] = &[Check::SerializableRead];
/// What `/readyz` looks at, in etcd's order.
const READY: &[Check] = &[
    Check::DataCorruption,
    Check::SerializableRead,
    Check::LinearizableRead,
    Check::NonLearner,
];

/// Answers one request that is not gRPC; its body is not read.
pub(crate) async fn answer<B>(node: &Node, request: &Request<B>) -> Response<Body> {
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or("");
    let known = matches!(path, "/health" | "/version") || checks_of(path).is_some();
    if !known {
        return reply(
            StatusCode::NOT_FOUND,
            TEXT,
            "404 page not found\n".to_owned(),
        );
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refusal = reply(
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "Method Not Allowed\n".to_owned(),
        );
        refusal
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET"));
        return refusal;
    }
    match checks_of(path) {
        Some(checks) => probe(node, checks, query).await,
        None if path == "/version" => version(),
        None => health(node, query).await,
    }
}

fn version() -> Response<Body> {
    let versions = ["etcdserver", "etcdcluster", "storage"]
        .map(|part| format!("\"{part}\":\"{API_VERSION}\""))
        .join(",");
    reply(StatusCode::OK, JSON, format!("{{{versions}}}"))
}

async fn health(node: &Node, query: &str) -> Response<Body> {
    let serializable = parameters(query).any(|parameter| parameter == ("serializable", "true"));
    let reason = if serializable {
        None
    } else if !node.has_leader() {
        Some("RAFT NO LEADER".to_owned())
    } else {
        node.catch_up()
            .await
            .err()
            .map(|status| format!("RANGE ERROR:{}", status.message()))
    };
    match reason {
        None => reply(
            StatusCode::OK,
            TEXT,
            r#"{"health":"true","reason":""}"#.to_owned(),
        ),
        Some(reason) => reply(
            StatusCode::SERVICE_UNAVAILABLE,
            TEXT,
            format!(r#"{{"health":"false","reason":"{reason}"}}"#),
        ),
    }
}

/// One thing that `/livez` or `/readyz` looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    /// `Err` says what is wrong. Alarms and learners do not exist yet, and a store that can be
    /// asked at all answers a local read.
    async fn run(self, node: &Node) -> Result<(), String> {
        match self {
            Check::DataCorruption | Check::SerializableRead | Check::NonLearner => Ok(()),
            Check::LinearizableRead => node
                .catch_up()
                .await
                .map_err(|status| status.message().to_owned()),
        }
    }
}

/// The checks behind a path: all of a probe, or the one it names.
fn checks_of(path: &str) -> Option<&'static [Check]> {
    let (all, rest) = match (path.strip_prefix("/livez"), path.strip_prefix("/readyz")) {
        (Some(rest), _) => (LIVE, rest),
        (_, Some(rest)) => (READY, rest),
        _ => return None,
    };
    if rest.is_empty() || rest == "/" {
        return Some(all);
    }
    let name = rest.strip_prefix('/')?;
    let at = all.iter().position(|check| check.name() == name)?;
    Some(&all[at..=at])
}

async fn probe(node: &Node, checks: &[Check], query: &str) -> Response<Body> {
    let excluded =
        |check: Check| parameters(query).any(|parameter| parameter == ("exclude", check.name()));
    let verbose = parameters(query).any(|(name, _)| name == "verbose");
    let mut lines = String::new();
    let mut failed = false;
    for &check in checks.iter().filter(|check| !excluded(**check)) {
        match check.run(node).await {
            Ok(()) => lines.push_str(&format!("[+]{} ok\n", check.name())),
            Err(error) => {
                failed = true;
                lines.push_str(&format!("[-]{} failed: {error}\n", check.name()));
            }
        }
    }
    if failed {
        lines.push('\n');
        return reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines);
    }
    let body = if verbose {
        lines + "ok\n"
    } else {
        "ok\n".to_owned()
    };
    reply(StatusCode::OK, TEXT, body)
}

/// The parameters of a query; the names and values used here need no decoding.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
}

fn reply(status: StatusCode, content_type: HeaderValue, body: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_all_checks_of_a_probe_or_one_of_them() {
        assert_eq!(checks_of("/livez"), Some(LIVE));
        assert_eq!(checks_of("/readyz"), Some(READY));
        assert_eq!(
            checks_of("/readyz/non_learner"),
            Some(&[Check::NonLearner][..])
        );
        assert_eq!(checks_of("/livez/non_learner"), None);
        assert_eq!(checks_of("/readyzzz"), None);
        assert_eq!(checks_of("/health"), None);
    }
}
