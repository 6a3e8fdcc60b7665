//! Giving up a place for certain.
//!
//! Owns repeating it in the background and what is found then. Knows nothing of why a place is
//! given up.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use handfast_core::{Client, ErrorKind, session::Reaped};

use super::{
    place::Place,
    txns::{self, Leaving},
};
use crate::Member;

/// What was found on giving up a place.
#[derive(Debug, Clone)]
pub(crate) struct Left {
    /// The key was there.
    pub(crate) found: bool,
    /// The places before it, if asked for; oldest first, without values and records.
    pub(crate) ahead: Vec<Member>,
}

impl Place {
    /// Gives up the place in the background, until a server confirmed it or the lease is gone.
    ///
    /// Starts at once; the returned future only tells how it went.
    pub(crate) fn leave(self, how: Leaving) -> BoxFuture<'static, Reaped<Left>> {
        if self.revision == 0 && !self.doubtful {
            // Nothing was ever sent.
            self.free_key();
            return std::future::ready(Reaped::Answered(Left {
                found: false,
                ahead: Vec::new(),
            }))
            .boxed();
        }
        let epoch = self.epoch.clone();
        let name = self.line.name.clone();
        let place = Arc::new(self);
        let job = move |client: Client| {
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
                        place.line.members(&answer.range(2)?.kvs)
                    }
                    _ => Vec::new(),
                };
                if !place.doubtful {
                    place.free_key();
                }
                Ok(Left { found, ahead })
            }
        };
        epoch.reap(name, job).boxed()
    }
}
