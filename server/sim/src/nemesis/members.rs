//! Changes of who leads and who belongs to the cluster.

use std::time::Duration;

use handfast_core::ErrorKind;
use tokio::time::{Instant, sleep};

use super::Nemesis;
use crate::net::Place;

/// How long an operator tries to change the membership.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an operator waits before trying again.
const AGAIN: Duration = Duration::from_millis(500);

impl Nemesis {
    /// Asks the leader to hand over to another member. It may refuse.
    pub(super) async fn move_leader(&self) {
        let Some(leader) = self.cluster.leader() else {
            return;
        };
        let others = self
            .cluster
            .up()
            .into_iter()
            .filter(|&place| place != leader);
        let others: Vec<Place> = others.collect();
        let Some(to) = self.draw(|dice| dice.pick(&others).copied()) else {
            return;
        };
        let consensus = self.cluster.machine(leader).consensus();
        let id = self.cluster.machine(to).member_id();
        if let (Some(consensus), Some(id)) = (consensus, id) {
            self.cluster
                .trace
                .note(format_args!("move {leader} to {to}"));
            let moved = consensus.move_leader(id).await;
            self.cluster
                .trace
                .note(format_args!("moved: {}", moved.is_ok()));
        }
    }

    /// Hands over, and cuts the old leader off while the new one is being elected: for a moment
    /// two members believe to lead, and only a round of questions can tell them apart.
    pub(super) async fn move_and_cut(&self) {
        let Some(leader) = self.cluster.leader() else {
            return;
        };
        let delay = self.draw(|dice| dice.millis(1..12));
        let cut = async {
            sleep(delay).await;
            self.isolate(Some(leader)).await;
        };
        tokio::join!(self.move_leader(), cut);
    }

    /// Removes a member, throws its data away, and adds another one on the spare machine. Finishes
    /// what it began, also after the end of the chaos.
    pub(super) async fn replace(&self) {
        let Some(this) = self.this.upgrade() else {
            return;
        };
        // A task of its own: half a change of the membership would have to be taken back by hand.
        let changing = tokio::spawn(async move {
            let _one_at_a_time = this.changing.lock().await;
            this.replace_one().await;
        });
        let _ = changing.await;
    }

    async fn replace_one(&self) {
        let tenants = self.cluster.tenants();
        let free = self.cluster.machines.iter().map(|machine| machine.place);
        let free = free.into_iter().find(|place| !tenants.contains(place));
        let (Some(free), Some(old)) = (free, self.draw(|dice| dice.pick(&tenants).copied())) else {
            return;
        };
        let Some(old_id) = self.cluster.machine(old).member_id() else {
            return;
        };
        if !self.remove(old, old_id).await {
            return;
        }
        self.cluster.mark_removed(old_id);
        // It should notice by itself; whoever does not hear of it is switched off.
        let until = Instant::now() + Duration::from_secs(5);
        while self.cluster.machine(old).is_up() && Instant::now() < until {
            sleep(AGAIN).await;
        }
        if self.cluster.machine(old).is_up() {
            self.cluster.kill(old, self.cluster.any_loss());
        }
        self.cluster.machine(old).let_to(None);
        if let Some(id) = self.add(free).await {
            self.cluster.let_to_new(free, id);
            self.cluster.start(free).await;
            self.await_voter(id).await;
        }
    }

    /// Whether the member is gone for certain.
    async fn remove(&self, place: Place, id: u64) -> bool {
        self.cluster.trace.note(format_args!("remove {place}"));
        // It may hear of it, and stop, before whoever asked gets the answer.
        self.cluster.mark_doubtful(id);
        let until = Instant::now() + PATIENCE;
        let mut asked = false;
        while Instant::now() < until {
            match self.admin.member_remove(id).await {
                Ok(_) => return true,
                // An earlier attempt whose answer was lost did it.
                Err(error) if error.kind() == ErrorKind::MemberNotFound && asked => return true,
                Err(error) => {
                    asked = true;
                    self.cluster
                        .trace
                        .note(format_args!("no remove: {:?}", error.kind()));
                }
            }
            sleep(AGAIN).await;
        }
        false
    }

    /// The id of the new member.
    async fn add(&self, place: Place) -> Option<u64> {
        let url = self.cluster.machine(place).peer_url();
        self.cluster.trace.note(format_args!("add {place}"));
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match self.admin.member_add(vec![url.clone()], false).await {
                Ok(answer) => return answer.member.map(|member| member.id),
                Err(error) => {
                    self.cluster
                        .trace
                        .note(format_args!("no add: {:?}", error.kind()));
                    if let Some(id) = self.listed(&url).await {
                        return Some(id);
                    }
                }
            }
            sleep(AGAIN).await;
        }
        None
    }

    /// The member with this address, if the cluster has one.
    async fn listed(&self, url: &str) -> Option<u64> {
        let members = self.admin.members().await.ok()?.members;
        let found = members.into_iter().find(|member| {
            member
                .peer_ur_ls
                .iter()
                .any(|known| known.trim_end_matches('/') == url)
        });
        found.map(|member| member.id)
    }

    /// Waits until the new member votes, for a while.
    async fn await_voter(&self, id: u64) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let votes = self.cluster.machines.iter().any(|machine| {
                machine.member_id() == Some(id)
                    && machine
                        .consensus()
                        .is_some_and(|consensus| !consensus.is_learner())
            });
            if votes {
                return;
            }
            sleep(AGAIN).await;
        }
    }
}
