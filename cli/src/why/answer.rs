//! The answer to "why am I waiting?", in sentences.
//!
//! Owns what is worth saying about a line or a queue. It must not ask a server anything.

use std::time::Duration;

use bytes::Bytes;
use handfast_core::session::lease_hex;

use crate::output::{printable, span};
use crate::overview::ttl::Ttl;
use crate::overview::{Line, Place, Queue, Seen};

/// How many of those who wait, and of keys in the way, are named.
const NAMED: usize = 20;

/// What is told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The answer in one sentence.
    pub(super) verdict: String,
    /// What is known beyond it, line by line.
    details: Vec<String>,
    /// What is out of the ordinary, and what can be done.
    pub(super) hints: Vec<String>,
}

impl Answer {
    /// What there is to say about `name`, with the keys below it that are no places.
    pub(super) fn about(seen: Seen<'_>, name: &[u8], foreign: &[Bytes]) -> Answer {
        match (seen.overview.line(name), seen.overview.queue(name)) {
            (Some(line), _) => about_line(seen, line, foreign),
            (None, Some(queue)) => about_queue(seen, queue),
            (None, None) => Answer {
                verdict: format!(
                    "nobody holds or waits for {}, and there is no queue of that name",
                    printable(name)
                ),
                ..Answer::default()
            },
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let details = self.details.iter().map(|detail| format!("  {detail}"));
        let hints = self.hints.iter().map(|hint| format!("note: {hint}"));
        std::iter::once(self.verdict.clone())
            .chain(details)
            .chain(hints)
            .collect()
    }
}

fn about_line(seen: Seen<'_>, line: &Line, foreign: &[Bytes]) -> Answer {
    let what = format!("{} {}", line.kind, printable(&line.name));
    let Some((holder, waiting)) = line.places.split_first() else {
        let hint = "its last holder died without giving it back; the next one will be told";
        return Answer {
            verdict: format!("nobody holds {what}"),
            hints: vec![hint.to_owned()],
            ..Answer::default()
        };
    };
    let ttl = seen.ttl(holder.lease);
    let mut details = Vec::new();
    if let Some(since) = seen.since(line.since_unix_ms) {
        details.push(format!("since     {} ago, its wait included", span(since)));
    }
    details.push(format!("TTL left  {}", ttl_text(holder, ttl)));
    details.push(format!("token     {}", holder.token));
    details.push(format!("waiting   {}", waiting.len()));
    for (position, place) in (2..).zip(waiting.iter().take(NAMED)) {
        let ttl = ttl_text(place, seen.ttl(place.lease));
        details.push(format!(
            "  {position}. {}, TTL left {ttl}",
            who(seen, place.lease)
        ));
    }
    if waiting.len() > NAMED {
        details.push(format!("  and {} more", waiting.len() - NAMED));
    }
    Answer {
        verdict: format!("{what} is held by {}", who(seen, holder.lease)),
        details,
        hints: hints(line, holder, ttl, foreign),
    }
}

fn hints(line: &Line, holder: &Place, ttl: Ttl, foreign: &[Bytes]) -> Vec<String> {
    let name = printable(&line.name);
    let take = format!("handfast lock break {name} --why \"...\"");
    let mut hints = Vec::new();
    if holder.immortal {
        hints.push(format!(
            "the holder's key is on no lease (somebody put it anew without one): it stays until \
             it is taken away with `{take}`"
        ));
    } else if let (true, Ttl::Left { left, granted }) = (ttl.is_overdue(), ttl) {
        hints.push(format!(
            "the holder has not renewed for about {}; if it stays silent this is free in {}",
            span(granted.saturating_sub(left)),
            span(left + Duration::from_secs(1))
        ));
    } else if ttl == Ttl::Ended {
        hints.push("the holder's lease has ended; its key goes any moment".to_owned());
    } else if line.places.len() > 1 {
        hints.push(format!(
            "the holder is alive; only `{take}` frees it sooner"
        ));
    }
    if line.left_behind {
        let text = "the record of the last grant is another's: the one before died, or the grant \
                    is being written just now, or the holder is no handfast program";
        hints.push(text.to_owned());
    }
    if !foreign.is_empty() {
        let named = foreign.iter().take(3).map(|key| printable(key));
        hints.push(format!(
            "below the name there are {} keys that are no places in its line, such as {}: handfast \
             passes over them, etcdctl and Go programs wait for the older ones for ever",
            foreign.len(),
            named.collect::<Vec<_>>().join(", ")
        ));
    }
    hints
}

fn about_queue(seen: Seen<'_>, queue: &Queue) -> Answer {
    let name = printable(&queue.name);
    let (waiting, claimed) = (queue.waiting(), queue.claims.len());
    let mut details = vec![
        format!("control   {}", queue.control.as_deref().unwrap_or("run")),
        format!(
            "items     {waiting} waiting, {claimed} being worked on, {} dead",
            queue.dead
        ),
        format!(
            "workers   {} that wait or have waited for items",
            queue.workers.len()
        ),
    ];
    if let Some(condition) = &queue.condition {
        details.push(format!("condition {condition}"));
    }
    for claim in queue.claims.iter().take(NAMED) {
        let item = printable(&claim.item);
        details.push(format!(
            "  {item} is worked on by {}",
            who(seen, claim.lease)
        ));
    }
    let is_paused = queue.control.as_deref() == Some("pause");
    let reason = match (queue.control.as_deref(), waiting, claimed) {
        (Some("pause"), ..) => "is paused: nothing is handed out",
        (Some("drain"), ..) => "drains: what is in it is worked on, nothing more is taken in",
        (_, 0, 0) => "is empty",
        (_, 0, _) => "has a worker for every item",
        (_, _, 0) => "has items and nobody works on any",
        _ => "is being worked on",
    };
    let mut hints = Vec::new();
    if waiting > 0 && !is_paused && queue.workers.is_empty() && claimed == 0 {
        hints.push("no worker is there".to_owned());
    }
    if waiting > 0 && !is_paused {
        hints.push(format!(
            "what keeps a single item back is told by `handfast queue why {name} ITEM`"
        ));
    }
    Answer {
        verdict: format!("queue {name} {reason}"),
        details,
        hints,
    }
}

fn who(seen: Seen<'_>, lease: i64) -> String {
    let session = lease_hex(lease);
    match seen.overview.session(lease) {
        Some(record) => {
            let age = seen.since(record.since_unix_ms).map(span);
            let age = age.map_or_else(String::new, |age| format!(", {age} old"));
            let (app, pid, host) = (&record.app, record.pid, &record.host);
            format!("{app} (pid {pid} on {host}, session {session}{age})")
        }
        None => format!("session {session}, which does not say who it is"),
    }
}

fn ttl_text(place: &Place, ttl: Ttl) -> String {
    match ttl {
        _ if place.immortal => "for ever".to_owned(),
        Ttl::Left { left, granted } => format!("{} of {}", span(left), span(granted)),
        Ttl::Ended => "none, its lease has ended".to_owned(),
        Ttl::Unknown => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use handfast_core::KeyValue;

    use super::*;
    use crate::overview::Overview;
    use crate::overview::tests::{busy, pair};
    use crate::overview::ttl::Leases;

    fn ask(pairs: &[KeyValue], name: &str, leases: &[(i64, u64, u64)]) -> String {
        let overview = Overview::of(pairs, b"_handfast/");
        let now = Instant::now();
        let seen = Seen {
            overview: &overview,
            leases: &Leases::of(leases, now),
            now,
            unix: Duration::from_millis(2_000_000),
        };
        Answer::about(seen, name.as_bytes(), &[]).lines().join("\n")
    }

    #[test]
    fn a_held_lock_names_its_holder_and_everybody_before_me() {
        let answer = ask(&busy(), "jobs/nightly", &[(0xa1, 9, 10), (0xb2, 8, 10)]);
        let expected = "\
lock jobs/nightly is held by backup (pid 7 on db-1, session a1, 16m40s old)
  since     8m20s ago, its wait included
  TTL left  9s of 10s
  token     4
  waiting   1
    2. backup (pid 8 on db-2, session b2, 0s old), TTL left 8s of 10s
note: the holder is alive; only `handfast lock break jobs/nightly --why \"...\"` frees it sooner";
        assert_eq!(answer, expected);
    }

    #[test]
    fn a_silent_holder_is_told_with_the_time_it_has_left() {
        let answer = ask(&busy(), "jobs/nightly", &[(0xa1, 2, 10)]);
        assert!(answer.contains("has not renewed for about 8s"), "{answer}");
        assert!(answer.contains("free in 3s"), "{answer}");
    }

    #[test]
    fn trap_04_a_key_without_a_lease_is_told_to_stay_for_ever() {
        let pairs = [
            pair("_handfast/own/x", r#"{"kind":"lock","own":"1f"}"#, 0, 4),
            KeyValue {
                version: 2,
                ..pair("x/1f", "", 0, 4)
            },
        ];
        let answer = ask(&pairs, "x", &[]);
        assert!(
            answer.contains("on no lease") && answer.contains("lock break x"),
            "{answer}"
        );
    }

    #[test]
    fn nobody_and_a_dead_holder_are_told_apart() {
        assert!(ask(&[], "x", &[]).starts_with("nobody holds or waits for x"));
        let dead = [pair(
            "_handfast/own/x",
            r#"{"kind":"lock","own":"a1"}"#,
            0,
            4,
        )];
        let answer = ask(&dead, "x", &[]);
        assert!(answer.contains("its last holder died"), "{answer}");
    }

    #[test]
    fn trap_09_keys_in_the_way_of_others_are_named() {
        let overview = Overview::of(&busy(), b"_handfast/");
        let now = Instant::now();
        let seen = Seen {
            overview: &overview,
            leases: &Leases::default(),
            now,
            unix: Duration::ZERO,
        };
        let foreign = [Bytes::from("boss/config")];
        let answer = Answer::about(seen, b"boss", &foreign).lines().join("\n");
        assert!(answer.contains("such as boss/config"), "{answer}");
    }

    #[test]
    fn a_paused_queue_says_so() {
        let answer = ask(&busy(), "img", &[]);
        assert!(answer.starts_with("queue img is paused"), "{answer}");
        assert!(answer.contains("1 waiting, 1 being worked on"), "{answer}");
        assert!(
            answer.contains("1 is worked on by backup (pid 7"),
            "{answer}"
        );
    }
}
