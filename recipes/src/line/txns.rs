//! The transactions of a queue, each harmless when sent twice, and the reading of their answers.
//!
//! Owns what the store is asked to do. Knows nothing of when.

use handfast_core::{
    Client, Compare, Error, KeyValue, Op, RangeResponse, SortOrder, SortTarget, Txn, TxnResponse,
};

use super::{Grant, Line, place::Place};

/// How many keys a failed try looks at for the holder; more are read only if all are foreign.
pub(crate) const GLANCE: i64 = 8;

/// Where a place stands.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It is the oldest. `previous` is the record of a holder that never gave the name back.
    First { previous: Option<Grant> },
    /// It is not: `predecessor` is the one to wait for.
    Behind {
        predecessor: KeyValue,
        holder: Option<KeyValue>,
        grant: Option<Grant>,
    },
    /// Foreign keys are in the way; the whole queue must be looked at.
    Unclear,
    /// The key is not there (any more).
    Gone,
}

/// An answer, and the revision it is true at.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    pub(crate) what: T,
    pub(crate) at: i64,
}

pub(crate) fn oldest(line: &Line, limit: i64) -> Op {
    Op::range(&line.prefix)
        .prefix()
        .sort_by(SortTarget::Create, SortOrder::Ascend)
        .limit(limit)
}

pub(crate) fn newest(line: &Line, limit: i64) -> Op {
    Op::range(&line.prefix)
        .prefix()
        .sort_by(SortTarget::Create, SortOrder::Descend)
        .limit(limit)
}

/// Writes the grant's record if `when` holds and there is none; else reads it.
pub(crate) fn record(place: &Place, when: Option<Compare>) -> Op {
    let line = &place.line;
    let absent = Compare::create_revision(&line.grant_key).eq(0);
    Op::txn(
        when.into_iter().chain([absent]),
        [Op::put(&line.grant_key, &place.grant)],
        [Op::get(&line.grant_key)],
    )
}

pub(crate) fn put_own(place: &Place) -> Op {
    Op::put(&place.key, &place.value).lease(place.epoch.lease())
}

/// Nobody barred this key; see [`leave`].
pub(crate) fn not_barred(place: &Place) -> Compare {
    Compare::create_revision(place.line.bar_key(&place.own)).eq(0)
}

/// Takes a place at the end of the queue.
pub(super) fn join(client: &Client, place: &Place) -> Txn {
    let line = &place.line;
    let free = Compare::create_revision(&line.prefix).prefix().eq(0);
    client
        .txn()
        .when([
            Compare::create_revision(&place.key).eq(0),
            not_barred(place),
        ])
        .then([
            put_own(place),
            record(place, Some(free)),
            oldest(line, 1),
            newest(line, 2),
        ])
        .otherwise([Op::get(&place.key)])
}

/// What a [`join`] or [`attempt`] did.
#[derive(Debug)]
pub(crate) enum Joined {
    /// The key was put at `revision`.
    Put {
        revision: i64,
        standing: Box<Standing>,
    },
    /// An earlier sending had put it at `revision`.
    Before { revision: i64 },
    /// It was not put.
    Not,
}

pub(super) fn joined(place: &Place, answer: &TxnResponse) -> Result<Joined, Error> {
    if !answer.succeeded {
        return Ok(put_before(answer.range(0)?));
    }
    let previous = previous_grant(place, answer, 1)?;
    let revision = answer.header.revision;
    let holder = answer.range(2)?.kvs.first().cloned();
    let ahead = answer
        .range(3)?
        .kvs
        .iter()
        .find(|pair| pair.key != place.key)
        .cloned();
    let standing = Box::new(standing(place, previous, holder, ahead));
    Ok(Joined::Put { revision, standing })
}

pub(crate) fn put_before(own: &RangeResponse) -> Joined {
    match own.kvs.first() {
        Some(own) => Joined::Before {
            revision: own.create_revision,
        },
        None => Joined::Not,
    }
}

/// The record another holder left, if one did.
pub(crate) fn previous_grant(
    place: &Place,
    answer: &TxnResponse,
    op: usize,
) -> Result<Option<Grant>, Error> {
    let nested = answer
        .responses
        .get(op)
        .and_then(|response| response.as_txn());
    match nested {
        Some(nested) if !nested.succeeded => Ok(grant_in(place, nested.range(0)?)),
        _ => Ok(None),
    }
}

pub(crate) fn grant_in(place: &Place, range: &RangeResponse) -> Option<Grant> {
    let pair = range.kvs.first()?;
    // One that cannot be read is still one that was not given back.
    let unreadable = || Grant {
        kind: place.line.kind,
        own: String::new(),
        since_unix_ms: 0,
        written: 0,
    };
    let mut grant: Grant = serde_json::from_slice(&pair.value).unwrap_or_else(|_| unreadable());
    grant.written = pair.mod_revision;
    (grant.own != place.own).then_some(grant)
}

pub(crate) fn standing(
    place: &Place,
    grant: Option<Grant>,
    holder: Option<KeyValue>,
    ahead: Option<KeyValue>,
) -> Standing {
    match ahead {
        None => Standing::First { previous: grant },
        Some(predecessor) if place.line.is_place(&predecessor) => {
            let holder = holder.filter(|pair| place.line.is_place(pair));
            Standing::Behind {
                predecessor,
                holder,
                grant,
            }
        }
        Some(_) => Standing::Unclear,
    }
}

/// Looks where the place stands, and takes the grant if it is the first.
pub(super) fn verify(client: &Client, place: &Place) -> Txn {
    let line = &place.line;
    let before = place.revision - 1;
    let first = Compare::create_revision(&line.prefix).prefix().gt(before);
    client
        .txn()
        .when([Compare::create_revision(&place.key).eq(place.revision)])
        .then([
            record(place, Some(first)),
            oldest(line, 1),
            newest(line, 1).max_create_revision(before),
        ])
}

pub(super) fn verified(place: &Place, answer: &TxnResponse) -> Result<Standing, Error> {
    if !answer.succeeded {
        return Ok(Standing::Gone);
    }
    let previous = previous_grant(place, answer, 0)?;
    let holder = answer.range(1)?.kvs.first().cloned();
    let ahead = answer.range(2)?.kvs.first().cloned();
    Ok(standing(place, previous, holder, ahead))
}

/// Takes the grant of a place known to have only foreign keys before it: no older place can come.
pub(super) fn grant(client: &Client, place: &Place) -> Txn {
    client
        .txn()
        .when([Compare::create_revision(&place.key).eq(place.revision)])
        .then([record(place, None)])
}

pub(super) fn granted(place: &Place, answer: &TxnResponse) -> Result<Standing, Error> {
    if !answer.succeeded {
        return Ok(Standing::Gone);
    }
    Ok(Standing::First {
        previous: previous_grant(place, answer, 0)?,
    })
}

/// Takes the name if nobody has a place; leaves nothing behind otherwise. `foreign` is a revision
/// at which only foreign keys were seen: the name is then free if nothing has changed since.
pub(super) fn attempt(client: &Client, place: &Place, foreign: Option<i64>) -> Txn {
    let line = &place.line;
    let free = match foreign {
        None => Compare::create_revision(&line.prefix).prefix().eq(0),
        Some(seen) => Compare::mod_revision(&line.prefix).prefix().lt(seen + 1),
    };
    client
        .txn()
        .when([free, not_barred(place)])
        .then([put_own(place), record(place, None)])
        .otherwise([
            Op::get(&place.key),
            oldest(line, GLANCE),
            Op::get(&line.grant_key),
        ])
}

/// What an [`attempt`] came to.
#[derive(Debug)]
pub(super) enum Attempted {
    /// The name is taken by this place.
    Taken(Joined),
    /// Somebody has it.
    Held {
        holder: KeyValue,
        grant: Option<Grant>,
    },
    /// Only foreign keys were seen; `all` tells whether there are no others.
    Foreign { all: bool },
}

pub(super) fn attempted(place: &Place, answer: &TxnResponse) -> Result<Attempted, Error> {
    if answer.succeeded {
        let standing = Box::new(Standing::First {
            previous: previous_grant(place, answer, 1)?,
        });
        let revision = answer.header.revision;
        return Ok(Attempted::Taken(Joined::Put { revision, standing }));
    }
    if let before @ Joined::Before { .. } = put_before(answer.range(0)?) {
        return Ok(Attempted::Taken(before));
    }
    let first = answer.range(1)?;
    let holder = first
        .kvs
        .iter()
        .find(|pair| place.line.is_place(pair))
        .cloned();
    Ok(match holder {
        Some(holder) => Attempted::Held {
            holder,
            grant: grant_in(place, answer.range(2)?),
        },
        None => Attempted::Foreign {
            all: first.count <= GLANCE,
        },
    })
}

/// How a place is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// By its holder: the grant's record goes, too.
    Holder,
    /// By one who waits; `report` reads who was ahead.
    Waiter { report: bool },
}

/// Gives up the place. What it deletes is guarded, so that it cannot end a later acquisition.
///
/// A place whose put may still be under way is deleted whatever its revision, and barred: its key
/// is never used again.
pub(super) fn leave(client: &Client, place: &Place, how: Leaving) -> Txn {
    let line = &place.line;
    let mut then = vec![Op::delete(&place.key)];
    let mut otherwise = Vec::new();
    match how {
        Leaving::Holder => {
            then.push(Op::delete(&line.grant_key));
            otherwise.push(Op::get(&line.grant_key));
        }
        Leaving::Waiter { report } => {
            // A grant that raced with leaving has written the record.
            then.push(forget_own_grant(place));
            if report {
                let ahead = oldest(line, 1000).keys_only();
                then.push(ahead.max_create_revision(place.revision.max(1) - 1));
            }
        }
    }
    if place.doubtful {
        let bar = || Op::put(line.bar_key(&place.own), "").lease(place.epoch.lease());
        then.push(bar());
        otherwise.extend([Op::delete(&place.key), forget_own_grant(place), bar()]);
    }
    client
        .txn()
        .when([Compare::create_revision(&place.key).eq(place.revision)])
        .then(then)
        .otherwise(otherwise)
}

/// Whether the holder's place, which [`leave`] did not find, was given up by an earlier attempt:
/// that took the grant's record along, which whoever else deletes the key leaves behind.
///
/// Not certain once another holder has written its own record: say so only after an attempt of
/// which the fate is not known.
pub(crate) fn left_before(place: &Place, answer: &TxnResponse) -> Result<bool, Error> {
    let record = answer.range(0)?.kvs.first();
    Ok(record.is_none_or(|record| record.value != place.grant))
}

pub(crate) fn forget_own_grant(place: &Place) -> Op {
    let line = &place.line;
    let mine = Compare::value(&line.grant_key).eq(&place.grant);
    Op::txn([mine], [Op::delete(&line.grant_key)], [])
}
