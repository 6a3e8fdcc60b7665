//! Raft's way to the other members.
//!
//! Owns how raft's calls become peer messages: one pipe per follower for the log, single calls for
//! all else. Sockets and encodings belong to the transport.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use handfast_proto::peer::{Response, request, response};
use openraft::{
    AnyError, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
        TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
        VoteResponse,
    },
};

use crate::{
    ask::{AskError, Peers},
    counters::Counters,
    peer::{self, Pipe},
    snapshot::{self, SnapshotSource, StateSnapshot},
    types::{Member, RaftVote, TypeConfig},
    wire,
};

/// Pauses before an unreachable member is tried again, in milliseconds; the last one repeats.
const RETRY_PAUSES: [u64; 3] = [50, 100, 200];
/// Appends that may be on their way to one follower without an answer.
const APPENDS_AHEAD: usize = 32;

/// Makes the ways to other members.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) peers: Arc<Peers>,
    pub(crate) counters: Arc<Counters>,
    /// How long a follower may leave an append unanswered.
    pub(crate) patience: Duration,
}

/// The way to one member.
pub(crate) struct PeerNetwork {
    network: Network,
    to: u64,
    /// Heartbeats go as single calls, so that they never wait behind entries.
    single_calls: bool,
    pipe: Option<Pipe>,
}

type Appending = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: u64, _node: &Member) -> PeerNetwork {
        PeerNetwork {
            network: self.clone(),
            to: target,
            single_calls: false,
            pipe: None,
        }
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> PeerNetwork {
        let client = self.new_client(target, node).await;
        PeerNetwork {
            single_calls: true,
            ..client
        }
    }
}

impl PeerNetwork {
    async fn ask(
        &self,
        body: request::Body,
        timeout: Duration,
    ) -> Result<response::Body, RPCError<TypeConfig>> {
        let answer = self.network.peers.ask(self.to, body, timeout).await;
        answer.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &AskError) -> RPCError<TypeConfig> {
        self.network.counters.send_failed();
        match error {
            AskError::Unexpected(_) => RPCError::Network(NetworkError::new(error)),
            // Raft then pauses before it tries again.
            _ => RPCError::Unreachable(Unreachable::new(error)),
        }
    }

    fn unexpected(&self) -> RPCError<TypeConfig> {
        self.failed(&AskError::Unexpected(self.to))
    }

    fn append_body(rpc: AppendEntriesRequest<TypeConfig>) -> request::Body {
        request::Body::Append(wire::encode_append(rpc))
    }

    async fn append_once(
        &self,
        rpc: AppendEntriesRequest<TypeConfig>,
        timeout: Duration,
    ) -> Appending {
        match self.ask(Self::append_body(rpc), timeout).await? {
            response::Body::Appended(appended) => Ok(wire::decode_appended(appended)),
            _ => Err(self.unexpected()),
        }
    }

    /// The pipe of the last session when it was left in order, or a new one.
    async fn open_pipe(&mut self, timeout: Duration) -> Result<Pipe, RPCError<TypeConfig>> {
        if let Some(pipe) = self.pipe.take()
            && !pipe.requests.is_closed()
        {
            return Ok(pipe);
        }
        let opening = tokio::time::timeout(timeout, self.network.peers.pipe(self.to));
        match opening.await {
            Ok(opened) => opened.map_err(|error| self.failed(&error)),
            Err(_) => {
                let source = peer::Unreachable {
                    detail: format!("no connection within {timeout:?}"),
                    certain: true,
                };
                Err(self.failed(&AskError::Unreachable {
                    to: self.to,
                    source,
                }))
            }
        }
    }

    fn answered(&self, answer: Option<Result<Response, peer::Unreachable>>) -> Appending {
        let to = self.to;
        let response = match answer {
            Some(Ok(response)) => response,
            Some(Err(source)) => return Err(self.failed(&AskError::Unreachable { to, source })),
            None => {
                let source = peer::Unreachable {
                    detail: "the connection has ended".to_owned(),
                    certain: false,
                };
                return Err(self.failed(&AskError::Unreachable { to, source }));
            }
        };
        match self.network.peers.open(to, response) {
            Ok(response::Body::Appended(appended)) => Ok(wire::decode_appended(appended)),
            Ok(_) => Err(self.unexpected()),
            Err(error) => Err(self.failed(&error)),
        }
    }
}

/// One run of appends through a pipe. The pipe goes back to its owner only when every append was
/// answered, for otherwise the next run would take old answers for its own.
struct Session<'n, S> {
    network: &'n mut PeerNetwork,
    pipe: Pipe,
    input: Option<S>,
    unanswered: usize,
}

impl<S> Session<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
{
    /// The next answer; `None` when there are no more appends and all are answered.
    async fn next(&mut self) -> Option<Appending> {
        loop {
            let sends = self.unanswered < APPENDS_AHEAD;
            let patience = self.network.network.patience;
            let Some(input) = self.input.as_mut().filter(|_| sends) else {
                if self.unanswered == 0 {
                    return None;
                }
                return Some(self.answer(patience).await);
            };
            let answer = async {
                if self.unanswered == 0 {
                    return std::future::pending().await;
                }
                tokio::time::timeout(patience, self.pipe.responses.recv()).await
            };
            tokio::select! {
                biased;
                append = input.next() => match append {
                    Some(append) => {
                        let body = PeerNetwork::append_body(append);
                        let peers = &self.network.network.peers;
                        let request = peers.envelope(self.network.to, body);
                        // A failure shows in the answers.
                        let _ = self.pipe.requests.send(request).await;
                        self.unanswered += 1;
                    }
                    None => self.input = None,
                },
                answer = answer => return Some(self.take(answer)),
            }
        }
    }

    async fn answer(&mut self, patience: Duration) -> Appending {
        let answer = tokio::time::timeout(patience, self.pipe.responses.recv()).await;
        self.take(answer)
    }

    fn take(
        &mut self,
        answer: Result<Option<Result<Response, peer::Unreachable>>, tokio::time::error::Elapsed>,
    ) -> Appending {
        self.unanswered -= 1;
        match answer {
            Ok(answer) => self.network.answered(answer),
            Err(_) => {
                let source = peer::Unreachable {
                    detail: "appends are not answered".to_owned(),
                    certain: false,
                };
                let to = self.network.to;
                Err(self.network.failed(&AskError::Unreachable { to, source }))
            }
        }
    }
}

async fn step<S>(session: Option<Session<'_, S>>) -> Option<(Appending, Option<Session<'_, S>>)>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
{
    let mut session = session?;
    match session.next().await {
        Some(Ok(answer)) => Some((Ok(answer), Some(session))),
        Some(Err(error)) => Some((Err(error), None)),
        None => {
            session.network.pipe = Some(session.pipe);
            None
        }
    }
}

impl RaftNetworkV2<TypeConfig> for PeerNetwork {
    type SnapshotData = SnapshotSource;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.append_once(rpc, option.hard_ttl())
            .await
            .map(wire::single)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appending>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            if self.single_calls {
                let Some(rpc) = input.next().await else {
                    return Ok(stream::empty().boxed());
                };
                let answer = self.append_once(rpc, option.hard_ttl()).await?;
                return Ok(stream::once(async { Ok(answer) }).boxed());
            }
            // Raft waits out its pauses between attempts when it is asked for an append: asking
            // only after the pipe is open would try a member that is gone without any pause.
            let Some(first) = input.next().await else {
                return Ok(stream::empty().boxed());
            };
            let pipe = self.open_pipe(self.network.patience).await?;
            let session = Session {
                network: self,
                pipe,
                input: Some(stream::iter([first]).chain(input)),
                unanswered: 0,
            };
            Ok(stream::unfold(Some(session), step).boxed())
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = request::Body::Vote(wire::encode_vote_request(&rpc));
        match self.ask(body, option.hard_ttl()).await? {
            response::Body::Vote(vote) => {
                wire::decode_vote_response(vote).map_err(|_| self.unexpected())
            }
            _ => Err(self.unexpected()),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = request::Body::PreVote(wire::encode_vote_request(&rpc));
        match self.ask(body, option.hard_ttl()).await? {
            response::Body::Vote(vote) => {
                wire::decode_vote_response(vote).map_err(|_| self.unexpected())
            }
            _ => Err(self.unexpected()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: StateSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let (peers, to) = (Arc::clone(&self.network.peers), self.to);
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = snapshot::send(&peers, to, vote, snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(error) => {
                    tracing::warn!(%error, "the snapshot could not be sent; going on later");
                    let error = AnyError::new(&error);
                    Err(StreamingError::Unreachable(Unreachable::new(&error)))
                }
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = request::Body::TransferLeader(wire::encode_transfer(&req));
        let response::Body::Transferred(answer) = self.ask(body, option.hard_ttl()).await? else {
            return Err(self.unexpected());
        };
        if answer.refused.is_empty() {
            return Ok(Ok(()));
        }
        // Raft makes no difference between the two reasons but in what it logs.
        Ok(Err(TransferLeaderError::LogNotFlushed {
            expected: req.last_log_id().copied(),
            actual: answer.last_log.map(wire::decode_log_id),
        }))
    }

    fn backoff(&self) -> Option<Backoff> {
        let last = RETRY_PAUSES[RETRY_PAUSES.len() - 1];
        let pauses = RETRY_PAUSES.into_iter().chain(std::iter::repeat(last));
        Some(Backoff::new(pauses.map(Duration::from_millis)))
    }
}
