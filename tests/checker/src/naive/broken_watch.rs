//! False watches: true ones with one thing changed, which the checks must find.
//!
//! Owns the changes of what watches deliver, one test for each kind.

use std::collections::BTreeSet;

use super::{
    broken::{finds, finds_in},
    dice::Dice,
    traffic::Shape,
};
use crate::{
    history::{Delivery, Event, EventKind, Note, Run},
    report::Promise,
};

/// The deliveries of one of the watches that hold at least `least` responses without fragments.
fn responses(run: &mut Run, dice: &mut Dice, least: usize) -> Option<(usize, Vec<usize>)> {
    let full = |note: &Delivery| {
        matches!(
            note,
            Delivery::Events {
                fragment: false,
                ..
            }
        )
    };
    let mut found = Vec::new();
    for (at, watch) in run.watches.iter().enumerate() {
        // A resumed watch may deliver again what it had.
        let repeats = watch
            .notes
            .iter()
            .any(|note| matches!(note.delivery, Delivery::Events { fragment: true, .. }));
        let notes = watch.notes.iter().enumerate();
        let notes: Vec<usize> = notes
            .filter(|(_, note)| full(&note.delivery))
            .map(|(at, _)| at)
            .collect();
        if notes.len() >= least && !repeats {
            found.push((at, notes));
        }
    }
    (!found.is_empty()).then(|| dice.pick(&found).clone())
}

/// Without interruptions, which may hide what is changed.
fn uninterrupted(run: &mut Run) {
    for watch in &mut run.watches {
        let mut seen = BTreeSet::new();
        watch.notes.retain_mut(|note| match &mut note.delivery {
            Delivery::Events { events, .. } => {
                events.retain(|event| seen.insert((event.revision(), event.kv.key.clone())));
                !events.is_empty()
            }
            Delivery::Resumed { .. } | Delivery::Progress { .. } => false,
            _ => true,
        });
    }
}

fn finds_in_watch(
    promises: &[Promise],
    least: usize,
    change: impl Fn(&mut Vec<Note>, &[usize], &mut Dice) -> Option<()>,
) {
    let shape = Shape {
        operations: 100,
        doubt: 0,
        ..Shape::default()
    };
    finds_in(shape, promises, |run, dice| {
        uninterrupted(run);
        let (watch, notes) = responses(run, dice, least)?;
        change(&mut run.watches[watch].notes, &notes, dice)
    });
}

fn events(note: &mut Note) -> Option<&mut Vec<Event>> {
    match &mut note.delivery {
        Delivery::Events { events, .. } => Some(events),
        _ => None,
    }
}

#[test]
fn a_watch_that_skips_a_revision() {
    let promises = [Promise::WatchReliable, Promise::WatchResumable];
    finds_in_watch(&promises, 1, |notes, at, dice| {
        let events = events(&mut notes[*dice.pick(at)])?;
        let revision = dice.pick(events).revision();
        events.retain(|event| event.revision() != revision);
        Some(())
    });
}

#[test]
fn a_watch_that_delivers_an_event_twice() {
    finds_in_watch(&[Promise::WatchUnique], 1, |notes, at, dice| {
        let at = *dice.pick(at);
        let note = notes[at].clone();
        notes.insert(at, note);
        Some(())
    });
}

#[test]
fn a_watch_that_delivers_in_the_wrong_order() {
    finds_in_watch(&[Promise::WatchOrdered], 2, |notes, at, dice| {
        let first = dice.below(at.len() - 1);
        notes.swap(at[first], at[first + 1]);
        Some(())
    });
}

/// The first response of any watch with two events of one revision, and the place of the second.
fn of_one_revision(run: &mut Run) -> Option<(usize, usize, usize)> {
    for (watch, record) in run.watches.iter_mut().enumerate() {
        for (at, note) in record.notes.iter_mut().enumerate() {
            let events = events(note).map_or(&[][..], |events| events.as_slice());
            let mut pairs = events.windows(2);
            let is_same = |pair: &[Event]| pair[0].revision() == pair[1].revision();
            if let Some(first) = pairs.position(is_same) {
                return Some((watch, at, first + 1));
            }
        }
    }
    None
}

#[test]
fn a_watch_that_tears_a_revision_apart() {
    finds(&[Promise::WatchAtomic], |run, _| {
        uninterrupted(run);
        let (watch, at, cut) = of_one_revision(run)?;
        let notes = &mut run.watches[watch].notes;
        let mut rest = notes[at].clone();
        if let Delivery::Events { fragment, .. } = &mut notes[at].delivery {
            *fragment = false;
        }
        *events(&mut rest)? = events(&mut notes[at])?.split_off(cut);
        notes.insert(at + 1, rest);
        Some(())
    });
}

#[test]
fn a_watch_that_loses_a_part_of_a_revision() {
    finds(&[Promise::WatchAtomic], |run, _| {
        uninterrupted(run);
        let (watch, at, cut) = of_one_revision(run)?;
        events(&mut run.watches[watch].notes[at])?.remove(cut);
        Some(())
    });
}

#[test]
fn a_watch_that_promises_too_early() {
    finds_in_watch(&[Promise::WatchBookmarkable], 1, |notes, at, dice| {
        let at = *dice.pick(at);
        let revision = events(&mut notes[at])?.last()?.revision();
        let mut note = notes[at].clone();
        note.delivery = Delivery::Progress { revision };
        notes.insert(at, note);
        Some(())
    });
}

#[test]
fn a_watch_that_shows_another_value() {
    finds_in_watch(&[Promise::WatchFaithful], 1, |notes, at, dice| {
        let events = events(&mut notes[*dice.pick(at)])?;
        let event = events
            .iter_mut()
            .find(|event| event.kind == EventKind::Put)?;
        event.kv.value = "another".into();
        Some(())
    });
}

#[test]
fn a_watch_that_shows_a_wrong_pair_before() {
    finds_in_watch(&[Promise::WatchPrevKv], 1, |notes, at, dice| {
        let mut shown = Vec::new();
        for at in at {
            let events = events(&mut notes[*at])?.iter().enumerate();
            let with = events.filter(|(_, event)| event.prev_kv.is_some());
            shown.extend(with.map(|(place, _)| (*at, place)));
        }
        if shown.is_empty() {
            return None;
        }
        let (at, place) = *dice.pick(&shown);
        let event = &mut events(&mut notes[at])?[place];
        if dice.percent(50) {
            event.prev_kv = None;
        } else {
            event.prev_kv.as_mut()?.version += 1;
        }
        Some(())
    });
}

#[test]
fn a_watch_that_delivers_what_it_should_not() {
    finds_in_watch(&[Promise::WatchFilter], 1, |notes, at, dice| {
        let events = events(&mut notes[*dice.pick(at)])?;
        // Below all keys of the runs, and no watch but that of everything asks for it.
        let mut event = events.first()?.clone();
        event.kv.key = "another".into();
        events.push(event);
        let has_slash = |event: &Event| event.kv.key.starts_with(b"held/");
        (!notes
            .iter_mut()
            .any(|note| self::events(note).is_some_and(|events| events.iter().any(has_slash))))
        .then_some(())
    });
}

#[test]
fn a_watch_that_goes_on_too_late() {
    let promises = [Promise::WatchReliable, Promise::WatchResumable];
    finds_in_watch(&promises, 3, |notes, at, dice| {
        let at = at[1 + dice.below(at.len() - 2)];
        let from = events(&mut notes[at])?.last()?.revision() + 1;
        notes[at].delivery = Delivery::Resumed { from };
        Some(())
    });
}
