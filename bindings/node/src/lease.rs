//! A lease that is kept alive.
//!
//! Owns the native half of it.

use handfast_bindings::{lease::Kept, runtime::Local};
use napi::{
    Env,
    bindgen_prelude::{Either, Function, PromiseRaw},
};
use napi_derive::napi;

use crate::{
    cancel::CancelToken,
    crossing::{cancellable, no_threads, notify, promise},
    errors::NativeError,
    values::NativeLeaseInfo,
};

/// A lease, renewed until it is stopped, revoked or collected.
#[napi]
pub struct NativeLease(Local<Kept>);

impl From<Kept> for NativeLease {
    fn from(kept: Kept) -> Self {
        Self(Local::new(kept))
    }
}

impl NativeLease {
    fn kept(&self) -> napi::Result<&Kept> {
        self.0.get().map_err(no_threads)
    }
}

#[napi]
impl NativeLease {
    #[napi(getter)]
    pub fn id(&self) -> napi::Result<String> {
        Ok(handfast::core::session::lease_hex(self.kept()?.id()))
    }

    /// Seconds, as they were granted.
    #[napi(getter)]
    pub fn ttl(&self) -> napi::Result<i64> {
        Ok(self.kept()?.ttl())
    }

    #[napi]
    pub fn stop(&self) -> napi::Result<()> {
        self.kept()?.stop();
        Ok(())
    }

    #[napi]
    pub fn revoke<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        promise(env, self.kept()?.revoke())
    }

    #[napi]
    pub fn time_to_live<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeLeaseInfo, NativeError>>> {
        let asked = self.kept()?.time_to_live();
        cancellable(env, token, async move {
            Ok(NativeLeaseInfo::from(asked.await?))
        })
    }

    /// Calls `callback` when the renewal found the lease gone. Never when it was stopped.
    #[napi]
    pub fn on_lost(&self, callback: Function<'_, (), ()>) -> napi::Result<()> {
        let lost = self.kept()?.lost();
        let told = async move {
            lost.await;
            Some(())
        };
        notify(&callback, told, |()| ())
    }
}
