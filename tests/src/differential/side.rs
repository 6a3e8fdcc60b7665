//! One of the two servers: sends one operation and takes its answer.

use std::time::Duration;

use handfast_proto::{
    etcdserverpb::{
        LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
        WatchCancelRequest, WatchCreateRequest, watch_request::RequestUnion,
    },
    mvccpb::Event,
};
use tonic::Status;

use super::{Answer, Op, watching::Stream};
use crate::{
    Result,
    client::{Client, answer},
    harness::{Server, http_get},
};

const GAUGE_POLL: Duration = Duration::from_millis(10);

/// A server with the run's watch stream and a second stream that records everything.
#[derive(Debug)]
pub(super) struct Side {
    client: Client,
    address: String,
    /// The watchers of the run.
    pub(super) watchers: Stream,
    recorder: Stream,
}

impl Side {
    /// Opens both streams; the recorder watches everything from the first revision on.
    ///
    /// # Errors
    /// When the server does not accept the recorder.
    pub(super) async fn new(server: &Server) -> Result<Self> {
        let client = server.client()?;
        let recorder = history(&client, 1).await?;
        Ok(Self {
            watchers: Stream::open(&client),
            address: server.address(),
            client,
            recorder,
        })
    }

    /// Sends `op`, whose revisions are absolute, and waits for the answer.
    pub(super) async fn send(&mut self, op: &Op) -> Answer {
        let (kv, lease) = (&mut self.client.kv, &mut self.client.lease);
        match op.clone() {
            Op::Range(request) => wrap(answer(kv.range(request)).await, Answer::Range),
            Op::Put(request) => wrap(answer(kv.put(request)).await, Answer::Put),
            Op::Delete(request) => wrap(answer(kv.delete_range(request)).await, Answer::Delete),
            Op::Txn(request) => wrap(answer(kv.txn(request)).await, Answer::Txn),
            Op::Compact(request) => wrap(answer(kv.compact(request)).await, Answer::Compact),
            Op::Grant(request) => wrap(answer(lease.lease_grant(request)).await, Answer::Grant),
            Op::Brief(request) => self.brief(request).await,
            Op::Revoke(id) => {
                let request = LeaseRevokeRequest { id };
                wrap(answer(lease.lease_revoke(request)).await, Answer::Revoke)
            }
            Op::KeepAlive(id) => self.keep_alive(id).await,
            Op::TimeToLive(request) => wrap(
                answer(lease.lease_time_to_live(request)).await,
                Answer::TimeToLive,
            ),
            Op::Leases => wrap(
                answer(lease.lease_leases(LeaseLeasesRequest {})).await,
                Answer::Leases,
            ),
            Op::Watch(request) => self.create_watcher(request).await,
            Op::Unwatch(id) => self.cancel_watcher(id).await,
        }
    }

    /// Waits until etcd has no watcher left that reads old history: it looks after those every
    /// 100 ms, and a compaction in between cancels them. Servers without the gauge need no wait.
    ///
    /// # Errors
    /// When the server's metrics cannot be read.
    pub(super) async fn watchers_are_up_to_date(&self) -> Result<()> {
        const GAUGE: &str = "etcd_debugging_mvcc_slow_watcher_total ";
        loop {
            let metrics = http_get(&self.address, "/metrics").await?;
            let gauge = metrics.lines().find_map(|line| line.strip_prefix(GAUGE));
            if gauge.is_none_or(|count| count.trim() == "0") {
                return Ok(());
            }
            tokio::time::sleep(GAUGE_POLL).await;
        }
    }

    /// Waits until the recorder has seen `revision`, and gives all events so far.
    pub(super) async fn recorded(&self, revision: i64) -> Vec<Event> {
        self.recorder
            .wait(|arrived| last_revision(arrived.events.get(&0)) >= revision)
            .await;
        self.recorder
            .look(|arrived| arrived.events.get(&0).cloned().unwrap_or_default())
    }

    /// The events from `start` to `revision`, from a watch made for this only.
    ///
    /// # Errors
    /// When the server does not accept the watch.
    pub(super) async fn replayed(&self, start: i64, revision: i64) -> Result<Vec<Event>> {
        let replay = history(&self.client, start).await?;
        replay
            .wait(|arrived| last_revision(arrived.events.get(&0)) >= revision)
            .await;
        Ok(replay.look(|arrived| arrived.events.get(&0).cloned().unwrap_or_default()))
    }

    async fn brief(&mut self, request: LeaseGrantRequest) -> Answer {
        let id = request.id;
        let granted = answer(self.client.lease.lease_grant(request)).await;
        let revoked = answer(self.client.lease.lease_revoke(LeaseRevokeRequest { id })).await;
        Answer::Many(vec![
            wrap(granted, Answer::Grant),
            wrap(revoked, Answer::Revoke),
        ])
    }

    async fn keep_alive(&mut self, id: i64) -> Answer {
        let requests = tokio_stream::iter([LeaseKeepAliveRequest { id }]);
        let call = async {
            let mut answers = self
                .client
                .lease
                .lease_keep_alive(requests)
                .await?
                .into_inner();
            let first = answers.message().await?;
            Ok(tonic::Response::new(
                first.ok_or_else(|| Status::unknown("no answer"))?,
            ))
        };
        wrap(answer(call).await, Answer::KeepAlive)
    }

    async fn create_watcher(&mut self, request: WatchCreateRequest) -> Answer {
        let before = self.watchers.look(|arrived| arrived.created.len());
        if let Err(error) = self
            .watchers
            .send(RequestUnion::CreateRequest(request))
            .await
        {
            return Answer::Error(tonic::Code::Unknown, error.to_string());
        }
        self.watchers
            .wait(|arrived| arrived.created.len() > before)
            .await;
        let reply = self
            .watchers
            .look(|arrived| arrived.created.get(before).cloned());
        reply.map_or_else(|| self.silence(), Answer::Watch)
    }

    async fn cancel_watcher(&mut self, id: i64) -> Answer {
        let before = self.canceled();
        let cancel = RequestUnion::CancelRequest(WatchCancelRequest { watch_id: id });
        if let Err(error) = self.watchers.send(cancel).await {
            return Answer::Error(tonic::Code::Unknown, error.to_string());
        }
        self.cancellation(before).await
    }

    /// How many watchers were cancelled so far.
    pub(super) fn canceled(&self) -> usize {
        self.watchers.look(|arrived| arrived.canceled.len())
    }

    /// The cancellation that comes after the first `before`.
    pub(super) async fn cancellation(&self, before: usize) -> Answer {
        self.watchers
            .wait(|arrived| arrived.canceled.len() > before)
            .await;
        let reply = self
            .watchers
            .look(|arrived| arrived.canceled.get(before).cloned());
        reply.map_or_else(|| self.silence(), Answer::Watch)
    }

    fn silence(&self) -> Answer {
        let ended = self.watchers.look(|arrived| arrived.ended.clone());
        let why = ended.unwrap_or_else(|| "no reply on the watch stream".to_owned());
        Answer::Error(tonic::Code::Unknown, why)
    }
}

/// A stream with one watcher of everything from `start` on.
async fn history(client: &Client, start: i64) -> Result<Stream> {
    let stream = Stream::open(client);
    let everything = WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        start_revision: start,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    stream.send(RequestUnion::CreateRequest(everything)).await?;
    if !stream.wait(|arrived| !arrived.created.is_empty()).await {
        return Err("the server does not answer a watch of everything".into());
    }
    Ok(stream)
}

fn last_revision(events: Option<&Vec<Event>>) -> i64 {
    let last = events
        .and_then(|events| events.last())
        .and_then(|event| event.kv.as_ref());
    // An empty store is at revision 1 and has no event.
    last.map_or(1, |pair| pair.mod_revision)
}

fn wrap<T>(answer: std::result::Result<T, Status>, kind: impl Fn(T) -> Answer) -> Answer {
    match answer {
        Ok(response) => kind(response),
        Err(status) => Answer::Error(status.code(), status.message().to_owned()),
    }
}
