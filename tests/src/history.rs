//! What was asked of a server, what it said, and whether its history agrees.
//!
//! Owns the bookkeeping of the crash tests. Knows keys, values and revisions; must not know how a
//! server is run or killed.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use handfast_proto::mvccpb::{Event, KeyValue, event::EventType};

/// What became of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server said that it is done, at this revision.
    Acknowledged(i64),
    /// The server said that it is not done, for example by a failed compare.
    Refused,
    /// No answer: both is possible.
    Unknown,
}

/// One change that a client asked for.
#[derive(Clone, Debug)]
pub struct Write {
    /// The key.
    pub key: Bytes,
    /// The value, different in every write; `None` deletes the key.
    pub value: Option<Bytes>,
    /// What became of it.
    pub fate: Fate,
}

/// The events of a store since revision 1, checked against what clients know.
#[derive(Debug, Default)]
pub struct History {
    events: Vec<Event>,
    /// Index of the event that wrote a value.
    values: HashMap<Bytes, usize>,
    /// Deletions by key and revision.
    deletions: HashSet<(Bytes, i64)>,
    pairs: HashMap<Bytes, KeyValue>,
}

impl History {
    /// The revision of the last event; 1 when there is none.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.events.last().map_or(1, revision)
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Adds the events that follow, and checks each against the state that it changes.
    ///
    /// # Errors
    /// What is wrong with the first event that cannot follow.
    pub fn extend(&mut self, events: Vec<Event>) -> Result<(), String> {
        for event in events {
            let pair = event.kv.clone().ok_or("an event without a pair")?;
            if pair.mod_revision < self.revision() {
                return Err(format!(
                    "revision {} after {}",
                    pair.mod_revision,
                    self.revision()
                ));
            }
            self.follow(&event, &pair)?;
            self.events.push(event);
        }
        Ok(())
    }

    /// Checks that another reading of the same store, up to the last revision here, is the same.
    ///
    /// # Errors
    /// Where the two part.
    pub fn same(&self, again: &[Event]) -> Result<(), String> {
        let at = self
            .events
            .iter()
            .zip(again)
            .take_while(|(one, two)| one == two)
            .count();
        if at == self.events.len() && at == again.len() {
            return Ok(());
        }
        let (one, two) = (self.events.get(at), again.get(at));
        Err(format!(
            "two readings differ at event {at}: {one:?} and {two:?}"
        ))
    }

    /// Checks that every write is there exactly if its client was told so.
    ///
    /// # Errors
    /// The first write that is missing, or there though it was refused, or elsewhere.
    pub fn agrees(&self, writes: &[Write]) -> Result<(), String> {
        for write in writes {
            let found = self.revision_of(write);
            let fits = match write.fate {
                Fate::Acknowledged(at) => found == Some(at),
                Fate::Refused => found.is_none(),
                Fate::Unknown => true,
            };
            if !fits {
                return Err(format!("{write:?} is in the history at {found:?}"));
            }
        }
        Ok(())
    }

    /// Checks that a reading of all keys is what the history leads to.
    ///
    /// # Errors
    /// The first key that differs.
    pub fn leads_to(&self, pairs: &[KeyValue]) -> Result<(), String> {
        if pairs.len() != self.pairs.len() {
            return Err(format!(
                "{} keys instead of {}",
                pairs.len(),
                self.pairs.len()
            ));
        }
        match pairs
            .iter()
            .find(|pair| self.pairs.get(&pair.key) != Some(*pair))
        {
            None => Ok(()),
            Some(pair) => Err(format!(
                "{pair:?} instead of {:?}",
                self.pairs.get(&pair.key)
            )),
        }
    }

    fn follow(&mut self, event: &Event, pair: &KeyValue) -> Result<(), String> {
        let before = self.pairs.get(&pair.key);
        if event.r#type == EventType::Delete as i32 {
            if self.pairs.remove(&pair.key).is_none() {
                return Err(format!("a key is deleted that is not there: {event:?}"));
            }
            self.deletions.insert((pair.key.clone(), pair.mod_revision));
            return Ok(());
        }
        let version = before.map_or(0, |before| before.version) + 1;
        let created = before.map_or(pair.mod_revision, |before| before.create_revision);
        if (pair.version, pair.create_revision) != (version, created) {
            return Err(format!("{event:?} follows {before:?}"));
        }
        if self
            .values
            .insert(pair.value.clone(), self.events.len())
            .is_some()
        {
            return Err(format!("one write is in the history twice: {event:?}"));
        }
        self.pairs.insert(pair.key.clone(), pair.clone());
        Ok(())
    }

    fn revision_of(&self, write: &Write) -> Option<i64> {
        match (&write.value, &write.fate) {
            (Some(value), _) => self.values.get(value).map(|&at| revision(&self.events[at])),
            // A deletion has no value to be known by, so only an acknowledged one can be found.
            (None, Fate::Acknowledged(at)) => self
                .deletions
                .contains(&(write.key.clone(), *at))
                .then_some(*at),
            (None, _) => None,
        }
    }
}

fn revision(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |pair| pair.mod_revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, value: &'static str, at: i64, version: i64, created: i64) -> Event {
        let pair = KeyValue {
            key: key.into(),
            value: value.into(),
            mod_revision: at,
            create_revision: created,
            version,
            lease: 0,
        };
        Event {
            kv: Some(pair),
            ..Event::default()
        }
    }

    fn delete(key: &'static str, at: i64) -> Event {
        let pair = KeyValue {
            key: key.into(),
            mod_revision: at,
            ..KeyValue::default()
        };
        Event {
            r#type: EventType::Delete as i32,
            kv: Some(pair),
            ..Event::default()
        }
    }

    fn write(key: &'static str, value: Option<&'static str>, fate: Fate) -> Write {
        Write {
            key: key.into(),
            value: value.map(Into::into),
            fate,
        }
    }

    fn sample() -> History {
        let mut history = History::default();
        let events = vec![
            put("a", "1", 2, 1, 2),
            put("a", "2", 3, 2, 2),
            delete("a", 4),
        ];
        history.extend(events).unwrap();
        history
    }

    #[test]
    fn what_clients_know_must_be_there() {
        use Fate::{Acknowledged, Refused, Unknown};
        let history = sample();
        let fine = [
            write("a", Some("1"), Acknowledged(2)),
            write("a", Some("2"), Unknown),
            write("a", Some("3"), Refused),
            write("a", None, Acknowledged(4)),
        ];
        history.agrees(&fine).unwrap();
        let lost = write("a", Some("3"), Acknowledged(5));
        let moved = write("a", Some("1"), Acknowledged(3));
        let refused = write("a", Some("2"), Refused);
        let not_deleted = write("a", None, Acknowledged(3));
        for wrong in [lost, moved, refused, not_deleted] {
            assert!(
                history.agrees(std::slice::from_ref(&wrong)).is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn an_event_must_follow_from_the_state_before() {
        for wrong in [
            put("a", "3", 3, 1, 3),
            put("a", "1", 5, 1, 5),
            put("b", "3", 5, 2, 5),
            put("b", "3", 5, 1, 4),
            delete("a", 5),
        ] {
            assert!(sample().extend(vec![wrong.clone()]).is_err(), "{wrong:?}");
        }
        sample().extend(vec![put("a", "3", 5, 1, 5)]).unwrap();
    }

    #[test]
    fn another_reading_and_the_final_state_must_be_the_same() {
        let mut history = sample();
        history.extend(vec![put("b", "9", 5, 1, 5)]).unwrap();
        let pair = put("b", "9", 5, 1, 5).kv.unwrap();
        history.leads_to(std::slice::from_ref(&pair)).unwrap();
        assert!(history.leads_to(&[]).is_err());
        assert!(
            history
                .leads_to(&[KeyValue { version: 2, ..pair }])
                .is_err()
        );
        assert!(history.same(&sample().events).is_err());
        history.same(&history.events.clone()).unwrap();
    }
}
