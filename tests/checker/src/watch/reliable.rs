//! Reliable: between the first event and the last sign of life nothing is left out.

use std::collections::BTreeSet;

use super::{Subject, stream::Piece};

pub(super) fn check(subject: &Subject<'_>) -> Vec<String> {
    let Some(log) = subject.log else {
        return Vec::new();
    };
    let request = &subject.stream.record.request;
    let mut found = Vec::new();
    for (at, piece) in subject.stream.pieces.iter().enumerate() {
        let came: BTreeSet<i64> = piece.events().map(|event| event.revision()).collect();
        let (Some(from), Some(to)) = (first(piece, &came), last(subject, at)) else {
            continue;
        };
        for (revision, events) in log.between(from.max(log.from), to.min(log.to)) {
            if came.contains(&revision) {
                continue;
            }
            let missed = events.iter().filter(|event| request.wants(event));
            found
                .extend(missed.map(|event| format!("{event} never came, though {to} was reached")));
        }
    }
    found
}

/// Where completeness begins: what lies between the start and the first event is the business of
/// [`super::resumable`].
fn first(piece: &Piece<'_>, came: &BTreeSet<i64>) -> Option<i64> {
    came.first().copied().or(piece.start)
}

/// Up to where everything must have come in a piece.
fn last(subject: &Subject<'_>, at: usize) -> Option<i64> {
    let piece = &subject.stream.pieces[at];
    let is_last = at + 1 == subject.stream.pieces.len() && !piece.is_compacted;
    let drained = subject.stream.record.drained_to.filter(|_| is_last);
    piece.reached().max(drained)
}
