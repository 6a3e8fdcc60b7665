//! False runs: true ones with one thing changed, which the checks must find.
//!
//! Owns the changes, one test for each kind.

use super::{
    dice::Dice,
    traffic::{Shape, run},
};
use crate::{
    check_all,
    history::{
        Compare, CompareResult, Delivery, Event, EventKind, Get, Kv, Operation, Outcome, Put,
        Request, Response, Run, Target, TxnOp,
    },
    log::LogIndex,
    report::Promise,
};

/// Changes many runs, and asserts that each change is found as one of `promises`.
fn finds(promises: &[Promise], change: impl Fn(&mut Run, &mut Dice) -> Option<()>) {
    finds_in(Shape::default(), promises, change);
}

fn finds_in(
    shape: Shape,
    promises: &[Promise],
    change: impl Fn(&mut Run, &mut Dice) -> Option<()>,
) {
    let mut changed = 0;
    for seed in 0..25 {
        let mut run = run(seed, shape);
        if change(&mut run, &mut Dice::new(seed)).is_none() {
            continue;
        }
        changed += 1;
        let report = check_all(&run);
        let found = promises.iter().any(|promise| report.breaks(*promise));
        assert!(found, "seed {seed}: not {promises:?} but {report}");
    }
    assert!(changed >= 10, "only {changed} runs could be changed");
}

/// One of the operations for which `fits` holds.
fn pick(run: &Run, dice: &mut Dice, fits: impl Fn(&Operation) -> bool) -> Option<usize> {
    let all: Vec<usize> = (0..run.operations.len())
        .filter(|at| fits(&run.operations[*at]))
        .collect();
    (!all.is_empty()).then(|| *dice.pick(&all))
}

/// The revision of an acknowledged put or of nothing else.
fn acknowledged_put(operation: &Operation) -> Option<(&Put, i64)> {
    match (&operation.request, &operation.outcome) {
        (Request::Put(put), Outcome::Ok { revision, .. }) => Some((put, *revision)),
        _ => None,
    }
}

fn is_present_get(operation: &Operation) -> bool {
    let request = matches!(&operation.request, Request::Get(get)
        if !get.serializable && get.revision == 0 && get.limit == 0 && get.range.is_key());
    request && matches!(operation.outcome, Outcome::Ok { .. })
}

/// Replaces a read's answer by the state before a write that it must show. With `honest` the
/// header tells the old revision, too.
fn make_stale(run: &mut Run, dice: &mut Dice, honest: bool) -> Option<()> {
    let (log, _) = LogIndex::read(run)?;
    let writes: Vec<(Put, i64, u64)> = run
        .operations
        .iter()
        .filter_map(|one| acknowledged_put(one).map(|(put, at)| (put, at, one.returned)))
        .map(|(put, at, returned)| (put.clone(), at, returned.unwrap()))
        .collect();
    let seen = |read: &Operation, (put, _, returned): &(Put, i64, u64)| {
        let Request::Get(get) = &read.request else {
            return false;
        };
        get.range.contains(&put.key) && *returned < read.invoked
    };
    let fits = |one: &Operation| is_present_get(one) && writes.iter().any(|put| seen(one, put));
    let at = pick(run, dice, fits)?;
    let read = &mut run.operations[at];
    let (put, written, _) = writes.iter().rev().find(|put| seen(read, put))?;
    let state = log.state_at(written - 1)?;
    let kvs: Vec<Kv> = state.get(&put.key).cloned().into_iter().collect();
    let Outcome::Ok { revision, response } = &mut read.outcome else {
        return None;
    };
    *response = Response::Get { kvs, count: None };
    if honest {
        *revision = written - 1;
    }
    Some(())
}

#[test]
fn a_stale_read() {
    finds(&[Promise::Linearizable], |run, dice| {
        make_stale(run, dice, true)
    });
}

#[test]
fn a_stale_read_under_a_fresh_header() {
    finds(&[Promise::Linearizable], |run, dice| {
        let before = run.clone();
        make_stale(run, dice, false)?;
        // The key may have been empty before and deleted since.
        let is_same = |(one, two): (&Operation, &Operation)| match (&one.outcome, &two.outcome) {
            (
                Outcome::Ok {
                    response: Response::Get { kvs: one, .. },
                    ..
                },
                Outcome::Ok {
                    response: Response::Get { kvs: two, .. },
                    ..
                },
            ) => one == two,
            _ => true,
        };
        let mut pairs = before.operations.iter().zip(&run.operations);
        (!pairs.all(is_same)).then_some(())
    });
}

#[test]
fn a_stale_read_without_a_log_to_compare_with() {
    finds(&[Promise::Linearizable], |run, dice| {
        make_stale(run, dice, true)?;
        run.log = None;
        run.watches.clear();
        Some(())
    });
}

#[test]
fn a_write_that_was_acknowledged_and_not_done() {
    finds(&[Promise::NothingLost], |run, dice| {
        let to = run.log.as_ref()?.to;
        let fits = |one: &Operation| {
            matches!(one.request, Request::Put(_)) && matches!(one.outcome, Outcome::Failed { .. })
        };
        let at = pick(run, dice, fits)?;
        run.operations[at].outcome = Outcome::Ok {
            revision: to + 1,
            response: Response::Put { prev_kv: None },
        };
        Some(())
    });
}

#[test]
fn a_write_that_is_gone_at_the_end() {
    finds(&[Promise::NothingLost], |run, dice| {
        let held = run.finals[0].state.kvs.clone();
        let is_held = |one: &Operation| {
            let put = acknowledged_put(one);
            put.is_some_and(|(_, at)| held.iter().any(|kv| kv.mod_revision == at))
        };
        let at = pick(run, dice, is_held)?;
        let (_, revision) = acknowledged_put(&run.operations[at])?;
        for one in &mut run.finals {
            one.state.kvs.retain(|kv| kv.mod_revision != revision);
        }
        Some(())
    });
}

#[test]
fn a_member_that_differs() {
    finds(&[Promise::MembersAgree], |run, dice| {
        let kvs = &mut run.finals[2].state.kvs;
        let at = dice.below(kvs.len());
        kvs.get_mut(at)?.version += 1;
        Some(())
    });
}

#[test]
fn two_writes_with_swapped_revisions() {
    for with_log in [true, false] {
        finds(&[Promise::Linearizable], |run, dice| {
            let is_put = |one: &Operation| acknowledged_put(one).is_some();
            let one = pick(run, dice, is_put)?;
            let until = run.operations[one].returned?;
            let two = pick(run, dice, |two| is_put(two) && two.invoked > until)?;
            let outcome = run.operations[one].outcome.clone();
            run.operations[one].outcome = run.operations[two].outcome.clone();
            run.operations[two].outcome = outcome;
            if !with_log {
                run.log = None;
                run.watches.clear();
                run.finals.clear();
            }
            Some(())
        });
    }
}

#[test]
fn a_write_that_was_done_twice() {
    finds(&[Promise::Linearizable], |run, dice| {
        let at = pick(run, dice, |one| acknowledged_put(one).is_some())?;
        let put = acknowledged_put(&run.operations[at])?.0.clone();
        let revision = run.log.as_ref()?.to + 1;
        let held = run.finals[0].state.kvs.iter().find(|kv| kv.key == put.key);
        let kv = Kv {
            key: put.key.clone(),
            value: put.value,
            create_revision: held.map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: held.map_or(0, |kv| kv.version) + 1,
            lease: put.lease,
        };
        for one in &mut run.finals {
            one.state.revision = revision;
            one.state.kvs.retain(|other| other.key != kv.key);
            one.state.kvs.push(kv.clone());
        }
        let log = run.log.as_mut()?;
        log.to = revision;
        log.events.push(Event {
            kind: EventKind::Put,
            kv,
            prev_kv: None,
        });
        Some(())
    });
}

#[test]
fn a_revision_told_twice() {
    finds(&[Promise::RevisionsUnique], |run, dice| {
        let is_put = |one: &Operation| acknowledged_put(one).is_some();
        let (one, two) = (pick(run, dice, is_put)?, pick(run, dice, is_put)?);
        run.operations[one].outcome = run.operations[two].outcome.clone();
        (one != two).then_some(())
    });
}

#[test]
fn a_transaction_that_ran_against_its_compare() {
    finds(&[Promise::Linearizable], |run, dice| {
        let ran = |one: &Operation| {
            matches!(&one.outcome, Outcome::Ok { response: Response::Txn { succeeded, .. }, .. }
                if *succeeded)
        };
        let at = pick(run, dice, ran)?;
        let Request::Txn(txn) = &mut run.operations[at].request else {
            return None;
        };
        txn.compares.push(Compare {
            range: txn.compares[0].range.clone(),
            result: CompareResult::Greater,
            target: Target::Version(1000),
        });
        Some(())
    });
}

#[test]
fn a_transaction_of_which_half_was_done() {
    finds(
        &[Promise::Linearizable, Promise::NothingLost],
        |run, dice| {
            let ran = |one: &Operation| {
                matches!(&one.outcome, Outcome::Ok { response: Response::Txn { succeeded, .. }, .. }
                if *succeeded)
            };
            let at = pick(run, dice, ran)?;
            let Request::Txn(txn) = &mut run.operations[at].request else {
                return None;
            };
            let Some(TxnOp::Put(put)) = txn.then.first_mut() else {
                return None;
            };
            put.value = "not what was done".into();
            Some(())
        },
    );
}

#[test]
fn a_read_of_what_was_never_written() {
    finds(&[Promise::Linearizable], |run, dice| {
        let shows = |one: &Operation| {
            is_present_get(one)
                && matches!(&one.outcome, Outcome::Ok { response: Response::Get { kvs, .. }, .. }
                    if !kvs.is_empty())
        };
        let at = pick(run, dice, shows)?;
        let Outcome::Ok {
            response: Response::Get { kvs, .. },
            ..
        } = &mut run.operations[at].outcome
        else {
            return None;
        };
        kvs[0].value = "never written".into();
        Some(())
    });
}

#[test]
fn a_late_read_that_shows_what_never_was() {
    finds(&[Promise::SerializableRead], |run, dice| {
        let is_late = |one: &Operation| {
            matches!(
                &one.request,
                Request::Get(Get {
                    serializable: true,
                    ..
                })
            ) && matches!(&one.outcome, Outcome::Ok { response: Response::Get { kvs, .. }, .. }
                    if !kvs.is_empty())
        };
        let at = pick(run, dice, is_late)?;
        let Outcome::Ok {
            response: Response::Get { kvs, .. },
            ..
        } = &mut run.operations[at].outcome
        else {
            return None;
        };
        kvs[0].version += 1;
        Some(())
    });
}

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
        let mut seen = std::collections::BTreeSet::new();
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
    change: impl Fn(&mut Vec<crate::history::Note>, &[usize], &mut Dice) -> Option<()>,
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

fn events(note: &mut crate::history::Note) -> Option<&mut Vec<Event>> {
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

#[test]
fn two_owners_of_a_lock() {
    finds(&[Promise::LockExclusive], |run, _| {
        let rival = run.locks.get(1)?.granted;
        run.locks[0].ended.as_mut()?.at = rival + 1;
        Some(())
    });
}

#[test]
fn a_lock_held_without_a_key() {
    finds(&[Promise::LockExclusive], |run, dice| {
        let at = dice.below(run.locks.len());
        run.locks.get_mut(at)?.token = 1;
        Some(())
    });
}

#[test]
fn a_token_used_twice() {
    finds(&[Promise::LockToken], |run, _| {
        let token = run.locks.first()?.token;
        run.locks.get_mut(1)?.token = token;
        Some(())
    });
}

#[test]
fn two_leaders() {
    finds(&[Promise::LeaderExclusive], |run, _| {
        run.leaderships.get(1)?;
        run.leaderships[0].ended = None;
        Some(())
    });
}

#[test]
fn leaders_out_of_their_order() {
    finds(&[Promise::LeaderToken], |run, _| {
        let token = run.leaderships.first()?.token;
        let other = run.leaderships.get_mut(1)?;
        let later = std::mem::replace(&mut other.token, token);
        run.leaderships[0].token = later;
        Some(())
    });
}

#[test]
fn an_observer_that_sees_an_old_leader() {
    finds(&[Promise::LeaderObserved], |run, _| {
        let tokens: Vec<i64> = run.observations.iter().map(|one| one.token).collect();
        let is_new = |at: &usize| {
            tokens[..*at]
                .iter()
                .any(|old| *old != 0 && *old < tokens[*at])
        };
        let at = (0..tokens.len()).find(is_new)?;
        let mut old = run.observations[..at].iter().rev();
        let old = old
            .find(|one| one.token != 0 && one.token < tokens[at])?
            .clone();
        run.observations.insert(at + 1, old);
        Some(())
    });
}

#[test]
fn a_lease_that_ends_too_early() {
    finds(&[Promise::LeaseKept], |run, dice| {
        let at = dice.below(run.leases.len());
        let lease = run.leases.get_mut(at)?;
        lease.gone = Some(lease.renewals[0].sent + lease.ttl - 1);
        Some(())
    });
}
