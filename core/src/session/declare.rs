//! Keys that a session shall have, whatever happens to its leases.
//!
//! Owns the handle. A declared key is put under the lease of each new epoch, at a moment drawn by
//! lot, and withdrawn as a wish before it is deleted, so that it cannot come back. What the store
//! has and what is wished change together: if somebody else writes the key, that is the wish from
//! then on. Knows nothing of what the keys mean.

mod keep;
mod txns;

use std::{fmt, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::join_all;

use super::{
    course::Shared,
    declared::{Change, Desired, Standing},
    epoch::{Closer, Core},
    state::{Lost, LostReason, SessionError},
};
use crate::KeyValue;

/// How many keys are withdrawn at a time when a session closes.
const FAREWELLS: usize = 32;

/// Why a declared key is not in the store as wished.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DeclareError {
    /// Somebody else has the key.
    #[error("the key is taken by the session of lease {:x}", by.lease)]
    Taken {
        /// The pair that is there.
        by: Arc<KeyValue>,
    },
    /// The session is over, or a server refuses the key for good.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// The key of the mark that the withdrawal of a declared `key` leaves for a minute. The mark is
/// put at the revision that deletes the key.
#[must_use]
pub fn left_key(metadata_prefix: &[u8], key: &[u8]) -> Bytes {
    let mut mark = BytesMut::from(metadata_prefix);
    mark.put_slice(b"left/");
    mark.put_slice(key);
    mark.freeze()
}

/// A key the session shall have; see [`Session::declare`](super::Session::declare).
///
/// Dropping it withdraws the key in the background.
pub struct Declared {
    desired: Arc<Desired>,
    closer: Arc<Closer>,
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.desired.fmt(f)
    }
}

impl Declared {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        closer: Arc<Closer>,
        runtime: &tokio::runtime::Handle,
        key: Bytes,
        value: Bytes,
    ) -> Self {
        let mark = left_key(&shared.options.metadata_prefix, &key);
        let desired = Arc::new(Desired::new(key, value, mark));
        runtime.spawn(keep::run(Arc::clone(shared), Arc::clone(&desired)));
        Self { desired, closer }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        &self.desired.key
    }

    /// The value as wished.
    #[must_use]
    pub fn value(&self) -> Bytes {
        self.desired.wish().0
    }

    /// Where it stands, as far as is known here.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.desired.standing.borrow().clone()
    }

    /// Each change of where it stands, or of its value: wake up and look.
    #[must_use]
    pub fn watch(&self) -> tokio::sync::watch::Receiver<Standing> {
        self.desired.standing.subscribe()
    }

    /// Waits until the store has the key as it is wished now; the revision of the put. Cancel
    /// safe. Waits for as long as no server answers.
    ///
    /// # Errors
    /// [`Taken`](DeclareError::Taken): it stays declared, and is put when the other is gone.
    /// [`Session`](DeclareError::Session).
    pub async fn present(&self) -> Result<i64, DeclareError> {
        self.confirmed(self.desired.wish().1).await
    }

    /// Changes the value, here at once and in the store as soon as it can be; waits for the
    /// store. Dropping the future does not undo it.
    ///
    /// `change` may be called again with another value, if somebody else wrote the key meanwhile.
    ///
    /// # Errors
    /// As [`present`](Self::present).
    pub async fn change(
        &self,
        change: impl Fn(&Bytes) -> Bytes + Send + Sync + 'static,
    ) -> Result<i64, DeclareError> {
        let change: Change = Arc::new(change);
        self.confirmed(self.desired.change(change)).await
    }

    async fn confirmed(&self, version: u64) -> Result<i64, DeclareError> {
        let mut standing = self.desired.standing.subscribe();
        loop {
            match &*standing.borrow_and_update() {
                Standing::Present { revision, .. } if self.desired.is_confirmed(version) => {
                    return Ok(*revision);
                }
                Standing::Refused { by } => return Err(DeclareError::Taken { by: Arc::clone(by) }),
                Standing::Pending {
                    last_error: Some(error),
                } if !error.is_retryable() => {
                    return Err(SessionError::from(error.clone()).into());
                }
                Standing::Gone { reason } => return Err(over(reason.clone()).into()),
                Standing::Present { .. } | Standing::Pending { .. } => {}
            }
            if standing.changed().await.is_err() {
                return Err(SessionError::Closed.into());
            }
        }
    }

    /// Withdraws it for good: first as a wish, then in the store, where a mark stays for a minute
    /// ([`left_key`]). Starts at once; the returned future waits until it is done, which is when
    /// a server answered or the lease is gone.
    pub fn withdraw(&self) -> impl Future<Output = ()> + Send + use<> {
        self.desired.withdraw(Arc::clone(&self.closer));
        let mut standing = self.desired.standing.subscribe();
        async move {
            let is_gone = |standing: &Standing| matches!(standing, Standing::Gone { .. });
            // The sender lives as long as the task that would have to tell.
            let _ = standing.wait_for(is_gone).await;
        }
    }
}

impl Drop for Declared {
    fn drop(&mut self) {
        if !matches!(&*self.desired.standing.borrow(), Standing::Gone { .. }) {
            self.desired.withdraw(Arc::clone(&self.closer));
        }
    }
}

fn over(reason: LostReason) -> SessionError {
    match reason {
        LostReason::Closed | LostReason::Released => SessionError::Closed,
        reason => Lost::new(reason).into(),
    }
}

/// Withdraws all keys of a session that closes, so that others see that they left and did not
/// die. Takes no longer than `limit`; the revoke of the lease does the rest.
pub(super) async fn farewell(shared: &Shared, core: &Core, limit: Duration) {
    let present: Vec<(Arc<Desired>, i64)> = shared
        .declared
        .all()
        .into_iter()
        .filter_map(|desired| {
            let standing = desired.standing.borrow().clone();
            match standing {
                Standing::Present {
                    create_revision, ..
                } => Some((desired, create_revision)),
                _ => None,
            }
        })
        .collect();
    if present.is_empty() {
        return;
    }
    let value = keep::mark_value(core);
    let all = async {
        let client = core.client.with_timeout(limit);
        let lease = shared.declared.mark_lease(&client).await?;
        for some in present.chunks(FAREWELLS) {
            let leaving = some.iter().map(|(desired, created)| {
                let mark = (&desired.mark, &value, lease);
                txns::withdraw(&client, &desired.key, *created, mark).commit()
            });
            for left in join_all(leaving).await {
                left?;
            }
        }
        Ok::<_, crate::Error>(())
    };
    if let Ok(Err(error)) = tokio::time::timeout(limit, all).await {
        tracing::debug!(target: "handfast::session", %error, "some keys are not withdrawn");
    }
}
