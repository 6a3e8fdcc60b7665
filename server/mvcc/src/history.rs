//! History for watchers that lag behind the ring.
//!
//! Owns the way from rows back to events. Must not know who watches.

use handfast_proto::mvccpb::KeyValue;
use handfast_storage::state::Row;

use crate::{
    Error, Store,
    keyspace::row_pair,
    recent::Event,
    select::{Item, fetch},
    watch::{History, HistoryError},
};

impl History for Store {
    fn revision(&self) -> i64 {
        Store::revision(self)
    }

    fn compact_revision(&self) -> i64 {
        Store::compact_revision(self)
    }

    fn events(
        &self,
        from: i64,
        through: i64,
        visit: &mut dyn FnMut(Event) -> bool,
    ) -> Result<(), HistoryError> {
        let view = self.shared.read().keyspace.view.clone();
        let scanned = view.scan((from, 0), usize::MAX, &mut |row| {
            row.main <= through && visit(event(row))
        });
        scanned.map_err(|error| HistoryError::Storage(error.to_string()))?;
        let compacted = Store::compact_revision(self);
        if from < compacted {
            Err(HistoryError::Compacted { compacted })
        } else {
            Ok(())
        }
    }

    fn previous(&self, event: &Event) -> Result<Option<KeyValue>, HistoryError> {
        let at = event.main() - 1;
        let item = {
            let shared = self.shared.read();
            if at < shared.keyspace.compacted {
                return Ok(None);
            }
            let key = &event.kv.key;
            shared
                .keyspace
                .version_at(key, at)
                .map(|version| Item::new(key.clone(), version))
        };
        let Some(mut item) = item else {
            return Ok(None);
        };
        match fetch(self, at, true, std::slice::from_mut(&mut item)) {
            Ok(()) => Ok(Some(item.kv)),
            Err(Error::Compacted { .. }) => Ok(None),
            Err(error) => Err(HistoryError::Storage(error.to_string())),
        }
    }
}

fn event(row: Row) -> Event {
    let (sub, tombstone) = (row.sub, row.tombstone);
    Event {
        sub,
        tombstone,
        kv: row_pair(row),
    }
}
