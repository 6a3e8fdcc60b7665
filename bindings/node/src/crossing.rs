//! From a Rust future to a promise, and from a Rust event to a callback.
//!
//! Owns where futures run, and what happens when they are cancelled or panic. A promise holds the
//! process open while it is pending, a callback does not. Futures are boxed before others are put
//! around them: each layer would hold them twice, and move them when it begins.

use handfast::Waiting;
use handfast_bindings::{Cancel, Failure, cancel::caught, feed::Source, runtime};
use napi::{
    Env, Status,
    bindgen_prelude::{Either, FnArgs, Function, JsValuesTupleIntoVec, PromiseRaw, ToNapiValue},
    threadsafe_function::ThreadsafeFunctionCallMode,
};

use crate::{cancel::CancelToken, errors::NativeError, lane, values::NativeWaiting};

/// A promise of what `work` gives. It is not cancelled.
pub(crate) fn promise<'env, T, F>(
    env: &'env Env,
    work: F,
) -> napi::Result<PromiseRaw<'env, Either<T, NativeError>>>
where
    T: ToNapiValue + Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let runtime = runtime::handle().map_err(no_threads)?;
    let (deferred, promise) = lane::promise(env)?;
    let work = Box::pin(work);
    runtime.spawn(async move {
        let done = caught(work).await;
        deferred.resolve(move || match done {
            Ok(value) => Either::A(value),
            Err(failure) => Either::B(NativeError::from(failure)),
        });
    });
    Ok(promise)
}

/// A promise of what `work` gives; `work` is dropped when the token is pulled.
pub(crate) fn cancellable<'env, T, F>(
    env: &'env Env,
    token: &CancelToken,
    work: F,
) -> napi::Result<PromiseRaw<'env, Either<T, NativeError>>>
where
    T: ToNapiValue + Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let (cancel, work) = (token.0.clone(), Box::pin(work));
    promise(env, async move {
        cancel.run(work).await.unwrap_or_else(|| {
            // TypeScript has rejected with the signal's reason already.
            Err(Failure::new("CANCELLED", "the call was cancelled"))
        })
    })
}

/// As [`cancellable`], for a wait that also ends when the client is closed.
pub(crate) fn waiting<'env, T, F>(
    env: &'env Env,
    token: &CancelToken,
    open: &Cancel,
    work: F,
) -> napi::Result<PromiseRaw<'env, Either<T, NativeError>>>
where
    T: ToNapiValue + Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    until_closed(env, token, (open, "client"), work)
}

/// As [`cancellable`], for a wait that also ends when what it is about is closed.
pub(crate) fn until_closed<'env, T, F>(
    env: &'env Env,
    token: &CancelToken,
    (open, what): (&Cancel, &'static str),
    work: F,
) -> napi::Result<PromiseRaw<'env, Either<T, NativeError>>>
where
    T: ToNapiValue + Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let (open, work) = (open.clone(), Box::pin(work));
    cancellable(env, token, async move {
        let done = open.run(work).await;
        done.unwrap_or_else(|| Err(Failure::closed(what)))
    })
}

/// Calls `callback` with what `event` gives, once, on Node's thread. Does not hold the process
/// open: if it ends before, nobody is told.
pub(crate) fn notify<T, A, F>(
    callback: &Function<'_, A, ()>,
    event: F,
    convert: impl Fn(T) -> A + Send + 'static,
) -> napi::Result<()>
where
    T: Send + 'static,
    A: JsValuesTupleIntoVec + 'static,
    F: Future<Output = Option<T>> + Send + 'static,
{
    let call = callback
        .build_threadsafe_function::<T>()
        .weak::<true>()
        .build_callback(move |context| Ok(convert(context.value)))?;
    runtime::handle().map_err(no_threads)?.spawn(async move {
        if let Some(value) = event.await {
            // Only fails when Node's thread has ended: then there is nobody to tell.
            call.call(value, ThreadsafeFunctionCallMode::NonBlocking);
        }
    });
    Ok(())
}

/// What tells `callback` of the place in line, if there is one to tell. As [`notify`].
pub(crate) fn on_wait(
    callback: Option<Function<'_, FnArgs<(NativeWaiting,)>, ()>>,
) -> napi::Result<Option<impl Fn(&Waiting) + Send + Sync + 'static>> {
    let Some(callback) = callback else {
        return Ok(None);
    };
    let call = callback
        .build_threadsafe_function::<Waiting>()
        .weak::<true>()
        .build_callback(|context| Ok(arguments((NativeWaiting::from(context.value),))))?;
    Ok(Some(move |waiting: &Waiting| {
        call.call(waiting.clone(), ThreadsafeFunctionCallMode::NonBlocking);
    }))
}

/// What comes from `source`, until `stop` is pulled.
pub(crate) struct Until<S> {
    pub(crate) source: S,
    pub(crate) stop: Cancel,
}

impl<S: Source> Source for Until<S> {
    type Item = S::Item;

    async fn take(&mut self) -> Result<Option<S::Item>, Failure> {
        self.stop.run(self.source.take()).await.unwrap_or(Ok(None))
    }
}

/// As [`notify`], each time that something comes from `source`.
pub(crate) fn notify_each<S, A>(
    callback: &Function<'_, A, ()>,
    mut source: S,
    convert: impl Fn(S::Item) -> A + Send + 'static,
) -> napi::Result<()>
where
    S: Source,
    A: JsValuesTupleIntoVec + 'static,
{
    let call = callback
        .build_threadsafe_function::<S::Item>()
        .weak::<true>()
        .build_callback(move |context| Ok(convert(context.value)))?;
    runtime::handle().map_err(no_threads)?.spawn(async move {
        while let Ok(Some(value)) = source.take().await {
            if call.call(value, ThreadsafeFunctionCallMode::NonBlocking) != Status::Ok {
                break;
            }
        }
    });
    Ok(())
}

/// The arguments of a callback.
pub(crate) fn arguments<T>(values: T) -> FnArgs<T> {
    FnArgs::from(values)
}

pub(crate) fn no_threads(error: impl std::fmt::Display) -> napi::Error {
    napi::Error::from_reason(format!("no threads for handfast: {error}"))
}
