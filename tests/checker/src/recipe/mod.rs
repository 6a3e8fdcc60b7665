//! Judges what recipes did: the invariants of locks, elections, queues and the others, by name.
//!
//! Owns the form of a recipe's history and the list of invariants. A [`Story`] is the log of all
//! changes, when its revisions came to be, and what clients were told; the checks know the keys of
//! the recipes, but nothing of how the recipes work. Pure, as the rest of this crate.

mod config;
mod debris;
mod hold;
mod line;
mod lives;
mod multi;
mod once;
mod queue;
mod rule;
mod service;
mod story;
#[cfg(test)]
mod tests;
mod timeline;
mod view;

use std::fmt;

pub use story::{
    Applied, Claim, Claimed, ConfigStory, Conflict, Hold, HoldEnd, HoldKind, Listed, Listing,
    Meddling, Moment, OnceCall, OnceRun, Push, QueueStory, Registration, ServiceStory, Span, Start,
    Story, Told, View, Wait,
};

use timeline::Timeline;

/// At most so many findings of one kind.
const MOST: usize = 4;

/// An invariant of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Invariant {
    /// The story itself is wrong: the harness's fault, or the log's.
    Story,
    /// Lock: whoever is granted it is the oldest in line at some revision, and nobody else is.
    L1,
    /// Lock: no two clients believe to hold it at one time.
    L2,
    /// Lock: tokens grow with each grant.
    L3,
    /// Lock: leaving removes only the own place.
    L4,
    /// Lock: nobody begins before the grant, or with a place that is gone.
    L5,
    /// Lock: who stays is granted in the order of coming.
    L6,
    /// Lock: the first in line is granted in bounded time.
    L7,
    /// Lock: nothing is left behind.
    L8,
    /// Multi-lock: all names or none, in one revision.
    M1,
    /// Multi-lock: no deadlock.
    M2,
    /// A name is refused as one of another kind only where one of that kind holds it.
    M3,
    /// Election: at most one leader per term.
    E1,
    /// Election: nobody is shown as leader who was not the oldest at that revision.
    E2,
    /// Election: terms grow.
    E3,
    /// Election: a successor is elected only after the predecessor believes to lead no more.
    E4,
    /// Election: a live candidate leads in the end.
    E5,
    /// Election: no candidate's key without a campaign.
    E6,
    /// Once: one result.
    O1,
    /// Once: another takes over when the runner dies.
    O2,
    /// Queue: each item is in exactly one place, or acknowledged.
    Q1,
    /// Queue: at most one live claim per item.
    Q2,
    /// Queue: at most one acknowledgment per item, with its effects once.
    Q3,
    /// Queue: no claim before its conditions hold.
    Q4,
    /// Queue: no more attempts than allowed.
    Q5,
    /// Queue: a free item and an idle worker find each other in bounded time.
    Q6,
    /// Queue: what a dead worker had is free again in bounded time.
    Q7,
    /// Service: at most one live owner per instance.
    G1,
    /// Service: what left is not offered any more.
    G2,
    /// Service: nothing comes back after it was unregistered.
    G3,
    /// Service: what lives is listed again in bounded time.
    G4,
    /// Service: a death is visible in bounded time.
    G5,
    /// Configuration: values applied are ones published, in their order.
    C1,
    /// Configuration: a set of keys is applied as a whole.
    C2,
    /// Configuration: everybody has the last values in bounded time.
    C3,
    /// Configuration: who starts without a server starts with the last good set.
    C4,
    /// All: nothing that has no owner is left behind.
    D1,
}

/// An invariant that was broken, with the evidence in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which one.
    pub invariant: Invariant,
    /// What was seen.
    pub evidence: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.evidence)
    }
}

/// Checks everything that a story tells of.
#[must_use]
pub fn check(story: &Story) -> Vec<Broken> {
    let (time, mut found) = Timeline::read(story);
    found.extend(hold::check(story, &time));
    found.extend(multi::check(story, &time));
    found.extend(view::check(story, &time));
    found.extend(once::check(story, &time));
    for queue in &story.queues {
        found.extend(queue::check(queue, story, &time));
    }
    for service in &story.services {
        found.extend(service::check(service, story, &time));
    }
    for config in &story.configs {
        found.extend(config::check(config, story, &time));
    }
    found.extend(debris::check(story, &time));
    found.sort_by_key(|found| found.invariant);
    let mut kept: Vec<Broken> = Vec::new();
    for one in found {
        let same = kept.iter().filter(|it| it.invariant == one.invariant);
        if same.count() < MOST {
            kept.push(one);
        }
    }
    kept
}

/// Collects findings.
#[derive(Debug, Default)]
struct Findings(Vec<Broken>);

impl Findings {
    fn add(&mut self, invariant: Invariant, evidence: impl Into<String>) {
        self.0.push(Broken {
            invariant,
            evidence: evidence.into(),
        });
    }
}
