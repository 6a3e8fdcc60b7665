//! Runs the log without a thread, one drain at a time, for a simulation that decides when the disk
//! is done. Must not know what is written.

use super::shared::Op;
use super::thread::Writer;

/// Writes a log that was opened with [`Wal::open_driven`](super::Wal::open_driven). Dropping it
/// while the log is open is a crash: what is queued fails, and so does everything after it.
#[derive(Debug)]
pub struct WalDriver {
    writer: Writer,
    queue: Queue,
}

#[derive(Default)]
struct Queue(Vec<Op>);

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl WalDriver {
    pub(super) fn new(writer: Writer) -> Self {
        Self {
            writer,
            queue: Queue::default(),
        }
    }

    /// Does what the thread does for one drain: writes everything queued with one write and one
    /// sync, then calls everybody back. Does nothing when nobody waits for anything. False once
    /// the log is closed and everything was written.
    pub fn step(&mut self) -> bool {
        let open = self.writer.shared.take_now(&mut self.queue.0);
        if !self.queue.0.is_empty() {
            self.writer.serve(&mut self.queue.0);
        }
        open
    }
}
