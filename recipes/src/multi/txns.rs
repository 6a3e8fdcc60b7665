//! The transactions of several queues at once, each harmless when sent twice, and the reading of
//! their answers.
//!
//! Owns what the store is asked to do. Knows nothing of when, and leaves what concerns one queue
//! alone to [`crate::line::txns`].
//!
//! Servers allow 128 operations and conditions side by side, and what is nested only as many as
//! its parent's longest list leaves over. So conditions on every name stand in one list, and the
//! operations on every name in a list nested in it.

use handfast_core::{Client, Compare, Error, KeyValue, Op, Txn, TxnResponse};

use super::party::Party;
use crate::line::{
    Grant,
    txns::{
        GLANCE, Joined, Standing, forget_own_grant, grant_in, left_before, newest, not_barred,
        oldest, put_before, put_own, record, standing,
    },
};

/// Where the places of a party stand.
#[derive(Debug)]
pub(super) enum Stand {
    /// All are the oldest, and the grants are recorded. For each name, whether the holder before
    /// died.
    Granted(Vec<bool>),
    /// Not all are the oldest; one for each name.
    Not(Vec<Standing>),
    /// The key of this name is not there (any more).
    Gone(usize),
}

fn all_there(party: &Party) -> impl Iterator<Item = Compare> {
    let places = party.places.iter();
    places.map(|place| Compare::create_revision(&place.key).eq(place.revision))
}

fn own_keys(party: &Party) -> impl Iterator<Item = Op> {
    party.places.iter().map(|place| Op::get(&place.key))
}

fn grants(party: &Party) -> Vec<Op> {
    let places = party.places.iter();
    places.map(|place| Op::get(&place.line.grant_key)).collect()
}

fn records(party: &Party) -> Vec<Op> {
    party
        .places
        .iter()
        .map(|place| record(place, None))
        .collect()
}

/// Takes a place at the end of every queue, at one revision.
pub(super) fn join(client: &Client, party: &Party) -> Txn {
    let places = || party.places.iter();
    let absent = places().map(|place| Compare::create_revision(&place.key).eq(0));
    let each = places().map(|place| {
        let line = &place.line;
        Op::txn([], [put_own(place), oldest(line, 1), newest(line, 2)], [])
    });
    let free = places().map(|place| Compare::create_revision(&place.line.prefix).prefix().eq(0));
    client
        .txn()
        .when(absent.chain([not_barred(party.first())]))
        .then([
            Op::txn([], each.collect::<Vec<_>>(), []),
            Op::txn(free, records(party), grants(party)),
        ])
        .otherwise(own_keys(party))
}

/// What a [`join`] or [`attempt`] did.
#[derive(Debug)]
pub(super) enum Taken {
    /// The keys were put at `revision`.
    Put { revision: i64, stand: Stand },
    /// An earlier sending had put them at `revision`.
    Before { revision: i64 },
    /// They were not put: this one's is missing.
    Not(usize),
}

pub(super) fn joined(party: &Party, answer: &TxnResponse) -> Result<Taken, Error> {
    if !answer.succeeded {
        let mut own = Vec::with_capacity(party.places.len());
        for index in 0..party.places.len() {
            own.push(put_before(answer.range(index)?));
        }
        return Ok(taken_before(&own));
    }
    let each = answer.nested(0)?;
    let mut queues = Vec::with_capacity(party.places.len());
    for (index, place) in party.places.iter().enumerate() {
        let one = each.nested(index)?;
        let ahead = one.range(2)?.kvs.iter().find(|pair| pair.key != place.key);
        queues.push((one.range(1)?.kvs.first().cloned(), ahead.cloned()));
    }
    Ok(Taken::Put {
        revision: answer.header.revision,
        stand: stand(party, answer.nested(1)?, queues)?,
    })
}

/// Keys that are there were put together; a missing one was deleted since.
fn taken_before(own: &[Joined]) -> Taken {
    let missing = own
        .iter()
        .position(|joined| !matches!(joined, Joined::Before { .. }));
    match (missing, own.first()) {
        (None, Some(Joined::Before { revision })) => Taken::Before {
            revision: *revision,
        },
        (missing, _) => Taken::Not(missing.unwrap_or(0)),
    }
}

/// Where the places stand, by the part of an answer about the grants and the holder and the
/// predecessor of each name.
fn stand(
    party: &Party,
    grants: &TxnResponse,
    queues: Vec<(Option<KeyValue>, Option<KeyValue>)>,
) -> Result<Stand, Error> {
    if grants.succeeded {
        return granted_by(party, grants);
    }
    let mut standings = Vec::with_capacity(queues.len());
    for (index, (place, (holder, ahead))) in party.places.iter().zip(queues).enumerate() {
        let grant = grant_in(place, grants.range(index)?);
        standings.push(standing(place, grant, holder, ahead));
    }
    Ok(Stand::Not(standings))
}

/// Reads what [`records`] found for each name.
fn granted_by(party: &Party, answer: &TxnResponse) -> Result<Stand, Error> {
    let mut died = Vec::with_capacity(party.places.len());
    for (index, place) in party.places.iter().enumerate() {
        let recorded = answer.nested(index)?;
        let before: Option<Grant> = match recorded.succeeded {
            true => None,
            false => grant_in(place, recorded.range(0)?),
        };
        died.push(before.is_some());
    }
    Ok(Stand::Granted(died))
}

/// Looks where the places stand, and takes the grants if all are the first.
pub(super) fn verify(client: &Client, party: &Party) -> Txn {
    let places = || party.places.iter();
    let before = party.first().revision - 1;
    let each = places().map(|place| {
        let line = &place.line;
        let ahead = newest(line, 1).max_create_revision(before);
        Op::txn([], [oldest(line, 1), ahead], [])
    });
    let first = places().map(|place| {
        let queue = Compare::create_revision(&place.line.prefix);
        queue.prefix().gt(before)
    });
    client
        .txn()
        .when(all_there(party))
        .then([
            Op::txn([], each.collect::<Vec<_>>(), []),
            Op::txn(first, records(party), grants(party)),
        ])
        .otherwise(own_keys(party))
}

pub(super) fn verified(party: &Party, answer: &TxnResponse) -> Result<Stand, Error> {
    if !answer.succeeded {
        return gone(party, answer);
    }
    let each = answer.nested(0)?;
    let mut queues = Vec::with_capacity(party.places.len());
    for index in 0..party.places.len() {
        let one = each.nested(index)?;
        let first = |range: usize| Ok::<_, Error>(one.range(range)?.kvs.first().cloned());
        queues.push((first(0)?, first(1)?));
    }
    stand(party, answer.nested(1)?, queues)
}

/// Takes the grants of places known to have only foreign keys before them: no older place can
/// come.
pub(super) fn grant(client: &Client, party: &Party) -> Txn {
    client
        .txn()
        .when(all_there(party))
        .then(records(party))
        .otherwise(own_keys(party))
}

pub(super) fn granted(party: &Party, answer: &TxnResponse) -> Result<Stand, Error> {
    match answer.succeeded {
        true => granted_by(party, answer),
        false => gone(party, answer),
    }
}

fn gone(party: &Party, answer: &TxnResponse) -> Result<Stand, Error> {
    for (index, place) in party.places.iter().enumerate() {
        let own = answer.range(index)?.kvs.first();
        if own.is_none_or(|own| own.create_revision != place.revision) {
            return Ok(Stand::Gone(index));
        }
    }
    Ok(Stand::Gone(0))
}

/// Takes all names if nobody has a place under any; leaves nothing behind otherwise. `foreign` is
/// a revision at which only foreign keys were seen.
pub(super) fn attempt(client: &Client, party: &Party, foreign: Option<i64>) -> Txn {
    let places = || party.places.iter();
    let free = places().map(|place| match foreign {
        None => Compare::create_revision(&place.line.prefix).prefix().eq(0),
        Some(seen) => Compare::mod_revision(&place.line.prefix)
            .prefix()
            .lt(seen + 1),
    });
    let look = places().map(|place| {
        let line = &place.line;
        let reads = [
            Op::get(&place.key),
            oldest(line, GLANCE),
            Op::get(&line.grant_key),
        ];
        Op::txn([], reads, [])
    });
    let take = places().map(|place| Op::txn([], [put_own(place), record(place, None)], []));
    client
        .txn()
        .when(free.chain([not_barred(party.first())]))
        .then(take)
        .otherwise(look)
}

/// What an [`attempt`] came to.
#[derive(Debug)]
pub(super) enum Attempted {
    Taken(Taken),
    /// Somebody has this name.
    Held {
        which: usize,
        holder: KeyValue,
        grant: Option<Grant>,
    },
    /// Only foreign keys were seen; whether there may be others.
    Foreign {
        all: bool,
    },
}

pub(super) fn attempted(party: &Party, answer: &TxnResponse) -> Result<Attempted, Error> {
    if answer.succeeded {
        let mut died = Vec::with_capacity(party.places.len());
        for (index, place) in party.places.iter().enumerate() {
            let recorded = answer.nested(index)?.nested(1)?;
            let left = !recorded.succeeded && grant_in(place, recorded.range(0)?).is_some();
            died.push(left);
        }
        return Ok(Attempted::Taken(Taken::Put {
            revision: answer.header.revision,
            stand: Stand::Granted(died),
        }));
    }
    let mut own = Vec::with_capacity(party.places.len());
    let mut all = true;
    let mut held = None;
    for (which, place) in party.places.iter().enumerate() {
        let seen = answer.nested(which)?;
        own.push(put_before(seen.range(0)?));
        let first = seen.range(1)?;
        all &= first.count <= GLANCE;
        let holder = first.kvs.iter().find(|pair| place.line.is_place(pair));
        if let (None, Some(holder)) = (&held, holder) {
            held = Some(Attempted::Held {
                which,
                holder: holder.clone(),
                grant: grant_in(place, seen.range(2)?),
            });
        }
    }
    if let before @ Taken::Before { .. } = taken_before(&own) {
        return Ok(Attempted::Taken(before));
    }
    Ok(held.unwrap_or(Attempted::Foreign { all }))
}

/// How places are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// By their holder: the grants' records go, too.
    Holder,
    /// By one who waits; who is before it under this name is read.
    Waiter(Option<usize>),
}

/// Gives up all places that are there; each delete is guarded by itself, so that one key that
/// somebody else deleted does not keep the others.
///
/// Places whose put may still be under way are deleted whatever their revision, and barred.
pub(super) fn leave(client: &Client, party: &Party, how: Leaving) -> Txn {
    let each = party.places.iter().enumerate().map(|(index, place)| {
        let there = Compare::create_revision(&place.key).eq(place.revision);
        let mut then = vec![Op::delete(&place.key)];
        let mut otherwise = Vec::new();
        match how {
            Leaving::Holder => {
                then.push(Op::delete(&place.line.grant_key));
                otherwise.push(Op::get(&place.line.grant_key));
            }
            Leaving::Waiter(report) => {
                // Grants that raced with leaving have written the records.
                then.push(forget_own_grant(place));
                if report == Some(index) {
                    let ahead = oldest(&place.line, 1000).keys_only();
                    then.push(ahead.max_create_revision(place.revision.max(1) - 1));
                }
            }
        }
        if party.doubtful {
            otherwise.extend([Op::delete(&place.key), forget_own_grant(place)]);
        }
        Op::txn([there], then, otherwise)
    });
    let first = party.first();
    let bar = party
        .doubtful
        .then(|| Op::put(first.line.bar_key(&first.own), "").lease(first.epoch.lease()));
    client.txn().then(each.chain(bar))
}

/// What leaving found.
#[derive(Debug)]
pub(super) struct Found {
    /// All keys were there, as far as can be told.
    pub(super) all: bool,
    /// The places before the own one under the name asked for.
    pub(super) ahead: Vec<KeyValue>,
}

/// Reads the answer to [`leave`]; `repeated` says that an earlier attempt may have done it.
pub(super) fn left(
    party: &Party,
    how: Leaving,
    repeated: bool,
    answer: &TxnResponse,
) -> Result<Found, Error> {
    let mut found = Found {
        all: party.first().revision > 0,
        ahead: Vec::new(),
    };
    for (index, place) in party.places.iter().enumerate() {
        let one = answer.nested(index)?;
        found.all &= match how {
            Leaving::Holder if !one.succeeded && repeated => left_before(place, one)?,
            _ => one.succeeded,
        };
        if how == Leaving::Waiter(Some(index)) && one.succeeded {
            found.ahead = one.range(2)?.kvs.clone();
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(revision: i64) -> Joined {
        Joined::Before { revision }
    }

    #[test]
    fn keys_of_which_one_is_missing_were_not_taken() {
        let all = taken_before(&[before(7), before(7)]);
        assert!(matches!(all, Taken::Before { revision: 7 }));
        let missing = taken_before(&[before(7), Joined::Not]);
        assert!(matches!(missing, Taken::Not(1)));
        assert!(matches!(taken_before(&[Joined::Not]), Taken::Not(0)));
    }
}
