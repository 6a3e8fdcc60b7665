//! Ordered: events come in the order of their revisions, and within one in that of the changes.

use super::Subject;

pub(super) fn check(subject: &Subject<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for piece in &subject.stream.pieces {
        let mut last = 0;
        for event in piece.events() {
            if event.revision() < last {
                found.push(format!("{event} came after revision {last}"));
            }
            last = last.max(event.revision());
        }
        for events in piece.responses() {
            found.extend(within_revisions(subject, events));
        }
    }
    found
}

/// Changes of one revision in another order than they were made in.
fn within_revisions(subject: &Subject<'_>, events: &[&crate::history::Event]) -> Vec<String> {
    let Some(log) = subject.log else {
        return Vec::new();
    };
    let place = |event: &crate::history::Event| {
        let due = log.events(event.revision());
        due.iter().position(|one| one.kv.key == event.kv.key)
    };
    let mut found = Vec::new();
    for pair in events.windows(2) {
        let is_same = pair[0].revision() == pair[1].revision();
        if let (true, Some(one), Some(two)) = (is_same, place(pair[0]), place(pair[1]))
            && one > two
        {
            found.push(format!(
                "{} came before {}, but was made after",
                pair[0], pair[1]
            ));
        }
    }
    found
}
