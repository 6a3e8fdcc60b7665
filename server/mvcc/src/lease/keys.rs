//! The keys that hang on one lease.
//!
//! Owns the compact form of a sorted key set. Most leases have one key, so that case must not pay
//! for a tree node. Keys are copied: a slice of a request would keep the whole request alive.

use std::collections::BTreeSet;

use bytes::Bytes;

#[derive(Debug, Default)]
pub(super) enum Keys {
    #[default]
    None,
    One(Box<[u8]>),
    Many(BTreeSet<Box<[u8]>>),
}

impl Keys {
    pub(super) fn insert(&mut self, key: &[u8]) {
        match self {
            Keys::None => *self = Keys::One(key.into()),
            Keys::One(present) if **present == *key => {}
            Keys::One(present) => {
                let present = std::mem::take(present);
                *self = Keys::Many(BTreeSet::from([present, key.into()]));
            }
            Keys::Many(keys) => {
                keys.insert(key.into());
            }
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        match self {
            Keys::One(present) if **present == *key => *self = Keys::None,
            Keys::None | Keys::One(_) => {}
            Keys::Many(keys) => {
                keys.remove(key);
                if keys.is_empty() {
                    *self = Keys::None;
                }
            }
        }
    }

    /// The keys, ascending.
    pub(super) fn to_vec(&self) -> Vec<Bytes> {
        match self {
            Keys::None => Vec::new(),
            Keys::One(key) => vec![Bytes::copy_from_slice(key)],
            Keys::Many(keys) => keys.iter().map(|key| Bytes::copy_from_slice(key)).collect(),
        }
    }

    /// The keys, ascending, without copying them.
    pub(super) fn into_vec(self) -> Vec<Bytes> {
        match self {
            Keys::None => Vec::new(),
            Keys::One(key) => vec![Bytes::from(key)],
            Keys::Many(keys) => keys.into_iter().map(Bytes::from).collect(),
        }
    }
}
