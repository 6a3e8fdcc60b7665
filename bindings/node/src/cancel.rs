//! The token that an `AbortSignal` pulls.
//!
//! napi's own `AbortSignal` is not used: it overwrites `signal.onabort`, takes a signal for one
//! call only, and does not look whether it was aborted before.

use handfast_bindings::Cancel;
use napi_derive::napi;

/// Ends the calls it was given to.
#[napi]
#[derive(Default)]
pub struct CancelToken(pub(crate) Cancel);

#[napi]
impl CancelToken {
    #[napi(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// The calls under way resolve soon after, with a value if they were done.
    #[napi]
    pub fn cancel(&self) {
        self.0.cancel();
    }
}
