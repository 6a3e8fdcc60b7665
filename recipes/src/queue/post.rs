//! A worker's place in a queue: its name, and the key that says it waits for items.
//!
//! Owns the key's life. Knows nothing of items.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use bytes::Bytes;
use handfast_core::{
    Client, Compare, Epoch, Op,
    session::{self, Unanswered, lease_hex},
};

use super::keys::Keys;

/// What the names of all workers of an epoch have in common.
pub(super) fn epoch_of(own: &str) -> &str {
    own.rsplit_once('-').map_or(own, |(epoch, _)| epoch)
}

/// A worker under one epoch. Its key goes when the worker and all its claims are gone.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) epoch: Epoch,
    pub(super) keys: Arc<Keys>,
    pub(super) own: String,
    slot: u32,
    slots: Bytes,
    /// Counts the claims it tried.
    tries: AtomicU64,
    /// The revision of the last answer from the store, to any worker of the handle.
    written: Arc<AtomicI64>,
    registered: AtomicBool,
    /// A request that puts the key may still be under way.
    doubtful: AtomicBool,
}

impl Post {
    pub(super) fn new(epoch: Epoch, keys: &Arc<Keys>, written: &Arc<AtomicI64>) -> Arc<Self> {
        let slots = keys.worker("");
        let slot = epoch.take_slot(&slots);
        let own = format!("{}-{slot}", lease_hex(epoch.lease()));
        Arc::new(Self {
            epoch,
            keys: Arc::clone(keys),
            own,
            slot,
            slots,
            tries: AtomicU64::new(0),
            written: Arc::clone(written),
            registered: AtomicBool::new(false),
            doubtful: AtomicBool::new(false),
        })
    }

    /// The value of the next claim: no other try has it.
    pub(super) fn nonce(&self) -> String {
        let number = self.tries.fetch_add(1, Ordering::Relaxed);
        format!("{}#{number}", self.own)
    }

    pub(super) fn note(&self, revision: i64) {
        self.written.fetch_max(revision, Ordering::AcqRel);
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Acquire)
    }

    /// The key and the lease it is on, if the worker has said that it waits.
    pub(super) fn registration(&self) -> Option<(Bytes, i64)> {
        self.is_registered()
            .then(|| (self.keys.worker(&self.own), self.epoch.lease()))
    }

    /// Says that this worker waits. Cancel safe.
    pub(super) async fn register(&self) -> Result<(), Unanswered> {
        self.doubtful.store(true, Ordering::Release);
        let mut doubt = false;
        let put = || {
            let bar = Compare::create_revision(self.keys.bar(&self.own)).eq(0);
            let put = Op::put(self.keys.worker(&self.own), "").lease(self.epoch.lease());
            self.epoch.client().txn().when([bar]).then([put])
        };
        let answer = session::commit(&self.epoch, &mut doubt, put).await;
        if answer.is_ok() {
            self.registered.store(true, Ordering::Release);
        }
        self.doubtful.store(doubt, Ordering::Release);
        self.note(answer?.header.revision);
        Ok(())
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        let doubtful = *self.doubtful.get_mut();
        let (epoch, slots, slot) = (self.epoch.clone(), self.slots.clone(), self.slot);
        if !*self.registered.get_mut() && !doubtful {
            epoch.free_slot(&slots, slot);
            return;
        }
        let mut ops = vec![Op::delete(self.keys.worker(&self.own))];
        if doubtful {
            ops.push(Op::put(self.keys.bar(&self.own), "").lease(epoch.lease()));
        }
        let reaping = epoch.clone();
        let job = move |client: Client| {
            let (ops, epoch, slots) = (ops.clone(), epoch.clone(), slots.clone());
            async move {
                client.txn().then(ops).repeatable().commit().await?;
                if !doubtful {
                    epoch.free_slot(&slots, slot);
                }
                Ok(())
            }
        };
        drop(reaping.reap(self.slots.clone(), job));
    }
}
