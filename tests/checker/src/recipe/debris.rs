//! D1: what recipes keep for themselves goes with whoever it belongs to.
//!
//! Owns looking at what is there at the end of a story, after everybody has left.

use crate::text::Shown;

use super::{
    Broken, Findings, Invariant, Story,
    lives::{Life, Sessions, lives},
    timeline::Timeline,
};

/// What recipes and sessions keep for themselves.
const METADATA: &[u8] = b"_handfast/";

/// Judges what is left, if everybody has left.
pub(super) fn check(story: &Story, time: &Timeline) -> Vec<Broken> {
    let mut found = Findings::default();
    if !story.over {
        return found.0;
    }
    let sessions = Sessions::read(&time.log);
    let all = lives(&time.log, b"");
    let there = all.iter().filter(|life| life.deleted.is_none());
    for life in there {
        if let Some(why) = orphaned(life, story, &sessions, time) {
            let (key, created) = (Shown(&life.key), life.created);
            let what = format!("{key} (created {created}) is left behind: {why}");
            found.add(Invariant::D1, what);
        }
    }
    found.0
}

/// Why nobody will ever take it away.
fn orphaned(
    life: &Life,
    story: &Story,
    sessions: &Sessions,
    time: &Timeline,
) -> Option<&'static str> {
    let lease = life.puts.last().map_or(0, |kv| kv.lease);
    if lease != 0 && sessions.is_over(lease, time.log.to) {
        return Some("its session has ended");
    }
    let waits = story.queues.iter().any(|queue| {
        let rest = life.key.strip_prefix(&*queue.prefix);
        rest.is_some_and(|rest| rest.starts_with(b"workers/"))
    });
    if waits {
        return Some("no worker waits");
    }
    let note = life.key.strip_prefix(METADATA)?;
    // That a holder has died is remembered until the name is used again.
    if let Some(name) = note.strip_prefix(b"own/") {
        let again = story.left.iter().any(|left| left == name);
        return again.then_some("who held it last has left in order");
    }
    // Who published a configuration last belongs to it.
    if note.starts_with(b"config/") {
        return None;
    }
    if note.starts_with(b"session/") || note.starts_with(b"gone/") {
        return Some("all sessions have ended");
    }
    (lease == 0).then_some("it has no lease")
}
