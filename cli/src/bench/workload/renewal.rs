//! Renewals of many leases, as fast as the server takes them.
//!
//! Owns their spread over streams. It must not know what the leases are for.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use futures::channel::mpsc::{self, UnboundedSender};
use handfast_proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use tonic::{Status, Streaming};

use super::{Arena, for_each};
use crate::exit::Failure;

/// A stream of renewals.
pub(super) struct Renewals {
    requests: UnboundedSender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl Renewals {
    /// Opens the stream with the renewal of `first`: etcd answers nothing before it has a request.
    pub(super) async fn open(arena: &Arena, index: usize, first: i64) -> Result<Renewals, Status> {
        let (requests, receiver) = mpsc::unbounded();
        // The receiver is in our hands.
        let _ = requests.unbounded_send(LeaseKeepAliveRequest { id: first });
        let mut client = arena.lease(index);
        let answers = client.lease_keep_alive(receiver).await?.into_inner();
        Ok(Renewals { requests, answers })
    }

    /// Asks for a renewal; the answer comes in turn.
    pub(super) fn send(&self, id: i64) {
        // The stream holds the receiver as long as it answers.
        let _ = self.requests.unbounded_send(LeaseKeepAliveRequest { id });
    }

    /// The answer to the next renewal. Cancel-safe.
    pub(super) async fn answer(&mut self) -> Result<(), Status> {
        let Some(answer) = self.answers.message().await? else {
            return Err(Status::aborted("the stream of renewals ended"));
        };
        if answer.ttl <= 0 {
            return Err(Status::not_found("a lease ended while it was renewed"));
        }
        Ok(())
    }
}

/// The answer to the next renewal; never, as long as there is no stream. Cancel-safe.
pub(super) async fn answer(renewals: &mut Option<Renewals>) -> Result<(), Status> {
    match renewals {
        Some(renewals) => renewals.answer().await,
        None => std::future::pending().await,
    }
}

/// Renews all of them; when each request was sent.
pub(super) async fn renew_all(
    arena: &Rc<Arena>,
    leases: Rc<Vec<i64>>,
) -> Result<Vec<Instant>, Failure> {
    let streams = arena.channels.len().min(leases.len());
    let window = arena.args.inflight.div_ceil(streams);
    let sent = Rc::new(RefCell::new(vec![Instant::now(); leases.len()]));
    let stamps = Rc::clone(&sent);
    for_each(arena, streams, move |arena, stream| {
        let (leases, stamps) = (Rc::clone(&leases), Rc::clone(&stamps));
        async move { renew_share(&arena, &leases, stream, streams, window, &stamps).await }
    })
    .await?;
    Ok(sent.take())
}

/// Renews each `streams`-th lease over one stream.
async fn renew_share(
    arena: &Arena,
    leases: &[i64],
    stream: usize,
    streams: usize,
    window: usize,
    stamps: &RefCell<Vec<Instant>>,
) -> Result<(), Status> {
    let mut share = (stream..leases.len()).step_by(streams);
    let Some(first) = share.next() else {
        return Ok(());
    };
    stamps.borrow_mut()[first] = Instant::now();
    let mut renewals = Renewals::open(arena, stream, leases[first]).await?;
    let mut under_way = 1;
    while under_way > 0 {
        while under_way < window
            && let Some(next) = share.next()
        {
            stamps.borrow_mut()[next] = Instant::now();
            renewals.send(leases[next]);
            under_way += 1;
        }
        renewals.answer().await?;
        under_way -= 1;
    }
    Ok(())
}
