//! A configuration whose program crashes, starts without a server, and then finds an older backup
//! in the place of what there was.

use std::sync::Arc;

use bytes::Bytes;
use handfast::{
    Config, ConfigEvent, ConfigSet, ConfigSource, Handfast, SnapshotFuture, SnapshotStore,
};
use handfast_storage::sim::Loss;
use parking_lot::Mutex;

use super::{Stage, play_unwatched};
use crate::net::CLIENTS;
use crate::workload::wired;

const PREFIX: &str = "cfg/";

/// A disk that never fails.
#[derive(Debug, Clone, Default)]
struct File(Arc<Mutex<Option<Bytes>>>);

impl SnapshotStore for File {
    fn load(&self) -> SnapshotFuture<Option<Bytes>> {
        Box::pin(std::future::ready(Ok(self.0.lock().clone())))
    }

    fn save(&self, snapshot: Bytes) -> SnapshotFuture<()> {
        *self.0.lock() = Some(snapshot);
        Box::pin(std::future::ready(Ok(())))
    }
}

fn program(stage: &Stage, place: usize) -> Handfast {
    let net = stage.cluster.net.clone();
    let seed = stage.cluster.draw();
    Handfast::builder()
        .endpoints(stage.cluster.endpoints())
        .client(|builder| wired(builder, &net, CLIENTS + place, seed))
        .build()
        .unwrap()
}

async fn open(program: &Handfast, file: &File) -> Config<ConfigSet> {
    let builder = program.config_set(PREFIX).prefix();
    builder
        .snapshot_store(Arc::new(file.clone()))
        .open()
        .await
        .unwrap()
}

fn value(set: &ConfigSet) -> Bytes {
    set.get(b"a").cloned().unwrap_or_default()
}

async fn publish(stage: &Stage, value: &str) {
    let put = || stage.client.put(format!("{PREFIX}a"), value.to_owned());
    while put().repeatable().await.is_err() {
        tokio::time::sleep(crate::cluster::LOOK).await;
    }
}

/// Waits until `wanted` is in force; whether the store was said to be another one before that.
async fn follows(config: &Config<ConfigSet>, wanted: &str) -> bool {
    let mut changes = config.changes();
    let mut reset = false;
    loop {
        match changes.next().await {
            ConfigEvent::Applied { value: now, .. } if value(&now) == wanted => return reset,
            ConfigEvent::Reset { .. } => reset = true,
            _ => {}
        }
    }
}

#[test]
fn the_last_good_value_survives_a_crash_and_a_store_that_was_restored() {
    play_unwatched(1, 5_000, |stage| async move {
        let machine = stage.cluster.machine(0);
        publish(&stage, "old").await;
        stage.cluster.stop(0).await;
        let backup = machine.backup();
        stage.cluster.start(0).await;
        let file = File::default();
        let first = program(&stage, 0);
        let config = open(&first, &file).await;
        assert_eq!(value(&config.get()), "old");
        for count in 0..20 {
            publish(&stage, &format!("new {count}")).await;
        }
        follows(&config, "new 19").await;
        config.saved().await;
        let before = config.revision();

        // Program and server are gone.
        stage.cluster.net.bury(CLIENTS);
        drop((config, first));
        stage.cluster.kill(0, Loss::Everything);
        let second = program(&stage, 1);
        let config = open(&second, &file).await;
        assert_eq!(config.current().source, ConfigSource::Snapshot);
        assert_eq!(
            (value(&config.get()), config.revision()),
            ("new 19".into(), before)
        );

        // What comes back is older than what is on the program's disk.
        machine.restore(&backup);
        stage.cluster.start(0).await;
        assert!(follows(&config, "old").await, "no reset");
        assert!(config.revision() < before);
        publish(&stage, "newer").await;
        follows(&config, "newer").await;
        config.saved().await;
        let saved = file.0.lock().clone().unwrap_or_default();
        assert!(String::from_utf8_lossy(&saved).contains("newer"));
        stage
    });
}
