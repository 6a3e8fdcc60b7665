//! Locks and elections for programs that run on several machines, over a handfast or etcd server.
//!
//! ```no_run
//! # async fn copy(token: i64) {}
//! # async fn example() -> Result<(), handfast::Error> {
//! use std::time::Duration;
//!
//! let hf = handfast::Handfast::connect("127.0.0.1:2379").await?;
//! let lock = hf.lock("jobs/nightly").timeout(Duration::from_secs(30)).acquire().await?;
//! lock.scope(copy(lock.token())).await?; // dropped at once if the lock is lost
//! lock.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What is held is held on a lease. The library says that it is lost before anybody else can hold
//! it, as far as clocks go ([`Tenure::check`]); for effects outside the store pass on the fencing
//! token ([`Tenure::token`]).

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod acquire;
mod config;
mod election;
mod error;
mod handfast;
mod kind;
mod line;
mod lock;
mod member;
mod multi;
mod once;
mod queue;
mod service;
mod tenure;
mod way;

pub use acquire::AcquireOptions;
pub use config::{
    Config, ConfigBuilder, ConfigChanges, ConfigEvent, ConfigProblem, ConfigProblemKind, ConfigSet,
    ConfigSource, ConfigValue, Publication, Publish, Published, SnapshotFuture, SnapshotStore,
};
pub use election::{Candidates, Election, Leader, Leadership, Observer};
pub use error::Error;
pub use handfast::{Handfast, HandfastBuilder, HeldName};
pub use handfast_core as core;
pub use handfast_core::session::{LostReason, Session, SessionRecord, State};
pub use kind::Kind;
pub use line::parse_place;
pub use lock::{Lock, LockGuard, LockLine, TryLock};
pub use member::{Member, Waiting};
pub use multi::{MAX_NAMES, MultiGuard, MultiLock, TryMulti};
pub use once::{Once, OnceError, OnceResult};
pub use queue::{
    AckTxn, Acked, Claim, Condition, Control, DeadLetter, Failed, ItemState, Push, Pushed, Queue,
    QueueItem, QueueStatus, Reason, Why, Worker,
};
pub use service::{
    Discover, Discovery, Entry, Instance, Pick, Picked, Register, Registration, RegistrationState,
    Service, ServiceChange, ServiceChanges, ServiceList, Status,
};
pub use tenure::{GuardedTxn, Tenure};
