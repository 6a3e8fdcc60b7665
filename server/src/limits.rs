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

/// Bytes of an HTTP/2 frame that a client may send: the least that the standard allows to offer.
pub(crate) const FRAME_BYTES: u32 = 16 * 1024;

/// Bytes a client may send on one connection before it must wait for us.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Silence after which the system asks whether a client's machine is still there, and the time
/// between two such questions; after a few without answer the connection is closed.
pub(crate) const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// Cancelled but unseen requests after which a connection is taken for an attack.
pub(crate) const PENDING_RESETS: usize = 1024;

/// Time a client of HTTP/1 has to send its request line and headers.
pub(crate) const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that may wait to be accepted; the system may have a lower limit. All clients of a
/// server that was restarted come at once, and who finds no room tries again after a second.
pub(crate) const BACKLOG: u32 = 4096;

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

/// Pause after the first failed attempt to reach a member; it doubles with each further one.
pub(crate) const PEER_RETRY_MIN: Duration = Duration::from_millis(20);

/// Longest such pause: a member that comes back is reached about as soon.
pub(crate) const PEER_RETRY_MAX: Duration = Duration::from_millis(200);

/// Addresses of members that connections are kept for.
pub(crate) const PEER_LINKS: usize = 64;

/// Bytes a member may send on one stream of a peer connection before it must wait for us: a few of
/// the largest appends.
pub(crate) const PEER_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Bytes of a frame between members: larger than for clients, for appends and snapshots are.
pub(crate) const PEER_FRAME_BYTES: u32 = 256 * 1024;

/// Bytes a request of another member may have, beside its largest command: the offer of a snapshot
/// names every lease, 16 bytes each.
pub(crate) const PEER_REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// Bytes an answer of another member may have: the keys of a large lease, for one.
pub(crate) const PEER_RESPONSE_BYTES: usize = 256 * 1024 * 1024;

/// Streams that one member may have open on a peer connection.
pub(crate) const PEER_STREAMS: u32 = 4096;

/// Time a member has to say who it is, before a start goes on without its answer.
pub(crate) const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time a first start looks for a member of its cluster before it gives up.
pub(crate) const BOOTSTRAP_PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two such looks.
pub(crate) const BOOTSTRAP_PAUSE: Duration = Duration::from_millis(250);

/// Pause between two attempts to tell the cluster where clients find this member, and between two
/// looks for the secret that join tokens are made of.
pub(crate) const ANNOUNCE_PAUSE: Duration = Duration::from_millis(500);

/// Time a leader has to hand over before a graceful stop goes on without.
pub(crate) const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(2);
