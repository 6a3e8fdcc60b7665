//! The names whose clean-up is under way.
//!
//! Owns the count of clean-ups per name and the wait for the last one. Knows nothing of what is
//! done for a name.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Names with clean-up under way.
#[derive(Debug)]
pub(crate) struct Parked {
    names: Mutex<BTreeMap<Bytes, usize>>,
    changed: watch::Sender<()>,
}

impl Parked {
    pub(crate) fn new() -> Self {
        Self {
            names: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    pub(super) fn park(self: &Arc<Self>, name: Bytes) -> Ticket {
        *self.names.lock().entry(name.clone()).or_default() += 1;
        Ticket {
            parked: Arc::clone(self),
            name,
        }
    }

    fn is_parked(&self, name: &[u8]) -> bool {
        self.names.lock().contains_key(name)
    }

    pub(super) async fn settled(&self, name: &[u8]) {
        let mut changed = self.changed.subscribe();
        while self.is_parked(name) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// One clean-up's entry in [`Parked`]; dropping it, in whatever way, takes the entry out.
pub(super) struct Ticket {
    parked: Arc<Parked>,
    name: Bytes,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut names = self.parked.names.lock();
        if let Some(count) = names.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(&self.name);
            }
        }
        drop(names);
        self.parked.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_name_is_settled_when_its_last_ticket_is_gone() {
        let parked = Arc::new(Parked::new());
        let name = Bytes::from_static(b"n");
        let first = parked.park(name.clone());
        let second = parked.park(name.clone());
        let mut settled = Box::pin(parked.settled(&name));
        assert!(settled.as_mut().now_or_never().is_none());
        assert!(parked.settled(b"other").now_or_never().is_some());
        drop(first);
        assert!(settled.as_mut().now_or_never().is_none());
        drop(second);
        assert!(settled.now_or_never().is_some());
    }
}
