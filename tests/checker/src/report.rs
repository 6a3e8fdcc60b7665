//! What the checks found.
//!
//! Owns the form of findings. Knows nothing of how they are found.

use std::fmt;

/// What a finding breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Promise {
    /// The record itself is wrong: the harness's fault, not the cluster's.
    Record,
    /// Operations look as if done one by one, each between its request and its answer.
    Linearizable,
    /// Each revision belongs to one write.
    RevisionsUnique,
    /// An answer from the past shows a state that there was.
    SerializableRead,
    /// What was acknowledged stays.
    NothingLost,
    /// All members hold the same.
    MembersAgree,
    /// The changes of all revisions are there and fit together.
    LogWhole,
    /// Watch: events come in the order of their revisions.
    WatchOrdered,
    /// Watch: no event comes twice.
    WatchUnique,
    /// Watch: the events of a revision come together.
    WatchAtomic,
    /// Watch: nothing is left out.
    WatchReliable,
    /// Watch: it begins where it was asked to, and goes on where it was cut off.
    WatchResumable,
    /// Watch: what it says to be over is over.
    WatchBookmarkable,
    /// Watch: events show what was written.
    WatchFaithful,
    /// Watch: events show what was there before.
    WatchPrevKv,
    /// Watch: only what was asked for comes.
    WatchFilter,
    /// Nobody is told to hold a lock while another still believes to.
    LockExclusive,
    /// Tokens of a lock grow with each grant and go to those who came first.
    LockToken,
    /// Nobody is told to lead while another still believes to.
    LeaderExclusive,
    /// Tokens of leaders grow with each term.
    LeaderToken,
    /// Observers see the leaders that were, in their order.
    LeaderObserved,
    /// A lease does not end before its time.
    LeaseKept,
    /// The end of a lease is one revision of its own.
    LeaseAtomic,
}

/// A promise that was broken, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub promise: Promise,
    /// What was seen, in words for people; may have several lines.
    pub evidence: String,
}

impl Violation {
    pub(crate) fn new(promise: Promise, evidence: impl Into<String>) -> Self {
        Self {
            promise,
            evidence: evidence.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.evidence)
    }
}

/// The result of all checks of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Report {
    /// Broken promises; empty for a good run.
    pub violations: Vec<Violation>,
    /// Checks that came to no end within their budget: neither right nor wrong.
    pub undecided: Vec<String>,
    /// Checks that had nothing to go by, such as those of watches without a log.
    pub skipped: Vec<String>,
    /// How many operations were put in order.
    pub operations: usize,
    /// How many events of watches were looked at.
    pub events: usize,
    /// How many locks held, leaderships and observations were looked at.
    pub tenures: usize,
    /// The work that the order of the operations took, in applied requests.
    pub steps: u64,
}

impl Report {
    /// Whether no promise is broken and every check came to an end.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.undecided.is_empty()
    }

    /// Whether this promise was broken.
    #[must_use]
    pub fn breaks(&self, promise: Promise) -> bool {
        self.violations.iter().any(|one| one.promise == promise)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operations, events, tenures) = (self.operations, self.events, self.tenures);
        write!(
            f,
            "{operations} operations, {events} events, {tenures} tenures: "
        )?;
        if self.is_good() {
            return f.write_str("no promise broken");
        }
        let (broken, open) = (self.violations.len(), self.undecided.len());
        write!(f, "{broken} violations, {open} undecided")?;
        for violation in &self.violations {
            write!(f, "\n* {violation}")?;
        }
        for undecided in &self.undecided {
            write!(f, "\n? {undecided}")?;
        }
        Ok(())
    }
}
