//! What the handles of a discovery and the task that follows the store share.
//!
//! Owns the list with what is known of its instances, and tells of its changes. Knows nothing of
//! how the store is followed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_core::{Client, Mirror};
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, watch};

use super::{
    entry::{Instance, Status},
    load::Loads,
    pick::{Pick, Picker},
    roster::{Roster, ServiceChange},
};
use crate::Handfast;

/// How many changes a slow subscriber may be behind; after that it gets the difference.
const CHANGES_KEPT: usize = 4096;

pub(super) struct Shared {
    pub(super) service: String,
    pub(super) metadata_prefix: Bytes,
    pub(super) client: Client,
    pub(super) mirror: Mirror,
    pub(super) state: Mutex<State>,
    pub(super) changes: broadcast::Sender<ServiceChange>,
    /// The revision the list is at.
    pub(super) reached: watch::Sender<i64>,
    /// Asks the task to look how far the copy is.
    pub(super) seen: Notify,
}

pub(super) struct State {
    pub(super) roster: Roster,
    pub(super) revision: i64,
    pub(super) loads: Loads,
    picker: Picker,
    /// Who can be picked, until something changes or this time comes.
    ready: Option<(Vec<Arc<Instance>>, Option<Duration>)>,
}

impl Shared {
    pub(super) fn new(
        service: String,
        handfast: &Handfast,
        mirror: Mirror,
        roster: Roster,
        revision: i64,
    ) -> Self {
        Self {
            service,
            metadata_prefix: handfast.metadata_prefix().clone(),
            client: handfast.client().clone(),
            mirror,
            state: Mutex::new(State {
                roster,
                revision,
                loads: Loads::default(),
                picker: Picker::default(),
                ready: None,
            }),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            reached: watch::Sender::new(revision),
            seen: Notify::new(),
        }
    }

    /// The time all decisions are made by.
    pub(super) fn now(&self) -> Duration {
        self.client.clock().now()
    }

    /// Changes the list, and tells what changed.
    pub(super) fn change(&self, change: impl FnOnce(&mut Roster, Duration) -> Vec<ServiceChange>) {
        let now = self.now();
        let mut state = self.state.lock();
        let changes = change(&mut state.roster, now);
        self.tell(&mut state, changes);
    }

    fn tell(&self, state: &mut State, changes: Vec<ServiceChange>) {
        if changes.is_empty() {
            return;
        }
        state.ready = None;
        let State { loads, roster, .. } = state;
        loads.keep(roster.listed());
        for change in changes {
            // No subscriber is no error.
            let _ = self.changes.send(change);
        }
    }

    /// The list is what the store has at `revision`.
    pub(super) fn reach(&self, revision: i64) {
        // The store's data may have been replaced by older data, so this may go back.
        self.state.lock().revision = revision;
        self.reached.send_replace(revision);
    }

    pub(super) fn pick(&self, pick: &Pick) -> Option<Arc<Instance>> {
        let now = self.now();
        let mut state = self.state.lock();
        let State {
            roster,
            loads,
            picker,
            ready,
            ..
        } = &mut *state;
        if ready
            .as_ref()
            .is_some_and(|(_, until)| until.is_some_and(|until| now >= until))
        {
            *ready = None;
        }
        let (ready, _) =
            ready.get_or_insert_with(|| (select(roster, loads, now), loads.next_return(now)));
        let chance = self.client.chance();
        let chosen = picker.pick(pick, ready, loads, chance)?;
        loads.begin(&chosen);
        Some(chosen)
    }

    /// A call to `instance` ended so.
    pub(super) fn report(&self, instance: &Instance, ok: bool, latency: Duration) {
        let now = self.now();
        let mut state = self.state.lock();
        let State {
            roster,
            loads,
            ready,
            ..
        } = &mut *state;
        // When most calls fail, it is rarely the instances' fault.
        let may_eject = (loads.ejected(now) + 1) * 2 <= roster.listed().len();
        if loads.report(instance, now, (ok, latency), may_eject) {
            tracing::info!(
                target: "handfast::service",
                service = self.service, instance = instance.id, "ejected: its calls fail"
            );
            *ready = None;
        }
        let listed = roster.listed().get(&instance.id);
        let is_same = listed.is_some_and(|listed| listed.token == instance.token);
        if !ok && is_same {
            let gone = roster.failed(&instance.id);
            self.tell(&mut state, gone.into_iter().collect());
        }
    }
}

/// Who can be picked: the best there are.
fn select(roster: &Roster, loads: &mut Loads, now: Duration) -> Vec<Arc<Instance>> {
    let listed = roster.listed();
    let mut with = |status: Status, ejected: bool| -> Vec<Arc<Instance>> {
        let fits = |instance: &&Arc<Instance>| {
            instance.status == status && loads.of(instance).is_ejected(now) == ejected
        };
        listed.values().filter(fits).cloned().collect()
    };
    for (status, ejected) in [
        (Status::Up, false),
        (Status::Warming, false),
        (Status::Up, true),
        (Status::Warming, true),
    ] {
        let found = with(status, ejected);
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}
