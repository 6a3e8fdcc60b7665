//! The pair before: there where it was asked for and there was one, and nowhere else.

use super::Subject;
use crate::{
    history::{Event, EventKind},
    log::Before,
};

pub(super) fn check(subject: &Subject<'_>) -> Vec<String> {
    let request = &subject.stream.record.request;
    let events = subject.stream.events();
    if !request.prev_kv {
        let extra = events.filter(|event| event.prev_kv.is_some());
        return extra
            .map(|event| format!("{event} shows the pair before, which nobody asked for"))
            .collect();
    }
    events.filter_map(|event| judge(subject, event)).collect()
}

fn judge(subject: &Subject<'_>, event: &Event) -> Option<String> {
    let kv = &event.kv;
    let is_create = event.kind == EventKind::Put && kv.create_revision == kv.mod_revision;
    let before = match subject.log {
        _ if is_create => Before::Known(None),
        Some(log) => log.before(event.revision(), &event.kv.key),
        None => Before::Unknown,
    };
    match (before, &event.prev_kv) {
        (Before::Unknown, _) => None,
        (Before::Known(None), None) => None,
        (Before::Known(None), Some(seen)) => Some(format!(
            "{event} shows {seen} before, but there was nothing"
        )),
        // What was before may be compacted away; then it is left out.
        (Before::Known(Some(due)), None) => (event.revision() > subject.run.compacted)
            .then(|| format!("{event} does not show the pair before, {due}")),
        (Before::Known(Some(due)), Some(seen)) => {
            (due != *seen).then(|| format!("{event} shows {seen} before instead of {due}"))
        }
    }
}
