//! The thread that writes applied changes to the state file and sweeps compacted history.
//!
//! Owns its pace only: what is written is the store's affair. A thread and not a task, for it
//! spends its life in blocking disk calls.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use handfast_mvcc::Store;

use crate::limits;

/// The running thread; ends when dropped, without a last flush: the log has what is missing.
#[derive(Debug)]
pub(crate) struct Flusher {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

struct Control {
    store: Arc<Store>,
    sweep_pause: Duration,
    stopping: AtomicBool,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("stopping", &self.stopping)
            .finish_non_exhaustive()
    }
}

impl Flusher {
    /// Starts the thread; `sweep_pause` lies between two pieces of a sweep.
    pub(crate) fn start(store: Arc<Store>, sweep_pause: Duration) -> io::Result<Flusher> {
        let control = Control {
            store,
            sweep_pause,
            stopping: AtomicBool::new(false),
        };
        let control = Arc::new(control);
        let driven = Arc::clone(&control);
        let thread = std::thread::Builder::new()
            .name("handfast-flush".to_owned())
            .spawn(move || drive(&driven))?;
        Ok(Flusher {
            control,
            thread: Some(thread),
        })
    }

    /// Ends the thread and waits for its last flush. Blocks.
    ///
    /// # Errors
    /// That of the last flush: the state file lacks changes that the log still has.
    pub(crate) fn stop(mut self) -> Result<(), handfast_mvcc::Error> {
        self.end();
        self.control.store.flush().map(drop)
    }

    /// Ends the thread without a last flush, for data that nobody will read. Blocks.
    pub(crate) fn discard(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.control.stopping.store(true, Ordering::Release);
        self.control.store.wants_flush().notify();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the flush thread panicked; the log still has every change");
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.end();
    }
}

fn drive(control: &Control) {
    let store = &control.store;
    let stopping = || control.stopping.load(Ordering::Acquire);
    let mut last_flush = Instant::now();
    let mut sweeping = false;
    while !stopping() {
        let until_flush = limits::FLUSH_INTERVAL.saturating_sub(last_flush.elapsed());
        let pause = if sweeping {
            control.sweep_pause.min(until_flush)
        } else {
            until_flush
        };
        let wanted = store.wants_flush().wait(pause);
        if wanted || last_flush.elapsed() >= limits::FLUSH_INTERVAL {
            if !flush(control) {
                return;
            }
            last_flush = Instant::now();
        }
        sweeping = match store.sweep() {
            Ok(more) => more,
            Err(error) => {
                tracing::error!(%error, "compacted history cannot be removed; trying again");
                false
            }
        };
    }
}

/// Whether the state file can still be written; once it cannot, only a restart can help.
fn flush(control: &Control) -> bool {
    match control.store.flush() {
        Ok(_) => true,
        Err(error) => {
            // Nothing is lost: the log has every change, and a restart replays it.
            control
                .store
                .halt(&format!("the state file cannot be written: {error}"));
            false
        }
    }
}
