//! The verbs of services.

use futures::stream::{self, StreamExt};
use handfast::{Pick, RegistrationState, Service, Status};
use serde_json::{Value, json};

use super::{
    base::now,
    player::{Player, Verb},
    thing::{Doing, Failed, NOTHING, Step, Thing},
    work::Body,
};

pub(super) const VERBS: &[(&str, Verb)] = &[
    ("register", register),
    ("unregister", |play, step, _| {
        let gone = play.registration(step).unregister();
        Box::pin(async move {
            gone.await;
            Ok(NOTHING)
        })
    }),
    ("update", update),
    ("registered", registered),
    ("set_status", set_status),
    ("listed", listed),
    ("discover", discover),
    ("found", |play, step, _| {
        let list = play.discovery(step).list().instances;
        let ids = list.iter().map(|instance| instance.id.clone());
        now(Ok(ids.collect::<Value>().into()))
    }),
    ("pick", pick),
    ("stale", |play, step, _| {
        let stale = !play.discovery(step).list().stale_for.is_zero();
        now(Ok(stale.into()))
    }),
];

fn service(play: &Player, step: &Step) -> Service {
    play.client(step).service(step.text("name"))
}

fn status(step: &Step) -> Option<Status> {
    Some(match step.find_text("status")?.as_str() {
        "up" => Status::Up,
        "warming" => Status::Warming,
        "draining" => Status::Draining,
        other => panic!("no status {other}"),
    })
}

fn weight(step: &Step) -> Option<u32> {
    let weight = step.find_number("weight")?;
    Some(weight.try_into().expect("a small number"))
}

fn register(play: &Player, step: &Step, _: &Body) -> Doing {
    let mut instance = service(play, step).instance(step.text("id"), step.text("addr"));
    if let Some(weight) = weight(step) {
        instance = instance.weight(weight);
    }
    if let Some(status) = status(step) {
        instance = instance.status(status);
    }
    Box::pin(async move { Ok(Thing::Registration(instance.register().await?)) })
}

fn update(play: &Player, step: &Step, _: &Body) -> Doing {
    let (weight, status) = (weight(step), status(step));
    let registration = play.registration(step);
    Box::pin(async move {
        let changed = registration.update(move |entry| {
            entry.weight = weight.unwrap_or(entry.weight);
            entry.status = status.unwrap_or(entry.status);
        });
        Ok(changed.await?.into())
    })
}

fn registered(play: &Player, step: &Step, _: &Body) -> Doing {
    let word = match play.registration(step).state() {
        RegistrationState::Pending => "pending",
        RegistrationState::Listed { .. } => "listed",
        RegistrationState::Duplicate { .. } => "duplicate",
        RegistrationState::Ended(_) => "ended",
        other => panic!("no word for {other:?}"),
    };
    now(Ok(word.into()))
}

fn set_status(play: &Player, step: &Step, _: &Body) -> Doing {
    let (service, id) = (service(play, step), step.text("id"));
    let status = status(step).expect("a status");
    Box::pin(async move { Ok(service.set_status(&id, status).await?.into()) })
}

fn listed(play: &Player, step: &Step, _: &Body) -> Doing {
    let service = service(play, step);
    Box::pin(async move {
        let listed = service.list().await?.into_iter();
        Ok(listed.map(|instance| instance.id).collect::<Value>().into())
    })
}

fn discover(play: &Player, step: &Step, _: &Body) -> Doing {
    let discover = play.client(step).discover(step.text("name"));
    Box::pin(async move { Ok(Thing::Discovery(discover.await?)) })
}

/// The changes of a discovery.
pub(super) fn changes(discovery: &handfast::Discovery) -> Thing {
    let changes = stream::unfold(discovery.changes(), |mut changes| async move {
        let change = changes.next().await;
        let told = json!([change.code(), change.instance().id]);
        Some((Ok(told), changes))
    });
    Thing::stream(changes.boxed())
}

fn pick(play: &Player, step: &Step, _: &Body) -> Doing {
    let key = || match step.find_text("key") {
        Some(key) => Ok(key.into()),
        // Elsewhere a missing argument, here a pick that cannot be written down.
        None => Err(Failed::new("INVALID_ARGUMENT", "the key is missing")),
    };
    let way = match step.text("way").as_str() {
        "round_robin" => Ok(Pick::RoundRobin),
        "weighted" => Ok(Pick::Weighted),
        "random" => Ok(Pick::Random),
        "p2c" => Ok(Pick::P2c),
        "hash" => key().map(Pick::Hash),
        "sticky" => key().map(Pick::Sticky),
        other => panic!("no way {other}"),
    };
    let discovery = play.discovery(step);
    now(way.and_then(|way| Ok(discovery.pick(way)?.addr().to_owned().into())))
}
