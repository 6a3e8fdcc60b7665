//! Waiting for a key to go away.
//!
//! Owns the reading of a watch on one key. Knows nothing of what the key means.

use bytes::Bytes;

use crate::{Client, EventKind, WatchEvent, WatchOptions};

/// What a wait for a key's deletion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Departure {
    /// The key was deleted at this revision.
    Deleted {
        /// The revision of the delete.
        revision: i64,
    },
    /// The watch cannot tell (any more): the history is compacted, or the server refused. Read
    /// the key.
    Unsure,
}

impl Departure {
    /// Waits until `key` is deleted at `from` or later. Cancel safe.
    ///
    /// Connection failures are healed within; all waits of a client share one watch stream.
    pub async fn of(client: &Client, key: Bytes, from: i64) -> Self {
        let mut watch = client.watch(WatchOptions::key(key).start_revision(from).no_put());
        while let Some(report) = watch.next().await {
            match report {
                Ok(WatchEvent::Events { events, .. }) => {
                    let deleted = events.iter().find(|event| event.kind == EventKind::Delete);
                    if let Some(event) = deleted {
                        return Self::Deleted {
                            revision: event.kv.mod_revision,
                        };
                    }
                }
                Ok(WatchEvent::Compacted { .. }) => return Self::Unsure,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(target: "handfast::session", %error, "watch ended");
                    return Self::Unsure;
                }
            }
        }
        Self::Unsure
    }
}
