//! Why a held key is gone.
//!
//! Owns reading the note that whoever deletes another's key leaves. Knows nothing of holding.

use std::time::Duration;

use bytes::Bytes;

pub use crate::session::Note;
use crate::{Backoff, Epoch, Error, ErrorKind, session::LostReason};

/// How long one attempt at finding the reason may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(1);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_LIMIT: Duration = Duration::from_secs(1);

/// The key of the note on `key`: `_handfast/note/<key>` says why somebody deleted another's key.
#[must_use]
pub fn note_key(metadata: &[u8], key: &[u8]) -> Bytes {
    Bytes::from([metadata, b"note/", key].concat())
}

/// A key that was found gone.
#[derive(Debug, Clone)]
pub struct Missing {
    /// The key.
    pub key: Bytes,
    /// The revision that created it.
    pub created: i64,
    /// The revision at which it was deleted, or seen to be gone; 0 if that is not known.
    pub gone_at: i64,
}

/// Why a key of `epoch` is gone: somebody's note, the end of the lease, or nobody knows.
///
/// Asks until a server answers, or the epoch is lost.
pub async fn why_gone(epoch: &Epoch, missing: &Missing) -> LostReason {
    tokio::select! {
        biased;
        reason = ask(epoch, missing) => reason,
        reason = epoch.lost() => match reason {
            LostReason::Revoked | LostReason::Killed { .. } => reason,
            // It was gone before that.
            _ => LostReason::Deleted,
        },
    }
}

async fn ask(epoch: &Epoch, missing: &Missing) -> LostReason {
    let client = epoch.client();
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(client.chance());
    loop {
        match attempt(epoch, missing).await {
            Ok(reason) => return reason,
            Err(error) if error.is_retryable() => {
                tracing::debug!(target: "handfast::session", %error, "why it is gone is not known");
            }
            Err(_) => return LostReason::Deleted,
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn attempt(epoch: &Epoch, missing: &Missing) -> Result<LostReason, Error> {
    if let Some(Note { by, why }) = note(epoch, missing).await? {
        return Ok(LostReason::Broken { by, why });
    }
    let client = epoch.client().with_timeout(ATTEMPT_LIMIT);
    match client.lease_time_to_live(epoch.lease(), false).await {
        Ok(_) => Ok(LostReason::Deleted),
        Err(error) if error.kind() == ErrorKind::LeaseNotFound => {
            epoch.report_lease_gone();
            Ok(epoch.lost().await)
        }
        Err(error) => Err(error),
    }
}

/// The note on the key, as it was when the key was gone: the delete put it at the same revision,
/// and its lease may have ended since.
async fn note(epoch: &Epoch, missing: &Missing) -> Result<Option<Note>, Error> {
    let client = epoch.client().with_timeout(ATTEMPT_LIMIT);
    let key = note_key(epoch.metadata_prefix(), &missing.key);
    let read = match missing.gone_at {
        0 => client.range(&key).await,
        at => match client.range(&key).revision(at).await {
            Err(error) if is_out_of_reach(error.kind()) => client.range(&key).await,
            read => read,
        },
    }?;
    // An earlier key of the same name may have a note, too.
    let pair = read
        .kvs
        .first()
        .filter(|pair| pair.mod_revision > missing.created);
    Ok(pair.and_then(|pair| serde_json::from_slice(&pair.value).ok()))
}

fn is_out_of_reach(revision: ErrorKind) -> bool {
    matches!(revision, ErrorKind::Compacted | ErrorKind::FutureRevision)
}
