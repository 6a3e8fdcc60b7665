//! What the log contains, as numbers: vote, bounds and terms, and how each operation changes
//! them. Used for the live log, for what has been written and for recovery alike. Must not hold
//! payloads or do IO.

use std::collections::VecDeque;

use super::{Vote, WalState};
use crate::LogPosition;

/// The bounds of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    vote: Option<Vote>,
    committed: Option<LogPosition>,
    purged: Option<LogPosition>,
    last: Option<LogPosition>,
    /// First index of each run of entries of one term, ascending; covers the entries held.
    runs: VecDeque<(u64, u64)>,
}

impl Log {
    /// A log whose earlier segments are gone.
    pub(super) fn resume(state: WalState) -> Self {
        let WalState {
            vote,
            committed,
            purged,
            last,
        } = state;
        Self {
            vote,
            committed,
            purged,
            last,
            runs: VecDeque::new(),
        }
    }

    pub(super) fn state(&self) -> WalState {
        WalState {
            vote: self.vote,
            committed: self.committed,
            purged: self.purged,
            last: self.last,
        }
    }

    /// Index the next entry must have; `None` when any will do.
    pub(super) fn next(&self) -> Option<u64> {
        self.last.map(|last| last.index + 1)
    }

    /// Index range of the entries held.
    pub(super) fn held(&self) -> std::ops::Range<u64> {
        match (self.runs.front(), self.last) {
            (Some(&(first, _)), Some(last)) => {
                let purged = self.purged.map_or(0, |purged| purged.index + 1);
                first.max(purged)..last.index + 1
            }
            _ => 0..0,
        }
    }

    pub(super) fn set_vote(&mut self, vote: Vote) {
        self.vote = Some(vote);
    }

    /// Notes the committed position; false when the log does not reach it, and nothing changed.
    pub(super) fn commit(&mut self, position: LogPosition) -> bool {
        let reached = self.last.is_some_and(|last| position.index <= last.index);
        if reached {
            self.committed = Some(position);
        }
        reached
    }

    /// Adds an entry; false when it does not follow the last one, and nothing changed.
    pub(super) fn append(&mut self, position: LogPosition) -> bool {
        if self.next().is_some_and(|next| next != position.index) {
            return false;
        }
        if self
            .runs
            .back()
            .is_none_or(|&(_, term)| term != position.term)
        {
            self.runs.push_back((position.index, position.term));
        }
        self.last = Some(position);
        true
    }

    /// Where the log would end if cut behind `index`.
    pub(super) fn end_after(&self, index: Option<u64>) -> Option<LogPosition> {
        let held = self.held();
        match index {
            Some(index) if index >= held.end && !held.is_empty() => self.last,
            Some(index) if held.contains(&index) => {
                let run = self.runs.partition_point(|&(first, _)| first <= index);
                let term = run.checked_sub(1).and_then(|run| self.runs.get(run));
                term.map(|&(_, term)| LogPosition { term, index })
            }
            _ => self.purged,
        }
    }

    /// Cuts the log so that it ends at `last`, as computed by [`Log::end_after`].
    pub(super) fn truncate(&mut self, last: Option<LogPosition>) {
        let end = last.map_or(0, |last| last.index + 1);
        while self.runs.back().is_some_and(|&(first, _)| first >= end) {
            self.runs.pop_back();
        }
        self.last = last;
        if self
            .committed
            .is_some_and(|committed| committed.index >= end)
        {
            self.committed = last;
        }
    }

    /// Forgets entries up to `upto`; false when they are forgotten already.
    pub(super) fn purge(&mut self, upto: LogPosition) -> bool {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return false;
        }
        self.purged = Some(upto);
        if self.last.is_none_or(|last| last.index <= upto.index) {
            self.last = Some(upto);
            self.runs.clear();
        }
        while self
            .runs
            .get(1)
            .is_some_and(|&(first, _)| first <= upto.index + 1)
        {
            self.runs.pop_front();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(term: u64, index: u64) -> LogPosition {
        LogPosition { term, index }
    }

    fn log(terms: &[u64]) -> Log {
        let mut log = Log::default();
        for (index, &term) in terms.iter().enumerate() {
            assert!(log.append(position(term, index as u64)));
        }
        log
    }

    #[test]
    fn entries_follow_each_other() {
        let mut log = Log::default();
        assert!(log.append(position(1, 5)), "an empty log starts anywhere");
        assert!(!log.append(position(1, 7)));
        assert!(log.append(position(2, 6)));
        assert_eq!(log.held(), 5..7);
    }

    #[test]
    fn truncation_finds_the_term_of_the_new_end() {
        let log = log(&[1, 1, 2, 2, 5]);
        assert_eq!(log.end_after(Some(1)), Some(position(1, 1)));
        assert_eq!(log.end_after(Some(3)), Some(position(2, 3)));
        assert_eq!(log.end_after(Some(99)), Some(position(5, 4)));
        assert_eq!(log.end_after(None), None);
    }

    #[test]
    fn truncation_stops_at_the_purged_position() {
        let mut log = log(&[1, 1, 2]);
        assert!(log.purge(position(1, 1)));
        assert!(!log.purge(position(1, 0)));
        let end = log.end_after(Some(0));
        assert_eq!(end, Some(position(1, 1)));
        log.truncate(end);
        assert!(log.held().is_empty());
        assert!(log.append(position(3, 2)));
        assert_eq!(log.held(), 2..3);
    }

    #[test]
    fn purging_beyond_the_end_moves_the_end() {
        let mut log = log(&[1, 1]);
        assert!(log.purge(position(4, 9)));
        assert_eq!(log.state().last, Some(position(4, 9)));
        assert!(!log.append(position(4, 2)));
        assert!(log.append(position(4, 10)));
    }

    #[test]
    fn committed_never_lies_behind_the_end() {
        let mut log = log(&[1, 1, 1]);
        assert!(!log.commit(position(1, 3)));
        assert!(log.commit(position(1, 2)));
        log.truncate(log.end_after(Some(0)));
        assert_eq!(log.state().committed, Some(position(1, 0)));
    }
}
