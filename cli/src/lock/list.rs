//! `handfast locks`: who holds and who waits.
//!
//! Owns the listing and its form.

use std::ffi::OsString;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use handfast::{Handfast, Kind, Member};
use handfast_core::ErrorKind;
use serde_json::{Map, Value, json};

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::keys::bytes;
use crate::output::{Output, insert_bytes, lease_text, printable, span, table};
use crate::tenure::failure;

const HEADINGS: [&str; 9] = [
    "NAME",
    "KIND",
    "PLACE",
    "HOST",
    "PID",
    "PROGRAM",
    "SESSION AGE",
    "TTL LEFT",
    "TOKEN",
];
const UNKNOWN: &str = "-";

const AFTER_HELP: &str = "\
Examples:
  handfast locks                 all locks and elections
  handfast locks jobs/nightly    one, also of etcdctl or a Go program

PLACE says who holds; the others wait in this order. `handfast why NAME` says more of one.";

/// Options of `locks`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct LocksArgs {
    /// One lock; without it all that are held through handfast (those of etcdctl show by name)
    name: Option<OsString>,
}

/// Everybody at one name.
struct Line {
    name: Bytes,
    kind: Kind,
    places: Vec<Place>,
}

struct Place {
    member: Member,
    /// None when the lease ended meanwhile.
    ttl_left: Option<Duration>,
}

pub(crate) async fn run(
    args: LocksArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let handfast = connection.handfast(|builder| builder)?;
    let wanted = args.name.map(bytes);
    let held = handfast.held_names().await.map_err(failure)?;
    let mut names: Vec<(Bytes, Kind)> = held
        .into_iter()
        .map(|held| (held.name, held.kind.unwrap_or(Kind::Lock)))
        .filter(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted == name))
        .collect();
    // Others than handfast leave no record of what they hold.
    if let (true, Some(name)) = (names.is_empty(), &wanted) {
        names.push((name.clone(), Kind::Lock));
    }
    let mut lines = Vec::with_capacity(names.len());
    for (name, kind) in names {
        lines.push(look(&handfast, name, kind).await?);
    }
    match output.is_json() {
        true => output.json(&Value::Array(lines.iter().map(json_of).collect()))?,
        false => print(&lines, wanted.as_deref(), output)?,
    }
    Ok(exit::OK)
}

async fn look(handfast: &Handfast, name: Bytes, kind: Kind) -> Result<Line, Failure> {
    let queue = match kind {
        Kind::Election => handfast.election(&name).candidates().await,
        _ => handfast.lock(&name).look().await,
    };
    let mut places = Vec::new();
    for member in queue.map_err(failure)?.members {
        let ttl_left = ttl_left(handfast, member.lease).await?;
        places.push(Place { member, ttl_left });
    }
    Ok(Line { name, kind, places })
}

async fn ttl_left(handfast: &Handfast, lease: i64) -> Result<Option<Duration>, Failure> {
    match handfast.client().lease_time_to_live(lease, false).await {
        Ok(info) => Ok(Some(Duration::from_secs(info.ttl.unsigned_abs()))),
        Err(error) if error.kind() == ErrorKind::LeaseNotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn print(lines: &[Line], wanted: Option<&[u8]>, output: &mut Output) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .flat_map(|line| line.places.iter().map(|place| row(line, place)))
        .collect();
    if rows.is_empty() {
        return output.line(match wanted {
            Some(name) => format!("nobody holds or waits for {}", printable(name)),
            None => "nobody holds a lock".to_owned(),
        });
    }
    table(&HEADINGS, &rows)
        .iter()
        .try_for_each(|line| output.line(line))
}

fn row(line: &Line, place: &Place) -> Vec<String> {
    let unknown = || UNKNOWN.to_owned();
    let member = &place.member;
    let session = member.session.as_ref();
    vec![
        printable(&line.name),
        line.kind.to_string(),
        if member.position == 1 {
            "holds".to_owned()
        } else {
            format!("{}.", member.position)
        },
        session.map_or_else(unknown, |session| session.host.clone()),
        session.map_or_else(unknown, |session| session.pid.to_string()),
        session.map_or_else(unknown, |session| session.app.clone()),
        session.map_or_else(unknown, |session| span(session.age())),
        match (member.immortal, place.ttl_left) {
            (true, _) => "for ever".to_owned(),
            (false, Some(left)) => span(left),
            (false, None) => unknown(),
        },
        member.token.to_string(),
    ]
}

fn json_of(line: &Line) -> Value {
    let mut object = Map::new();
    insert_bytes(&mut object, "name", &line.name);
    object.insert("kind".to_owned(), json!(line.kind.to_string()));
    object.insert(
        "queue".to_owned(),
        line.places.iter().map(place_json).collect(),
    );
    Value::Object(object)
}

fn place_json(place: &Place) -> Value {
    let member = &place.member;
    let mut object = Map::new();
    insert_bytes(&mut object, "key", &member.key);
    insert_bytes(&mut object, "value", &member.value);
    object.insert("position".to_owned(), json!(member.position));
    object.insert("holds".to_owned(), json!(member.position == 1));
    object.insert("token".to_owned(), json!(member.token));
    object.insert("lease".to_owned(), json!(lease_text(member.lease)));
    object.insert("on_no_lease".to_owned(), json!(member.immortal));
    let ttl_left = place.ttl_left.map(|left| left.as_secs());
    object.insert("ttl_left_s".to_owned(), json!(ttl_left));
    if let Some(session) = &member.session {
        object.insert("host".to_owned(), json!(session.host));
        object.insert("pid".to_owned(), json!(session.pid));
        object.insert("program".to_owned(), json!(session.app));
        object.insert("session_age_s".to_owned(), json!(session.age().as_secs()));
    }
    Value::Object(object)
}
