//! Faults of disks.

use std::time::Duration;

use tokio::time::sleep;

use super::Nemesis;
use crate::machine::HEALTHY_SYNC_MS;
use crate::net::Place;

impl Nemesis {
    /// Each sync takes as long as on a busy spinning disk, on one member or on all.
    pub(super) async fn slow_disk(&self) {
        let slow = self.draw(|dice| 10 + dice.range(0..200));
        let all = self.draw(|dice| dice.per_mille(300));
        let places = if all {
            self.cluster.up()
        } else {
            self.some_disk()
        };
        for &place in &places {
            let pace = &self.cluster.machine(place).pace;
            pace.take_millis(slow / 2..slow);
        }
        let span = self.draw(|dice| dice.millis(1_000..6_000));
        sleep(span).await;
        for place in places {
            self.cluster
                .machine(place)
                .pace
                .take_millis(HEALTHY_SYNC_MS);
        }
    }

    /// Syncs do not come back for seconds; often it is the leader's disk.
    pub(super) async fn hung_disk(&self) {
        for place in self.some_disk() {
            let pace = &self.cluster.machine(place).pace;
            pace.hang(true);
            let span = self.draw(|dice| dice.millis(500..9_000));
            sleep(span).await;
            pace.hang(false);
        }
    }

    /// Syncs fail: the member must stop rather than go on, and starts again on what is there.
    pub(super) async fn failed_sync(&self) {
        for place in self.some_disk() {
            let machine = self.cluster.machine(place);
            machine.fail_syncs();
            sleep(Duration::from_secs(3)).await;
            machine.repair_disk();
            // Who did not write anything has nothing to give up for, but must not go on unchecked.
            if machine.is_up() {
                self.cluster.kill(place, self.cluster.any_loss());
            }
        }
    }

    /// Files cannot grow until somebody makes room.
    pub(super) async fn full_disk(&self) {
        for place in self.some_disk() {
            let machine = self.cluster.machine(place);
            machine.fill_disk();
            let span = self.draw(|dice| dice.millis(500..6_000));
            sleep(span).await;
            machine.repair_disk();
        }
    }

    fn some_disk(&self) -> Vec<Place> {
        let leads = self.draw(|dice| dice.per_mille(500));
        let leader = if leads { self.cluster.leader() } else { None };
        leader.or_else(|| self.any_up()).into_iter().collect()
    }
}
