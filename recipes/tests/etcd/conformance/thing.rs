//! What steps are made of, and what they give: JSON, or a thing that later steps use.
//!
//! Owns these and how a step fails. Knows no verb.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{future::BoxFuture, stream::BoxStream};
use handfast::{
    Claim, Discovery, Error, Handfast, Leadership, LockGuard, MultiGuard, Registration, Tenure,
    Worker, core::ErrorKind,
};
use serde_json::{Map, Value, json};

/// What is done, and what it comes to.
pub(super) type Doing = BoxFuture<'static, Outcome>;
pub(super) type Outcome = Result<Thing, Failed>;
/// What comes out of watches and the like, as JSON.
pub(super) type Stream = Arc<tokio::sync::Mutex<BoxStream<'static, Result<Value, Failed>>>>;

/// What a step may give.
#[derive(Clone)]
pub(super) enum Thing {
    Json(Value),
    Client(Handfast),
    Held(Arc<Held>),
    Stream(Stream),
    Config(Arc<dyn Followed>),
    Discovery(Discovery),
    Registration(Registration),
    Calls(Arc<Mutex<Vec<Value>>>),
}

impl<T: Into<Value>> From<T> for Thing {
    fn from(value: T) -> Self {
        Self::Json(value.into())
    }
}

/// The result of a step that has none.
pub(super) const NOTHING: Thing = Thing::Json(Value::Null);

impl Thing {
    /// The JSON it is, if it is any.
    pub(super) fn json(&self) -> Option<&Value> {
        match self {
            Self::Json(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn stream(items: BoxStream<'static, Result<Value, Failed>>) -> Self {
        Self::Stream(Arc::new(tokio::sync::Mutex::new(items)))
    }

    /// What is held, with what else there is to be known of it.
    pub(super) fn held(tenure: Tenure, guard: Option<Guard>, mut facts: Value) -> Self {
        facts["token"] = tenure.token().into();
        facts["key"] = text(tenure.key());
        Self::Held(Arc::new(Held {
            tenure,
            facts,
            guard: Mutex::new(guard),
        }))
    }
}

/// Something that is held, or was.
pub(super) struct Held {
    pub(super) tenure: Tenure,
    /// Its fields, for later steps.
    pub(super) facts: Value,
    guard: Mutex<Option<Guard>>,
}

/// What gives it back when it is dropped.
pub(super) enum Guard {
    Lock(LockGuard),
    Multi(MultiGuard),
    Leader(Leadership),
    Claim(Claim, Worker),
}

impl Held {
    pub(super) fn take(&self) -> Guard {
        self.guard.lock().unwrap().take().expect("it is held")
    }

    /// The item, and who goes on to the next.
    pub(super) fn take_claim(&self) -> (Claim, Worker) {
        match self.take() {
            Guard::Claim(claim, worker) => (claim, worker),
            _ => panic!("it is no claim"),
        }
    }
}

/// A configuration, whatever the type of its value.
pub(super) trait Followed: Send + Sync {
    /// The value in force, and the word for where it comes from.
    fn current(&self) -> (Value, &'static str);
    /// The word for what is wrong with what is published.
    fn refused(&self) -> Option<&'static str>;
    fn at_least(&self, revision: i64) -> BoxFuture<'static, ()>;
    fn saved(&self) -> BoxFuture<'static, ()>;
    /// Pairs of a word and a value.
    fn changes(&self) -> BoxStream<'static, Result<Value, Failed>>;
}

/// How a step failed.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) code: &'static str,
    pub(super) details: Map<String, Value>,
    pub(super) text: String,
}

impl Failed {
    pub(super) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self {
            code,
            details: Map::new(),
            text: text.into(),
        }
    }
}

impl From<handfast::core::Error> for Failed {
    fn from(error: handfast::core::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let code = match &error {
            // A kind of its own here, a code in the packages.
            Error::Client(error) if error.kind() == ErrorKind::Compacted => "COMPACTED",
            other => other.code(),
        };
        let mut failed = Self::new(code, error.to_string());
        let mut add = |name: &str, value: Value| failed.details.insert(name.to_owned(), value);
        if let Some(reason) = error.lost_reason() {
            add("reason", reason.code().into());
        }
        match error {
            Error::Timeout { name, holder, .. } => {
                add("name", name.into());
                holder.map(|holder| add("holder", holder.to_string().into()));
            }
            Error::Lost { name, .. } | Error::SessionLost { name, .. } => {
                add("name", name.into());
            }
            Error::DuplicateInstance { instance, addr, .. } => {
                add("instance", instance.into());
                add("addr", addr.into());
            }
            _ => {}
        }
        failed
    }
}

/// A step: an object, in which nothing refers to another step any more.
#[derive(Debug, Clone)]
pub(super) struct Step(pub(super) Value);

impl Step {
    pub(super) fn find(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// The text in `field`, if it is one.
    pub(super) fn find_text(&self, field: &str) -> Option<String> {
        Some(self.find(field)?.as_str()?.to_owned())
    }

    pub(super) fn text(&self, field: &str) -> String {
        self.find_text(field).unwrap_or_else(|| self.lacks(field))
    }

    pub(super) fn texts(&self, field: &str) -> Vec<String> {
        let given = self.find(field).and_then(Value::as_array);
        let texts = given.into_iter().flatten();
        texts
            .map(|it| it.as_str().expect("texts").to_owned())
            .collect()
    }

    pub(super) fn find_number(&self, field: &str) -> Option<i64> {
        Some(self.find(field)?.as_i64().expect("a whole number"))
    }

    pub(super) fn number(&self, field: &str) -> i64 {
        self.find_number(field).unwrap_or_else(|| self.lacks(field))
    }

    pub(super) fn is(&self, field: &str) -> bool {
        self.find(field).is_some_and(|it| it == &json!(true))
    }

    pub(super) fn seconds(&self, field: &str) -> Option<Duration> {
        let seconds = self.find(field)?.as_f64().expect("seconds");
        Some(Duration::from_secs_f64(seconds))
    }

    fn lacks<T>(&self, field: &str) -> T {
        panic!("{field} is missing in {}", self.0)
    }
}

/// Bytes as text.
pub(super) fn text(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into()
}
