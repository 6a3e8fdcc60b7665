//! What a declared key shall be, and what all declarations of a session share.
//!
//! Owns the wish for each key, how far the store has followed it, and the short lease of the marks
//! that withdrawn keys leave. Knows nothing of how the store is told.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::{epoch::Closer, state::LostReason, turns::Turns};
use crate::{Client, Error, KeyValue};

/// How long the mark of a withdrawn key stays, in seconds.
const MARK_TTL: i64 = 60;
/// A mark's lease is used for more marks while at least the other half is left.
const MARK_REUSE: Duration = Duration::from_secs(30);
/// How many of the session's former leases are remembered, to know their keys as its own.
const LEASES_KEPT: usize = 16;

/// Where a declared key stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Standing {
    /// It is put as soon as there is a lease and a server answers.
    Pending {
        /// What the last attempt met.
        last_error: Option<Error>,
    },
    /// It is in the store.
    Present {
        /// The revision that created it.
        create_revision: i64,
        /// The revision of the last put.
        revision: i64,
        /// The number of the session's epoch whose lease it is on.
        epoch: u64,
    },
    /// Somebody else has the key; it is put when that one is gone.
    Refused {
        /// The pair that is there.
        by: Arc<KeyValue>,
    },
    /// It is not declared any more.
    Gone {
        /// [`Released`](LostReason::Released) when it was withdrawn, else why the session ended.
        reason: LostReason,
    },
}

/// A change of a value, which may be made again on another value than at first.
pub(super) type Change = Arc<dyn Fn(&Bytes) -> Bytes + Send + Sync>;

struct Wish {
    value: Bytes,
    /// Changes the store has not confirmed, with their versions.
    unconfirmed: Vec<(u64, Change)>,
    version: u64,
    confirmed: u64,
    withdrawn: bool,
    /// Keeps the session open until the key is gone.
    leaving: Option<Arc<Closer>>,
}

/// One declared key: what is wished, and where it stands.
pub(super) struct Desired {
    pub(super) key: Bytes,
    /// The key of the mark that says it was withdrawn.
    pub(super) mark: Bytes,
    pub(super) standing: watch::Sender<Standing>,
    wish: Mutex<Wish>,
    changed: Notify,
}

impl fmt::Debug for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desired")
            .field("key", &self.key)
            .field("standing", &*self.standing.borrow())
            .finish_non_exhaustive()
    }
}

impl Desired {
    pub(super) fn new(key: Bytes, value: Bytes, mark: Bytes) -> Self {
        Self {
            key,
            mark,
            standing: watch::Sender::new(Standing::Pending { last_error: None }),
            wish: Mutex::new(Wish {
                value,
                unconfirmed: Vec::new(),
                version: 1,
                confirmed: 0,
                withdrawn: false,
                leaving: None,
            }),
            changed: Notify::new(),
        }
    }

    /// The wished value and its version.
    pub(super) fn wish(&self) -> (Bytes, u64) {
        let wish = self.wish.lock();
        (wish.value.clone(), wish.version)
    }

    /// Makes a change; its version.
    pub(super) fn change(&self, change: Change) -> u64 {
        let mut wish = self.wish.lock();
        wish.value = change(&wish.value);
        wish.version += 1;
        let version = wish.version;
        wish.unconfirmed.push((version, change));
        drop(wish);
        self.changed.notify_one();
        version
    }

    /// Somebody else changed the value in the store: that stands, with what was changed here and
    /// is not in the store yet on top.
    pub(super) fn adopt(&self, value: &Bytes) {
        let mut wish = self.wish.lock();
        wish.value = wish
            .unconfirmed
            .iter()
            .fold(value.clone(), |value, (_, change)| change(&value));
    }

    /// The store has `version`, or a later one.
    pub(super) fn confirm(&self, version: u64) {
        let mut wish = self.wish.lock();
        wish.confirmed = wish.confirmed.max(version);
        wish.unconfirmed.retain(|(made, _)| *made > version);
    }

    pub(super) fn is_confirmed(&self, version: u64) -> bool {
        self.wish.lock().confirmed >= version
    }

    /// Waits until there is a change the store does not have. Cancel safe.
    pub(super) async fn unconfirmed(&self) {
        loop {
            let changed = self.changed.notified();
            {
                let wish = self.wish.lock();
                if wish.version > wish.confirmed {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Withdraws the declaration; `closer` keeps the session open until it is done.
    pub(super) fn withdraw(&self, closer: Arc<Closer>) {
        let mut wish = self.wish.lock();
        wish.withdrawn = true;
        wish.leaving = Some(closer);
        drop(wish);
        // Whoever waits looks again.
        self.standing.send_modify(|_| {});
    }

    pub(super) fn is_withdrawn(&self) -> bool {
        self.wish.lock().withdrawn
    }

    /// Waits until it is withdrawn. Cancel safe.
    pub(super) async fn withdrawn(&self) {
        let mut standing = self.standing.subscribe();
        while !self.is_withdrawn() {
            if standing.changed().await.is_err() {
                return;
            }
        }
    }

    /// It is over: nothing is done for this key any more.
    pub(super) fn finish(&self, reason: LostReason) {
        self.standing.send_replace(Standing::Gone { reason });
        let leaving = self.wish.lock().leaving.take();
        // Outside the lock, since it may close the session.
        drop(leaving);
    }
}

/// What all declarations of a session share.
#[derive(Debug)]
pub(super) struct Declarations {
    all: Mutex<BTreeMap<Bytes, Arc<Desired>>>,
    /// The session's leases, the newest last.
    leases: Mutex<Vec<i64>>,
    /// The lease of marks, and when it was granted.
    marks: tokio::sync::Mutex<Option<(i64, Duration)>>,
    moved: watch::Sender<()>,
    /// Taken for each put.
    pub(super) turns: Turns,
}

impl Declarations {
    pub(super) fn new() -> Self {
        Self {
            all: Mutex::default(),
            leases: Mutex::default(),
            marks: tokio::sync::Mutex::default(),
            moved: watch::Sender::new(()),
            turns: Turns::new(),
        }
    }

    /// Takes `desired` in, unless its key is declared already: then by whom.
    pub(super) fn enter(&self, desired: &Arc<Desired>) -> Result<(), Arc<Desired>> {
        let mut all = self.all.lock();
        if let Some(other) = all.get(&desired.key) {
            return Err(Arc::clone(other));
        }
        all.insert(desired.key.clone(), Arc::clone(desired));
        Ok(())
    }

    /// Takes it out, if it was in.
    pub(super) fn leave(&self, desired: &Arc<Desired>) {
        let mut all = self.all.lock();
        if all
            .get(&desired.key)
            .is_some_and(|known| Arc::ptr_eq(known, desired))
        {
            all.remove(&desired.key);
        }
        drop(all);
        self.moved.send_replace(());
    }

    /// Tells those who wait that a standing changed.
    pub(super) fn moved(&self) {
        self.moved.send_replace(());
    }

    pub(super) fn moves(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    pub(super) fn all(&self) -> Vec<Arc<Desired>> {
        self.all.lock().values().cloned().collect()
    }

    /// Waits until no key stands on a lease of epoch `number` or before, as far as it depends on
    /// this session. Cancel safe.
    pub(super) async fn beyond(&self, number: u64) {
        let mut moved = self.moved.subscribe();
        let is_old = |desired: &Arc<Desired>| match &*desired.standing.borrow() {
            Standing::Pending { .. } => true,
            Standing::Present { epoch, .. } => *epoch <= number,
            Standing::Refused { .. } | Standing::Gone { .. } => false,
        };
        while self.all.lock().values().any(is_old) {
            if moved.changed().await.is_err() {
                return;
            }
        }
    }

    /// Remembers a lease of the session.
    pub(super) fn note_lease(&self, lease: i64) {
        let mut leases = self.leases.lock();
        if leases.last() != Some(&lease) {
            leases.retain(|known| *known != lease);
            leases.push(lease);
            if leases.len() > LEASES_KEPT {
                leases.remove(0);
            }
            self.turns.restart();
        }
    }

    pub(super) fn is_own_lease(&self, lease: i64) -> bool {
        self.leases.lock().contains(&lease)
    }

    /// A short lease for a mark.
    pub(super) async fn mark_lease(&self, client: &Client) -> Result<i64, Error> {
        let mut marks = self.marks.lock().await;
        let now = client.clock().now();
        if let Some((lease, granted)) = *marks
            && now.saturating_sub(granted) < MARK_REUSE
        {
            return Ok(lease);
        }
        let lease = client.lease_grant(MARK_TTL, 0).await?.id;
        *marks = Some((lease, now));
        Ok(lease)
    }

    /// The server does not know the lease of marks any more.
    pub(super) async fn forget_mark_lease(&self) {
        *self.marks.lock().await = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired() -> Arc<Desired> {
        Arc::new(Desired::new("k".into(), "v0".into(), "left/k".into()))
    }

    #[test]
    fn what_others_changed_stays_under_what_is_not_confirmed() {
        let desired = desired();
        let add = |text: &'static str| -> Change {
            Arc::new(move |value: &Bytes| [value, text.as_bytes()].concat().into())
        };
        let first = desired.change(add("+a"));
        let second = desired.change(add("+b"));
        desired.confirm(first);
        desired.adopt(&Bytes::from_static(b"other"));
        assert_eq!(desired.wish(), ("other+b".into(), second));
        desired.confirm(second);
        assert!(desired.is_confirmed(second));
        desired.adopt(&Bytes::from_static(b"last"));
        assert_eq!(desired.wish().0, "last");
    }

    #[test]
    fn a_key_is_declared_by_one_at_a_time() {
        let all = Declarations::new();
        let (first, second) = (desired(), desired());
        assert!(all.enter(&first).is_ok());
        assert!(all.enter(&second).is_err());
        // Only the one that is in gets out.
        all.leave(&second);
        assert!(all.enter(&second).is_err());
        all.leave(&first);
        assert!(all.enter(&second).is_ok());
    }

    #[test]
    fn former_leases_are_known_up_to_a_bound() {
        let all = Declarations::new();
        for lease in 1..=20 {
            all.note_lease(lease);
        }
        assert!(all.is_own_lease(20) && all.is_own_lease(5) && !all.is_own_lease(4));
    }
}
