//! A step under way, and the scope it may be in.
//!
//! Owns the body of a scope, which is entered and left, and the task of a started step. Knows no
//! verb.

use std::sync::Arc;

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use handfast::Tenure;

use super::thing::{Doing, Failed, NOTHING, Outcome, Step, Thing};

/// What runs inside a scope.
#[derive(Clone)]
pub(super) struct Body {
    kind: String,
    /// What was held each time.
    entered: Arc<watch::Sender<Vec<Thing>>>,
    left: Arc<watch::Sender<bool>>,
}

impl Body {
    pub(super) fn of(step: &Step) -> Self {
        // Only the work of `once` ends at once when nothing is said.
        let usual = match step.text("do").as_str() {
            "once" => "",
            _ => "stay",
        };
        Self {
            kind: step.find_text("body").unwrap_or_else(|| usual.to_owned()),
            entered: Arc::new(watch::Sender::new(Vec::new())),
            left: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Its error is one of its own.
    pub(super) async fn run(&self, tenure: Tenure) -> Result<(), Failed> {
        let held = Thing::held(tenure, None, json!({}));
        self.entered.send_modify(|times| times.push(held));
        match self.kind.as_str() {
            "raise" => return Err(Failed::new("OWN", "an error of the body's own")),
            "stay" => drop(self.left.subscribe().wait_for(|left| *left).await),
            _ => {}
        }
        Ok(())
    }
}

/// A started step.
#[derive(Clone)]
pub(super) struct Work {
    body: Body,
    outcome: Shared<BoxFuture<'static, Outcome>>,
    task: AbortHandle,
}

impl Work {
    /// Starts it, and waits until its call is made.
    pub(super) async fn start(mut doing: Doing, body: Body) -> Self {
        let made = Arc::new(Notify::new());
        let made_there = Arc::clone(&made);
        let task = tokio::spawn(async move {
            let first = futures::poll!(&mut doing);
            made_there.notify_one();
            match first {
                std::task::Poll::Ready(outcome) => outcome,
                std::task::Poll::Pending => doing.await,
            }
        });
        made.notified().await;
        let abort = task.abort_handle();
        let outcome = task.map(|ended| match ended {
            Ok(outcome) => outcome,
            Err(error) if error.is_cancelled() => Err(Failed::new("CANCELLED", "cancelled")),
            Err(error) => Err(Failed::new("PANIC", error.to_string())),
        });
        Self {
            body,
            outcome: outcome.boxed().shared(),
            task: abort,
        }
    }

    pub(super) fn outcome(&self) -> Doing {
        self.outcome.clone().boxed()
    }

    pub(super) fn cancel(&self) {
        self.task.abort();
    }

    pub(super) fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    /// Waits until its scope was entered so many `times`: what is held then.
    pub(super) fn entered(&self, times: usize) -> Doing {
        let mut entered = self.body.entered.subscribe();
        Box::pin(async move {
            let seen = entered.wait_for(|all| all.len() >= times).await;
            let last = seen.ok().and_then(|all| all.get(times - 1).cloned());
            Ok(last.unwrap_or(NOTHING))
        })
    }

    pub(super) fn leave(&self) {
        self.body.left.send_replace(true);
    }
}
