//! Configurations: C1 to C3.
//!
//! Owns the comparison of what subscribers applied with what was published.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Applied, Broken, ConfigStory, Findings, Invariant, Story,
    lives::{Life, lives},
    timeline::{Timeline, at},
};

type Set = BTreeMap<String, Bytes>;

/// Judges one configuration.
pub(super) fn check(config: &ConfigStory, story: &Story, time: &Timeline) -> Vec<Broken> {
    let judge = Judge {
        config,
        story,
        time,
        lives: lives(&time.log, &config.prefix),
    };
    let mut found = Findings::default();
    for (client, span) in &config.subscribers {
        let sets = config.applied.iter().filter(|it| it.client == *client);
        let sets: Vec<&Applied> = sets.collect();
        judge.published(client, &sets, &mut found);
        judge.converged(client, *span, &sets, &mut found);
    }
    judge.started(&mut found);
    found.0
}

struct Judge<'a> {
    config: &'a ConfigStory,
    story: &'a Story,
    time: &'a Timeline,
    lives: Vec<Life>,
}

impl Judge<'_> {
    fn set_at(&self, revision: i64) -> Set {
        let prefix = self.config.prefix.len();
        let there = self.lives.iter().filter_map(|life| life.at(revision));
        let pairs = there.map(|kv| {
            let name = String::from_utf8_lossy(&kv.key[prefix..]).into_owned();
            (name, kv.value.clone())
        });
        pairs.collect()
    }

    fn is_valid(&self, set: &Set) -> bool {
        let bad = &self.config.invalid;
        bad.is_empty() || !set.values().any(|value| value.starts_with(bad))
    }

    /// The revisions at which the set changed.
    fn changes(&self) -> Vec<i64> {
        let lives = self.lives.iter();
        let mut all: Vec<i64> = lives
            .flat_map(|life| {
                let puts = life.puts.iter().map(|kv| kv.mod_revision);
                puts.chain(life.deleted)
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// C1 and C2: each set was there at its revision, as a whole, and revisions grow.
    fn published(&self, client: &str, sets: &[&Applied], found: &mut Findings) {
        let mut last = 0;
        for set in sets {
            let (revision, when) = (set.revision, at(set.at));
            if revision < last {
                let what = format!("{client} applied revision {revision} after {last} at {when}");
                found.add(Invariant::C1, what);
            }
            last = last.max(revision);
            if !self.is_valid(&set.values) {
                let what = format!("{client} applied what is not valid, of {revision} at {when}");
                found.add(Invariant::C1, what);
            }
            if set.at < self.time.not_before(revision) {
                let what = format!("{client} applied revision {revision} before it was there");
                found.add(Invariant::C1, what);
            }
            let due = self.set_at(revision);
            if due == set.values {
                continue;
            }
            let known = |name: &String, value: &Bytes| {
                let lives = self.lives.iter();
                let lives =
                    lives.filter(|it| it.key[self.config.prefix.len()..] == *name.as_bytes());
                lives.flat_map(|it| &it.puts).any(|kv| kv.value == *value)
            };
            let all_known = set.values.iter().all(|(name, value)| known(name, value));
            let which = if all_known {
                Invariant::C2
            } else {
                Invariant::C1
            };
            let got = &set.values;
            let what =
                format!("{client} applied {got:?} as revision {revision}, which had {due:?}");
            found.add(which, what);
        }
    }

    /// C4: what was in force for long enough to be written is what the next one starts with.
    fn started(&self, found: &mut Findings) {
        for start in &self.config.starts {
            for (client, span) in &self.config.subscribers {
                if !start.before.contains(client) || span.to > start.at {
                    continue;
                }
                let sets = self.config.applied.iter().filter(|it| it.client == *client);
                let mut kept = sets.filter(|it| it.at + self.story.patience < span.to);
                if let Some(set) = kept.find(|it| it.revision > start.revision) {
                    let (who, on_disk, when) = (&start.client, start.revision, at(start.at));
                    let what = format!(
                        "{who} started with revision {on_disk} at {when}, though {client} had {} \
                         in force before, from {} to {}",
                        set.revision,
                        at(set.at),
                        at(span.to)
                    );
                    found.add(Invariant::C4, what);
                }
            }
        }
    }

    /// C3: each subscriber has the last valid set in bounded time.
    fn converged(&self, client: &str, span: super::Span, sets: &[&Applied], found: &mut Findings) {
        let changes = self.changes();
        for (index, &revision) in changes.iter().enumerate() {
            let set = self.set_at(revision);
            if !self.is_valid(&set) {
                continue;
            }
            let next = changes
                .get(index + 1)
                .map(|&next| self.time.not_before(next));
            let due = self.time.by(revision).max(span.from);
            let until = next.unwrap_or(self.time.end()).min(span.to);
            // A set that came to be the same again need not be told.
            let had = sets
                .iter()
                .filter(|it| it.revision >= revision || it.values == set);
            let had = had.map(|it| it.at).min().unwrap_or(until);
            if self.time.calm(due, until.min(had)) > self.story.prompt {
                let (due, until) = (at(due), at(until.min(had)));
                let what = format!("{client} had not applied {revision} from {due} to {until}");
                found.add(Invariant::C3, what);
            }
        }
    }
}
