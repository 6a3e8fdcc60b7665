//! Watches over a leader: does it still reach a majority, and does its disk still answer?
//!
//! Owns when leadership is suspended. A leader that cannot do its work must not be believed by
//! itself or its clients any longer than an election takes; and one whose disk hangs stops its
//! heartbeats, so that the others choose a better one.

use std::{sync::Arc, time::Duration};

use handfast_storage::wal::Wal;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    machine::RaftHandle,
    member::{self, Changes},
    standing::{self, Standing},
};

/// Looks per election timeout.
const LOOKS: u32 = 10;
/// Election timeouts without an answer from a majority after which a leader falls silent. Longer
/// than it takes to lead no longer: a machine that is merely slow must not lose its leader.
const MUTE_AFTER: u32 = 3;
/// Election timeouts of one silence, long enough for others to elect, and of the pause after it.
const MUTE_FOR: u32 = 2;

pub(crate) struct Guard {
    pub(crate) raft: RaftHandle,
    pub(crate) wal: Arc<Wal>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) election_timeout: Duration,
}

/// The operation the disk was seen busy with, and since when.
type Busy = Option<(u64, Instant)>;

impl Guard {
    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(self.election_timeout / LOOKS);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut busy = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            let silent = self.look_at_quorum();
            self.look_at_disk(&mut busy).await;
            let mute = self.standing.disk_hangs() || is_mute(silent, self.election_timeout);
            self.raft.runtime_config().heartbeat(!mute);
        }
    }

    /// Returns for how long no majority has answered.
    fn look_at_quorum(&self) -> Duration {
        let alone = member::voters(&self.changes.members()).count() <= 1;
        let silent = {
            let metrics = self.raft.data_metrics();
            let metrics = metrics.borrow_watched();
            let heard = metrics.last_quorum_acked.as_ref();
            heard.map(|at| standing::age(at))
        };
        let lost = !alone && silent.is_some_and(|silent| silent > self.election_timeout);
        if self.standing.set_quorum_lost(lost) {
            match lost {
                true => tracing::warn!(
                    silent = ?silent.unwrap_or_default(),
                    "a majority of the members does not answer; leading no longer"
                ),
                false => tracing::info!("a majority of the members answers again"),
            }
        }
        match lost {
            true => silent.unwrap_or_default(),
            false => Duration::ZERO,
        }
    }

    async fn look_at_disk(&self, busy: &mut Busy) {
        let batch = self.wal.unsynced_batch();
        let now = Instant::now();
        *busy = match (batch, *busy) {
            (Some(batch), Some((seen, since))) if seen == batch => Some((seen, since)),
            (Some(batch), _) => Some((batch, now)),
            (None, _) => None,
        };
        let hangs = busy.is_some_and(|(_, since)| now - since >= self.election_timeout);
        if !self.standing.set_disk_hangs(hangs) {
            return;
        }
        self.raft.runtime_config().elect(!hangs);
        if !hangs {
            tracing::info!("the disk answers again");
            return;
        }
        tracing::error!(
            waited = ?self.election_timeout,
            "the disk does not finish a sync; this member neither leads nor stands for election"
        );
        if let Some(to) = self.changes.best_follower() {
            // The follower needs no disk of ours to take over.
            let _ = self.raft.trigger().transfer_leader(to).await;
        }
    }
}

/// Whether a leader that is heard, but does not hear, is to be silent at the moment, so that others
/// can take over; in between it speaks, in case they can answer again.
fn is_mute(silent: Duration, election_timeout: Duration) -> bool {
    let Some(since) = silent.checked_sub(election_timeout * MUTE_AFTER) else {
        return false;
    };
    let turn = since.as_millis() / (election_timeout * MUTE_FOR).as_millis().max(1);
    turn.is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_nobody_answers_falls_silent_in_turns() {
        let election = Duration::from_secs(1);
        let mute_at = |seconds| is_mute(Duration::from_secs(seconds), election);
        let turns: Vec<bool> = (0..9).map(mute_at).collect();
        let expected = [false, false, false, true, true, false, false, true, true];
        assert_eq!(turns, expected);
    }
}
