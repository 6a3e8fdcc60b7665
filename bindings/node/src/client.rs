//! The client: keys and values, and the door to the recipes.
//!
//! Owns the handle and its being closed. What the calls mean is said in TypeScript.

use std::time::Duration;

use handfast::{
    Handfast, TryLock,
    core::{Client, WatchOptions},
};
use handfast_bindings::{Cancel, Failure, Guard, feed, lease::Kept, runtime, runtime::Local};
use napi::{
    Env,
    bindgen_prelude::{Buffer, Either, FnArgs, Function, PromiseRaw},
};
use napi_derive::napi;

use crate::{
    cancel::CancelToken,
    crossing::{cancellable, no_threads, on_wait, promise, waiting},
    errors::NativeError,
    holding::NativeHolding,
    lease::NativeLease,
    options::{
        self, ClientOptions, ElectionOptions, LockOptions, RangeOptions, WatchSettings, bytes,
    },
    request::NativeRequest,
    session::NativeSession,
    streams::{NativeObserver, NativeWatch},
    values::{
        NativeDelete, NativeLeader, NativeLine, NativeMember, NativePut, NativeRange, NativeTxn,
        NativeWaiting,
    },
};

/// A client of one cluster, with one session for all that it holds.
#[napi]
pub struct NativeClient {
    handfast: Local<Handfast>,
    /// Pulled when it is closed.
    pub(crate) open: Cancel,
}

impl NativeClient {
    pub(crate) fn handfast(&self) -> Result<Handfast, Failure> {
        if self.open.is_cancelled() {
            return Err(Failure::closed("client"));
        }
        Ok(self.handfast.get()?.clone())
    }

    fn core(&self) -> Result<Client, Failure> {
        Ok(self.handfast()?.client().clone())
    }

    fn named_lock(&self, name: &Buffer, options: &LockOptions) -> Result<handfast::Lock, Failure> {
        options.apply(self.handfast()?.lock(bytes(name)))
    }

    fn named_election(
        &self,
        name: &Buffer,
        options: &ElectionOptions,
    ) -> Result<handfast::Election, Failure> {
        options.apply(self.handfast()?.election(bytes(name)))
    }
}

/// What a try without waiting came to.
#[napi(object, object_from_js = false)]
pub struct NativeTried {
    pub holding: Option<NativeHolding>,
    pub holder: Option<NativeMember>,
}

/// No input or output: an unreachable cluster shows at the first call.
#[napi]
pub fn open_client(options: ClientOptions) -> Either<NativeClient, NativeError> {
    match options.build() {
        Ok(handfast) => Either::A(NativeClient {
            handfast: Local::new(handfast),
            open: Cancel::new(),
        }),
        Err(failure) => Either::B(failure.into()),
    }
}

#[napi]
impl NativeClient {
    /// Gives up everything held, and refuses further calls.
    #[napi]
    pub fn close<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let handfast = self.handfast.get().map_err(no_threads)?.clone();
        self.open.cancel();
        promise(env, async move { Ok(handfast.close().await?) })
    }

    /// As `close`, for the end of the process: waits here, for at most `limit_ms`.
    #[napi]
    pub fn close_now(&self, limit_ms: u32) -> napi::Result<()> {
        let handfast = self.handfast.get().map_err(no_threads)?.clone();
        self.open.cancel();
        let limit = Duration::from_millis(limit_ms.into());
        let closing = async move { tokio::time::timeout(limit, handfast.close()).await };
        // Nobody is left to tell: what was not given back ends after the TTL.
        let _ = runtime::handle().map_err(no_threads)?.block_on(closing);
        Ok(())
    }

    /// Reports that the program goes on, if it is to.
    #[napi]
    pub fn beat(&self) -> Option<NativeError> {
        let beaten = self.handfast().and_then(|handfast| Ok(handfast.beat()?));
        beaten.err().map(NativeError::from)
    }

    /// The session, which is opened if need be.
    #[napi]
    pub fn session(&self) -> napi::Result<Either<NativeSession, NativeError>> {
        let runtime = runtime::handle().map_err(no_threads)?;
        let _inside = runtime.enter();
        let opened = self.handfast().and_then(|handfast| Ok(handfast.session()?));
        Ok(match opened {
            Ok(session) => Either::A(NativeSession::new(session, self.open.clone())),
            Err(failure) => Either::B(failure.into()),
        })
    }

    /// Reads `key`, the keys up to `end`, or those that start with it.
    #[napi]
    pub fn range<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        key: Buffer,
        options: RangeOptions,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeRange, NativeError>>> {
        let read = self.core().map(|client| {
            let mut read = client.range(bytes(&key));
            read = read.limit(options.limit.unwrap_or(0));
            read = read.revision(options.revision.unwrap_or(0));
            if options.prefix == Some(true) {
                read = read.prefix();
            }
            if let Some(end) = &options.end {
                read = read.range_end(bytes(end));
            }
            if options.keys_only == Some(true) {
                read = read.keys_only();
            }
            read
        });
        cancellable(
            env,
            token,
            async move { Ok(NativeRange::from(read?.await?)) },
        )
    }

    #[napi]
    pub fn put<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        key: Buffer,
        value: Buffer,
        lease: String,
        previous: bool,
    ) -> napi::Result<PromiseRaw<'env, Either<NativePut, NativeError>>> {
        let put = self.core().and_then(|client| {
            let lease = options::lease(&lease)?;
            let put = client.put(bytes(&key), bytes(&value)).lease(lease);
            Ok(if previous { put.prev_kv() } else { put })
        });
        cancellable(env, token, async move { Ok(NativePut::from(put?.await?)) })
    }

    #[napi]
    pub fn delete<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        key: Buffer,
        prefix: bool,
        previous: bool,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeDelete, NativeError>>> {
        let delete = self.core().map(|client| {
            let mut delete = client.delete(bytes(&key));
            if prefix {
                delete = delete.prefix();
            }
            if previous {
                delete = delete.prev_kv();
            }
            delete
        });
        cancellable(
            env,
            token,
            async move { Ok(NativeDelete::from(delete?.await?)) },
        )
    }

    #[napi]
    pub fn txn<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        request: NativeRequest,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeTxn, NativeError>>> {
        let txn = self.core().and_then(|client| {
            let request = request.read()?;
            let txn = client.txn().when(request.when);
            Ok(txn.then(request.then).otherwise(request.otherwise))
        });
        cancellable(env, token, async move {
            Ok(NativeTxn::from(txn?.commit().await?))
        })
    }

    /// Discards the history before `revision`.
    #[napi]
    pub fn compact<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        revision: i64,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let client = self.core();
        cancellable(env, token, async move {
            client?.compact(revision, true).await?;
            Ok(())
        })
    }

    #[napi]
    pub fn lease<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        ttl: i64,
        keep: bool,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeLease, NativeError>>> {
        let client = self.core();
        cancellable(env, token, async move {
            Ok(NativeLease::from(Kept::grant(client?, ttl, keep).await?))
        })
    }

    /// A watch, once it is in place.
    #[napi]
    pub fn watch<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        key: Buffer,
        settings: WatchSettings,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeWatch, NativeError>>> {
        let mut options = match settings.prefix {
            Some(true) => WatchOptions::prefix(bytes(&key)),
            _ => WatchOptions::key(bytes(&key)),
        };
        options = options.start_revision(settings.start_revision.unwrap_or(0));
        if settings.previous == Some(true) {
            options = options.prev_kv();
        }
        let (client, open) = (self.core(), self.open.clone());
        cancellable(env, token, async move {
            let stream = feed::open_watch(&client?, options).await?;
            Ok(NativeWatch::new(stream, open))
        })
    }

    #[napi]
    pub fn lock<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
        options: LockOptions,
        waits: Option<Function<'_, FnArgs<(NativeWaiting,)>, ()>>,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeHolding, NativeError>>> {
        let told = on_wait(waits)?;
        let lock = self.named_lock(&name, &options);
        waiting(env, token, &self.open, async move {
            let mut lock = lock?;
            if let Some(told) = told {
                lock = lock.on_wait(told);
            }
            Ok(NativeHolding::from(Guard::Lock(lock.acquire().await?)))
        })
    }

    #[napi]
    pub fn try_lock<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
        options: LockOptions,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeTried, NativeError>>> {
        let lock = self.named_lock(&name, &options);
        waiting(env, token, &self.open, async move {
            Ok(match lock?.try_acquire().await? {
                TryLock::Acquired(guard) => NativeTried {
                    holding: Some(NativeHolding::from(Guard::Lock(guard))),
                    holder: None,
                },
                TryLock::Held(holder) => NativeTried {
                    holding: None,
                    holder: Some((*holder).into()),
                },
            })
        })
    }

    /// Everybody at a lock, the holder first.
    #[napi]
    pub fn lock_line<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeLine, NativeError>>> {
        let lock = self.handfast().map(|handfast| handfast.lock(bytes(&name)));
        cancellable(env, token, async move {
            Ok(NativeLine::from(lock?.look().await?))
        })
    }

    /// Takes the lock away from its holder.
    #[napi]
    pub fn break_lock<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
        why: String,
    ) -> napi::Result<PromiseRaw<'env, Either<Option<NativeMember>, NativeError>>> {
        let lock = self.handfast().map(|handfast| handfast.lock(bytes(&name)));
        cancellable(env, token, async move {
            Ok(lock?.break_holder(&why).await?.map(NativeMember::from))
        })
    }

    #[napi]
    pub fn campaign<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
        options: ElectionOptions,
        waits: Option<Function<'_, FnArgs<(NativeWaiting,)>, ()>>,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeHolding, NativeError>>> {
        let told = on_wait(waits)?;
        let election = self.named_election(&name, &options);
        waiting(env, token, &self.open, async move {
            let mut election = election?;
            if let Some(told) = told {
                election = election.on_wait(told);
            }
            let leadership = election.campaign().await?;
            Ok(NativeHolding::from(Guard::Leadership(leadership)))
        })
    }

    #[napi]
    pub fn leader<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
    ) -> napi::Result<PromiseRaw<'env, Either<Option<NativeLeader>, NativeError>>> {
        let election = self
            .handfast()
            .map(|handfast| handfast.election(bytes(&name)));
        cancellable(env, token, async move {
            Ok(election?.leader().await?.map(NativeLeader::from))
        })
    }

    /// Everybody at an election, the leader first.
    #[napi]
    pub fn candidates<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeLine, NativeError>>> {
        let election = self
            .handfast()
            .map(|handfast| handfast.election(bytes(&name)));
        cancellable(env, token, async move {
            Ok(NativeLine::from(election?.candidates().await?))
        })
    }

    /// Takes the leadership away from whoever has it.
    #[napi]
    pub fn break_leader<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
        why: String,
    ) -> napi::Result<PromiseRaw<'env, Either<Option<NativeMember>, NativeError>>> {
        let election = self
            .handfast()
            .map(|handfast| handfast.election(bytes(&name)));
        cancellable(env, token, async move {
            Ok(election?.break_leader(&why).await?.map(NativeMember::from))
        })
    }

    #[napi]
    pub fn observe<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeObserver, NativeError>>> {
        let election = self
            .handfast()
            .map(|handfast| handfast.election(bytes(&name)));
        let open = self.open.clone();
        cancellable(env, token, async move {
            Ok(NativeObserver::new(election?.observe().await?, open))
        })
    }
}
