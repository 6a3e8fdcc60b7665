//! Faults of the network.

use tokio::time::sleep;

use super::Nemesis;
use crate::net::{CLIENTS, Place, Weather};

impl Nemesis {
    /// Cuts one member off from the others; clients that reach it stay with it.
    pub(super) async fn isolate(&self, place: Option<Place>) {
        let Some(place) = place else { return };
        self.cluster.trace.note(format_args!("isolate {place}"));
        let others = self.all_places();
        self.cluster.net.part(&[place], &others);
        self.linger().await;
        self.cluster.net.heal();
    }

    pub(super) async fn one_way(&self) {
        let Some(place) = self.any_up() else { return };
        let deaf = self.draw(|dice| dice.per_mille(500));
        self.cluster
            .trace
            .note(format_args!("one way {place} {deaf}"));
        for other in self
            .all_places()
            .into_iter()
            .filter(|&other| other != place)
        {
            match deaf {
                true => self.cluster.net.block(other, place),
                false => self.cluster.net.block(place, other),
            }
        }
        self.linger().await;
        self.cluster.net.heal();
    }

    /// Two groups; with a bridge, one member is in both.
    pub(super) async fn split(&self, bridge: bool) {
        let mut places = self.all_places();
        self.draw(|dice| dice.shuffle(&mut places));
        let middle = if bridge { places.pop() } else { None };
        let cut = 1 + self.draw(|dice| dice.below(places.len().saturating_sub(1)));
        let (one, other) = places.split_at(cut.min(places.len()));
        self.cluster
            .trace
            .note(format_args!("split {one:?} {other:?} bridge {middle:?}"));
        self.cluster.net.part(one, other);
        self.linger().await;
        self.cluster.net.heal();
    }

    /// Some clients cannot reach some members, so that they have to move.
    pub(super) async fn client_cut(&self) {
        for number in 0..self.patrons.len() {
            for place in self.all_places() {
                if self.draw(|dice| dice.per_mille(400)) {
                    self.cluster.net.part(&[CLIENTS + number], &[place]);
                }
            }
        }
        self.linger().await;
        self.cluster.net.heal();
    }

    pub(super) async fn bad_weather(&self) {
        let weather = self.draw(|dice| {
            let delay = 2 + dice.range(0..60);
            Weather {
                delay_ms: 0..delay,
                late_per_mille: dice.below(100) as u32,
                lost_per_mille: dice.below(150) as u32,
                doubled_per_mille: dice.below(200) as u32,
            }
        });
        self.cluster.net.set_weather(weather);
        self.linger().await;
        self.cluster.net.set_weather(self.plan.weather.clone());
    }

    fn all_places(&self) -> Vec<Place> {
        let machines = self.cluster.machines.iter();
        machines.map(|machine| machine.place).collect()
    }

    /// Waits as long as a fault lasts: less than an election, or much longer.
    async fn linger(&self) {
        let span = self.draw(|dice| match dice.below(3) {
            0 => dice.millis(100..1_000),
            1 => dice.millis(1_000..4_000),
            _ => dice.millis(4_000..10_000),
        });
        sleep(span).await;
    }
}
