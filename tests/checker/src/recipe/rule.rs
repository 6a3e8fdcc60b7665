//! What a whole queue waits for: a number of items, a gate, or somebody who starts it.
//!
//! Owns reading the rule, and when it held. Which items there are, and in which state, it is told.

use serde::Deserialize;

use super::lives::{ById, Life, lives_at, of};

/// The value of a queue's `condition`.
#[derive(Clone, Debug, Deserialize)]
struct Rule {
    condition: Condition,
    #[serde(default)]
    epoch: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Condition {
    None,
    Count(usize),
    Gate(String),
    Start,
}

/// A rule while it was in force.
struct Time {
    from: i64,
    /// The first revision at which it was not.
    to: i64,
    rule: Rule,
    /// The first revision at which enough items were ready, for a count.
    reached: Option<i64>,
}

/// All rules that a queue had, in their order.
pub(super) struct Rules(Vec<Time>);

/// What rules look at.
pub(super) struct Doors<'a> {
    pub(super) control: &'a [Life],
    pub(super) gates: &'a ById,
    pub(super) opens: &'a ById,
}

impl Rules {
    /// Reads them; `ready` counts the items that are ready at a revision, and changes at no other
    /// than `changes`, which are sorted.
    pub(super) fn read(rule: &[Life], changes: &[i64], ready: impl Fn(i64) -> usize) -> Self {
        let mut times = Vec::new();
        for life in rule {
            let ends = life.puts.iter().skip(1).map(|kv| kv.mod_revision);
            let ends = ends.chain([life.end()]);
            for (kv, to) in life.puts.iter().zip(ends) {
                // What cannot be read is no rule, for workers either.
                let Ok(rule) = serde_json::from_slice::<Rule>(&kv.value) else {
                    continue;
                };
                let from = kv.mod_revision;
                let within = changes.iter().copied().filter(|it| (from..to).contains(it));
                let reached = match rule.condition {
                    Condition::Count(count) => {
                        let mut within = [from].into_iter().chain(within);
                        within.find(|&revision| ready(revision) >= count)
                    }
                    _ => None,
                };
                times.push(Time {
                    from,
                    to,
                    rule,
                    reached,
                });
            }
        }
        Self(times)
    }

    fn at(&self, revision: i64) -> Option<&Time> {
        let mut times = self.0.iter();
        times.find(|it| (it.from..it.to).contains(&revision))
    }

    /// What keeps an item back at a revision; `opens` is the gate that the item opens itself.
    pub(super) fn closed(
        &self,
        revision: i64,
        opens: Option<&str>,
        doors: &Doors<'_>,
    ) -> Option<String> {
        let rule = &self.at(revision)?.rule;
        match &rule.condition {
            Condition::None => None,
            Condition::Count(count) => (!lives_at(of(doors.opens, &rule.epoch), revision))
                .then(|| format!("{count} items were ready")),
            Condition::Gate(gate) => (opens != Some(gate)
                && !lives_at(of(doors.gates, gate), revision))
            .then(|| format!("the queue's gate {gate} was open")),
            Condition::Start => {
                (!lives_at(doors.control, revision)).then(|| "the queue was started".to_owned())
            }
        }
    }

    /// The same, but a count holds from the moment at which it is reached: somebody who waits has
    /// to say so soon.
    pub(super) fn holds_back(&self, revision: i64, opens: Option<&str>, doors: &Doors<'_>) -> bool {
        let reached = self.at(revision).and_then(|it| it.reached);
        reached.is_none_or(|it| it > revision) && self.closed(revision, opens, doors).is_some()
    }

    /// When rules began, ended, and were reached.
    pub(super) fn changes(&self) -> impl Iterator<Item = i64> {
        let times = self.0.iter();
        times.flat_map(|it| {
            [Some(it.from), Some(it.to), it.reached]
                .into_iter()
                .flatten()
        })
    }

    /// Rules that were set again by nobody's wish, which shuts what they had opened: the revisions.
    pub(super) fn repeated(&self) -> impl Iterator<Item = i64> {
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        let again = |(one, next): &(&Time, &Time)| {
            one.to == next.from && !one.rule.epoch.is_empty() && one.rule.epoch == next.rule.epoch
        };
        pairs.filter(again).map(|(_, next)| next.from)
    }

    /// Counts that were said to be reached before they were, with the revision.
    pub(super) fn early(&self, doors: &Doors<'_>) -> Vec<(String, i64)> {
        let mut early = Vec::new();
        for time in &self.0 {
            let Condition::Count(count) = time.rule.condition else {
                continue;
            };
            let mark = of(doors.opens, &time.rule.epoch).iter();
            let within = |at: &i64| (time.from..time.to).contains(at);
            for at in mark.map(|life| life.created).filter(within) {
                // Whoever wrote the mark saw the state before it.
                if time.reached.is_none_or(|reached| reached >= at) {
                    early.push((format!("{count} items"), at));
                }
            }
        }
        early
    }
}
