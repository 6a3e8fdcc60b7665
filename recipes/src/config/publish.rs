//! Publishing: all changes of a set in one guarded transaction, with a note of who made them.
//!
//! Owns that transaction and finding out what became of it. Knows nothing of who follows.
//!
//! `_handfast/config/<key or prefix>` holds the note of the latest publication there. It has the
//! same revision as what it is about, so the history of both can be put side by side; and it
//! makes a deletion visible to the next publisher, which the deleted key itself cannot.

use std::collections::BTreeMap;

use bytes::Bytes;
use handfast_core::{Client, Compare, ErrorKind, IntoBytes, KeyValue, Op, TxnResponse, prefix_end};
use serde::{Deserialize, Serialize};

use super::set::{ConfigSet, Scope};
use crate::{Error, Handfast};

/// How many keys one publication may change: a transaction holds 128 operations.
const KEYS_LIMIT: usize = 120;
/// How large all values together may be: servers refuse requests above 1.5 MiB.
const BYTES_LIMIT: usize = 1 << 20;
/// How many changed keys a conflict names.
const CHANGES_TOLD: i64 = 16;
/// How many publications are looked through for one whose answer was lost.
const LOOKED_THROUGH: usize = 64;

/// A publication that is being put together: changes of one key, or of several under a prefix,
/// that all are made at one revision or not at all.
#[derive(Debug, Clone)]
#[must_use = "nothing is published until send() is called"]
pub struct Publish {
    handfast: Handfast,
    scope: Scope,
    changes: BTreeMap<Bytes, Option<Bytes>>,
    guard: Option<Guard>,
    note: String,
}

/// What must not have happened.
#[derive(Debug, Clone)]
struct Guard {
    /// Nothing was published after this revision.
    since: i64,
    /// These keys are still of these revisions.
    known: Vec<(Bytes, i64)>,
}

/// What was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The revision all changes were made at.
    pub revision: i64,
}

/// Who published what, and why; see [`Handfast::publication`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Publication {
    /// Tells a publication from all others, also when its answer was lost.
    #[serde(default)]
    id: String,
    /// The program.
    #[serde(default)]
    pub by: String,
    /// What it said about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// When, in milliseconds since 1970 by the publisher's clock.
    #[serde(default)]
    pub unix_ms: u64,
    /// The revision it was made at.
    #[serde(skip)]
    pub revision: i64,
}

impl Publication {
    fn of(pair: &KeyValue) -> Option<Self> {
        let mut publication: Self = serde_json::from_slice(&pair.value).ok()?;
        publication.revision = pair.mod_revision;
        Some(publication)
    }
}

impl Handfast {
    /// A publication of the key `key`, or of keys that start with it.
    pub fn publish(&self, key: impl IntoBytes) -> Publish {
        let scope = Scope {
            key: key.into_bytes(),
            prefix: false,
        };
        Publish::new(self.clone(), scope)
    }

    /// Who published last what is in force at `key` (or under it), or was at `revision`, if that
    /// was done by [`publish`](Self::publish) with the same key or prefix; 0 means now.
    ///
    /// # Errors
    /// That the server could not be asked, or that `revision` is compacted.
    pub async fn publication(
        &self,
        key: impl IntoBytes,
        revision: i64,
    ) -> Result<Option<Publication>, Error> {
        let record = record_key(self.metadata_prefix(), &key.into_bytes());
        let read = self.client().range(record).revision(revision).await?;
        Ok(read.kvs.first().and_then(Publication::of))
    }
}

fn record_key(metadata: &Bytes, scope: &[u8]) -> Bytes {
    [&metadata[..], b"config/", scope].concat().into()
}

impl Publish {
    pub(super) fn new(handfast: Handfast, scope: Scope) -> Self {
        Self {
            handfast,
            scope,
            changes: BTreeMap::new(),
            guard: None,
            note: String::new(),
        }
    }

    /// The value of the one key.
    pub fn value(self, value: impl IntoBytes) -> Self {
        self.put("", value)
    }

    /// The value of the key that is the prefix followed by `name`.
    pub fn put(self, name: impl IntoBytes, value: impl IntoBytes) -> Self {
        self.change(name.into_bytes(), Some(value.into_bytes()))
    }

    /// Deletes the key that is the prefix followed by `name`.
    pub fn delete(self, name: impl IntoBytes) -> Self {
        self.change(name.into_bytes(), None)
    }

    /// The values of several keys.
    pub fn entries<N: IntoBytes, V: IntoBytes>(
        self,
        entries: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        entries
            .into_iter()
            .fold(self, |publish, (name, value)| publish.put(name, value))
    }

    fn change(mut self, name: Bytes, value: Option<Bytes>) -> Self {
        self.scope.prefix |= !name.is_empty();
        self.changes.insert(name, value);
        self
    }

    /// Publishes only if nothing there was published after `revision`: no key of it changed. Of a
    /// prefix that is every key under it. 0 means that there must be nothing yet.
    ///
    /// Deletions are noticed if they were published, too, and not made by other means.
    pub fn if_unchanged_since(mut self, revision: i64) -> Self {
        self.guard = Some(Guard {
            since: revision,
            known: Vec::new(),
        });
        self
    }

    /// Publishes only if what is published still is `set`.
    pub fn since_set(mut self, set: &ConfigSet) -> Self {
        // More cannot be compared in one transaction; revisions still tell all but deletions.
        let pairs = set.iter().take(KEYS_LIMIT);
        self.guard = Some(Guard {
            since: set.revision(),
            known: pairs
                .map(|(_, pair)| (pair.key.clone(), pair.mod_revision))
                .collect(),
        });
        self
    }

    /// Publishes whatever others published in the meantime.
    pub fn force(mut self) -> Self {
        self.guard = None;
        self
    }

    /// Why, for whoever looks later.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Publishes: one round trip if it is guarded or nobody published before.
    ///
    /// A call that was sent twice, or late, cannot undo what somebody else published in between.
    /// Dropping the future leaves open whether it was published.
    ///
    /// # Errors
    /// [`PublishConflict`](Error::PublishConflict) says what changed and who did it, and nothing
    /// was published; [`InvalidArgument`](Error::InvalidArgument) for what is too much for one
    /// transaction.
    pub async fn send(self) -> Result<Published, Error> {
        self.check()?;
        let record = Publication {
            id: format!("{:016x}", self.handfast.client().chance().id()),
            by: self.handfast.who(),
            note: self.note.clone(),
            unix_ms: u64::try_from(self.handfast.client().clock().unix_time().as_millis())
                .unwrap_or_default(),
            revision: 0,
        };
        let mut guard = self.guard.clone().unwrap_or(Guard {
            since: 0,
            known: Vec::new(),
        });
        let mut doubt = false;
        loop {
            let answer = self.commit(&guard, &record).await?;
            let revision = answer.header.revision;
            if answer.succeeded {
                return Ok(Published { revision });
            }
            doubt |= answer.repeated_in_doubt;
            let seen = Seen::read(&answer)?;
            match self
                .find(&record.id, seen.record.as_ref(), guard.since, doubt)
                .await?
            {
                Found::Here(revision) => return Ok(Published { revision }),
                Found::Nowhere if self.guard.is_none() => guard.since = revision,
                found => {
                    return Err(self.conflict(guard.since, revision, seen, found));
                }
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.scope.check(self.handfast.metadata_prefix())?;
        if self.changes.is_empty() {
            return Err(Error::invalid("publish", "there is nothing to publish"));
        }
        if self.changes.len() > KEYS_LIMIT {
            let count = self.changes.len();
            return Err(Error::invalid(
                "publish",
                format!("{count} keys, but one transaction holds {KEYS_LIMIT}; put some together"),
            ));
        }
        let sizes = self.changes.values().flatten().map(Bytes::len);
        let size: usize = sizes.sum();
        if size > BYTES_LIMIT {
            return Err(Error::invalid(
                "publish",
                format!(
                    "{size} bytes of values, but at most {BYTES_LIMIT} fit; keep large data \
                     elsewhere and publish where it is, with its digest"
                ),
            ));
        }
        Ok(())
    }

    fn key(&self, name: &[u8]) -> Bytes {
        [&self.scope.key[..], name].concat().into()
    }

    fn record_key(&self) -> Bytes {
        record_key(self.handfast.metadata_prefix(), &self.scope.key)
    }

    async fn commit(&self, guard: &Guard, record: &Publication) -> Result<TxnResponse, Error> {
        let span = &self.scope.key;
        let revision = Compare::mod_revision(span);
        let revision = match self.scope.prefix {
            true => revision.prefix(),
            false => revision,
        };
        let mut when = vec![
            revision.lt(guard.since + 1),
            Compare::mod_revision(self.record_key()).lt(guard.since + 1),
        ];
        let known = guard.known.iter();
        when.extend(known.map(|(key, revision)| Compare::mod_revision(key).eq(*revision)));
        let note = serde_json::to_vec(record).expect("no map with keys that are no text");
        let mut then = vec![Op::put(self.record_key(), note)];
        then.extend(self.changes.iter().map(|(name, value)| match value {
            Some(value) => Op::put(self.key(name), value),
            None => Op::delete(self.key(name)),
        }));
        let newer = Op::range(span).min_mod_revision(guard.since + 1);
        let newer = match self.scope.prefix {
            true => newer.range_end(prefix_end(span)),
            false => newer,
        };
        let otherwise = [
            newer.keys_only().limit(CHANGES_TOLD),
            Op::get(self.record_key()),
        ];
        let txn = self.handfast.client().txn();
        let txn = txn.when(when).then(then).otherwise(otherwise);
        // A second one finds its own record.
        Ok(txn.repeatable().commit().await?)
    }

    /// Looks for a publication of ours whose answer was lost, also under later ones.
    async fn find(
        &self,
        id: &str,
        record: Option<&KeyValue>,
        since: i64,
        doubt: bool,
    ) -> Result<Found, Error> {
        let client = self.handfast.client();
        let mut record = record.cloned();
        for _ in 0..LOOKED_THROUGH {
            let Some(pair) = record.filter(|pair| pair.mod_revision > since) else {
                return Ok(Found::Nowhere);
            };
            if Publication::of(&pair).is_some_and(|publication| publication.id == id) {
                return Ok(Found::Here(pair.mod_revision));
            }
            if !doubt {
                return Ok(Found::Nowhere);
            }
            record = match before(client, &pair).await {
                Ok(record) => record,
                Err(error) if error.kind() == ErrorKind::Compacted => return Ok(Found::Unknown),
                Err(error) => return Err(error.into()),
            };
        }
        Ok(Found::Unknown)
    }

    fn conflict(&self, since: i64, revision: i64, seen: Seen, found: Found) -> Error {
        let told = |pair: &KeyValue| {
            let key = String::from_utf8_lossy(&pair.key);
            format!("{key} at revision {}", pair.mod_revision)
        };
        let record = seen
            .record
            .as_ref()
            .filter(|pair| pair.mod_revision > since);
        Error::PublishConflict {
            name: self.scope.shown(),
            since,
            revision,
            changed: seen.newer.iter().map(told).collect(),
            by: record.and_then(Publication::of).map(|record| record.by),
            in_doubt: matches!(found, Found::Unknown),
        }
    }
}

/// The pair as it was before its last change.
async fn before(
    client: &Client,
    pair: &KeyValue,
) -> Result<Option<KeyValue>, handfast_core::Error> {
    if pair.version <= 1 {
        return Ok(None);
    }
    let read = client.range(&pair.key).revision(pair.mod_revision - 1);
    Ok(read.await?.kvs.pop())
}

/// What became of a publication.
enum Found {
    /// It was made, at this revision.
    Here(i64),
    /// It was not.
    Nowhere,
    /// The history that would tell is compacted away.
    Unknown,
}

/// What a refused publication saw.
struct Seen {
    newer: Vec<KeyValue>,
    record: Option<KeyValue>,
}

impl Seen {
    fn read(answer: &TxnResponse) -> Result<Self, Error> {
        Ok(Self {
            newer: answer.range(0)?.kvs.clone(),
            record: answer.range(1)?.kvs.first().cloned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish() -> Publish {
        let handfast = Handfast::builder().endpoints("127.0.0.1:1").build();
        handfast.unwrap().publish("app/")
    }

    async fn refused(publish: Publish) -> String {
        let error = publish.send().await.unwrap_err();
        assert_eq!(error.code(), "INVALID_ARGUMENT");
        error.to_string()
    }

    #[tokio::test]
    async fn trap_14_what_is_too_much_is_refused_before_it_is_sent() {
        let many = publish().entries((0..=KEYS_LIMIT).map(|name| (name.to_string(), "v")));
        assert!(refused(many).await.contains("120"));
        let large = publish().put("a", vec![0; BYTES_LIMIT]).put("b", "x");
        assert!(refused(large).await.contains("1048577 bytes"));
        refused(publish()).await;
        let handfast = publish().handfast;
        refused(handfast.publish("").value("x")).await;
        refused(handfast.publish("_handfast/x").value("x")).await;
    }

    #[test]
    fn a_record_of_a_later_version_can_be_read() {
        let pair = KeyValue {
            value: Bytes::from_static(br#"{"by":"x","new":1}"#),
            mod_revision: 5,
            ..Default::default()
        };
        let record = Publication::of(&pair).unwrap();
        assert_eq!((record.by.as_str(), record.revision), ("x", 5));
    }
}
