//! What writes applied changes to the state file and sweeps compacted history: a thread, for it
//! spends its life in blocking disk calls, or a task where a simulation forbids threads.
//!
//! Owns its pace only: what is written is the store's affair.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use handfast_mvcc::Store;
use tokio::task::AbortHandle;

use crate::limits;

/// The running driver; ends when dropped, without a last flush: the log has what is missing.
#[derive(Debug)]
pub(crate) struct Flusher {
    control: Arc<Control>,
    driver: Driver,
}

#[derive(Debug)]
enum Driver {
    Thread(Option<JoinHandle<()>>),
    Task(AbortHandle),
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
        let control = Control::new(store, sweep_pause);
        let driven = Arc::clone(&control);
        let thread = std::thread::Builder::new()
            .name("handfast-flush".to_owned())
            .spawn(move || drive(&driven))?;
        Ok(Flusher {
            control,
            driver: Driver::Thread(Some(thread)),
        })
    }

    /// Starts a task in place of the thread; it flushes at its own pace only. Must be called on a
    /// runtime.
    pub(crate) fn start_inline(
        store: Arc<Store>,
        sweep_pause: Duration,
        flush_every: Duration,
    ) -> Flusher {
        let control = Control::new(store, sweep_pause);
        let task = tokio::spawn(drive_inline(Arc::clone(&control), flush_every));
        Flusher {
            control,
            driver: Driver::Task(task.abort_handle()),
        }
    }

    /// Ends the driver and waits for its last flush. Blocks.
    ///
    /// # Errors
    /// That of the last flush: the state file lacks changes that the log still has.
    pub(crate) fn stop(mut self) -> Result<(), handfast_mvcc::Error> {
        self.end();
        self.control.store.flush().map(drop)
    }

    /// Ends the driver without a last flush, for data that nobody will read. Blocks.
    pub(crate) fn discard(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.control.stopping.store(true, Ordering::Release);
        match &mut self.driver {
            Driver::Thread(thread) => {
                self.control.store.wants_flush().notify();
                if let Some(thread) = thread.take()
                    && thread.join().is_err()
                {
                    tracing::error!("the flush thread panicked; the log still has every change");
                }
            }
            Driver::Task(task) => task.abort(),
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.end();
    }
}

impl Control {
    fn new(store: Arc<Store>, sweep_pause: Duration) -> Arc<Control> {
        Arc::new(Control {
            store,
            sweep_pause,
            stopping: AtomicBool::new(false),
        })
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Whether the state file can still be written; once it cannot, only a restart can help.
    fn flush(&self) -> bool {
        match self.store.flush() {
            Ok(_) => true,
            Err(error) => {
                // Nothing is lost: the log has every change, and a restart replays it.
                self.store
                    .halt(&format!("the state file cannot be written: {error}"));
                false
            }
        }
    }

    /// Whether there is more to sweep.
    fn sweep(&self) -> bool {
        self.store.sweep().unwrap_or_else(|error| {
            tracing::error!(%error, "compacted history cannot be removed; trying again");
            false
        })
    }
}

fn drive(control: &Control) {
    let mut last_flush = Instant::now();
    let mut sweeping = false;
    while !control.is_stopping() {
        let until_flush = limits::FLUSH_INTERVAL.saturating_sub(last_flush.elapsed());
        let pause = if sweeping {
            control.sweep_pause.min(until_flush)
        } else {
            until_flush
        };
        let wanted = control.store.wants_flush().wait(pause);
        if wanted || last_flush.elapsed() >= limits::FLUSH_INTERVAL {
            if !control.flush() {
                return;
            }
            last_flush = Instant::now();
        }
        sweeping = control.sweep();
    }
}

async fn drive_inline(control: Arc<Control>, flush_every: Duration) {
    while !control.is_stopping() {
        tokio::time::sleep(flush_every).await;
        if !control.flush() {
            return;
        }
        while control.sweep() {
            tokio::time::sleep(control.sweep_pause).await;
        }
    }
}
