//! What a running member tells the outside world about itself, in the background.
//!
//! Owns two small duties: the cluster learns this member's name and client addresses, and the
//! operator finds the token by which further members join. Neither holds up serving.

use std::sync::{Arc, Weak};

use handfast_proto::command::MemberInfo;
use handfast_storage::Error;
use handfast_storage::data_dir::DataDir;

use crate::api::Node;
use crate::lanes::blocking;
use crate::limits;

/// Tells the cluster how this member is called and where clients find it, until it knows.
pub(crate) async fn publish(node: Arc<Node>, wanted: MemberInfo) {
    loop {
        let members = node.consensus.members();
        let known = members.iter().find(|member| member.id == wanted.id);
        if known.is_some_and(|known| {
            known.name == wanted.name && known.client_urls == wanted.client_urls
        }) {
            return;
        }
        // Somebody who is not let in yet has nothing to correct.
        if known.is_some() {
            let (name, urls) = (wanted.name.clone(), wanted.client_urls.clone());
            match node.consensus.publish(name, urls).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(%error, "this member's addresses are not known yet");
                }
            }
        }
        tokio::time::sleep(limits::ANNOUNCE_PAUSE).await;
    }
}

/// Leaves the join token where the operator finds it, once the cluster has agreed on a secret.
///
/// With `address`, says once how another member joins there.
pub(crate) async fn leave_join_token(node: Arc<Node>, dir: Weak<DataDir>, address: Option<String>) {
    let token = loop {
        let secret = node.store.join_secret();
        match handfast_consensus::join_token(node.cluster_id, secret.as_deref()) {
            Some(token) => break token,
            None => tokio::time::sleep(limits::ANNOUNCE_PAUSE).await,
        }
    };
    let left = blocking(move || match dir.upgrade() {
        Some(dir) => leave(&dir, &token).map(|new| new.then(|| dir.path().to_owned())),
        None => Ok(None),
    });
    match (left.await, address) {
        (Err(error), _) => tracing::warn!(%error, "the join token cannot be written"),
        // The token itself is a secret, and logs are read by many.
        (Ok(Some(dir)), Some(address)) => tracing::info!(
            "to add a member: handfast serve --join {address} --join-token TOKEN, with what \
             `handfast cluster token --data-dir {}` prints here",
            dir.display()
        ),
        (Ok(_), _) => {}
    }
}

/// Whether it was not there already.
fn leave(dir: &DataDir, token: &str) -> Result<bool, Error> {
    if dir.join_token()?.as_deref() == Some(token) {
        return Ok(false);
    }
    dir.write_join_token(token)?;
    Ok(true)
}
