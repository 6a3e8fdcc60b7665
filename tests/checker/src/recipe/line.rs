//! The line under a name: who stands in it, from when to when, and who is first.
//!
//! Owns reading places out of the log. Knows nothing of what clients were told.

use bytes::Bytes;

use crate::log::LogIndex;

use super::lives::{Life, lives};

/// All places that ever were in the line of a name, oldest first.
pub(super) struct Line {
    pub(super) places: Vec<Life>,
}

impl Line {
    /// The keys `<name>/…` without another slash.
    pub(super) fn read(name: &[u8], log: &LogIndex) -> Self {
        let prefix = [name, b"/"].concat();
        let mut places = lives(log, &prefix);
        places.retain(|life| {
            let rest = &life.key[prefix.len()..];
            !rest.is_empty() && !rest.contains(&b'/')
        });
        Self { places }
    }

    pub(super) fn place(&self, token: i64) -> Option<&Life> {
        self.places.iter().find(|place| place.created == token)
    }

    /// From which revision on a place was the oldest; `None` if it never was.
    pub(super) fn first_from(&self, token: i64) -> Option<i64> {
        let own = self.place(token)?;
        let older = self.places.iter().take_while(|it| it.created < token);
        let free = older.map(Life::end).max().unwrap_or(0);
        let from = free.max(own.created);
        (from < own.end()).then_some(from)
    }

    /// The oldest place at a revision.
    pub(super) fn first_at(&self, revision: i64) -> Option<&Life> {
        self.places.iter().find(|it| it.lives_at(revision))
    }
}

/// What follows the name in a place's key: the same under all names of one acquisition.
pub(super) fn own_name(place: &Life) -> Bytes {
    let slash = place.key.iter().rposition(|&byte| byte == b'/');
    place.key.slice(slash.map_or(0, |at| at + 1)..)
}
