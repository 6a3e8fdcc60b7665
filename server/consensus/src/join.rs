//! How somebody who is not a member yet talks to a cluster.
//!
//! Owns join tokens and the two questions that need no membership: who are you, and may I join.

use std::{fmt::Write as _, time::Duration};

use handfast_proto::{
    command::MemberInfo,
    peer::{self, Description, Joined, Request, refusal::Reason, request, response},
};

use crate::peer::Transport;

/// How long one member may take for its answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a cluster could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// No address answered.
    #[error("no member of the cluster answers: {0}")]
    Unreachable(String),
    /// The cluster refused for good.
    #[error("the cluster refuses: {0}")]
    Refused(String),
}

/// The token that lets a member join, from the cluster's id and secret. `None` without a secret.
pub fn token(cluster_id: u64, secret: Option<&[u8]>) -> Option<String> {
    let secret = secret?;
    let mut token = format!("{cluster_id:016x}-");
    for byte in secret {
        let _ = write!(token, "{byte:02x}");
    }
    Some(token)
}

/// Asks each address in turn who its cluster is.
///
/// # Errors
/// [`JoinError::Unreachable`] when none answers. Cancel safe.
pub async fn describe(
    transport: &dyn Transport,
    urls: &[String],
) -> Result<Description, JoinError> {
    let body = request::Body::Describe(peer::Describe {});
    match ask(transport, urls, &body).await? {
        response::Body::Description(description) => Ok(description),
        _ => Err(unexpected(urls)),
    }
}

/// Asks a cluster to take this member in.
///
/// Safe to repeat: the cluster knows a member again by its name and addresses.
///
/// # Errors
/// [`JoinError::Refused`] says what to change.
pub async fn join(
    transport: &dyn Transport,
    urls: &[String],
    join: peer::Join,
) -> Result<Joined, JoinError> {
    let body = request::Body::Join(join);
    match ask(transport, urls, &body).await? {
        response::Body::Joined(joined) => Ok(joined),
        _ => Err(unexpected(urls)),
    }
}

fn unexpected(urls: &[String]) -> JoinError {
    JoinError::Unreachable(format!("{} does not speak this protocol", urls.join(", ")))
}

async fn ask(
    transport: &dyn Transport,
    urls: &[String],
    body: &request::Body,
) -> Result<response::Body, JoinError> {
    let mut failures = Vec::new();
    for url in urls {
        let to = MemberInfo {
            peer_urls: vec![url.clone()],
            ..MemberInfo::default()
        };
        let request = Request {
            body: Some(body.clone()),
            ..Request::default()
        };
        match transport.call(&to, request, ASK_TIMEOUT).await {
            Ok(response) => match response.body {
                Some(response::Body::Refusal(refusal)) => {
                    let again = [Reason::NotLeader, Reason::Stopped, Reason::Timeout];
                    if !again.contains(&refusal.reason()) {
                        return Err(JoinError::Refused(refusal.detail));
                    }
                    failures.push(format!("{url}: {}", refusal.detail));
                }
                Some(body) => return Ok(body),
                None => failures.push(format!("{url}: an empty answer")),
            },
            Err(error) => failures.push(format!("{url}: {error}")),
        }
    }
    Err(JoinError::Unreachable(failures.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_cluster_and_its_secret() {
        let made = token(0xabc, Some(&[1, 0xff]));
        assert_eq!(made.as_deref(), Some("0000000000000abc-01ff"));
        assert_eq!(token(1, None), None);
    }
}
