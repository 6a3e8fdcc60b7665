//! Asking other members.
//!
//! Owns the address book, the envelope of every request, and what a refusal says about this member
//! itself: a peer that knows a newer membership without us has seen us removed.

use std::{collections::BTreeMap, time::Duration};

use handfast_proto::{
    command::MemberInfo,
    peer::{Refusal, Request, Response, refusal::Reason, request, response},
};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::peer::{Pipe, SharedTransport, Unreachable};

/// Why a peer gave no answer that can be used.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AskError {
    /// No answer; see [`Unreachable::certain`].
    #[error("member {to:x} does not answer: {source}")]
    Unreachable { to: u64, source: Unreachable },
    /// The peer refused.
    #[error("member {to:x} refuses: {}", refusal_text(.refusal))]
    Refused { to: u64, refusal: Refusal },
    /// Nobody knows where the member is.
    #[error("member {0:x} is not in the membership")]
    Unknown(u64),
    /// An answer to another question.
    #[error("member {0:x} gave an answer to another question")]
    Unexpected(u64),
}

impl AskError {
    /// Whether it is certain that nothing was done.
    pub(crate) fn nothing_done(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.certain,
            Self::Refused { refusal, .. } => refusal.reason() != Reason::Timeout,
            Self::Unknown(_) => true,
            Self::Unexpected(_) => false,
        }
    }
}

/// A refusal with its reason in words.
pub(crate) fn refuse(reason: Reason, detail: &str) -> Refusal {
    Refusal {
        reason: reason.into(),
        detail: detail.to_owned(),
        ..Refusal::default()
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    match refusal.detail.as_str() {
        "" => refusal.reason().as_str_name().to_owned(),
        detail => detail.to_owned(),
    }
}

/// The membership as this member knows it.
#[derive(Debug, Default)]
struct Book {
    members: BTreeMap<u64, MemberInfo>,
    /// Log index of the committed membership; `None` before there is one.
    committed_index: Option<u64>,
    /// Whether this member was in a committed membership since it started.
    was_member: bool,
}

/// The way to all other members.
#[derive(Debug)]
pub(crate) struct Peers {
    me: u64,
    cluster_id: u64,
    transport: SharedTransport,
    book: RwLock<Book>,
    removed: watch::Sender<Option<String>>,
}

impl Peers {
    pub(crate) fn new(me: u64, cluster_id: u64, transport: SharedTransport) -> Self {
        Self {
            me,
            cluster_id,
            transport,
            book: RwLock::default(),
            removed: watch::Sender::new(None),
        }
    }

    /// The id of this member.
    pub(crate) fn me(&self) -> u64 {
        self.me
    }

    /// The id of the cluster.
    pub(crate) fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// Takes over a membership; `is_member` says whether the committed one has this member.
    pub(crate) fn learn(
        &self,
        members: Vec<MemberInfo>,
        committed_index: Option<u64>,
        is_member: bool,
    ) {
        let mut book = self.book.write();
        // A newcomer sees memberships of the time before it, so not to be in one means nothing.
        if book.was_member && !is_member {
            let (me, cluster) = (self.me, self.cluster_id);
            self.removed
                .send_replace(Some(removal(me, cluster, "its own log")));
        }
        book.was_member |= is_member;
        book.members = members
            .into_iter()
            .map(|member| (member.id, member))
            .collect();
        book.committed_index = committed_index;
    }

    /// Whether `id` is in the membership; anyone may be while there is none yet.
    pub(crate) fn knows(&self, id: u64) -> bool {
        let book = self.book.read();
        book.members.is_empty() || book.members.contains_key(&id)
    }

    /// The ids of the other members, in ascending order.
    pub(crate) fn others(&self) -> Vec<u64> {
        let book = self.book.read();
        let ids = book.members.keys().copied();
        ids.filter(|id| *id != self.me).collect()
    }

    /// Log index of the committed membership; zero when there is none.
    pub(crate) fn membership_index(&self) -> u64 {
        self.book.read().committed_index.unwrap_or(0)
    }

    /// Tells when this member turns out to have been removed, and why it thinks so.
    pub(crate) fn removal(&self) -> watch::Receiver<Option<String>> {
        self.removed.subscribe()
    }

    /// The envelope of a request.
    pub(crate) fn envelope(&self, to: u64, body: request::Body) -> Request {
        Request {
            cluster_id: self.cluster_id,
            from: self.me,
            to,
            body: Some(body),
        }
    }

    /// Asks one member.
    ///
    /// Cancel safe in that nothing is lost here; what was asked for may still happen.
    pub(crate) async fn ask(
        &self,
        to: u64,
        body: request::Body,
        timeout: Duration,
    ) -> Result<response::Body, AskError> {
        let member = self.member(to)?;
        let request = self.envelope(to, body);
        let response = self.transport.call(&member, request, timeout).await;
        let response = response.map_err(|source| AskError::Unreachable { to, source })?;
        self.open(to, response)
    }

    /// Opens a pipe to one member.
    pub(crate) async fn pipe(&self, to: u64) -> Result<Pipe, AskError> {
        let member = self.member(to)?;
        let pipe = self.transport.pipe(&member).await;
        pipe.map_err(|source| AskError::Unreachable { to, source })
    }

    /// Takes the answer out of its envelope.
    pub(crate) fn open(&self, from: u64, response: Response) -> Result<response::Body, AskError> {
        match response.body {
            Some(response::Body::Refusal(refusal)) => {
                self.consider(from, &refusal);
                Err(AskError::Refused { to: from, refusal })
            }
            Some(body) => Ok(body),
            None => Err(AskError::Unexpected(from)),
        }
    }

    fn member(&self, id: u64) -> Result<MemberInfo, AskError> {
        let member = self.book.read().members.get(&id).cloned();
        member.ok_or(AskError::Unknown(id))
    }

    /// A peer whose membership is newer than the last one this member was part of says that we are
    /// no member: then we were removed while we were away.
    fn consider(&self, from: u64, refusal: &Refusal) {
        if refusal.reason() != Reason::NotAMember {
            return;
        }
        let known = self.book.read().committed_index;
        if known.is_some_and(|known| refusal.membership_index > known) {
            let (me, cluster) = (self.me, self.cluster_id);
            let from = format!("member {from:x}");
            self.removed.send_replace(Some(removal(me, cluster, &from)));
        }
    }
}

fn removal(me: u64, cluster: u64, source: &str) -> String {
    format!(
        "member {me:x} was removed from cluster {cluster:x} ({source} says so) and cannot come \
         back under this identity: to use this machine again, add it with `handfast member add` \
         and start it with an empty data directory"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::BoxFuture;
    use std::sync::Arc;

    #[derive(Debug)]
    struct Refusing(Refusal);

    impl crate::peer::Transport for Refusing {
        fn call(
            &self,
            _: &MemberInfo,
            _: Request,
            _: Duration,
        ) -> BoxFuture<'static, Result<Response, Unreachable>> {
            let body = Some(response::Body::Refusal(self.0.clone()));
            Box::pin(async { Ok(Response { body }) })
        }

        fn pipe(&self, _: &MemberInfo) -> BoxFuture<'static, Result<Pipe, Unreachable>> {
            unreachable!("not asked for")
        }
    }

    fn peers(membership_index: u64) -> Peers {
        let refusal = Refusal {
            reason: Reason::NotAMember.into(),
            membership_index,
            ..Default::default()
        };
        let peers = Peers::new(1, 9, Arc::new(Refusing(refusal)));
        let member = |id| MemberInfo {
            id,
            ..Default::default()
        };
        peers.learn(vec![member(1), member(2)], Some(10), true);
        peers
    }

    fn question() -> request::Body {
        request::Body::ReadIndex(handfast_proto::peer::ReadIndex {})
    }

    #[tokio::test]
    async fn a_newer_membership_without_us_means_removal() {
        let peers = peers(11);
        let asked = peers.ask(2, question(), Duration::from_secs(1)).await;
        assert!(asked.unwrap_err().nothing_done());
        let told = peers.removal().borrow().clone().unwrap();
        assert!(told.contains("member 1 was removed"), "{told}");
    }

    #[test]
    fn a_member_learns_from_its_own_log_that_it_was_removed() {
        let peers = peers(0);
        let newcomer = Peers::new(3, 9, Arc::clone(&peers.transport));
        newcomer.learn(Vec::new(), Some(1), false);
        assert_eq!(*newcomer.removal().borrow(), None);
        peers.learn(Vec::new(), Some(11), false);
        assert!(peers.removal().borrow().is_some());
    }

    #[tokio::test]
    async fn an_older_membership_without_us_means_nothing() {
        let peers = peers(9);
        let asked = peers.ask(2, question(), Duration::from_secs(1)).await;
        assert!(asked.is_err());
        assert_eq!(*peers.removal().borrow(), None);
    }
}
