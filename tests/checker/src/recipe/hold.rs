//! Locks and leaderships: L1 to L8, and with other names E-1 and E-3 to E-6.
//!
//! Owns what is asked of each acquisition. Several names at once are judged name by name here, and
//! as a whole in [`super::multi`].

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{history::Nanos, text::Shown};

use super::{
    Broken, Findings, Hold, HoldEnd, HoldKind, Invariant, Story, Told,
    line::Line,
    lives::{Life, Sessions},
    timeline::{Timeline, at},
};

/// Judges all acquisitions.
pub(super) fn check(story: &Story, time: &Timeline) -> Vec<Broken> {
    let mut by_name: BTreeMap<&Bytes, Vec<&Hold>> = BTreeMap::new();
    for hold in &story.holds {
        for name in &hold.names {
            by_name.entry(name).or_default().push(hold);
        }
    }
    for name in &story.left {
        by_name.entry(name).or_default();
    }
    let sessions = Sessions::read(&time.log);
    let mut found = Findings::default();
    for (name, mut holds) in by_name {
        holds.sort_by_key(|hold| hold.asked);
        let judge = Judge {
            story,
            time,
            name,
            holds,
            line: Line::read(name, &time.log),
            sessions: &sessions,
        };
        judge.granted(&mut found);
        judge.believed(&mut found);
        judge.removed(&mut found);
        judge.waited(&mut found);
        judge.debris(&mut found);
        if story.left.contains(name) {
            judge.empty(&mut found);
        }
    }
    found.0
}

/// The invariants of one kind, under their names.
struct Names {
    exclusive: Invariant,
    believed: Invariant,
    token: Invariant,
    removed: Invariant,
    ungranted: Invariant,
    order: Invariant,
    waiting: Invariant,
    debris: Invariant,
}

const LOCK: Names = Names {
    exclusive: Invariant::L1,
    believed: Invariant::L2,
    token: Invariant::L3,
    removed: Invariant::L4,
    ungranted: Invariant::L5,
    order: Invariant::L6,
    waiting: Invariant::L7,
    debris: Invariant::L8,
};

const ELECTION: Names = Names {
    exclusive: Invariant::E1,
    believed: Invariant::E4,
    token: Invariant::E3,
    removed: Invariant::E6,
    ungranted: Invariant::E1,
    order: Invariant::E5,
    waiting: Invariant::E5,
    debris: Invariant::E6,
};

struct Judge<'a> {
    story: &'a Story,
    time: &'a Timeline,
    name: &'a Bytes,
    /// By when they were asked for.
    holds: Vec<&'a Hold>,
    line: Line,
    sessions: &'a Sessions,
}

impl Judge<'_> {
    fn names(&self) -> &'static Names {
        match self.holds.first().map(|hold| hold.kind) {
            Some(HoldKind::Election) => &ELECTION,
            _ => &LOCK,
        }
    }

    fn told(&self) -> impl Iterator<Item = (&Hold, &Told)> {
        let holds = self.holds.iter();
        holds.filter_map(|hold| Some((*hold, hold.told.as_ref()?)))
    }

    fn words(&self, hold: &Hold) -> String {
        let (name, client, asked) = (Shown(self.name), &hold.client, at(hold.asked));
        let told = hold.told.as_ref().map_or("never told".to_owned(), |told| {
            let (token, from, to) = (told.token, at(told.at), at(told.checked));
            format!("token {token}, told at {from}, last checked at {to}")
        });
        let end = match hold.ended {
            None => "to the end".to_owned(),
            Some(end) => format!("{end:?}"),
        };
        format!("{name} of {client} (asked at {asked}, {told}, {end})")
    }

    /// When others took the place away, if they did.
    fn meddled(&self, lease: i64, key: &[u8]) -> Option<Nanos> {
        let all = self.story.meddlings.iter();
        let hits = all.filter(|it| {
            (it.lease != 0 && it.lease == lease) || (!it.key.is_empty() && it.key == key)
        });
        hits.map(|it| it.at).min()
    }

    /// L1, L3, L5: the oldest of the line, told not earlier, in the order of the line.
    fn granted(&self, found: &mut Findings) {
        let names = self.names();
        let mut by_time: Vec<_> = self.told().collect();
        by_time.sort_by_key(|(_, told)| told.at);
        let mut highest = 0;
        for (hold, told) in by_time {
            if told.token <= highest {
                let what = self.words(hold);
                found.add(
                    names.token,
                    format!("not above token {highest} before it: {what}"),
                );
            }
            highest = highest.max(told.token);
            let Some(place) = self.line.place(told.token) else {
                let what = self.words(hold);
                found.add(
                    names.ungranted,
                    format!("granted without a place in line: {what}"),
                );
                continue;
            };
            let Some(first) = self.line.first_from(told.token) else {
                let what = self.words(hold);
                found.add(
                    names.exclusive,
                    format!("granted, but never the oldest in line: {what}"),
                );
                continue;
            };
            if told.at < self.time.not_before(first) {
                let (what, free) = (self.words(hold), at(self.time.not_before(first)));
                found.add(
                    names.ungranted,
                    format!(
                        "granted before revision {first}, which was not there at {free}: {what}"
                    ),
                );
            }
            let gone = place.deleted.map(|revision| self.time.by(revision));
            let meddled = self.meddled(told.lease, &place.key).is_some();
            if gone.is_some_and(|gone| gone < told.at) && !meddled {
                let what = self.words(hold);
                found.add(
                    names.ungranted,
                    format!("granted after its key was gone: {what}"),
                );
            }
            let outside = |work: &&i64| **work < first || place.end() <= **work;
            for work in told.work.iter().filter(outside) {
                let what = self.words(hold);
                found.add(
                    names.ungranted,
                    format!("guarded work at revision {work}, while it was not held: {what}"),
                );
            }
        }
    }

    /// L2: beliefs do not overlap in true time.
    fn believed(&self, found: &mut Findings) {
        let mut spans: Vec<_> = self
            .told()
            .map(|(hold, told)| {
                let place = self.line.place(told.token);
                let key = place.map_or(&[][..], |place| &place.key);
                let until = self.meddled(told.lease, key).unwrap_or(Nanos::MAX);
                (told.at, told.checked.min(until), hold)
            })
            .collect();
        spans.sort_by_key(|(from, ..)| *from);
        let mut longest: Option<(Nanos, &Hold)> = None;
        for (from, to, hold) in spans {
            if let Some((_, other)) = longest.filter(|(end, _)| *end > from) {
                let (one, two) = (self.words(other), self.words(hold));
                found.add(
                    self.names().believed,
                    format!("two believe to hold at once: {one}, and {two}"),
                );
            }
            if longest.is_none_or(|(end, _)| end < to) {
                longest = Some((to, hold));
            }
        }
    }

    /// The acquisition that a place belongs to, as far as can be told.
    fn owner(&self, place: &Life) -> Option<&Hold> {
        let by_token = self.told().find(|(_, told)| told.token == place.created);
        if let Some((hold, _)) = by_token {
            return Some(hold);
        }
        let client = self.sessions.owner(place.lease())?;
        let created = self.time.by(place.created);
        let holds = self.holds.iter().rev();
        let mut untold = holds.filter(|hold| hold.client == client && hold.told.is_none());
        untold.find(|hold| hold.asked <= created).copied()
    }

    /// Acquisitions of the program that a place belongs to, none of which was told its token.
    fn may_have_left(&self, place: &Life, by: Nanos) -> bool {
        let left = |hold: &Hold| match hold.ended {
            Some(HoldEnd::Left(at) | HoldEnd::Lost(at)) => at <= by,
            _ => false,
        };
        let by_token = self.told().find(|(_, told)| told.token == place.created);
        if let Some((hold, _)) = by_token {
            return left(hold);
        }
        let owner = self.sessions.owner(place.lease());
        let mut own = self
            .holds
            .iter()
            .filter(|it| Some(it.client.as_str()) == owner);
        own.any(|hold| {
            let gave_up = hold.until.is_some_and(|until| until <= by);
            hold.told.is_none() && (left(hold) || gave_up)
        })
    }

    /// L4: a place goes by its owner's will, with its lease, or because somebody meddled.
    fn removed(&self, found: &mut Findings) {
        for place in &self.line.places {
            let Some(revision) = place.deleted else {
                continue;
            };
            let by = self.time.by(revision);
            let with_lease = self.sessions.is_over(place.lease(), revision);
            // Whose place under one of several names is gone leaves the others.
            let together = self.time.log.events(place.created);
            let meddled = self.story.meddlings.iter().any(|it| {
                let same = together.iter().any(|event| event.kv.key == it.key);
                it.at <= by && (it.lease != 0 && it.lease == place.lease() || same)
            });
            if with_lease || meddled || self.may_have_left(place, by) {
                continue;
            }
            let (key, created) = (Shown(&place.key), place.created);
            let owner = self.sessions.owner(place.lease()).unwrap_or("nobody known");
            found.add(
                self.names().removed,
                format!(
                    "{key} (created {created}) of {owner} was deleted at revision {revision}, \
                     though it neither left nor lost its lease"
                ),
            );
        }
    }

    /// L6, L7: who stays keeps the place, and the first is granted soon.
    fn waited(&self, found: &mut Findings) {
        for hold in &self.holds {
            let until = match (&hold.told, hold.ended) {
                (Some(told), _) => told.at,
                (None, Some(end)) => end.at(),
                (None, None) => self.time.end(),
            };
            let places = self.line.places.iter();
            let mut own = places.filter(|place| {
                self.owner(place)
                    .is_some_and(|owner| std::ptr::eq(owner, *hold))
            });
            let first = match &hold.told {
                Some(told) => self.line.first_from(told.token),
                None => own.clone().find_map(|it| self.line.first_from(it.created)),
            };
            // Of several names, all must be free.
            let due = match first {
                Some(first) if hold.names.len() == 1 => self.time.by(first).max(hold.asked),
                Some(_) => continue,
                None if own.next().is_none() => hold.asked,
                None => continue,
            };
            let limit = match first {
                Some(_) => self.story.prompt,
                // A lost session has to be noticed first.
                None => self.story.prompt + self.story.patience,
            };
            if self.time.calm(due, until) > limit {
                let (what, due) = (self.words(hold), at(due));
                found.add(
                    self.names().waiting,
                    format!("due at {due}, but not granted until {}: {what}", at(until)),
                );
            }
        }
        self.places_kept(found);
    }

    /// L6: nobody who stays is put behind: a grant has the first place its acquisition had.
    fn places_kept(&self, found: &mut Findings) {
        for (hold, told) in self.told() {
            let again = self.line.places.iter().find(|place| {
                let same = place.lease() == told.lease && place.created < told.token;
                let during = self.time.not_before(place.created) >= hold.asked;
                let others = self.told().any(|(_, it)| it.token == place.created);
                same && during && !others && !self.has_other(hold, place)
            });
            if let Some(place) = again {
                let (what, created) = (self.words(hold), place.created);
                found.add(
                    self.names().order,
                    format!("its first place was that of revision {created}: {what}"),
                );
            }
        }
    }

    /// Whether the same program asked for the name another time while the place was made.
    fn has_other(&self, hold: &Hold, place: &Life) -> bool {
        let created = self.time.by(place.created);
        self.holds.iter().any(|other| {
            let same = other.client == hold.client && !std::ptr::eq(*other, hold);
            let over = other.ended.map_or(Nanos::MAX, HoldEnd::at);
            // What was under way when it ended may come later.
            same && other.asked <= created && (over >= hold.asked || other.told.is_none())
        })
    }

    /// L8 during the run: a place does not outlive its acquisition for long.
    fn debris(&self, found: &mut Findings) {
        for place in &self.line.places {
            let Some(hold) = self.owner(place) else {
                continue;
            };
            let (ended, limit) = match hold.ended {
                Some(HoldEnd::Left(at)) => (at, self.story.prompt),
                Some(HoldEnd::Lost(at) | HoldEnd::Crashed(at)) => (at, self.story.patience),
                None => continue,
            };
            let gone = place.deleted.map_or(self.time.end(), |it| self.time.by(it));
            let from = ended.max(self.time.by(place.created));
            if self.time.calm(from, gone) > limit {
                let (what, gone) = (self.words(hold), at(gone));
                found.add(
                    self.names().debris,
                    format!("its key stayed until {gone}: {what}"),
                );
            }
        }
    }

    /// L8 at the end: the name is empty.
    fn empty(&self, found: &mut Findings) {
        for place in self.line.places.iter().filter(|it| it.deleted.is_none()) {
            let (key, created) = (Shown(&place.key), place.created);
            found.add(
                self.names().debris,
                format!("{key} (created {created}) is left behind after everybody left"),
            );
        }
    }
}
