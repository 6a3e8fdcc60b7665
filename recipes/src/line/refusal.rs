//! What can go wrong with a place on its way to the grant, in words for its owner.
//!
//! Owns the errors, and telling a name that is used for something else. Knows nothing of when they
//! come up.

use handfast_core::{
    KeyValue,
    held::{Missing, why_gone},
    session::{LostReason, Unanswered},
};

use super::{Grant, Line, place::Place};
use crate::{Error, Kind, way::Goal};

impl Line {
    /// Refuses a name that others use for another purpose, as far as can be told.
    pub(crate) fn same_kind(
        &self,
        holder: Option<&KeyValue>,
        grant: Option<&Grant>,
    ) -> Result<(), Error> {
        let Some(holder) = holder else { return Ok(()) };
        let recorded = grant
            .filter(|grant| self.key(&grant.own) == holder.key)
            .filter(|grant| grant.written >= holder.create_revision)
            .map(|grant| grant.kind);
        // A lock's key has no value, whoever wrote it.
        let by_value =
            (self.kind == Kind::Lock && !holder.value.is_empty()).then_some(Kind::Election);
        match recorded.or(by_value) {
            Some(found) if found != self.kind => Err(Error::KindConflict {
                name: self.shown(),
                wanted: self.kind,
                found,
            }),
            _ => Ok(()),
        }
    }
}

impl Place {
    pub(crate) fn still_alive(&self) -> Result<(), Error> {
        let alive = self.epoch.check();
        alive.map_err(|lost| self.line.session_lost(lost.reason))
    }

    /// The key is gone while waiting: why?
    pub(crate) async fn thrown_out(&self) -> Error {
        let missing = Missing {
            key: self.key.clone(),
            created: self.revision,
            gone_at: 0,
        };
        match why_gone(&self.epoch, &missing).await {
            reason @ (LostReason::Revoked | LostReason::Killed { .. }) => {
                self.line.session_lost(reason)
            }
            reason => self.line.lost(reason),
        }
    }

    pub(crate) fn failed(&self, unanswered: Unanswered) -> Error {
        match unanswered {
            Unanswered::Lost(reason) => self.line.session_lost(reason),
            Unanswered::Refused(error) => Error::Client(error),
        }
    }
}
