//! What the members say of themselves: who leads, and whether all have the same data.
//!
//! Only asks, over the wire. Must not know how members are started or disturbed.

use std::time::Duration;

use handfast_proto::etcdserverpb::{HashKvRequest, RangeRequest, StatusRequest, StatusResponse};
use tokio::time::{Instant, timeout};

use super::group::Cluster;
use crate::{Result, client::Client};

const STATUS_LIMIT: Duration = Duration::from_millis(700);
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How long members may take to have the same data once nobody writes any more.
const CONVERGE_LIMIT: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);

/// Who leads, as far as the members tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The leader's place in the cluster.
    pub leader: usize,
    /// The leader's member id.
    pub id: u64,
    /// Its term.
    pub term: u64,
}

impl Cluster {
    /// The member that says it leads under the highest term.
    pub async fn standing(&self) -> Option<Standing> {
        let mut best: Option<Standing> = None;
        for (place, status) in self.statuses().await {
            let id = status.header.as_ref().map_or(0, |header| header.member_id);
            let is_higher = best.is_none_or(|best| best.term < status.raft_term);
            if status.leader == id && is_higher {
                best = Some(Standing {
                    leader: place,
                    id,
                    term: status.raft_term,
                });
            }
        }
        best
    }

    /// Waits until a member leads and all that are awake agree.
    ///
    /// # Errors
    /// When that does not happen within a minute.
    pub async fn settled(&self) -> Result<Standing> {
        let begun = Instant::now();
        while begun.elapsed() < CONVERGE_LIMIT {
            let awake = self.members().iter().filter(|it| it.is_awake()).count();
            let statuses = self.statuses().await;
            let (standing, count) = (self.standing().await, statuses.len());
            if let Some(standing) = standing {
                let agree =
                    |it: &StatusResponse| (it.leader, it.raft_term) == (standing.id, standing.term);
                if count == awake && statuses.iter().all(|(_, status)| agree(status)) {
                    return Ok(standing);
                }
            }
            tokio::time::sleep(POLL).await;
        }
        Err(format!("no leader that all agree on\n{}", self.logs(10)).into())
    }

    /// What the members that are awake say of themselves, by their place.
    pub async fn statuses(&self) -> Vec<(usize, StatusResponse)> {
        let awake = (0..self.size()).filter(|&place| self.members()[place].is_awake());
        let mut found = Vec::new();
        for place in awake {
            let Ok(mut client) = self.client(place) else {
                continue;
            };
            let asked = client.maintenance.status(StatusRequest {});
            if let Ok(Ok(status)) = timeout(STATUS_LIMIT, asked).await {
                found.push((place, status.into_inner()));
            }
        }
        found
    }
}

/// One linearizable read.
pub(super) async fn reads(mut client: Client, limit: Duration) -> Result<(), String> {
    let probe = RangeRequest {
        key: "ready?".into(),
        ..RangeRequest::default()
    };
    match timeout(limit, client.kv.range(probe)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => Err(status.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

/// One member's data in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Figures {
    revision: i64,
    hash: u32,
    compacted: i64,
    keys: i64,
}

/// Waits until all members have the same data at the same revision, which is given.
///
/// # Errors
/// When they do not within a minute after the last write; the message has their figures.
pub async fn converged(cluster: &Cluster) -> Result<i64> {
    let begun = Instant::now();
    loop {
        let figures = all_figures(cluster).await;
        if let Ok(figures) = &figures
            && figures.windows(2).all(|pair| pair[0] == pair[1])
            && let Some(first) = figures.first()
        {
            return Ok(first.revision);
        }
        if begun.elapsed() > CONVERGE_LIMIT {
            let what = match figures {
                Ok(figures) => format!("{figures:#?}"),
                Err(error) => error.to_string(),
            };
            return Err(format!("the members do not become equal: {what}").into());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn all_figures(cluster: &Cluster) -> Result<Vec<Figures>> {
    let mut figures = Vec::new();
    for place in (0..cluster.size()).filter(|&place| cluster.members()[place].is_awake()) {
        let client = cluster.client(place)?;
        let asked = timeout(CALL_LIMIT, figures_of(client)).await;
        let asked = asked.map_err(|_| format!("m{place} gives no hash within {CALL_LIMIT:?}"))?;
        figures.push(asked.map_err(|error| format!("m{place}: {error}"))?);
    }
    Ok(figures)
}

async fn figures_of(mut client: Client) -> Result<Figures> {
    let all = RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        serializable: true,
        count_only: true,
        ..RangeRequest::default()
    };
    let counted = client.kv.range(all).await?.into_inner();
    let revision = counted.header.map_or(0, |header| header.revision);
    let hashed = client.maintenance.hash_kv(HashKvRequest { revision });
    let hashed = hashed.await?.into_inner();
    Ok(Figures {
        revision,
        hash: hashed.hash,
        compacted: hashed.compact_revision,
        keys: counted.count,
    })
}
