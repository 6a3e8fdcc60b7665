//! Looking at a queue from outside: who holds, who waits, and why a key is gone.
//!
//! Owns the listing. Knows nothing of taking part.

use handfast_core::{
    Client, ErrorKind, KeyValue, Op, SortOrder, SortTarget,
    session::{SessionRecord, record_key},
};

use super::{Line, txns::Seen};
use crate::Member;

const PAGE: i64 = 500;
/// How many session records one transaction reads.
const RECORDS: usize = 100;

/// All pairs that are places with a create revision below `revision`, oldest first.
pub(crate) async fn pairs_before(
    client: &Client,
    line: &Line,
    revision: i64,
) -> Result<Seen<Vec<KeyValue>>, handfast_core::Error> {
    read(client, line, Some(revision - 1)).await
}

/// Everybody in the queue, oldest first, without session records.
pub(crate) async fn places(
    client: &Client,
    line: &Line,
    before: Option<i64>,
) -> Result<Seen<Vec<Member>>, handfast_core::Error> {
    let seen = read(client, line, before).await?;
    Ok(Seen {
        what: line.members(&seen.what),
        at: seen.at,
    })
}

async fn read(
    client: &Client,
    line: &Line,
    max_create: Option<i64>,
) -> Result<Seen<Vec<KeyValue>>, handfast_core::Error> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut from = 0;
    loop {
        let mut range = client
            .range(&line.prefix)
            .prefix()
            .sort_by(SortTarget::Create, SortOrder::Ascend)
            .min_create_revision(from)
            .max_create_revision(max_create.unwrap_or(0))
            .limit(PAGE);
        if at > 0 {
            range = range.revision(at);
        }
        let page = match range.await {
            // Compacted between two pages: start over.
            Err(error) if error.kind() == ErrorKind::Compacted => {
                (found, at, from) = (Vec::new(), 0, 0);
                continue;
            }
            other => other?,
        };
        if at == 0 {
            at = page.header.revision;
        }
        let full = page.kvs.len() as i64 == PAGE;
        let last = page.kvs.last().map_or(0, |pair| pair.create_revision);
        // Keys of one transaction share a revision, so a page may end within one.
        let mut fresh = page.kvs;
        fresh.retain(|pair| {
            pair.create_revision > from
                || !found.iter().any(|known: &KeyValue| known.key == pair.key)
        });
        let before = found.len();
        found.extend(fresh);
        if !full || (last == from && found.len() == before) {
            break;
        }
        from = last;
    }
    found.retain(|pair| line.is_place(pair));
    Ok(Seen { what: found, at })
}

/// Fills in who the sessions of `members` say they are.
pub(crate) async fn name_sessions(
    client: &Client,
    metadata: &[u8],
    members: &mut [Member],
) -> Result<(), handfast_core::Error> {
    for part in members.chunks_mut(RECORDS) {
        let reads = part
            .iter()
            .map(|member| Op::get(record_key(metadata, member.lease)));
        let answer = client
            .txn()
            .then(reads.collect::<Vec<_>>())
            .commit()
            .await?;
        for (index, member) in part.iter_mut().enumerate() {
            let record = answer.range(index)?.kvs.first();
            member.session = record.and_then(|pair| SessionRecord::parse(&pair.value));
        }
    }
    Ok(())
}
