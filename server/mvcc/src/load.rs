//! Rebuilding the store from the state file.
//!
//! Owns the way from rows and leases to the memory they are served from. Must not write.

use std::{
    collections::BTreeSet,
    mem,
    ops::Bound,
    sync::{
        Arc,
        mpsc::{self, SyncSender},
    },
    thread,
};

use handfast_storage::state::{LeaseRow, Row, State, View};

use crate::{
    Error, StoreOptions, apply::LeaseChanges, keyspace::Keyspace, lease::Lessor, meta,
    recent::Recent, shared::Shared,
};

/// Rows sorted by key before they are replayed: neighbours then meet the same chunk of the index.
const SORTED_ROWS: usize = 32 * 1024;

/// What was found.
pub(crate) struct Loaded {
    pub(crate) shared: Shared,
    pub(crate) leases: Leases,
    /// Compaction mark up to which the sweep is finished.
    pub(crate) swept: i64,
}

/// The leases and the keys that hang on them.
pub(crate) struct Leases {
    granted: Vec<LeaseRow>,
    attached: Vec<(i64, Box<[u8]>)>,
}

impl Leases {
    fn find(view: &View, keyspace: &Keyspace) -> Result<Self, Error> {
        let everything = keyspace.index.range(Bound::Unbounded, Bound::Unbounded);
        let leased = everything.filter(|(_, meta)| meta.lease != 0);
        let leases = Self {
            granted: view.leases()?,
            attached: leased
                .map(|(key, meta)| (meta.lease, Box::from(key)))
                .collect(),
        };
        let ids: BTreeSet<i64> = leases.granted.iter().map(|lease| lease.id).collect();
        match leases.attached.iter().find(|(id, _)| !ids.contains(id)) {
            None => Ok(leases),
            Some((lease, _)) => Err(Error::Malformed(format!(
                "a key hangs on lease {lease}, which is gone"
            ))),
        }
    }

    /// Puts them into a lessor, which must be empty.
    pub(crate) fn restore(self, lessor: &Lessor) -> Result<(), Error> {
        for lease in self.granted {
            lessor.grant(lease.id, lease.ttl_seconds)?;
        }
        for (lease, key) in self.attached {
            lessor.attach(lease, &key);
        }
        Ok(())
    }
}

/// Reads everything.
pub(crate) fn load(
    state: &State,
    options: &StoreOptions,
    recent: &Arc<Recent>,
) -> Result<Loaded, Error> {
    let view = state.view()?;
    let mut keyspace = Keyspace::new(options.value_cache_bytes, view.clone(), Arc::clone(recent));
    replay_rows(&view, &mut keyspace)?;
    let raised = meta::raised(&view)?;
    keyspace.revision = keyspace.revision.max(raised);
    // A sweep never takes the newest rows, so both must tell the same.
    let (found, expected) = (keyspace.revision, meta::revision(&view)?);
    if found != expected {
        let detail = format!("the rows end at revision {found}, the store was at {expected}");
        return Err(Error::Malformed(detail));
    }
    keyspace.compacted = meta::compacted(&view)?;
    let leases = Leases::find(&view, &keyspace)?;
    let applied = view.applied()?;
    let shared = Shared {
        keyspace,
        applied,
        durable: applied,
        membership: view.membership()?,
        membership_changed: false,
        lease_changes: LeaseChanges::new(),
        cluster: meta::cluster(&view)?,
        fingerprint: meta::fingerprint(&view)?,
    };
    Ok(Loaded {
        shared,
        leases,
        swept: meta::swept(&view)?,
    })
}

/// Reads and sorts in one thread and replays in this one: each is about half of the work.
fn replay_rows(view: &View, keyspace: &mut Keyspace) -> Result<(), Error> {
    thread::scope(|threads| {
        let (send, receive) = mpsc::sync_channel(1);
        let reader = threads.spawn(move || read_sorted(view, &send));
        for rows in receive {
            rows.iter().for_each(|row| keyspace.replay(row));
        }
        match reader.join() {
            Ok(read) => Ok(read?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn read_sorted(view: &View, send: &SyncSender<Vec<Row>>) -> Result<(), handfast_storage::Error> {
    let mut rows: Vec<Row> = Vec::with_capacity(SORTED_ROWS);
    let hand_over = |mut rows: Vec<Row>| {
        // Stable, so that the rows of one key stay in the order of their revisions.
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        send.send(rows).is_ok()
    };
    view.scan((0, 0), usize::MAX, &mut |row| {
        rows.push(row);
        rows.len() < SORTED_ROWS
            || hand_over(mem::replace(&mut rows, Vec::with_capacity(SORTED_ROWS)))
    })?;
    hand_over(rows);
    Ok(())
}
