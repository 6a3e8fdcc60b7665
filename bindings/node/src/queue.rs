//! Queues: pushing, claiming and looking.
//!
//! Owns the crossing. A claim is a [`NativeHolding`] with an item.

use handfast::{Claim, Condition, Control, DeadLetter, Pushed, Queue, QueueItem, QueueStatus, Why};
use handfast_bindings::{Cancel, Failure, Guard, queue::Worker, runtime::Local};
use napi::{
    Env,
    bindgen_prelude::{Buffer, Either, PromiseRaw},
};
use napi_derive::napi;

use crate::{
    cancel::CancelToken,
    client::NativeClient,
    crossing::{cancellable, no_threads, promise, waiting},
    errors::NativeError,
    holding::NativeHolding,
    options::{bytes, span},
    request::NativeOp,
    values::NativeMember,
};

#[napi(object)]
pub struct PushOptions {
    pub id: Option<String>,
    pub after: Option<Vec<String>>,
    pub gate: Option<String>,
    pub opens: Option<String>,
}

#[napi(object)]
pub struct WorkerOptions {
    pub max_attempts: Option<u32>,
    pub strict: Option<bool>,
    pub timeout_ms: Option<f64>,
    /// For one item only.
    pub once: bool,
}

#[napi(object)]
pub struct ConditionOptions {
    pub count: Option<u32>,
    pub gate: Option<String>,
    pub start: Option<bool>,
}

#[napi(object)]
pub struct NativePushed {
    pub id: String,
    pub revision: i64,
    pub duplicate: bool,
}

impl From<Pushed> for NativePushed {
    fn from(pushed: Pushed) -> Self {
        Self {
            id: pushed.id,
            revision: pushed.revision,
            duplicate: pushed.duplicate,
        }
    }
}

/// An item with the claim on it.
#[napi(object, object_from_js = false)]
pub struct NativeClaimed {
    pub holding: NativeHolding,
    pub id: String,
    pub payload: Buffer,
    pub attempt: u32,
}

impl From<Claim> for NativeClaimed {
    fn from(claim: Claim) -> Self {
        Self {
            id: claim.id().to_owned(),
            payload: claim.payload().to_vec().into(),
            attempt: claim.attempt(),
            holding: Guard::Claim(Box::new(claim)).into(),
        }
    }
}

/// An acknowledgement, and what was claimed with it.
#[napi(object, object_from_js = false)]
pub struct NativeOnward {
    pub revision: i64,
    pub next: Option<NativeClaimed>,
}

#[napi(object)]
pub struct NativeItem {
    pub id: String,
    pub state: String,
    pub claimed_by: Option<NativeMember>,
    pub age_ms: f64,
    pub attempts: u32,
    pub said: Option<String>,
    pub size: f64,
    pub revision: i64,
}

impl From<QueueItem> for NativeItem {
    fn from(item: QueueItem) -> Self {
        Self {
            id: item.id,
            state: item.state.code().to_owned(),
            claimed_by: item.claimed_by.map(Into::into),
            age_ms: item.age.as_secs_f64() * 1000.0,
            attempts: item.attempts,
            said: item.said,
            size: item.size as f64,
            revision: item.revision,
        }
    }
}

#[napi(object)]
pub struct NativeQueueStatus {
    pub control: String,
    pub condition: String,
    pub open: bool,
    pub ready: f64,
    pub blocked: f64,
    pub claimed: f64,
    pub dead: f64,
    pub done: f64,
    pub workers: f64,
    pub revision: i64,
}

impl From<QueueStatus> for NativeQueueStatus {
    fn from(status: QueueStatus) -> Self {
        Self {
            control: status.control.to_string(),
            condition: status.condition.to_string(),
            open: status.open,
            ready: status.ready as f64,
            blocked: status.blocked as f64,
            claimed: status.claimed as f64,
            dead: status.dead as f64,
            done: status.done as f64,
            workers: status.workers as f64,
            revision: status.revision,
        }
    }
}

#[napi(object)]
pub struct NativeDeadLetter {
    pub id: String,
    pub payload: Buffer,
    pub attempts: u32,
    pub said: Option<String>,
    pub revision: i64,
}

impl From<DeadLetter> for NativeDeadLetter {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            payload: Vec::from(letter.payload).into(),
            attempts: letter.attempts,
            said: letter.said,
            revision: letter.revision,
        }
    }
}

#[napi(object)]
pub struct NativeReason {
    pub code: String,
    pub text: String,
}

#[napi(object)]
pub struct NativeWhy {
    pub id: String,
    pub state: String,
    pub reasons: Vec<NativeReason>,
}

impl From<Why> for NativeWhy {
    fn from(why: Why) -> Self {
        let reasons = why.reasons.iter().map(|reason| NativeReason {
            code: reason.code().to_owned(),
            text: reason.to_string(),
        });
        Self {
            reasons: reasons.collect(),
            id: why.id,
            state: why.state.code().to_owned(),
        }
    }
}

/// A queue by its name.
#[napi]
pub struct NativeQueue {
    queue: Local<Queue>,
    open: Cancel,
}

impl NativeQueue {
    fn queue(&self) -> Result<Queue, Failure> {
        if self.open.is_cancelled() {
            return Err(Failure::closed("client"));
        }
        Ok(self.queue.get()?.clone())
    }
}

#[napi]
impl NativeClient {
    #[napi]
    pub fn queue(&self, name: Buffer, history: Option<u32>) -> Either<NativeQueue, NativeError> {
        let queue = self.handfast().map(|handfast| {
            let queue = handfast.queue(bytes(&name));
            match history {
                Some(items) => queue.keep_history(items as usize),
                None => queue,
            }
        });
        match queue {
            Ok(queue) => Either::A(NativeQueue {
                queue: Local::new(queue),
                open: self.open.clone(),
            }),
            Err(failure) => Either::B(failure.into()),
        }
    }
}

#[napi]
impl NativeQueue {
    #[napi]
    pub fn push<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        payload: Buffer,
        options: PushOptions,
    ) -> napi::Result<PromiseRaw<'env, Either<NativePushed, NativeError>>> {
        let push = self.queue().map(|queue| {
            let mut push = queue.push(bytes(&payload));
            push = push.after(options.after.unwrap_or_default());
            if let Some(id) = options.id {
                push = push.id(id);
            }
            if let Some(gate) = options.gate {
                push = push.gate(gate);
            }
            if let Some(gate) = options.opens {
                push = push.opens(gate);
            }
            push
        });
        cancellable(env, token, async move { Ok(push?.send().await?.into()) })
    }

    #[napi]
    pub fn worker(&self, options: WorkerOptions) -> Either<NativeWorker, NativeError> {
        let made = self.queue().and_then(|queue| {
            let mut worker = if options.once {
                queue.claim()
            } else {
                queue.worker()
            };
            if let Some(attempts) = options.max_attempts {
                worker = worker.max_attempts(attempts);
            }
            if let Some(timeout) = options.timeout_ms {
                worker = worker.timeout(span("timeoutMs", timeout)?);
            }
            Ok(worker.strict(options.strict.unwrap_or(false)))
        });
        match made {
            Ok(worker) => Either::A(NativeWorker {
                worker: Local::new(Worker::from(worker)),
                open: self.open.clone(),
            }),
            Err(failure) => Either::B(failure.into()),
        }
    }

    /// Lets the queue `run`, `pause` or `drain`.
    #[napi]
    pub fn control<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        word: String,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let control = match word.as_str() {
            "run" => Ok(Control::Run),
            "pause" => Ok(Control::Pause),
            "drain" => Ok(Control::Drain),
            _ => Err(Failure::invalid(
                "control",
                format!("{word:?} is not known"),
            )),
        };
        let queue = self.queue();
        cancellable(
            env,
            token,
            async move { Ok(queue?.control(control?).await?) },
        )
    }

    /// What all items wait for: a count, a gate, a start, or nothing.
    #[napi]
    pub fn condition<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        options: ConditionOptions,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let condition = match (options.count, options.gate, options.start) {
            (Some(count), _, _) => Condition::Count(count),
            (None, Some(gate), _) => Condition::Gate(gate),
            (None, None, Some(true)) => Condition::Start,
            (None, None, _) => Condition::None,
        };
        let queue = self.queue();
        cancellable(
            env,
            token,
            async move { Ok(queue?.condition(condition).await?) },
        )
    }

    /// Whether the gate was shut.
    #[napi]
    pub fn open_gate<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        gate: String,
    ) -> napi::Result<PromiseRaw<'env, Either<bool, NativeError>>> {
        let queue = self.queue();
        cancellable(
            env,
            token,
            async move { Ok(queue?.open_gate(&gate).await?) },
        )
    }

    #[napi]
    pub fn list<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Either<Vec<NativeItem>, NativeError>>> {
        let queue = self.queue();
        cancellable(env, token, async move {
            let items = queue?.list().await?;
            Ok(items.into_iter().map(NativeItem::from).collect::<Vec<_>>())
        })
    }

    #[napi]
    pub fn status<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeQueueStatus, NativeError>>> {
        let queue = self.queue();
        cancellable(env, token, async move { Ok(queue?.status().await?.into()) })
    }

    #[napi]
    pub fn why<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        id: String,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeWhy, NativeError>>> {
        let queue = self.queue();
        cancellable(env, token, async move { Ok(queue?.why(&id).await?.into()) })
    }

    #[napi]
    pub fn dead<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Either<Vec<NativeDeadLetter>, NativeError>>> {
        let queue = self.queue();
        cancellable(env, token, async move {
            let letters = queue?.dead().await?;
            Ok(letters
                .into_iter()
                .map(NativeDeadLetter::from)
                .collect::<Vec<_>>())
        })
    }

    /// Whether there was such a dead letter.
    #[napi]
    pub fn retry<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        id: String,
    ) -> napi::Result<PromiseRaw<'env, Either<bool, NativeError>>> {
        let queue = self.queue();
        cancellable(env, token, async move { Ok(queue?.retry(&id).await?) })
    }
}

/// Takes items one after the other.
#[napi]
pub struct NativeWorker {
    worker: Local<Worker>,
    open: Cancel,
}

#[napi]
impl NativeWorker {
    /// The next item; nothing when the queue is drained.
    #[napi]
    pub fn next<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Either<Option<NativeClaimed>, NativeError>>> {
        let worker = self.worker.get().map_err(no_threads)?.clone();
        waiting(env, token, &self.open, async move {
            Ok(worker.next().await?.map(NativeClaimed::from))
        })
    }

    /// Acknowledges an item that this took, with the writes of `then`, and claims the next one.
    #[napi]
    pub fn ack_and_next<'env>(
        &self,
        env: &'env Env,
        claim: &NativeHolding,
        then: Vec<NativeOp>,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeOnward, NativeError>>> {
        let worker = self.worker.get().map_err(no_threads)?.clone();
        let ack = claim.ack_with(&then)?;
        promise(env, async move {
            let (revision, next) = worker.ack_and_next(ack?).await?;
            let next = next.map(NativeClaimed::from);
            Ok(NativeOnward { revision, next })
        })
    }
}
