//! Clients of leases: they renew, revoke or forget them, and watch when the keys go.
//!
//! Each lease has a key of its own that nobody deletes, so the key's end is the lease's.

use std::time::Duration;

use bytes::Bytes;
use handfast_checker::{Put, Request};
use handfast_core::{Client, ErrorKind};
use tokio::task::JoinSet;

use super::{CLIENTS, Collected, Scene, store::recorded};
use crate::{Result, dice::Dice};

const OWNERS: u32 = 2;
/// In seconds; etcd raises what is below two.
const TTL: i64 = 2;
const CALL_LIMIT: Duration = Duration::from_secs(3);
/// How long a forgotten lease may last: long after any fault of a trial.
const GONE_LIMIT: Duration = Duration::from_secs(30);
const NANOS: u64 = 1_000_000_000;

/// Starts the owners of leases.
pub(super) fn start(
    scene: &Scene,
    collected: &Collected,
    dice: &mut Dice,
    workers: &mut JoinSet<()>,
) -> Result<()> {
    for number in 0..OWNERS {
        let client = Client::builder().endpoints(scene.endpoints.to_vec());
        let owner = Owner {
            scene: scene.clone(),
            number: CLIENTS + 1 + number,
            client: client.timeout(CALL_LIMIT).build()?,
            collected: collected.clone(),
            dice: Dice::new(dice.bits()),
        };
        workers.spawn(owner.work());
    }
    Ok(())
}

struct Owner {
    scene: Scene,
    number: u32,
    client: Client,
    collected: Collected,
    dice: Dice,
}

impl Owner {
    async fn work(mut self) {
        let mut count = 0;
        while !self.scene.is_over() {
            count += 1;
            let key = Bytes::from(format!("lease/{}/{count}", self.number));
            self.one(key).await;
            let rest = Duration::from_millis(self.dice.below(300));
            self.scene.pause(rest).await;
        }
    }

    /// One lease from its grant to its end, as far as that is seen.
    async fn one(&mut self, key: Bytes) {
        let sent = self.scene.now();
        // A grant in doubt leaves a lease behind that nothing hangs on.
        let Ok(granted) = self.client.lease_grant(TTL, 0).await else {
            return;
        };
        let (id, ttl) = (granted.id, granted.ttl.unsigned_abs());
        let now = self.scene.now();
        self.scene.recorder.leased(now, sent, id, ttl * NANOS);
        let put = Request::Put(Put {
            lease: id,
            ..Put::new(key.clone(), format!("of-{id:x}"))
        });
        let put = recorded(&self.scene, self.number, &self.client, &put).await;
        self.renew(id, Duration::from_secs(ttl)).await;
        if self.dice.percent(40) {
            self.revoke(id).await;
        } else if let Ok((revision, _)) = put {
            self.await_end(id, &key, revision).await;
        }
    }

    async fn renew(&mut self, id: i64, ttl: Duration) {
        for _ in 0..self.dice.below(4) {
            let wait = ttl.mul_f64(0.2 + self.dice.below(40) as f64 / 100.0);
            self.scene.pause(wait).await;
            let sent = self.scene.now();
            match self.client.lease_keep_alive_once(id).await {
                Ok(_) => self.scene.recorder.renewed(self.scene.now(), sent, id),
                Err(error) if error.kind() == ErrorKind::LeaseNotFound => {
                    self.scene.recorder.lease_gone(self.scene.now(), id);
                    return;
                }
                Err(_) => {}
            }
        }
    }

    async fn revoke(&self, id: i64) {
        self.scene.recorder.revoking(self.scene.now(), id);
        let request = Request::Revoke { lease: id };
        let _ = recorded(&self.scene, self.number, &self.client, &request).await;
    }

    /// Forgets the lease and waits until its key is gone.
    async fn await_end(&mut self, id: i64, key: &Bytes, put: i64) {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < GONE_LIMIT {
            if self.collected.is_deleted(key, put) {
                self.scene.recorder.lease_gone(self.scene.now(), id);
                return;
            }
            self.collected.changed(GONE_LIMIT).await;
        }
    }
}
