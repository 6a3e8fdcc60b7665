//! A lease that is kept alive.
//!
//! Owns the task that renews it, and the news that it ended.

use futures::StreamExt;
use handfast::core::{Client, LeaseInfo};
use tokio::{sync::watch, task::AbortHandle};

use crate::Failure;

/// A granted lease. It is renewed for as long as this lives, if that was wanted.
#[derive(Debug)]
pub struct Kept {
    client: Client,
    id: i64,
    ttl: i64,
    ended: watch::Receiver<bool>,
    renewal: Option<AbortHandle>,
}

impl Kept {
    /// Asks for a lease of `ttl` seconds, and renews it if that is wanted.
    ///
    /// # Errors
    /// That no server granted it.
    pub async fn grant(client: Client, ttl: i64, keep: bool) -> Result<Self, Failure> {
        let grant = client.lease_grant(ttl, 0).await?;
        let (over, ended) = watch::channel(false);
        let renewal = keep.then(|| {
            let renewals = client.keep_aliver().keep(grant.id, grant.ttl);
            let task = tokio::spawn(async move {
                // The last item is the error that says that the lease is gone.
                renewals.for_each(|_| std::future::ready(())).await;
                over.send_replace(true);
            });
            task.abort_handle()
        });
        Ok(Self {
            client,
            id: grant.id,
            ttl: grant.ttl,
            ended,
            renewal,
        })
    }

    /// Its id, up to 63 bits.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The seconds granted.
    #[must_use]
    pub fn ttl(&self) -> i64 {
        self.ttl
    }

    /// Stops the renewal; the lease then ends after its TTL.
    pub fn stop(&self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
    }

    /// Ends the lease and deletes its keys.
    ///
    /// The future fails when there is no such lease any more, or no server answers.
    pub fn revoke(&self) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        self.stop();
        let (client, id) = (self.client.clone(), self.id);
        async move {
            client.lease_revoke(id).await?;
            Ok(())
        }
    }

    /// What the server knows of it.
    ///
    /// The future fails when there is no such lease any more, or no server answers.
    pub fn time_to_live(&self) -> impl Future<Output = Result<LeaseInfo, Failure>> + Send + use<> {
        let (client, id) = (self.client.clone(), self.id);
        async move { Ok(client.lease_time_to_live(id, true).await?) }
    }

    /// Waits until the renewal finds the lease gone. For ever when it was stopped.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.ended.clone();
        async move {
            if ended.wait_for(|ended| *ended).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.stop();
    }
}
