//! A server that is measured.
//!
//! Owns its connections, its process id and the leases it keeps from round to round. It must not
//! know what is measured.

use std::cell::RefCell;
use std::rc::Rc;

use futures::TryStreamExt;
use handfast_core::Client;
use handfast_proto::etcdserverpb::kv_client::KvClient;
use handfast_proto::etcdserverpb::lease_client::LeaseClient;
use handfast_proto::etcdserverpb::{DeleteRangeRequest, LeaseRevokeRequest};
use tonic::transport::{Channel, Endpoint};

use super::process;
use crate::exit::Failure;

/// Where all keys of a bench are.
const PREFIX: &str = "handfast-bench/";
/// First key behind the prefix: `0` follows `/`.
const PREFIX_END: &str = "handfast-bench0";
/// Flow control windows large enough to never be what limits.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Leases that are revoked at once when all is over.
const REVOKES_INFLIGHT: usize = 256;

/// A server that is measured, or the members of a cluster as one.
pub(super) struct Target {
    /// As `host:port`.
    endpoints: Vec<String>,
    pids: Vec<u32>,
    channels: Vec<Channel>,
    kept_leases: Rc<RefCell<Vec<i64>>>,
}

impl Target {
    /// Spreads the connections over all endpoints. Processes that are not given are found.
    pub(super) async fn connect(
        endpoints: &[String],
        pids: &[u32],
        connections: usize,
    ) -> Result<Target, Failure> {
        // The client core knows how endpoints are written, and says best what is wrong.
        let client = Client::builder()
            .endpoints(endpoints)
            .build()
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let urls = client.endpoints();
        for url in &urls {
            client.status(url).await?;
        }
        client.range("bench").count_only().await?;
        let mut channels = Vec::with_capacity(connections.max(urls.len()));
        // Each endpoint gets one at least, so that a cluster is measured as one.
        for url in urls.iter().cycle().take(connections.max(urls.len())) {
            channels.push(channel(url).await?);
        }
        let hosts = urls.iter().map(|url| url.trim_start_matches("http://"));
        let endpoints: Vec<String> = hosts.map(str::to_owned).collect();
        let mut pids = pids.to_vec();
        if pids.is_empty() {
            let found: Option<Vec<u32>> =
                endpoints.iter().map(|at| process::listening(at)).collect();
            pids = found.unwrap_or_default();
            pids.sort_unstable();
            pids.dedup();
        }
        Ok(Target {
            endpoints,
            pids,
            channels,
            kept_leases: Rc::default(),
        })
    }

    /// How the server is called in the report.
    pub(super) fn label(&self) -> String {
        match self.endpoints.as_slice() {
            [first, _, ..] => format!("{first} +{}", self.endpoints.len() - 1),
            one => one.concat(),
        }
    }

    /// All its endpoints, with commas between.
    pub(super) fn address(&self) -> String {
        self.endpoints.join(",")
    }

    /// Its processes; none when one of them is not known.
    pub(super) fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// Its connections.
    pub(super) fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Leases that are too many to be granted for each round; [`Target::clean_up`] ends them.
    pub(super) fn kept_leases(&self) -> &Rc<RefCell<Vec<i64>>> {
        &self.kept_leases
    }

    /// Deletes every key of the bench and ends the leases that were kept.
    pub(super) async fn clean_up(&self) -> Result<(), Failure> {
        self.revoke_kept_leases()
            .await
            .map_err(|status| refused(&status))?;
        let request = DeleteRangeRequest {
            key: PREFIX.into(),
            range_end: PREFIX_END.into(),
            ..DeleteRangeRequest::default()
        };
        let deleted = KvClient::new(self.channels[0].clone())
            .delete_range(request)
            .await;
        deleted.map(drop).map_err(|status| refused(&status))
    }

    async fn revoke_kept_leases(&self) -> Result<(), tonic::Status> {
        let leases = self.kept_leases.take();
        let revokes = leases.into_iter().zip(self.channels.iter().cycle());
        futures::stream::iter(revokes.map(Ok))
            .try_for_each_concurrent(REVOKES_INFLIGHT, |(id, channel)| async move {
                let mut client = LeaseClient::new(channel.clone());
                revoked(client.lease_revoke(LeaseRevokeRequest { id }).await)
            })
            .await
    }
}

/// A lease that is gone already is as good as revoked.
pub(super) fn revoked<T>(answer: Result<T, tonic::Status>) -> Result<(), tonic::Status> {
    match answer {
        Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
        answer => answer.map(drop),
    }
}

/// The name of a key of the bench.
pub(super) fn key(name: impl std::fmt::Display) -> bytes::Bytes {
    format!("{PREFIX}{name}").into()
}

/// What a server's refusal means for the bench.
pub(super) fn refused(status: &tonic::Status) -> Failure {
    Failure::Other(format!(
        "the server refused: {} ({:?})",
        status.message(),
        status.code()
    ))
}

/// A connection to a server.
pub(super) async fn channel(url: &str) -> Result<Channel, Failure> {
    let failed = |error: tonic::transport::Error| {
        Failure::Other(format!("cannot open another connection to {url}: {error}"))
    };
    Endpoint::from_shared(url.to_owned())
        .map_err(failed)?
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect()
        .await
        .map_err(failed)
}
