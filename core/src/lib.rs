//! The client core: everything a program needs to speak to handfast or etcd, short of recipes.
//!
//! Owns connections, calls, retries, leases and watches. Knows nothing of locks, elections or
//! queues (crate `handfast`) and nothing of how a server stores what it is told.
//!
//! ```no_run
//! # async fn example() -> Result<(), handfast_core::Error> {
//! use handfast_core::{Client, Compare, Op};
//!
//! let client = Client::connect("127.0.0.1:2379").await?;
//! client.put("greeting", "hello").await?;
//! let pair = client.get("greeting").await?;
//! let outcome = client
//!     .txn()
//!     .when([Compare::create_revision("once").eq(0)])
//!     .then([Op::put("once", "done")])
//!     .commit()
//!     .await?;
//! # let _ = (pair, outcome.succeeded);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod backoff;
mod bytes_in;
mod call;
mod chance;
mod client;
mod clock;
mod cluster;
mod compare;
mod dial;
mod duplex;
mod endpoint;
mod environment;
mod error;
pub mod held;
mod keep_alive;
mod kv;
mod lease;
mod maintenance;
pub mod mirror;
mod namespace;
mod op;
mod pool;
pub mod session;
mod span;
mod sync;
mod txn;
mod watch;

pub use answer::{
    CompactResponse, DeleteResponse, OpResponse, PutResponse, RangeResponse, TxnResponse,
};
pub use backoff::Backoff;
pub use bytes_in::IntoBytes;
#[doc(hidden)]
pub use chance::Chance;
pub use client::{Client, ClientBuilder, MAX_TXN_OPS};
pub use compare::{Compare, IntegerTarget, ValueTarget};
pub use endpoint::IntoEndpoints;
pub use error::{Error, ErrorKind};
pub use handfast_proto::etcdserverpb::{
    ResponseHeader as Header,
    range_request::{SortOrder, SortTarget},
};
pub use handfast_proto::mvccpb::KeyValue;
pub use keep_alive::KeepAliver;
pub use kv::{Delete, Put, Range};
pub use lease::{KeepAlive, LeaseGrant, LeaseInfo};
pub use mirror::Mirror;
pub use op::Op;
pub use session::{Epoch, Session, SessionOptions};
pub use span::prefix_end;
pub use txn::Txn;
pub use watch::{Event, EventKind, WatchEvent, WatchOptions, WatchStream};

/// The wire messages, for what this crate hands through unchanged (status, members, alarms).
pub use handfast_proto as proto;
