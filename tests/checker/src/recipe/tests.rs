//! Stories made by hand, of which each check must find what is wrong with it, and nothing in the
//! good ones.
//!
//! Owns the pen: revisions come one by one, a tenth of a second apart.

mod config;
mod debris;
mod hold;
mod multi;
mod once;
mod queue;
mod service;

use bytes::Bytes;

use super::{Invariant, Moment, Span, Story, check};
use crate::history::{Event, EventKind, EventLog, Kv, Nanos};

/// How far two revisions are apart.
const STEP: Nanos = 100;

/// Writes a log.
struct Pen {
    revision: i64,
    events: Vec<Event>,
    there: Vec<Kv>,
}

impl Pen {
    fn new() -> Self {
        Self {
            revision: 1,
            events: Vec::new(),
            there: Vec::new(),
        }
    }

    /// One revision: what is put (key, value, lease) and deleted. Returns the revision.
    fn write(&mut self, puts: &[(&str, &str, i64)], deletes: &[&str]) -> i64 {
        self.revision += 1;
        for (key, value, lease) in puts {
            let before = self.there.iter().position(|kv| kv.key == *key);
            let before = before.map(|at| self.there.remove(at));
            let kv = Kv {
                create_revision: before
                    .as_ref()
                    .map_or(self.revision, |kv| kv.create_revision),
                mod_revision: self.revision,
                version: before.map_or(1, |kv| kv.version + 1),
                lease: *lease,
                ..Kv::seen(key.to_string(), value.to_string())
            };
            self.there.push(kv.clone());
            self.note(EventKind::Put, kv);
        }
        for key in deletes {
            self.there.retain(|kv| kv.key != *key);
            let kv = Kv {
                mod_revision: self.revision,
                ..Kv::seen(key.to_string(), "")
            };
            self.note(EventKind::Delete, kv);
        }
        self.revision
    }

    fn put(&mut self, key: &str, value: &str, lease: i64) -> i64 {
        self.write(&[(key, value, lease)], &[])
    }

    fn delete(&mut self, key: &str) -> i64 {
        self.write(&[], &[key])
    }

    /// A program opens its session.
    fn session(&mut self, app: &str, lease: i64) -> i64 {
        let record = format!("{{\"app\":\"{app}\"}}");
        self.put(&format!("_handfast/session/{lease:x}"), &record, lease)
    }

    /// Lets revisions pass.
    fn pass(&mut self, count: usize) {
        for _ in 0..count {
            self.put("clock", "x", 0);
        }
    }

    fn note(&mut self, kind: EventKind, kv: Kv) {
        self.events.push(Event {
            kind,
            kv,
            prev_kv: None,
        });
    }

    /// The story of this log: all of it calm, 5 steps are soon, 20 are long.
    fn story(self) -> Story {
        let moments = (2..=self.revision).map(|revision| Moment {
            after: time(revision) - 1,
            by: time(revision),
            revision,
        });
        let ended = time(self.revision) + STEP;
        Story {
            moments: moments.collect(),
            calm: vec![Span { from: 0, to: ended }],
            ended,
            prompt: 5 * STEP,
            patience: 20 * STEP,
            log: EventLog {
                from: 2,
                to: self.revision,
                events: self.events,
            },
            ..Story::default()
        }
    }
}

/// When a revision came to be.
fn time(revision: i64) -> Nanos {
    revision.unsigned_abs() * STEP
}

/// Which invariants are broken, each once.
fn broken(story: &Story) -> Vec<Invariant> {
    let mut found: Vec<Invariant> = check(story).iter().map(|it| it.invariant).collect();
    found.dedup();
    found
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn a_log_with_a_hole_is_no_story() {
    let mut pen = Pen::new();
    pen.pass(3);
    let mut story = pen.story();
    assert_eq!(broken(&story), []);
    story.log.events.remove(1);
    assert_eq!(broken(&story), [Invariant::Story]);
}
