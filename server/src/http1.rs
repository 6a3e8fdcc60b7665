//! The plain HTTP answers on the client port: health, probes, version and metrics.
//!
//! Owns the paths and how an answer is put on the wire. The JSON gateway is to be another module.

mod health;
mod metrics;
mod probe;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;

use crate::api::Node;
use crate::limits::API_VERSION;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What a path asks for.
#[derive(Debug, PartialEq)]
enum Page {
    Health,
    Version,
    Metrics,
    Probe(probe::Probe),
}

fn page(path: &str) -> Option<Page> {
    match path {
        "/health" => Some(Page::Health),
        "/version" => Some(Page::Version),
        "/metrics" => Some(Page::Metrics),
        _ => probe::Probe::at(path).map(Page::Probe),
    }
}

/// Answers one request that is not gRPC; its body is not read.
pub(crate) async fn answer<B>(node: &Node, request: &Request<B>) -> Response<Body> {
    let Some(page) = page(request.uri().path()) else {
        let text = "404 page not found\n".to_owned();
        return reply(StatusCode::NOT_FOUND, TEXT, text);
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let text = "Method Not Allowed\n".to_owned();
        let mut refusal = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
        refusal
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET"));
        return refusal;
    }
    let query = request.uri().query().unwrap_or("");
    match page {
        Page::Health => health::answer(node, query).await,
        Page::Version => reply(StatusCode::OK, JSON, version(node)),
        Page::Metrics => reply(StatusCode::OK, METRICS, metrics::page(node)),
        Page::Probe(probe) => probe.answer(node, query).await,
    }
}

fn version(node: &Node) -> String {
    // Before the first entry of the log nobody knows what the others are.
    let cluster = match node.store.applied() {
        Some(_) => API_VERSION,
        None => "not_decided",
    };
    format!(
        r#"{{"etcdserver":"{API_VERSION}","etcdcluster":"{cluster}","storage":"{API_VERSION}"}}"#
    )
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
    fn only_known_paths_have_a_page() {
        assert_eq!(page("/health"), Some(Page::Health));
        assert_eq!(page("/metrics"), Some(Page::Metrics));
        assert!(matches!(page("/readyz"), Some(Page::Probe(_))));
        assert_eq!(page("/healthy"), None);
        assert_eq!(page("/"), None);
    }
}
