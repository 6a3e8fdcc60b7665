//! Why a held key is gone.
//!
//! Owns the note that whoever deletes another's key leaves. Knows nothing of holding.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Epoch, ErrorKind, session::LostReason};

/// How long finding the reason may take.
const LIMIT: Duration = Duration::from_secs(1);

/// `_handfast/note/<key>`: why somebody deleted another's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Who did it.
    pub by: String,
    /// The reason given.
    pub why: String,
}

/// The key of the note on `key`.
#[must_use]
pub fn note_key(metadata: &[u8], key: &[u8]) -> Bytes {
    Bytes::from([metadata, b"note/", key].concat())
}

/// Why `key` of `epoch` is gone: somebody's note, the end of the lease, or nobody knows.
pub async fn why_gone(epoch: &Epoch, key: &[u8]) -> LostReason {
    let client = epoch.client().with_timeout(LIMIT);
    if let Ok(Some(pair)) = client.get(note_key(epoch.metadata_prefix(), key)).await
        && let Ok(Note { by, why }) = serde_json::from_slice(&pair.value)
    {
        return LostReason::Broken { by, why };
    }
    match client.lease_time_to_live(epoch.lease(), false).await {
        Err(error) if error.kind() == ErrorKind::LeaseNotFound => {
            epoch.report_lease_gone();
            epoch.lost().await
        }
        _ => LostReason::Deleted,
    }
}
