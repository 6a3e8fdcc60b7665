//! Locks and leaderships: never two at a time, tokens that grow, and only for the oldest in line.
//!
//! Owns what locks and elections have in common. Knows nothing of observers and leases.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    history::{Ending, EventKind, Nanos, Tenure},
    log::LogIndex,
    report::{Promise, Violation},
    text::Shown,
    words::time,
};

/// At most so many findings of one kind for one name.
const MOST: usize = 3;

/// Judges all tenures of one kind.
pub(crate) fn check(
    tenures: &[Tenure],
    log: Option<&LogIndex>,
    exclusive: Promise,
    token: Promise,
) -> Vec<Violation> {
    let mut by_name: BTreeMap<&Bytes, Vec<&Tenure>> = BTreeMap::new();
    for tenure in tenures {
        by_name.entry(&tenure.name).or_default().push(tenure);
    }
    let mut found = Vec::new();
    for (name, mut tenures) in by_name {
        tenures.sort_by_key(|tenure| tenure.granted);
        let mut add = |promise, what: Vec<String>| {
            let what = what.into_iter().take(MOST);
            let name = Shown(name);
            found.extend(what.map(|one| Violation::new(promise, format!("{name}: {one}"))));
        };
        add(exclusive, overlaps(&tenures));
        add(token, disorder(&tenures));
        if let Some(log) = log.filter(|log| log.is_whole) {
            let line = Line::read(name, log);
            let foul = tenures.iter().filter_map(|tenure| line.never_first(tenure));
            add(exclusive, foul.collect());
        }
    }
    found
}

fn end(tenure: &Tenure) -> Nanos {
    tenure.ended.map_or(Nanos::MAX, |end| end.at)
}

fn words(tenure: &Tenure) -> String {
    let (holder, token, from) = (&tenure.holder, tenure.token, time(tenure.granted));
    let to = tenure.ended.map_or("the end of the run".to_owned(), |end| {
        let how = match end.how {
            Ending::Lost => "told of the loss",
            Ending::Released => "released",
            Ending::Crashed => "crashed",
        };
        format!("{} ({how})", time(end.at))
    });
    format!("{holder} with token {token} from {from} to {to}")
}

/// Somebody is told to hold it before the last holder knew that it was over.
fn overlaps(tenures: &[&Tenure]) -> Vec<String> {
    let mut found = Vec::new();
    let mut longest: Option<&Tenure> = None;
    for tenure in tenures {
        if let Some(other) = longest.filter(|other| end(other) > tenure.granted) {
            let (one, two) = (words(other), words(tenure));
            found.push(format!("held by two at once: {one}, and {two}"));
        }
        if longest.is_none_or(|other| end(other) < end(tenure)) {
            longest = Some(tenure);
        }
    }
    found
}

/// A token that is not above all before it: used twice, or given to one who came later.
fn disorder(tenures: &[&Tenure]) -> Vec<String> {
    let mut found = Vec::new();
    let mut highest: Option<&Tenure> = None;
    for tenure in tenures {
        if let Some(other) = highest.filter(|other| other.token >= tenure.token) {
            let (one, two) = (words(other), words(tenure));
            found.push(format!("the token did not grow: {one}, then {two}"));
        } else {
            highest = Some(tenure);
        }
    }
    found
}

/// A key in line: from its creation to its end, in revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    created: i64,
    deleted: i64,
}

/// All keys that ever stood in the line of a name.
pub(crate) struct Line {
    places: Vec<Place>,
}

impl Line {
    /// The keys `<name>/…` without another slash, as a whole log shows them.
    pub(crate) fn read(name: &[u8], log: &LogIndex) -> Self {
        let mut open: BTreeMap<Bytes, i64> = BTreeMap::new();
        let mut places = Vec::new();
        let initial = log.state_at(log.from - 1).unwrap_or_default();
        for (key, kv) in initial.iter().filter(|(key, _)| is_member(name, key)) {
            open.insert(key.clone(), kv.create_revision);
        }
        for (revision, events) in log.between(log.from, log.to) {
            for event in events.iter().filter(|event| is_member(name, &event.kv.key)) {
                let key = &event.kv.key;
                match event.kind {
                    EventKind::Put => {
                        open.entry(key.clone()).or_insert(revision);
                    }
                    EventKind::Delete => places.extend(open.remove(key).map(|created| Place {
                        created,
                        deleted: revision,
                    })),
                }
            }
        }
        places.extend(open.into_values().map(|created| Place {
            created,
            deleted: i64::MAX,
        }));
        places.sort_by_key(|place| place.created);
        Self { places }
    }

    /// The create revision of the oldest key at a revision; `None` if nobody stood in line.
    pub(crate) fn first_at(&self, revision: i64) -> Option<i64> {
        let stands = |place: &&Place| place.created <= revision && revision < place.deleted;
        self.places.iter().find(stands).map(|place| place.created)
    }

    /// From which revision on a key was the oldest, if it ever was.
    pub(crate) fn first_from(&self, created: i64) -> Option<i64> {
        let own = self.places.iter().find(|place| place.created == created)?;
        let older = self.places.iter().filter(|place| place.created < created);
        let free = older.map(|place| place.deleted).max().unwrap_or(0);
        let from = free.max(created);
        (from < own.deleted).then_some(from)
    }

    /// Whether the log has a key with this token.
    pub(crate) fn has(&self, token: i64) -> bool {
        self.places.iter().any(|place| place.created == token)
    }

    fn never_first(&self, tenure: &Tenure) -> Option<String> {
        if !self.has(tenure.token) {
            let tenure = words(tenure);
            return Some(format!("granted without a key: {tenure}"));
        }
        let is_first = self.first_from(tenure.token).is_some();
        (!is_first).then(|| {
            let tenure = words(tenure);
            format!("granted, but the key was never the oldest: {tenure}")
        })
    }
}

fn is_member(name: &[u8], key: &[u8]) -> bool {
    let rest = key
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(b"/"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::TenureEnd;

    fn tenure(token: i64, granted: Nanos, end: Option<Nanos>) -> Tenure {
        Tenure {
            name: "n".into(),
            holder: format!("h{token}"),
            token,
            granted,
            ended: end.map(|at| TenureEnd {
                at,
                how: Ending::Lost,
            }),
        }
    }

    fn judge(tenures: &[Tenure]) -> Vec<Promise> {
        check(tenures, None, Promise::LockExclusive, Promise::LockToken)
            .into_iter()
            .map(|one| one.promise)
            .collect()
    }

    #[test]
    fn one_after_another_is_fine() {
        let tenures = [
            tenure(9, 30, None),
            tenure(4, 10, Some(20)),
            tenure(7, 20, Some(30)),
        ];
        assert_eq!(judge(&tenures), []);
    }

    #[test]
    fn a_rival_told_before_the_loss_is_a_second_owner() {
        let two = [tenure(4, 10, Some(20)), tenure(7, 19, Some(30))];
        assert_eq!(judge(&two), [Promise::LockExclusive]);
        // The long tenure overlaps the third, though not its neighbour.
        let three = [
            tenure(4, 10, None),
            tenure(7, 11, Some(12)),
            tenure(8, 13, Some(14)),
        ];
        assert_eq!(
            judge(&three),
            [Promise::LockExclusive, Promise::LockExclusive]
        );
    }

    #[test]
    fn a_token_must_be_new_and_higher() {
        for token in [4, 3] {
            let tenures = [tenure(4, 10, Some(20)), tenure(token, 20, None)];
            assert_eq!(judge(&tenures), [Promise::LockToken]);
        }
    }

    #[test]
    fn the_oldest_in_line_is_first() {
        let line = Line {
            places: vec![
                Place {
                    created: 2,
                    deleted: 5,
                },
                Place {
                    created: 3,
                    deleted: 4,
                },
                Place {
                    created: 4,
                    deleted: i64::MAX,
                },
            ],
        };
        assert_eq!(line.first_at(4), Some(2));
        assert_eq!((line.first_at(1), line.first_at(6)), (None, Some(4)));
        assert_eq!(line.first_from(2), Some(2));
        assert_eq!(line.first_from(3), None);
        assert_eq!(line.first_from(4), Some(5));
    }

    #[test]
    fn only_direct_children_stand_in_line() {
        assert!(is_member(b"n", b"n/1f"));
        assert!(
            !is_member(b"n", b"n/x/1f") && !is_member(b"n", b"n/") && !is_member(b"n", b"nn/1")
        );
    }
}
