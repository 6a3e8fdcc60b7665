//! What a running member tells the outside world about itself, in the background.
//!
//! Owns two small duties: the cluster learns this member's name and client addresses, and the
//! operator finds the token by which further members join. Neither holds up serving.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use handfast_proto::command::MemberInfo;

use crate::api::Node;
use crate::limits;

/// Name of the file with the join token, in the data directory.
const TOKEN_FILE: &str = "JOIN_TOKEN";

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
                    tracing::debug!(%error, "the cluster does not know this member's addresses yet");
                }
            }
        }
        tokio::time::sleep(limits::ANNOUNCE_PAUSE).await;
    }
}

/// Keeps the join token where the operator finds it, once the cluster has agreed on a secret.
///
/// With `address`, says once how another member joins there.
pub(crate) async fn write_join_token(node: Arc<Node>, dir: PathBuf, address: Option<String>) {
    let token = loop {
        let secret = node.store.join_secret();
        match handfast_consensus::join_token(node.cluster_id, secret.as_deref()) {
            Some(token) => break token,
            None => tokio::time::sleep(limits::ANNOUNCE_PAUSE).await,
        }
    };
    let path = dir.join(TOKEN_FILE);
    let written = {
        let path = path.clone();
        crate::lanes::blocking(move || write_private(&path, &token)).await
    };
    match (written, address) {
        (Err(error), _) => tracing::warn!(%error, "the join token cannot be written"),
        // The token itself is a secret, and logs are read by many.
        (Ok(()), Some(address)) => tracing::info!(
            "another member joins with: handfast serve --join {address} --join-token @{} (on \
             another machine, with what that file contains)",
            path.display()
        ),
        (Ok(()), None) => {}
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    writeln!(options.open(path)?, "{text}")
}
