//! The way of the log into the store.
//!
//! Owns the order of an apply: make room, decode, change everything in one hold of the lock, tell
//! the watchers. Must not know what a command does.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use handfast_fault::{Fault, active};
use handfast_proto::{
    Message,
    command::{Command, command::Op},
};
use handfast_storage::LogPosition;

use crate::{
    Applied, Error, LogEntry, Outcome, Payload, Store, apply::Writer, fingerprint::digest,
    keyspace::Keyspace, lease::Lessor, shared::Shared, signal::FLUSH_BYTES,
};

/// With [`Fault::ApplyOutOfOrder`], every such call of `apply` swaps two commands. Members group
/// the log into calls differently, so it shows on some of them only.
const SWAPPING_CALL: u64 = 16;

impl Store {
    /// Applies committed entries in order, one answer each; readers and watchers see all of them
    /// at once. Entries of one position must come in one call.
    ///
    /// Flushes first, and blocks on that, when too much is not flushed. After an
    /// [`Error::Halted`] or [`Error::Storage`] the entry is not applied, and the store must be
    /// reopened.
    pub fn apply(&self, entries: Vec<LogEntry>) -> Vec<Applied> {
        let _applying = self.applying.lock();
        self.make_room();
        let mut decoded: Vec<_> = entries.into_iter().map(Decoded::new).collect();
        let swapped = active(Fault::ApplyOutOfOrder) && self.swap_last(&mut decoded);
        let mut answers = Vec::with_capacity(decoded.len());
        {
            let mut shared = self.shared.write();
            for entry in decoded {
                answers.push(shared.apply(entry, &self.lessor));
            }
            let batch = shared.keyspace.end_batch();
            self.hub.publish(&batch);
            self.alarm_kinds
                .store(shared.cluster.kinds(), Ordering::Relaxed);
        }
        if swapped && let [.., first, second] = &mut answers[..] {
            std::mem::swap(first, second);
        }
        if self.recent.unflushed_bytes() >= FLUSH_BYTES {
            self.signal.notify();
        }
        answers
    }

    /// Swaps what the last two entries say, in some calls; whether it did.
    fn swap_last(&self, entries: &mut [Decoded]) -> bool {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let [.., first, second] = entries else {
            return false;
        };
        if !calls.is_multiple_of(SWAPPING_CALL) {
            return false;
        }
        std::mem::swap(&mut first.content, &mut second.content);
        std::mem::swap(&mut first.digest, &mut second.digest);
        true
    }

    /// Waits for a flush when too much is only in memory.
    fn make_room(&self) {
        while self.recent.unflushed_bytes() > self.options.unflushed_limit_bytes {
            if let Err(error) = self.flush() {
                self.shared.write().keyspace.halt(&error);
                return;
            }
        }
    }
}

/// An entry, decoded before the lock is taken.
struct Decoded {
    position: LogPosition,
    /// Of the command; 0 for a membership, whose encoding may change from version to version.
    digest: u64,
    content: Content,
}

enum Content {
    Blank,
    Op(Op),
    Membership(Bytes),
    Malformed(String),
}

impl Decoded {
    fn new(entry: LogEntry) -> Self {
        let digest = match &entry.payload {
            Payload::Command(bytes) => digest(bytes),
            Payload::Blank | Payload::Membership(_) => 0,
        };
        let content = match entry.payload {
            Payload::Blank => Content::Blank,
            // A copy, for the payload may be a slice of a whole segment of the log.
            Payload::Membership(bytes) => Content::Membership(Bytes::copy_from_slice(&bytes)),
            Payload::Command(bytes) => match Command::decode(bytes).map(|command| command.op) {
                Ok(Some(op)) => Content::Op(op),
                Ok(None) => Content::Malformed("a command that names no operation".into()),
                Err(error) => Content::Malformed(error.to_string()),
            },
        };
        Self {
            position: entry.position,
            digest,
            content,
        }
    }
}

impl Shared {
    fn apply(&mut self, entry: Decoded, lessor: &Lessor) -> Applied {
        if let Some(reason) = &self.keyspace.halted {
            let result = Err(Error::Halted(reason.clone()));
            return Applied {
                revision: self.keyspace.revision,
                result,
            };
        }
        debug_assert!(
            self.applied <= Some(entry.position),
            "entries come in order"
        );
        let batched = self.keyspace.batched();
        let result = match entry.content {
            Content::Blank => Ok(Outcome::Blank),
            Content::Malformed(detail) => Err(Error::Malformed(detail)),
            Content::Membership(membership) => {
                self.membership = Some(membership);
                self.membership_changed = true;
                Ok(Outcome::Blank)
            }
            Content::Op(op) => {
                let mut writer = Writer {
                    keyspace: &mut self.keyspace,
                    lessor,
                    lease_changes: &mut self.lease_changes,
                    cluster: &mut self.cluster,
                };
                writer.run(&op, entry.position.term)
            }
        };
        let answer = Applied {
            revision: self.keyspace.revision,
            result,
        };
        match &answer.result {
            Err(error @ (Error::Storage(_) | Error::Halted(_))) => self.keyspace.halt(error),
            _ => {
                self.applied = Some(entry.position);
                let Keyspace { compacted, .. } = self.keyspace;
                let events = self.keyspace.events_after(batched);
                self.fingerprint
                    .note(entry.position, entry.digest, &answer, compacted, events);
            }
        }
        answer
    }
}
