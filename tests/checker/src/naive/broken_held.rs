//! False tenures and leases: true ones with one thing changed, which the checks must find.
//!
//! Owns the changes of what holders were told, one test for each kind.

use super::broken::finds;
use crate::report::Promise;

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
