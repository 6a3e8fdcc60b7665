//! Asking members of a cluster by somebody who is none yet.
//!
//! Owns whom the questions go to and how long to wait. What follows from the answers is decided
//! elsewhere.

use futures::future::join_all;
use handfast_consensus::peer::Transport;
use handfast_consensus::{self as consensus, JoinError};
use handfast_proto::peer::{Description, Join, Joined};
use tokio::time::Instant;

use super::BootstrapError;
use crate::limits;

/// Asks every address who is there; gives the answers, in the order of the addresses.
///
/// Cancel safe. Takes [`limits::DESCRIBE_TIMEOUT`] at the longest.
pub(super) async fn describe_each(
    transport: &dyn Transport,
    urls: &[String],
) -> Vec<(String, Description)> {
    let answers = join_all(urls.iter().map(|url| describe(transport, url))).await;
    let answered = urls.iter().zip(answers).filter_map(|(url, answer)| {
        let answer = answer.inspect_err(|problem| {
            tracing::debug!(%url, problem, "a member does not say who it is");
        });
        Some((url.clone(), answer.ok()?))
    });
    answered.collect()
}

/// Asks until a member of a cluster has answered; of several answers the one that knows the
/// newest membership.
pub(super) async fn describe_any(
    transport: &dyn Transport,
    urls: &[String],
) -> Result<(String, Description), BootstrapError> {
    let give_up = Instant::now() + limits::BOOTSTRAP_PATIENCE;
    loop {
        let answers = join_all(urls.iter().map(|url| describe(transport, url))).await;
        let mut problems = Vec::new();
        let mut known = Vec::new();
        for (url, answer) in urls.iter().zip(answers) {
            match answer {
                Ok(found) if found.members.is_empty() => {
                    problems.push(format!("{url} is not part of a cluster yet"));
                }
                Ok(found) => known.push((url.clone(), found)),
                Err(problem) => problems.push(problem),
            }
        }
        let newest = known
            .into_iter()
            .max_by_key(|(_, found)| found.membership_index);
        match newest {
            Some(newest) => return Ok(newest),
            None if Instant::now() >= give_up => return Err(no_answer(problems)),
            None => tokio::time::sleep(limits::BOOTSTRAP_PAUSE).await,
        }
    }
}

/// Asks the members at `urls` to take this one in, until one has or they have refused for good.
///
/// Asking again is harmless: the cluster knows the member again.
pub(super) async fn join(
    transport: &dyn Transport,
    urls: &[String],
    wish: &Join,
) -> Result<Joined, BootstrapError> {
    let give_up = Instant::now() + limits::BOOTSTRAP_PATIENCE;
    loop {
        match consensus::join(transport, urls, wish.clone()).await {
            Ok(joined) => return Ok(joined),
            Err(JoinError::Refused(problem)) => {
                return Err(BootstrapError::JoinRefused {
                    urls: urls.join(","),
                    problem,
                });
            }
            Err(error) if Instant::now() >= give_up => {
                return Err(no_answer(vec![error.to_string()]));
            }
            Err(error) => tracing::info!(%error, "cannot join yet; trying again"),
        }
        tokio::time::sleep(limits::BOOTSTRAP_PAUSE).await;
    }
}

async fn describe(transport: &dyn Transport, url: &str) -> Result<Description, String> {
    let urls = [url.to_owned()];
    let described = consensus::describe(transport, &urls);
    match tokio::time::timeout(limits::DESCRIBE_TIMEOUT, described).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!(
            "{url} does not answer within {:?}",
            limits::DESCRIBE_TIMEOUT
        )),
    }
}

fn no_answer(problems: Vec<String>) -> BootstrapError {
    BootstrapError::NoAnswer {
        problem: problems.join("; "),
    }
}
