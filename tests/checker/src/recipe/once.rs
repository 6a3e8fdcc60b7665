//! What is done once: O1 and O2.
//!
//! Owns the comparison of what callers were given with what the log has.

use std::collections::BTreeSet;

use crate::{history::Nanos, text::Shown};

use super::{
    Broken, Findings, Invariant, OnceCall, Story,
    lives::lives,
    timeline::{Timeline, at},
};

/// Judges all callers.
pub(super) fn check(story: &Story, time: &Timeline) -> Vec<Broken> {
    let mut found = Findings::default();
    let results: BTreeSet<_> = story.once.iter().map(|call| &call.result).collect();
    for result in results {
        let calls = story.once.iter().filter(|call| call.result == *result);
        let calls: Vec<&OnceCall> = calls.collect();
        one_result(result, &calls, time, &mut found);
        one_runner(result, &calls, story, &mut found);
        for call in calls {
            let until = call.answered.as_ref().map(|(at, _)| *at);
            let until = until.or(call.ended).unwrap_or(time.end());
            if time.calm(call.asked, until) > story.patience + 2 * story.prompt {
                let (client, asked, key) = (&call.client, at(call.asked), Shown(result));
                let what = format!("{client} waits for {key} since {asked}, to {}", at(until));
                found.add(Invariant::O2, what);
            }
        }
    }
    found.0
}

/// O1: the log has one result, and everybody was given it.
fn one_result(key: &[u8], calls: &[&OnceCall], time: &Timeline, found: &mut Findings) {
    let lives = lives(&time.log, key);
    let puts = lives.iter().filter(|life| life.key == *key);
    let puts: Vec<_> = puts.flat_map(|life| &life.puts).collect();
    let shown = Shown(key);
    if puts.len() > 1 {
        let at: Vec<i64> = puts.iter().map(|kv| kv.mod_revision).collect();
        let what = format!("{shown} was written {} times, at {at:?}", puts.len());
        found.add(Invariant::O1, what);
    }
    for call in calls {
        let Some((when, value)) = &call.answered else {
            continue;
        };
        let client = &call.client;
        match puts.iter().find(|kv| kv.value == *value) {
            None => {
                let value = Shown(value);
                let what = format!("{client} was given {value} for {shown}, which was never there");
                found.add(Invariant::O1, what);
            }
            Some(kv) if *when < time.not_before(kv.mod_revision) => {
                let what = format!("{client} was given the result of {shown} before it was there");
                found.add(Invariant::O1, what);
            }
            Some(_) => {}
        }
    }
}

/// O1: nobody runs while another does, so that the work is done once unless a runner dies.
fn one_runner(key: &[u8], calls: &[&OnceCall], story: &Story, found: &mut Findings) {
    let runs = calls.iter().flat_map(|call| call.runs.iter());
    let mut runs: Vec<_> = runs
        .map(|run| {
            let cut = story.meddlings.iter().filter(|it| it.lease == run.lease);
            let cut = cut.filter(|it| it.lease != 0).map(|it| it.at).min();
            let to = run.span.to.min(cut.unwrap_or(Nanos::MAX));
            (run.span.from, to, run.token)
        })
        .collect();
    runs.sort_unstable();
    for pair in runs.windows(2) {
        let [(_, to, one), (from, _, two)] = pair else {
            continue;
        };
        if to > from {
            let what = format!("{} ran twice at once: tokens {one} and {two}", Shown(key));
            found.add(Invariant::O1, what);
        }
        if two <= one {
            let what = format!("{}: token {two} after {one}", Shown(key));
            found.add(Invariant::O1, what);
        }
    }
}
