//! Configurations as bare pairs; what is made of them, and whether it is good, TypeScript says.
//!
//! Owns the crossing of sets, events and publications.

use std::sync::{Mutex, PoisonError};

use handfast::{
    Config, ConfigChanges, ConfigEvent, ConfigProblem, ConfigProblemKind, ConfigSet, ConfigSource,
    ConfigValue, Publication, Publish,
};
use handfast_bindings::{Cancel, Failure, Feed, runtime::Local};
use napi::{
    Env,
    bindgen_prelude::{Buffer, Either, FnArgs, Function, PromiseRaw},
};
use napi_derive::napi;

use crate::{
    cancel::CancelToken,
    client::NativeClient,
    crossing::{Until, arguments, cancellable, no_threads, notify_each, until_closed},
    errors::NativeError,
    options::{bytes, span},
    streams::NativeListening,
};

#[napi(object)]
pub struct NativeConfigOptions {
    pub prefix: Option<bool>,
    pub snapshot_file: Option<String>,
    pub patience_ms: Option<f64>,
}

/// A name, and its value or that it is to be deleted.
#[napi(object)]
pub struct NativeEntry {
    pub name: Buffer,
    pub value: Option<Buffer>,
}

#[napi(object)]
pub struct NativeSet {
    pub revision: i64,
    /// `server`, `snapshot` or `default`.
    pub source: String,
    pub entries: Vec<NativeEntry>,
}

impl From<&ConfigValue<ConfigSet>> for NativeSet {
    fn from(value: &ConfigValue<ConfigSet>) -> Self {
        let source = match value.source {
            ConfigSource::Snapshot => "snapshot",
            ConfigSource::Default => "default",
            _ => "server",
        };
        let entries = value.set.iter().map(|(name, pair)| NativeEntry {
            name: name.to_vec().into(),
            value: Some(pair.value.to_vec().into()),
        });
        Self {
            revision: value.revision(),
            source: source.to_owned(),
            entries: entries.collect(),
        }
    }
}

/// What is wrong with what is published, or with the snapshot.
#[napi(object)]
pub struct NativeProblem {
    pub kind: String,
    pub revision: i64,
    pub text: String,
}

impl From<&ConfigProblem> for NativeProblem {
    fn from(problem: &ConfigProblem) -> Self {
        let kind = match problem.kind {
            ConfigProblemKind::SnapshotIgnored => "snapshot_ignored",
            ConfigProblemKind::SnapshotNotWritten => "snapshot_not_written",
            // Whether a value can be used is decided in TypeScript.
            _ => "undecodable",
        };
        Self {
            kind: kind.to_owned(),
            revision: problem.revision,
            text: problem.text.clone(),
        }
    }
}

/// What happened; the value in force is asked for.
#[napi(object)]
pub struct NativeConfigEvent {
    /// `applied`, `problem`, `reset`, `disconnected` or `connected`.
    pub kind: String,
    /// Of `applied`: the names of what changed.
    pub names: Vec<Buffer>,
    pub problem: Option<NativeProblem>,
    /// Of `reset`: from where it goes on.
    pub revision: Option<i64>,
}

impl From<ConfigEvent<ConfigSet>> for NativeConfigEvent {
    fn from(event: ConfigEvent<ConfigSet>) -> Self {
        let kind = match &event {
            ConfigEvent::Applied { .. } => "applied",
            ConfigEvent::Problem(_) => "problem",
            ConfigEvent::Reset { .. } => "reset",
            ConfigEvent::Disconnected => "disconnected",
            ConfigEvent::Connected => "connected",
            // One that this layer does not know yet.
            _ => "other",
        };
        let mut told = Self {
            kind: kind.to_owned(),
            names: Vec::new(),
            problem: None,
            revision: None,
        };
        match event {
            ConfigEvent::Applied { names, .. } => {
                told.names = names.into_iter().map(|it| Vec::from(it).into()).collect();
            }
            ConfigEvent::Problem(problem) => told.problem = Some((&*problem).into()),
            ConfigEvent::Reset { revision } => told.revision = Some(revision),
            _ => {}
        }
        told
    }
}

/// Who published something, and why.
#[napi(object)]
pub struct NativePublication {
    pub by: String,
    pub note: String,
    pub unix_ms: f64,
    pub revision: i64,
}

impl From<Publication> for NativePublication {
    fn from(publication: Publication) -> Self {
        Self {
            by: publication.by,
            note: publication.note,
            unix_ms: publication.unix_ms as f64,
            revision: publication.revision,
        }
    }
}

fn filled(publish: Publish, entries: &[NativeEntry], note: String) -> Publish {
    let publish = publish.note(note);
    entries
        .iter()
        .fold(publish, |publish, entry| match &entry.value {
            Some(value) => publish.put(bytes(&entry.name), bytes(value)),
            None => publish.delete(bytes(&entry.name)),
        })
}

/// A configuration that is followed until it is closed or collected.
#[napi]
pub struct NativeConfig {
    config: Local<Mutex<Option<Config<ConfigSet>>>>,
    /// Pulled when it is closed, or the client.
    open: Cancel,
}

impl NativeConfig {
    fn config(&self) -> Result<Config<ConfigSet>, Failure> {
        let config = self
            .config
            .get()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let config = config.clone();
        config.ok_or_else(|| Failure::closed("configuration"))
    }
}

#[napi]
impl NativeClient {
    #[napi]
    pub fn open_config<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        key: Buffer,
        options: NativeConfigOptions,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeConfig, NativeError>>> {
        let (handfast, key, open) = (self.handfast(), bytes(&key), self.open.child());
        cancellable(env, token, async move {
            let mut builder = handfast?.config_set(key);
            if options.prefix == Some(true) {
                builder = builder.prefix();
            }
            if let Some(path) = options.snapshot_file {
                builder = builder.snapshot_file(path);
            }
            if let Some(patience) = options.patience_ms {
                builder = builder.patience(span("patienceMs", patience)?);
            }
            Ok(NativeConfig {
                config: Local::new(Mutex::new(Some(builder.open().await?))),
                open,
            })
        })
    }

    /// Publishes at `key`, or with names under it, all at one revision, which this gives.
    #[napi]
    pub fn publish<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        key: Buffer,
        entries: Vec<NativeEntry>,
        note: String,
        since: Option<i64>,
    ) -> napi::Result<PromiseRaw<'env, Either<i64, NativeError>>> {
        let publish = self.handfast().map(|handfast| {
            let publish = filled(handfast.publish(bytes(&key)), &entries, note);
            match since {
                Some(revision) => publish.if_unchanged_since(revision),
                None => publish,
            }
        });
        cancellable(
            env,
            token,
            async move { Ok(publish?.send().await?.revision) },
        )
    }

    /// Who published what is in force at `key`, or was at `revision`.
    #[napi]
    pub fn publication<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        key: Buffer,
        revision: i64,
    ) -> napi::Result<PromiseRaw<'env, Either<Option<NativePublication>, NativeError>>> {
        let (handfast, key) = (self.handfast(), bytes(&key));
        cancellable(env, token, async move {
            let publication = handfast?.publication(key, revision).await?;
            Ok(publication.map(NativePublication::from))
        })
    }
}

#[napi]
impl NativeConfig {
    /// Of the snapshot: the latest problems, also those that are over.
    #[napi]
    pub fn problems(&self) -> Either<Vec<NativeProblem>, NativeError> {
        match self.config() {
            Ok(config) => Either::A(config.problems().iter().map(|it| (&**it).into()).collect()),
            Err(failure) => Either::B(failure.into()),
        }
    }

    /// Waits until everything up to `revision` was taken.
    #[napi]
    pub fn at_least<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        revision: i64,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let config = self.config();
        until_closed(env, token, (&self.open, "configuration"), async move {
            config?.at_least(revision).await;
            Ok(())
        })
    }

    /// Waits until the snapshot is that of what is in force.
    #[napi]
    pub fn saved<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let config = self.config();
        until_closed(env, token, (&self.open, "configuration"), async move {
            config?.saved().await;
            Ok(())
        })
    }

    /// Calls `callback` with each event, until it is stopped; does not hold the process open.
    #[napi]
    pub fn on_event(
        &self,
        callback: Function<'_, FnArgs<(NativeConfigEvent,)>, ()>,
    ) -> napi::Result<Either<NativeListening, NativeError>> {
        let config = match self.config() {
            Ok(config) => config,
            Err(failure) => return Ok(Either::B(failure.into())),
        };
        let stop = self.open.child();
        let source = Until {
            source: config.changes(),
            stop: stop.clone(),
        };
        notify_each(&callback, source, |event| arguments((event.into(),)))?;
        Ok(Either::A(NativeListening(stop)))
    }

    #[napi]
    pub fn current(&self) -> Either<NativeSet, NativeError> {
        match self.config() {
            Ok(config) => Either::A((&*config.current()).into()),
            Err(failure) => Either::B(failure.into()),
        }
    }

    #[napi]
    pub fn stale_for_ms(&self) -> Either<f64, NativeError> {
        match self.config() {
            Ok(config) => Either::A(config.stale_for().as_secs_f64() * 1000.0),
            Err(failure) => Either::B(failure.into()),
        }
    }

    #[napi]
    pub fn changes(&self) -> Either<NativeConfigFeed, NativeError> {
        match self.config() {
            Ok(config) => Either::A(NativeConfigFeed {
                feed: Local::new(Feed::new(config.changes())),
                open: self.open.clone(),
            }),
            Err(failure) => Either::B(failure.into()),
        }
    }

    /// Publishes on top of what is in force here.
    #[napi]
    pub fn publish<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        entries: Vec<NativeEntry>,
        note: String,
    ) -> napi::Result<PromiseRaw<'env, Either<i64, NativeError>>> {
        let publish = self
            .config()
            .map(|config| filled(config.publish(), &entries, note));
        cancellable(
            env,
            token,
            async move { Ok(publish?.send().await?.revision) },
        )
    }

    /// Follows no more, and ends all waits and callbacks.
    #[napi]
    pub fn close(&self) -> napi::Result<()> {
        self.open.cancel();
        let config = self.config.get().map_err(no_threads)?;
        let config = config.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(Local::new(config));
        Ok(())
    }
}

/// What happens to a configuration.
#[napi]
pub struct NativeConfigFeed {
    feed: Local<Feed<ConfigChanges<ConfigSet>>>,
    open: Cancel,
}

#[napi]
impl NativeConfigFeed {
    #[napi]
    pub fn next<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Either<Option<NativeConfigEvent>, NativeError>>> {
        let next = self.feed.get().map_err(no_threads)?.next(None);
        until_closed(env, token, (&self.open, "configuration"), async move {
            Ok(next.await?.map(NativeConfigEvent::from))
        })
    }

    #[napi]
    pub fn close(&self) -> napi::Result<()> {
        self.feed.get().map_err(no_threads)?.close();
        Ok(())
    }
}
