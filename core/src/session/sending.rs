//! Sending a transaction of an epoch until it is answered.
//!
//! Owns the retries, and giving up when the epoch is lost. Knows nothing of what is sent.

use std::time::Duration;

use super::{epoch::Epoch, state::LostReason};
use crate::{Backoff, ErrorKind, Txn, TxnResponse};

const FIRST_WAIT: Duration = Duration::from_millis(20);
const WAIT_LIMIT: Duration = Duration::from_secs(1);
const MIN_ATTEMPT: Duration = Duration::from_millis(500);

/// Why a transaction was not answered.
#[derive(Debug)]
pub enum Unanswered {
    /// The epoch is lost.
    Lost(LostReason),
    /// The server refuses it.
    Refused(crate::Error),
}

/// Commits what `build` makes, again and again if need be. Sets `doubt` when an attempt that did
/// not get its answer may still be carried out.
///
/// Cancel safe for the caller's state; the fate of the transaction is open then.
///
/// # Errors
/// [`Lost`](Unanswered::Lost) when the epoch ended first, [`Refused`](Unanswered::Refused) when
/// sending it again would not help.
pub async fn commit(
    epoch: &Epoch,
    doubt: &mut bool,
    build: impl Fn() -> Txn,
) -> Result<TxnResponse, Unanswered> {
    let limit = epoch
        .client()
        .timeout()
        .min((epoch.ttl() / 4).max(MIN_ATTEMPT));
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(epoch.client().chance());
    loop {
        epoch
            .check()
            .map_err(|lost| Unanswered::Lost(lost.reason))?;
        let answer = tokio::select! {
            biased;
            reason = epoch.lost() => return Err(Unanswered::Lost(reason)),
            answer = build().timeout(limit).commit() => answer,
        };
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if error.kind() == ErrorKind::LeaseNotFound {
            epoch.report_lease_gone();
            return Err(Unanswered::Lost(epoch.lost().await));
        }
        *doubt |= error.in_doubt();
        if !error.in_doubt() && !error.is_retryable() {
            return Err(Unanswered::Refused(error));
        }
        tracing::debug!(target: "handfast::session", %error, "sending again");
        tokio::select! {
            biased;
            reason = epoch.lost() => return Err(Unanswered::Lost(reason)),
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}
