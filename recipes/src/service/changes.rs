//! The changes of a service's list, for one subscriber.
//!
//! Owns making up for changes that a slow subscriber missed. Knows nothing of their causes.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::DropGuard;

use super::{
    entry::Instance,
    roster::ServiceChange,
    shared::{Shared, State},
};

/// Changes of a service's list; made by [`Discovery::subscribe`](super::Discovery::subscribe),
/// which it keeps going.
pub struct ServiceChanges {
    shared: Arc<Shared>,
    _keep: Arc<DropGuard>,
    receiver: broadcast::Receiver<ServiceChange>,
    /// The list after the changes told.
    told: BTreeMap<String, Arc<Instance>>,
    missed: VecDeque<ServiceChange>,
}

impl fmt::Debug for ServiceChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceChanges")
            .field("service", &self.shared.service)
            .finish_non_exhaustive()
    }
}

impl ServiceChanges {
    /// The changes after `state`, which is locked.
    pub(super) fn new(shared: Arc<Shared>, keep: Arc<DropGuard>, state: &State) -> Self {
        Self {
            receiver: shared.changes.subscribe(),
            told: state.roster.listed().clone(),
            missed: VecDeque::new(),
            shared,
            _keep: keep,
        }
    }

    /// The next change. Cancel safe. A subscriber that is thousands of changes behind is told the
    /// difference instead: of those who are gone, that they died.
    pub async fn next(&mut self) -> ServiceChange {
        loop {
            if let Some(change) = self.missed.pop_front() {
                return change;
            }
            match self.receiver.recv().await {
                Ok(change) => {
                    note(&mut self.told, &change);
                    return change;
                }
                Err(RecvError::Lagged(_)) => {
                    let state = self.shared.state.lock();
                    self.receiver = self.shared.changes.subscribe();
                    let now = state.roster.listed().clone();
                    self.missed = difference(&self.told, &now).into();
                    self.told = now;
                }
                // What is shared holds the sender.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

fn note(told: &mut BTreeMap<String, Arc<Instance>>, change: &ServiceChange) {
    match change {
        ServiceChange::Left(instance) | ServiceChange::Died(instance) => {
            told.remove(&instance.id);
        }
        other => {
            let instance = other.instance();
            told.insert(instance.id.clone(), Arc::clone(instance));
        }
    }
}

fn difference(
    before: &BTreeMap<String, Arc<Instance>>,
    now: &BTreeMap<String, Arc<Instance>>,
) -> Vec<ServiceChange> {
    let gone = before.iter().filter(|(id, _)| !now.contains_key(*id));
    let gone = gone.map(|(_, instance)| ServiceChange::Died(Arc::clone(instance)));
    let other = now.iter().filter_map(|(id, now)| {
        let now = Arc::clone(now);
        match before.get(id) {
            Some(before) if *before == now => None,
            _ if now.suspect => Some(ServiceChange::Suspect(now)),
            Some(before) => {
                let before = Arc::clone(before);
                Some(ServiceChange::Updated { now, before })
            }
            None => Some(ServiceChange::Joined(now)),
        }
    });
    gone.chain(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::entry::Entry;

    fn list(instances: &[(&str, i64, bool)]) -> BTreeMap<String, Arc<Instance>> {
        let of = |(id, revision, suspect): &(&str, i64, bool)| Instance {
            id: (*id).to_owned(),
            entry: Entry::new("h:1"),
            lease: 1,
            token: 1,
            revision: *revision,
            suspect: *suspect,
        };
        let pairs = instances.iter().map(of);
        pairs.map(|it| (it.id.clone(), Arc::new(it))).collect()
    }

    #[test]
    fn the_difference_turns_one_list_into_the_other() {
        let before = list(&[
            ("a", 1, false),
            ("b", 1, false),
            ("c", 1, false),
            ("d", 1, false),
        ]);
        let now = list(&[
            ("b", 1, false),
            ("c", 2, false),
            ("d", 1, true),
            ("e", 3, false),
        ]);
        let changes = difference(&before, &now);
        let codes: Vec<_> = changes.iter().map(ServiceChange::code).collect();
        assert_eq!(codes, ["died", "updated", "suspect", "joined"]);
        let mut told = before;
        changes.iter().for_each(|change| note(&mut told, change));
        assert_eq!(told, now);
    }
}
