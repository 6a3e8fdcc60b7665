//! Log records on their way to the host's own logging.
//!
//! Owns a bounded channel and the one thread that empties it, so that no thread of the runtime
//! ever waits for an interpreter. What does not fit is dropped, counted and reported. Knows
//! nothing of what the host does with a record.

use std::{
    fmt::{self, Write},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tracing::{Event, Level, Metadata, Subscriber, field::Field, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// Records that may wait for the host.
pub const CAPACITY: usize = 2048;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How grave it is.
    pub level: Level,
    /// Where it comes from, such as `handfast.session`.
    pub target: String,
    /// The text, with the fields behind it.
    pub message: String,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}

/// Takes records, on a thread of their own; `false` when nobody takes them any more.
pub type Sink = Box<dyn Fn(Record) -> bool + Send>;

enum Message {
    Record(Record),
    Flush(SyncSender<()>),
}

struct Forwarder {
    pid: u32,
    queue: SyncSender<Message>,
    sink: Arc<Mutex<Option<Sink>>>,
}

// Threads do not survive a fork: a child starts a forwarder of its own.
static FORWARDER: ArcSwapOption<Forwarder> = ArcSwapOption::const_empty();
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// As [`rank`] counts; 0 is silence.
static LEVEL: AtomicUsize = AtomicUsize::new(0);

/// Sends records of `level` and graver ones to `sink` from now on, instead of the one before.
///
/// A program that has installed a `tracing` subscriber of its own keeps that one: then `false`.
///
/// # Errors
/// When the system gives no thread.
pub fn install(level: Level, sink: Sink) -> std::io::Result<bool> {
    let forwarder = forwarder()?;
    *forwarder.sink.lock() = Some(sink);
    let subscriber = tracing_subscriber::registry().with(ToForwarder);
    let first = tracing::subscriber::set_global_default(subscriber).is_ok();
    static OURS: std::sync::OnceLock<()> = std::sync::OnceLock::new();
    if first {
        // Set once in a process; a second time finds it set by us.
        let _ = OURS.set(());
    }
    set_level(Some(level));
    Ok(OURS.get().is_some())
}

/// Forgets the sink; records cost next to nothing from now on.
pub fn remove() {
    set_level(None);
    if let Some(forwarder) = FORWARDER.load_full() {
        *forwarder.sink.lock() = None;
    }
}

/// Changes which records are made at all.
pub fn set_level(level: Option<Level>) {
    LEVEL.store(level.map_or(0, rank), Ordering::Relaxed);
    // Every place that logs remembers whether anybody listens.
    tracing::callsite::rebuild_interest_cache();
}

/// Counts a record that the host's own queue had no room for; it is reported with the next one.
pub fn note_dropped() {
    DROPPED.fetch_add(1, Ordering::Relaxed);
}

/// Waits until the records made so far were given to the sink, for at most `limit`; whether they
/// were.
#[must_use]
pub fn flush(limit: Duration) -> bool {
    let Some(forwarder) = FORWARDER.load_full() else {
        return true;
    };
    let (done, wait) = sync_channel(1);
    let sent = forwarder.queue.try_send(Message::Flush(done));
    sent.is_ok() && !matches!(wait.recv_timeout(limit), Err(RecvTimeoutError::Timeout))
}

fn forwarder() -> std::io::Result<Arc<Forwarder>> {
    let current = FORWARDER.load_full();
    if let Some(forwarder) = current.filter(|it| it.pid == process::id()) {
        return Ok(forwarder);
    }
    let (queue, taken) = sync_channel(CAPACITY);
    let sink: Arc<Mutex<Option<Sink>>> = Arc::default();
    let made = Arc::new(Forwarder {
        pid: process::id(),
        queue,
        sink: Arc::clone(&sink),
    });
    thread::Builder::new()
        .name("handfast-log".to_owned())
        .spawn(move || forward(&taken, &sink))?;
    FORWARDER.store(Some(Arc::clone(&made)));
    Ok(made)
}

fn forward(taken: &Receiver<Message>, sink: &Mutex<Option<Sink>>) {
    // Ends when another forwarder has replaced this one.
    while let Ok(message) = taken.recv() {
        match message {
            Message::Flush(done) => drop(done),
            Message::Record(record) => {
                let dropped = DROPPED.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    give(sink, drops(dropped));
                }
                give(sink, record);
            }
        }
    }
}

fn give(sink: &Mutex<Option<Sink>>, record: Record) {
    let mut current = sink.lock();
    let kept = current.as_ref().is_some_and(|sink| sink(record));
    if !kept {
        *current = None;
    }
}

fn drops(count: u64) -> Record {
    Record {
        level: Level::WARN,
        target: "handfast.log".to_owned(),
        message: format!("{count} log records were dropped: they came faster than they were taken"),
        unix_ms: now(),
    }
}

fn rank(level: Level) -> usize {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// `handfast_core::session` as hosts name their loggers: `handfast.core.session`.
fn host_name(target: &str) -> String {
    let known = target.strip_prefix("handfast_");
    let dotted = |rest: &str| rest.replace("::", ".");
    match known {
        Some(rest) => format!("handfast.{}", dotted(rest)),
        None => dotted(target),
    }
}

struct ToForwarder;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ToForwarder {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        rank(*metadata.level()) <= LEVEL.load(Ordering::Relaxed)
            && metadata.target().starts_with("handfast")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let levels = [
            LevelFilter::OFF,
            LevelFilter::ERROR,
            LevelFilter::WARN,
            LevelFilter::INFO,
            LevelFilter::DEBUG,
        ];
        let level = LEVEL.load(Ordering::Relaxed);
        Some(levels.get(level).copied().unwrap_or(LevelFilter::TRACE))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(forwarder) = FORWARDER.load_full() else {
            return;
        };
        let mut text = Text::default();
        event.record(&mut text);
        let record = Record {
            level: *event.metadata().level(),
            target: host_name(event.metadata().target()),
            message: text.message + &text.fields,
            unix_ms: now(),
        };
        if let Err(TrySendError::Full(_)) = forwarder.queue.try_send(Message::Record(record)) {
            note_dropped();
        }
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl tracing::field::Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test, for the subscriber is the process's.
    #[test]
    fn records_reach_the_sink_and_too_many_are_counted() {
        let (told, heard) = std::sync::mpsc::channel();
        let (gate, blocked) = sync_channel::<()>(0);
        let blocked = Mutex::new(Some(blocked));
        let sink = move |record: Record| {
            if let Some(blocked) = blocked.lock().take() {
                let _ = blocked.recv();
            }
            told.send(record).is_ok()
        };
        assert!(install(Level::INFO, Box::new(sink)).unwrap());
        tracing::debug!(target: "handfast::session", "not asked for");
        tracing::info!(target: "other", "not ours");
        tracing::info!(target: "handfast_core::session", lease = 7, "began");
        // The first waits in the sink, so the channel fills up behind it.
        for number in 0..CAPACITY + 10 {
            tracing::warn!(target: "handfast::line", number, "many");
        }
        drop(gate);
        let first = heard.recv().unwrap();
        assert_eq!(first.target, "handfast.core.session");
        assert_eq!(first.message, "began lease=7");
        let report = heard
            .iter()
            .find(|record| record.target == "handfast.log")
            .unwrap();
        assert!(report.message.contains("were dropped"), "{report:?}");
        assert!(flush(Duration::from_secs(60)));

        set_level(Some(Level::DEBUG));
        tracing::debug!(target: "handfast::session", "asked for");
        assert!(heard.iter().any(|record| record.message == "asked for"));
        remove();
        tracing::error!(target: "handfast::session", "nobody listens");
        assert!(flush(Duration::from_secs(60)));
        assert!(
            heard
                .try_iter()
                .all(|record| record.message != "nobody listens")
        );
    }
}
