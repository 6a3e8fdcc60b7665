//! What a run of a recipe looks like from outside.
//!
//! Owns the form of the story only. Times are the harness's own clock; what a client with a skewed
//! clock believed stands at the true time at which it did.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::history::{EventLog, Nanos};

/// Everything that was seen of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    /// What it was: the seed, the recipe, the faults.
    pub title: String,
    /// All changes of all keys.
    pub log: EventLog,
    /// When revisions came to be.
    pub moments: Vec<Moment>,
    /// Spans without any fault. Liveness is judged within them only.
    pub calm: Vec<Span>,
    /// When the story ends.
    pub ended: Nanos,
    /// How long that may take in calm which waits for no lease to run out.
    pub prompt: Nanos,
    /// How long that may take in calm which waits for a lease to run out.
    pub patience: Nanos,
    /// Leases revoked and keys deleted by others: nobody can promise that the holder knows.
    pub meddlings: Vec<Meddling>,
    /// Names that nobody uses any more at the end, and that must be empty then.
    pub left: Vec<Bytes>,
    /// All sessions have ended, and what hung on them is gone.
    pub over: bool,
    /// Locks, elections, multi-locks.
    pub holds: Vec<Hold>,
    /// Names that were refused because they are used for something else.
    pub conflicts: Vec<Conflict>,
    /// Leaders that observers were shown.
    pub views: Vec<View>,
    /// Callers of what shall be done once.
    pub once: Vec<OnceCall>,
    /// Work queues.
    pub queues: Vec<QueueStory>,
    /// Services.
    pub services: Vec<ServiceStory>,
    /// Configurations.
    pub configs: Vec<ConfigStory>,
}

/// A revision, and those since the one before, came to be after one time and by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// It was not there yet.
    pub after: Nanos,
    /// It was there.
    pub by: Nanos,
    /// The revision.
    pub revision: i64,
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The begin.
    pub from: Nanos,
    /// The end.
    pub to: Nanos,
}

/// Somebody took something away from its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meddling {
    /// When it was asked for.
    pub at: Nanos,
    /// The lease that was revoked; 0 if only a key was deleted.
    pub lease: i64,
    /// The key that was deleted; empty for all of the lease.
    pub key: Bytes,
}

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldKind {
    /// A lock, or several at once.
    Lock,
    /// A leadership.
    Election,
}

/// One acquisition, from the request on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What is held.
    pub kind: HoldKind,
    /// The names: one, or several of a multi-lock. The keys are `<name>/…`.
    pub names: Vec<Bytes>,
    /// The program, as its session's record calls it.
    pub client: String,
    /// When it was asked for.
    pub asked: Nanos,
    /// When waiting is given up by itself, and the place with it.
    pub until: Option<Nanos>,
    /// What the client was told; `None` if nothing.
    pub told: Option<Told>,
    /// When it began to end for the client; `None` if it went on to the end of the story.
    pub ended: Option<HoldEnd>,
}

/// A name that was refused because it is used for something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The name.
    pub name: Bytes,
    /// What it is used for.
    pub found: HoldKind,
    /// From the request to the refusal.
    pub span: Span,
}

/// A grant as its holder saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: Nanos,
    /// The fencing token.
    pub token: i64,
    /// The lease.
    pub lease: i64,
    /// The last time at which a check said that it is held; not before `at`.
    pub checked: Nanos,
    /// Revisions of writes guarded by it that were acknowledged.
    pub work: Vec<i64>,
}

/// How an acquisition ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// It began to leave, or gave up waiting.
    Left(Nanos),
    /// It was told of the loss.
    Lost(Nanos),
    /// Its process ended without a word.
    Crashed(Nanos),
}

impl HoldEnd {
    /// When.
    #[must_use]
    pub fn at(self) -> Nanos {
        match self {
            Self::Left(at) | Self::Lost(at) | Self::Crashed(at) => at,
        }
    }
}

/// A leader as an observer was shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The election.
    pub name: Bytes,
    /// Who watched; views of one observer stand in their order.
    pub observer: String,
    /// When.
    pub at: Nanos,
    /// The state's revision; 0 if it was not told, as when nobody leads.
    pub revision: i64,
    /// The leader's token; 0 for nobody.
    pub token: i64,
    /// What it announces.
    pub value: Bytes,
}

/// Somebody who wants a result that is made once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnceCall {
    /// The key of the result.
    pub result: Bytes,
    /// The program.
    pub client: String,
    /// When it asked.
    pub asked: Nanos,
    /// The result it was given, and when.
    pub answered: Option<(Nanos, Bytes)>,
    /// When it gave up or crashed.
    pub ended: Option<Nanos>,
    /// When its own code ran.
    pub runs: Vec<OnceRun>,
}

/// The code that makes a result, running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnceRun {
    /// Its token.
    pub token: i64,
    /// The lease it runs under; 0 if not known.
    pub lease: i64,
    /// From its begin to the last step it took.
    pub span: Span,
}

/// A work queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStory {
    /// What all its keys begin with; `items/`, `claims/`, `done/`, `dead/` follow.
    pub prefix: Bytes,
    /// Where acknowledgments write what came out, one key per item.
    pub effects: Bytes,
    /// Most attempts for one item.
    pub max_attempts: u32,
    /// What was pushed.
    pub pushes: Vec<Push>,
    /// What workers claimed.
    pub claims: Vec<Claim>,
    /// When workers waited for work.
    pub waits: Vec<Wait>,
}

/// Something pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Push {
    /// Its id.
    pub id: String,
    /// The ids that must be done before.
    pub after: Vec<String>,
    /// The gate that must be open.
    pub gate: Option<String>,
    /// The gate that its acknowledgment opens.
    pub opens: Option<String>,
    /// When it was asked for.
    pub asked: Nanos,
    /// When it was confirmed.
    pub told: Option<Nanos>,
}

/// Something claimed, as the worker saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The item.
    pub id: String,
    /// The program.
    pub client: String,
    /// The fencing token.
    pub token: i64,
    /// The lease.
    pub lease: i64,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// When it was told.
    pub told: Nanos,
    /// The last time at which a check said that it is held.
    pub checked: Nanos,
    /// When it began to end for the worker, and how.
    pub ended: Option<(Nanos, Claimed)>,
}

/// How a claim ended for its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Acknowledged, and told so.
    Acked,
    /// Acknowledged without an answer, or refused as lost.
    AckOpen,
    /// Given back as failed.
    Failed,
    /// Given back as if nothing had been.
    Released,
    /// Told of the loss.
    Lost,
    /// The worker's process ended without a word.
    Crashed,
}

/// A worker that waits for work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The program.
    pub client: String,
    /// From when to when.
    pub span: Span,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceStory {
    /// What the keys of its instances begin with; the instance's id follows.
    pub prefix: Bytes,
    /// Where those who leave say so; the whole key of the instance follows.
    pub left: Bytes,
    /// What was registered.
    pub registrations: Vec<Registration>,
    /// What observers were shown.
    pub listings: Vec<Listing>,
}

/// An instance that a program declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    /// The instance.
    pub instance: String,
    /// The program.
    pub client: String,
    /// When it was confirmed.
    pub told: Nanos,
    /// When it began to leave.
    pub leaving: Option<Nanos>,
    /// When leaving was confirmed.
    pub left: Option<Nanos>,
    /// When its process ended without a word, or was told that it is not registered any more.
    pub ended: Option<Nanos>,
}

/// What an observer of a service was shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Who watched; listings of one observer stand in their order.
    pub observer: String,
    /// When.
    pub at: Nanos,
    /// The state's revision.
    pub revision: i64,
    /// What was offered.
    pub instances: Vec<Listed>,
}

/// An instance that is offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The instance.
    pub instance: String,
    /// Its key is gone, but so are too many others to believe it.
    pub suspect: bool,
}

/// A configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigStory {
    /// What its keys begin with.
    pub prefix: Bytes,
    /// What subscribers applied.
    pub applied: Vec<Applied>,
    /// Who subscribed from when to when; `to` is the end of the story for who stayed.
    pub subscribers: Vec<(String, Span)>,
    /// A set in which a value begins so is not valid; empty if all are.
    pub invalid: Bytes,
    /// What subscribers had on their disks when they started without a server.
    pub starts: Vec<Start>,
}

/// A start without a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Who.
    pub client: String,
    /// When.
    pub at: Nanos,
    /// The revision that was on its disk.
    pub revision: i64,
    /// Who used the disk before.
    pub before: Vec<String>,
}

/// A set of values that a subscriber applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Who; sets of one subscriber stand in their order.
    pub client: String,
    /// When.
    pub at: Nanos,
    /// The revision it says to be.
    pub revision: i64,
    /// The values, without the prefix of their keys.
    pub values: BTreeMap<String, Bytes>,
}
