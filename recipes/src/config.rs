//! Configuration: published once, in force everywhere.
//!
//! Owns how a configuration is opened. Following and deciding are in [`state`] and [`follow`],
//! publishing in [`publish`].
//!
//! The keys are the user's own: values put with any etcd client are taken over like those that
//! were [published](Handfast::publish).

mod decode;
mod disk;
mod event;
mod follow;
mod handle;
mod publish;
mod set;
mod snapshot;
mod state;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use handfast_core::{IntoBytes, Mirror};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use decode::{Absent, Check, Decode, Reader};
use disk::SnapshotFile;
use follow::Begun;
use set::Scope;
use snapshot::Snapshot;
use state::{First, Problems, State};

pub use disk::{SnapshotFuture, SnapshotStore};
pub use event::{ConfigEvent, ConfigProblem, ConfigProblemKind, ConfigSource, ConfigValue};
pub use handle::{Config, ConfigChanges};
pub use publish::{Publication, Publish, Published};
pub use set::ConfigSet;

use crate::{Error, Handfast};

/// How long a start waits for a server when there is a snapshot to start from.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a configuration is to be opened; made by [`Handfast::config`].
#[must_use = "nothing is read until open() is called"]
pub struct ConfigBuilder<T> {
    handfast: Handfast,
    scope: Scope,
    decode: Decode<T>,
    checks: Vec<Check<T>>,
    absent: Option<Absent<T>>,
    store: Option<Arc<dyn SnapshotStore>>,
    patience: Duration,
}

impl<T> fmt::Debug for ConfigBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigBuilder")
            .field("scope", &self.scope)
            .field("store", &self.store)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Handfast {
    /// The configuration at the key `key`, a JSON document.
    ///
    /// With [`prefix`](ConfigBuilder::prefix) it is an object with a field for each key, named
    /// after what follows the prefix.
    pub fn config<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        key: impl IntoBytes,
    ) -> ConfigBuilder<T> {
        self.config_with(key, decode::json)
    }

    /// The configuration at the key `key`, in a format of the program's own.
    ///
    /// `decode` runs on the runtime: it must be quick.
    pub fn config_with<T: Send + Sync + 'static, E: fmt::Display>(
        &self,
        key: impl IntoBytes,
        decode: impl Fn(&ConfigSet) -> Result<T, E> + Send + Sync + 'static,
    ) -> ConfigBuilder<T> {
        ConfigBuilder {
            handfast: self.clone(),
            scope: Scope {
                key: key.into_bytes(),
                prefix: false,
            },
            decode: Arc::new(move |set| decode(set).map_err(|error| error.to_string())),
            checks: Vec::new(),
            absent: None,
            store: None,
            patience: PATIENCE,
        }
    }

    /// The configuration at the key `key` as bare pairs; also when there are none.
    pub fn config_set(&self, key: impl IntoBytes) -> ConfigBuilder<ConfigSet> {
        let decode = |set: &ConfigSet| Ok::<_, std::convert::Infallible>(set.clone());
        let mut builder = self.config_with(key, decode);
        builder.absent = Some(Absent::Decoded);
        builder
    }
}

impl<T: Send + Sync + 'static> ConfigBuilder<T> {
    /// All keys that start with the key, as one value: a transaction that changes several of them
    /// changes it once. No separator is added.
    pub fn prefix(mut self) -> Self {
        self.scope.prefix = true;
        self
    }

    /// A check every value must pass; one that does not, or makes the check panic, is reported,
    /// and the value before it stays in force. It runs on the runtime: it must be quick.
    pub fn validate<E: fmt::Display>(
        mut self,
        check: impl Fn(&T) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        let check = move |value: &T| check(value).map_err(|error| error.to_string());
        self.checks.push(Arc::new(check));
        self
    }

    /// What is in force while nothing is published (default: [`open`](Self::open) fails then).
    pub fn default_value(mut self, value: T) -> Self {
        self.absent = Some(Absent::Default(Arc::new(value)));
        self
    }

    /// Keeps the last good value in the file `path`, and starts with it when no server answers.
    ///
    /// Others on this machine cannot read the file. Its directory must exist.
    pub fn snapshot_file(self, path: impl Into<PathBuf>) -> Self {
        self.snapshot_store(Arc::new(SnapshotFile::new(path.into())))
    }

    /// Keeps the last good value in `store` instead of a file.
    pub fn snapshot_store(mut self, store: Arc<dyn SnapshotStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// How long [`open`](Self::open) waits for a server before it starts with the snapshot
    /// (default 1 s).
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Reads the configuration and follows it from there on.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`ConfigRefused`](Error::ConfigRefused) when what is published is not acceptable and no
    /// snapshot holds an earlier value; [`Client`](Error::Client) when no server answers within
    /// the request timeout and there is no snapshot either.
    pub async fn open(self) -> Result<Config<T>, Error> {
        self.scope.check(self.handfast.metadata_prefix())?;
        let client = self.handfast.client();
        let mirror = match self.scope.prefix {
            true => Mirror::start(client, &self.scope.key),
            false => Mirror::start_key(client, &self.scope.key),
        };
        let absent = self.absent.unwrap_or(match self.scope.prefix {
            true => Absent::Decoded,
            false => Absent::Refused,
        });
        let reader = Reader {
            decode: self.decode,
            checks: self.checks,
            absent,
        };
        let problems = Problems::default();
        let snapshot = match &self.store {
            Some(store) => load(&**store, &self.scope, &problems).await,
            None => None,
        };
        let fallback = snapshot.and_then(|snapshot| accept(&reader, snapshot, &problems));
        let ready = match fallback {
            Some(_) => tokio::time::timeout(self.patience, mirror.ready())
                .await
                .ok(),
            None => Some(mirror.ready().await),
        };
        let (first, begun) = match (ready, fallback) {
            (Some(Ok(())), fallback) => {
                let (view, subscription) = mirror.subscribe();
                let set = ConfigSet::of(&self.scope, &view);
                let first = first(&self.scope, &reader, set, fallback, &problems)?;
                (first, Begun::Following(subscription))
            }
            (_, Some((first, snapshot))) => (first, Begun::Offline(snapshot)),
            (Some(Err(error)), None) => return Err(error.into()),
            // Without a snapshot the first read, or its failure, was waited for.
            (None, None) => return Err(Error::Closed),
        };
        let chance = client.chance().clone();
        let from_server = first.source != ConfigSource::Snapshot;
        let state = Arc::new(State::new(self.scope, mirror, reader, problems, first));
        if from_server {
            state.keep();
        }
        let stop = CancellationToken::new();
        if let Some(store) = self.store.clone() {
            let backoff = follow::disk_backoff().drawn_by(&chance);
            tokio::spawn(follow::save(
                Arc::clone(&state),
                store,
                backoff,
                stop.clone(),
            ));
        }
        tokio::spawn(follow::run(Arc::clone(&state), begun, stop.clone()));
        let keeps = self.store.is_some();
        Ok(Config::new(self.handfast, state, keeps, stop.drop_guard()))
    }
}

type Fallback<T> = (First<T>, Arc<Snapshot>);

/// What the server has first, or the snapshot if that is refused.
fn first<T>(
    scope: &Scope,
    reader: &Reader<T>,
    set: ConfigSet,
    fallback: Option<Fallback<T>>,
    problems: &Problems,
) -> Result<First<T>, Error> {
    match (state::read(reader, &set, ConfigSource::Server), fallback) {
        (Ok((value, source)), _) => Ok(First {
            value,
            set,
            source,
            refused: None,
        }),
        (Err(problem), Some((first, _))) => Ok(First {
            refused: Some(problems.add(problem)),
            ..first
        }),
        (Err(problem), None) => Err(Error::ConfigRefused {
            name: scope.shown(),
            revision: problem.revision,
            problem: problem.text,
        }),
    }
}

/// The snapshot, if there is one that is sound.
async fn load(store: &dyn SnapshotStore, scope: &Scope, problems: &Problems) -> Option<Snapshot> {
    let parsed = match store.load().await {
        Ok(None) => return None,
        Ok(Some(bytes)) => Snapshot::parse(&bytes, scope),
        Err(error) => Err(format!("it cannot be read: {error}")),
    };
    parsed.map_err(|text| ignore(problems, 0, &text)).ok()
}

/// The snapshot's value, if the program accepts it still.
fn accept<T>(reader: &Reader<T>, snapshot: Snapshot, problems: &Problems) -> Option<Fallback<T>> {
    match state::read(reader, &snapshot.set, ConfigSource::Snapshot) {
        Ok((value, source)) => {
            let first = First {
                value,
                set: snapshot.set.clone(),
                source,
                refused: None,
            };
            Some((first, Arc::new(snapshot)))
        }
        Err(problem) => {
            ignore(problems, problem.revision, &problem.text);
            None
        }
    }
}

fn ignore(problems: &Problems, revision: i64, text: &str) {
    let problem = ConfigProblem {
        kind: ConfigProblemKind::SnapshotIgnored,
        revision,
        text: format!("the snapshot is ignored: {text}"),
    };
    tracing::warn!(target: "handfast::config", %problem, "starts without");
    problems.add(problem);
}
