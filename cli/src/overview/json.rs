//! The picture as JSON, for programs.
//!
//! Owns the names of the fields, which scripts rely on. It must not know who asked.

use bytes::Bytes;
use handfast::Kind;
use serde_json::{Map, Value, json};

use super::ttl::Ttl;
use super::{Claim, Instance, Line, Place, Queue, Role, Seen, Service, Session};
use crate::output::{insert_bytes, lease_text};

/// Everything, each part under its name.
pub(crate) fn whole(seen: Seen<'_>) -> Value {
    let overview = seen.overview;
    let lines = |elections| {
        let lines = overview.lines.iter();
        let lines = lines.filter(|line| (line.kind == Kind::Election) == elections);
        lines.map(|line| self::line(seen, line)).collect::<Vec<_>>()
    };
    json!({
        "locks": lines(false),
        "elections": lines(true),
        "queues": overview.queues.iter().map(|it| queue(seen, it)).collect::<Vec<_>>(),
        "services": overview.services.iter().map(|it| service(seen, it)).collect::<Vec<_>>(),
        "sessions": overview.sessions.iter().map(|it| session(seen, it)).collect::<Vec<_>>(),
    })
}

/// A lock or an election with everybody in it.
pub(crate) fn line(seen: Seen<'_>, line: &Line) -> Value {
    let mut object = named("name", &line.name);
    object.insert("kind".to_owned(), json!(line.kind.to_string()));
    object.insert("kind_is_known".to_owned(), json!(line.kind_is_known));
    let since = seen.since(line.since_unix_ms);
    object.insert("since_s".to_owned(), json!(since.map(|it| it.as_secs())));
    object.insert("left_behind".to_owned(), json!(line.left_behind));
    let places = (1..).zip(&line.places);
    let queue: Vec<Value> = places.map(|(at, it)| place(seen, at, it)).collect();
    object.insert("queue".to_owned(), json!(queue));
    Value::Object(object)
}

fn place(seen: Seen<'_>, position: usize, place: &Place) -> Value {
    let mut object = named("key", &place.key);
    insert_bytes(&mut object, "value", &place.value);
    object.insert("position".to_owned(), json!(position));
    object.insert("holds".to_owned(), json!(position == 1));
    object.insert("token".to_owned(), json!(place.token));
    object.insert("on_no_lease".to_owned(), json!(place.immortal));
    insert_session(&mut object, seen, place.lease);
    Value::Object(object)
}

/// A queue's counts and claims.
pub(crate) fn queue(seen: Seen<'_>, queue: &Queue) -> Value {
    let mut object = named("name", &queue.name);
    object.insert("control".to_owned(), json!(queue.control));
    object.insert("condition".to_owned(), json!(queue.condition));
    let counts = [
        ("items", queue.items),
        ("waiting", queue.waiting()),
        ("workers", queue.workers.len()),
        ("dead", queue.dead),
        ("done", queue.done),
    ];
    for (name, count) in counts {
        object.insert(name.to_owned(), json!(count));
    }
    let claims: Vec<Value> = queue.claims.iter().map(|it| claim(seen, it)).collect();
    object.insert("claims".to_owned(), json!(claims));
    Value::Object(object)
}

fn claim(seen: Seen<'_>, claim: &Claim) -> Value {
    let mut object = named("item", &claim.item);
    object.insert("token".to_owned(), json!(claim.token));
    insert_session(&mut object, seen, claim.lease);
    Value::Object(object)
}

fn service(seen: Seen<'_>, service: &Service) -> Value {
    let mut object = named("name", &service.name);
    let instances = service.instances.iter();
    let instances: Vec<Value> = instances.map(|it| instance(seen, it)).collect();
    object.insert("instances".to_owned(), json!(instances));
    Value::Object(object)
}

fn instance(seen: Seen<'_>, instance: &Instance) -> Value {
    let mut object = named("id", &instance.id);
    object.insert("address".to_owned(), json!(instance.address));
    object.insert("status".to_owned(), json!(instance.status));
    object.insert("on_no_lease".to_owned(), json!(instance.lease == 0));
    insert_session(&mut object, seen, instance.lease);
    Value::Object(object)
}

/// A session with everything that hangs on it.
pub(crate) fn session(seen: Seen<'_>, session: &Session) -> Value {
    let mut object = Map::new();
    insert_session(&mut object, seen, session.lease);
    let holdings = session.holdings.iter().map(|holding| {
        let mut object = named("name", &holding.name);
        insert_bytes(&mut object, "key", &holding.key);
        let (role, position) = match holding.role {
            Role::Holds => ("holds", Some(1)),
            Role::Waits(position) => ("waits", Some(position)),
            Role::Leads => ("leads", Some(1)),
            Role::Stands(position) => ("candidate", Some(position)),
            Role::Works => ("works", None),
            Role::Claims => ("claims", None),
            Role::Serves => ("serves", None),
        };
        object.insert("role".to_owned(), json!(role));
        object.insert("position".to_owned(), json!(position));
        Value::Object(object)
    });
    object.insert("has".to_owned(), holdings.collect());
    Value::Object(object)
}

/// Who a lease is, in the same fields everywhere.
fn insert_session(object: &mut Map<String, Value>, seen: Seen<'_>, lease: i64) {
    let ttl = seen.ttl(lease);
    object.insert("lease".to_owned(), json!(lease_text(lease)));
    let left = ttl.left().map(|left| left.as_secs());
    object.insert("ttl_left_s".to_owned(), json!(left));
    if let Ttl::Left { granted, .. } = ttl {
        object.insert("ttl_s".to_owned(), json!(granted.as_secs()));
    }
    if let Some(record) = seen.overview.session(lease) {
        object.insert("host".to_owned(), json!(record.host));
        object.insert("pid".to_owned(), json!(record.pid));
        object.insert("program".to_owned(), json!(record.app));
        let age = seen.since(record.since_unix_ms).map(|age| age.as_secs());
        object.insert("session_age_s".to_owned(), json!(age));
    }
}

fn named(field: &str, name: &Bytes) -> Map<String, Value> {
    let mut object = Map::new();
    insert_bytes(&mut object, field, name);
    object
}
