//! A fingerprint of everything that can be seen of a run.
//!
//! Owns the fingerprint, and for comparing two runs the lines it is made of. Two runs of one seed
//! must give the same; where they part is the first thing one wants to know.

use std::fmt::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Shared by everything that happens in a run.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    origin: Instant,
    hash: u64,
    events: u64,
    /// Kept only when somebody wants to read them.
    lines: Option<Vec<String>>,
    scratch: String,
}

impl Trace {
    /// Must be called inside the run's runtime, whose time it notes.
    pub(crate) fn new(keep_lines: bool) -> Trace {
        let inner = Inner {
            origin: Instant::now(),
            hash: OFFSET,
            events: 0,
            lines: keep_lines.then(Vec::new),
            scratch: String::new(),
        };
        Trace {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Notes one event, with the virtual time.
    pub(crate) fn note(&self, what: std::fmt::Arguments<'_>) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.scratch.clear();
        let micros = inner.origin.elapsed().as_micros();
        // Writing to a string cannot fail.
        let _ = write!(inner.scratch, "{micros} {what}");
        inner.hash = fnv(inner.hash, inner.scratch.as_bytes());
        inner.events += 1;
        if let Some(lines) = &mut inner.lines {
            lines.push(inner.scratch.clone());
        }
    }

    /// The fingerprint so far, and of how many events.
    pub(crate) fn fingerprint(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        (inner.hash, inner.events)
    }

    /// The lines so far; none unless they are kept.
    pub(crate) fn take_lines(&self) -> Vec<String> {
        self.inner.lock().lines.take().unwrap_or_default()
    }
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn order_content_and_time_count() {
        let hash = |events: &[&str]| {
            let trace = Trace::new(true);
            events
                .iter()
                .for_each(|what| trace.note(format_args!("{what}")));
            assert_eq!(trace.take_lines().len(), events.len());
            trace.fingerprint().0
        };
        assert_eq!(hash(&["a", "b"]), hash(&["a", "b"]));
        assert_ne!(hash(&["a", "b"]), hash(&["b", "a"]));
        let (early, late) = (Trace::new(false), Trace::new(false));
        early.note(format_args!("a"));
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        late.note(format_args!("a"));
        assert_ne!(early.fingerprint(), late.fingerprint());
    }
}
