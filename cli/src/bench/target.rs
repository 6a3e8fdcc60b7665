//! A server that is measured.
//!
//! Owns its connections and its process id. It must not know what is measured.

use handfast_core::Client;
use handfast_proto::etcdserverpb::DeleteRangeRequest;
use handfast_proto::etcdserverpb::kv_client::KvClient;
use tonic::transport::{Channel, Endpoint};

use super::process;
use crate::exit::Failure;

/// Where all keys of a bench are.
const PREFIX: &str = "handfast-bench/";
/// First key behind the prefix: `0` follows `/`.
const PREFIX_END: &str = "handfast-bench0";
/// Flow control windows large enough to never be what limits.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// A server that is measured.
pub(super) struct Target {
    label: String,
    pid: Option<u32>,
    channels: Vec<Channel>,
}

impl Target {
    pub(super) async fn connect(
        endpoint: &str,
        pid: Option<u32>,
        connections: usize,
    ) -> Result<Target, Failure> {
        // The client core knows how endpoints are written, and says best what is wrong.
        let client = Client::builder()
            .endpoints(endpoint)
            .build()
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let url = client.endpoints().into_iter().next().unwrap_or_default();
        client.range("bench").count_only().await?;
        let label = url.trim_start_matches("http://").to_owned();
        let mut channels = Vec::with_capacity(connections);
        for _ in 0..connections {
            channels.push(channel(&url).await?);
        }
        let pid = pid.or_else(|| process::listening(&label));
        Ok(Target {
            label,
            pid,
            channels,
        })
    }

    /// How the server is called in the report.
    pub(super) fn label(&self) -> String {
        self.label.clone()
    }

    /// Its process, if it is known.
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Its connections.
    pub(super) fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Deletes every key of the bench.
    pub(super) async fn clean_up(&self) -> Result<(), Failure> {
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

async fn channel(url: &str) -> Result<Channel, Failure> {
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
