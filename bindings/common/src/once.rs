//! Work that is done once, by the host's own code.
//!
//! Owns the way of the work from the runtime to whoever called, and of its result back: the code
//! runs where it was asked for. Knows nothing of how the host runs it.

use futures::FutureExt;
use handfast::{Once, OnceError, OnceResult, Tenure};
use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinHandle},
};

use crate::Failure;

/// The caller gave the work up.
#[derive(Debug)]
struct GivenUp;

type Outcome = Result<OnceResult, OnceError<GivenUp>>;

/// Aborts the task when it is dropped.
#[derive(Debug)]
struct Task {
    ended: JoinHandle<Outcome>,
    abort: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// What a call for the result comes to.
#[derive(Debug)]
pub enum Step {
    /// There is one.
    Done(OnceResult),
    /// The caller is to do the work, for as long as this is held.
    Work(Tenure, Work),
}

/// Work that the caller does; given up when dropped.
#[derive(Debug)]
pub struct Work {
    result: oneshot::Sender<Vec<u8>>,
    task: Task,
}

/// Waits for the result, or for the right to do the work. Must be called within a runtime.
///
/// # Errors
/// As [`Once::get_or_run`].
pub async fn begin(once: Once) -> Result<Step, Failure> {
    let (granted, grant) = oneshot::channel();
    let (result, done) = oneshot::channel::<Vec<u8>>();
    let ended = tokio::spawn(async move {
        let work = |tenure: Tenure| async move {
            granted.send(tenure).map_err(|_| GivenUp)?;
            done.await.map_err(|_| GivenUp)
        };
        once.get_or_run(work).await
    });
    let abort = ended.abort_handle();
    let mut task = Task { ended, abort };
    tokio::select! {
        biased;
        Ok(tenure) = grant => Ok(Step::Work(tenure, Work { result, task })),
        outcome = task.wait() => Ok(Step::Done(outcome?)),
    }
}

impl Work {
    /// Puts the result.
    ///
    /// # Errors
    /// `LOCK_LOST` when somebody else does the work by now, and others.
    pub async fn finish(self, value: Vec<u8>) -> Result<OnceResult, Failure> {
        let Self { result, mut task } = self;
        // When nobody takes it, the outcome tells why.
        let _ = result.send(value);
        task.wait().await
    }
}

impl Task {
    async fn wait(&mut self) -> Result<OnceResult, Failure> {
        let outcome = (&mut self.ended).map(|ended| {
            ended.map_err(|error| Failure::new("INTERNAL", format!("a task failed: {error}")))
        });
        outcome.await?.map_err(|error| match error {
            OnceError::Work(GivenUp) => Failure::closed("work"),
            OnceError::Recipe(error) => error.into(),
            other => Failure::new("INTERNAL", format!("{other:?}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use handfast::Handfast;

    use super::*;
    use crate::testing::TestServer;

    #[test]
    fn work_given_up_is_left_to_the_next_and_a_result_is_kept() {
        crate::runtime::handle().unwrap().block_on(async {
            let server = TestServer::start().await.unwrap();
            let hf = Handfast::connect(server.endpoint()).await.unwrap();
            let Step::Work(_, work) = begin(hf.once("o")).await.unwrap() else {
                panic!("there is no result yet")
            };
            drop(work);
            let Step::Work(tenure, work) = begin(hf.once("o")).await.unwrap() else {
                panic!("there is no result yet")
            };
            tenure.check().unwrap();
            assert!(work.finish(b"made".to_vec()).await.unwrap().ran);
            let Step::Done(result) = begin(hf.once("o")).await.unwrap() else {
                panic!("there is a result")
            };
            assert_eq!((&*result.value, result.ran), (&b"made"[..], false));
        });
    }
}
