//! The transactions of a declared key, each harmless when sent twice or late.
//!
//! Owns what the store is asked to do. Knows nothing of when.
//!
//! A put that comes late, after the key was withdrawn, would bring it back. The mark that is left
//! on withdrawal bars it: each put names the mark it knows of.

use bytes::Bytes;

use crate::{Client, Compare, Op, Txn};

/// The key as it was last seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) create_revision: i64,
    pub(super) mod_revision: i64,
}

/// Puts the pair on `lease`: where nothing is and no other mark than the one of revision `mark`
/// (0: none), or over what is `known`. Else reads pair and mark.
pub(super) fn put(
    client: &Client,
    pair: (&Bytes, &Bytes),
    lease: i64,
    known: Option<Known>,
    mark: (&Bytes, i64),
) -> Txn {
    let (key, value) = pair;
    let when = match known {
        Some(known) => vec![Compare::mod_revision(key).eq(known.mod_revision)],
        None => vec![
            Compare::create_revision(key).eq(0),
            Compare::mod_revision(mark.0).eq(mark.1),
        ],
    };
    client
        .txn()
        .when(when)
        .then([Op::put(key, value).lease(lease)])
        .otherwise([Op::get(key), Op::get(mark.0)])
        .repeatable()
}

/// Deletes the key that `create_revision` created (0: it is not there) and leaves a mark. Else
/// reads the key.
pub(super) fn withdraw(
    client: &Client,
    key: &Bytes,
    create_revision: i64,
    mark: (&Bytes, &Bytes, i64),
) -> Txn {
    let (mark_key, value, lease) = mark;
    let delete = (create_revision > 0).then(|| Op::delete(key));
    let leave = Op::put(mark_key, value).lease(lease);
    client
        .txn()
        .when([Compare::create_revision(key).eq(create_revision)])
        .then(delete.into_iter().chain([leave]))
        .otherwise([Op::get(key)])
        .repeatable()
}
