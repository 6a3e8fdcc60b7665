//! How the keys of a queue are spelled.
//!
//! Owns the layout under the queue's name. Knows nothing of what the values mean.

use bytes::Bytes;

use crate::{Error, Kind, line::Line};

/// The longest id, in bytes.
const ID_LIMIT: usize = 512;

/// The keys of one queue.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) name: Bytes,
    /// The name and a slash.
    pub(super) prefix: Bytes,
    metadata: Bytes,
}

/// What a key of a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Item(&'a str),
    Claim(&'a str),
    Ticket(&'a str),
    Done(&'a str),
    Dead(&'a str),
    Gate(&'a str),
    Worker(&'a str),
    Open(&'a str),
    Control,
    Condition,
}

impl Keys {
    /// Spells them whatever the name; [`check`](Self::check) tells whether it can be used.
    pub(super) fn new(name: Bytes, metadata: &Bytes) -> Self {
        Self {
            prefix: Bytes::from([&name, &b"/"[..]].concat()),
            name,
            metadata: metadata.clone(),
        }
    }

    /// Refuses a name that cannot be used.
    pub(super) fn check(&self) -> Result<(), Error> {
        Line::new(Kind::Queue, self.name.clone(), &self.metadata).map(drop)
    }

    fn under(&self, part: &str, rest: &str) -> Bytes {
        Bytes::from([&self.prefix, part.as_bytes(), rest.as_bytes()].concat())
    }

    /// The payload.
    pub(super) fn item(&self, id: &str) -> Bytes {
        self.under("items/", id)
    }

    /// Who works on it, on that worker's lease.
    pub(super) fn claim(&self, id: &str) -> Bytes {
        self.under("claims/", id)
    }

    /// What all claims start with.
    pub(super) fn claims(&self) -> Bytes {
        self.under("claims/", "")
    }

    /// Its conditions and attempts.
    pub(super) fn ticket(&self, id: &str) -> Bytes {
        self.under("tickets/", id)
    }

    /// That it was acknowledged.
    pub(super) fn done(&self, id: &str) -> Bytes {
        self.under("done/", id)
    }

    /// The payload of one that failed too often.
    pub(super) fn dead(&self, id: &str) -> Bytes {
        self.under("dead/", id)
    }

    /// That a gate is open.
    pub(super) fn gate(&self, gate: &str) -> Bytes {
        self.under("gate/", gate)
    }

    /// That a count was reached, for one setting of the condition.
    pub(super) fn open(&self, epoch: &str) -> Bytes {
        self.under("open/", epoch)
    }

    /// What all marks of reached counts start with.
    pub(super) fn opens(&self) -> Bytes {
        self.under("open/", "")
    }

    /// A worker that waits, or has waited, for items.
    pub(super) fn worker(&self, own: &str) -> Bytes {
        self.under("workers/", own)
    }

    /// A key that, once there, keeps a late request from putting the worker's.
    pub(super) fn bar(&self, own: &str) -> Bytes {
        Bytes::from([&self.metadata, &b"gone/"[..], &self.worker(own)].concat())
    }

    pub(super) fn control(&self) -> Bytes {
        self.under("control", "")
    }

    pub(super) fn condition(&self) -> Bytes {
        self.under("condition", "")
    }

    /// What `key` is; `None` if it is not the queue's.
    pub(super) fn parse<'a>(&self, key: &'a [u8]) -> Option<Part<'a>> {
        let rest = std::str::from_utf8(key.strip_prefix(&*self.prefix)?).ok()?;
        let Some((part, id)) = rest.split_once('/') else {
            return match rest {
                "control" => Some(Part::Control),
                "condition" => Some(Part::Condition),
                _ => None,
            };
        };
        if id.is_empty() {
            return None;
        }
        Some(match part {
            "items" => Part::Item(id),
            "claims" => Part::Claim(id),
            "tickets" => Part::Ticket(id),
            "done" => Part::Done(id),
            "dead" => Part::Dead(id),
            "gate" => Part::Gate(id),
            "workers" => Part::Worker(id),
            "open" => Part::Open(id),
            _ => return None,
        })
    }

    /// The name for people.
    pub(super) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

/// Refuses an id that cannot be part of a key, early.
pub(super) fn check_id(argument: &'static str, id: &str) -> Result<(), Error> {
    if id.is_empty() {
        return Err(Error::invalid(argument, "it is empty"));
    }
    if id.len() > ID_LIMIT {
        let problem = format!("{} bytes; at most {ID_LIMIT} are allowed", id.len());
        return Err(Error::invalid(argument, problem));
    }
    if id.chars().any(char::is_control) {
        return Err(Error::invalid(argument, "it has a control character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_as_what_it_was_spelled_as() {
        let keys = Keys::new("q".into(), &"_handfast/".into());
        assert_eq!(keys.parse(&keys.item("a/b")), Some(Part::Item("a/b")));
        assert_eq!(keys.parse(&keys.claim("a")), Some(Part::Claim("a")));
        assert_eq!(keys.parse(&keys.ticket("a")), Some(Part::Ticket("a")));
        assert_eq!(keys.parse(&keys.done("a")), Some(Part::Done("a")));
        assert_eq!(keys.parse(&keys.dead("a")), Some(Part::Dead("a")));
        assert_eq!(keys.parse(&keys.gate("a")), Some(Part::Gate("a")));
        assert_eq!(keys.parse(&keys.open("a")), Some(Part::Open("a")));
        assert_eq!(keys.parse(&keys.worker("1f-1")), Some(Part::Worker("1f-1")));
        assert_eq!(keys.parse(&keys.control()), Some(Part::Control));
        assert_eq!(keys.parse(&keys.condition()), Some(Part::Condition));
        for other in ["q/items/", "q/1f", "q/x/y", "p/items/a", "qitems/a"] {
            assert_eq!(keys.parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn ids_are_checked_early() {
        for id in ["", "a\nb", &"x".repeat(ID_LIMIT + 1)] {
            assert!(check_id("id", id).is_err(), "{id}");
        }
        assert!(check_id("id", "résumé/1 2").is_ok());
    }
}
