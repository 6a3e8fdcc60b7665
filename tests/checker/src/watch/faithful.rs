//! Faithful: every event is a change that was made, as it was made.

use super::Subject;
use crate::history::{Event, EventKind};

pub(super) fn check(subject: &Subject<'_>) -> Vec<String> {
    let Some(log) = subject.log else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for event in subject.stream.events() {
        let revision = event.revision();
        if !(log.from..=log.to).contains(&revision) {
            continue;
        }
        let due = log.events(revision).iter();
        match due.into_iter().find(|due| due.kv.key == event.kv.key) {
            None => found.push(format!("{event} came, but there was no such change")),
            Some(due) if !is_same(due, event) => {
                found.push(format!("{event} came, but the change was {due}"));
            }
            Some(_) => {}
        }
    }
    found
}

fn is_same(due: &Event, event: &Event) -> bool {
    let pair = event.kind == EventKind::Delete || due.kv == event.kv;
    due.kind == event.kind && pair
}
