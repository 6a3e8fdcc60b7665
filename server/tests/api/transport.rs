//! Around the services: what is not served, metadata, health, and plain HTTP on the same port.

use handfast_proto::etcdserverpb::{AuthStatusRequest, DefragmentRequest, auth_client::AuthClient};
use handfast_proto::health::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic::{Code, Request};

use crate::clients::{get, http, put, soon, start, watch};

#[tokio::test]
async fn what_is_not_served_says_so() {
    let (_server, clients) = start().await;
    let mut auth = AuthClient::new(clients.channel.clone());
    let refusals = [
        soon(auth.auth_status(AuthStatusRequest {}))
            .await
            .unwrap_err(),
        soon(clients.maintenance.clone().defragment(DefragmentRequest {}))
            .await
            .unwrap_err(),
    ];
    let names = ["Auth/AuthStatus", "Maintenance/Defragment"];
    for (status, name) in refusals.iter().zip(names) {
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(
            status.message().contains(&format!("etcdserverpb.{name}")),
            "{status}"
        );
    }
}

/// The status of a call to a path that no client has a method for.
async fn call(clients: &crate::clients::Clients, path: &'static str) -> tonic::Status {
    let mut grpc = tonic::client::Grpc::new(clients.channel.clone());
    soon(grpc.ready()).await.unwrap();
    let codec = handfast_proto::codec::SmallBufferCodec::<
        handfast_proto::etcdserverpb::RangeRequest,
        handfast_proto::etcdserverpb::RangeResponse,
    >::default();
    let path = http::uri::PathAndQuery::from_static(path);
    soon(grpc.unary(Request::new(get("a")), path, codec))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn unknown_paths_are_refused_in_the_words_of_grpc() {
    let (_server, clients) = start().await;
    let cases = [
        (
            "/etcdserverpb.KV/Nope",
            "unknown method Nope for service etcdserverpb.KV",
        ),
        (
            "/etcdserverpb.KV/RangeStream",
            "unknown method RangeStream for service etcdserverpb.KV",
        ),
        ("/no.Service/Range", "unknown service no.Service"),
    ];
    for (path, text) in cases {
        let status = call(&clients, path).await;
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unimplemented, text)
        );
    }
    let later = call(&clients, "/v3lockpb.Lock/Lock").await;
    assert_eq!(later.code(), Code::Unimplemented);
    assert!(later.message().contains("v3lockpb.Lock/Lock"), "{later}");
}

#[tokio::test]
async fn metadata_is_looked_at_before_the_request() {
    let (_server, clients) = start().await;
    let mut request = Request::new(put("", ""));
    let garbage = http::HeaderValue::from_bytes(b"\xff").unwrap();
    let mut headers = http::HeaderMap::new();
    headers.insert("client-api-version", garbage);
    *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
    let status = soon(clients.kv.clone().put(request)).await.unwrap_err();
    assert_eq!(status.message(), "etcdserver: invalid client api version");
    assert_eq!(status.code(), Code::InvalidArgument);

    let mut request = Request::new(put("a", "1"));
    request
        .metadata_mut()
        .insert("hasleader", "true".parse().unwrap());
    request
        .metadata_mut()
        .insert("client-api-version", "3.6".parse().unwrap());
    soon(clients.kv.clone().put(request)).await.unwrap();
}

#[tokio::test]
async fn the_health_service_knows_the_server_and_nothing_else() {
    let (server, clients) = start().await;
    let whole = HealthCheckRequest::default();
    let other = HealthCheckRequest {
        service: "etcdserverpb.KV".into(),
    };
    let mut health = clients.health.clone();
    let answer = soon(health.check(whole.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    let status = soon(health.check(other.clone())).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "unknown service")
    );

    let mut unknown = soon(health.watch(other)).await.unwrap().into_inner();
    let first = soon(unknown.message()).await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    let mut known = soon(health.watch(whole)).await.unwrap().into_inner();
    let first = soon(known.message()).await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    let (stopped, ended) = tokio::join!(server.shutdown(), soon(known.message()));
    stopped.unwrap();
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn health_and_version_are_served_as_plain_http_on_the_same_port() {
    let (server, _clients) = start().await;
    let endpoint = server.endpoint();
    let cases = [
        (
            "GET /health",
            "200 OK",
            "{\"health\":\"true\",\"reason\":\"\"}",
        ),
        (
            "GET /health?serializable=true",
            "200 OK",
            "{\"health\":\"true\",\"reason\":\"\"}",
        ),
        ("GET /livez", "200 OK", "\r\n\r\nok\n"),
        ("GET /readyz", "200 OK", "\r\n\r\nok\n"),
        ("GET /readyz?verbose", "200 OK", "[+]linearizable_read ok\n"),
        ("GET /readyz/linearizable_read", "200 OK", "\r\n\r\nok\n"),
        ("GET /version", "200 OK", "\"etcdserver\":\"3.6.0\""),
        ("POST /health", "405 Method Not Allowed", ""),
        ("GET /v3/kv/range", "404 Not Found", "404 page not found"),
        ("GET /", "404 Not Found", "404 page not found"),
    ];
    for (request, status, body) in cases {
        let reply = http(&endpoint, request).await;
        assert!(
            reply.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{request}: {reply}"
        );
        assert!(reply.contains(body), "{request}: {reply}");
    }
    let excluded = http(&endpoint, "GET /readyz?verbose&exclude=linearizable_read").await;
    assert!(!excluded.contains("linearizable_read"), "{excluded}");
}

#[tokio::test]
async fn more_calls_run_at_once_on_one_connection_than_http2_usually_allows() {
    let (_server, clients) = start().await;
    let mut streams = Vec::new();
    for _ in 0..1000 {
        let mut watching = clients.open_watch();
        watching.create(watch("b")).await;
        streams.push(watching);
    }
    assert_eq!(clients.put("a", "1").await, 2);
}
