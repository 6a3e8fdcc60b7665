//! Whether watches delivered what they promise.
//!
//! Owns the list of the validators, one file each. All work on the same [`stream::Stream`] and,
//! where completeness is judged, on the reference log.

mod atomic;
mod bookmarkable;
mod faithful;
mod filter;
mod ordered;
mod prev_kv;
mod reliable;
mod resumable;
mod stream;
mod unique;

use stream::Stream;

use crate::{
    history::Run,
    log::LogIndex,
    report::{Promise, Violation},
};

/// At most so many findings of one validator for one watch.
const MOST: usize = 3;

/// What a validator looks at.
struct Subject<'a> {
    run: &'a Run,
    stream: &'a Stream<'a>,
    log: Option<&'a LogIndex>,
}

type Validator = fn(&Subject<'_>) -> Vec<String>;

const VALIDATORS: [(Promise, Validator); 9] = [
    (Promise::WatchOrdered, ordered::check),
    (Promise::WatchUnique, unique::check),
    (Promise::WatchAtomic, atomic::check),
    (Promise::WatchReliable, reliable::check),
    (Promise::WatchResumable, resumable::check),
    (Promise::WatchBookmarkable, bookmarkable::check),
    (Promise::WatchFaithful, faithful::check),
    (Promise::WatchPrevKv, prev_kv::check),
    (Promise::WatchFilter, filter::check),
];

/// Judges all watches of a run; gives the number of events, too.
pub(crate) fn check(run: &Run, log: Option<&LogIndex>) -> (Vec<Violation>, usize) {
    let mut violations = Vec::new();
    let mut events = 0;
    for record in &run.watches {
        let stream = Stream::read(record);
        events += stream.events().count();
        let subject = Subject {
            run,
            stream: &stream,
            log,
        };
        for (promise, validate) in VALIDATORS {
            let name = &record.name;
            let range = &record.request.range;
            let found = validate(&subject).into_iter().take(MOST);
            violations.extend(
                found.map(|what| {
                    Violation::new(promise, format!("watch {name:?} of {range}: {what}"))
                }),
            );
        }
    }
    (violations, events)
}

#[cfg(test)]
mod tests;
