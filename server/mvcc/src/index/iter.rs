//! Walking the index in order.
//!
//! Owns the iterator. Must not know why the keys are wanted.

use super::{Index, Meta, Place};

/// Keys and their metadata, ascending.
#[derive(Debug)]
pub(crate) struct Iter<'a> {
    index: &'a Index,
    place: Place,
    end: Place,
}

impl<'a> Iter<'a> {
    pub(super) fn new(index: &'a Index, place: Place, end: Place) -> Self {
        Self { index, place, end }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a Meta);

    fn next(&mut self) -> Option<Self::Item> {
        if self.place >= self.end {
            return None;
        }
        let place = self.place;
        let chunk = self.index.chunk(place);
        self.place = self.index.normal(Place {
            slot: place.slot + 1,
            ..place
        });
        Some((chunk.key(place.slot), chunk.meta(place.slot)))
    }
}
