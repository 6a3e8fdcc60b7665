//! Rebuilding the store from the state file.
//!
//! Owns the way from rows and leases to the memory they are served from. Must not write.

use std::sync::Arc;

use handfast_storage::state::{Row, State, View};

use crate::{
    Error, StoreOptions,
    apply::LeaseChanges,
    flush::{META_COMPACTED, META_REVISION, META_SWEPT, decode},
    keyspace::Keyspace,
    lease::Lessor,
    recent::Recent,
    revision::NEVER_COMPACTED,
    store::Shared,
};

/// Rows sorted by key before they are replayed: neighbours then meet the same chunk of the index.
const SORTED_ROWS: usize = 32 * 1024;

/// What was found.
pub(crate) struct Loaded {
    pub(crate) shared: Shared,
    /// Compaction mark up to which the sweep is finished.
    pub(crate) swept: i64,
}

/// Reads everything; the lessor must be empty.
pub(crate) fn load(
    state: &State,
    options: &StoreOptions,
    recent: &Arc<Recent>,
    lessor: &Lessor,
) -> Result<Loaded, Error> {
    let view = state.view()?;
    let mut keyspace = Keyspace::new(options.value_cache_bytes, view.clone(), Arc::clone(recent));
    replay_rows(&view, &mut keyspace)?;
    // The newest rows may have been swept, so that the rows alone do not tell the revision.
    if let Some(revision) = number(&view, META_REVISION)? {
        keyspace.revision = keyspace.revision.max(revision);
    }
    keyspace.compacted = number(&view, META_COMPACTED)?.unwrap_or(NEVER_COMPACTED);
    restore_leases(&view, &keyspace, lessor)?;
    let applied = view.applied()?;
    let shared = Shared {
        keyspace,
        applied,
        durable: applied,
        membership: view.membership()?,
        membership_changed: false,
        lease_changes: LeaseChanges::new(),
    };
    Ok(Loaded {
        shared,
        swept: number(&view, META_SWEPT)?.unwrap_or(NEVER_COMPACTED),
    })
}

fn number(view: &View, name: &str) -> Result<Option<i64>, Error> {
    view.meta(name)?
        .map(|bytes| decode(name, &bytes))
        .transpose()
}

fn replay_rows(view: &View, keyspace: &mut Keyspace) -> Result<(), Error> {
    let mut rows: Vec<Row> = Vec::new();
    let mut flush_rows = |rows: &mut Vec<Row>| {
        // Stable, so that the rows of one key stay in the order of their revisions.
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows.drain(..).for_each(|row| keyspace.replay(&row));
    };
    view.scan((0, 0), usize::MAX, &mut |row| {
        rows.push(row);
        if rows.len() >= SORTED_ROWS {
            flush_rows(&mut rows);
        }
        true
    })?;
    flush_rows(&mut rows);
    Ok(())
}

fn restore_leases(view: &View, keyspace: &Keyspace, lessor: &Lessor) -> Result<(), Error> {
    for lease in view.leases()? {
        lessor.grant(lease.id, lease.ttl_seconds)?;
    }
    let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    for (key, meta) in keyspace.index.range(everything.0, everything.1) {
        if meta.lease != 0 && !lessor.attach(meta.lease, key) {
            let lease = meta.lease;
            return Err(Error::Malformed(format!(
                "a key hangs on lease {lease}, which is gone"
            )));
        }
    }
    Ok(())
}
