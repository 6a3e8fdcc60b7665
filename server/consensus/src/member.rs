//! Changing who the members are.
//!
//! Owns etcd's rules for adding, removing, promoting and renaming members, and how such a change
//! becomes raft's. A new voter joins as a learner at first, so that an absent one never costs the
//! quorum; `promote` makes it a voter once it has caught up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use handfast_proto::{
    command::MemberInfo,
    peer::{
        self, MemberAdd, MemberChange, MemberChanged, MemberRefusal, MemberUpdate, Refusal,
        member_change::Change, refusal::Reason, request, response,
    },
};
use openraft::{
    ChangeMembers,
    async_runtime::watch::WatchReceiver,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
};
use tokio::time::Instant;

use crate::{
    ask::{Peers, refuse},
    machine::RaftHandle,
    runtime,
    standing::{self, Standing},
    types,
};

/// A follower that has not answered for this long counts as down.
pub(crate) const DOWN_AFTER: Duration = Duration::from_secs(5);
/// How long to wait while another change is under way, or no leader is known.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How much of the leader's log a learner must have to be promoted on request, in percent.
const READY_PERCENT: u64 = 90;

/// Why the membership was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// A rule forbids it; nothing was changed.
    #[error("the change of membership is not allowed: {}", .0.as_str_name())]
    Refused(MemberRefusal),
    /// Only the leader can do this, and this member does not lead.
    #[error("this member does not lead")]
    NotLeader,
    /// Not done in time; it may still happen.
    #[error("the membership was not changed in time; look at the member list before you repeat it")]
    Timeout,
    /// The member is stopping or has failed.
    #[error("the member is stopping")]
    Stopped,
}

impl MemberError {
    pub(crate) fn into_refusal(self) -> Refusal {
        let reason = match self {
            Self::Refused(_) => Reason::Invalid,
            Self::NotLeader => Reason::NotLeader,
            Self::Timeout => Reason::Timeout,
            Self::Stopped => Reason::Stopped,
        };
        refuse(reason, &self.to_string())
    }
}

/// How long a cluster may be without a leader and still be healthy: an election takes less.
const LEADER_SOON: Duration = Duration::from_secs(2);

type Members = Vec<MemberInfo>;
type RaftChange = ChangeMembers<u64, MemberInfo>;

/// What the rules depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Refuse what could cost the quorum.
    pub(crate) strict: bool,
    /// Learners there may be at once.
    pub(crate) max_learners: usize,
    /// How long a change may take.
    pub(crate) patience: Duration,
}

/// How far a follower is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowerLag {
    /// The follower.
    pub id: u64,
    /// Last log entry known to be in its log, if any.
    pub matched_index: Option<u64>,
    /// Time since it last answered.
    pub last_ack: Option<Duration>,
}

/// Changes the membership, here or at the leader.
pub(crate) struct Changes {
    pub(crate) raft: RaftHandle,
    pub(crate) peers: Arc<Peers>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) rules: Rules,
    /// One change after the other, for each is judged by the result of the one before.
    pub(crate) one_at_a_time: tokio::sync::Mutex<()>,
    /// The cluster's secret for join tokens.
    pub(crate) store: Arc<handfast_mvcc::Store>,
}

/// The answer to another member's request for a change.
pub(crate) fn answer(
    changed: Result<(u64, Members), MemberError>,
) -> Result<response::Body, Refusal> {
    let changed = match changed {
        Ok((id, members)) => MemberChanged {
            refusal: MemberRefusal::None.into(),
            id,
            members,
        },
        Err(MemberError::Refused(refusal)) => MemberChanged {
            refusal: refusal.into(),
            ..Default::default()
        },
        Err(error) => return Err(error.into_refusal()),
    };
    Ok(response::Body::MemberChanged(changed))
}

impl Changes {
    /// Every member, by ascending id, as raft has it now.
    pub(crate) fn members(&self) -> Members {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let mut members = types::members(metrics.membership_config.membership());
        members.sort_by_key(|member| member.id);
        members
    }

    /// What the leader knows of its followers; empty elsewhere.
    pub(crate) fn followers(&self) -> Vec<FollowerLag> {
        let metrics = self.raft.data_metrics();
        let metrics = metrics.borrow_watched();
        let Some(replication) = &metrics.replication else {
            return Vec::new();
        };
        let acks = metrics.heartbeat.as_ref();
        let age = |id: &u64| {
            let at = acks?.get(id)?.as_ref()?;
            Some(standing::age(at))
        };
        replication
            .iter()
            .filter(|(id, _)| **id != self.peers.me())
            .map(|(id, matched)| FollowerLag {
                id: *id,
                matched_index: matched.as_ref().map(|matched| matched.index),
                last_ack: age(id),
            })
            .collect()
    }

    /// Changes the membership from whichever member was asked.
    pub(crate) async fn change(&self, change: Change) -> Result<(u64, Members), MemberError> {
        let begun = Instant::now();
        let give_up = begun + self.rules.patience;
        loop {
            let attempt = match self.standing.leader() {
                Some(leader) if leader == self.peers.me() => self.change_here(change.clone()).await,
                Some(leader) => self.change_there(leader, change.clone(), give_up).await,
                // As etcd, which does not add to a cluster of whose health nothing can be said.
                None if matches!(change, Change::Add(_)) && begun.elapsed() > LEADER_SOON => {
                    return Err(MemberError::Refused(MemberRefusal::Unhealthy));
                }
                None => Err(MemberError::NotLeader),
            };
            match attempt {
                Err(MemberError::NotLeader) if Instant::now() < give_up => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(MemberError::NotLeader) => return Err(MemberError::Timeout),
                done => return done,
            }
        }
    }

    async fn change_there(
        &self,
        leader: u64,
        change: Change,
        give_up: Instant,
    ) -> Result<(u64, Members), MemberError> {
        let body = request::Body::MemberChange(MemberChange {
            change: Some(change),
        });
        let left = give_up.saturating_duration_since(Instant::now());
        match self.peers.ask(leader, body, left).await {
            Ok(response::Body::MemberChanged(changed)) => match changed.refusal() {
                MemberRefusal::None => Ok((changed.id, changed.members)),
                refusal => Err(MemberError::Refused(refusal)),
            },
            Err(error) if error.nothing_done() => Err(MemberError::NotLeader),
            _ => Err(MemberError::Timeout),
        }
    }

    /// Changes the membership, if this member leads.
    pub(crate) async fn change_here(&self, change: Change) -> Result<(u64, Members), MemberError> {
        let _alone = self.one_at_a_time.lock().await;
        if self.standing.leads_in().is_none() {
            return Err(MemberError::NotLeader);
        }
        let members = self.members();
        let goes = matches!(change, Change::Remove(id) if id == self.peers.me());
        let (id, change) = self.judge(&members, change)?;
        if goes && let Some(to) = self.best_follower() {
            // Whoever leads next removes this member, so that no leader has to remove itself.
            self.transfer(to, self.rules.patience).await?;
            return Err(MemberError::NotLeader);
        }
        if let Some(change) = change {
            self.commit(change).await?;
        }
        Ok((id, self.members()))
    }

    /// Whom a change is about, and what raft is to do; nothing when all is as it should be.
    fn judge(
        &self,
        members: &Members,
        change: Change,
    ) -> Result<(u64, Option<RaftChange>), MemberError> {
        match change {
            Change::Add(add) => self.judge_add(members, add),
            Change::Remove(id) => self.judge_remove(members, id),
            Change::Promote(id) => self.judge_promote(members, id),
            Change::Update(update) => judge_update(members, update),
            Change::Publish(info) => judge_publish(members, info),
        }
        .map_err(MemberError::Refused)
    }

    fn judge_add(
        &self,
        members: &Members,
        add: MemberAdd,
    ) -> Result<(u64, Option<RaftChange>), MemberRefusal> {
        if add.peer_urls.is_empty() {
            return Err(MemberRefusal::UrlsInvalid);
        }
        if uses_any(members, &add.peer_urls, None) {
            return Err(MemberRefusal::PeerUrlExists);
        }
        if add.is_learner {
            let learners = members.iter().filter(|m| m.is_learner && !m.voter_intent);
            if learners.count() >= self.rules.max_learners {
                return Err(MemberRefusal::TooManyLearners);
            }
        } else if self.rules.strict && !may_add_voter(members) {
            return Err(MemberRefusal::NotEnoughStarted);
        }
        if self.rules.strict && !self.has_healthy_quorum(members) {
            return Err(MemberRefusal::Unhealthy);
        }
        let id = runtime::random_id();
        let info = MemberInfo {
            id,
            name: add.name,
            peer_urls: add.peer_urls,
            client_urls: add.client_urls,
            is_learner: true,
            voter_intent: !add.is_learner,
        };
        Ok((id, Some(ChangeMembers::AddNodes([(id, info)].into()))))
    }

    fn judge_remove(
        &self,
        members: &Members,
        id: u64,
    ) -> Result<(u64, Option<RaftChange>), MemberRefusal> {
        let member = find(members, id).ok_or(MemberRefusal::NotFound)?;
        if member.is_learner {
            return Ok((id, Some(ChangeMembers::RemoveNodes([id].into()))));
        }
        if voters(members).count() == 1 {
            return Err(MemberRefusal::NotEnoughStarted);
        }
        if self.rules.strict {
            if !may_remove_voter(members, id) {
                return Err(MemberRefusal::NotEnoughStarted);
            }
            let up = self.voters_up(members);
            // One that is down takes nothing from the quorum when it goes.
            let rest = voters(members).count() - 1;
            let rest_up = up.iter().filter(|up| **up != id).count();
            if up.contains(&id) && rest_up < rest / 2 + 1 {
                return Err(MemberRefusal::Unhealthy);
            }
        }
        Ok((id, Some(ChangeMembers::RemoveVoters([id].into()))))
    }

    fn judge_promote(
        &self,
        members: &Members,
        id: u64,
    ) -> Result<(u64, Option<RaftChange>), MemberRefusal> {
        let member = find(members, id).ok_or(MemberRefusal::NotFound)?;
        if !member.is_learner || member.voter_intent {
            return Err(MemberRefusal::NotALearner);
        }
        let last = self.last_log_index();
        let matched = self.followers().into_iter().find(|lag| lag.id == id);
        let matched = matched.and_then(|lag| lag.matched_index).unwrap_or(0);
        if matched * 100 < last * READY_PERCENT {
            return Err(MemberRefusal::LearnerNotReady);
        }
        if self.rules.strict && !may_add_voter(members) {
            return Err(MemberRefusal::NotEnoughStarted);
        }
        Ok((id, Some(ChangeMembers::AddVoterIds([id].into()))))
    }

    pub(crate) fn last_log_index(&self) -> u64 {
        let metrics = self.raft.data_metrics();
        let metrics = metrics.borrow_watched();
        metrics.last_log.as_ref().map_or(0, |last| last.index)
    }

    /// Voters that answered lately, this member among them.
    fn voters_up(&self, members: &Members) -> BTreeSet<u64> {
        let answered = |lag: &FollowerLag| lag.last_ack.is_some_and(|age| age < DOWN_AFTER);
        let followers = self.followers();
        let up = followers
            .iter()
            .filter(|lag| answered(lag))
            .map(|lag| lag.id);
        let up: BTreeSet<u64> = up.chain([self.peers.me()]).collect();
        voters(members)
            .map(|voter| voter.id)
            .filter(|id| up.contains(id))
            .collect()
    }

    /// The voter that answered lately and has the most of the log.
    pub(crate) fn best_follower(&self) -> Option<u64> {
        let members = self.members();
        let answers = |lag: &FollowerLag| {
            let votes = voters(&members).any(|voter| voter.id == lag.id);
            votes && lag.last_ack.is_some_and(|age| age < DOWN_AFTER)
        };
        let followers = self.followers().into_iter().filter(answers);
        let best = followers.max_by_key(|lag| (lag.matched_index, std::cmp::Reverse(lag.last_ack)));
        best.map(|lag| lag.id)
    }

    fn has_healthy_quorum(&self, members: &Members) -> bool {
        self.voters_up(members).len() > voters(members).count() / 2
    }

    /// Has raft commit a change, waiting for one that is still under way.
    pub(crate) async fn commit(&self, change: RaftChange) -> Result<(), MemberError> {
        let committed = async {
            loop {
                let Err(error) = self.raft.change_membership(change.clone(), false).await else {
                    return Ok(());
                };
                match error {
                    RaftError::APIError(ClientWriteError::ChangeMembershipError(
                        ChangeMembershipError::InProgress(_),
                    )) => tokio::time::sleep(RETRY_PAUSE).await,
                    RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => {
                        return Err(MemberError::NotLeader);
                    }
                    RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
                        return Err(MemberError::Timeout);
                    }
                    RaftError::APIError(error) => {
                        tracing::warn!(%error, "raft refused a change of membership");
                        return Err(MemberError::Refused(MemberRefusal::NotFound));
                    }
                    RaftError::Fatal(_) => return Err(MemberError::Stopped),
                }
            }
        };
        tokio::time::timeout(self.rules.patience, committed)
            .await
            .unwrap_or(Err(MemberError::Timeout))
    }

    /// Takes in a member that shows the cluster's join token.
    pub(crate) async fn join(&self, join: peer::Join) -> Result<peer::Joined, Refusal> {
        let ours = crate::join::token(self.peers.cluster_id(), self.store.join_secret().as_deref());
        if ours.is_none_or(|ours| ours != join.token) {
            let detail = "this is not the join token of this cluster; `handfast cluster token` on \
                          the machine of a member prints it";
            return Err(refuse(Reason::BadToken, detail));
        }
        let joined = |id, members| peer::Joined {
            cluster_id: self.peers.cluster_id(),
            member_id: id,
            members,
        };
        // Asking twice, because the first answer was lost, must not add a second member. One that
        // votes already has lost its data, and must not come back under the same id.
        let members = self.members();
        let same = |member: &&MemberInfo| {
            let waits = member.is_learner && member.voter_intent;
            waits && member.name == join.name && member.peer_urls == join.peer_urls
        };
        if let Some(member) = members.iter().find(same) {
            return Ok(joined(member.id, members.clone()));
        }
        let add = Change::Add(MemberAdd {
            peer_urls: join.peer_urls,
            is_learner: false,
            name: join.name,
            client_urls: join.client_urls,
        });
        match self.change(add).await {
            Ok((id, members)) => Ok(joined(id, members)),
            Err(error) => Err(error.into_refusal()),
        }
    }

    /// Gives leadership to another voter. Only the leader can.
    pub(crate) async fn move_leader(&self, to: u64) -> Result<(), MemberError> {
        if self.standing.leads_in().is_none() {
            return Err(MemberError::NotLeader);
        }
        let members = self.members();
        if !voters(&members).any(|voter| voter.id == to) {
            return Err(MemberError::Refused(MemberRefusal::BadTransferee));
        }
        if to == self.peers.me() {
            return Ok(());
        }
        self.transfer(to, self.rules.patience).await
    }

    /// Transfers leadership and waits until the other leads.
    pub(crate) async fn transfer(&self, to: u64, patience: Duration) -> Result<(), MemberError> {
        let trigger = self.raft.trigger().transfer_leader(to).await;
        trigger.map_err(|_| MemberError::Stopped)?;
        let mut metrics = self.raft.server_metrics();
        let moved = async {
            loop {
                if metrics.borrow_watched().current_leader == Some(to) {
                    return Ok(());
                }
                if metrics.changed().await.is_err() {
                    return Err(MemberError::Stopped);
                }
            }
        };
        tokio::time::timeout(patience, moved)
            .await
            .unwrap_or(Err(MemberError::Timeout))
    }
}

fn judge_update(
    members: &Members,
    update: MemberUpdate,
) -> Result<(u64, Option<RaftChange>), MemberRefusal> {
    let member = find(members, update.id).ok_or(MemberRefusal::NotFound)?;
    if uses_any(members, &update.peer_urls, Some(update.id)) {
        return Err(MemberRefusal::PeerUrlExists);
    }
    let changed = MemberInfo {
        peer_urls: update.peer_urls,
        ..member.clone()
    };
    Ok((update.id, set(member, changed)))
}

fn judge_publish(
    members: &Members,
    info: MemberInfo,
) -> Result<(u64, Option<RaftChange>), MemberRefusal> {
    let member = find(members, info.id).ok_or(MemberRefusal::NotFound)?;
    let changed = MemberInfo {
        name: info.name,
        client_urls: info.client_urls,
        ..member.clone()
    };
    Ok((info.id, set(member, changed)))
}

fn set(before: &MemberInfo, after: MemberInfo) -> Option<RaftChange> {
    (*before != after).then(|| ChangeMembers::SetNodes(BTreeMap::from([(after.id, after)])))
}

fn find(members: &Members, id: u64) -> Option<&MemberInfo> {
    members.iter().find(|member| member.id == id)
}

/// Members with a vote. One that is to have it but is still catching up has none yet.
pub(crate) fn voters(members: &[MemberInfo]) -> impl Iterator<Item = &MemberInfo> {
    members.iter().filter(|member| !member.is_learner)
}

fn uses_any(members: &Members, urls: &[String], except: Option<u64>) -> bool {
    let others = members.iter().filter(|member| Some(member.id) != except);
    others
        .flat_map(|member| &member.peer_urls)
        .any(|url| urls.contains(url))
}

fn is_started(member: &MemberInfo) -> bool {
    !member.name.is_empty()
}

/// Whether the started voters would still be a majority beside a new one that may never start.
fn may_add_voter(members: &Members) -> bool {
    let intended = members.iter().filter(|m| !m.is_learner || m.voter_intent);
    let (mut all, mut started) = (1, 0);
    for member in intended {
        all += 1;
        started += usize::from(is_started(member));
    }
    // Growing from one to two has to be possible, although the second cannot have started.
    (started == 1 && all == 2) || started > all / 2
}

fn may_remove_voter(members: &Members, id: u64) -> bool {
    let rest: Vec<_> = voters(members).filter(|member| member.id != id).collect();
    let started = rest.iter().filter(|member| is_started(member)).count();
    started > rest.len() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str) -> MemberInfo {
        MemberInfo {
            id,
            name: name.to_owned(),
            peer_urls: vec![format!("http://127.0.0.1:{id}")],
            ..Default::default()
        }
    }

    #[test]
    fn a_second_unstarted_voter_is_refused_but_the_first_beside_one_is_not() {
        assert!(may_add_voter(&vec![member(1, "a")]));
        let unstarted = MemberInfo {
            is_learner: true,
            voter_intent: true,
            ..member(2, "")
        };
        assert!(!may_add_voter(&vec![member(1, "a"), unstarted]));
        assert!(may_add_voter(&vec![member(1, "a"), member(2, "b")]));
        let three = vec![member(1, "a"), member(2, "b"), member(3, "")];
        assert!(!may_add_voter(&three));
    }

    #[test]
    fn removing_may_not_leave_a_majority_of_unstarted_voters() {
        let three = vec![member(1, "a"), member(2, ""), member(3, "c")];
        assert!(may_remove_voter(&three, 2));
        assert!(!may_remove_voter(&three, 1));
    }

    #[test]
    fn urls_of_others_are_taken_but_ones_own_are_not() {
        let members = vec![member(1, "a"), member(2, "b")];
        let urls = vec!["http://127.0.0.1:2".to_owned()];
        let update = |id| MemberUpdate {
            id,
            peer_urls: urls.clone(),
        };
        assert_eq!(
            judge_update(&members, update(1)).unwrap_err(),
            MemberRefusal::PeerUrlExists
        );
        assert!(judge_update(&members, update(2)).unwrap().1.is_none());
        assert_eq!(
            judge_update(&members, update(9)).unwrap_err(),
            MemberRefusal::NotFound
        );
    }
}
