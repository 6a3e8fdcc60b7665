//! A server of the scenario's own, with its faults.
//!
//! Owns how each fault is made with what stands between a client and any server. Knows nothing of
//! scenarios.

use std::sync::{Arc, Mutex};

use handfast::Handfast;

use crate::{
    proxy::Proxy,
    server::Server,
    util::{connect, until},
};

#[derive(Clone)]
pub(super) struct World(Arc<Inner>);

struct Inner {
    server: Mutex<Kept>,
    proxy: Proxy,
    /// Straight to the server, so that it works while the proxy does not.
    direct: Handfast,
}

struct Kept {
    server: Server,
    running: bool,
}

impl World {
    /// `None` when the server is not ours to stop.
    pub(super) async fn start() -> Option<Self> {
        let server = tokio::task::spawn_blocking(Server::own);
        let server = server.await.unwrap()?;
        Some(Self(Arc::new(Inner {
            proxy: Proxy::start(server.address()).await,
            direct: connect(&server),
            server: Mutex::new(Kept {
                server,
                running: true,
            }),
        })))
    }

    /// Where clients find it, whatever happens to it.
    pub(super) fn endpoint(&self) -> &str {
        &self.0.proxy.endpoint
    }

    /// Stops it, if it runs, and starts it again if `again`.
    pub(super) async fn stop(self, again: bool) {
        let stopped = tokio::task::spawn_blocking(move || {
            let mut kept = self.0.server.lock().unwrap();
            if std::mem::replace(&mut kept.running, again) {
                kept.server.kill();
            }
            if again {
                kept.server.start_again();
            }
        });
        stopped.await.unwrap();
    }

    pub(super) fn pause(&self) {
        self.0.server.lock().unwrap().server.pause();
    }

    pub(super) fn resume(&self) {
        self.0.server.lock().unwrap().server.resume();
    }

    pub(super) fn disconnect(&self) {
        self.0.proxy.heal();
    }

    pub(super) async fn compact(self) {
        let client = self.0.direct.client();
        let now = client.range("\0").count_only().await.unwrap();
        client.compact(now.header.revision, false).await.unwrap();
    }

    /// Ends the sessions of the program `app`: there is one, or will be soon.
    pub(super) async fn expire(self, app: String) {
        // Who a session belongs to is written after it begins.
        let leases = until(|| async {
            let sessions = self.0.direct.sessions().await.unwrap();
            let own = sessions.into_iter().filter(|(_, record)| record.app == app);
            let leases: Vec<i64> = own.map(|(lease, _)| lease).collect();
            Some(leases).filter(|leases| !leases.is_empty())
        });
        for lease in leases.await {
            self.0.direct.client().lease_revoke(lease).await.unwrap();
        }
    }
}
