//! What a store may use.
//!
//! Owns the limits and their defaults, each with its unit in its name. Must not know who sets them.

use std::{fmt, sync::Arc};

use crate::{Clock, MonotonicClock};

const MIB: usize = 1024 * 1024;

/// Limits of a [`Store`](crate::Store).
#[derive(Clone)]
pub struct StoreOptions {
    /// Bytes of current values kept in memory; others are read back from the state file.
    pub value_cache_bytes: usize,
    /// Bytes of recent events kept for watchers, so that they need not read the state file.
    pub recent_bytes: usize,
    /// Bytes applied but not yet flushed above which `apply` flushes before it goes on.
    pub unflushed_limit_bytes: usize,
    /// Whether a flush waits for the disk; without, a power cut may lose acknowledged writes.
    pub sync: bool,
    /// Time for the leader's lease deadlines.
    pub clock: Arc<dyn Clock>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            value_cache_bytes: 64 * MIB,
            recent_bytes: 16 * MIB,
            unflushed_limit_bytes: 64 * MIB,
            sync: true,
            clock: Arc::new(MonotonicClock::default()),
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("value_cache_bytes", &self.value_cache_bytes)
            .field("recent_bytes", &self.recent_bytes)
            .field("unflushed_limit_bytes", &self.unflushed_limit_bytes)
            .field("sync", &self.sync)
            .finish_non_exhaustive()
    }
}
