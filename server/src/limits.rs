//! Every number of the serving side, with its unit and its reason.
//!
//! Owns constants only; what an operator can change has its default in `config`.

use std::time::Duration;

/// The etcd version whose contract this server fulfils; clients parse it as three numbers.
pub const API_VERSION: &str = "3.6.0";

/// The version of this software.
pub const SERVER_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Bytes a gRPC message may be larger than the largest request, for its framing and metadata.
pub(crate) const MESSAGE_OVERHEAD_BYTES: usize = 512 * 1024;

/// Part of the request deadline that does not depend on the election timeout.
pub(crate) const REQUEST_TIMEOUT_BASE: Duration = Duration::from_secs(5);

/// Elections that fit into the request deadline, so that a change of leader is survived.
pub(crate) const REQUEST_TIMEOUT_ELECTIONS: u32 = 2;

/// Checks without a leader in a row after which streams that require one end.
pub(crate) const LEADERLESS_CHECKS: u32 = 3;

/// Bytes of history and events a watch stream collects before it lets the transport write.
pub(crate) const WATCH_POLL_BYTES: usize = 128 * 1024;

/// Requests a watch stream takes in a row before it looks for events again.
pub(crate) const WATCH_REQUESTS_PER_POLL: usize = 64;

/// Largest part of a progress period that is added to it at random, as a divisor: a tenth.
pub(crate) const PROGRESS_JITTER_DIVISOR: u32 = 10;

/// Bytes a client may send on one HTTP/2 stream before it must wait for us.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes a client may send on one connection before it must wait for us.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Silence after which the system asks whether a client's machine is still there, and the time
/// between two such questions; after a few without answer the connection is closed.
pub(crate) const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// Cancelled but unseen requests after which a connection is taken for an attack.
pub(crate) const PENDING_RESETS: usize = 1024;

/// Time a client of HTTP/1 has to send its request line and headers.
pub(crate) const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a failed accept, for the system to get file descriptors back.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Time running requests have to finish when the server stops.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time an applied change waits for the background flush.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// Log segment size of a throw-away server: small, so that it starts at once.
pub(crate) const EPHEMERAL_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// Renewals of one keepalive stream that may be under way at once.
pub(crate) const KEEPALIVES_AT_ONCE: usize = 128;

/// Times a lease id is drawn anew when the drawn one is taken.
pub(crate) const LEASE_ID_ATTEMPTS: usize = 4;
