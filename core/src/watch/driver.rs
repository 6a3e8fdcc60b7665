//! The task that keeps all watches of a client on one gRPC stream.
//!
//! Owns creating, cancelling and re-creating watches, and opening the stream again after it broke.
//! Knows nothing of namespaces, nor of who takes the reports.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use handfast_proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
    watch_client::WatchClient, watch_request::RequestUnion,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{cursor::Cursor, event::WatchEvent, queue::Queue};
use crate::{
    Error, ErrorKind,
    backoff::Backoff,
    duplex::{self, Duplex},
    error::classify::{Failure, kind_of_text},
    pool::Pool,
};

/// The id of messages that concern no watch or all of them.
const NO_WATCH: i64 = -1;
/// How handfast's members say that their own disk fails: it is not the watch that is at fault.
const UNREADABLE: &str = "etcdserver: cannot read history";
const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_LIMIT: Duration = Duration::from_secs(1);

/// The way to a client's watch task.
#[derive(Debug, Clone)]
pub(super) struct Hub {
    commands: mpsc::UnboundedSender<Command>,
    last_id: Arc<AtomicU64>,
}

#[derive(Debug)]
pub(super) enum Command {
    Open(NewWatch),
    Cancel(u64),
    /// A parked watch has room again.
    Unpark(u64),
    Progress,
}

#[derive(Debug)]
pub(super) struct NewWatch {
    pub(super) id: u64,
    pub(super) request: WatchCreateRequest,
    pub(super) queue: Arc<Queue>,
    pub(super) tell_interruptions: bool,
}

impl Hub {
    /// Starts a task that makes its streams over `pool`.
    ///
    /// A sender of its own would keep the task alive for ever: it is given no client, only the
    /// connections.
    pub(super) fn start(pool: Arc<Pool>, require_leader: bool) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        tokio::spawn(Driver::new(pool, require_leader).run(receiver));
        Self {
            commands,
            last_id: Arc::default(),
        }
    }

    /// Whether the task has ended, with its runtime.
    pub(super) fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn send(&self, command: Command) {
        // Fails only when the runtime of the task has ended, and the watches with it.
        let _ = self.commands.send(command);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is to be created as soon as there is a stream.
    Waiting,
    /// The server was asked to create it.
    Creating,
    /// It is in place under this id of the server.
    Live(i64),
    /// Its queue is full and the server was told to cancel it.
    Parked,
}

struct Watch {
    request: WatchCreateRequest,
    cursor: Cursor,
    queue: Arc<Queue>,
    tell_interruptions: bool,
    phase: Phase,
    announced: bool,
    /// Whether the stream broke since the last report.
    broke: bool,
    /// Whether it reported anything since it was last created.
    productive: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Also when the task ends with its runtime: nobody shall wait for ever.
        self.queue.close();
    }
}

type Stream = Duplex<WatchRequest, WatchResponse>;

enum Connection {
    Closed,
    Open(Stream),
    Waiting { until: Instant, avoid: usize },
}

enum Step {
    Command(Option<Command>),
    Reply(Result<WatchResponse, Failure>),
    Retry { avoid: usize },
}

struct Driver {
    pool: Arc<Pool>,
    require_leader: bool,
    watches: BTreeMap<u64, Watch>,
    connection: Connection,
    /// Watches the server was asked to create, in the order it will answer.
    creating: VecDeque<u64>,
    /// Which watch the server means by its id.
    live: BTreeMap<i64, u64>,
    backoff: Backoff,
}

impl Driver {
    fn new(pool: Arc<Pool>, require_leader: bool) -> Self {
        let backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(pool.chance());
        Self {
            pool,
            require_leader,
            watches: BTreeMap::new(),
            connection: Connection::Closed,
            creating: VecDeque::new(),
            live: BTreeMap::new(),
            backoff,
        }
    }

    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            // Commands first: a flood of changes shall not keep a caller from cancelling.
            let step = tokio::select! {
                biased;
                command = commands.recv() => Step::Command(command),
                step = self.connection.step() => step,
            };
            match step {
                Step::Command(None) => return,
                Step::Command(Some(command)) => self.obey(command),
                Step::Reply(Ok(response)) => self.take(response),
                Step::Reply(Err(failure)) => self.broken(failure),
                Step::Retry { avoid } => self.open(Some(avoid)),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open(NewWatch {
                id,
                request,
                queue,
                tell_interruptions,
            }) => {
                let cursor = Cursor::new(request.start_revision);
                let watch = Watch {
                    request,
                    cursor,
                    queue,
                    tell_interruptions,
                    phase: Phase::Waiting,
                    announced: false,
                    broke: false,
                    productive: false,
                };
                self.watches.insert(id, watch);
                self.create(id);
            }
            Command::Cancel(id) => {
                if let Some(watch) = self.watches.remove(&id)
                    && let Phase::Live(server_id) = watch.phase
                {
                    self.cancel(server_id);
                }
                // One that is being created keeps its place in the order of answers.
                if self.watches.is_empty() {
                    self.close();
                }
            }
            Command::Unpark(id) => {
                if let Some(watch) = self.watches.get_mut(&id)
                    && watch.phase == Phase::Parked
                {
                    watch.phase = Phase::Waiting;
                    self.create(id);
                }
            }
            Command::Progress => {
                if let Connection::Open(stream) = &self.connection {
                    let union = RequestUnion::ProgressRequest(WatchProgressRequest {});
                    stream.send(WatchRequest {
                        request_union: Some(union),
                    });
                }
            }
        }
    }

    /// Asks for watch `id`, opening a stream if there is none.
    fn create(&mut self, id: u64) {
        match &self.connection {
            Connection::Closed => self.open(None),
            Connection::Waiting { .. } => {}
            Connection::Open(stream) => {
                let Some(watch) = self.watches.get_mut(&id) else {
                    return;
                };
                let mut request = watch.request.clone();
                request.start_revision = watch.cursor.next();
                let union = RequestUnion::CreateRequest(request);
                stream.send(WatchRequest {
                    request_union: Some(union),
                });
                watch.phase = Phase::Creating;
                watch.productive = false;
                self.creating.push_back(id);
            }
        }
    }

    fn cancel(&mut self, server_id: i64) {
        self.live.remove(&server_id);
        if let Connection::Open(stream) = &self.connection {
            let union = RequestUnion::CancelRequest(WatchCancelRequest {
                watch_id: server_id,
            });
            stream.send(WatchRequest {
                request_union: Some(union),
            });
        }
    }

    fn open(&mut self, avoid: Option<usize>) {
        let index = self.pool.pick(avoid);
        let stream = Stream::open(
            &self.pool,
            index,
            self.require_leader,
            |channel, request| async move {
                let stub = WatchClient::new(channel);
                stub.max_decoding_message_size(usize::MAX)
                    .watch(request)
                    .await
            },
        );
        self.connection = Connection::Open(stream);
        let waiting: Vec<u64> = self
            .watches
            .iter()
            .filter(|(_, watch)| watch.phase == Phase::Waiting)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.create(id);
        }
    }

    fn close(&mut self) {
        self.connection = Connection::Closed;
        self.creating.clear();
        self.live.clear();
    }

    /// The stream is over: all its watches wait for the next, unless that could not help.
    fn broken(&mut self, failure: Failure) {
        let Connection::Open(stream) = &self.connection else {
            return;
        };
        let index = stream.index();
        tracing::debug!(
            endpoint = %self.pool.url(index),
            error = %failure.message,
            watches = self.watches.len(),
            "the watch stream broke"
        );
        self.close();
        if duplex::is_final(&failure) {
            let error = failure.into_error("watch", &self.pool.url(index), false);
            for watch in std::mem::take(&mut self.watches).into_values() {
                watch.queue.end(Err(error.clone()));
            }
            return;
        }
        let mut wanted = false;
        for watch in self.watches.values_mut() {
            watch.cursor.broken();
            if watch.tell_interruptions && !watch.broke {
                // Reports without changes are always taken.
                let _ = watch.queue.push(WatchEvent::Interrupted);
            }
            watch.broke = true;
            if watch.phase != Phase::Parked {
                watch.phase = Phase::Waiting;
                wanted = true;
            }
        }
        if wanted {
            let until = Instant::now() + self.backoff.next();
            self.connection = Connection::Waiting {
                until,
                avoid: index,
            };
        }
    }

    fn take(&mut self, response: WatchResponse) {
        if response.created {
            return self.created(response);
        }
        if response.watch_id == NO_WATCH {
            let revision = response.header.map_or(0, |header| header.revision);
            return self.progress(revision);
        }
        let Some(&id) = self.live.get(&response.watch_id) else {
            return;
        };
        if response.canceled {
            self.live.remove(&response.watch_id);
            return self.cancelled(id, response);
        }
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        let mark = watch.cursor.mark();
        let server_id = response.watch_id;
        if let Some(event) = watch.cursor.take(response) {
            watch.productive = true;
            if watch.queue.push(event).is_err() {
                watch.cursor.rewind(mark);
                watch.phase = Phase::Parked;
                self.cancel(server_id);
            }
        }
    }

    /// The answer to the oldest request that is not answered yet.
    fn created(&mut self, response: WatchResponse) {
        if let Connection::Open(stream) = &self.connection {
            self.pool.succeeded(stream.index());
        }
        self.backoff.reset();
        let Some(id) = self.creating.pop_front() else {
            return;
        };
        if response.canceled {
            return self.cancelled(id, response);
        }
        let server_id = response.watch_id;
        let Some(watch) = self.watches.get_mut(&id) else {
            // Cancelled in the meantime.
            return self.cancel(server_id);
        };
        let revision = response.header.map_or(0, |header| header.revision);
        watch.cursor.created(revision);
        watch.phase = Phase::Live(server_id);
        let report = match (watch.announced, watch.broke) {
            (false, _) => Some(WatchEvent::Created { revision }),
            (true, true) => Some(WatchEvent::Resumed {
                revision: watch.cursor.next(),
            }),
            (true, false) => None,
        };
        watch.announced = true;
        watch.broke = false;
        if let Some(report) = report {
            // Reports without changes are always taken.
            let _ = watch.queue.push(report);
        }
        self.live.insert(server_id, id);
    }

    /// The server refused watch `id`, or ended it.
    fn cancelled(&mut self, id: u64, response: WatchResponse) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        if response.cancel_reason.starts_with(UNREADABLE) {
            watch.phase = Phase::Waiting;
            return self.broken(Failure::of_server(response.cancel_reason));
        }
        let kind = kind_of_text(&response.cancel_reason);
        if response.compact_revision > 0 || kind == ErrorKind::Compacted {
            let compact_revision = response.compact_revision;
            watch
                .queue
                .end(Ok(WatchEvent::Compacted { compact_revision }));
        } else if !response.created && watch.productive {
            // It worked until now, so it is worth going on where it stopped.
            watch.phase = Phase::Waiting;
            watch.cursor.broken();
            watch.broke = true;
            return self.create(id);
        } else {
            let message = match response.cancel_reason {
                reason if reason.is_empty() => "the server ended the watch".to_owned(),
                reason => reason,
            };
            let mut error = Error::local(kind, "watch", message);
            if let Connection::Open(stream) = &self.connection {
                error = error.with_endpoint(&self.pool.url(stream.index()));
            }
            watch.queue.end(Err(error));
        }
        self.watches.remove(&id);
        if self.watches.is_empty() {
            self.close();
        }
    }

    /// Nothing up to `revision` is still to come for any watch of the stream.
    fn progress(&mut self, revision: i64) {
        for watch in self.watches.values_mut() {
            if matches!(watch.phase, Phase::Live(_))
                && let Some(event) = watch.cursor.progress(revision)
            {
                // Reports without changes are always taken.
                let _ = watch.queue.push(event);
            }
        }
    }
}

impl Connection {
    async fn step(&mut self) -> Step {
        match self {
            Self::Closed => std::future::pending().await,
            Self::Open(stream) => Step::Reply(stream.next().await),
            Self::Waiting { until, avoid } => {
                sleep_until(*until).await;
                Step::Retry { avoid: *avoid }
            }
        }
    }
}
