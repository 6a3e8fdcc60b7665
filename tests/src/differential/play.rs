//! Plays a list of operations to a fresh pair of servers and stops at the first difference.

use handfast_proto::mvccpb::Event;

use super::{
    Answer, Op, describe,
    mask::mask,
    side::Side,
    watching::{Arrived, Watcher, is_last_tombstone},
};
use crate::{
    Result,
    harness::{Server, Setup, Subject},
};

/// Where two servers part.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The index of the operation that showed it; the list's length when the final look did.
    pub at: usize,
    /// What was compared, and both sides of it.
    pub what: String,
}

/// What a run without a difference did, to show that it did something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Played {
    /// Operations sent to each server.
    pub operations: usize,
    /// Of them refused with an error.
    pub refused: usize,
    /// Events in the history at the end.
    pub events: usize,
    /// Events that watchers received and that were compared.
    pub watched: usize,
    /// The store's revision at the end.
    pub revision: i64,
    /// The compacted revision at the end; 0 for never.
    pub compacted: i64,
}

/// Plays `ops` to a fresh `subject` and a fresh etcd.
///
/// # Errors
/// When a server does not start. A difference is no error.
pub async fn compare(subject: Subject, ops: &[Op]) -> Result<Result<Played, Difference>> {
    let starting = (
        Setup::new(subject).start(),
        Setup::new(Subject::Etcd).start(),
    );
    let (ours, theirs): (Result<Server>, Result<Server>) = tokio::join!(starting.0, starting.1);
    let (ours, theirs) = (ours?, theirs?);
    let mut pair = Pair {
        ours: Side::new(&ours).await?,
        theirs: Side::new(&theirs).await?,
        revision: 1,
        compacted: 0,
        watchers: Vec::new(),
        played: Played::default(),
    };
    for (at, op) in ops.iter().enumerate() {
        if let Err(what) = pair.step(op).await {
            let what = format!("{what}\nlog of the server under test:\n{}", ours.log_tail());
            return Ok(Err(Difference { at, what }));
        }
    }
    let finished = pair.finish().await;
    Ok(finished.map_err(|what| Difference {
        at: ops.len(),
        what,
    }))
}

struct Pair {
    ours: Side,
    theirs: Side,
    revision: i64,
    compacted: i64,
    watchers: Vec<Watcher>,
    played: Played,
}

impl Pair {
    async fn step(&mut self, op: &Op) -> Result<(), String> {
        let op = op.at(self.revision);
        match &op {
            // Events that are on their way must arrive before their past is removed, or timing
            // would decide what a watcher gets.
            Op::Compact(_) => {
                self.all_arrived().await?;
                for side in [&self.ours, &self.theirs] {
                    let waited = side.watchers_are_up_to_date().await;
                    waited.map_err(|error| error.to_string())?;
                }
            }
            Op::Unwatch(id) => {
                let Some(at) = self.watchers.iter().position(|watcher| watcher.id == *id) else {
                    return Ok(());
                };
                self.all_arrived().await?;
                self.watchers.remove(at);
            }
            _ => {}
        }
        let canceled = [self.ours.canceled(), self.theirs.canceled()];
        let answer = self.ask(&op).await?;
        self.played.operations += 1;
        match (&op, &answer) {
            (_, Answer::Error(..)) => self.played.refused += 1,
            (Op::Compact(request), _) => self.compacted = request.revision,
            (Op::Watch(request), Answer::Watch(reply)) if !reply.canceled => {
                let start = request.start_revision;
                let watcher = Watcher {
                    id: reply.watch_id,
                    request: request.clone(),
                    created_at: self.revision,
                    is_compacted: start > 0 && start < self.compacted,
                    compacted: self.compacted,
                };
                self.admit(watcher, canceled).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The answer that both servers give.
    async fn ask(&mut self, op: &Op) -> Result<Answer, String> {
        let (ours, theirs) = tokio::join!(self.ours.send(op), self.theirs.send(op));
        // A message to a dead watcher has revision 0, hence the maximum.
        self.revision = self.revision.max(theirs.revision().unwrap_or(0));
        let (ours, theirs) = (mask(op, ours), mask(op, theirs));
        if ours == theirs {
            return Ok(theirs);
        }
        Err(both("the answers differ", &ours, &theirs))
    }

    /// Takes a new watcher in; one that starts in the compacted past is cancelled first, with the
    /// next cancellation after the `canceled` ones of each side.
    async fn admit(&mut self, watcher: Watcher, canceled: [usize; 2]) -> Result<(), String> {
        if watcher.is_compacted {
            let op = Op::Unwatch(watcher.id);
            let ours = mask(&op, self.ours.cancellation(canceled[0]).await);
            let theirs = mask(&op, self.theirs.cancellation(canceled[1]).await);
            if ours != theirs || matches!(ours, Answer::Error(..)) {
                return Err(both("a watcher of the compacted past", &ours, &theirs));
            }
        }
        self.watchers.push(watcher);
        Ok(())
    }

    /// Waits until every watcher has what the history promises it, and compares that.
    async fn all_arrived(&mut self) -> Result<(), String> {
        let history = self.theirs.recorded(self.revision).await;
        let ours = self.ours.recorded(self.revision).await;
        if ours != history {
            return Err(first_difference(
                "the recorded histories differ",
                &ours,
                &history,
            ));
        }
        for watcher in &self.watchers {
            let id = watcher.id;
            let expected: Vec<&Event> = history
                .iter()
                .filter(|event| watcher.expects(event))
                .collect();
            let comparable = |events: Option<&Vec<Event>>| -> Vec<Event> {
                let events = events.into_iter().flatten();
                events
                    .filter(|event| !is_last_tombstone(event, watcher.compacted))
                    .cloned()
                    .collect()
            };
            let mut got = Vec::new();
            for side in [&self.ours, &self.theirs] {
                let count = |arrived: &Arrived| comparable(arrived.events.get(&id)).len();
                side.watchers
                    .wait(|arrived| count(arrived) >= expected.len())
                    .await;
                got.push(
                    side.watchers
                        .look(|arrived| comparable(arrived.events.get(&id))),
                );
            }
            let theirs = got.pop().unwrap_or_default();
            let ours = got.pop().unwrap_or_default();
            self.played.watched += ours.len();
            let about = format!("watcher {}", describe(watcher));
            if ours != theirs {
                return Err(first_difference(&about, &ours, &theirs));
            }
            if !ours
                .iter()
                .map(place)
                .eq(expected.iter().map(|event| place(event)))
            {
                let expected: Vec<Event> = expected.into_iter().cloned().collect();
                let about = format!("{about} against the history");
                return Err(first_difference(&about, &ours, &expected));
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Played, String> {
        self.all_arrived().await?;
        let start = self.compacted.max(1);
        let ours = self.ours.replayed(start, self.revision).await;
        let theirs = self.theirs.replayed(start, self.revision).await;
        let (ours, theirs) = match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            (ours, theirs) => return Err(both("the final history", &ours, &theirs)),
        };
        let comparable = |events: Vec<Event>| -> Vec<Event> {
            let kept = |event: &Event| !is_last_tombstone(event, self.compacted);
            events.into_iter().filter(kept).collect()
        };
        let (ours, theirs) = (comparable(ours), comparable(theirs));
        if ours != theirs {
            return Err(first_difference(
                "the histories replayed at the end",
                &ours,
                &theirs,
            ));
        }
        self.played.events = ours.len();
        self.played.revision = self.revision;
        self.played.compacted = self.compacted;
        Ok(self.played)
    }
}

/// What identifies an event; the previous pair depends on the request.
fn place(event: &Event) -> (i32, Option<(&[u8], i64)>) {
    (
        event.r#type,
        event
            .kv
            .as_ref()
            .map(|pair| (pair.key.as_ref(), pair.mod_revision)),
    )
}

fn both(what: &str, ours: &impl std::fmt::Debug, theirs: &impl std::fmt::Debug) -> String {
    format!(
        "{what}\n  ours: {}\n  etcd: {}",
        describe(ours),
        describe(theirs)
    )
}

fn first_difference(what: &str, ours: &[Event], theirs: &[Event]) -> String {
    let at = ours
        .iter()
        .zip(theirs)
        .take_while(|(ours, theirs)| ours == theirs)
        .count();
    let what = format!(
        "{what}: {} and {} events, at event {at}",
        ours.len(),
        theirs.len()
    );
    both(&what, &ours.get(at), &theirs.get(at))
}
