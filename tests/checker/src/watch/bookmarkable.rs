//! Bookmarkable: what a message says to be over is over; it never runs ahead of what came.

use super::{Subject, stream::Item};

pub(super) fn check(subject: &Subject<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for piece in &subject.stream.pieces {
        let mut promised = 0;
        for item in &piece.items {
            let revision = match item {
                Item::Progress { revision } => {
                    if *revision < promised {
                        found.push(format!("progress {revision} came after {promised}"));
                    }
                    *revision
                }
                Item::Response {
                    revision, events, ..
                } => {
                    for event in events {
                        if event.revision() <= promised {
                            found.push(format!("{event} came after the promise of {promised}"));
                        }
                        if *revision != 0 && event.revision() > *revision {
                            found.push(format!("{event} came under the header {revision}"));
                        }
                    }
                    *revision
                }
            };
            // The header of a part that was cut off promises nothing yet.
            let is_whole = !matches!(
                item,
                Item::Response {
                    is_whole: false,
                    ..
                }
            );
            promised = promised.max(if is_whole { revision } else { 0 });
        }
    }
    found
}
