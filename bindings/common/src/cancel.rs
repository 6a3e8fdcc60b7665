//! Ending work from outside, and keeping its panics in.
//!
//! Owns the token that a language's own way to cancel pulls. Knows nothing of what is cancelled:
//! the work is dropped, and gives back by itself what it was about to get.

use std::{any::Any, panic::AssertUnwindSafe};

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::Failure;

/// Ends the work it was given to, at most once. Clones are the same token.
#[derive(Debug, Clone, Default)]
pub struct Cancel(CancellationToken);

impl Cancel {
    /// A token that nobody has pulled yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is pulled with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Pulls it. Work that is under way is dropped soon after, on its own thread.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it was pulled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is pulled. Cancel safe.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }

    /// Runs `work` to its end, or drops it when the token is pulled: then `None`.
    ///
    /// Work that was done when the token was pulled counts as done.
    pub async fn run<F: Future>(&self, work: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.0.cancelled() => None,
        }
    }
}

/// Runs `work`; a panic in it becomes a failure with the code `INTERNAL`.
///
/// # Errors
/// The failure of `work`, or its panic.
pub async fn caught<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => done,
        Err(panic) => Err(Failure::new(
            "INTERNAL",
            format!("a bug in handfast: {}", panic_text(&*panic)),
        )),
    }
}

/// What a panic said.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    let made = || panic.downcast_ref::<String>().map(String::as_str);
    literal.or_else(made).unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        crate::runtime::handle().unwrap().block_on(future)
    }

    #[test]
    fn a_pulled_token_ends_its_own_work_and_its_childrens() {
        let parent = Cancel::new();
        let (one, other) = (parent.child(), parent.child());
        one.cancel();
        assert_eq!(block_on(one.run(std::future::pending::<()>())), None);
        assert_eq!(block_on(other.run(async { 1 })), Some(1));
        parent.cancel();
        assert_eq!(block_on(other.run(std::future::pending::<()>())), None);
        assert!(other.is_cancelled());
    }

    #[test]
    fn work_that_is_done_counts() {
        let cancel = Cancel::new();
        cancel.cancel();
        assert_eq!(block_on(cancel.run(async { 1 })), Some(1));
    }

    #[test]
    fn a_panic_becomes_a_failure() {
        let panicking = async {
            // Unlike the macro it prints nothing.
            std::panic::resume_unwind(Box::new("as the test wanted"));
            #[allow(unreachable_code)]
            Ok(())
        };
        let failure = block_on(caught(panicking)).unwrap_err();
        assert_eq!(failure.code(), "INTERNAL");
        assert!(
            failure.message().contains("as the test wanted"),
            "{failure}"
        );
    }
}
