//! Learning the cluster's endpoints from the cluster itself.
//!
//! Owns asking for the members now and then, and which of the addresses they advertise to believe.
//! Knows nothing of how endpoints are chosen among.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use handfast_proto::etcdserverpb::{Member, MemberListRequest, cluster_client::ClusterClient};
use tokio::time::sleep;

use crate::{
    call::{self, Call, Safety},
    endpoint,
    pool::Pool,
};

const INTERVAL: Duration = Duration::from_secs(30);
/// After no answer, or one that leaves members out which have not said yet where they serve.
const RETRY: Duration = Duration::from_secs(3);
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Starts the task at most once.
#[derive(Debug, Default)]
pub(crate) struct EndpointSync {
    started: AtomicBool,
}

impl EndpointSync {
    /// Begins to keep `pool` in step with the cluster, until it is dropped. Panics outside a
    /// tokio runtime.
    pub(crate) fn start(&self, pool: &Arc<Pool>) {
        if !self.started.swap(true, Ordering::Relaxed) {
            tokio::spawn(keep(Arc::downgrade(pool)));
        }
    }
}

async fn keep(pool: Weak<Pool>) {
    loop {
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let wait = match learn(&pool).await {
            true => INTERVAL,
            false => RETRY,
        };
        let wait = wait.mul_f64(pool.chance().factor(0.8, 1.2));
        drop(pool);
        sleep(wait).await;
    }
}

/// Asks once; whether all members have said where they serve clients.
async fn learn(pool: &Pool) -> bool {
    let call = Call {
        operation: "member_list",
        safety: Safety::Read,
        timeout: CALL_LIMIT,
        require_leader: true,
    };
    // A member that was cut off long ago would tell of members long gone.
    let request = MemberListRequest { linearizable: true };
    let send =
        |channel, request| async move { ClusterClient::new(channel).member_list(request).await };
    match call::run(pool, call, &request, send).await.result {
        Ok(answer) => {
            let near = pool.urls().iter().any(|url| endpoint::is_loopback(url));
            let urls = believed(&answer.members, near);
            tracing::debug!(?urls, "the cluster's endpoints");
            pool.learn(&urls);
            let mut members = answer.members.iter();
            members.all(|member| !member.client_ur_ls.is_empty())
        }
        Err(error) => {
            tracing::debug!(%error, "cannot learn the cluster's endpoints");
            false
        }
    }
}

/// The addresses of voting members that can be meant for this client. Those that say "this
/// machine" are, only if the client was given such a one itself: `near`.
fn believed(members: &[Member], near: bool) -> Vec<Arc<str>> {
    let mut urls: Vec<Arc<str>> = Vec::new();
    for written in members
        .iter()
        .filter(|member| !member.is_learner)
        .flat_map(|member| &member.client_ur_ls)
    {
        let Ok(url) = endpoint::parse_one(written) else {
            continue;
        };
        let usable = !endpoint::is_unspecified(&url) && (near || !endpoint::is_loopback(&url));
        if usable && !urls.iter().any(|known| **known == *url) {
            urls.push(url.into());
        }
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(is_learner: bool, urls: &[&str]) -> Member {
        Member {
            is_learner,
            client_ur_ls: urls.iter().map(ToString::to_string).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn only_addresses_that_can_be_meant_for_this_client_are_believed() {
        let members = [
            member(false, &["http://a:1", "https://a:2"]),
            member(false, &["http://0.0.0.0:3", "http://b:4", "http://a:1"]),
            member(false, &["http://127.0.0.1:5", "http://localhost:6"]),
            member(true, &["http://learner:7"]),
        ];
        let far: Vec<_> = believed(&members, false);
        assert_eq!(far, ["http://a:1".into(), "http://b:4".into()]);
        assert_eq!(believed(&members, true).len(), 4);
    }
}
