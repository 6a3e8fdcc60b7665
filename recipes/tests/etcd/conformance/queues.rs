//! The verbs of queues, and of work that is done once.

use handfast::{
    AckTxn, Claim, Condition, Control, Failed as Fate, ItemState, Once, OnceError, Queue, Worker,
};
use serde_json::{Value, json};

use super::{
    player::{Player, Verb},
    thing::{Doing, Failed, Guard, NOTHING, Step, Thing, text},
    work::Body,
};

pub(super) const VERBS: &[(&str, Verb)] = &[
    ("push", push),
    ("claim", claim),
    ("ack", ack),
    ("ack_and_next", ack_and_next),
    ("nack", nack),
    ("process", process),
    ("control", control),
    ("wait_for", wait_for),
    ("open_gate", open_gate),
    ("items", items),
    ("why", why),
    ("dead", dead),
    ("retry", retry),
    ("once", once),
    ("once_result", once_result),
];

fn queue(play: &Player, step: &Step) -> Queue {
    play.client(step).queue(step.text("name"))
}

fn push(play: &Player, step: &Step, _: &Body) -> Doing {
    let mut push = queue(play, step).push(step.text("payload"));
    push = push.after(step.texts("after"));
    if let Some(id) = step.find_text("id") {
        push = push.id(id);
    }
    if let Some(gate) = step.find_text("gate") {
        push = push.gate(gate);
    }
    if let Some(gate) = step.find_text("opens") {
        push = push.opens(gate);
    }
    Box::pin(async move {
        let pushed = push.send().await?;
        Ok(json!({ "id": pushed.id, "duplicate": pushed.duplicate }).into())
    })
}

async fn next_claim(queue: Queue, step: Step) -> Result<Option<(Claim, Worker)>, Failed> {
    let mut worker = queue.claim();
    if let Some(timeout) = step.seconds("timeout") {
        worker = worker.timeout(timeout);
    }
    if let Some(attempts) = step.find_number("max_attempts") {
        worker = worker.max_attempts(attempts.try_into().expect("a small number"));
    }
    Ok(worker.next().await?.map(|claim| (claim, worker)))
}

fn claimed(claim: Claim, worker: Worker) -> Thing {
    let facts = json!({
        "id": claim.id(),
        "text": text(claim.payload()),
        "attempt": claim.attempt(),
    });
    Thing::held(claim.tenure(), Some(Guard::Claim(claim, worker)), facts)
}

fn claim(play: &Player, step: &Step, _: &Body) -> Doing {
    let next = next_claim(queue(play, step), step.clone());
    Box::pin(async move {
        let next = next.await?;
        Ok(next.map_or(NOTHING, |(claim, worker)| claimed(claim, worker)))
    })
}

fn acknowledging(claim: Claim, step: &Step) -> AckTxn {
    let puts = step.find("put").and_then(Value::as_object);
    let puts = puts.into_iter().flatten();
    puts.fold(claim.ack(), |ack, (key, value)| {
        ack.put(key, value.as_str().expect("a text"))
    })
}

fn ack(play: &Player, step: &Step, _: &Body) -> Doing {
    let (claim, _) = play.held(step).take_claim();
    let ack = acknowledging(claim, step);
    Box::pin(async move {
        ack.commit().await?;
        Ok(NOTHING)
    })
}

fn ack_and_next(play: &Player, step: &Step, _: &Body) -> Doing {
    let (claim, mut worker) = play.held(step).take_claim();
    let ack = acknowledging(claim, step);
    Box::pin(async move {
        let (_, next) = ack.commit_and_next(&mut worker).await?;
        Ok(next.map_or(NOTHING, |claim| claimed(claim, worker)))
    })
}

fn nack(play: &Player, step: &Step, _: &Body) -> Doing {
    let ((claim, _), why) = (play.held(step).take_claim(), step.text("why"));
    Box::pin(async move { Ok((claim.nack(why).await? == Fate::Dead).into()) })
}

fn process(play: &Player, step: &Step, body: &Body) -> Doing {
    let (next, body) = (next_claim(queue(play, step), step.clone()), body.clone());
    Box::pin(async move {
        let (claim, _) = next.await?.expect("an item");
        match claim.scope(body.run(claim.tenure())).await? {
            Ok(()) => {
                claim.ack().commit().await?;
                Ok(NOTHING)
            }
            Err(own) => {
                claim.nack(own.text.clone()).await?;
                Err(own)
            }
        }
    })
}

fn control(play: &Player, step: &Step, _: &Body) -> Doing {
    let control = match step.text("word").as_str() {
        "run" => Control::Run,
        "pause" => Control::Pause,
        "drain" => Control::Drain,
        other => panic!("no word {other}"),
    };
    let queue = queue(play, step);
    Box::pin(async move {
        queue.control(control).await?;
        Ok(NOTHING)
    })
}

fn wait_for(play: &Player, step: &Step, _: &Body) -> Doing {
    let condition = match (step.find_number("count"), step.find_text("gate")) {
        (Some(count), _) => Condition::Count(count.try_into().expect("a small number")),
        (None, Some(gate)) => Condition::Gate(gate),
        _ if step.is("start") => Condition::Start,
        _ => Condition::None,
    };
    let queue = queue(play, step);
    Box::pin(async move {
        queue.condition(condition).await?;
        Ok(NOTHING)
    })
}

fn open_gate(play: &Player, step: &Step, _: &Body) -> Doing {
    let (queue, gate) = (queue(play, step), step.text("gate"));
    Box::pin(async move { Ok(queue.open_gate(&gate).await?.into()) })
}

fn items(play: &Player, step: &Step, _: &Body) -> Doing {
    let queue = queue(play, step);
    Box::pin(async move {
        let items = queue.list().await?.into_iter();
        let left = items.filter(|item| item.state != ItemState::Dead);
        Ok(left.map(|item| item.id).collect::<Value>().into())
    })
}

fn why(play: &Player, step: &Step, _: &Body) -> Doing {
    let (queue, id) = (queue(play, step), step.text("id"));
    Box::pin(async move {
        let why = queue.why(&id).await?;
        let codes = why.reasons.iter().map(handfast::Reason::code);
        // Whether a worker waits just now is of no interest here.
        Ok(codes
            .filter(|code| *code != "no_worker")
            .collect::<Value>()
            .into())
    })
}

fn dead(play: &Player, step: &Step, _: &Body) -> Doing {
    let queue = queue(play, step);
    Box::pin(async move {
        let letters = queue.dead().await?.into_iter();
        Ok(letters.map(|letter| letter.id).collect::<Value>().into())
    })
}

fn retry(play: &Player, step: &Step, _: &Body) -> Doing {
    let (queue, id) = (queue(play, step), step.text("id"));
    Box::pin(async move { Ok(queue.retry(&id).await?.into()) })
}

fn work(play: &Player, step: &Step) -> Once {
    let mut once = play.client(step).once(step.text("name"));
    if let Some(input) = step.find_text("input") {
        once = once.input(input);
    }
    if let Some(timeout) = step.seconds("timeout") {
        once = once.timeout(timeout);
    }
    once
}

fn once(play: &Player, step: &Step, body: &Body) -> Doing {
    let (once, body) = (work(play, step), body.clone());
    let result = step.find_text("result").unwrap_or_default();
    Box::pin(async move {
        let done = once.get_or_run(|tenure| async move {
            body.run(tenure).await?;
            Ok::<_, Failed>(result)
        });
        let done = done.await.map_err(|error| match error {
            OnceError::Work(own) => own,
            OnceError::Recipe(error) => error.into(),
            other => panic!("{other:?}"),
        })?;
        Ok(json!({ "text": text(&done.value), "ran": done.ran }).into())
    })
}

fn once_result(play: &Player, step: &Step, _: &Body) -> Doing {
    let once = work(play, step);
    Box::pin(async move {
        let result = once.get().await?;
        Ok(result.map(|result| text(&result.value)).into())
    })
}
