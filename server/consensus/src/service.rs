//! What this member answers to other members.
//!
//! Owns the check of every message's cluster, receiver and sender, and hands the message to
//! whoever can answer it. Knows neither gRPC nor sockets.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use handfast_proto::peer::{
    Describe, Description, LeaderMoved, MemberRefusal, Proposed, ReadIndexed, Refusal, Request,
    Response, SnapshotInstalled, StateHashes, Transferred, refusal::Reason, request, response,
};
use openraft::{
    errors::RaftError,
    raft::{AppendEntriesResponse, TransferLeaderError},
};

use crate::{
    Inner,
    ask::refuse,
    batcher,
    error::ReadError,
    hashes,
    member::{self, MemberError},
    snapshot::ReceiveError,
    types::TypeConfig,
    wire,
};

/// Requests of one pipe that are handed to raft before the first is answered.
const REQUESTS_AHEAD: usize = 64;

/// Answers other members. Clones share the member.
#[derive(Clone)]
pub struct PeerService {
    inner: Arc<Inner>,
}

type Answer = Result<response::Body, Refusal>;

impl PeerService {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Answers one request. Cancel safe: what was begun goes on.
    pub async fn call(&self, mut request: Request) -> Response {
        let answer = match request.body.take() {
            None => Err(refuse(Reason::Invalid, "a request without content")),
            Some(body) => match self.check(&request, &body) {
                Ok(()) => self.answer(request.from, body).await,
                Err(refusal) => Err(refusal),
            },
        };
        let body = answer.unwrap_or_else(response::Body::Refusal);
        Response { body: Some(body) }
    }

    /// Answers the requests of a pipe, in their order.
    pub fn replicate(
        &self,
        requests: impl Stream<Item = Request> + Send + Unpin + 'static,
    ) -> impl Stream<Item = Response> + Send + 'static {
        let this = self.clone();
        // Ordered and eager: raft gets them in the order in which they came, each before
        // the one ahead of it is on disk.
        let answers = requests.map(move |request| {
            let this = this.clone();
            async move { this.call(request).await }
        });
        answers.buffered(REQUESTS_AHEAD)
    }

    fn check(&self, request: &Request, body: &request::Body) -> Result<(), Refusal> {
        let (inner, me) = (&self.inner, self.inner.peers.me());
        if matches!(body, request::Body::Describe(_) | request::Body::Join(_)) {
            return Ok(());
        }
        let ours = inner.peers.cluster_id();
        if request.cluster_id != ours {
            let theirs = request.cluster_id;
            let detail = format!(
                "member {:x} belongs to cluster {theirs:x}, but member {me:x} to cluster {ours:x}: \
                 one of them has the data, or the peer URLs, of another cluster",
                request.from
            );
            tracing::warn!("{detail}");
            return Err(refuse(Reason::WrongCluster, &detail));
        }
        if request.to != me {
            let detail = format!("this is member {me:x}, not {:x}", request.to);
            return Err(refuse(Reason::WrongMember, &detail));
        }
        if self.is_outsider(request.from, body) {
            let detail = format!("member {:x} is not in the membership", request.from);
            return Err(Refusal {
                membership_index: inner.peers.membership_index(),
                ..refuse(Reason::NotAMember, &detail)
            });
        }
        Ok(())
    }

    /// Whether the sender may not ask this. A leader may be a member that this one has yet to hear
    /// of, and so may a candidate whose log reaches beyond ours.
    fn is_outsider(&self, from: u64, body: &request::Body) -> bool {
        if self.inner.peers.knows(from) {
            return false;
        }
        match body {
            request::Body::Append(_)
            | request::Body::SnapshotOffer(_)
            | request::Body::SnapshotChunk(_)
            | request::Body::SnapshotInstall(_)
            | request::Body::TransferLeader(_) => false,
            request::Body::Vote(vote) | request::Body::PreVote(vote) => {
                let last = vote.last_log.map_or(0, |last| last.index);
                last <= self.inner.last_log_index()
            }
            _ => true,
        }
    }

    async fn answer(&self, from: u64, body: request::Body) -> Answer {
        use request::Body;
        let inner = &self.inner;
        match body {
            Body::Append(append) => self.append(append).await,
            Body::Vote(vote) => {
                let vote = wire::decode_vote_request(vote).map_err(invalid)?;
                let answer = inner.raft.vote(vote).await.map_err(stopped)?;
                Ok(response::Body::Vote(wire::encode_vote_response(&answer)))
            }
            Body::PreVote(vote) => {
                let vote = wire::decode_vote_request(vote).map_err(invalid)?;
                let answer = inner.raft.pre_vote(vote).await.map_err(stopped)?;
                Ok(response::Body::Vote(wire::encode_vote_response(&answer)))
            }
            Body::TransferLeader(request) => self.take_over(request).await,
            Body::SnapshotOffer(_) | Body::SnapshotChunk(_) | Body::SnapshotInstall(_) => {
                self.receive(body).await
            }
            Body::Propose(propose) => {
                let id = batcher::accept(&inner.raft, &propose.proposal).await?;
                let id = Some(wire::encode_log_id(&id));
                Ok(response::Body::Proposed(Proposed { id }))
            }
            Body::ReadIndex(_) => {
                let index = inner.reads.index_if_leader().await.map_err(not_read)?;
                Ok(response::Body::ReadIndexed(ReadIndexed { index }))
            }
            Body::LeaseRenew(renew) => {
                let renewed = inner.leases.renew_all(&renew.ids).await.map_err(not_read)?;
                Ok(response::Body::LeaseRenewed(renewed))
            }
            Body::LeaseTimeToLive(asked) => {
                let left = inner.leases.time_left_here(asked.id, asked.keys).await;
                Ok(response::Body::LeaseTimeLeft(left.map_err(not_read)?))
            }
            Body::MemberChange(change) => {
                let Some(change) = change.change else {
                    return Err(refuse(Reason::Invalid, "a change without content"));
                };
                member::answer(inner.changes.change_here(change).await)
            }
            Body::MoveLeader(_) => self.move_leader(from, body).await,
            Body::StateHash(asked) => {
                let points = hashes::points(&inner.store);
                let kv = inner.hashes.kv(asked.kv_revision).await;
                Ok(response::Body::StateHashes(StateHashes { points, kv }))
            }
            Body::Corrupt(verdict) => {
                inner.hashes.judge(&verdict);
                Ok(response::Body::StateHashes(StateHashes::default()))
            }
            Body::Describe(Describe {}) => Ok(response::Body::Description(self.describe())),
            Body::Join(join) => {
                let joined = inner.changes.join(join).await?;
                Ok(response::Body::Joined(joined))
            }
        }
    }

    async fn append(&self, append: handfast_proto::peer::Append) -> Answer {
        let rpc = wire::decode_append(append).map_err(invalid)?;
        let previous = rpc.prev_log_id;
        let last = rpc.entries.last().map(|entry| entry.log_id).or(previous);
        let answer = self.inner.raft.append_entries(rpc).await.map_err(stopped)?;
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            self.inner.standing.heard();
        }
        let appended = wire::encode_appended(answer, previous, last);
        Ok(response::Body::Appended(appended))
    }

    /// Takes a part of a snapshot.
    async fn receive(&self, body: request::Body) -> Answer {
        let (raft, receiver) = (&self.inner.raft, &self.inner.receiver);
        let progress = match body {
            request::Body::SnapshotOffer(offer) => receiver.offer(offer),
            request::Body::SnapshotChunk(chunk) => receiver.chunk(&chunk),
            request::Body::SnapshotInstall(install) => {
                let (vote, snapshot) = receiver.complete(&install).map_err(not_received)?;
                let installed = raft.install_full_snapshot(vote, snapshot).await;
                let vote =
                    installed.map_err(|fatal| refuse(Reason::Stopped, &fatal.to_string()))?;
                let vote = Some(wire::encode_vote(&vote.vote));
                return Ok(response::Body::SnapshotInstalled(SnapshotInstalled {
                    vote,
                }));
            }
            _ => return Err(refuse(Reason::Invalid, "not a part of a snapshot")),
        };
        let progress = progress.map_err(not_received)?;
        Ok(response::Body::SnapshotProgress(progress))
    }

    async fn take_over(&self, request: handfast_proto::peer::TransferLeader) -> Answer {
        let request = wire::decode_transfer(request).map_err(invalid)?;
        let answer = self.inner.raft.handle_transfer_leader(request).await;
        let answer = answer.map_err(|fatal| refuse(Reason::Stopped, &fatal.to_string()))?;
        Ok(response::Body::Transferred(match answer {
            Ok(()) => Transferred::default(),
            Err(refused) => Transferred {
                refused: refused.to_string(),
                last_log: match &refused {
                    TransferLeaderError::LogNotFlushed { actual, .. } => {
                        actual.as_ref().map(wire::encode_log_id)
                    }
                    TransferLeaderError::VoteChanged { .. } => None,
                },
                ..Default::default()
            },
        }))
    }

    async fn move_leader(&self, _from: u64, body: request::Body) -> Answer {
        let request::Body::MoveLeader(request) = body else {
            return Err(refuse(Reason::Invalid, "not a transfer"));
        };
        let refusal = match self.inner.changes.move_leader(request.to).await {
            Ok(()) => MemberRefusal::None,
            Err(MemberError::Refused(refusal)) => refusal,
            Err(error) => return Err(error.into_refusal()),
        };
        Ok(response::Body::LeaderMoved(LeaderMoved {
            refusal: refusal.into(),
        }))
    }

    fn describe(&self) -> Description {
        let inner = &self.inner;
        Description {
            cluster_id: inner.peers.cluster_id(),
            member_id: inner.peers.me(),
            leader: inner.standing.leader().unwrap_or(0),
            members: inner.members(),
            membership_index: inner.peers.membership_index(),
        }
    }
}

fn invalid(error: impl std::fmt::Display) -> Refusal {
    refuse(Reason::Invalid, &error.to_string())
}

fn stopped<E: std::error::Error>(error: RaftError<TypeConfig, E>) -> Refusal {
    refuse(Reason::Stopped, &error.to_string())
}

fn not_received(error: ReceiveError) -> Refusal {
    tracing::warn!(%error, "a part of a snapshot was refused");
    refuse(Reason::Invalid, &error.to_string())
}

fn not_read(error: ReadError) -> Refusal {
    let reason = match error {
        ReadError::NoLeader => Reason::NotLeader,
        ReadError::Stopped | ReadError::Fatal(_) => Reason::Stopped,
        _ => Reason::NoQuorum,
    };
    refuse(reason, &error.to_string())
}
