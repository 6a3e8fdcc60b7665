//! Leases: none ends before its time, and its end is one revision of its own.
//!
//! Owns the judgement of leases. A client counts from when it sent, as the server cannot have
//! counted from earlier.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::{
    history::{EventKind, KeyRange, Kv, LeaseRecord, Nanos, Outcome, Renewal, Request, Run},
    log::{self, LogIndex},
    report::{Promise, Violation},
    words::time,
};

/// Judges all leases of a run.
pub(crate) fn check(run: &Run, log: Option<&LogIndex>) -> Vec<Violation> {
    let early = run.leases.iter().filter_map(|lease| early(lease, run));
    let early = early.map(|what| Violation::new(Promise::LeaseKept, what));
    let mut found: Vec<Violation> = early.collect();
    if let Some(log) = log.filter(|log| log.is_whole) {
        let torn = torn(run, log).into_iter();
        found.extend(torn.map(|what| Violation::new(Promise::LeaseAtomic, what)));
    }
    found
}

/// A lease that was gone although a server had promised it for longer.
fn early(lease: &LeaseRecord, run: &Run) -> Option<String> {
    let gone = lease.gone?;
    if lease.revoke_sent.is_some_and(|sent| sent <= gone) {
        return None;
    }
    let until = |renewal: &Renewal| renewal.sent + shortened(lease.ttl, run.clock_error_ppm);
    let renewals = lease.renewals.iter().chain([&lease.granted]);
    let last = renewals.max_by_key(|renewal| renewal.sent)?;
    let due = until(last);
    (gone < due).then(|| {
        let (id, gone, due) = (lease.id, time(gone), time(due));
        let (sent, acknowledged) = (time(last.sent), time(last.acknowledged));
        format!(
            "lease {id:x} was gone at {gone}, though promised until {due} by what was sent at \
             {sent} and acknowledged at {acknowledged}"
        )
    })
}

/// A time by a clock that may run too fast.
fn shortened(ttl: Nanos, error_ppm: u32) -> Nanos {
    let error = u128::from(ttl) * u128::from(error_ppm) / 1_000_000;
    ttl - u64::try_from(error).unwrap_or(ttl).min(ttl)
}

/// Ends of leases that took more than one revision, left keys behind, or took others' along.
fn torn(run: &Run, log: &LogIndex) -> Vec<String> {
    let written = written(run);
    let is_own = |lease: i64| {
        let mut leases = run.leases.iter();
        leases.any(|one| one.id == lease && one.revoke_sent.is_none())
    };
    let mut found = Vec::new();
    let mut state: BTreeMap<Bytes, Kv> = log.state_at(log.from - 1).unwrap_or_default();
    for (revision, events) in log.between(log.from, log.to) {
        let deletes = events
            .iter()
            .filter(|event| event.kind == EventKind::Delete);
        let is_someones = |key: &[u8]| run.is_unrecorded(key) || in_doubt(run, key);
        let keys: BTreeSet<&Bytes> = deletes.map(|event| &event.kv.key).collect();
        let is_end = !written.contains(&revision)
            && keys.len() == events.len()
            && !keys.iter().any(|key| is_someones(key));
        let lease = |key: &&Bytes| state.get(*key).map_or(0, |kv| kv.lease);
        let leases: BTreeSet<i64> = keys.iter().map(lease).collect();
        if is_end && leases.iter().any(|lease| is_own(*lease)) {
            if leases.len() > 1 {
                found.push(format!(
                    "revision {revision} ended the leases {leases:x?} at once"
                ));
            }
            let stays = |kv: &&Kv| leases.contains(&kv.lease) && !keys.contains(&kv.key);
            if let Some(kv) = state.values().find(stays) {
                found.push(format!(
                    "revision {revision} ended lease {:x}, but left {kv}",
                    kv.lease
                ));
            }
        }
        events
            .iter()
            .for_each(|event| log::change(&mut state, event));
    }
    found
}

/// The revisions of acknowledged operations.
fn written(run: &Run) -> BTreeSet<i64> {
    let revision = |outcome: &Outcome| match outcome {
        Outcome::Ok { revision, response } => {
            (response.has_written() != Some(false)).then_some(*revision)
        }
        Outcome::Failed { .. } | Outcome::Unknown { .. } => None,
    };
    let outcomes = run.operations.iter().map(|one| &one.outcome);
    outcomes.filter_map(revision).collect()
}

/// Whether a delete of the key may have happened that nobody acknowledged.
fn in_doubt(run: &Run, key: &[u8]) -> bool {
    let touches = |range: &KeyRange| range.contains(key);
    run.operations.iter().any(|operation| {
        matches!(operation.outcome, Outcome::Unknown { .. })
            && (matches!(operation.request, Request::Revoke { .. })
                || operation.request.ranges().iter().any(touches))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Event, EventLog};

    fn lease(gone: Nanos) -> LeaseRecord {
        let at = |sent| Renewal {
            sent,
            acknowledged: sent + 5,
        };
        LeaseRecord {
            id: 7,
            ttl: 100,
            granted: at(10),
            renewals: vec![at(50), at(40)],
            revoke_sent: None,
            gone: Some(gone),
        }
    }

    fn judge(lease: LeaseRecord, clock_error_ppm: u32) -> usize {
        let run = Run {
            leases: vec![lease],
            clock_error_ppm,
            ..Run::default()
        };
        check(&run, None).len()
    }

    #[test]
    fn a_lease_stays_for_its_time_after_the_last_sent_keepalive() {
        assert_eq!(judge(lease(150), 0), 0);
        assert_eq!(judge(lease(149), 0), 1);
        assert_eq!(
            (judge(lease(140), 100_000), judge(lease(139), 100_000)),
            (0, 1)
        );
    }

    #[test]
    fn a_revoked_lease_may_go_at_once() {
        let mut one = lease(60);
        one.revoke_sent = Some(55);
        assert_eq!(judge(one, 0), 0);
        let mut one = lease(60);
        one.revoke_sent = Some(61);
        assert_eq!(judge(one, 0), 1);
    }

    fn event(key: &'static str, lease: i64, revision: i64) -> Event {
        let created = revision.min(i64::from(key.as_bytes()[0] - b'a') + 2);
        let kind = if lease == 0 {
            EventKind::Delete
        } else {
            EventKind::Put
        };
        let kv = Kv {
            create_revision: created,
            mod_revision: revision,
            version: 1,
            lease,
            ..Kv::seen(key, "v")
        };
        Event {
            kind,
            kv,
            prev_kv: None,
        }
    }

    /// Keys a and b on lease 7, c on lease 8; then these deletes.
    fn ends(deletes: Vec<Event>) -> usize {
        let mut events = vec![event("a", 7, 2), event("b", 7, 3), event("c", 8, 4)];
        events.extend(deletes);
        let to = events.last().map_or(0, Event::revision);
        let run = Run {
            leases: vec![lease(1000)],
            log: Some(EventLog {
                from: 2,
                to,
                events,
            }),
            ..Run::default()
        };
        let log = LogIndex::read(&run).map(|(log, _)| log);
        check(&run, log.as_ref()).len()
    }

    #[test]
    fn the_end_of_a_lease_is_one_revision_of_its_own() {
        assert_eq!(ends(vec![event("a", 0, 5), event("b", 0, 5)]), 0);
        assert_eq!(ends(vec![event("a", 0, 5), event("b", 0, 6)]), 1);
        let all = vec![event("a", 0, 5), event("b", 0, 5), event("c", 0, 5)];
        assert_eq!(ends(all), 1);
    }
}
