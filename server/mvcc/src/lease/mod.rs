//! Leases.
//!
//! Owns which leases exist and which keys hang on them (replicated, changed by apply only), and
//! when they run out (on the leader only, by an injected clock). Knows nothing of the key index:
//! deleting the keys of a revoked lease, and proposing the revocation, is the callers' work.

mod deadlines;
mod keys;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handfast_fault::{Fault, active};
use parking_lot::Mutex;

use crate::{Clock, Error};
use deadlines::Deadlines;
use keys::Keys;

/// The shortest TTL that is granted, in seconds: what is asked below it is raised to it.
pub const MIN_TTL_SECONDS: i64 = 2;

/// The longest TTL that can be asked for, in seconds.
pub const MAX_TTL_SECONDS: i64 = 9_000_000_000;

/// How long the leader waits for the revocation of an expired lease before it asks again.
const REVOKE_RETRY: Duration = Duration::from_secs(2);

/// The TTL to grant for one that a client asked for, both in seconds.
///
/// # Errors
/// [`Error::LeaseTtlTooLarge`] above [`MAX_TTL_SECONDS`].
pub fn granted_ttl(asked: i64) -> Result<i64, Error> {
    if asked > MAX_TTL_SECONDS {
        return Err(Error::LeaseTtlTooLarge(asked));
    }
    Ok(asked.max(MIN_TTL_SECONDS))
}

/// Called once when a lease that was past its deadline is decided.
pub type Settled = Box<dyn FnOnce() + Send>;

/// What became of a keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease has its full TTL again.
    Renewed {
        /// The granted TTL in seconds.
        ttl_seconds: i64,
    },
    /// The lease is past its deadline: wait with [`Lessor::when_settled`] and ask again.
    Expiring,
    /// There is no such lease.
    Gone,
    /// This member does not lead, so it has no deadlines.
    NotLeader,
}

/// What is known of one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    /// The granted TTL in seconds.
    pub granted_seconds: i64,
    /// Whole seconds left, rounded down; the granted TTL on a member that does not lead.
    pub remaining_seconds: i64,
    /// The attached keys, ascending.
    pub keys: Vec<Bytes>,
}

#[derive(Debug)]
struct Lease {
    ttl_seconds: i64,
    keys: Keys,
    /// When it runs out. Without meaning unless this member leads.
    deadline: Duration,
    /// Where its slot in the heap is; a slot elsewhere is a ghost.
    slot: Duration,
}

impl Lease {
    fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_seconds.max(0).unsigned_abs())
    }
}

#[derive(Default)]
struct Leases {
    by_id: HashMap<i64, Lease>,
    leading: bool,
    /// Renewals granted, for metrics.
    renewed: u64,
    deadlines: Deadlines,
    /// Ordered, so that a simulation calls back in the same order in every run.
    waiting: BTreeMap<i64, Vec<Settled>>,
}

impl Leases {
    /// Gives every lease its full TTL from `now` on.
    fn restart(&mut self, now: Duration) {
        for lease in self.by_id.values_mut() {
            lease.deadline = now + lease.ttl();
            lease.slot = lease.deadline;
        }
        self.requeue();
    }

    fn requeue(&mut self) {
        self.deadlines
            .replace(self.by_id.iter().map(|(id, lease)| (lease.slot, *id)));
    }

    fn take_all_waiting(&mut self) -> Vec<Settled> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_values().flatten().collect()
    }
}

/// All leases. Shared between apply, the RPC handlers and the expiry driver; every lock hold is
/// short, but [`Lessor::list`] and [`Lessor::promote`] visit all leases.
pub struct Lessor {
    clock: Arc<dyn Clock>,
    leases: Mutex<Leases>,
}

impl fmt::Debug for Lessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lessor")
            .field("leases", &self.len())
            .finish_non_exhaustive()
    }
}

/// The replicated part: called from apply and from recovery only.
impl Lessor {
    /// No leases yet, and not leading.
    pub fn new(clock: Arc<dyn Clock>) -> Lessor {
        Lessor {
            clock,
            leases: Mutex::default(),
        }
    }

    /// Adds a lease.
    ///
    /// # Errors
    /// [`Error::LeaseExists`] if the id is taken.
    pub fn grant(&self, id: i64, ttl_seconds: i64) -> Result<(), Error> {
        let now = self.clock.now();
        let mut leases = self.leases.lock();
        if leases.by_id.contains_key(&id) {
            return Err(Error::LeaseExists(id));
        }
        let mut lease = Lease {
            ttl_seconds,
            keys: Keys::None,
            deadline: now,
            slot: now,
        };
        lease.deadline = now + lease.ttl();
        lease.slot = lease.deadline;
        if leases.leading {
            leases.deadlines.push(lease.slot, id);
        }
        leases.by_id.insert(id, lease);
        Ok(())
    }

    /// Removes a lease and returns its keys, ascending. `None` if there is no such lease.
    pub fn revoke(&self, id: i64) -> Option<Vec<Bytes>> {
        let (lease, waiting) = {
            let mut leases = self.leases.lock();
            let lease = leases.by_id.remove(&id)?;
            if leases.deadlines.needs_cleaning(leases.by_id.len()) {
                leases.requeue();
            }
            (lease, leases.waiting.remove(&id))
        };
        for settled in waiting.into_iter().flatten() {
            settled();
        }
        Some(lease.keys.into_vec())
    }

    /// Whether there is such a lease, past its deadline or not.
    pub fn contains(&self, id: i64) -> bool {
        self.leases.lock().by_id.contains_key(&id)
    }

    /// Hangs `key` on a lease. False if there is no such lease.
    pub fn attach(&self, id: i64, key: &[u8]) -> bool {
        match self.leases.lock().by_id.get_mut(&id) {
            Some(lease) => {
                lease.keys.insert(key);
                true
            }
            None => false,
        }
    }

    /// Takes `key` off a lease, if it hangs there.
    pub fn detach(&self, id: i64, key: &[u8]) {
        if let Some(lease) = self.leases.lock().by_id.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    /// The keys of a lease, ascending. `None` if there is no such lease.
    pub fn keys_of(&self, id: i64) -> Option<Vec<Bytes>> {
        self.leases
            .lock()
            .by_id
            .get(&id)
            .map(|lease| lease.keys.to_vec())
    }

    /// Forgets every lease: the store is about to be replaced.
    pub fn clear(&self) {
        let waiting = {
            let mut leases = self.leases.lock();
            leases.by_id.clear();
            leases.deadlines = Deadlines::default();
            leases.take_all_waiting()
        };
        for settled in waiting {
            settled();
        }
    }
}

/// The leader-local part, and what any member can tell.
impl Lessor {
    /// Starts to lead: every lease gets its full TTL from now on.
    pub fn promote(&self) {
        let now = self.clock.now();
        let waiting = {
            let mut leases = self.leases.lock();
            leases.leading = true;
            match active(Fault::LeaseNotExtended) {
                false => leases.restart(now),
                true => leases.requeue(),
            }
            leases.take_all_waiting()
        };
        for settled in waiting {
            settled();
        }
    }

    /// Stops to lead: nothing runs out here any more. Whoever waits is told to ask again.
    pub fn demote(&self) {
        let waiting = {
            let mut leases = self.leases.lock();
            leases.leading = false;
            leases.deadlines = Deadlines::default();
            leases.take_all_waiting()
        };
        for settled in waiting {
            settled();
        }
    }

    /// Gives a lease its full TTL again, unless it is past its deadline.
    pub fn renew(&self, id: i64) -> Renewal {
        let now = self.clock.now();
        let mut leases = self.leases.lock();
        if !leases.leading {
            return Renewal::NotLeader;
        }
        match leases.by_id.get_mut(&id) {
            None => Renewal::Gone,
            Some(lease) if lease.deadline <= now => Renewal::Expiring,
            Some(lease) => {
                lease.deadline = lease.deadline.max(now + lease.ttl());
                let ttl_seconds = lease.ttl_seconds;
                leases.renewed += 1;
                Renewal::Renewed { ttl_seconds }
            }
        }
    }

    /// Calls `settled` once a lease that is [`Renewal::Expiring`] is decided: it was revoked, or
    /// leadership changed. At once if that is so already.
    ///
    /// It is called from apply and must only signal.
    pub fn when_settled(&self, id: i64, settled: Settled) {
        let now = self.clock.now();
        {
            let mut leases = self.leases.lock();
            let undecided = |lease: &Lease| lease.deadline <= now;
            if leases.leading && leases.by_id.get(&id).is_some_and(undecided) {
                leases.waiting.entry(id).or_default().push(settled);
                return;
            }
        }
        settled();
    }

    /// What is left of a lease. `None` if there is no such lease.
    pub fn time_to_live(&self, id: i64, with_keys: bool) -> Option<TimeToLive> {
        let now = self.clock.now();
        let leases = self.leases.lock();
        let lease = leases.by_id.get(&id)?;
        let remaining_seconds = if leases.leading {
            let left = lease.deadline.saturating_sub(now).as_secs();
            i64::try_from(left).unwrap_or(i64::MAX)
        } else {
            lease.ttl_seconds
        };
        let keys = if with_keys {
            lease.keys.to_vec()
        } else {
            Vec::new()
        };
        Some(TimeToLive {
            granted_seconds: lease.ttl_seconds,
            remaining_seconds,
            keys,
        })
    }

    /// All lease ids, the one that runs out first first. A member that does not lead sorts by TTL.
    pub fn list(&self) -> Vec<i64> {
        let mut order: Vec<(Duration, i64)> = {
            let leases = self.leases.lock();
            let time = |lease: &Lease| {
                if leases.leading {
                    lease.deadline
                } else {
                    lease.ttl()
                }
            };
            leases
                .by_id
                .iter()
                .map(|(id, lease)| (time(lease), *id))
                .collect()
        };
        order.sort_unstable();
        order.into_iter().map(|(_, id)| id).collect()
    }

    /// How many renewals this member has granted.
    pub fn renewed(&self) -> u64 {
        self.leases.lock().renewed
    }

    /// How many leases there are.
    pub fn len(&self) -> usize {
        self.leases.lock().by_id.len()
    }

    /// Whether there is no lease.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to `max` leases past their deadline, the longest overdue first.
    ///
    /// One that is still there two seconds later is returned again, so that a revocation that got
    /// lost is made up for. Empty on a member that does not lead.
    pub fn expired(&self, max: usize) -> Vec<i64> {
        let now = self.clock.now();
        let mut due = Vec::new();
        let mut guard = self.leases.lock();
        let leases = &mut *guard;
        while due.len() < max {
            let Some((slot, id)) = leases.deadlines.pop_due(now) else {
                break;
            };
            let Some(lease) = leases.by_id.get_mut(&id) else {
                continue;
            };
            if lease.slot != slot {
                continue;
            }
            if lease.deadline > now {
                lease.slot = lease.deadline;
            } else {
                lease.slot = now + REVOKE_RETRY;
                due.push(id);
            }
            leases.deadlines.push(lease.slot, id);
        }
        due
    }

    /// When [`Lessor::expired`] is worth calling next, by the clock; it may then return nothing.
    ///
    /// A grant can bring it forward, but never to less than [`MIN_TTL_SECONDS`] from the grant.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.leases.lock().deadlines.first()
    }
}
