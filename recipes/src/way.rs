//! What is waited for, and a way to its grant: what one queue and several have in common.
//!
//! Owns the words between those who wait and the queues. Knows nothing of either.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_core::Epoch;

use crate::{Error, Kind, Member, Waiting};

/// Told about the place in the queue while waiting.
pub(crate) type OnWait = Arc<dyn Fn(&Waiting) + Send + Sync>;

/// What is waited for.
pub(crate) trait Goal: Send + Sync {
    fn kind(&self) -> Kind;

    /// Its name for people.
    fn shown(&self) -> String;
}

/// Who was in the way when it was given up.
pub(crate) struct Blocked {
    /// The name of the queue.
    pub(crate) name: Bytes,
    /// The places before the own one, oldest first.
    pub(crate) ahead: Vec<Member>,
}

/// A way to a grant. Dropping it leaves nothing behind.
pub(crate) trait Way: Sized + Send {
    type Goal: Goal;
    /// What is learned with the grant.
    type Granted: Send;
    type Admission: Send;

    /// Waits until clean-up under the name by this session is settled.
    fn open(
        epoch: &Epoch,
        goal: &Arc<Self::Goal>,
        value: Bytes,
    ) -> impl Future<Output = Self> + Send;

    /// Joins and waits for the grant. Cancel safe: drop all of it to leave.
    fn wait(
        &mut self,
        on_wait: Option<&OnWait>,
    ) -> impl Future<Output = Result<Self::Granted, Error>> + Send;

    /// What was granted, unless the session was lost meanwhile.
    fn into_admission(self, granted: Self::Granted) -> Result<Self::Admission, Error>;

    /// Leaves, and tells who was ahead if a server tells within `limit`.
    fn give_up(self, limit: Duration) -> impl Future<Output = Option<Blocked>> + Send;
}

/// A name for people.
pub(crate) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
