//! Filter: only what the watch asks for comes.

use super::Subject;

pub(super) fn check(subject: &Subject<'_>) -> Vec<String> {
    let request = &subject.stream.record.request;
    let events = subject.stream.events();
    let extra = events.filter(|event| !request.wants(event));
    extra
        .map(|event| format!("{event} came, which it does not ask for"))
        .collect()
}
