//! One lease of a session: what recipes hold on to.
//!
//! Owns the handle recipes are given, which keeps the session open, and the numbering of a
//! name's keys. Knows nothing of how the
//! lease is kept alive, and nothing of what a recipe stores.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{
    life::Life,
    options::SessionOptions,
    parked::Parked,
    record::{lease_hex, record_key},
    state::{Lost, LostReason, State},
};
use crate::{Client, clock::Clock};

/// What an epoch's handles and the tasks that keep it alive share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) number: u64,
    pub(crate) lease: i64,
    /// The raft term in which it was granted.
    pub(crate) term: u64,
    pub(crate) life: Life,
    pub(crate) client: Client,
    pub(crate) options: Arc<SessionOptions>,
    pub(crate) runtime: Handle,
    pub(crate) parked: Arc<Parked>,
    pub(crate) slots: Mutex<BTreeMap<Bytes, BTreeSet<u32>>>,
}

impl Core {
    pub(crate) fn record_key(&self) -> Bytes {
        record_key(&self.options.metadata_prefix, self.lease)
    }
}

/// Closes the session in the background when the last handle is gone.
#[derive(Debug)]
pub(super) struct Closer(pub(super) CancellationToken);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The time between the grant of one lease and its end.
///
/// Cheap to clone. Each clone keeps the session open. An epoch that is lost stays lost: what was
/// made under it is dead, whatever the session does afterwards.
#[derive(Debug, Clone)]
pub struct Epoch {
    pub(super) core: Arc<Core>,
    pub(super) _closer: Arc<Closer>,
}

impl Epoch {
    /// Counts the leases of the session, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.core.number
    }

    /// The lease's id.
    #[must_use]
    pub fn lease(&self) -> i64 {
        self.core.lease
    }

    /// The lease's id as keys spell it.
    #[must_use]
    pub fn lease_hex(&self) -> String {
        lease_hex(self.core.lease)
    }

    /// The TTL the server granted last.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.core.life.ttl()
    }

    /// Whether the lease can be counted on at this instant, by the clock. No input or output.
    ///
    /// # Errors
    /// [`Lost`] with the reason. Lost is final.
    pub fn check(&self) -> Result<(), Lost> {
        self.core.life.check().map(drop)
    }

    /// How long the lease can be counted on if nothing more is heard; zero when it is lost.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.core.life.remaining()
    }

    /// The state at this instant: Connected, Suspended, Expiring or Lost.
    #[must_use]
    pub fn state(&self) -> State {
        self.core.life.state()
    }

    /// Waits until the epoch is lost, and no longer. Cancel safe.
    pub async fn gone(&self) {
        self.core.life.gone().await;
    }

    /// Whether it is lost, and [`lost`](Self::lost) is still finding out why.
    #[must_use]
    pub fn is_unexplained(&self) -> bool {
        self.core.life.is_unexplained()
    }

    /// Waits until the epoch is lost and the reason is known, which may take a second more. Cancel
    /// safe.
    pub async fn lost(&self) -> LostReason {
        self.core.life.ended().await
    }

    /// Waits until work that relies on the lease should stop: what remains is less than the grace
    /// time, or all is lost. A keepalive may still turn it round afterwards. Cancel safe.
    pub async fn expiring(&self) {
        loop {
            let left = self.core.life.until_expiring();
            if left.is_zero() {
                return;
            }
            tokio::select! {
                biased;
                () = self.core.life.gone() => return,
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// Tells the session that a server said this lease does not exist.
    pub fn report_lease_gone(&self) {
        self.core.life.revoked();
    }

    /// The client the session speaks through.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.core.client
    }

    /// The clock deadlines are measured with.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.core.life.clock()
    }

    /// The prefix of records and recipe metadata.
    #[must_use]
    pub fn metadata_prefix(&self) -> &Bytes {
        &self.core.options.metadata_prefix
    }

    /// How often to read again what an event should have told.
    #[must_use]
    pub fn verify_interval(&self) -> Duration {
        self.core.options.verify_interval
    }

    /// Runs `task` on the runtime the session was opened in; works in any thread.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.core.runtime.spawn(task));
    }

    /// The lowest number no key of this epoch under `name` has now, or had with an unknown fate.
    ///
    /// It stays taken until [`free_slot`](Self::free_slot).
    #[must_use]
    pub fn take_slot(&self, name: &Bytes) -> u32 {
        let mut slots = self.core.slots.lock();
        let taken = slots.entry(name.clone()).or_default();
        // The set is in order, so the first gap is where position and number differ.
        let free = (0..).zip(taken.iter()).find(|(index, slot)| index != *slot);
        let slot = free.map_or(
            u32::try_from(taken.len()).unwrap_or(u32::MAX),
            |(gap, _)| gap,
        );
        taken.insert(slot);
        slot
    }

    /// Lets `slot` of `name` be used again: its key is known to be gone, and no request that
    /// would put it is under way.
    pub fn free_slot(&self, name: &Bytes, slot: u32) {
        let mut slots = self.core.slots.lock();
        if let Some(taken) = slots.get_mut(name) {
            taken.remove(&slot);
            if taken.is_empty() {
                slots.remove(name);
            }
        }
    }
}
