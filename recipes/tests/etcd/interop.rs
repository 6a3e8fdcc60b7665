//! Standing in one queue with `etcdctl lock` and `etcdctl elect`, that is with Go's library.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    server::shared,
    util::{client, connect, name, queue_of, soon},
};

/// An `etcdctl` that holds, or waits to hold, until it is told to stop.
struct Etcdctl {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Etcdctl {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("etcdctl starts");
        let lines = BufReader::new(child.stdout.take().expect("it was asked for"));
        Self { child, lines }
    }

    fn lock(name: &str) -> Self {
        Self::start(shared().etcdctl(&["lock", "--ttl=60", name]))
    }

    fn elect(name: &str, value: &str) -> Self {
        Self::start(shared().etcdctl(&["elect", name, value]))
    }

    fn observe(name: &str) -> Self {
        Self::start(shared().etcdctl(&["elect", "--listen", name]))
    }

    async fn line(mut self) -> (Self, String) {
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            self.lines.read_line(&mut line).expect("etcdctl goes on");
            (self, line.trim().to_owned())
        });
        soon(reading).await.unwrap()
    }

    /// Lets it release and end.
    fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Etcdctl {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn p8_locks_queue_with_etcdctl_in_both_directions() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("mixed"));
    let ours = soon(hf.lock(&name).acquire()).await.unwrap();
    let theirs = Etcdctl::lock(&name);
    queue_of(&client, &name, 2).await;
    // A second acquisition of the same session has a key with a suffix.
    let waiting = tokio::spawn({
        let lock = hf.lock(&name);
        async move { lock.acquire().await }
    });
    queue_of(&client, &name, 3).await;
    let last = Etcdctl::lock(&name);
    let keys = queue_of(&client, &name, 4).await;
    assert!(keys[2].key.ends_with(b"-1"));

    soon(ours.release()).await.unwrap();
    let (theirs, line) = theirs.line().await;
    assert_eq!(line.as_bytes(), keys[1].key);
    assert!(!waiting.is_finished());
    theirs.stop();
    let ours = soon(waiting).await.unwrap().unwrap();
    assert_eq!(ours.key(), &keys[2].key);
    assert!(!ours.previous_died(), "etcdctl released it");
    soon(ours.release()).await.unwrap();
    let (last, line) = last.line().await;
    assert_eq!(line.as_bytes(), keys[3].key);
    last.stop();
    queue_of(&client, &name, 0).await;
}

#[tokio::test]
async fn p9_a_try_respects_etcdctl() {
    let (hf, name) = (connect(shared()), name("mixed-try"));
    let (theirs, key) = Etcdctl::lock(&name).line().await;
    let tried = soon(hf.lock(&name).try_acquire()).await.unwrap();
    assert!(tried.acquired().is_none());
    let seen = soon(hf.lock(&name).look()).await.unwrap();
    assert_eq!(seen.holder().unwrap().key, key.as_bytes());
    assert!(seen.holder().unwrap().session.is_none());
    theirs.stop();
    assert!(
        soon(hf.lock(&name).try_acquire())
            .await
            .unwrap()
            .acquired()
            .is_some()
    );
}

#[tokio::test]
async fn elections_mix_with_etcdctl_in_both_directions() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("mixed-elect"));
    let mut observer = soon(hf.election(&name).observe()).await.unwrap();
    assert!(soon(observer.next()).await.is_none());
    let ours = soon(hf.election(&name).value("ours").campaign())
        .await
        .unwrap();
    assert_eq!(soon(observer.next()).await.unwrap().value, "ours");
    let (listening, _key) = Etcdctl::observe(&name).line().await;
    let (listening, value) = listening.line().await;
    assert_eq!(value, "ours");
    let theirs = Etcdctl::elect(&name, "theirs");
    queue_of(&client, &name, 2).await;
    let next = tokio::spawn({
        let election = hf.election(&name).value("next");
        async move { election.campaign().await }
    });
    let keys = queue_of(&client, &name, 3).await;

    soon(ours.resign()).await.unwrap();
    let (theirs, key) = theirs.line().await;
    assert_eq!(key.as_bytes(), keys[1].key);
    assert_eq!(soon(observer.next()).await.unwrap().value, "theirs");
    assert_eq!(
        soon(hf.election(&name).leader())
            .await
            .unwrap()
            .unwrap()
            .value,
        "theirs"
    );
    drop(listening);
    theirs.stop();
    let next = soon(next).await.unwrap().unwrap();
    assert_eq!(next.token(), keys[2].create_revision);
    assert_eq!(soon(observer.next()).await.unwrap().value, "next");
    soon(next.resign()).await.unwrap();
}

#[tokio::test]
async fn a_lock_on_the_name_of_a_go_election_is_refused() {
    let (hf, name) = (connect(shared()), name("mixed-kind"));
    let (theirs, _key) = Etcdctl::elect(&name, "value").line().await;
    let error = soon(hf.lock(&name).acquire()).await.unwrap_err();
    assert_eq!(error.code(), "KIND_CONFLICT");
    theirs.stop();
}

#[tokio::test]
async fn several_locks_at_once_queue_with_etcdctl_in_both_directions() {
    let (hf, client, stem) = (connect(shared()), client(shared()), name("mixed-multi"));
    let names = ["a", "b"].map(|name| format!("{stem}/{name}"));
    let (theirs, _) = Etcdctl::lock(&names[1]).line().await;
    let waiting = tokio::spawn({
        let locks = hf.multi_lock(&names);
        async move { locks.acquire().await }
    });
    let keys = queue_of(&client, &names[1], 2).await;
    let last = Etcdctl::lock(&names[0]);
    queue_of(&client, &names[0], 2).await;
    assert!(!waiting.is_finished());
    theirs.stop();
    let guard = soon(waiting).await.unwrap().unwrap();
    assert_eq!(guard.token(), keys[1].create_revision);
    assert!(!guard.previous_died(), "etcdctl released it");
    let tried = soon(hf.multi_lock(&names).try_acquire()).await.unwrap();
    assert!(tried.acquired().is_none());
    soon(guard.release()).await.unwrap();
    let (last, _) = last.line().await;
    last.stop();
    for name in &names {
        queue_of(&client, name, 0).await;
    }
}
