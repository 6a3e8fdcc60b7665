//! Taking a place away from another client.
//!
//! Owns the guarded delete and the note that tells the loser by whom and why.

use bytes::Bytes;
use handfast_core::{Client, Compare, Op, held::Note};

use super::{Line, look};
use crate::{Error, Member};

/// How long the note stays, in seconds.
const NOTE_TTL: i64 = 60;

/// Breaks the holder's place; the holder broken, or `None` if nobody holds.
pub(crate) async fn holder(
    client: &Client,
    line: &Line,
    by: &str,
    why: &str,
) -> Result<Option<Member>, Error> {
    loop {
        let places = look::places(client, line, None).await?.what;
        let Some(holder) = places.into_iter().next() else {
            return Ok(None);
        };
        if member(client, line, &holder, by, why).await? {
            return Ok(Some(holder));
        }
        // It left in between; the next one holds now.
    }
}

/// Breaks the place of `member`, unless it is gone; whether it was there.
pub(crate) async fn member(
    client: &Client,
    line: &Line,
    member: &Member,
    by: &str,
    why: &str,
) -> Result<bool, Error> {
    let note = Note {
        by: by.to_owned(),
        why: why.to_owned(),
    };
    // Plain strings always encode.
    let value = serde_json::to_vec(&note)
        .map(Bytes::from)
        .unwrap_or_default();
    let lease = client.lease_grant(NOTE_TTL, 0).await?.id;
    let note_key = line.note_key(&member.key);
    let answer = client
        .txn()
        .when([Compare::create_revision(&member.key).eq(member.token)])
        .then([
            Op::delete(&member.key),
            Op::put(&note_key, value).lease(lease),
        ])
        .otherwise([Op::get(&note_key)])
        .repeatable()
        .commit()
        .await?;
    if answer.succeeded {
        return Ok(true);
    }
    // A repetition finds its own note.
    let ours = answer
        .range(0)?
        .kvs
        .first()
        .is_some_and(|pair| pair.lease == lease);
    if !ours {
        // Nothing is on the lease; if this fails it ends by itself.
        let _ = client.lease_revoke(lease).await;
    }
    Ok(ours)
}
