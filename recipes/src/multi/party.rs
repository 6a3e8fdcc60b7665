//! One place in each of several queues, taken together.
//!
//! Owns the places and what is known of them. Knows nothing of waiting, holding and leaving.

use std::sync::Arc;

use bytes::Bytes;
use handfast_core::Epoch;

use crate::{
    Kind,
    line::{Line, place::Place},
    way::Goal,
};

/// The queues of several names; at least one.
#[derive(Debug)]
pub(super) struct Lines(pub(super) Vec<Arc<Line>>);

impl Goal for Lines {
    fn kind(&self) -> Kind {
        Kind::Lock
    }

    fn shown(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|line| line.shown()).collect();
        names.join(", ")
    }
}

/// A place under each name, all put at one revision.
#[derive(Debug)]
pub(super) struct Party {
    pub(super) places: Vec<Place>,
    /// A request that puts the keys may still be under way.
    pub(super) doubtful: bool,
}

impl Party {
    /// Places that have no keys in the store yet.
    pub(super) fn new(epoch: &Epoch, lines: &Lines) -> Self {
        let lines = lines.0.iter();
        Self {
            places: lines
                .map(|line| Place::new(epoch.clone(), Arc::clone(line), Bytes::new()))
                .collect(),
            doubtful: false,
        }
    }

    pub(super) fn first(&self) -> &Place {
        self.places.first().expect("a lock has a name")
    }

    pub(super) fn put_at(&mut self, revision: i64) {
        for place in &mut self.places {
            place.revision = revision;
        }
    }

    /// Lets the keys be used again: they are gone, and no request that would put them is under
    /// way.
    pub(super) fn free_keys(&self) {
        self.places.iter().for_each(Place::free_key);
    }
}
