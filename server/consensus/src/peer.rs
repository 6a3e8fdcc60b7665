//! The seam between a member and the wire: how requests reach other members.
//!
//! Owns the trait that a transport implements and the errors it may answer with. Knows neither
//! gRPC nor sockets, so that a simulation can put its own network in their place.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use handfast_proto::{
    command::MemberInfo,
    peer::{Request, Response},
};
use tokio::sync::mpsc;

/// Requests that may wait in a [`Pipe`] before its sender has to wait.
pub const PIPE_DEPTH: usize = 64;

/// Carries messages to other members. It looks up where `to` is in `to.peer_urls`, tries each of
/// them, and keeps connections between calls.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends one request and waits for its answer, `timeout` at the longest.
    ///
    /// An error means that nobody knows whether the request was carried out, unless
    /// [`Unreachable::certain`] says that it was not.
    fn call(
        &self,
        to: &MemberInfo,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Response, Unreachable>>;

    /// Opens a pipe for pipelined requests; their answers come in the same order.
    fn pipe(&self, to: &MemberInfo) -> BoxFuture<'static, Result<Pipe, Unreachable>>;
}

/// A shared [`Transport`].
pub type SharedTransport = Arc<dyn Transport>;

/// Both ends of a pipe to another member. Dropping either end closes it.
#[derive(Debug)]
pub struct Pipe {
    /// Requests, in order.
    pub requests: mpsc::Sender<Request>,
    /// Their answers; ends after an error.
    pub responses: mpsc::Receiver<Result<Response, Unreachable>>,
}

/// A member did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Unreachable {
    /// What happened, in words.
    pub detail: String,
    /// Whether it is certain that the request never reached the member.
    pub certain: bool,
}
