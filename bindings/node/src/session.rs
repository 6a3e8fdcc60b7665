//! The session that all recipes of a client share.
//!
//! Owns the native half of looking at it.

use handfast::{Session, State};
use handfast_bindings::{Cancel, Feed, runtime::Local};
use napi::{
    Env,
    bindgen_prelude::{Either, FnArgs, Function, PromiseRaw},
};
use napi_derive::napi;
use tokio::sync::watch;

use crate::{
    cancel::CancelToken,
    crossing::{arguments, no_threads, notify_each, waiting},
    errors::NativeError,
};

/// What the session is in.
#[napi(object)]
pub struct NativeState {
    pub code: String,
    pub remaining_ms: Option<f64>,
    /// Why it is lost: a word, and a text for people.
    pub reason: Option<String>,
    pub message: Option<String>,
}

impl From<State> for NativeState {
    fn from(state: State) -> Self {
        let code = state.code().to_owned();
        let remaining = match &state {
            State::Suspended { remaining } | State::Expiring { remaining } => Some(*remaining),
            _ => None,
        };
        let lost = match &state {
            State::Lost { reason } => Some(reason),
            _ => None,
        };
        Self {
            code,
            remaining_ms: remaining.map(|it| it.as_secs_f64() * 1000.0),
            reason: lost.map(|reason| reason.code().to_owned()),
            message: lost.map(ToString::to_string),
        }
    }
}

/// One session, over all of its leases.
#[napi]
pub struct NativeSession {
    session: Local<Session>,
    open: Cancel,
}

impl NativeSession {
    pub(crate) fn new(session: Session, open: Cancel) -> Self {
        Self {
            session: Local::new(session),
            open,
        }
    }

    fn session(&self) -> napi::Result<&Session> {
        self.session.get().map_err(no_threads)
    }
}

#[napi]
impl NativeSession {
    /// As of this moment. No input or output.
    #[napi(getter)]
    pub fn state(&self) -> napi::Result<NativeState> {
        Ok(self.session()?.state().into())
    }

    #[napi(getter)]
    pub fn remaining_ms(&self) -> napi::Result<f64> {
        Ok(self.session()?.remaining().as_secs_f64() * 1000.0)
    }

    #[napi(getter)]
    pub fn lease(&self) -> napi::Result<Option<String>> {
        let lease = self.session()?.lease();
        Ok(lease.map(handfast::core::session::lease_hex))
    }

    /// Calls `callback` with each change of the state; does not hold the process open.
    #[napi]
    pub fn on_state(&self, callback: Function<'_, FnArgs<(NativeState,)>, ()>) -> napi::Result<()> {
        let states = self.session()?.watch();
        notify_each(&callback, states, |state| arguments((state.into(),)))
    }

    /// The states from now on.
    #[napi]
    pub fn states(&self) -> napi::Result<NativeStates> {
        Ok(NativeStates {
            feed: Local::new(Feed::new(self.session()?.watch())),
            open: self.open.clone(),
        })
    }
}

/// Changes of the session's state; those that came and went unseen in between are left out.
#[napi]
pub struct NativeStates {
    feed: Local<Feed<watch::Receiver<State>>>,
    open: Cancel,
}

#[napi]
impl NativeStates {
    #[napi]
    pub fn next<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Either<Option<NativeState>, NativeError>>> {
        let next = self.feed.get().map_err(no_threads)?.next(None);
        waiting(env, token, &self.open, async move {
            Ok(next.await?.map(NativeState::from))
        })
    }

    #[napi]
    pub fn close(&self) -> napi::Result<()> {
        self.feed.get().map_err(no_threads)?.close();
        Ok(())
    }
}
