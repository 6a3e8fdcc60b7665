//! The way of proposals from this member to the leader.
//!
//! Owns one pipe to whoever leads, for a call of its own per proposal costs three writes and as
//! many wake-ups on the leader, where a pipe takes one. Answers come in the order of the log, so
//! waiting in line costs nothing. Must not know what is proposed, nor whether it is tried again.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use handfast_proto::peer::{Response, request, response};
use tokio::sync::{mpsc, oneshot};

use crate::{
    ask::{AskError, Peers},
    peer::{Pipe, Unreachable},
};

/// Proposals that may wait for the pipe before a sender has to wait itself.
const QUEUE: usize = 16;
/// Unanswered proposals at which a pipe is given up: a leader that answers none of them is stuck,
/// and more would only fill its memory.
const UNANSWERED: usize = 32;

type Reply = oneshot::Sender<Result<response::Body, AskError>>;

/// Something for the leader, and whoever waits for the answer.
pub(crate) struct Parcel {
    leader: u64,
    body: request::Body,
    reply: Reply,
}

/// The way in. Clones share it.
#[derive(Clone)]
pub(crate) struct Forwarder {
    queue: mpsc::Sender<Parcel>,
}

impl Forwarder {
    /// The way in, and what [`Carrier::run`] takes from it.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Parcel>) {
        let (queue, parcels) = mpsc::channel(QUEUE);
        (Self { queue }, parcels)
    }

    /// Asks the leader, `timeout` at the longest. Cancel safe in that nothing is lost here; what
    /// was asked for may still happen.
    pub(crate) async fn ask(
        &self,
        leader: u64,
        body: request::Body,
        timeout: Duration,
    ) -> Result<response::Body, AskError> {
        let (reply, answer) = oneshot::channel();
        let parcel = Parcel {
            leader,
            body,
            reply,
        };
        let asking = async {
            let sent = self.queue.send(parcel).await;
            sent.map_err(|_| lost(leader, "this member is stopping", true))?;
            let answer = answer.await;
            answer.unwrap_or_else(|_| Err(lost(leader, "the connection has ended", false)))
        };
        tokio::time::timeout(timeout, asking)
            .await
            .unwrap_or_else(|_| Err(lost(leader, "no answer in time", false)))
    }
}

fn lost(to: u64, detail: &str, certain: bool) -> AskError {
    AskError::Unreachable {
        to,
        source: Unreachable {
            detail: detail.to_owned(),
            certain,
        },
    }
}

/// An open pipe, and who waits for its answers, in order. Dropping it tells them all.
struct Way {
    leader: u64,
    pipe: Pipe,
    unanswered: VecDeque<Reply>,
}

impl Way {
    /// The next answer; pending while nobody waits for one.
    async fn answer(&mut self) -> Option<Result<Response, Unreachable>> {
        match self.unanswered.is_empty() {
            true => std::future::pending().await,
            false => self.pipe.responses.recv().await,
        }
    }

    fn leads_to(&self, leader: u64) -> bool {
        self.leader == leader
            && !self.pipe.requests.is_closed()
            && self.unanswered.len() < UNANSWERED
    }
}

/// Carries proposals to the leader.
pub(crate) struct Carrier {
    pub(crate) peers: Arc<Peers>,
    /// How long a pipe may take to open.
    pub(crate) patience: Duration,
}

impl Carrier {
    /// Runs until every sender of `parcels` is gone.
    pub(crate) async fn run(self, mut parcels: mpsc::Receiver<Parcel>) {
        let mut way: Option<Way> = None;
        loop {
            let answer = async {
                match &mut way {
                    Some(way) => way.answer().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = answer => way = self.answered(way.take(), answer),
                parcel = parcels.recv() => match parcel {
                    Some(parcel) => way = self.send(way.take(), parcel).await,
                    None => return,
                },
            }
        }
    }

    /// Passes an answer on. A pipe that brought none is not used again.
    fn answered(
        &self,
        way: Option<Way>,
        answer: Option<Result<Response, Unreachable>>,
    ) -> Option<Way> {
        let mut way = way?;
        let reply = way.unanswered.pop_front()?;
        let leader = way.leader;
        match answer {
            Some(Ok(response)) => {
                // Whoever gave up meanwhile does not mind.
                let _ = reply.send(self.peers.open(leader, response));
                Some(way)
            }
            Some(Err(source)) => {
                let to = leader;
                let _ = reply.send(Err(AskError::Unreachable { to, source }));
                None
            }
            None => None,
        }
    }

    /// Puts a parcel on the pipe to its leader, after opening one if need be.
    async fn send(&self, way: Option<Way>, parcel: Parcel) -> Option<Way> {
        let Parcel {
            leader,
            body,
            reply,
        } = parcel;
        let mut way = match way.filter(|way| way.leads_to(leader)) {
            Some(way) => way,
            None => match self.open(leader).await {
                Ok(way) => way,
                Err(error) => {
                    let _ = reply.send(Err(error));
                    return None;
                }
            },
        };
        let request = self.peers.envelope(leader, body);
        if way.pipe.requests.send(request).await.is_err() {
            let _ = reply.send(Err(lost(leader, "the connection has ended", true)));
            return None;
        }
        way.unanswered.push_back(reply);
        Some(way)
    }

    async fn open(&self, leader: u64) -> Result<Way, AskError> {
        let opening = tokio::time::timeout(self.patience, self.peers.pipe(leader));
        let pipe = opening
            .await
            .unwrap_or_else(|_| Err(lost(leader, "no connection in time", true)))?;
        Ok(Way {
            leader,
            pipe,
            unanswered: VecDeque::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use handfast_proto::{
        command::MemberInfo,
        peer::{Proposed, ReadIndex, Request},
    };
    use parking_lot::Mutex;

    use super::*;

    /// The other end of a pipe.
    struct End {
        to: u64,
        requests: mpsc::Receiver<Request>,
        answers: mpsc::Sender<Result<Response, Unreachable>>,
    }

    impl End {
        async fn answer(&mut self) {
            self.requests.recv().await.unwrap();
            let body = Some(response::Body::Proposed(Proposed::default()));
            self.answers.send(Ok(Response { body })).await.unwrap();
        }
    }

    /// Hands the other ends of its pipes to the test.
    #[derive(Debug)]
    struct Pipes(Mutex<mpsc::UnboundedSender<End>>);

    impl crate::peer::Transport for Pipes {
        fn call(
            &self,
            _: &MemberInfo,
            _: Request,
            _: Duration,
        ) -> BoxFuture<'static, Result<Response, Unreachable>> {
            unreachable!("proposals take the pipe")
        }

        fn pipe(&self, to: &MemberInfo) -> BoxFuture<'static, Result<Pipe, Unreachable>> {
            let (requests, incoming) = mpsc::channel(64);
            let (answers, responses) = mpsc::channel(64);
            let end = End {
                to: to.id,
                requests: incoming,
                answers,
            };
            drop(self.0.lock().send(end));
            let pipe = Pipe {
                requests,
                responses,
            };
            Box::pin(async { Ok(pipe) })
        }
    }

    fn forwarder() -> (Forwarder, mpsc::UnboundedReceiver<End>) {
        let (made, ends) = mpsc::unbounded_channel();
        let peers = Peers::new(1, 9, Arc::new(Pipes(Mutex::new(made))));
        let member = |id| MemberInfo {
            id,
            ..Default::default()
        };
        peers.learn(vec![member(1), member(2), member(3)], Some(1), true);
        let (forwarder, parcels) = Forwarder::new();
        let carrier = Carrier {
            peers: Arc::new(peers),
            patience: Duration::from_secs(1),
        };
        tokio::spawn(carrier.run(parcels));
        (forwarder, ends)
    }

    fn ask(
        forwarder: &Forwarder,
        leader: u64,
    ) -> tokio::task::JoinHandle<Result<response::Body, AskError>> {
        let forwarder = forwarder.clone();
        let body = request::Body::ReadIndex(ReadIndex {});
        tokio::spawn(async move { forwarder.ask(leader, body, Duration::from_secs(60)).await })
    }

    #[tokio::test]
    async fn proposals_to_one_leader_share_a_pipe() {
        let (forwarder, mut ends) = forwarder();
        let (one, two) = (ask(&forwarder, 2), ask(&forwarder, 2));
        let mut end = ends.recv().await.unwrap();
        end.answer().await;
        end.answer().await;
        assert!(one.await.unwrap().is_ok());
        assert!(two.await.unwrap().is_ok());
        assert!(ends.try_recv().is_err());
    }

    #[tokio::test]
    async fn what_a_broken_pipe_took_along_is_in_doubt_and_the_next_takes_a_new_one() {
        let (forwarder, mut ends) = forwarder();
        let asked = ask(&forwarder, 2);
        let mut end = ends.recv().await.unwrap();
        end.requests.recv().await.unwrap();
        drop(end);
        let error = asked.await.unwrap().unwrap_err();
        assert!(!error.nothing_done(), "{error}");
        let again = ask(&forwarder, 2);
        ends.recv().await.unwrap().answer().await;
        assert!(again.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn another_leader_gets_another_pipe_and_the_old_ones_answers_are_not_waited_for() {
        let (forwarder, mut ends) = forwarder();
        let old = ask(&forwarder, 2);
        let mut first = ends.recv().await.unwrap();
        first.requests.recv().await.unwrap();
        let new = ask(&forwarder, 3);
        let mut second = ends.recv().await.unwrap();
        assert_eq!((first.to, second.to), (2, 3));
        second.answer().await;
        assert!(new.await.unwrap().is_ok());
        assert!(!old.await.unwrap().unwrap_err().nothing_done());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_answers_nothing_loses_its_pipe() {
        let (forwarder, mut ends) = forwarder();
        let mut asked: Vec<_> = (0..UNANSWERED).map(|_| ask(&forwarder, 2)).collect();
        let _stuck = ends.recv().await.unwrap();
        asked.push(ask(&forwarder, 2));
        ends.recv().await.unwrap().answer().await;
        assert!(asked.pop().unwrap().await.unwrap().is_ok());
        for given_up in asked {
            assert!(!given_up.await.unwrap().unwrap_err().nothing_done());
        }
    }

    #[tokio::test]
    async fn nobody_is_asked_who_is_not_a_member() {
        let (forwarder, _ends) = forwarder();
        let error = ask(&forwarder, 7).await.unwrap().unwrap_err();
        assert!(error.nothing_done(), "{error}");
    }
}
