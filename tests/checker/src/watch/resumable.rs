//! Resumable: a watch begins with the first event from its start revision on, also after an
//! interruption, and it goes on where it was.

use super::Subject;
use crate::log::LogIndex;

pub(super) fn check(subject: &Subject<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut reached: Option<i64> = None;
    for piece in &subject.stream.pieces {
        let Some(start) = piece.start else {
            reached = None;
            continue;
        };
        for event in piece.events().filter(|event| event.revision() < start) {
            found.push(format!("{event} came, though it began at revision {start}"));
        }
        if let Some(log) = subject.log {
            if let Some(first) = piece.events().map(|event| event.revision()).min() {
                let missed = missed(subject, log, start, first - 1);
                found.extend(missed.into_iter().map(|event| {
                    format!("it began at revision {start}, but {event} did not come")
                }));
            }
            if let Some(reached) = reached {
                let missed = missed(subject, log, reached + 1, start - 1);
                found.extend(missed.into_iter().map(|event| {
                    format!("after revision {reached} it went on at {start} without {event}")
                }));
            }
        }
        // After a compaction the watcher knows that it missed something.
        reached = piece.reached().max(reached).filter(|_| !piece.is_compacted);
    }
    found
}

/// Changes between two revisions that the watch asks for.
fn missed(subject: &Subject<'_>, log: &LogIndex, from: i64, to: i64) -> Vec<String> {
    let request = &subject.stream.record.request;
    let revisions = log.between(from.max(log.from), to.min(log.to));
    revisions
        .flat_map(|(_, events)| events.iter())
        .filter(|event| request.wants(event))
        .map(ToString::to_string)
        .collect()
}
