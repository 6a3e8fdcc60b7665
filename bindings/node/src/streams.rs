//! Watches and observers: values that keep coming.
//!
//! Owns the native half of their iterators.

use handfast::{Observer, core::WatchStream};
use handfast_bindings::{Cancel, Feed, runtime::Local};
use napi::{
    Env,
    bindgen_prelude::{Either, PromiseRaw},
};
use napi_derive::napi;

use crate::{
    cancel::CancelToken,
    crossing::{no_threads, waiting},
    errors::NativeError,
    values::{NativeChanges, NativeLeader},
};

/// Changes of keys.
#[napi]
pub struct NativeWatch {
    feed: Local<Feed<WatchStream>>,
    open: Cancel,
}

impl NativeWatch {
    pub(crate) fn new(stream: WatchStream, open: Cancel) -> Self {
        Self {
            feed: Local::new(Feed::new(stream)),
            open,
        }
    }
}

#[napi]
impl NativeWatch {
    /// The next changes; nothing after the last, or when it was closed.
    #[napi]
    pub fn next<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Either<Option<NativeChanges>, NativeError>>> {
        let next = self.feed.get().map_err(no_threads)?.next(None);
        waiting(env, token, &self.open, async move {
            Ok(next.await?.map(NativeChanges::from))
        })
    }

    #[napi]
    pub fn close(&self) -> napi::Result<()> {
        self.feed.get().map_err(no_threads)?.close();
        Ok(())
    }
}

/// What an observer tells: a leader, or that there is none.
#[napi(object)]
pub struct NativeReign {
    pub leader: Option<NativeLeader>,
}

/// Leaders of an election.
#[napi]
pub struct NativeObserver {
    feed: Local<Feed<Observer>>,
    open: Cancel,
}

impl NativeObserver {
    pub(crate) fn new(observer: Observer, open: Cancel) -> Self {
        Self {
            feed: Local::new(Feed::new(observer)),
            open,
        }
    }
}

#[napi]
impl NativeObserver {
    /// The next one; nothing when it was closed.
    #[napi]
    pub fn next<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Either<Option<NativeReign>, NativeError>>> {
        let next = self.feed.get().map_err(no_threads)?.next(None);
        waiting(env, token, &self.open, async move {
            let told = next.await?;
            Ok(told.map(|leader| NativeReign {
                leader: leader.map(NativeLeader::from),
            }))
        })
    }

    #[napi]
    pub fn close(&self) -> napi::Result<()> {
        self.feed.get().map_err(no_threads)?.close();
        Ok(())
    }
}

/// A callback that is called until this stops it, or what it is about is closed.
#[napi]
pub struct NativeListening(pub(crate) Cancel);

#[napi]
impl NativeListening {
    #[napi]
    pub fn stop(&self) {
        self.0.cancel();
    }
}
