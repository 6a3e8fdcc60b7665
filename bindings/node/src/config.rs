//! Configurations as bare pairs; what is made of them, and whether it is good, TypeScript says.
//!
//! Owns the crossing of sets, events and publications.

use std::sync::{Mutex, PoisonError};

use handfast::{Config, ConfigChanges, ConfigEvent, ConfigSet, ConfigSource, ConfigValue, Publish};
use handfast_bindings::{Cancel, Failure, Feed, runtime::Local};
use napi::{
    Env,
    bindgen_prelude::{Buffer, Either, PromiseRaw},
};
use napi_derive::napi;

use crate::{
    cancel::CancelToken,
    client::NativeClient,
    crossing::{cancellable, no_threads, waiting},
    errors::NativeError,
    options::{bytes, span},
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

#[napi(object)]
pub struct NativeConfigEvent {
    /// `applied`, `problem`, `reset`, `disconnected` or `connected`.
    pub kind: String,
    pub set: Option<NativeSet>,
    pub message: Option<String>,
}

impl From<ConfigEvent<ConfigSet>> for NativeConfigEvent {
    fn from(event: ConfigEvent<ConfigSet>) -> Self {
        let (kind, set, message) = match event {
            ConfigEvent::Applied { value, .. } => ("applied", Some((&*value).into()), None),
            ConfigEvent::Problem(problem) => ("problem", None, Some(problem.text.clone())),
            ConfigEvent::Reset { .. } => ("reset", None, None),
            ConfigEvent::Disconnected => ("disconnected", None, None),
            ConfigEvent::Connected => ("connected", None, None),
            // One that this layer does not know yet.
            _ => ("other", None, None),
        };
        Self {
            kind: kind.to_owned(),
            set,
            message,
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
        let (handfast, key, open) = (self.handfast(), bytes(&key), self.open.clone());
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
}

#[napi]
impl NativeConfig {
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

    /// Follows no more.
    #[napi]
    pub fn close(&self) -> napi::Result<()> {
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
        waiting(env, token, &self.open, async move {
            Ok(next.await?.map(NativeConfigEvent::from))
        })
    }

    #[napi]
    pub fn close(&self) -> napi::Result<()> {
        self.feed.get().map_err(no_threads)?.close();
        Ok(())
    }
}
