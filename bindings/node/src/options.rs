//! Settings as TypeScript gives them: milliseconds, and absent where the default is meant.
//!
//! Owns their shapes and reading them. Knows no defaults.

use std::time::Duration;

use bytes::Bytes;
use handfast::{
    Election, Handfast, HandfastBuilder, Lock, MultiLock, core::session::parse_lease_hex,
};
use handfast_bindings::Failure;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

pub(crate) fn bytes(buffer: &Buffer) -> Bytes {
    Bytes::copy_from_slice(buffer)
}

pub(crate) fn span(argument: &'static str, ms: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(ms / 1000.0).map_err(|_| {
        let problem = format!("{ms} is not a number of milliseconds from 0 on");
        Failure::invalid(argument, problem)
    })
}

/// A lease as text, in the hexadecimal digits that `etcdctl` shows; empty means none.
pub(crate) fn lease(text: &str) -> Result<i64, Failure> {
    if text.is_empty() {
        return Ok(0);
    }
    parse_lease_hex(text)
        .ok_or_else(|| Failure::invalid("lease", format!("{text:?} is not the id of a lease")))
}

#[napi(object)]
pub struct ClientOptions {
    pub endpoints: Vec<String>,
    pub namespace: Option<Buffer>,
    pub ttl_ms: Option<f64>,
    pub timeout_ms: Option<f64>,
    pub beat_ms: Option<f64>,
    pub app_name: Option<String>,
}

impl ClientOptions {
    pub(crate) fn build(self) -> Result<Handfast, Failure> {
        let mut builder: HandfastBuilder = Handfast::builder().endpoints(self.endpoints);
        if let Some(namespace) = &self.namespace {
            builder = builder.namespace(bytes(namespace));
        }
        if let Some(app) = self.app_name {
            builder = builder.app_name(app);
        }
        if let Some(ttl) = self.ttl_ms {
            builder = builder.ttl(span("ttlMs", ttl)?);
        }
        if let Some(interval) = self.beat_ms {
            builder = builder.require_beat(span("beatMs", interval)?);
        }
        if let Some(timeout) = self.timeout_ms {
            let timeout = span("timeoutMs", timeout)?;
            builder = builder.request_timeout(timeout);
            builder = builder.session(|session| session.connect_timeout(Some(timeout)));
        }
        Ok(builder.build()?)
    }
}

#[napi(object)]
pub struct LockOptions {
    pub timeout_ms: Option<f64>,
    pub max_hold_ms: Option<f64>,
    pub beat_ms: Option<f64>,
    pub rejoin: Option<bool>,
}

impl LockOptions {
    /// The same for several locks.
    pub(crate) fn apply_multi(&self, mut locks: MultiLock) -> Result<MultiLock, Failure> {
        locks = locks.rejoin(self.rejoin.unwrap_or(false));
        if let Some(timeout) = self.timeout_ms {
            locks = locks.timeout(span("timeoutMs", timeout)?);
        }
        if let Some(limit) = self.max_hold_ms {
            locks = locks.max_hold(span("maxHoldMs", limit)?);
        }
        if let Some(interval) = self.beat_ms {
            locks = locks.beat(span("beatMs", interval)?);
        }
        Ok(locks)
    }

    pub(crate) fn apply(&self, mut lock: Lock) -> Result<Lock, Failure> {
        lock = lock.rejoin(self.rejoin.unwrap_or(false));
        if let Some(timeout) = self.timeout_ms {
            lock = lock.timeout(span("timeoutMs", timeout)?);
        }
        if let Some(limit) = self.max_hold_ms {
            lock = lock.max_hold(span("maxHoldMs", limit)?);
        }
        if let Some(interval) = self.beat_ms {
            lock = lock.beat(span("beatMs", interval)?);
        }
        Ok(lock)
    }
}

#[napi(object)]
pub struct ElectionOptions {
    pub value: Option<Buffer>,
    pub timeout_ms: Option<f64>,
    pub max_hold_ms: Option<f64>,
    pub beat_ms: Option<f64>,
    pub rejoin: Option<bool>,
}

impl ElectionOptions {
    pub(crate) fn apply(&self, mut election: Election) -> Result<Election, Failure> {
        election = election.rejoin(self.rejoin.unwrap_or(false));
        if let Some(value) = &self.value {
            election = election.value(bytes(value));
        }
        if let Some(timeout) = self.timeout_ms {
            election = election.timeout(span("timeoutMs", timeout)?);
        }
        if let Some(limit) = self.max_hold_ms {
            election = election.max_hold(span("maxHoldMs", limit)?);
        }
        if let Some(interval) = self.beat_ms {
            election = election.beat(span("beatMs", interval)?);
        }
        Ok(election)
    }
}

#[napi(object)]
pub struct RangeOptions {
    pub prefix: Option<bool>,
    pub end: Option<Buffer>,
    pub limit: Option<i64>,
    pub revision: Option<i64>,
    pub keys_only: Option<bool>,
}

#[napi(object)]
pub struct WatchSettings {
    pub prefix: Option<bool>,
    pub start_revision: Option<i64>,
    pub previous: Option<bool>,
}
