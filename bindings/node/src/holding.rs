//! A lock that is held, or a leadership.
//!
//! Owns the native half of it, which gives it back when released or collected.

use handfast::AckTxn;
use handfast_bindings::{Failure, Guard, Holding, runtime::Local};
use napi::{
    Env,
    bindgen_prelude::{Buffer, Either, FnArgs, Function, PromiseRaw},
};
use napi_derive::napi;

use crate::{
    cancel::CancelToken,
    crossing::{arguments, cancellable, notify, promise},
    errors::NativeError,
    options,
    request::{NativeOp, NativeRequest, op},
    values::NativeTxn,
};

/// A lock or leadership that is held until it is released, lost or collected.
#[napi]
pub struct NativeHolding(Local<Holding>);

impl From<Guard> for NativeHolding {
    fn from(guard: Guard) -> Self {
        Self(Local::new(guard.into()))
    }
}

impl NativeHolding {
    /// Something that is held, and given back by somebody else.
    pub(crate) fn of(tenure: handfast::Tenure) -> Self {
        Self(Local::new(Holding::of(tenure)))
    }

    fn held(&self) -> napi::Result<&Holding> {
        self.0.get().map_err(crate::crossing::no_threads)
    }

    /// The acknowledgement of an item, with the writes of `then`; the claim is taken for it.
    pub(crate) fn ack_with(&self, then: &[NativeOp]) -> napi::Result<Result<AckTxn, Failure>> {
        let claim = self.held()?.take_claim();
        let ops = then.iter().map(op).collect::<Result<Vec<_>, _>>();
        Ok(claim.and_then(|claim| Ok(claim.ack().then(ops?))))
    }
}

#[napi]
impl NativeHolding {
    /// Says that work relies on it, until it is released or abandoned.
    #[napi]
    pub fn enter(&self) -> napi::Result<()> {
        self.held()?.enter();
        Ok(())
    }

    #[napi(getter)]
    pub fn name(&self) -> napi::Result<Buffer> {
        Ok(self.held()?.tenure().name().to_vec().into())
    }

    #[napi(getter)]
    pub fn key(&self) -> napi::Result<Buffer> {
        Ok(self.held()?.tenure().key().to_vec().into())
    }

    #[napi(getter)]
    pub fn token(&self) -> napi::Result<i64> {
        Ok(self.held()?.tenure().token())
    }

    #[napi(getter)]
    pub fn lease(&self) -> napi::Result<String> {
        let lease = self.held()?.tenure().lease();
        Ok(handfast::core::session::lease_hex(lease))
    }

    #[napi(getter)]
    pub fn previous_died(&self) -> napi::Result<bool> {
        Ok(self.held()?.tenure().previous_died())
    }

    /// Why it is lost; nothing while it is held. No input or output.
    #[napi]
    pub fn check(&self) -> napi::Result<Option<NativeError>> {
        let checked = self.held()?.tenure().check();
        Ok(checked.err().map(|error| Failure::from(error).into()))
    }

    #[napi(getter)]
    pub fn remaining_ms(&self) -> napi::Result<f64> {
        Ok(self.held()?.tenure().remaining().as_secs_f64() * 1000.0)
    }

    /// Reports that the work goes on.
    #[napi]
    pub fn beat(&self) -> napi::Result<Option<NativeError>> {
        let beaten = self.held()?.tenure().beat();
        Ok(beaten.err().map(|error| Failure::from(error).into()))
    }

    /// Calls `callback` when it is lost, but not when it was given back here.
    #[napi]
    pub fn on_lost(&self, callback: Function<'_, FnArgs<(NativeError,)>, ()>) -> napi::Result<()> {
        let tenure = self.held()?.tenure().clone();
        let lost = async move {
            let reason = tenure.lost().await;
            if reason == handfast::LostReason::Released {
                return None;
            }
            tenure.check().err().map(Failure::from)
        };
        notify(&callback, lost, |failure| arguments((failure.into(),)))
    }

    /// Gives it back; does nothing at the second time.
    #[napi]
    pub fn release<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        promise(env, self.held()?.release())
    }

    /// Gives it back in the background.
    #[napi]
    pub fn abandon(&self) -> napi::Result<()> {
        self.held()?.abandon();
        Ok(())
    }

    /// Announces another value as the leader.
    #[napi]
    pub fn proclaim<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        value: Buffer,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let tenure = self.held()?.tenure().clone();
        let value = options::bytes(&value);
        cancellable(env, token, async move { Ok(tenure.proclaim(value).await?) })
    }

    /// A transaction that is refused when this is not held any more.
    #[napi]
    pub fn txn<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        request: NativeRequest,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeTxn, NativeError>>> {
        let txn = self.held()?.tenure().txn();
        let request = request.read();
        cancellable(env, token, async move {
            let request = request?;
            let txn = txn
                .when(request.when)
                .then(request.then)
                .otherwise(request.otherwise);
            Ok(NativeTxn::from(txn.commit().await?))
        })
    }

    /// Acknowledges an item, with the writes of `then`; the revision. Of a claim only.
    #[napi]
    pub fn ack<'env>(
        &self,
        env: &'env Env,
        then: Vec<NativeOp>,
    ) -> napi::Result<PromiseRaw<'env, Either<i64, NativeError>>> {
        let ack = self.ack_with(&then)?;
        promise(env, async move { Ok(ack?.commit().await?.revision) })
    }

    /// Gives an item back as failed; whether it is dead now. Of a claim only.
    #[napi]
    pub fn nack<'env>(
        &self,
        env: &'env Env,
        why: String,
    ) -> napi::Result<PromiseRaw<'env, Either<bool, NativeError>>> {
        let claim = self.held()?.take_claim();
        promise(env, async move {
            let failed = claim?.nack(why).await?;
            Ok(matches!(failed, handfast::Failed::Dead))
        })
    }
}
