//! What must hold at every moment, looked at again and again while a run goes on.
//!
//! Owns what was seen before, which the present is compared with. Looks into members directly,
//! not through their clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::net::Place;

/// How often to look.
const INTERVAL: Duration = Duration::from_millis(100);

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Watchman {
    /// The leader of each term, and where it was seen.
    leaders: BTreeMap<u64, (u64, Place)>,
    /// Term and applied index of the member that runs on a machine.
    progress: BTreeMap<u64, (u64, u64)>,
    /// Fingerprint of the state at a log index, and who had it first.
    hashes: BTreeMap<u64, (u64, Place)>,
    /// Elections won.
    pub(crate) terms_led: usize,
}

impl Watchman {
    /// Looks around until it is dropped.
    pub(crate) async fn patrol(cluster: Arc<Cluster>) {
        let mut watchman = Watchman::default();
        loop {
            watchman.look(&cluster);
            sleep(INTERVAL).await;
        }
    }

    /// Compares the present with what was seen before; notes every contradiction.
    pub(crate) fn look(&mut self, cluster: &Cluster) {
        for machine in &cluster.machines {
            let (Some(consensus), Some(id)) = (machine.consensus(), machine.member_id()) else {
                continue;
            };
            let (status, place) = (consensus.status(), machine.place);
            if status.is_leader {
                let (leader, seen_at) = *self.leaders.entry(status.term).or_insert((id, place));
                if leader != id {
                    cluster.problem(format!(
                        "two leaders in term {}: m{seen_at} and m{place}",
                        status.term
                    ));
                }
            }
            let before = self
                .progress
                .insert(id, (status.term, status.applied_index));
            let (term, _) = before.unwrap_or_default();
            if status.term < term {
                cluster.problem(format!(
                    "m{place} went back from term {term} to {}",
                    status.term
                ));
            }
            if status.applied_index > status.commit_index {
                cluster.problem(format!(
                    "m{place} has applied {} but committed only {}",
                    status.applied_index, status.commit_index
                ));
            }
            for point in consensus.store().hash_points() {
                let (hash, first) = *self
                    .hashes
                    .entry(point.index)
                    .or_insert((point.hash, place));
                if hash != point.hash {
                    cluster.problem(format!(
                        "m{place} and m{first} differ in their state after entry {}",
                        point.index
                    ));
                    // One is enough: all later ones differ, too.
                    self.hashes.insert(point.index, (point.hash, place));
                }
            }
        }
        self.terms_led = self.leaders.len();
    }
}
