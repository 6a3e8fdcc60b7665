//! Whether a member that hears of no leader was removed without being told.
//!
//! Owns only the asking; what an answer means is decided in `ask`. The leader stops speaking to
//! those who leave, at times before they know: a voter then finds out when it stands for election,
//! but one that is no voter, or has the entry of its removal without its commit, never does.

use std::{sync::Arc, time::Duration};

use handfast_proto::peer::{StateHash, request};
use tokio_util::sync::CancellationToken;

use crate::{ask::Peers, standing::Standing};

/// Election timeouts of silence before each question. A vote takes less as a rule.
const SILENCES: u32 = 3;

/// Asks one of the other members after the other, while no leader is heard. Runs until `stop`.
pub(crate) async fn run(
    peers: Arc<Peers>,
    standing: Arc<Standing>,
    election_timeout: Duration,
    stop: CancellationToken,
) {
    let mut turn = 0;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(election_timeout * SILENCES) => {}
        }
        if standing.leader().is_some() {
            continue;
        }
        let others = peers.others();
        if others.is_empty() {
            continue;
        }
        turn = (turn + 1) % others.len();
        // Any question will do: a member refuses those of one that it knows to be gone.
        let question = request::Body::StateHash(StateHash::default());
        let asked = peers.ask(others[turn], question, election_timeout);
        if let Err(error) = asked.await {
            tracing::debug!(%error, "no leader is heard, nor an answer");
        }
    }
}
