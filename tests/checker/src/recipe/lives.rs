//! Keys from their creation to their end.
//!
//! Owns the lives of keys as a log shows them, and whose session a lease is. Knows nothing of what
//! keys are for.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;

use crate::{
    history::{EventKind, Kv},
    log::LogIndex,
};

/// Where sessions tell whose they are.
const SESSIONS: &[u8] = b"_handfast/session/";

/// One life of a key.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) key: Bytes,
    pub(super) created: i64,
    /// `None`: it is there at the end.
    pub(super) deleted: Option<i64>,
    /// What was put, in order; never empty.
    pub(super) puts: Vec<Kv>,
}

impl Life {
    /// What the key held at a revision.
    pub(super) fn at(&self, revision: i64) -> Option<&Kv> {
        if self.deleted.is_some_and(|deleted| deleted <= revision) {
            return None;
        }
        let upto = self.puts.iter();
        upto.take_while(|kv| kv.mod_revision <= revision).last()
    }

    pub(super) fn lives_at(&self, revision: i64) -> bool {
        self.at(revision).is_some()
    }

    /// The lease it was created on.
    pub(super) fn lease(&self) -> i64 {
        self.puts.first().map_or(0, |kv| kv.lease)
    }

    /// The first revision at which it is not there any more.
    pub(super) fn end(&self) -> i64 {
        self.deleted.unwrap_or(i64::MAX)
    }
}

/// All lives of the keys that begin with `prefix`, by creation.
pub(super) fn lives(log: &LogIndex, prefix: &[u8]) -> Vec<Life> {
    let mut open: BTreeMap<Bytes, Life> = BTreeMap::new();
    let mut over = Vec::new();
    for (revision, events) in log.between(log.from, log.to) {
        for event in events.iter().filter(|it| it.kv.key.starts_with(prefix)) {
            let key = event.kv.key.clone();
            match event.kind {
                EventKind::Put => {
                    let life = open.entry(key.clone()).or_insert_with(|| Life {
                        key,
                        created: revision,
                        deleted: None,
                        puts: Vec::new(),
                    });
                    life.puts.push(event.kv.clone());
                }
                EventKind::Delete => over.extend(open.remove(&key).map(|life| Life {
                    deleted: Some(revision),
                    ..life
                })),
            }
        }
    }
    over.extend(open.into_values());
    over.sort_by(|a, b| (a.created, &a.key).cmp(&(b.created, &b.key)));
    over
}

/// Lives by what follows a prefix.
pub(super) type ById = BTreeMap<String, Vec<Life>>;

/// The lives of one.
pub(super) fn of<'a>(lives: &'a ById, id: &str) -> &'a [Life] {
    lives.get(id).map_or(&[], Vec::as_slice)
}

/// Whether one of them is there at a revision.
pub(super) fn lives_at(lives: &[Life], revision: i64) -> bool {
    lives.iter().any(|life| life.lives_at(revision))
}

/// Sessions by lease: whose they are and when they ended.
pub(super) struct Sessions(BTreeMap<i64, (String, Option<i64>)>);

impl Sessions {
    pub(super) fn read(log: &LogIndex) -> Self {
        #[derive(Deserialize)]
        struct Record {
            app: String,
        }
        let records = lives(log, SESSIONS).into_iter().filter_map(|life| {
            let record: Record = serde_json::from_slice(&life.puts.first()?.value).ok()?;
            Some((life.lease(), (record.app, life.deleted)))
        });
        Self(records.collect())
    }

    /// The program whose session this is.
    pub(super) fn owner(&self, lease: i64) -> Option<&str> {
        self.0.get(&lease).map(|(app, _)| app.as_str())
    }

    /// Whether the lease was gone at a revision, with all that hung on it.
    pub(super) fn is_over(&self, lease: i64, revision: i64) -> bool {
        let ended = self.0.get(&lease).and_then(|(_, ended)| *ended);
        ended.is_some_and(|ended| ended <= revision)
    }
}
