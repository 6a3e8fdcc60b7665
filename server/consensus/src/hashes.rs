//! Whether all members hold the same state.
//!
//! Owns the comparison of fingerprints, who is the odd one when they differ, and what follows: the
//! CORRUPT alarm for everybody to see, and the end of the odd member before it answers wrong.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use handfast_mvcc::Store;
use handfast_proto::{
    command::{Alarm, Command, command::Op},
    peer::{Corrupt, HashPoint, KvHash, StateHash, StateHashes, request, response},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{ask::Peers, batcher::Proposer, member::Changes};

/// How often the leader compares what members have applied.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
/// How long a member may take to hash all its rows.
const HASH_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a member may take to tell its recent fingerprints.
const POINTS_TIMEOUT: Duration = Duration::from_secs(2);
/// etcd's number of the alarm.
const CORRUPT: i32 = 2;

/// The recent fingerprints of the applied log.
pub(crate) fn points(store: &Store) -> Vec<HashPoint> {
    let points = store.hash_points().into_iter();
    points
        .map(|point| HashPoint {
            index: point.index,
            hash: point.hash,
        })
        .collect()
}

/// Compares the state of the members, and judges this one.
pub(crate) struct Hashes {
    store: Arc<Store>,
    /// Whether a long computation may have a thread of its own.
    blocking: bool,
    verdict: watch::Sender<Option<String>>,
    me: u64,
}

impl Hashes {
    pub(crate) fn new(store: Arc<Store>, me: u64, blocking: bool) -> Self {
        Self {
            store,
            blocking,
            verdict: watch::Sender::new(None),
            me,
        }
    }

    /// Tells when this member turns out to hold another state than the majority.
    pub(crate) fn verdict(&self) -> watch::Receiver<Option<String>> {
        self.verdict.subscribe()
    }

    /// The hash of all rows up to `revision`; `None` when not asked for or not to be had.
    pub(crate) async fn kv(&self, revision: i64) -> Option<KvHash> {
        if revision <= 0 {
            return None;
        }
        let store = Arc::clone(&self.store);
        let hashed = if self.blocking {
            let task = tokio::task::spawn_blocking(move || store.hash_kv(revision));
            task.await.ok()?
        } else {
            store.hash_kv(revision)
        };
        let hashed = hashed.ok()?;
        Some(KvHash {
            revision: hashed.revision,
            compact_revision: hashed.compact_revision,
            hash: hashed.hash,
        })
    }

    /// Takes a majority's word that this member is wrong, if its own numbers bear it out.
    pub(crate) fn judge(&self, corrupt: &Corrupt) {
        let log_differs = corrupt.majority.as_ref().is_some_and(|theirs| {
            let ours = self.store.hash_points();
            let ours = ours.iter().find(|ours| ours.index == theirs.index);
            ours.is_some_and(|ours| ours.hash != theirs.hash)
        });
        if log_differs || corrupt.kv.is_some() {
            let me = self.me;
            self.verdict.send_replace(Some(format!(
                "member {me:x} holds another state than the majority of its cluster, and stops \
                 before it gives a wrong answer: replace it with `handfast member replace {me:x} \
                 NEW`, and keep its data directory for whoever looks into the cause"
            )));
        }
    }
}

/// Members that are in the minority, with what the majority holds. Everyone is in the minority when
/// there is no majority.
fn odd_ones<T: Clone + Ord>(answers: &BTreeMap<u64, T>, voters: usize) -> Vec<(u64, Option<T>)> {
    let mut votes: BTreeMap<&T, usize> = BTreeMap::new();
    for answer in answers.values() {
        *votes.entry(answer).or_default() += 1;
    }
    if votes.len() <= 1 {
        return Vec::new();
    }
    let majority = votes.iter().find(|(_, count)| **count > voters / 2);
    let majority = majority.map(|(answer, _)| (*answer).clone());
    answers
        .iter()
        .filter(|(_, answer)| Some(*answer) != majority.as_ref())
        .map(|(id, _)| (*id, majority.clone()))
        .collect()
}

/// The leader's comparison.
pub(crate) struct Comparer {
    pub(crate) hashes: Arc<Hashes>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) proposer: Proposer,
    /// How often all rows are compared, too; zero is never.
    pub(crate) rows_every: Duration,
}

impl Comparer {
    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut rows_at = Instant::now() + self.rows_every;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(COMPARE_EVERY) => {}
            }
            let members = self.changes.members();
            if self.changes.standing.leads_in().is_none() || members.len() <= 1 {
                continue;
            }
            let with_rows = !self.rows_every.is_zero() && Instant::now() >= rows_at;
            if with_rows {
                rows_at = Instant::now() + self.rows_every;
            }
            self.compare(with_rows).await;
        }
    }

    async fn compare(&self, with_rows: bool) {
        let revision = if with_rows {
            self.hashes.store.revision()
        } else {
            0
        };
        let members = self.changes.members();
        let mut answers: BTreeMap<u64, StateHashes> = BTreeMap::new();
        for member in &members {
            if let Some(answer) = self.ask(member.id, revision).await {
                answers.insert(member.id, answer);
            }
        }
        // A learner's state counts, but not its voice in what is right.
        let all = members.len();
        let at = latest_common(&answers);
        let hashes = at.map(|at| hashes_at(&answers, at)).unwrap_or_default();
        for (odd, majority) in odd_ones(&hashes, all) {
            let majority = majority
                .zip(at)
                .map(|(hash, index)| HashPoint { index, hash });
            tracing::error!(
                member = format!("{odd:x}"),
                ?at,
                "the applied state differs"
            );
            self.convict(odd, Corrupt { majority, kv: None }).await;
        }
        for (odd, majority) in odd_ones(&row_hashes(&answers), all) {
            let kv = majority.map(|(revision, compact_revision, hash)| KvHash {
                revision,
                compact_revision,
                hash,
            });
            tracing::error!(
                member = format!("{odd:x}"),
                revision,
                "the stored rows differ"
            );
            self.convict(odd, Corrupt { majority: None, kv }).await;
        }
    }

    async fn ask(&self, id: u64, kv_revision: i64) -> Option<StateHashes> {
        if id == self.peers.me() {
            let kv = self.hashes.kv(kv_revision).await;
            let points = points(&self.hashes.store);
            return Some(StateHashes { points, kv });
        }
        let timeout = if kv_revision > 0 {
            HASH_TIMEOUT
        } else {
            POINTS_TIMEOUT
        };
        let body = request::Body::StateHash(StateHash { kv_revision });
        match self.peers.ask(id, body, timeout).await {
            Ok(response::Body::StateHashes(hashes)) => Some(hashes),
            _ => None,
        }
    }

    async fn convict(&self, odd: u64, corrupt: Corrupt) {
        let alarm = Alarm {
            raise: true,
            member_id: odd,
            kind: CORRUPT,
        };
        let raised = self.proposer.propose(Command {
            op: Some(Op::Alarm(alarm)),
        });
        if let Err(error) = raised.await {
            tracing::warn!(%error, "the CORRUPT alarm was not raised yet");
            return;
        }
        if corrupt.majority.is_none() && corrupt.kv.is_none() {
            tracing::error!(
                "no majority agrees on a state: writes are refused until an operator \
                             decides which member to keep"
            );
            return;
        }
        if odd == self.peers.me() {
            self.hashes.judge(&corrupt);
            return;
        }
        let told = self
            .peers
            .ask(odd, request::Body::Corrupt(corrupt), POINTS_TIMEOUT)
            .await;
        if let Err(error) = told {
            tracing::warn!(%error, "the member that differs could not be told to stop");
        }
    }
}

/// The newest log index at which the most members told a fingerprint.
fn latest_common(answers: &BTreeMap<u64, StateHashes>) -> Option<u64> {
    let mut told: BTreeMap<u64, usize> = BTreeMap::new();
    for point in answers.values().flat_map(|answer| &answer.points) {
        *told.entry(point.index).or_default() += 1;
    }
    let most = told.into_iter().filter(|(_, count)| *count > 1);
    most.max_by_key(|(index, count)| (*count, *index))
        .map(|(index, _)| index)
}

fn hashes_at(answers: &BTreeMap<u64, StateHashes>, index: u64) -> BTreeMap<u64, u64> {
    let at = |answer: &StateHashes| {
        let mut points = answer.points.iter();
        points
            .find(|point| point.index == index)
            .map(|point| point.hash)
    };
    answers
        .iter()
        .filter_map(|(id, answer)| Some((*id, at(answer)?)))
        .collect()
}

/// Hashes of rows that can be compared: those of the most common compaction mark.
fn row_hashes(answers: &BTreeMap<u64, StateHashes>) -> BTreeMap<u64, (i64, i64, u32)> {
    let all: BTreeMap<u64, (i64, i64, u32)> = answers
        .iter()
        .filter_map(|(id, answer)| {
            let kv = answer.kv.as_ref()?;
            Some((*id, (kv.revision, kv.compact_revision, kv.hash)))
        })
        .collect();
    let mut marks: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    for (revision, compacted, _) in all.values() {
        *marks.entry((*revision, *compacted)).or_default() += 1;
    }
    let common = marks
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(mark, _)| mark);
    all.into_iter()
        .filter(|(_, (revision, compacted, _))| Some((*revision, *compacted)) == common)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minority_is_odd_and_without_a_majority_everyone() {
        let three = BTreeMap::from([(1, 7), (2, 7), (3, 8)]);
        assert_eq!(odd_ones(&three, 3), [(3, Some(7))]);
        assert!(odd_ones(&BTreeMap::from([(1, 7), (2, 7)]), 3).is_empty());
        let two = BTreeMap::from([(1, 7), (2, 8)]);
        assert_eq!(odd_ones(&two, 2), [(1, None), (2, None)]);
    }

    #[test]
    fn fingerprints_are_compared_where_most_members_have_one() {
        let told = |points: &[(u64, u64)]| StateHashes {
            points: points
                .iter()
                .map(|(index, hash)| HashPoint {
                    index: *index,
                    hash: *hash,
                })
                .collect(),
            kv: None,
        };
        let answers = BTreeMap::from([
            (1, told(&[(64, 1), (128, 2), (192, 3)])),
            (2, told(&[(64, 1), (128, 2)])),
            (3, told(&[(64, 1), (128, 9), (192, 3)])),
        ]);
        assert_eq!(latest_common(&answers), Some(128));
        let at = hashes_at(&answers, 128);
        assert_eq!(at, BTreeMap::from([(1, 2), (2, 2), (3, 9)]));
    }

    #[test]
    fn rows_are_compared_at_one_compaction_mark_only() {
        let told = |compact_revision, hash| StateHashes {
            points: Vec::new(),
            kv: Some(KvHash {
                revision: 9,
                compact_revision,
                hash,
            }),
        };
        let answers = BTreeMap::from([(1, told(4, 1)), (2, told(5, 2)), (3, told(5, 2))]);
        let compared: Vec<u64> = row_hashes(&answers).into_keys().collect();
        assert_eq!(compared, [2, 3]);
    }
}
