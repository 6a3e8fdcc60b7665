//! A member that lost its disk: removed, added again and started with nothing.
//!
//! Does what an operator does, through the client of this workspace. Must not know the server.

use std::time::Duration;

use handfast_core::{Client, ErrorKind};
use tokio::time::Instant;

use super::{group::Cluster, member::Founding};
use crate::Result;

/// How long the members may need to be ready for each step; etcd waits five seconds until it
/// trusts a connection.
const STEP_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);
const CALL_LIMIT: Duration = Duration::from_secs(5);

impl Cluster {
    /// Kills the member, removes it, wipes its data, adds it under the same address and starts it.
    /// Waits until it serves.
    ///
    /// # Errors
    /// When the others refuse a step for half a minute, or it does not come up.
    pub async fn replace(&mut self, member: usize) -> Result<()> {
        if self.members[member].process_id().is_some() {
            self.kill(member)?;
        }
        let others = self.members.iter().enumerate();
        let others: Vec<String> = others
            .filter(|(place, _)| *place != member)
            .map(|(_, it)| it.endpoint())
            .collect();
        let client = Client::builder().endpoints(others).timeout(CALL_LIMIT);
        let client = client.build()?;
        let url = self.members[member].peer_url();
        remove(&client, &url).await?;
        self.members[member].wipe()?;
        add(&client, &url).await?;
        let cluster = self.as_listed(&client).await?;
        self.spawn(member, Founding::Existing, &cluster)?;
        self.member_ready(member, Instant::now() + 2 * STEP_LIMIT)
            .await
    }

    /// The members as `--initial-cluster` names them; one that has not started has no name there.
    async fn as_listed(&self, client: &Client) -> Result<String> {
        let listed = client.members().await?.members;
        let name = |url: &String| {
            let found = self.members.iter().find(|it| it.peer_url() == *url);
            found.map(|it| format!("{}={url}", it.name()))
        };
        let named = listed.iter().flat_map(|it| &it.peer_ur_ls);
        let named: Vec<String> = named.filter_map(name).collect();
        Ok(named.join(","))
    }
}

async fn id_of(client: &Client, url: &str) -> Result<Option<u64>, handfast_core::Error> {
    let listed = client.members().await?.members;
    let found = listed
        .iter()
        .find(|it| it.peer_ur_ls.iter().any(|it| it == url));
    Ok(found.map(|it| it.id))
}

async fn remove(client: &Client, url: &str) -> Result<()> {
    retry("remove the member", async || {
        match id_of(client, url).await? {
            None => Ok(()),
            Some(id) => match client.member_remove(id).await {
                Err(error) if error.kind() != ErrorKind::MemberNotFound => Err(error),
                _ => Ok(()),
            },
        }
    })
    .await
}

async fn add(client: &Client, url: &str) -> Result<()> {
    retry("add the member", async || {
        match id_of(client, url).await? {
            Some(_) => Ok(()),
            None => match client.member_add(vec![url.to_owned()], false).await {
                Err(error) if error.kind() != ErrorKind::MemberExists => Err(error),
                _ => Ok(()),
            },
        }
    })
    .await
}

/// Does `step` until it succeeds. Whether an attempt in doubt has worked is seen by the next.
async fn retry(
    what: &str,
    mut step: impl AsyncFnMut() -> Result<(), handfast_core::Error>,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        let error = match step().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if begun.elapsed() > STEP_LIMIT {
            return Err(format!("cannot {what}: {error}").into());
        }
        tokio::time::sleep(POLL).await;
    }
}
