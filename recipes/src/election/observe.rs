//! Following an election from outside.
//!
//! Owns turning a copy of the queue into changes of the leader. Never takes an event's word for
//! who leads: the leader is the oldest place of the copy.

use std::sync::Arc;

use bytes::Bytes;
use handfast_core::{
    Client, Mirror,
    mirror::{Progress, View},
};
use tokio::sync::watch;

use crate::{Error, Member, line::Line};

/// Who leads, as of a revision.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Leader {
    /// The leader's key.
    pub key: Bytes,
    /// The lease of the leader's session.
    pub lease: i64,
    /// What the leader announces.
    pub value: Bytes,
    /// The term: the fencing token. Grows with every leader.
    pub token: i64,
    /// The store's revision at which this was so.
    pub revision: i64,
}

impl Leader {
    pub(crate) fn of(member: Member, revision: i64) -> Self {
        let Member {
            key,
            lease,
            value,
            token,
            ..
        } = member;
        Self {
            key,
            lease,
            value,
            token,
            revision,
        }
    }

    fn is_as(&self, other: &Self) -> bool {
        (&self.key, self.token, &self.value) == (&other.key, other.token, &other.value)
    }
}

/// Tells who leads, and each change of it. Never ends by itself; heals over lost connections and
/// compaction. Leaders that came and went unseen in between are left out.
#[derive(Debug)]
pub struct Observer {
    mirror: Mirror,
    progress: watch::Receiver<Progress>,
    line: Arc<Line>,
    told: Option<Option<Leader>>,
}

impl Observer {
    pub(super) async fn open(client: &Client, line: Arc<Line>) -> Result<Self, Error> {
        let mirror = Mirror::open(client, &line.prefix).await?;
        let progress = mirror.progress();
        Ok(Self {
            mirror,
            progress,
            line,
            told: None,
        })
    }

    /// The leader now (at the first call) or the next change; `None` means that nobody leads.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Leader> {
        loop {
            self.progress.borrow_and_update();
            let now = self.current();
            let same = match (&self.told, &now) {
                (Some(Some(told)), Some(now)) => told.is_as(now),
                (Some(None), None) => true,
                _ => false,
            };
            if !same {
                self.told = Some(now.clone());
                return now;
            }
            // The mirror lives as long as this observer, and with it the channel.
            if self.progress.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The leader as far as it is known here. No input or output.
    #[must_use]
    pub fn current(&self) -> Option<Leader> {
        self.mirror.read(|view| oldest(&self.line, view))
    }

    /// Waits until everything up to `revision` is known here. Cancel safe.
    pub async fn at_least(&self, revision: i64) {
        self.mirror.at_least(revision).await;
    }
}

fn oldest(line: &Line, view: &View) -> Option<Leader> {
    let places = view.iter().filter(|pair| line.is_place(pair));
    let first = places.min_by_key(|pair| pair.create_revision)?;
    Some(Leader::of(line.member(first, 1), view.revision()))
}
