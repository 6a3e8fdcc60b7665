//! A server for tests, in the process that tests, with the faults that tests want.
//!
//! Owns a server with its data, and the [`relay`] in front of it, so that its address stays when
//! the server does not. Knows nothing of how a language shows it.

mod relay;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use handfast::Handfast;
use handfast_server::Server;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::Failure;
use relay::Relay;

/// A server whose address outlives its faults. Clones are the same server; it ends with the last.
#[derive(Clone)]
pub struct TestServer {
    shared: Arc<Shared>,
}

struct Shared {
    relay: Relay,
    running: Mutex<Option<Running>>,
    folder: parking_lot::Mutex<Option<TempDir>>,
    data_dir: PathBuf,
}

struct Running {
    server: Server,
    /// Straight to the server, so that it works while the relay does not.
    handfast: Handfast,
}

impl std::fmt::Debug for TestServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestServer")
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

impl TestServer {
    /// Starts an empty one on a free port of this machine. Must be called within a runtime.
    ///
    /// # Errors
    /// That the system refuses a folder or a port.
    pub async fn start() -> Result<Self, Failure> {
        let folder = TempDir::with_prefix("handfast-test-")?;
        let running = run(folder.path()).await?;
        let relay = Relay::open(&running.server.endpoint()).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                relay,
                running: Mutex::new(Some(running)),
                data_dir: folder.path().to_owned(),
                folder: parking_lot::Mutex::new(Some(folder)),
            }),
        })
    }

    /// Its address for clients, such as `http://127.0.0.1:40123`; the same over restarts.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.shared.relay.endpoint()
    }

    /// The folder of its data, which goes away with it.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.shared.data_dir
    }

    /// Stops the server and refuses connections; its data stays. Does nothing at the second time.
    ///
    /// # Errors
    /// That its last changes could not be written.
    pub async fn stop(&self) -> Result<(), Failure> {
        let mut running = self.shared.running.lock().await;
        self.shared.relay.close();
        if let Some(Running { server, handfast }) = running.take() {
            // It has no session, so there is nothing to give back.
            drop(handfast);
            server.shutdown().await?;
        }
        Ok(())
    }

    /// Stops the server if it runs, and starts it again at the same address with the same data.
    ///
    /// # Errors
    /// That it could not be stopped or started; `CLOSED` after [`close`](Self::close).
    pub async fn restart(&self) -> Result<(), Failure> {
        self.stop().await?;
        let mut running = self.shared.running.lock().await;
        if self.shared.folder.lock().is_none() {
            return Err(Failure::closed("test server"));
        }
        if running.is_none() {
            let started = run(self.data_dir()).await?;
            self.shared.relay.open_to(&started.server.endpoint())?;
            *running = Some(started);
        }
        Ok(())
    }

    /// Stops the server and removes its data, for good.
    ///
    /// # Errors
    /// That the folder could not be removed.
    pub async fn close(&self) -> Result<(), Failure> {
        // Nobody will read what could not be written.
        let _ = self.stop().await;
        let folder = self.shared.folder.lock().take();
        folder.map_or(Ok(()), TempDir::close)?;
        Ok(())
    }

    /// Lets connections stay, but nothing pass, as if the network or the server hung.
    pub fn pause(&self) {
        self.shared.relay.pause();
    }

    /// Ends a [`pause`](Self::pause): what waited passes.
    pub fn resume(&self) {
        self.shared.relay.resume();
    }

    /// Breaks every connection; clients may connect again at once.
    pub fn disconnect(&self) {
        self.shared.relay.disconnect();
    }

    /// Ends the lease `lease` as if its time had run out; whether there was one.
    ///
    /// # Errors
    /// `CLOSED` while it is stopped.
    pub async fn expire(&self, lease: i64) -> Result<bool, Failure> {
        use handfast::core::ErrorKind;
        let handfast = self.inside().await?;
        match handfast.client().lease_revoke(lease).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::LeaseNotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the leases of all sessions, and says how many there were: everything that is held
    /// through them is lost.
    ///
    /// # Errors
    /// `CLOSED` while it is stopped.
    pub async fn expire_sessions(&self) -> Result<u32, Failure> {
        let handfast = self.inside().await?;
        let mut ended = 0;
        for (lease, _) in handfast.sessions().await? {
            ended += u32::from(self.expire(lease).await?);
        }
        Ok(ended)
    }

    /// How many wait for the lock `name`, not counting who holds it.
    ///
    /// # Errors
    /// `CLOSED` while it is stopped.
    pub async fn waiters(&self, name: &[u8]) -> Result<u32, Failure> {
        let look = self.inside().await?.lock(name).look().await?;
        Ok(u32::try_from(look.waiters().len()).unwrap_or(u32::MAX))
    }

    async fn inside(&self) -> Result<Handfast, Failure> {
        let running = self.shared.running.lock().await;
        let running = running.as_ref();
        running
            .map(|running| running.handfast.clone())
            .ok_or_else(|| Failure::closed("test server"))
    }
}

async fn run(folder: &Path) -> Result<Running, Failure> {
    let builder = Server::builder().data_dir(folder).listen("127.0.0.1:0");
    // In a task: a start that is dropped half way would keep the folder locked.
    let started = tokio::spawn(builder.start()).await;
    let started = started
        .map_err(|error| Failure::new("INTERNAL", format!("the server's start failed: {error}")))?;
    let server = started?;
    let handfast = Handfast::connect(server.endpoint()).await?;
    Ok(Running { server, handfast })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        crate::runtime::handle().unwrap().block_on(future)
    }

    #[test]
    fn data_and_address_outlive_a_restart() {
        block_on(async {
            let server = TestServer::start().await.unwrap();
            let hf = Handfast::connect(server.endpoint()).await.unwrap();
            hf.client().put("k", "v").await.unwrap();
            server.stop().await.unwrap();
            server.stop().await.unwrap();
            let refused = server.waiters(b"k").await.unwrap_err();
            assert_eq!(refused.code(), "CLOSED");
            server.restart().await.unwrap();
            let read = hf.client().get("k").await.unwrap().unwrap();
            assert_eq!(&*read.value, b"v");
            server.close().await.unwrap();
            assert!(!server.data_dir().exists());
            assert_eq!(server.restart().await.unwrap_err().code(), "CLOSED");
        });
    }

    #[test]
    fn a_pause_holds_answers_back_and_loses_none() {
        block_on(async {
            let server = TestServer::start().await.unwrap();
            let hf = Handfast::connect(server.endpoint()).await.unwrap();
            hf.client().put("k", "v").await.unwrap();
            server.pause();
            let hasty = hf.client().with_timeout(Duration::from_millis(200));
            assert!(hasty.get("k").await.is_err());
            let patient = hf.client().clone();
            let waiting = tokio::spawn(async move { patient.get("k").await });
            server.resume();
            assert!(waiting.await.unwrap().unwrap().is_some());
            server.disconnect();
            assert!(hf.client().get("k").await.unwrap().is_some());
        });
    }

    #[test]
    fn an_expired_session_loses_its_lock() {
        block_on(async {
            let server = TestServer::start().await.unwrap();
            let hf = Handfast::connect(server.endpoint()).await.unwrap();
            let lock = hf.lock("a").acquire().await.unwrap();
            assert_eq!(server.waiters(b"a").await.unwrap(), 0);
            assert_eq!(server.expire_sessions().await.unwrap(), 1);
            lock.lost().await;
            assert!(lock.check().is_err());
            assert!(!server.expire(lock.lease()).await.unwrap());
        });
    }
}
