//! Work that is done once, by whoever comes first, and whose result is everybody's.
//!
//! Owns where the result is kept and how it gets there. That only one works at a time is the
//! lock's ([`crate::lock`]).
//!
//! `<name>/result` holds the result, for good; `<name>/run` is the lock of who works on it. With
//! an input both are below `<name>/<digest of the input>`.

use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;
use handfast_core::{
    Backoff, Compare, EventKind, IntoBytes, KeyValue, Op, WatchEvent, WatchOptions,
};
use sha2::{Digest, Sha256};

use crate::{Error, Handfast, LockGuard, Tenure};

/// How large a result may be: servers refuse requests above 1.5 MiB.
const SIZE_LIMIT: usize = 1 << 20;
/// How many bytes of the input's digest tell inputs apart.
const DIGEST_BYTES: usize = 16;

/// Work that is done once; made by [`Handfast::once`].
#[derive(Debug, Clone)]
#[must_use = "nothing is done until it is asked for"]
pub struct Once {
    handfast: Handfast,
    name: Bytes,
    digest: Option<String>,
    timeout: Option<Duration>,
}

/// The result of work that is done once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnceResult {
    /// What the work returned.
    pub value: Bytes,
    /// The revision at which it was put.
    pub revision: i64,
    /// Whether it was done by this call.
    pub ran: bool,
}

/// Why there is no result.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum OnceError<E> {
    /// The work failed; somebody else may try it now.
    Work(E),
    /// Something around the work failed.
    Recipe(Error),
}

impl<E> From<Error> for OnceError<E> {
    fn from(error: Error) -> Self {
        Self::Recipe(error)
    }
}

impl<E: fmt::Display> fmt::Display for OnceError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(error) => write!(f, "the work failed: {error}"),
            Self::Recipe(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error> std::error::Error for OnceError<E> {}

impl Handfast {
    /// Work called `name` that is done once.
    pub fn once(&self, name: impl IntoBytes) -> Once {
        Once {
            handfast: self.clone(),
            name: name.into_bytes(),
            digest: None,
            timeout: None,
        }
    }
}

impl Once {
    /// What the result depends on, or a digest of it: with another input there is another result,
    /// and the work is done again.
    pub fn input(mut self, input: impl AsRef<[u8]>) -> Self {
        let digest = Sha256::digest(input.as_ref());
        let digits = digest.iter().take(DIGEST_BYTES);
        self.digest = Some(digits.map(|byte| format!("{byte:02x}")).collect());
        self
    }

    /// Gives up waiting for another's result after `timeout` (default: never). Own work may take
    /// longer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The result, if there is one. One round trip.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn get(&self) -> Result<Option<OnceResult>, Error> {
        Ok(self.read().await?.0)
    }

    /// The result as soon as somebody has it, without doing the work. Cancel safe.
    ///
    /// # Errors
    /// [`Timeout`](Error::Timeout) is none of them: bound it with the runtime's own. That the
    /// server could not be asked.
    pub async fn wait(&self) -> Result<OnceResult, Error> {
        match self.read().await? {
            (Some(result), _) => Ok(result),
            (None, revision) => self.published(revision + 1).await,
        }
    }

    /// The result, or that of `work`, which is done by one caller at a time, anywhere.
    ///
    /// One round trip if there is a result. Who waits for another's work is told the result when
    /// it is put, and takes over if the other dies or fails. `work` is dropped at its next await
    /// when its lock is lost; for effects outside the store pass on the
    /// [token](Tenure::token).
    ///
    /// Results are small, at most 1 MiB: for large ones return where they are, with a digest.
    ///
    /// Cancel safe: dropping the future, at any point, gives up the lock in the background.
    ///
    /// # Errors
    /// [`Work`](OnceError::Work) with the error of `work`, and others may try then;
    /// [`Lost`](Error::Lost) when the lock was lost before the result was put, and somebody else
    /// does the work then; [`Timeout`](Error::Timeout) with who works; and others.
    pub async fn get_or_run<F, Fut, B, E>(&self, work: F) -> Result<OnceResult, OnceError<E>>
    where
        F: FnOnce(Tenure) -> Fut,
        Fut: Future<Output = Result<B, E>>,
        B: IntoBytes,
    {
        let (result, revision) = self.read().await?;
        if let Some(result) = result {
            return Ok(result);
        }
        let lock = self.handfast.lock(self.key("run")).rejoin(true);
        let lock = match self.timeout {
            Some(timeout) => lock.timeout(timeout),
            None => lock,
        };
        let guard = tokio::select! {
            biased;
            result = self.published(revision + 1) => return Ok(result?),
            guard = lock.acquire() => guard?,
        };
        let done = self.run_alone(&guard, work).await;
        // A lost lock cannot be given back, and what counts is whether there is a result.
        let _ = guard.release().await;
        done
    }

    async fn run_alone<F, Fut, B, E>(
        &self,
        guard: &LockGuard,
        work: F,
    ) -> Result<OnceResult, OnceError<E>>
    where
        F: FnOnce(Tenure) -> Fut,
        Fut: Future<Output = Result<B, E>>,
        B: IntoBytes,
    {
        // Somebody may have had the lock, and put the result, since it was looked for.
        if let Some(result) = self.get().await? {
            return Ok(result);
        }
        let done = guard.scope(async { work(guard.tenure()).await }).await?;
        let value = done.map_err(OnceError::Work)?.into_bytes();
        if value.len() > SIZE_LIMIT {
            let problem = format!(
                "{} bytes, but at most {SIZE_LIMIT} are kept; keep it elsewhere and return \
                 where it is, with its digest",
                value.len()
            );
            return Err(Error::invalid("the result", problem).into());
        }
        Ok(self.put(guard, value).await?)
    }

    /// Puts the result, for as long as the lock is held.
    async fn put(&self, guard: &LockGuard, value: Bytes) -> Result<OnceResult, Error> {
        let key = self.key("result");
        let chance = self.handfast.client().chance();
        let mut backoff =
            Backoff::new(Duration::from_millis(20), Duration::from_secs(1)).drawn_by(chance);
        let mut doubt = false;
        loop {
            let txn = guard.txn();
            let txn = txn
                .when([Compare::create_revision(&key).eq(0)])
                .put(&key, &value)
                .otherwise([Op::get(&key)]);
            match txn.commit().await {
                Ok(answer) if answer.succeeded => {
                    return Ok(OnceResult {
                        value,
                        revision: answer.header.revision,
                        ran: true,
                    });
                }
                Ok(answer) => {
                    let found = answer.range(0)?.kvs.first().cloned();
                    // Only a holder of the lock puts it, and this is the one.
                    let result = found.map(|pair| result_of(pair, true));
                    return result.ok_or_else(|| Error::invalid("the result", "it was deleted"));
                }
                Err(Error::Client(error)) if error.in_doubt() || error.is_retryable() => {
                    doubt |= error.in_doubt();
                    guard.check()?;
                    tokio::time::sleep(backoff.next()).await;
                }
                Err(lost) if doubt && lost.lost_reason().is_some() => {
                    // The put may be why there is nothing left to do.
                    let found = self.get().await?.filter(|found| found.value == value);
                    return found
                        .map(|found| OnceResult { ran: true, ..found })
                        .ok_or(lost);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Forgets the result, so that the next caller does the work again; whether there was one.
    ///
    /// # Errors
    /// That the server could not be asked.
    pub async fn forget(&self) -> Result<bool, Error> {
        let Some(result) = self.get().await? else {
            return Ok(false);
        };
        let key = self.key("result");
        let txn = self.handfast.client().txn();
        let txn = txn
            .when([Compare::mod_revision(&key).eq(result.revision)])
            .then([Op::delete(&key)]);
        let answer = txn.repeatable().commit().await?;
        Ok(answer.succeeded || answer.repeated_in_doubt)
    }

    fn key(&self, last: &str) -> Bytes {
        let digest = self.digest.as_deref();
        let mut key = self.name.to_vec();
        for part in digest.into_iter().chain([last]) {
            key.push(b'/');
            key.extend_from_slice(part.as_bytes());
        }
        key.into()
    }

    /// The result, and the revision at which that was so.
    async fn read(&self) -> Result<(Option<OnceResult>, i64), Error> {
        if self.name.is_empty() {
            return Err(Error::invalid("once", "the name is empty"));
        }
        let mut read = self.handfast.client().range(self.key("result")).await?;
        let result = read.kvs.pop().map(|pair| result_of(pair, false));
        Ok((result, read.header.revision))
    }

    /// Waits for the result to be put at revision `from` or later. Cancel safe.
    async fn published(&self, mut from: i64) -> Result<OnceResult, Error> {
        loop {
            let options = WatchOptions::key(self.key("result")).start_revision(from);
            let mut watch = self.handfast.client().watch(options);
            while let Some(report) = watch.next().await {
                let WatchEvent::Events { events, .. } = report? else {
                    continue;
                };
                let put = events
                    .into_iter()
                    .rfind(|event| event.kind == EventKind::Put);
                if let Some(event) = put {
                    return Ok(result_of(event.kv, false));
                }
            }
            // Compacted: what happened meanwhile shows in the state.
            match self.read().await? {
                (Some(result), _) => return Ok(result),
                (None, revision) => from = revision + 1,
            }
        }
    }
}

fn result_of(pair: KeyValue, ran: bool) -> OnceResult {
    OnceResult {
        value: pair.value,
        revision: pair.mod_revision,
        ran,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once() -> Once {
        let handfast = Handfast::builder().endpoints("127.0.0.1:1").build();
        handfast.unwrap().once("index")
    }

    #[test]
    fn another_input_is_another_result() {
        assert_eq!(once().key("result"), "index/result");
        let keys = ["a", "b", ""].map(|input| once().input(input).key("result"));
        assert!(
            keys.iter()
                .all(|key| key.len() == "index//result".len() + 32)
        );
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
        assert_eq!(once().input("a").key("result"), keys[0]);
        assert_ne!(once().input("a").key("run"), keys[0]);
    }

    #[tokio::test]
    async fn a_name_is_needed() {
        let mut once = once();
        once.name = Bytes::new();
        assert_eq!(once.get().await.unwrap_err().code(), "INVALID_ARGUMENT");
    }
}
