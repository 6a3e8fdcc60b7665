//! Giving up the places of several queues for certain.
//!
//! Owns repeating it in the background and what is found then. Knows nothing of why they are given
//! up.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use handfast_core::{Client, ErrorKind, session::Reaped};

use super::{
    party::Party,
    txns::{self, Found, Leaving},
};
use crate::line::leave::Left;

impl Party {
    /// Gives up all places in the background, until a server confirmed it or the lease is gone.
    ///
    /// Starts at once; the returned future only tells how it went.
    pub(super) fn leave(self, how: Leaving) -> BoxFuture<'static, Reaped<Left>> {
        let nothing = || Left {
            found: false,
            ahead: Vec::new(),
        };
        if self.first().revision == 0 && !self.doubtful {
            // Nothing was ever sent.
            self.free_keys();
            return std::future::ready(Reaped::Answered(nothing())).boxed();
        }
        let epoch = self.first().epoch.clone();
        let names: Vec<Bytes> = self.places.iter().map(|it| it.line.name.clone()).collect();
        let party = Arc::new(self);
        // An attempt whose answer was lost may have done it.
        let doubt = Arc::new(AtomicBool::new(false));
        let job = move |client: Client| {
            let (party, doubt) = (Arc::clone(&party), Arc::clone(&doubt));
            async move {
                let leave = txns::leave(&client, &party, how).repeatable();
                let answer = match leave.commit().await {
                    Ok(answer) => answer,
                    Err(error) if error.kind() == ErrorKind::LeaseNotFound => {
                        return Ok(nothing());
                    }
                    Err(error) => {
                        doubt.fetch_or(error.in_doubt(), Ordering::Relaxed);
                        return Err(error);
                    }
                };
                let repeated = answer.repeated_in_doubt || doubt.load(Ordering::Relaxed);
                let Found { all, ahead } = txns::left(&party, how, repeated, &answer)?;
                if !party.doubtful {
                    party.free_keys();
                }
                let ahead = match how {
                    Leaving::Waiter(Some(which)) => party.places[which].line.members(&ahead),
                    _ => Vec::new(),
                };
                Ok(Left { found: all, ahead })
            }
        };
        epoch.reap_all(names, job).boxed()
    }
}
