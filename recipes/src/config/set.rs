//! What is published: the pairs of one key or of all keys under a prefix, at one revision.
//!
//! Owns this as plain data, and which keys belong to it. Knows nothing of types and servers.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use handfast_core::{KeyValue, mirror::View};

use crate::Error;

/// Which keys are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// The key, or the prefix.
    pub(super) key: Bytes,
    /// Whether all keys that start with it are meant.
    pub(super) prefix: bool,
}

impl Scope {
    pub(super) fn check(&self, metadata: &Bytes) -> Result<(), Error> {
        if self.key.is_empty() {
            return Err(Error::invalid("config", "the key is empty"));
        }
        if self.key.starts_with(metadata) {
            let problem = "keys of handfast itself cannot be configuration; choose another";
            return Err(Error::invalid("config", problem));
        }
        Ok(())
    }

    /// For messages.
    pub(super) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }
}

/// The published pairs at one revision. Cheap to clone.
///
/// Of a prefix the pairs go by what follows the prefix; the pair of a single key has the empty
/// name.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigSet {
    revision: i64,
    prefix: bool,
    pairs: Arc<BTreeMap<Bytes, Arc<KeyValue>>>,
}

impl ConfigSet {
    pub(super) fn new(revision: i64, prefix: bool, pairs: BTreeMap<Bytes, Arc<KeyValue>>) -> Self {
        Self {
            revision,
            prefix,
            pairs: Arc::new(pairs),
        }
    }

    pub(super) fn of(scope: &Scope, view: &View) -> Self {
        let named = |pair: &Arc<KeyValue>| {
            let name = pair.key.slice(scope.key.len().min(pair.key.len())..);
            (name, Arc::clone(pair))
        };
        let pairs = view.iter().map(named).collect();
        Self::new(view.revision(), scope.prefix, pairs)
    }

    /// The store's revision at which the published pairs were exactly these: that of their last
    /// change if this program saw it happen, else that of the read.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision of the newest put that is still in force; 0 if there is no pair.
    #[must_use]
    pub fn newest(&self) -> i64 {
        let revisions = self.pairs.values().map(|pair| pair.mod_revision);
        revisions.max().unwrap_or(0)
    }

    /// Whether these are the pairs of a prefix, and not of a single key.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.prefix
    }

    /// The value of a single key.
    #[must_use]
    pub fn value(&self) -> Option<&Bytes> {
        self.get(b"")
    }

    /// The value that goes by `name`.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Bytes> {
        self.pair(name).map(|pair| &pair.value)
    }

    /// The pair that goes by `name`.
    #[must_use]
    pub fn pair(&self, name: &[u8]) -> Option<&Arc<KeyValue>> {
        self.pairs.get(name)
    }

    /// All pairs with their names, in order of these.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Arc<KeyValue>)> {
        self.pairs.iter()
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}
