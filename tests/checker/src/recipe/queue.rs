//! Queues: Q1 to Q7.
//!
//! Owns following each item through the log: waiting, claimed, done, dead or acknowledged.

use std::collections::BTreeMap;

use crate::history::Nanos;

use super::{
    Broken, Claim, Claimed, Findings, Invariant, Push, QueueStory, Story,
    lives::{ById, Life, Sessions, lives, lives_at, of},
    rule::{Doors, Rules},
    timeline::{Timeline, at},
};

/// Judges one queue.
pub(super) fn check(queue: &QueueStory, story: &Story, time: &Timeline) -> Vec<Broken> {
    let part = |name: &str| {
        let prefix = [&queue.prefix[..], name.as_bytes()].concat();
        let mut by_id = ById::new();
        for life in lives(&time.log, &prefix) {
            let id = String::from_utf8_lossy(&life.key[prefix.len()..]).into_owned();
            by_id.entry(id).or_default().push(life);
        }
        by_id
    };
    let mut judge = Judge {
        queue,
        story,
        time,
        items: part("items/"),
        claims: part("claims/"),
        done: part("done/"),
        dead: part("dead/"),
        gates: part("gate/"),
        opens: part("open/"),
        control: part("control").remove("").unwrap_or_default(),
        rules: Rules::read(&[], &[], |_| 0),
        sessions: Sessions::read(&time.log),
    };
    let rules = part("condition").remove("").unwrap_or_default();
    judge.rules = Rules::read(&rules, &judge.changes(), |revision| judge.ready(revision));
    let mut found = Findings::default();
    judge.places(&mut found);
    judge.claimed(&mut found);
    judge.believed(&mut found);
    judge.effects(&mut found);
    // What the whole queue waits for is told first: few findings of one kind are kept.
    judge.whole(&mut found);
    judge.conditions(&mut found);
    judge.attempts(&mut found);
    judge.idle(&mut found);
    judge.crashed(&mut found);
    found.0
}

struct Judge<'a> {
    queue: &'a QueueStory,
    story: &'a Story,
    time: &'a Timeline,
    items: ById,
    claims: ById,
    done: ById,
    dead: ById,
    gates: ById,
    opens: ById,
    control: Vec<Life>,
    rules: Rules,
    sessions: Sessions,
}

impl Judge<'_> {
    fn meddled(&self, lease: i64) -> Option<Nanos> {
        let hits = self.story.meddlings.iter();
        let hits = hits.filter(|it| it.lease != 0 && it.lease == lease);
        hits.map(|it| it.at).min()
    }

    /// The acknowledgment of an item at a revision: its claim goes with it.
    fn is_acked_at(&self, id: &str, revision: i64) -> bool {
        let mut claims = of(&self.claims, id).iter();
        claims.any(|claim| claim.deleted == Some(revision))
    }

    /// Q1: an item is in one place, leaves it only for another, and nothing pushed is lost.
    fn places(&self, found: &mut Findings) {
        for (id, items) in &self.items {
            for item in items {
                let Some(gone) = item.deleted else { continue };
                let moved = [&self.done, &self.dead]
                    .iter()
                    .any(|it| of(it, id).iter().any(|life| life.created == gone));
                if !moved && !self.is_acked_at(id, gone) {
                    let what = format!("{id} vanished at revision {gone}, by no acknowledgment");
                    found.add(Invariant::Q1, what);
                }
            }
            for (name, others) in [("done", &self.done), ("dead", &self.dead)] {
                for other in of(others, id) {
                    let both = items
                        .iter()
                        .find(|item| item.created < other.end() && other.created < item.end());
                    if let Some(item) = both {
                        let (one, two) = (item.created, other.created);
                        let what = format!("{id} is an item ({one}) and {name} ({two}) at once");
                        found.add(Invariant::Q1, what);
                    }
                }
            }
        }
        for push in self.queue.pushes.iter().filter(|push| push.told.is_some()) {
            let known = [&self.items, &self.done, &self.dead];
            if known.iter().all(|it| of(it, &push.id).is_empty()) {
                let id = &push.id;
                found.add(
                    Invariant::Q1,
                    format!("{id} was pushed and confirmed, but is nowhere"),
                );
            }
        }
    }

    /// Q2 in the store: a claim is a key of one lease, on an item that is there.
    fn claimed(&self, found: &mut Findings) {
        for (id, claims) in &self.claims {
            for claim in claims {
                let mut leases: Vec<i64> = claim.puts.iter().map(|kv| kv.lease).collect();
                leases.dedup();
                if leases.len() > 1 || leases == [0] {
                    let what = format!("the claim of {id} ({}) is on {leases:x?}", claim.created);
                    found.add(Invariant::Q2, what);
                }
                if !lives_at(of(&self.items, id), claim.created) {
                    let at = claim.created;
                    let what = format!("{id} was claimed at revision {at}, where it was no item");
                    found.add(Invariant::Q2, what);
                }
            }
        }
        for claim in &self.queue.claims {
            let claims = of(&self.claims, &claim.id);
            if !claims.iter().any(|life| life.created == claim.token) {
                let what = format!("told, but not in the store: {claim:?}");
                found.add(Invariant::Q2, what);
            }
        }
    }

    /// Q2 in time: no two workers believe to have one item.
    fn believed(&self, found: &mut Findings) {
        let mut by_id: BTreeMap<&str, Vec<(Nanos, Nanos, &Claim)>> = BTreeMap::new();
        for claim in &self.queue.claims {
            let cut = self.meddled(claim.lease).unwrap_or(Nanos::MAX);
            let span = (claim.told, claim.checked.min(cut), claim);
            by_id.entry(&claim.id).or_default().push(span);
        }
        for (id, mut spans) in by_id {
            spans.sort_by_key(|(from, ..)| *from);
            for pair in spans.windows(2) {
                let [(_, to, one), (from, _, two)] = pair else {
                    continue;
                };
                if to > from {
                    let what = format!("two believe to have {id}: {one:?} and {two:?}");
                    found.add(Invariant::Q2, what);
                }
            }
        }
    }

    /// Q3: what an acknowledgment writes is written once, with the claim's end.
    fn effects(&self, found: &mut Findings) {
        let effects = lives(&self.time.log, &self.queue.effects);
        let mut puts: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for life in &effects {
            let id = String::from_utf8_lossy(&life.key[self.queue.effects.len()..]).into_owned();
            let written = life.puts.iter().map(|kv| kv.mod_revision);
            puts.entry(id).or_default().extend(written);
        }
        for (id, at) in &puts {
            if at.len() > 1 {
                found.add(Invariant::Q3, format!("the effects of {id} came at {at:?}"));
            }
            for &revision in at {
                let gone = of(&self.items, id).iter();
                let with_item = gone.filter(|it| it.deleted == Some(revision)).count() == 1;
                if !with_item || !self.is_acked_at(id, revision) {
                    let what = format!("effects of {id} at {revision} without its acknowledgment");
                    found.add(Invariant::Q3, what);
                }
            }
        }
        for claim in &self.queue.claims {
            if !matches!(claim.ended, Some((_, Claimed::Acked))) {
                continue;
            }
            let own = of(&self.claims, &claim.id).iter();
            let own = own.filter(|life| life.created == claim.token);
            let end = own.filter_map(|life| life.deleted).next();
            let at = puts.get(&claim.id).map_or(&[][..], Vec::as_slice);
            if !end.is_some_and(|end| at.contains(&end)) {
                let what = format!("told to be acknowledged, but the effects are not: {claim:?}");
                found.add(Invariant::Q3, what);
            }
        }
    }

    /// When the state of any item, or what it waits for, changed.
    fn changes(&self) -> Vec<i64> {
        let all = [&self.items, &self.claims, &self.done, &self.gates];
        let lives = all.into_iter().flat_map(|it| it.values().flatten());
        let mut changes: Vec<i64> = lives
            .flat_map(|life| [Some(life.created), life.deleted].into_iter().flatten())
            .collect();
        changes.sort_unstable();
        changes.dedup();
        changes
    }

    /// How many items could be claimed at a revision if the queue was open.
    fn ready(&self, revision: i64) -> usize {
        let pushes = self.queue.pushes.iter();
        pushes
            .filter(|push| {
                lives_at(of(&self.items, &push.id), revision)
                    && !lives_at(of(&self.claims, &push.id), revision)
                    && self.waits_for(push, revision).is_none()
            })
            .count()
    }

    /// What of its own an item waits for at a revision.
    fn waits_for(&self, push: &Push, revision: i64) -> Option<String> {
        let open = |name: &&String| !lives_at(of(&self.done, name), revision);
        let other = push.after.iter().find(open);
        let other = other.map(|other| format!("{other} was done"));
        other.or_else(|| {
            let shut = push.gate.iter();
            let mut shut = shut.filter(|gate| !lives_at(of(&self.gates, gate), revision));
            shut.next().map(|gate| format!("gate {gate} was open"))
        })
    }

    fn doors(&self) -> Doors<'_> {
        Doors {
            control: &self.control,
            gates: &self.gates,
            opens: &self.opens,
        }
    }

    /// Q4 of the queue as a whole: what all items wait for.
    fn whole(&self, found: &mut Findings) {
        let doors = self.doors();
        for push in &self.queue.pushes {
            for claim in of(&self.claims, &push.id) {
                let (id, before) = (&push.id, claim.created - 1);
                let closed = self.rules.closed(before, push.opens.as_deref(), &doors);
                if let Some(until) = closed {
                    let what = format!("{id} was claimed at {before}+1, before {until}");
                    found.add(Invariant::Q4, what);
                }
            }
        }
        for at in self.rules.repeated() {
            let what = format!("one condition was set a second time at {at}");
            found.add(Invariant::Q4, what);
        }
        for (count, at) in self.rules.early(&doors) {
            let what = format!("the queue was opened at {at}, before {count} were ready");
            found.add(Invariant::Q4, what);
        }
    }

    /// Q4: at the revision before a claim everything it had to wait for was there.
    fn conditions(&self, found: &mut Findings) {
        for push in &self.queue.pushes {
            for claim in of(&self.claims, &push.id) {
                let before = claim.created - 1;
                let id = &push.id;
                if let Some(until) = self.waits_for(push, before) {
                    let what = format!("{id} was claimed at {before}+1, before {until}");
                    found.add(Invariant::Q4, what);
                }
            }
        }
        for (id, claims) in &self.claims {
            for claim in claims {
                if !self.runs_at(claim.created - 1) {
                    let what = format!("{id} was claimed at {}, while paused", claim.created);
                    found.add(Invariant::Q4, what);
                }
            }
        }
    }

    /// Whether the queue was not paused.
    fn runs_at(&self, revision: i64) -> bool {
        let control = self.control.iter().find_map(|life| life.at(revision));
        control.is_none_or(|kv| [&b"run"[..], b"drain"].contains(&&kv.value[..]))
    }

    /// Q5: attempts are counted and bounded.
    fn attempts(&self, found: &mut Findings) {
        let max = self.queue.max_attempts;
        let mut last: BTreeMap<&str, u32> = BTreeMap::new();
        let mut claims: Vec<&Claim> = self.queue.claims.iter().collect();
        claims.sort_by_key(|claim| claim.token);
        for claim in claims {
            let id = &claim.id;
            if max > 0 && claim.attempt > max {
                found.add(Invariant::Q5, format!("attempt above {max}: {claim:?}"));
            }
            let before = last.entry(id).or_default();
            let again = [Some(Claimed::Released), Some(Claimed::AckOpen)];
            let again = again.contains(&claim.ended.map(|(_, how)| how));
            if claim.attempt <= *before {
                let what = format!("attempt {} of {id} again: {claim:?}", claim.attempt);
                found.add(Invariant::Q5, what);
            }
            // What is given back without counting may have its number again.
            *before = claim.attempt - u32::from(again && claim.attempt > 0);
        }
    }

    /// Q6: nobody waits for long while something is free.
    fn idle(&self, found: &mut Findings) {
        for push in &self.queue.pushes {
            for (from, to) in self.free(push) {
                let waits = self.queue.waits.iter();
                let idle = waits.map(|wait| {
                    let (from, to) = (from.max(wait.span.from), to.min(wait.span.to));
                    (self.time.calm(from, to), &wait.client)
                });
                let Some((idle, client)) = idle.max_by_key(|(idle, _)| *idle) else {
                    continue;
                };
                if idle > self.story.prompt {
                    let (id, from, to) = (&push.id, at(from), at(to));
                    let what = format!("{id} was free from {from} to {to}, while {client} waited");
                    found.add(Invariant::Q6, what);
                }
            }
        }
    }

    /// When an item could have been claimed.
    fn free(&self, push: &Push) -> Vec<(Nanos, Nanos)> {
        let mut marks: Vec<i64> = Vec::new();
        let claims = of(&self.claims, &push.id);
        let items = of(&self.items, &push.id);
        let mut sources: Vec<&Life> = claims.iter().chain(items).chain(&self.control).collect();
        for name in &push.after {
            sources.extend(of(&self.done, name));
        }
        // Any of them, for the queue as a whole may wait for another one than the item does.
        sources.extend(self.gates.values().flatten());
        marks.extend(self.rules.changes());
        for life in sources {
            marks.extend(life.puts.iter().map(|kv| kv.mod_revision));
            marks.extend(life.deleted);
        }
        marks.sort_unstable();
        marks.dedup();
        let mut free = Vec::new();
        for (index, &mark) in marks.iter().enumerate() {
            let is_free = lives_at(items, mark) && !lives_at(claims, mark);
            let opens = push.opens.as_deref();
            let open = || {
                self.waits_for(push, mark).is_none()
                    && !self.rules.holds_back(mark, opens, &self.doors())
            };
            if !is_free || !self.runs_at(mark) || !open() {
                continue;
            }
            let next = marks.get(index + 1);
            let to = next.map_or(self.time.end(), |&next| self.time.not_before(next));
            free.push((self.time.by(mark), to));
        }
        free
    }

    /// Q7: a dead worker's claim goes with its lease.
    fn crashed(&self, found: &mut Findings) {
        for claim in &self.queue.claims {
            let Some((crash, Claimed::Crashed)) = claim.ended else {
                continue;
            };
            let lives = of(&self.claims, &claim.id);
            let Some(life) = lives.iter().find(|life| life.created == claim.token) else {
                continue;
            };
            let gone = life.deleted.map_or(self.time.end(), |it| self.time.by(it));
            if self.time.calm(crash, gone) > self.story.patience {
                let gone = at(gone);
                found.add(Invariant::Q7, format!("claimed until {gone}: {claim:?}"));
            }
        }
        // What nobody works on any more must not stay claimed either.
        for (id, claims) in &self.claims {
            for life in claims.iter().filter(|it| it.deleted.is_none()) {
                if self.sessions.is_over(life.lease(), self.time.log.to) {
                    let what = format!("{id} ({}) outlives its session", life.created);
                    found.add(Invariant::Q7, what);
                }
            }
        }
    }
}
