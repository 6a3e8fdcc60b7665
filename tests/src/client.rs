//! Bare clients of one endpoint, with the exact status of every call.
//!
//! The product's client core is not used here on purpose: it retries and translates errors, and
//! these tests compare what is on the wire.

use std::time::Duration;

use handfast_proto::etcdserverpb::{
    cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use tonic::transport::{Channel, Endpoint};

use crate::Result;

/// Longer than any request timeout of a server, so that the server's own answer is seen.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The services of one server over one connection.
#[derive(Clone, Debug)]
pub struct Client {
    /// Reads and writes.
    pub kv: KvClient<Channel>,
    /// Leases.
    pub lease: LeaseClient<Channel>,
    /// Watches.
    pub watch: WatchClient<Channel>,
    /// Members.
    pub cluster: ClusterClient<Channel>,
    /// Status and upkeep.
    pub maintenance: MaintenanceClient<Channel>,
}

impl Client {
    /// A client that connects on its first call. `endpoint` is a URL.
    ///
    /// # Errors
    /// When `endpoint` is not a URL.
    pub fn lazy(endpoint: &str) -> Result<Self> {
        let channel = Endpoint::from_shared(endpoint.to_owned())?
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .connect_lazy();
        Ok(Self {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            lease: LeaseClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            watch: WatchClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            cluster: ClusterClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel),
        })
    }
}

/// Waits for an answer, but not for ever: a server that hangs fails the test with a status.
///
/// # Errors
/// The status of the call, or `DeadlineExceeded` from here.
pub async fn answer<T>(
    call: impl Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>,
) -> std::result::Result<T, tonic::Status> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(tonic::Status::deadline_exceeded(
            "no answer within the test's own limit",
        )),
    }
}
