//! Many leases whose holders renew them in good time.
//!
//! Owns the pace: each lease once in a third of its time to live, evenly spread. The leases are
//! kept from round to round, because granting them takes longer than a round.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tonic::Status;

use super::lease::grant_for;
use super::renewal::{Renewals, answer, renew_all};
use super::{Arena, Worker, for_each, workers};
use crate::exit::Failure;

/// Time to live of the leases.
const TTL: Duration = Duration::from_secs(60);
/// How often a holder renews its lease.
const EVERY: Duration = Duration::from_secs(20);

pub(super) async fn start(arena: &Rc<Arena>) -> Result<Vec<Worker>, Failure> {
    let granted = arena.kept_leases.borrow().len();
    let missing = arena.args.paced_leases.saturating_sub(granted);
    for_each(arena, missing, |arena, index| async move {
        let lease = grant_for(&arena, index, TTL.as_secs() as i64).await?;
        arena.kept_leases.borrow_mut().push(lease);
        Ok(())
    })
    .await?;
    // The other server's rounds may have taken long.
    let leases = Rc::new(arena.kept_leases.borrow().clone());
    renew_all(arena, Rc::clone(&leases)).await?;
    let streams = arena.channels.len().min(leases.len());
    Ok(workers(arena, streams, move |arena, stream| {
        let share = leases.iter().skip(stream).step_by(streams);
        renew_in_time(arena, stream, share.copied().collect())
    }))
}

async fn renew_in_time(arena: Rc<Arena>, stream: usize, leases: Vec<i64>) -> Result<(), Status> {
    let interval = EVERY / u32::try_from(leases.len()).unwrap_or(u32::MAX);
    let mut due = Instant::now() + interval * stream as u32 / arena.channels.len() as u32;
    let mut next = leases.iter().cycle();
    let mut under_way = VecDeque::new();
    let mut renewals: Option<Renewals> = None;
    while arena.gauge.goes_on() {
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {
                let Some(id) = next.next() else { break };
                under_way.push_back(Instant::now());
                match &renewals {
                    Some(renewals) => renewals.send(*id),
                    None => renewals = Some(Renewals::open(&arena, stream, *id).await?),
                }
                due += interval;
            }
            answered = answer(&mut renewals) => {
                answered?;
                if let Some(sent) = under_way.pop_front() {
                    arena.gauge.record(sent);
                }
            }
            () = arena.gauge.over() => break,
        }
    }
    Ok(())
}
