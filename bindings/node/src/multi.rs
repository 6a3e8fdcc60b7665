//! Several locks that are acquired together.
//!
//! Owns the crossing.

use handfast::{MultiGuard, MultiLock, TryMulti};
use handfast_bindings::{Failure, Guard};
use napi::{
    Env,
    bindgen_prelude::{Buffer, Either, FnArgs, Function, PromiseRaw},
};
use napi_derive::napi;

use crate::{
    cancel::CancelToken,
    client::NativeClient,
    crossing::{on_wait, waiting},
    errors::NativeError,
    holding::NativeHolding,
    options::{LockOptions, bytes},
    values::{NativeMember, NativeWaiting},
};

/// Locks that are held, or who holds one of them.
#[napi(object, object_from_js = false)]
pub struct NativeMulti {
    pub holding: Option<NativeHolding>,
    pub names: Vec<Buffer>,
    /// The names whose holder before died.
    pub died: Vec<Buffer>,
    pub holder: Option<NativeMember>,
}

impl From<MultiGuard> for NativeMulti {
    fn from(guard: MultiGuard) -> Self {
        Self {
            names: guard.names().iter().map(|it| it.to_vec().into()).collect(),
            died: guard.died().iter().map(|it| it.to_vec().into()).collect(),
            holding: Some(Guard::Multi(guard).into()),
            holder: None,
        }
    }
}

fn locks(
    client: &NativeClient,
    names: &[Buffer],
    options: &LockOptions,
) -> Result<MultiLock, Failure> {
    let names = names.iter().map(bytes);
    options.apply_multi(client.handfast()?.multi_lock(names))
}

#[napi]
impl NativeClient {
    #[napi]
    pub fn multi_lock<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        names: Vec<Buffer>,
        options: LockOptions,
        waits: Option<Function<'_, FnArgs<(NativeWaiting,)>, ()>>,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeMulti, NativeError>>> {
        let told = on_wait(waits)?;
        let locks = locks(self, &names, &options);
        waiting(env, token, &self.open, async move {
            let mut locks = locks?;
            if let Some(told) = told {
                locks = locks.on_wait(told);
            }
            Ok(NativeMulti::from(locks.acquire().await?))
        })
    }

    #[napi]
    pub fn try_multi_lock<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        names: Vec<Buffer>,
        options: LockOptions,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeMulti, NativeError>>> {
        let locks = locks(self, &names, &options);
        waiting(env, token, &self.open, async move {
            Ok(match locks?.try_acquire().await? {
                TryMulti::Acquired(guard) => guard.into(),
                TryMulti::Held { holder, .. } => NativeMulti {
                    holding: None,
                    names: Vec::new(),
                    died: Vec::new(),
                    holder: Some((*holder).into()),
                },
            })
        })
    }
}
