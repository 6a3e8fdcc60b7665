//! Values that keep coming: watches, leaders, states of the session.
//!
//! Owns taking one at a time, and ending that for good while somebody waits. Knows nothing of how
//! a language iterates.

use std::{sync::Arc, time::Duration};

use handfast::{
    ConfigChanges, ConfigEvent, Leader, Observer, ServiceChange, ServiceChanges, State,
    core::{Client, Event, WatchEvent, WatchOptions, WatchStream},
};
use tokio::sync::{Mutex, watch};

use crate::{Cancel, Failure, runtime::Local};

/// Where values come from. Cancelling a wait loses none.
pub trait Source: Send + 'static {
    /// What comes.
    type Item: Send + 'static;

    /// The next one; `None` after the last one.
    fn take(&mut self) -> impl Future<Output = Result<Option<Self::Item>, Failure>> + Send;
}

/// Changes of whole revisions, up to the given one.
#[derive(Debug, Clone)]
pub struct Changes {
    /// No change up to this revision is still to come.
    pub revision: i64,
    /// The changes, in order; never empty.
    pub events: Vec<Event>,
}

impl Source for WatchStream {
    type Item = Changes;

    async fn take(&mut self) -> Result<Option<Changes>, Failure> {
        loop {
            return match self.next().await {
                None => Ok(None),
                Some(Err(error)) => Err(error.into()),
                Some(Ok(WatchEvent::Events { revision, events })) => {
                    Ok(Some(Changes { revision, events }))
                }
                Some(Ok(WatchEvent::Compacted { compact_revision })) => {
                    Err(Failure::compacted(compact_revision))
                }
                Some(Ok(_)) => continue,
            };
        }
    }
}

/// A watch, once it is in place: no change after this is missed.
///
/// # Errors
/// `COMPACTED`, `TIMEOUT` when no server makes it within the time of a call, and others.
pub async fn open_watch(client: &Client, options: WatchOptions) -> Result<WatchStream, Failure> {
    let limit = client.timeout();
    let mut watch = client.watch(options);
    match tokio::time::timeout(limit, watch.next()).await {
        Err(_) => Err(Failure::timeout("the watch was not made", limit)),
        Ok(Some(Ok(WatchEvent::Compacted { compact_revision }))) => {
            Err(Failure::compacted(compact_revision))
        }
        Ok(Some(Err(error))) => Err(error.into()),
        // The first report is always that it is in place.
        Ok(_) => Ok(watch),
    }
}

impl Source for Observer {
    /// `None` while nobody leads.
    type Item = Option<Leader>;

    async fn take(&mut self) -> Result<Option<Self::Item>, Failure> {
        Ok(Some(self.next().await))
    }
}

impl Source for ServiceChanges {
    type Item = ServiceChange;

    async fn take(&mut self) -> Result<Option<ServiceChange>, Failure> {
        Ok(Some(self.next().await))
    }
}

impl<T: Send + Sync + 'static> Source for ConfigChanges<T> {
    type Item = ConfigEvent<T>;

    async fn take(&mut self) -> Result<Option<ConfigEvent<T>>, Failure> {
        Ok(Some(self.next().await))
    }
}

impl Source for watch::Receiver<State> {
    type Item = State;

    async fn take(&mut self) -> Result<Option<State>, Failure> {
        // The session is gone, and with it all news of it.
        Ok(match self.changed().await {
            Ok(()) => Some(self.borrow_and_update().clone()),
            Err(_) => None,
        })
    }
}

/// A source that is closed once and for all, also while somebody waits for it.
#[derive(Debug)]
pub struct Feed<S> {
    source: Arc<Mutex<Option<S>>>,
    closed: Cancel,
}

impl<S: Source> Feed<S> {
    /// All that comes from `source`.
    pub fn new(source: S) -> Self {
        Self {
            source: Arc::new(Mutex::new(Some(source))),
            closed: Cancel::new(),
        }
    }

    /// The next one; `None` after the last, or when it was closed. Dropping it loses nothing.
    ///
    /// The future fails as the source does, and with `TIMEOUT` after `limit`.
    pub fn next(
        &self,
        limit: Option<Duration>,
    ) -> impl Future<Output = Result<Option<S::Item>, Failure>> + Send + use<S> {
        let source = Arc::clone(&self.source);
        let closed = self.closed.clone();
        async move {
            let taken = async {
                let mut source = source.lock().await;
                match source.as_mut() {
                    Some(open) => closed.run(open.take()).await.unwrap_or(Ok(None)),
                    None => Ok(None),
                }
            };
            match limit {
                None => taken.await,
                Some(limit) => match tokio::time::timeout(limit, taken).await {
                    Ok(taken) => taken,
                    Err(_) => Err(Failure::timeout("nothing came", limit)),
                },
            }
        }
    }

    /// Ends it: whoever waits gets `None`.
    pub fn close(&self) {
        self.closed.cancel();
        // Else whoever waits lets go of it, and finds it closed at the next call.
        if let Ok(mut source) = self.source.try_lock() {
            drop(Local::new(source.take()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers(tokio::sync::mpsc::Receiver<u32>);

    impl Source for Numbers {
        type Item = u32;

        async fn take(&mut self) -> Result<Option<u32>, Failure> {
            Ok(self.0.recv().await)
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        crate::runtime::handle().unwrap().block_on(future)
    }

    #[test]
    fn values_come_in_order_and_a_close_ends_a_wait() {
        let (numbers, taken) = tokio::sync::mpsc::channel(4);
        let feed = Feed::new(Numbers(taken));
        block_on(async {
            numbers.send(1).await.unwrap();
            numbers.send(2).await.unwrap();
            assert_eq!(feed.next(None).await, Ok(Some(1)));
            assert_eq!(feed.next(None).await, Ok(Some(2)));
            let waiting = tokio::spawn(feed.next(None));
            tokio::task::yield_now().await;
            feed.close();
            assert_eq!(waiting.await.unwrap(), Ok(None));
            assert_eq!(feed.next(None).await, Ok(None));
        });
    }

    #[test]
    fn a_limit_ends_one_wait_only() {
        let (numbers, taken) = tokio::sync::mpsc::channel(4);
        let feed = Feed::new(Numbers(taken));
        block_on(async {
            let ended = feed.next(Some(Duration::from_millis(5))).await;
            assert_eq!(ended.unwrap_err().code(), "TIMEOUT");
            numbers.send(1).await.unwrap();
            assert_eq!(feed.next(None).await, Ok(Some(1)));
        });
    }
}
