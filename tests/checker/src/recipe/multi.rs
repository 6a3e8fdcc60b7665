//! Several locks at once: M1 to M3.
//!
//! Owns what concerns all names of an acquisition together. Each name for itself is judged in
//! [`super::hold`].

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Broken, Findings, Hold, HoldEnd, Invariant, Story,
    line::{Line, own_name},
    lives::Life,
    timeline::{Timeline, at},
};

/// Judges all acquisitions of several names.
pub(super) fn check(story: &Story, time: &Timeline) -> Vec<Broken> {
    let holds: Vec<&Hold> = story.holds.iter().filter(|it| it.names.len() > 1).collect();
    let mut lines: BTreeMap<&Bytes, Line> = BTreeMap::new();
    for name in holds.iter().flat_map(|hold| &hold.names) {
        let line = || Line::read(name, &time.log);
        lines.entry(name).or_insert_with(line);
    }
    let mut found = Findings::default();
    for hold in holds {
        whole(hold, story, &lines, &mut found);
        granted_in_time(hold, story, time, &lines, &mut found);
    }
    crossed(story, time, &lines, &mut found);
    refused(story, time, &lines, &mut found);
    found.0
}

/// M3: whoever is told that a name is used for something else is told the truth.
fn refused(story: &Story, time: &Timeline, lines: &BTreeMap<&Bytes, Line>, found: &mut Findings) {
    for conflict in &story.conflicts {
        let line = lines.get(&conflict.name);
        let there = story.holds.iter().any(|hold| {
            let expected = match hold.ended {
                Some(HoldEnd::Left(at)) => at + story.prompt,
                Some(HoldEnd::Lost(at) | HoldEnd::Crashed(at)) => at + story.patience,
                None => story.ended,
            };
            // Each new leader gives the lease of a crashed one its whole time again.
            let token = hold.told.as_ref().map(|told| told.token);
            let place = token.and_then(|token| line?.place(token));
            let to = place.map_or(expected, |place| expected.max(time.by(place.end())));
            let same = hold.kind == conflict.found && hold.names.contains(&conflict.name);
            same && hold.asked < conflict.span.to && to > conflict.span.from
        });
        if !there {
            let what = format!("nobody was there: {conflict:?}");
            found.add(Invariant::M3, what);
        }
    }
}

/// M1: one revision puts all places, and one takes them all.
fn whole(hold: &Hold, story: &Story, lines: &BTreeMap<&Bytes, Line>, found: &mut Findings) {
    let Some(told) = &hold.told else { return };
    let places: Vec<_> = hold
        .names
        .iter()
        .map(|name| lines.get(name).and_then(|line| line.place(told.token)))
        .collect();
    let (client, token, names) = (&hold.client, told.token, &hold.names);
    if places.iter().any(Option::is_none) {
        let what = format!("{client} with token {token} has no place under some of {names:?}");
        found.add(Invariant::M1, what);
        return;
    }
    let broken = story.meddlings.iter();
    let broken = broken.filter(|it| !it.key.is_empty());
    let broken: Vec<&Bytes> = broken.map(|it| &it.key).collect();
    let ends = places.iter().flatten();
    let ends = ends.filter(|it| !broken.contains(&&it.key));
    let mut ends: Vec<_> = ends.map(|it| it.deleted).collect();
    ends.dedup();
    // What is left of a broken one goes later than what was broken, but together.
    if ends.len() > 1 {
        let what = format!("{client} with token {token} left {names:?} one by one: {ends:?}");
        found.add(Invariant::M1, what);
    }
}

/// M2: the first under all names is granted soon.
fn granted_in_time(
    hold: &Hold,
    story: &Story,
    time: &Timeline,
    lines: &BTreeMap<&Bytes, Line>,
    found: &mut Findings,
) {
    let Some(told) = &hold.told else {
        let until = hold.ended.map_or(time.end(), super::HoldEnd::at);
        // Everybody else holds for a short time only: whoever waits for all of the calm hangs.
        if time.calm(hold.asked, until) > story.patience + 2 * story.prompt {
            let (client, asked, names) = (&hold.client, at(hold.asked), &hold.names);
            let what = format!(
                "{client} waits for {names:?} since {asked}, to {}",
                at(until)
            );
            found.add(Invariant::M2, what);
        }
        return;
    };
    let names = hold.names.iter().filter_map(|name| lines.get(name));
    let first = names.map(|line| line.first_from(told.token));
    let Some(first) = first.collect::<Option<Vec<_>>>() else {
        return;
    };
    let Some(first) = first.into_iter().max() else {
        return;
    };
    let due = time.by(first);
    if time.calm(due, told.at) > story.prompt {
        let (client, due, names) = (&hold.client, at(due), &hold.names);
        let what = format!(
            "{client} was due for {names:?} at {due}, told at {}",
            at(told.at)
        );
        found.add(Invariant::M2, what);
    }
}

/// M2: two that wait stand in the same order wherever both stand, so that waits form no circle.
fn crossed(story: &Story, time: &Timeline, lines: &BTreeMap<&Bytes, Line>, found: &mut Findings) {
    for (name, line) in lines {
        for (index, older) in line.places.iter().enumerate() {
            let younger = line.places[index + 1..].iter();
            for younger in younger.take_while(|it| it.created < older.end()) {
                let others = lines.iter().filter(|(other, _)| *other > name);
                for (other, there) in others {
                    let Some((from, to)) = turned(there, older, younger) else {
                        continue;
                    };
                    let to = if to > time.log.to {
                        time.end()
                    } else {
                        time.not_before(to)
                    };
                    if time.calm(time.by(from), to) > story.prompt {
                        let pair = (own_name(older), own_name(younger));
                        let what = format!("{pair:?} wait for each other: {name:?}, {other:?}");
                        found.add(Invariant::M2, what);
                    }
                }
            }
        }
    }
}

/// From which revision to which two stand the other way round here than they do elsewhere.
fn turned(line: &Line, older: &Life, younger: &Life) -> Option<(i64, i64)> {
    let same = |one: &Life, other: &Life| {
        own_name(one) == own_name(other) && one.created < other.end() && other.created < one.end()
    };
    let first = line.places.iter().filter(|it| same(it, younger));
    let pairs = first.flat_map(|first| {
        let second = line.places.iter().filter(|it| same(it, older));
        let second = second.filter(|it| first.created < it.created);
        second.map(move |second| [first, second, older, younger])
    });
    let spans = pairs.map(|four| {
        let from = four.iter().map(|it| it.created).max().unwrap_or(0);
        (from, four.iter().map(|it| it.end()).min().unwrap_or(0))
    });
    spans
        .filter(|(from, to)| from < to)
        .max_by_key(|(from, to)| to - from)
}
