//! False runs of clients: true ones with one thing changed, which the checks must find.
//!
//! Owns the changes of operations and states, one test for each kind.

use super::{
    dice::Dice,
    traffic::{Shape, run},
};
use crate::{
    check_all,
    history::{
        Compare, CompareResult, Event, EventKind, Get, Kv, Operation, Outcome, Put, Request,
        Response, Run, Target, TxnOp,
    },
    log::LogIndex,
    report::Promise,
};

/// Changes many runs, and asserts that each change is found as one of `promises`.
pub(super) fn finds(promises: &[Promise], change: impl Fn(&mut Run, &mut Dice) -> Option<()>) {
    finds_in(Shape::default(), promises, change);
}

pub(super) fn finds_in(
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
