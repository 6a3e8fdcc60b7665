//! What a store's keys say about coordination: who holds, waits, leads, works and serves.
//!
//! Owns the picture that `sessions`, `why` and `top` show, made of pairs alone, so that it can be
//! tested without a server. It must not ask a server anything, and not know how it is shown.

pub(crate) mod json;
mod layout;
pub(crate) mod read;
pub(crate) mod ttl;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use handfast::{HeldName, Kind, SessionRecord, parse_place};
use handfast_core::KeyValue;
use handfast_core::session::parse_lease_hex;

use crate::output::printable;
use layout::{QueuePart, instance, queue_part};
use ttl::{Leases, Ttl};

/// Everything there is to see, each part by name.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    pub(crate) lines: Vec<Line>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) services: Vec<Service>,
    /// Those with a record first by host and process, then those of other programs.
    pub(crate) sessions: Vec<Session>,
}

/// A lock or an election: somebody first, others behind.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: Bytes,
    pub(crate) kind: Kind,
    /// The kind is written in the store; otherwise it is a guess by the layout.
    pub(crate) kind_is_known: bool,
    /// When the holder began to wait, in milliseconds since 1970 by its clock; 0 if unknown.
    pub(crate) since_unix_ms: u64,
    /// Oldest first: the first holds. Empty when the last holder died and nobody came.
    pub(crate) places: Vec<Place>,
    /// A holder died without giving it back, and nobody has been granted it since.
    pub(crate) left_behind: bool,
}

/// Somebody in a line.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) key: Bytes,
    pub(crate) lease: i64,
    pub(crate) token: i64,
    pub(crate) value: Bytes,
    /// The key is on no lease: it stays until somebody deletes it.
    pub(crate) immortal: bool,
}

/// A work queue, counted.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) name: Bytes,
    /// What the control key says; none means that nobody ever wrote it.
    pub(crate) control: Option<String>,
    /// What all items wait for, if anything.
    pub(crate) condition: Option<String>,
    /// Items that are neither done nor dead, claimed ones among them.
    pub(crate) items: usize,
    pub(crate) claims: Vec<Claim>,
    /// The leases of workers that wait, or have waited, for items.
    pub(crate) workers: Vec<i64>,
    pub(crate) dead: usize,
    pub(crate) done: usize,
    /// Something was seen that only queues have.
    is_sure: bool,
}

/// A worker's claim on an item.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) item: Bytes,
    pub(crate) lease: i64,
    pub(crate) token: i64,
}

/// A service with whoever serves it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Bytes,
    pub(crate) instances: Vec<Instance>,
}

/// One who serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) id: Bytes,
    pub(crate) address: String,
    /// As the instance says of itself: warming, up or draining.
    pub(crate) status: String,
    pub(crate) lease: i64,
}

/// A session and what hangs on it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) lease: i64,
    /// None for programs that leave no record, such as etcdctl.
    pub(crate) record: Option<SessionRecord>,
    pub(crate) holdings: Vec<Holding>,
}

/// One thing on a session's lease.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) role: Role,
    pub(crate) name: Bytes,
    /// The key that is on the lease.
    pub(crate) key: Bytes,
}

impl Holding {
    /// For people, such as `holds jobs/nightly`.
    pub(crate) fn text(&self) -> String {
        let name = printable(&self.name);
        let last = || {
            let key = self.key.strip_prefix(&self.name[..]).unwrap_or_default();
            let last = key.rsplit(|byte| *byte == b'/').next();
            printable(last.unwrap_or_default())
        };
        match self.role {
            Role::Holds => format!("holds {name}"),
            Role::Waits(position) => format!("waits for {name} ({position}.)"),
            Role::Leads => format!("leads {name}"),
            Role::Stands(position) => format!("stands for {name} ({position}.)"),
            Role::Works => format!("works for {name}"),
            Role::Claims => format!("has {name} {}", last()),
            Role::Serves => format!("serves {name} as {}", last()),
        }
    }
}

/// What a session is to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has the lock.
    Holds,
    /// It waits for the lock, at this place.
    Waits(usize),
    /// It leads.
    Leads,
    /// It would lead when those before it go.
    Stands(usize),
    /// It takes items of a queue.
    Works,
    /// It has an item of a queue.
    Claims,
    /// It is an instance of the service.
    Serves,
}

/// What a picture is shown with: how long leases have left, and what time it is.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) overview: &'a Overview,
    pub(crate) leases: &'a Leases,
    pub(crate) now: Instant,
    /// The time of day, since 1970.
    pub(crate) unix: Duration,
}

impl Seen<'_> {
    pub(crate) fn ttl(&self, lease: i64) -> Ttl {
        self.leases.get(lease, self.now)
    }

    /// How long ago `unix_ms` was; none if it is not known.
    pub(crate) fn since(&self, unix_ms: u64) -> Option<Duration> {
        (unix_ms > 0).then(|| self.unix.saturating_sub(Duration::from_millis(unix_ms)))
    }
}

impl Overview {
    /// The picture in `pairs`, each key at most once, with recipes' own records under `metadata`.
    pub(crate) fn of<'a>(
        pairs: impl IntoIterator<Item = &'a KeyValue>,
        metadata: &[u8],
    ) -> Overview {
        let mut parts = Parts::default();
        for pair in pairs {
            parts.take(pair, metadata);
        }
        let records = std::mem::take(&mut parts.records);
        let mut overview = Overview {
            lines: parts.lines(),
            queues: parts.queues(),
            services: by_service(parts.instances),
            sessions: Vec::new(),
        };
        overview.sessions = overview.sessions_with(records);
        overview
    }

    /// The line called `name`, if anybody is or was in it.
    pub(crate) fn line(&self, name: &[u8]) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    /// The queue called `name`.
    pub(crate) fn queue(&self, name: &[u8]) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.name == name)
    }

    /// What is known of the session on `lease`.
    pub(crate) fn session(&self, lease: i64) -> Option<&SessionRecord> {
        let session = self
            .sessions
            .iter()
            .find(|session| session.lease == lease)?;
        session.record.as_ref()
    }

    /// Also lists leases that have neither a record nor anything that is known.
    pub(crate) fn add_sessions(&mut self, leases: impl IntoIterator<Item = i64>) {
        for lease in leases {
            if self.sessions.iter().all(|session| session.lease != lease) {
                self.sessions.push(Session {
                    lease,
                    record: None,
                    holdings: Vec::new(),
                });
            }
        }
    }

    fn sessions_with(&self, records: BTreeMap<i64, SessionRecord>) -> Vec<Session> {
        let mut holdings = self.holdings();
        let leases: BTreeSet<i64> = records.keys().chain(holdings.keys()).copied().collect();
        let mut sessions: Vec<Session> = leases
            .into_iter()
            .map(|lease| Session {
                lease,
                record: records.get(&lease).cloned(),
                holdings: holdings.remove(&lease).unwrap_or_default(),
            })
            .collect();
        sessions.sort_by_key(|session| {
            let who = session.record.as_ref();
            let who = who.map(|record| (record.host.clone(), record.pid));
            (who.is_none(), who, session.lease)
        });
        sessions
    }

    /// What hangs on each lease.
    fn holdings(&self) -> BTreeMap<i64, Vec<Holding>> {
        let mut holdings: BTreeMap<i64, Vec<Holding>> = BTreeMap::new();
        let mut add = |lease: i64, role, name: &Bytes, key: Bytes| {
            let name = name.clone();
            let holding = Holding { role, name, key };
            holdings.entry(lease).or_default().push(holding);
        };
        for line in &self.lines {
            for (position, place) in (1..).zip(&line.places) {
                let role = match (line.kind, position) {
                    (Kind::Election, 1) => Role::Leads,
                    (Kind::Election, position) => Role::Stands(position),
                    (_, 1) => Role::Holds,
                    (_, position) => Role::Waits(position),
                };
                add(place.lease, role, &line.name, place.key.clone());
            }
        }
        for queue in &self.queues {
            for lease in &queue.workers {
                add(*lease, Role::Works, &queue.name, queue.name.clone());
            }
            for claim in &queue.claims {
                let key = [&queue.name[..], b"/claims/", &claim.item].concat();
                add(claim.lease, Role::Claims, &queue.name, key.into());
            }
        }
        for service in &self.services {
            for instance in service.instances.iter().filter(|it| it.lease != 0) {
                let key = [&service.name[..], b"/", &instance.id].concat();
                add(instance.lease, Role::Serves, &service.name, key.into());
            }
        }
        holdings
    }

    /// All leases that something shown is on.
    pub(crate) fn leases(&self) -> BTreeSet<i64> {
        self.sessions.iter().map(|session| session.lease).collect()
    }
}

/// How the names of lines do not end: what is below are the workers of a queue.
const WORKERS: &[u8] = b"/workers";

/// The pairs, sorted out but not yet put together.
#[derive(Default)]
struct Parts {
    records: BTreeMap<i64, SessionRecord>,
    held: BTreeMap<Bytes, HeldName>,
    /// By name: pairs that are places, and pairs that are if the name has any.
    places: BTreeMap<Bytes, (Vec<Place>, Vec<Place>)>,
    queues: BTreeMap<Bytes, Queue>,
    instances: BTreeMap<Bytes, Vec<Instance>>,
}

impl Parts {
    fn take(&mut self, pair: &KeyValue, metadata: &[u8]) {
        if let Some(own) = pair.key.strip_prefix(metadata) {
            return self.take_metadata(pair, own, metadata.len());
        }
        let place = parse_place(&pair.key).filter(|(name, _)| !name.ends_with(WORKERS));
        if let Some((name, lease)) = place {
            let place = Place {
                key: pair.key.clone(),
                lease,
                token: pair.create_revision,
                value: pair.value.clone(),
                immortal: pair.lease == 0,
            };
            // The second is a key that a careless put took off its lease, or nothing of ours.
            match (pair.lease == lease, pair.version > 1) {
                (true, _) => return self.places.entry(name).or_default().0.push(place),
                (false, true) => return self.places.entry(name).or_default().1.push(place),
                (false, false) => {}
            }
        }
        if let Some((name, part)) = queue_part(pair) {
            let queue = self.queues.entry(name.clone()).or_default();
            queue.name = name;
            return queue.take(part, pair);
        }
        if let Some((service, instance)) = instance(pair) {
            self.instances.entry(service).or_default().push(instance);
        }
    }

    fn take_metadata(&mut self, pair: &KeyValue, own: &[u8], prefix: usize) {
        if let Some(lease) = own.strip_prefix(b"session/") {
            let lease = std::str::from_utf8(lease).ok().and_then(parse_lease_hex);
            if let (Some(lease), Some(record)) = (lease, SessionRecord::parse(&pair.value)) {
                self.records.insert(lease, record);
            }
        } else if own.starts_with(b"own/") {
            let name = pair.key.slice(prefix + b"own/".len()..);
            let held = HeldName::read(name.clone(), &pair.value);
            self.held.insert(name, held);
        }
    }

    /// The queues, with workers in the place of what looked like lines.
    fn queues(&mut self) -> Vec<Queue> {
        let queues = std::mem::take(&mut self.queues);
        queues.into_values().filter(|queue| queue.is_sure).collect()
    }

    fn lines(&mut self) -> Vec<Line> {
        let mut places = std::mem::take(&mut self.places);
        let held = std::mem::take(&mut self.held);
        places.retain(|name, (sure, _)| !sure.is_empty() || held.contains_key(name));
        for name in held.keys() {
            places.entry(name.clone()).or_default();
        }
        places
            .into_iter()
            .map(|(name, (mut all, unsure))| {
                all.extend(unsure);
                all.sort_by_key(|place| place.token);
                line(name.clone(), all, held.get(&name))
            })
            .collect()
    }
}

fn line(name: Bytes, places: Vec<Place>, held: Option<&HeldName>) -> Line {
    let recorded = held.and_then(|held| held.kind);
    // Go's and etcdctl's locks have no value; their candidates have one as a rule.
    let guess = match places.iter().any(|place| !place.value.is_empty()) {
        true => Kind::Election,
        false => Kind::Lock,
    };
    let granted = held.filter(|held| places.first().is_some_and(|first| first.key == held.key));
    Line {
        name,
        kind: recorded.unwrap_or(guess),
        kind_is_known: recorded.is_some(),
        since_unix_ms: granted.map_or(0, |held| held.since_unix_ms),
        left_behind: held.is_some() && granted.is_none(),
        places,
    }
}

impl Queue {
    fn take(&mut self, part: QueuePart, pair: &KeyValue) {
        self.is_sure |= part != QueuePart::Item && part != QueuePart::Other;
        match part {
            QueuePart::Item => self.items += 1,
            QueuePart::Claim(item) => self.claims.push(Claim {
                item,
                lease: pair.lease,
                token: pair.create_revision,
            }),
            QueuePart::Worker => self.workers.push(pair.lease),
            QueuePart::Dead => self.dead += 1,
            QueuePart::Done => self.done += 1,
            QueuePart::Control(word) => self.control = Some(word.to_owned()),
            QueuePart::Condition(condition) => self.condition = Some(condition),
            QueuePart::Ticket | QueuePart::Other => {}
        }
    }

    /// Items that no worker has.
    pub(crate) fn waiting(&self) -> usize {
        self.items.saturating_sub(self.claims.len())
    }
}

fn by_service(instances: BTreeMap<Bytes, Vec<Instance>>) -> Vec<Service> {
    let service = |(name, instances)| Service { name, instances };
    instances.into_iter().map(service).collect()
}

#[cfg(test)]
pub(crate) mod tests;
