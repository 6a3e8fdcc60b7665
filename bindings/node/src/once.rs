//! Work that is done once, by JavaScript.
//!
//! Owns the crossing: the code runs where it was asked for.

use std::sync::{Mutex, PoisonError};

use handfast::OnceResult;
use handfast_bindings::{
    Failure,
    once::{self, Step, Work},
    runtime::Local,
};
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
};

#[napi(object)]
pub struct OnceOptions {
    pub input: Option<Buffer>,
    pub timeout_ms: Option<f64>,
}

#[napi(object)]
pub struct NativeOnceResult {
    pub value: Buffer,
    pub revision: i64,
    pub ran: bool,
}

impl From<OnceResult> for NativeOnceResult {
    fn from(result: OnceResult) -> Self {
        Self {
            value: Vec::from(result.value).into(),
            revision: result.revision,
            ran: result.ran,
        }
    }
}

/// A result, or the work with what is held for it.
#[napi(object, object_from_js = false)]
pub struct NativeOnceStep {
    pub result: Option<NativeOnceResult>,
    pub holding: Option<NativeHolding>,
    pub work: Option<NativeOnceWork>,
}

/// Work that the caller does; given up when collected.
#[napi]
pub struct NativeOnceWork(Local<Mutex<Option<Work>>>);

impl NativeOnceWork {
    fn take(&self) -> napi::Result<Option<Work>> {
        let work = self.0.get().map_err(no_threads)?;
        Ok(work.lock().unwrap_or_else(PoisonError::into_inner).take())
    }
}

#[napi]
impl NativeOnceWork {
    /// Puts the result.
    #[napi]
    pub fn finish<'env>(
        &self,
        env: &'env Env,
        value: Buffer,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeOnceResult, NativeError>>> {
        let (work, value) = (self.take()?, value.to_vec());
        promise(env, async move {
            let work = work.ok_or_else(|| Failure::closed("work"))?;
            Ok(NativeOnceResult::from(work.finish(value).await?))
        })
    }

    /// Leaves the work to others.
    #[napi]
    pub fn abandon(&self) -> napi::Result<()> {
        drop(Local::new(self.take()?));
        Ok(())
    }
}

fn named(
    client: &NativeClient,
    name: &Buffer,
    options: &OnceOptions,
) -> Result<handfast::Once, Failure> {
    let mut once = client.handfast()?.once(bytes(name));
    if let Some(input) = &options.input {
        once = once.input(bytes(input));
    }
    if let Some(timeout) = options.timeout_ms {
        once = once.timeout(span("timeoutMs", timeout)?);
    }
    Ok(once)
}

#[napi]
impl NativeClient {
    /// The result of `name`, or the right to do the work.
    #[napi]
    pub fn once_begin<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
        options: OnceOptions,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeOnceStep, NativeError>>> {
        let once = named(self, &name, &options);
        waiting(env, token, &self.open, async move {
            Ok(match once::begin(once?).await? {
                Step::Done(result) => NativeOnceStep {
                    result: Some(result.into()),
                    holding: None,
                    work: None,
                },
                Step::Work(tenure, work) => NativeOnceStep {
                    result: None,
                    holding: Some(NativeHolding::of(tenure)),
                    work: Some(NativeOnceWork(Local::new(Mutex::new(Some(work))))),
                },
            })
        })
    }

    /// The result, if there is one.
    #[napi]
    pub fn once_get<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
        options: OnceOptions,
    ) -> napi::Result<PromiseRaw<'env, Either<Option<NativeOnceResult>, NativeError>>> {
        let once = named(self, &name, &options);
        cancellable(env, token, async move {
            Ok(once?.get().await?.map(NativeOnceResult::from))
        })
    }

    /// The result as soon as somebody has it.
    #[napi]
    pub fn once_wait<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
        options: OnceOptions,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeOnceResult, NativeError>>> {
        let once = named(self, &name, &options);
        let limit = options.timeout_ms.map(|limit| span("timeoutMs", limit));
        waiting(env, token, &self.open, async move {
            let once = once?;
            let result = match limit.transpose()? {
                None => once.wait().await,
                Some(limit) => tokio::time::timeout(limit, once.wait())
                    .await
                    .map_err(|_| Failure::timeout("there is no result", limit))?,
            };
            Ok(NativeOnceResult::from(result?))
        })
    }

    /// Whether there was a result to forget.
    #[napi]
    pub fn once_forget<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        name: Buffer,
        options: OnceOptions,
    ) -> napi::Result<PromiseRaw<'env, Either<bool, NativeError>>> {
        let once = named(self, &name, &options);
        cancellable(env, token, async move { Ok(once?.forget().await?) })
    }
}
