//! Configuration on disk: a program starts without servers, and damage is noticed.

use std::{fs, path::Path, time::Duration};

use handfast::{
    Config, ConfigBuilder, ConfigEvent, ConfigProblemKind, ConfigSource, Error, Handfast,
};

use crate::{
    server::Server,
    util::{client, connect, name, soon, until},
};

fn builder(hf: &Handfast, key: &str, path: &Path) -> ConfigBuilder<u32> {
    let even = |value: &u32| match value % 2 {
        0 => Ok(()),
        _ => Err("odd"),
    };
    let config = hf.config(key).validate(even).snapshot_file(path);
    config.patience(Duration::from_millis(300))
}

/// A server with `value` at a key, and a snapshot of it that some program made.
struct Scene {
    server: Server,
    hf: Handfast,
    key: String,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn make(value: &str) -> Option<Self> {
        let server = Server::own()?;
        let scene = Self {
            hf: Handfast::builder()
                .endpoints(&server.endpoint)
                .request_timeout(Duration::from_secs(4))
                .build()
                .unwrap(),
            server,
            key: name("config-disk"),
            dir: tempfile::tempdir().unwrap(),
        };
        scene.put(value).await;
        let config = soon(scene.open()).await.unwrap();
        soon(config.saved()).await;
        assert_eq!(config.current().source, ConfigSource::Server);
        Some(scene)
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("snapshot")
    }

    async fn open(&self) -> Result<Config<u32>, Error> {
        builder(&self.hf, &self.key, &self.path()).open().await
    }

    async fn put(&self, value: &str) {
        client(&self.server).put(&self.key, value).await.unwrap();
    }
}

#[tokio::test]
async fn a_program_starts_without_a_server_and_catches_up_when_there_is_one() {
    let Some(mut scene) = Scene::make("2").await else {
        return;
    };
    scene.server.kill();
    let config = soon(scene.open()).await.unwrap();
    assert_eq!(*config.get(), 2);
    assert_eq!(config.current().source, ConfigSource::Snapshot);
    assert!(!config.stale_for().is_zero());
    let mut changes = config.changes();
    let first = soon(changes.next()).await;
    assert!(matches!(first, ConfigEvent::Applied { value, .. } if **value == 2));

    scene.server.start_again();
    scene.put("4").await;
    let mut config = config;
    while *config.get() != 4 {
        soon(config.changed()).await;
    }
    assert_eq!(config.current().source, ConfigSource::Server);
    loop {
        match soon(changes.next()).await {
            ConfigEvent::Connected => break,
            ConfigEvent::Applied { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(config.stale_for().is_zero());
    soon(config.saved()).await;
    assert!(fs::read_to_string(scene.path()).unwrap().contains("\"4\""));
}

#[tokio::test]
async fn a_damaged_snapshot_is_told_and_replaced() {
    let Some(mut scene) = Scene::make("2").await else {
        return;
    };
    let sound = fs::read_to_string(scene.path()).unwrap();
    let damaged = sound.replace("\"2\"", "\"6\"");
    assert_ne!(sound, damaged);
    fs::write(scene.path(), damaged).unwrap();
    let config = soon(scene.open()).await.unwrap();
    assert_eq!(*config.get(), 2);
    let problems = config.problems();
    assert_eq!(problems[0].kind, ConfigProblemKind::SnapshotIgnored);
    assert!(problems[0].text.contains("digest"), "{}", problems[0]);
    soon(config.saved()).await;
    assert_eq!(fs::read_to_string(scene.path()).unwrap(), sound);

    // Without a server there is nothing to start from then.
    drop(config);
    fs::write(scene.path(), &sound[..sound.len() / 2]).unwrap();
    scene.server.kill();
    let error = soon(scene.open()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn what_is_published_but_bad_does_not_keep_a_program_from_starting() {
    let Some(scene) = Scene::make("2").await else {
        return;
    };
    scene.put("3").await;
    let config = soon(scene.open()).await.unwrap();
    assert_eq!(*config.get(), 2);
    assert_eq!(config.current().source, ConfigSource::Snapshot);
    let refused = until(|| std::future::ready(config.refused())).await;
    assert!(refused.text.contains("odd"));
    // It is connected, and the bad value does not get to the disk.
    until(|| std::future::ready(config.stale_for().is_zero().then_some(()))).await;
    scene.put("8").await;
    let mut config = config;
    assert_eq!(*soon(config.changed()).await, 8);
    assert_eq!(config.refused(), None);
}

#[tokio::test]
async fn a_snapshot_of_another_cluster_is_a_reset() {
    let Some(mut scene) = Scene::make("2").await else {
        return;
    };
    let Some(other) = Server::own() else {
        return;
    };
    client(&other).put(&scene.key, "10").await.unwrap();
    other.pause();
    scene.server.kill();
    let hf = connect(&other);
    let opened = builder(&hf, &scene.key, &scene.path()).open();
    let config = soon(opened).await.unwrap();
    assert_eq!(*config.get(), 2);
    let mut changes = config.changes();
    soon(changes.next()).await;
    other.resume();
    assert!(matches!(
        soon(changes.next()).await,
        ConfigEvent::Reset { .. }
    ));
    let next = soon(changes.next()).await;
    assert!(matches!(next, ConfigEvent::Applied { value, .. } if **value == 10));
}

#[tokio::test]
async fn a_disk_that_fails_is_told_and_stops_nothing() {
    let Some(scene) = Scene::make("2").await else {
        return;
    };
    let nowhere = scene.dir.path().join("missing").join("snapshot");
    let config = soon(builder(&scene.hf, &scene.key, &nowhere).open())
        .await
        .unwrap();
    let problem = until(|| async { config.problems().first().cloned() }).await;
    assert_eq!(problem.kind, ConfigProblemKind::SnapshotNotWritten);
    fs::create_dir(nowhere.parent().unwrap()).unwrap();
    scene.put("4").await;
    let mut config = config;
    assert_eq!(*soon(config.changed()).await, 4);
    soon(config.saved()).await;
    assert!(nowhere.exists());
}
