//! Takes down a run while it happens.
//!
//! Owns the rule that makes times comparable: no two moments are equal, so that what one client
//! did after another's answer is known to be later. Has no clock; the caller brings the time.

use std::sync::{Arc, Mutex, PoisonError};

use crate::history::{
    Delivery, Ending, LeaseRecord, Nanos, Note, Observation, Operation, Outcome, Renewal, Request,
    Response, Run, Tenure, TenureEnd, WatchRecord, WatchRequest,
};

/// An operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationId(usize);

/// A watch that delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchId(usize);

/// A lock held or a leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenureId {
    index: usize,
    is_lock: bool,
}

/// Takes down what happens, from any task or thread.
///
/// Call it at the moment itself: before a request is sent, after its answer is there, and pass the
/// clock's time then. Clones write into the same record.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    last: Nanos,
    run: Run,
}

impl Taken {
    /// The moment `now`, later than all moments before.
    fn stamp(&mut self, now: Nanos) -> Nanos {
        self.last = now.max(self.last + 1);
        self.last
    }
}

impl Recorder {
    /// A record with nothing in it yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Taken) -> T) -> T {
        // A harness thread that panicked fails the run anyway; what it noted is still whole.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A request is about to be sent. Without an answer it stays in doubt.
    pub fn invoke(&self, now: Nanos, client: u32, request: Request) -> OperationId {
        self.with(|taken| {
            let invoked = taken.stamp(now);
            taken.run.operations.push(Operation {
                client,
                invoked,
                returned: None,
                request,
                outcome: Outcome::Unknown {
                    why: "no answer".to_owned(),
                },
            });
            OperationId(taken.run.operations.len() - 1)
        })
    }

    fn close(&self, now: Nanos, id: OperationId, outcome: Outcome) {
        self.with(|taken| {
            let returned = taken.stamp(now);
            if let Some(operation) = taken.run.operations.get_mut(id.0) {
                operation.returned = Some(returned);
                operation.outcome = outcome;
            }
        });
    }

    /// The answer is there, with the revision of its header.
    pub fn ok(&self, now: Nanos, id: OperationId, revision: i64, response: Response) {
        self.close(now, id, Outcome::Ok { revision, response });
    }

    /// The request was refused in a way that says for certain that it had and will have no effect.
    pub fn failed(&self, now: Nanos, id: OperationId, why: impl Into<String>) {
        self.close(now, id, Outcome::Failed { why: why.into() });
    }

    /// The request ended without an answer, or with one that leaves its effect open.
    pub fn unknown(&self, now: Nanos, id: OperationId, why: impl Into<String>) {
        self.close(now, id, Outcome::Unknown { why: why.into() });
    }

    /// A watch is asked for.
    pub fn watch(&self, name: impl Into<String>, request: WatchRequest) -> WatchId {
        self.with(|taken| {
            taken.run.watches.push(WatchRecord {
                name: name.into(),
                request,
                ..WatchRecord::default()
            });
            WatchId(taken.run.watches.len() - 1)
        })
    }

    /// A watch delivers.
    pub fn delivered(&self, now: Nanos, id: WatchId, delivery: Delivery) {
        self.with(|taken| {
            let at = taken.stamp(now);
            if let Some(watch) = taken.run.watches.get_mut(id.0) {
                watch.notes.push(Note { at, delivery });
            }
        });
    }

    /// Everything up to the revision must have come by now: the harness waited for it.
    pub fn drained(&self, id: WatchId, revision: i64) {
        self.with(|taken| {
            if let Some(watch) = taken.run.watches.get_mut(id.0) {
                watch.drained_to = Some(revision);
            }
        });
    }

    /// A holder is told that it has the lock `name`.
    pub fn locked(&self, now: Nanos, name: &[u8], holder: &str, token: i64) -> TenureId {
        self.tenure(now, name, holder, token, true)
    }

    /// A candidate is told that it leads the election `name`.
    pub fn elected(&self, now: Nanos, name: &[u8], holder: &str, token: i64) -> TenureId {
        self.tenure(now, name, holder, token, false)
    }

    fn tenure(&self, now: Nanos, name: &[u8], holder: &str, token: i64, is_lock: bool) -> TenureId {
        self.with(|taken| {
            let granted = taken.stamp(now);
            let run = &mut taken.run;
            let list = if is_lock {
                &mut run.locks
            } else {
                &mut run.leaderships
            };
            list.push(Tenure {
                name: bytes::Bytes::copy_from_slice(name),
                holder: holder.to_owned(),
                token,
                granted,
                ended: None,
            });
            let index = list.len() - 1;
            TenureId { index, is_lock }
        })
    }

    /// A tenure is over for its holder; only the first end counts.
    pub fn ended(&self, now: Nanos, id: TenureId, how: Ending) {
        self.with(|taken| {
            let at = taken.stamp(now);
            let run = &mut taken.run;
            let list = if id.is_lock {
                &mut run.locks
            } else {
                &mut run.leaderships
            };
            if let Some(tenure) = list.get_mut(id.index) {
                tenure.ended.get_or_insert(TenureEnd { at, how });
            }
        });
    }

    /// An observer of an election is shown a leader; the time in it is set here.
    pub fn observed(&self, now: Nanos, observation: Observation) {
        self.with(|taken| {
            let at = taken.stamp(now);
            taken
                .run
                .observations
                .push(Observation { at, ..observation });
        });
    }

    /// A lease was granted: the request was sent at `sent` and is answered now. `sent` is a plain
    /// time of the clock, as are those of [`Recorder::renewed`].
    pub fn leased(&self, now: Nanos, sent: Nanos, id: i64, ttl: Nanos) {
        self.with(|taken| {
            let granted = Renewal {
                sent,
                acknowledged: now,
            };
            taken.run.leases.push(LeaseRecord {
                id,
                ttl,
                granted,
                renewals: Vec::new(),
                revoke_sent: None,
                gone: None,
            });
        });
    }

    /// A keepalive, sent at `sent`, is answered now with a time to live above zero.
    pub fn renewed(&self, now: Nanos, sent: Nanos, id: i64) {
        self.lease(id, |lease| {
            let acknowledged = now;
            lease.renewals.push(Renewal { sent, acknowledged });
        });
    }

    /// Somebody is about to revoke a lease.
    pub fn revoking(&self, now: Nanos, id: i64) {
        self.lease(id, |lease| {
            lease.revoke_sent.get_or_insert(now);
        });
    }

    /// A lease, or a key that hung on it and that no client deleted, is seen to be gone.
    pub fn lease_gone(&self, now: Nanos, id: i64) {
        self.lease(id, |lease| {
            lease.gone.get_or_insert(now);
        });
    }

    fn lease(&self, id: i64, act: impl FnOnce(&mut LeaseRecord)) {
        self.with(|taken| {
            let leases = &mut taken.run.leases;
            if let Some(lease) = leases.iter_mut().rev().find(|lease| lease.id == id) {
                act(lease);
            }
        });
    }

    /// Changes what is not an event: title, log, finals, unrecorded keys.
    pub fn edit(&self, change: impl FnOnce(&mut Run)) {
        self.with(|taken| change(&mut taken.run));
    }

    /// The record so far. What is still under way is in doubt in it.
    #[must_use]
    pub fn run(&self) -> Run {
        self.with(|taken| taken.run.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_one_instant_stay_in_their_order() {
        let recorder = Recorder::new();
        let first = recorder.invoke(5, 1, Request::put("a", "1"));
        recorder.ok(5, first, 2, Response::Put { prev_kv: None });
        let second = recorder.clone().invoke(5, 2, Request::get("a"));
        recorder.unknown(4, second, "cut off");
        let run = recorder.run();
        let times: Vec<_> = run
            .operations
            .iter()
            .map(|operation| (operation.invoked, operation.returned))
            .collect();
        assert_eq!(times, [(5, Some(6)), (7, Some(8))]);
    }

    #[test]
    fn the_first_end_of_a_tenure_counts() {
        let recorder = Recorder::new();
        let id = recorder.locked(1, b"n", "a", 7);
        recorder.ended(2, id, Ending::Lost);
        recorder.ended(3, id, Ending::Released);
        let ended = recorder.run().locks[0].ended;
        assert_eq!(ended.map(|end| end.how), Some(Ending::Lost));
    }

    #[test]
    fn a_run_survives_a_file() {
        let recorder = Recorder::new();
        let id = recorder.invoke(1, 1, Request::put("a", &b"\xff"[..]));
        recorder.failed(2, id, "etcdserver: no leader");
        recorder.leased(3, 2, 9, 10);
        recorder.renewed(5, 4, 9);
        recorder.lease_gone(20, 9);
        let run = recorder.run();
        let file = run.to_json().unwrap();
        assert_eq!(Run::from_json(&file).unwrap(), run);
    }
}
