//! Whether anything is heard on a connection that somebody waits on.
//!
//! A member that is stopped, or behind a network that drops everything, closes no connection: only
//! silence tells. Owns noticing it and breaking the connection, so that whoever waits goes on
//! elsewhere. Knows nothing of other endpoints, nor of what is waited for.
//!
//! A probe is a small read that any member answers by itself. HTTP/2 pings would do, but Go servers
//! break connections that ping more than every few seconds.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::task::AtomicWaker;
use handfast_proto::etcdserverpb::{RangeRequest, kv_client::KvClient};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::transport::Channel;

use crate::dial::BoxStream;

/// How long a call, or the opening of a stream, waits in silence before the member is probed.
const CALL_SILENCE: Duration = Duration::from_secs(1);
/// The same for a stream, on which silence is usual.
const STREAM_SILENCE: Duration = Duration::from_millis(2500);
/// How long the answer to a probe may take; anything else that is heard counts as well.
const PROBE_LIMIT: Duration = Duration::from_millis(1500);
/// What is there to be read after this process itself stood still shall be read first.
const GRACE: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(500);

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// An answer.
    Call,
    /// Whatever comes.
    Stream,
}

/// The pulse of one channel, over all connections it makes.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    calls: Waiters,
    streams: Waiters,
    /// Counts those who began to wait.
    begun: AtomicU64,
    /// Whether a task listens.
    watched: AtomicBool,
    wire: Mutex<Option<Arc<Wire>>>,
}

#[derive(Debug, Default)]
struct Waiters {
    count: AtomicUsize,
    /// When the first of those who wait now began.
    since: Mutex<Option<Instant>>,
}

/// One connection.
#[derive(Debug)]
struct Wire {
    heard: Mutex<Instant>,
    is_dead: AtomicBool,
    reader: AtomicWaker,
}

/// Somebody who waits; dropping it says that the wait is over.
#[derive(Debug)]
pub(crate) struct Waiting {
    pulse: Arc<Pulse>,
    wait: Wait,
}

impl Pulse {
    /// Says that somebody waits on `channel`, and listens as long as anybody does.
    pub(super) fn wait(self: &Arc<Self>, channel: &Channel, wait: Wait) -> Waiting {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let waiters = self.waiters(wait);
        let mut since = waiters.since.lock();
        if waiters.count.fetch_add(1, Ordering::SeqCst) == 0 {
            *since = Some(Instant::now());
        }
        drop(since);
        // Sequentially consistent: either this sees that no task listens, or the task sees this.
        if !self.watched.swap(true, Ordering::SeqCst) {
            tokio::spawn(listen(Arc::clone(self), channel.clone()));
        }
        Waiting {
            pulse: Arc::clone(self),
            wait,
        }
    }

    /// `stream` with its reads noted.
    pub(super) fn tap(&self, stream: BoxStream) -> Tapped {
        let wire = Arc::new(Wire {
            heard: Mutex::new(Instant::now()),
            is_dead: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        });
        *self.wire.lock() = Some(Arc::clone(&wire));
        Tapped { stream, wire }
    }

    fn waiters(&self, wait: Wait) -> &Waiters {
        match wait {
            Wait::Call => &self.calls,
            Wait::Stream => &self.streams,
        }
    }

    fn is_idle(&self) -> bool {
        [&self.calls, &self.streams]
            .iter()
            .all(|waiters| waiters.count.load(Ordering::SeqCst) == 0)
    }

    /// When the silence on `wire` will have lasted too long.
    fn limit(&self, wire: &Wire) -> Option<Instant> {
        let heard = *wire.heard.lock();
        let limit = |waiters: &Waiters, silence: Duration| {
            let since = *waiters.since.lock();
            since.map(|since| since.max(heard) + silence)
        };
        let calls = limit(&self.calls, CALL_SILENCE);
        let streams = limit(&self.streams, STREAM_SILENCE);
        calls.into_iter().chain(streams).min()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waiters = self.pulse.waiters(self.wait);
        let mut since = waiters.since.lock();
        if waiters.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            *since = None;
        }
    }
}

/// Probes the member whenever it was silent for too long. Ends when nobody waits.
async fn listen(pulse: Arc<Pulse>, channel: Channel) {
    let mut seen = 0;
    loop {
        let begun = pulse.begun.load(Ordering::Relaxed);
        // Callers that come one after the other need not start a task each.
        if pulse.is_idle() && begun == seen {
            pulse.watched.store(false, Ordering::SeqCst);
            // Who came in between saw a task that listens.
            if pulse.is_idle() || pulse.watched.swap(true, Ordering::SeqCst) {
                return;
            }
        }
        seen = begun;
        let wire = pulse.wire.lock().clone();
        let limit = wire.as_ref().and_then(|wire| pulse.limit(wire));
        let tick = Instant::now() + TICK;
        match (wire, limit) {
            (Some(wire), Some(limit)) if limit <= Instant::now() => {
                if !probe(&wire, &channel).await {
                    tracing::debug!("a member fell silent");
                    wire.die();
                }
            }
            (_, limit) => sleep_until(limit.map_or(tick, |limit| limit.min(tick))).await,
        }
    }
}

/// Whether anything is heard on `wire` when the member is asked something.
async fn probe(wire: &Wire, channel: &Channel) -> bool {
    let asked = Instant::now();
    let request = RangeRequest {
        key: "\0".into(),
        count_only: true,
        serializable: true,
        ..Default::default()
    };
    let mut stub = KvClient::new(channel.clone());
    match timeout(PROBE_LIMIT, stub.range(request)).await {
        // An error is an answer too, or the connection is broken already and that is told.
        Ok(_) => {
            // Whoever came through another connection, this wire need not be asked at once.
            wire.hear();
            true
        }
        Err(_) => {
            sleep(GRACE).await;
            *wire.heard.lock() > asked
        }
    }
}

impl Wire {
    fn hear(&self) {
        *self.heard.lock() = Instant::now();
    }

    fn die(&self) {
        // Whether or not the connection notices soon, it is not probed again at once.
        self.hear();
        self.is_dead.store(true, Ordering::Release);
        self.reader.wake();
    }

    fn check(&self) -> io::Result<()> {
        if self.is_dead.load(Ordering::Acquire) {
            let silence = "nothing was heard, not even the answer to a probe";
            return Err(io::Error::new(io::ErrorKind::TimedOut, silence));
        }
        Ok(())
    }
}

/// A byte stream whose reads are noted, and which breaks when its member is silent.
pub(super) struct Tapped {
    stream: BoxStream,
    wire: Arc<Wire>,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Before the check, so that none of the two misses the other.
        self.wire.reader.register(context.waker());
        self.wire.check()?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.wire.hear();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wire.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A member that reads nothing would never let the last bytes go.
        self.wire.check()?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
