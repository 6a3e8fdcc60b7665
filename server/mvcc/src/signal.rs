//! The word to the flush driver.
//!
//! Owns when something is worth a flush and how the driver learns of it. Must not know what one
//! contains.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Bytes not flushed from which on the driver should not wait any longer.
pub(crate) const FLUSH_BYTES: usize = 8 * 1024 * 1024;

/// Parks the flush driver until there is enough to flush.
#[derive(Debug, Default)]
pub struct FlushSignal {
    wanted: Mutex<bool>,
    changed: Condvar,
}

impl FlushSignal {
    /// Waits until a flush is wanted or `timeout` has passed; whether one is wanted.
    pub fn wait(&self, timeout: Duration) -> bool {
        let mut wanted = self.wanted.lock();
        if !*wanted {
            self.changed.wait_for(&mut wanted, timeout);
        }
        std::mem::take(&mut *wanted)
    }

    /// Whether a flush is wanted, for a driver that has other ways to wait.
    pub fn take(&self) -> bool {
        std::mem::take(&mut *self.wanted.lock())
    }

    /// Ends the wait now, or the next one at once.
    pub fn notify(&self) {
        *self.wanted.lock() = true;
        self.changed.notify_one();
    }
}
