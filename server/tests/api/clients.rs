//! What the tests share: a server, raw clients, and short ways to say common requests.

use std::time::Duration;

use handfast_proto::etcdserverpb::{
    LeaseGrantRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, WatchCreateRequest,
    WatchRequest, WatchResponse, cluster_client::ClusterClient, kv_client::KvClient,
    lease_client::LeaseClient, maintenance_client::MaintenanceClient, request_op::Request as Op,
    watch_client::WatchClient, watch_request::RequestUnion,
};
use handfast_proto::health::health_client::HealthClient;
use handfast_server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// A wait that only a broken server exhausts.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Fails the test instead of hanging it.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("the server did not answer")
}

#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) channel: Channel,
    pub(crate) kv: KvClient<Channel>,
    pub(crate) watch: WatchClient<Channel>,
    pub(crate) lease: LeaseClient<Channel>,
    pub(crate) cluster: ClusterClient<Channel>,
    pub(crate) maintenance: MaintenanceClient<Channel>,
    pub(crate) health: HealthClient<Channel>,
}

impl Clients {
    pub(crate) async fn connect(endpoint: &str) -> Clients {
        let endpoint = Channel::from_shared(endpoint.to_owned()).unwrap();
        let channel = soon(endpoint.connect()).await.unwrap();
        Clients {
            kv: KvClient::new(channel.clone()),
            watch: WatchClient::new(channel.clone()),
            lease: LeaseClient::new(channel.clone()),
            cluster: ClusterClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()),
            health: HealthClient::new(channel.clone()),
            channel,
        }
    }

    pub(crate) async fn put(&self, key: &str, value: &str) -> i64 {
        let response = soon(self.kv.clone().put(put(key, value))).await.unwrap();
        response.into_inner().header.unwrap().revision
    }

    pub(crate) async fn get(&self, key: &str) -> RangeResponse {
        soon(self.kv.clone().range(get(key)))
            .await
            .unwrap()
            .into_inner()
    }

    pub(crate) async fn grant(&self, ttl: i64, id: i64) -> i64 {
        let request = LeaseGrantRequest { ttl, id };
        soon(self.lease.clone().lease_grant(request))
            .await
            .unwrap()
            .into_inner()
            .id
    }

    pub(crate) fn open_watch(&self) -> Watching {
        self.open_watch_with(|_| {})
    }

    pub(crate) fn open_watch_with(
        &self,
        metadata: impl FnOnce(&mut tonic::metadata::MetadataMap),
    ) -> Watching {
        let (requests, stream) = mpsc::unbounded_channel();
        let mut call = Request::new(UnboundedReceiverStream::new(stream));
        metadata(call.metadata_mut());
        let mut client = self.watch.clone();
        let opening = tokio::spawn(async move { Ok(client.watch(call).await?.into_inner()) });
        Watching {
            requests: Some(requests),
            responses: Responses::Opening(opening),
        }
    }
}

/// An open watch stream.
pub(crate) struct Watching {
    requests: Option<mpsc::UnboundedSender<WatchRequest>>,
    responses: Responses,
}

/// etcd sends the headers of a stream only with its first message.
enum Responses {
    Opening(JoinHandle<Result<Streaming<WatchResponse>, Status>>),
    Open(Box<Streaming<WatchResponse>>),
}

impl Watching {
    pub(crate) fn send(&self, request: RequestUnion) {
        let request = WatchRequest {
            request_union: Some(request),
        };
        self.requests.as_ref().unwrap().send(request).unwrap();
    }

    /// Asks for a watcher, and returns the reply.
    pub(crate) async fn create(&mut self, create: WatchCreateRequest) -> WatchResponse {
        self.send(RequestUnion::CreateRequest(create));
        let reply = self.next().await;
        assert!(reply.created, "{reply:?}");
        reply
    }

    pub(crate) async fn next(&mut self) -> WatchResponse {
        self.result().await.unwrap()
    }

    pub(crate) async fn result(&mut self) -> Result<WatchResponse, Status> {
        if let Responses::Opening(opening) = &mut self.responses {
            self.responses = Responses::Open(Box::new(soon(opening).await.unwrap()?));
        }
        let Responses::Open(responses) = &mut self.responses else {
            unreachable!()
        };
        soon(responses.message())
            .await
            .map(|message| message.expect("the stream ended"))
    }

    /// Events until there are `count`, as `(type, key, mod revision)`.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<(i32, String, i64)> {
        let mut events = Vec::new();
        while events.len() < count {
            for event in self.next().await.events {
                let kv = event.kv.unwrap();
                let key = String::from_utf8(kv.key.to_vec()).unwrap();
                events.push((event.r#type, key, kv.mod_revision));
            }
        }
        events
    }

    /// Closes the client's side of the stream.
    pub(crate) fn half_close(&mut self) {
        self.requests = None;
    }
}

/// An ephemeral server and its clients.
pub(crate) async fn start() -> (Server, Clients) {
    let server = soon(Server::builder().ephemeral().start()).await.unwrap();
    let clients = Clients::connect(&server.endpoint()).await;
    (server, clients)
}

/// One HTTP/1.1 request on a connection of its own: status line, headers and body.
pub(crate) async fn http(endpoint: &str, request: &str) -> String {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    soon(stream.read_to_string(&mut reply)).await.unwrap();
    reply
}

pub(crate) fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    }
}

pub(crate) fn get(key: &str) -> RangeRequest {
    RangeRequest {
        key: key.to_owned().into(),
        ..RangeRequest::default()
    }
}

pub(crate) fn watch(key: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.to_owned().into(),
        ..WatchCreateRequest::default()
    }
}

pub(crate) fn op(request: Op) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}
