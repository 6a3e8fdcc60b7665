//! Leaders as observers are shown them: E-2.
//!
//! Owns the comparison of each view with the log at its revision.

use std::collections::BTreeMap;

use crate::text::Shown;

use super::{
    Broken, Findings, Invariant, Story,
    line::Line,
    timeline::{Timeline, at},
};

/// Judges all views.
pub(super) fn check(story: &Story, time: &Timeline) -> Vec<Broken> {
    let mut found = Findings::default();
    let mut lines = BTreeMap::new();
    let mut last: BTreeMap<(&str, &[u8]), (i64, i64)> = BTreeMap::new();
    for view in &story.views {
        let line = || Line::read(&view.name, &time.log);
        let line = lines.entry(&view.name).or_insert_with(line);
        let (who, when, name) = (&view.observer, at(view.at), Shown(&view.name));
        let (token, revision) = (view.token, view.revision);
        let mut wrong = |what: String| {
            let what =
                format!("{name}: {who} was shown token {token} of {revision} at {when}: {what}");
            found.add(Invariant::E2, what);
        };
        let before = last.entry((who, &view.name)).or_default();
        if token != 0 && token < before.1 {
            wrong(format!("after token {}", before.1));
        }
        if revision != 0 && revision < before.0 {
            wrong(format!("after revision {}", before.0));
        }
        *before = (before.0.max(revision), before.1.max(token));
        if revision == 0 {
            if token != 0 && line.first_from(token).is_none() {
                wrong("it was never the oldest".to_owned());
            }
            continue;
        }
        if revision > time.log.to {
            continue;
        }
        if view.at < time.not_before(revision) {
            wrong("the revision was not there yet".to_owned());
        }
        match line.first_at(revision) {
            None if token == 0 => {}
            Some(first) if first.created == token => {
                let value = first.at(revision).map(|kv| &kv.value);
                if value != Some(&view.value) {
                    wrong(format!("it announced {value:?}, not {:?}", view.value));
                }
            }
            other => {
                let due = other.map_or(0, |place| place.created);
                wrong(format!("the oldest was {due}"));
            }
        }
    }
    found.0
}
