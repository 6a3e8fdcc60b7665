//! The way back to Node's thread: promises are settled there, as many at once as are done.
//!
//! Owns the one wake-up that all promises of a JavaScript thread share, and that the process stays
//! open while one of them is pending. napi's own promises each have a handle of the event loop,
//! which costs more than most of what they wait for. Knows nothing of what is awaited.

use std::{
    cell::RefCell,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use handfast_bindings::cancel::panic_text;
use napi::{
    Env, Error, JsError, Status,
    bindgen_prelude::{PromiseRaw, ToNapiValue},
    check_status, sys,
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};

type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;
type Settle = Box<dyn FnOnce(&Env) + Send>;

/// What settles the promises of one JavaScript thread.
#[derive(Default)]
struct Lane {
    /// What is to be settled; nothing once the thread's environment has ended.
    done: Mutex<Option<Vec<Settle>>>,
    /// Calls the JavaScript thread. Empty only while the lane is made.
    wake: OnceLock<Wake>,
    /// How many promises are not settled yet. Only the JavaScript thread counts.
    pending: AtomicUsize,
}

thread_local! {
    static LANE: RefCell<Option<(sys::napi_env, Arc<Lane>)>> = const { RefCell::new(None) };
}

/// The other end of a promise. It must be settled: the process stays open until then.
pub(crate) struct Deferred {
    raw: RawDeferred,
    lane: Arc<Lane>,
}

struct RawDeferred(sys::napi_deferred);

// SAFETY: other threads only carry it; it is used on the JavaScript thread that made it.
unsafe impl Send for RawDeferred {}

/// A promise of a `T`, and what settles it from any thread.
pub(crate) fn promise<T: ToNapiValue>(env: &Env) -> napi::Result<(Deferred, PromiseRaw<'_, T>)> {
    let lane = Lane::of(env)?;
    let (mut raw, mut promise) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: this is the thread of `env`, and both places are ours.
    check_status!(unsafe { sys::napi_create_promise(env.raw(), &mut raw, &mut promise) })?;
    lane.begin(env);
    let deferred = Deferred {
        raw: RawDeferred(raw),
        lane,
    };
    Ok((deferred, PromiseRaw::new(env.raw(), promise)))
}

impl Deferred {
    /// Resolves the promise, soon and on its thread, with what `value` makes there.
    pub(crate) fn resolve<T: ToNapiValue>(self, value: impl FnOnce() -> T + Send + 'static) {
        let Self { raw, lane } = self;
        lane.push(Box::new(move |env| settle(env, raw, value)));
    }
}

fn settle<T: ToNapiValue>(env: &Env, RawDeferred(raw): RawDeferred, value: impl FnOnce() -> T) {
    // A panic would go through C, which ends the process.
    let made = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: this is the thread of `env`, within a scope for handles.
        unsafe { T::to_napi_value(env.raw(), value()) }
    }));
    let made = made.unwrap_or_else(|panic| {
        let reason = format!("a bug in handfast: {}", panic_text(&*panic));
        Err(Error::from_reason(reason))
    });
    // SAFETY: as above, and each deferred comes here once. It only fails when the thread is about
    // to end: then there is nobody to tell.
    unsafe {
        match made {
            Ok(value) => sys::napi_resolve_deferred(env.raw(), raw, value),
            Err(error) => {
                let error = JsError::from(error).into_value(env.raw());
                sys::napi_reject_deferred(env.raw(), raw, error)
            }
        };
    }
}

impl Lane {
    /// The lane of this thread.
    fn of(env: &Env) -> napi::Result<Arc<Self>> {
        LANE.with_borrow_mut(|known| {
            // One thread may have several environments, and one after the other at one address.
            if let Some((owner, lane)) = known
                && *owner == env.raw()
                && lane.done().is_some()
            {
                return Ok(Arc::clone(lane));
            }
            let lane = Self::open(env)?;
            *known = Some((env.raw(), Arc::clone(&lane)));
            Ok(lane)
        })
    }

    fn open(env: &Env) -> napi::Result<Arc<Self>> {
        let lane = Arc::new(Self::default());
        *lane.done() = Some(Vec::new());
        let end = End(Arc::clone(&lane));
        let nothing = env.create_function_from_closure::<(), (), _>("settled", |_| Ok(()))?;
        let wake = nothing
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .build_callback(move |context| {
                end.0.settle(&context.env);
                Ok(())
            })?;
        // It was empty: nobody else has this lane yet.
        let _ = lane.wake.set(wake);
        Ok(lane)
    }

    fn done(&self) -> MutexGuard<'_, Option<Vec<Settle>>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, settle: Settle) {
        let mut done = self.done();
        let Some(waiting) = &mut *done else {
            drop(done);
            // What it carries may give back what it holds: not under the lock.
            drop(settle);
            return;
        };
        waiting.push(settle);
        let is_first = waiting.len() == 1;
        drop(done);
        if is_first && let Some(wake) = self.wake.get() {
            // Only fails when the thread is about to end: then there is nobody to tell.
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// Settles what is done, in that order. What awaits it goes on when this has returned.
    fn settle(&self, env: &Env) {
        let done = self.done().as_mut().map(mem::take).unwrap_or_default();
        let settled = done.len();
        for settle in done {
            settle(env);
        }
        self.ended(env, settled);
    }

    /// Another promise is pending.
    fn begin(&self, env: &Env) {
        if self.pending.fetch_add(1, Ordering::Relaxed) == 0
            && let Some(wake) = self.wake.get()
        {
            // SAFETY: this is the thread of `env`, which has not ended, and the handle lives until
            // then.
            unsafe { sys::napi_ref_threadsafe_function(env.raw(), wake.raw()) };
        }
    }

    /// So many of them are settled.
    fn ended(&self, env: &Env, settled: usize) {
        if settled != 0
            && self.pending.fetch_sub(settled, Ordering::Relaxed) == settled
            && let Some(wake) = self.wake.get()
        {
            // SAFETY: as in `begin`.
            unsafe { sys::napi_unref_threadsafe_function(env.raw(), wake.raw()) };
        }
    }
}

/// Belongs to what is called on the JavaScript thread, so it is dropped when that ends.
struct End(Arc<Lane>);

impl Drop for End {
    fn drop(&mut self) {
        let unsettled = self.0.done().take();
        // What comes later is dropped as well; nobody is left to get it.
        drop(unsettled);
    }
}
