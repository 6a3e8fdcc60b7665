//! The task that keeps a session's record and notices when it is gone.
//!
//! Owns writing `_handfast/session/<lease>`, watching it and reading it again now and then. The
//! record goes with the lease, so its deletion tells of a revoked lease as fast as an event can;
//! whoever kills the session writes into it before, so its history tells by whom and why.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    epoch::Core,
    record::{Note, SessionRecord},
    state::LostReason,
};
use crate::{
    Client, Compare, Error, ErrorKind, EventKind, Op, WatchEvent, WatchOptions, backoff::Backoff,
};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_LIMIT: Duration = Duration::from_secs(5);

/// Runs until the lease is lost, which it may be the first to tell.
pub(crate) async fn run(core: Arc<Core>) {
    tokio::select! {
        biased;
        _ = core.life.ended() => {}
        reason = keep(&core) => {
            core.life.end(reason);
        }
    }
}

async fn keep(core: &Core) -> LostReason {
    let Some(created) = write(core).await else {
        return LostReason::Revoked;
    };
    let mut from = created + 1;
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(core.client.chance());
    loop {
        let interval = core
            .options
            .verify_interval
            .mul_f64(core.client.chance().factor(0.8, 1.2));
        tokio::select! {
            biased;
            news = News::of(&core.client, core.record_key(), from) => match news {
                News::Killed(note) => return killed(note),
                News::Deleted => {}
                News::Unsure => tokio::time::sleep(backoff.next()).await,
            },
            () = tokio::time::sleep(interval) => {}
        }
        match look(&core.client, core, created).await {
            Ok(Seen::There { revision }) => {
                from = revision + 1;
                backoff.reset();
            }
            Ok(Seen::Killed(note)) => return killed(note),
            Ok(Seen::Gone) => {
                core.life.revoked();
                // What the present does not tell, the history may.
                return match News::of(&core.client, core.record_key(), from).await {
                    News::Killed(note) => killed(note),
                    News::Deleted | News::Unsure => LostReason::Revoked,
                };
            }
            Ok(Seen::OtherData) => return LostReason::Restored,
            Err(_) => tokio::time::sleep(backoff.next()).await,
        }
    }
}

/// Writes the record; returns its revision, or `None` when the lease is gone.
async fn write(core: &Core) -> Option<i64> {
    let value = SessionRecord::of(&core.client, &core.options.app).to_value();
    let key = core.record_key();
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(core.client.chance());
    loop {
        let written = core
            .client
            .txn()
            .when([Compare::create_revision(&key).eq(0)])
            .then([Op::put(&key, &value).lease(core.lease)])
            .repeatable()
            .commit()
            .await;
        match written {
            Ok(answer) => return Some(answer.header.revision),
            Err(error) if error.kind() == ErrorKind::LeaseNotFound => return None,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let key = String::from_utf8_lossy(&key).into_owned();
                tracing::warn!(target: "handfast::session", %error, key, "no session record");
                // The keepalives still tell when the lease is gone.
                core.life.gone().await;
                return None;
            }
            Err(_) => tokio::time::sleep(backoff.next()).await,
        }
    }
}

/// What became of a session's record.
enum News {
    /// Somebody is ending the session.
    Killed(Note),
    Deleted,
    /// The watch cannot tell (any more).
    Unsure,
}

impl News {
    /// Waits for what happens to the record at `from` or later. Cancel safe.
    async fn of(client: &Client, key: Bytes, from: i64) -> Self {
        let mut watch = client.watch(WatchOptions::key(key).start_revision(from));
        while let Some(report) = watch.next().await {
            let events = match report {
                Ok(WatchEvent::Events { events, .. }) => events,
                Ok(WatchEvent::Compacted { .. }) => return Self::Unsure,
                Ok(_) => continue,
                Err(error) => {
                    tracing::debug!(target: "handfast::session", %error, "watch ended");
                    return Self::Unsure;
                }
            };
            for event in events {
                if event.kind == EventKind::Delete {
                    return Self::Deleted;
                }
                if let Some(note) = note_in(&event.kv.value) {
                    return Self::Killed(note);
                }
            }
        }
        Self::Unsure
    }
}

fn note_in(record: &[u8]) -> Option<Note> {
    SessionRecord::parse(record)?.killed
}

fn killed(Note { by, why }: Note) -> LostReason {
    LostReason::Killed { by, why }
}

enum Seen {
    There { revision: i64 },
    Killed(Note),
    Gone,
    OtherData,
}

async fn look(client: &Client, core: &Core, created: i64) -> Result<Seen, Error> {
    let answer = client.range(core.record_key()).await?;
    if answer.header.revision < created {
        return Ok(Seen::OtherData);
    }
    Ok(match answer.kvs.first() {
        Some(pair) if pair.lease == core.lease => match note_in(&pair.value) {
            Some(note) => Seen::Killed(note),
            None => Seen::There {
                revision: answer.header.revision,
            },
        },
        _ => Seen::Gone,
    })
}
