//! The threads a server runs on.
//!
//! Owns them and how work reaches them. Each lane is a single-threaded runtime: the replies of one
//! batch then leave a connection in one write, where a work-stealing runtime wakes the connection
//! for each of them; measured, that halves the CPU time of a small call. It also makes a server
//! independent of the runtime of the program that embeds it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// Running lanes. Clones share them; they end when told to.
#[derive(Debug, Clone)]
pub(crate) struct Lanes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    handles: Vec<Handle>,
    next: AtomicUsize,
    stop: CancellationToken,
    threads: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    /// The caller's runtime is the only lane, and nothing may run beside it; how often what a
    /// thread would write to the state file is written then.
    inline: Option<Duration>,
}

impl Lanes {
    /// As many lanes as leave one core for the log, the disk and the kernel.
    pub(crate) fn for_this_machine() -> io::Result<Lanes> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Lanes::start(cores.saturating_sub(1).max(1))
    }

    fn start(count: usize) -> io::Result<Lanes> {
        let stop = CancellationToken::new();
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let stop = stop.clone();
            let lane = std::thread::Builder::new().name(format!("handfast-{number}"));
            threads.push(lane.spawn(move || runtime.block_on(stop.cancelled()))?);
        }
        let shared = Shared {
            handles,
            next: AtomicUsize::new(0),
            stop,
            threads: threads.into(),
            inline: None,
        };
        Ok(Lanes {
            shared: Arc::new(shared),
        })
    }

    /// The runtime this is called on, for simulations: no thread is started, and what blocks does
    /// so right there.
    pub(crate) fn inline(flush_every: Duration) -> Lanes {
        let shared = Shared {
            handles: vec![Handle::current()],
            next: AtomicUsize::new(0),
            stop: CancellationToken::new(),
            threads: parking_lot::Mutex::default(),
            inline: Some(flush_every),
        };
        Lanes {
            shared: Arc::new(shared),
        }
    }

    /// Whether everything runs on the caller's runtime.
    pub(crate) fn is_inline(&self) -> bool {
        self.shared.inline.is_some()
    }

    /// How often the state file is written, where no thread does so.
    pub(crate) fn flush_every(&self) -> Option<Duration> {
        self.shared.inline
    }

    /// Runs disk work beside the lanes, on a thread that may wait.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if self.is_inline() {
            return work();
        }
        blocking(work).await
    }

    /// The lane of everything that there is only one of.
    pub(crate) fn first(&self) -> &Handle {
        &self.shared.handles[0]
    }

    /// The lane of the next connection: each in turn.
    pub(crate) fn next(&self) -> &Handle {
        let turn = self.shared.next.fetch_add(1, Ordering::Relaxed);
        &self.shared.handles[turn % self.shared.handles.len()]
    }

    /// Ends every lane, and with it what still runs there. Returns at once.
    pub(crate) fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// Waits until the threads are gone. Blocks, so never call it on a lane.
    pub(crate) fn join(&self) {
        for thread in self.shared.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the server panicked");
            }
        }
    }
}

/// Runs disk work on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is being torn down does this; it polls nothing again.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns_and_lanes_end_when_told() {
        let lanes = Lanes::start(2).unwrap();
        let name = |handle: &Handle| {
            let (tell, told) = std::sync::mpsc::channel();
            handle.spawn(async move {
                let name = std::thread::current().name().map(str::to_owned);
                tell.send(name).unwrap();
            });
            told.recv().unwrap().unwrap()
        };
        let turns: Vec<_> = (0..3).map(|_| name(lanes.next())).collect();
        assert_eq!(turns, ["handfast-0", "handfast-1", "handfast-0"]);
        assert_eq!(name(lanes.first()), "handfast-0");
        lanes.stop();
        lanes.join();
    }
}
