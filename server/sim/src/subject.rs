//! What a run can be about: a recipe, and a way to do it wrong.
//!
//! Owns the names. What they mean is in [`crate::recipe`].

/// A recipe that runs can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Recipe {
    Lock,
    Election,
    Multi,
    Once,
    Queue,
    Service,
    Config,
}

/// All of them.
pub(crate) const RECIPES: [Recipe; 7] = [
    Recipe::Lock,
    Recipe::Election,
    Recipe::Multi,
    Recipe::Once,
    Recipe::Queue,
    Recipe::Service,
    Recipe::Config,
];

impl Recipe {
    /// As the command line calls it.
    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// What a badly made client does, on the same keys as the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Lock, election: holds as soon as it stands in line.
    JumpsQueue,
    /// Lock, election: deletes the first place instead of its own.
    LeavesOther,
    /// Lock, election: takes itself for the holder for a while after the loss.
    BelievesOn,
    /// Lock, election: leaves its place behind.
    KeepsPlace,
    /// Lock: what it keeps for itself is on no lease.
    KeepsNote,
    /// Election: shows the candidate of the last event as the leader.
    ShowsLast,
    /// Its clock runs at half the rate, which is far more than it promises.
    SlowClock,
    /// Multi-lock: takes the names one by one.
    TakesOneByOne,
    /// Once: puts a result without the lock, over whatever is there.
    PutsAnyway,
    /// Queue: acknowledges without looking whether it still has the claim.
    AcksUnguarded,
    /// Queue: claims whatever is not claimed, whether it is ready or not.
    ClaimsUnready,
    /// Queue: claims items before as many are ready as there have to be.
    IgnoresCount,
    /// Queue: claims items before the gate of the whole queue is open.
    IgnoresGate,
    /// Queue: claims items before the queue is started.
    IgnoresStart,
    /// Queue: says that enough items are ready before they are.
    OpensEarly,
    /// Service: puts its key again after it was unregistered.
    ComesBack,
    /// Service: shows what it saw first for ever.
    ShowsOld,
    /// Configuration: applies each key for itself.
    AppliesHalf,
    /// Configuration: its disk keeps what was written first.
    KeepsFirst,
}

impl Mutation {
    /// Words of the finding that it must be found by, where others are likely, too; empty: any.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Mutation::IgnoresCount => "items were ready",
            Mutation::IgnoresGate => "before the queue's gate",
            Mutation::IgnoresStart => "before the queue was started",
            Mutation::OpensEarly => "the queue was opened at",
            Mutation::BelievesOn => "two believe to hold at once",
            _ => "",
        }
    }
}

/// Each of them, with the recipe it is about and the most seeds that finding it may take.
pub(crate) const MUTATIONS: [(Recipe, Mutation, u64); 25] = [
    (Recipe::Lock, Mutation::JumpsQueue, 10),
    (Recipe::Lock, Mutation::LeavesOther, 10),
    (Recipe::Lock, Mutation::BelievesOn, 20),
    (Recipe::Lock, Mutation::KeepsPlace, 10),
    (Recipe::Lock, Mutation::KeepsNote, 10),
    (Recipe::Lock, Mutation::SlowClock, 40),
    (Recipe::Election, Mutation::JumpsQueue, 10),
    (Recipe::Election, Mutation::LeavesOther, 20),
    (Recipe::Election, Mutation::BelievesOn, 40),
    (Recipe::Election, Mutation::KeepsPlace, 10),
    (Recipe::Election, Mutation::SlowClock, 40),
    (Recipe::Election, Mutation::ShowsLast, 10),
    (Recipe::Multi, Mutation::TakesOneByOne, 10),
    (Recipe::Once, Mutation::PutsAnyway, 10),
    (Recipe::Queue, Mutation::AcksUnguarded, 20),
    (Recipe::Queue, Mutation::ClaimsUnready, 20),
    (Recipe::Queue, Mutation::IgnoresCount, 10),
    (Recipe::Queue, Mutation::IgnoresGate, 20),
    (Recipe::Queue, Mutation::IgnoresStart, 10),
    (Recipe::Queue, Mutation::OpensEarly, 10),
    (Recipe::Queue, Mutation::SlowClock, 60),
    (Recipe::Service, Mutation::ComesBack, 10),
    (Recipe::Service, Mutation::ShowsOld, 10),
    (Recipe::Config, Mutation::AppliesHalf, 20),
    (Recipe::Config, Mutation::KeepsFirst, 60),
];
