//! Revisions and times, brought together.
//!
//! Owns what can be said of when a revision came to be, and of how long was calm. Knows nothing of
//! recipes.

use crate::{
    history::{Nanos, Run},
    log::LogIndex,
    words,
};

use super::{Broken, Invariant, Moment, Span, Story};

/// The log of a story with its times.
pub(super) struct Timeline {
    pub(super) log: LogIndex,
    moments: Vec<Moment>,
    calm: Vec<Span>,
    ended: Nanos,
}

impl Timeline {
    /// Reads a story, and says what is wrong with its log.
    pub(super) fn read(story: &Story) -> (Self, Vec<Broken>) {
        let run = Run {
            log: Some(story.log.clone()),
            ..Run::default()
        };
        let (log, wrong) = LogIndex::read(&run).expect("a run with a log has an index");
        let found = wrong.into_iter().map(|one| Broken {
            invariant: Invariant::Story,
            evidence: one.evidence,
        });
        let this = Self {
            log,
            moments: story.moments.clone(),
            calm: story.calm.clone(),
            ended: story.ended,
        };
        (this, found.collect())
    }

    fn moment(&self, revision: i64) -> Option<&Moment> {
        let at = self.moments.partition_point(|it| it.revision < revision);
        self.moments.get(at)
    }

    /// A time at which the revision was certainly not there yet.
    pub(super) fn not_before(&self, revision: i64) -> Nanos {
        match revision {
            ..=1 => 0,
            _ => self.moment(revision).map_or(self.ended, |it| it.after),
        }
    }

    /// A time at which the revision was certainly there.
    pub(super) fn by(&self, revision: i64) -> Nanos {
        self.moment(revision).map_or(self.ended, |it| it.by)
    }

    /// The longest calm between two times.
    pub(super) fn calm(&self, from: Nanos, to: Nanos) -> Nanos {
        let parts = self.calm.iter();
        let parts = parts.map(|it| it.to.min(to).saturating_sub(it.from.max(from)));
        parts.max().unwrap_or(0)
    }

    /// When the story ends.
    pub(super) fn end(&self) -> Nanos {
        self.ended
    }
}

/// A time for people.
pub(super) fn at(time: Nanos) -> String {
    words::time(time)
}
