//! What many tests need.

use std::{
    pin::pin,
    sync::atomic::{AtomicU32, Ordering},
    task::Poll,
    time::{Duration, Instant},
};

use handfast::{
    Handfast,
    core::{Client, KeyValue},
};

use crate::server::Server;

/// Longer than anything takes that does not hang, and shorter than [`TTL`], which would tidy up.
pub const LONG: Duration = Duration::from_secs(40);
/// A TTL that does not end during a test.
pub const TTL: Duration = Duration::from_secs(60);

/// The recipes on this server, with [`TTL`].
pub fn connect(server: &Server) -> Handfast {
    connect_with(server, TTL)
}

/// The recipes on this server.
pub fn connect_with(server: &Server, ttl: Duration) -> Handfast {
    Handfast::builder()
        .endpoints(&server.endpoint)
        .ttl(ttl)
        .app_name("test")
        .build()
        .unwrap()
}

/// A client of this server.
pub fn client(server: &Server) -> Client {
    Client::builder()
        .endpoints(&server.endpoint)
        .build()
        .unwrap()
}

/// A name no other test, and no other run, uses.
pub fn name(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{stem}-{:x}-{count}", rand::random::<u32>())
}

/// `work`, or a panic when it hangs.
pub async fn soon<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(LONG, work)
        .await
        .expect("it takes too long")
}

/// Waits until `look` finds something.
pub async fn until<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < LONG, "it does not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The pairs under the name, oldest first.
pub async fn queue(client: &Client, name: &str) -> Vec<KeyValue> {
    let mut kvs = client.range(format!("{name}/")).prefix().await.unwrap().kvs;
    kvs.sort_by_key(|pair| pair.create_revision);
    kvs
}

/// Waits until `count` keys are under the name.
pub async fn queue_of(client: &Client, name: &str, count: usize) -> Vec<KeyValue> {
    until(|| async { Some(queue(client, name).await).filter(|keys| keys.len() == count) }).await
}

/// Polls `work` at most `polls` times; `None` if it was not done by then. It is dropped then.
pub async fn poll_times<F: Future>(work: F, polls: usize) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        let polled = work.as_mut().poll(context).map(Some);
        if polled.is_pending() && left == 0 {
            return Poll::Ready(None);
        }
        polled
    })
    .await
}

/// Ends the session's lease behind its back.
pub async fn revoke(client: &Client, hf: &Handfast) {
    let lease = hf.session().unwrap().lease().expect("a lease");
    client.lease_revoke(lease).await.unwrap();
}
