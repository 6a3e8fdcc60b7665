//! Atomic: all events of a revision that a watch asks for come in one response.

use std::collections::BTreeSet;

use super::{Subject, stream::Item};

pub(super) fn check(subject: &Subject<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for piece in &subject.stream.pieces {
        let mut earlier = BTreeSet::new();
        for item in &piece.items {
            let Item::Response {
                events, is_whole, ..
            } = item
            else {
                continue;
            };
            let revisions: BTreeSet<i64> = events.iter().map(|event| event.revision()).collect();
            for revision in revisions.intersection(&earlier) {
                found.push(format!(
                    "revision {revision} came in more than one response"
                ));
            }
            // A response that was cut off may end within its last revision.
            let open = revisions.last().filter(|_| !is_whole).copied();
            for revision in revisions.iter().filter(|revision| Some(**revision) != open) {
                let came = events.iter().filter(|event| event.revision() == *revision);
                found.extend(incomplete(subject, *revision, came.count()));
            }
            earlier.extend(revisions);
        }
    }
    found
}

fn incomplete(subject: &Subject<'_>, revision: i64, came: usize) -> Option<String> {
    let due = subject.log?.events(revision).iter();
    let due = due
        .filter(|event| subject.stream.record.request.wants(event))
        .count();
    (came < due).then(|| format!("of revision {revision} came {came} of {due} events"))
}
