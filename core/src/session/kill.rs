//! Ending somebody's session, and telling it why.
//!
//! Owns the words put into the record and the revoke that follows. Knows nothing of how the loser
//! reads them.

use bytes::Bytes;

use super::record::{Note, SessionRecord, record_key};
use crate::{Client, Compare, Error, ErrorKind, Op};

/// Ends the session of `lease`: its record is made to say by whom and why, and the lease is
/// revoked, with which the record goes. Whether there was such a session. Harmless when repeated.
///
/// A lease without a record (another program's) is revoked without a word. A session that was told
/// and is not revoked, since the caller died in between, ends itself.
///
/// # Errors
/// That the server could not be asked, or refuses.
pub async fn kill(
    client: &Client,
    metadata_prefix: &[u8],
    lease: i64,
    note: &Note,
) -> Result<bool, Error> {
    let told = match tell(client, record_key(metadata_prefix, lease), lease, note).await {
        Err(error) if error.kind() == ErrorKind::LeaseNotFound => return Ok(false),
        told => told?,
    };
    match client.lease_revoke(lease).await {
        Ok(_) => Ok(true),
        // The session has heard it, and given up its lease itself.
        Err(error) if error.kind() == ErrorKind::LeaseNotFound => Ok(told),
        Err(error) => Err(error),
    }
}

/// Writes `note` into the record; whether there is a record to write to.
async fn tell(client: &Client, key: Bytes, lease: i64, note: &Note) -> Result<bool, Error> {
    loop {
        let Some(pair) = client.get(&key).await? else {
            return Ok(false);
        };
        let Some(mut record) = SessionRecord::parse(&pair.value) else {
            return Ok(false);
        };
        if record.killed.is_some() {
            // Somebody was first, or this is a repetition.
            return Ok(true);
        }
        record.killed = Some(note.clone());
        let answer = client
            .txn()
            .when([Compare::mod_revision(&key).eq(pair.mod_revision)])
            .then([Op::put(&key, record.to_value()).lease(lease)])
            .repeatable()
            .commit()
            .await?;
        if answer.succeeded {
            return Ok(true);
        }
    }
}
