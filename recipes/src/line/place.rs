//! One place in a queue: a key of one epoch.
//!
//! Owns the key's identity and giving it up for certain. Knows nothing of waiting and holding.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use handfast_core::{Epoch, ErrorKind, session::Reaped};

use super::{Grant, Line, own_name, txns};
use crate::Member;

pub(crate) use super::txns::Leaving;

/// A key in the queue, or one that may be put.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) epoch: Epoch,
    pub(crate) line: Arc<Line>,
    pub(crate) own: String,
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    /// The value of the grant's record while this place holds; says whose it is.
    pub(crate) grant: Bytes,
    /// The create revision: the fencing token. 0 while it is not known.
    pub(crate) revision: i64,
    /// A request that puts the key may still be under way.
    pub(crate) doubtful: bool,
    slot: u32,
}

/// What was found on giving up a place.
#[derive(Debug, Clone)]
pub(crate) struct Left {
    /// The key was there.
    pub(crate) found: bool,
    /// The places before it, if asked for; oldest first, without values and records.
    pub(crate) ahead: Vec<Member>,
}

impl Place {
    /// A place that has no key in the store yet.
    pub(crate) fn new(epoch: Epoch, line: Arc<Line>, value: Bytes) -> Self {
        let slot = epoch.take_slot(&line.name);
        let own = own_name(epoch.lease(), slot);
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let grant = Grant {
            kind: line.kind,
            own: own.clone(),
            since_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        };
        Self {
            key: line.key(&own),
            // Plain strings and numbers always encode.
            grant: serde_json::to_vec(&grant)
                .map(Bytes::from)
                .unwrap_or_default(),
            epoch,
            line,
            own,
            value,
            revision: 0,
            doubtful: false,
            slot,
        }
    }

    /// Gives up the place in the background, until a server confirmed it or the lease is gone.
    ///
    /// Starts at once; the returned future only tells how it went.
    pub(crate) fn leave(self, how: Leaving) -> BoxFuture<'static, Reaped<Left>> {
        if self.revision == 0 && !self.doubtful {
            // Nothing was ever sent.
            self.epoch.free_slot(&self.line.name, self.slot);
            return std::future::ready(Reaped::Answered(Left {
                found: false,
                ahead: Vec::new(),
            }))
            .boxed();
        }
        let epoch = self.epoch.clone();
        let name = self.line.name.clone();
        let place = Arc::new(self);
        let job = move |client: handfast_core::Client| {
            let place = Arc::clone(&place);
            async move {
                let answer = match txns::leave(&client, &place, how)
                    .repeatable()
                    .commit()
                    .await
                {
                    Ok(answer) => answer,
                    Err(error) if error.kind() == ErrorKind::LeaseNotFound => {
                        return Ok(Left {
                            found: false,
                            ahead: Vec::new(),
                        });
                    }
                    Err(error) => return Err(error),
                };
                let found = answer.succeeded && place.revision > 0;
                let ahead = match how {
                    Leaving::Waiter { report: true } if answer.succeeded => {
                        places(&place.line, &answer.range(2)?.kvs)
                    }
                    _ => Vec::new(),
                };
                if !place.doubtful {
                    place.epoch.free_slot(&place.line.name, place.slot);
                }
                Ok(Left { found, ahead })
            }
        };
        epoch.reap(name, job).boxed()
    }
}

/// The places among `pairs`, which are sorted by age.
pub(crate) fn places(line: &Line, pairs: &[handfast_core::KeyValue]) -> Vec<Member> {
    pairs
        .iter()
        .filter(|pair| line.is_place(pair))
        .zip(1..)
        .map(|(pair, position)| Member::new(line, pair, position))
        .collect()
}
