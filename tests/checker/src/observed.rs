//! Elections as observers see them: leaders that were, in the order they were.
//!
//! Owns the check of observations. Knows nothing of what leaders themselves were told.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    history::Observation,
    log::LogIndex,
    report::{Promise, Violation},
    tenure::Line,
    text::Shown,
    words::time,
};

/// At most so many findings for one observer.
const MOST: usize = 3;

/// Judges all observations, which stand in the order each observer had them.
pub(crate) fn check(observations: &[Observation], log: Option<&LogIndex>) -> Vec<Violation> {
    let mut by_observer: BTreeMap<(&Bytes, &str), Vec<&Observation>> = BTreeMap::new();
    for one in observations {
        let key = (&one.name, one.observer.as_str());
        by_observer.entry(key).or_default().push(one);
    }
    let mut found = Vec::new();
    for ((name, observer), seen) in by_observer {
        let line = log
            .filter(|log| log.is_whole)
            .map(|log| (Line::read(name, log), log.to));
        let mut wrong = disorder(&seen);
        if let Some((line, end)) = &line {
            wrong.extend(seen.iter().filter_map(|one| was_not(one, line, *end)));
        }
        let name = Shown(name);
        found.extend(wrong.into_iter().take(MOST).map(|what| {
            let evidence = format!("{name}, observer {observer:?}: {what}");
            Violation::new(Promise::LeaderObserved, evidence)
        }));
    }
    found
}

/// An older leader after a newer one, or an older revision after a newer one.
fn disorder(seen: &[&Observation]) -> Vec<String> {
    let mut found = Vec::new();
    let (mut token, mut revision) = (0, 0);
    for one in seen {
        let at = time(one.at);
        if one.token != 0 && one.token < token {
            let now = one.token;
            found.push(format!("at {at} leader {now}, after leader {token}"));
        }
        if one.revision != 0 && one.revision < revision {
            let now = one.revision;
            found.push(format!(
                "at {at} the state of revision {now}, after {revision}"
            ));
        }
        token = token.max(one.token);
        revision = revision.max(one.revision);
    }
    found
}

/// A leader that was not the oldest candidate at the revision that was looked at.
fn was_not(one: &Observation, line: &Line, end: i64) -> Option<String> {
    let (at, token) = (time(one.at), one.token);
    if one.revision == 0 {
        let is_real = token == 0 || line.first_from(token).is_some();
        return (!is_real).then(|| format!("at {at} leader {token}, who never was the oldest"));
    }
    if one.revision > end {
        return None;
    }
    let due = line.first_at(one.revision).unwrap_or(0);
    let revision = one.revision;
    (due != token)
        .then(|| format!("at {at} leader {token} at revision {revision}, where it was {due}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Event, EventKind, EventLog, Kv, Run};

    fn seen(token: i64, revision: i64) -> Observation {
        Observation {
            name: "e".into(),
            observer: "o".to_owned(),
            at: 1,
            token,
            value: Bytes::new(),
            revision,
        }
    }

    fn event(kind: EventKind, key: &'static str, revision: i64) -> Event {
        Event {
            kind,
            kv: Kv {
                create_revision: revision,
                mod_revision: revision,
                version: 1,
                ..Kv::seen(key, "v")
            },
            prev_kv: None,
        }
    }

    /// `e/1` leads from 2 on, `e/2` from 4 on.
    fn judge(observations: &[Observation]) -> usize {
        let run = Run {
            log: Some(EventLog {
                from: 2,
                to: 4,
                events: vec![
                    event(EventKind::Put, "e/1", 2),
                    event(EventKind::Put, "e/2", 3),
                    event(EventKind::Delete, "e/1", 4),
                ],
            }),
            ..Run::default()
        };
        let log = LogIndex::read(&run).map(|(log, _)| log);
        check(observations, log.as_ref()).len()
    }

    #[test]
    fn leaders_in_their_order_are_fine() {
        assert_eq!(judge(&[seen(0, 1), seen(2, 2), seen(2, 3), seen(3, 4)]), 0);
        assert_eq!(judge(&[seen(2, 0), seen(3, 0)]), 0);
    }

    #[test]
    fn an_older_leader_after_a_newer_is_found() {
        assert_eq!(judge(&[seen(3, 0), seen(2, 0)]), 1);
    }

    #[test]
    fn a_leader_that_was_none_is_found() {
        assert_eq!(judge(&[seen(3, 3)]), 1);
        assert_eq!(judge(&[seen(9, 0)]), 1);
        assert_eq!(judge(&[seen(0, 4)]), 1);
    }
}
