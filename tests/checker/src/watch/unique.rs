//! Unique: no event comes twice. After an interruption only what was asked for again may.

use std::collections::BTreeSet;

use super::Subject;

pub(super) fn check(subject: &Subject<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for piece in &subject.stream.pieces {
        // What lies at or after the start was asked for again.
        let start = piece.start.unwrap_or(i64::MAX);
        seen.retain(|(revision, _)| *revision < start);
        for event in piece.events() {
            if !seen.insert((event.revision(), event.kv.key.clone())) {
                found.push(format!("{event} came twice"));
            }
        }
    }
    found
}
