//! Which keys a configuration is, and reading them as they are or were.
//!
//! Owns the argument and the errors about history. It must not know what is done with them.

use std::collections::BTreeMap;
use std::ffi::OsString;

use bytes::Bytes;
use clap::Args;
use handfast::{ConfigSet, Handfast};
use handfast_core::{Client, ErrorKind, WatchEvent, WatchOptions};

use crate::exit::Failure;
use crate::keys::bytes;
use crate::output::printable;
use crate::tenure::failure;

/// The key, or the keys, of a configuration.
#[derive(Args, Debug, Clone)]
pub(crate) struct TargetArgs {
    /// The key; if it ends with /, all keys below it
    #[arg(value_name = "KEY")]
    key: OsString,
    /// All keys that start with KEY, although it does not end with /
    #[arg(long)]
    prefix: bool,
}

/// What [`TargetArgs`] name.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) key: Bytes,
    pub(super) prefix: bool,
}

/// Values by name: a single key has the empty one, others what follows the prefix.
pub(super) type Values = BTreeMap<Bytes, Bytes>;

impl TargetArgs {
    pub(super) fn target(self) -> Result<Target, Failure> {
        let key = bytes(self.key);
        match key.is_empty() {
            true => Err(Failure::Usage("KEY is empty".to_owned())),
            false => Ok(Target {
                prefix: self.prefix || key.ends_with(b"/"),
                key,
            }),
        }
    }
}

impl Target {
    pub(super) fn shown(&self) -> String {
        printable(&self.key)
    }

    /// The whole key of a name, for people.
    pub(super) fn shown_key(&self, name: &[u8]) -> String {
        printable(&[&self.key[..], name].concat())
    }

    /// What is published now; also when it is nothing.
    pub(super) async fn now(&self, handfast: &Handfast) -> Result<ConfigSet, Failure> {
        let config = handfast.config_set(&self.key);
        let config = match self.prefix {
            true => config.prefix(),
            false => config,
        };
        let config = config.open().await.map_err(failure)?;
        Ok(config.current().set.clone())
    }

    /// What was published at a revision; 0 means now.
    pub(super) async fn at(&self, client: &Client, revision: i64) -> Result<Values, Failure> {
        Ok(self.read(client, revision).await?.0)
    }

    /// What was published at a revision, 0 meaning now, and which revision that is.
    pub(super) async fn read(
        &self,
        client: &Client,
        revision: i64,
    ) -> Result<(Values, i64), Failure> {
        let range = client.range(&self.key).revision(revision);
        let range = match self.prefix {
            true => range.prefix(),
            false => range,
        };
        let read = match range.await {
            Ok(read) => read,
            Err(error) => return Err(self.explain(client, revision, error).await),
        };
        let named = |pair: handfast_core::KeyValue| (pair.key.slice(self.key.len()..), pair.value);
        let of = match revision {
            0 => read.header.revision,
            revision => revision,
        };
        Ok((read.kvs.into_iter().map(named).collect(), of))
    }

    /// That nothing is published, to somebody who perhaps meant what is below the key.
    pub(super) async fn nothing(&self, client: &Client) -> Failure {
        let shown = self.shown();
        let below = client.range([&self.key[..], b"/"].concat()).prefix();
        let hint = match below.count_only().await {
            Ok(read) if read.count > 0 && !self.prefix => {
                format!("; for what is below it write {shown}/")
            }
            _ => String::new(),
        };
        Failure::Other(format!("nothing is published at {shown}{hint}"))
    }

    /// Says of a revision that is gone, or has not been yet, which ones are there.
    pub(super) async fn explain(
        &self,
        client: &Client,
        revision: i64,
        error: handfast_core::Error,
    ) -> Failure {
        if error.kind() == ErrorKind::FutureRevision {
            let latest = match client.range(&self.key).count_only().await {
                Ok(read) => format!("; the latest is {}", read.header.revision),
                Err(_) => String::new(),
            };
            return Failure::Other(format!("there is no revision {revision} yet{latest}"));
        }
        if error.kind() != ErrorKind::Compacted {
            return error.into();
        }
        let since = match self.oldest(client, revision).await {
            Some(oldest) => format!("; the oldest that can still be read is {oldest}"),
            None => String::new(),
        };
        Failure::Other(format!("revision {revision} is compacted away{since}"))
    }

    /// Only a watch is told the oldest revision.
    async fn oldest(&self, client: &Client, compacted: i64) -> Option<i64> {
        let mut watch = client.watch(WatchOptions::key(&self.key).start_revision(compacted));
        let told = async {
            while let Some(Ok(report)) = watch.next().await {
                if let WatchEvent::Compacted { compact_revision } = report {
                    return Some(compact_revision).filter(|revision| *revision > 0);
                }
            }
            None
        };
        tokio::time::timeout(client.timeout(), told).await.ok()?
    }
}

/// The values of a set.
pub(super) fn values(set: &ConfigSet) -> Values {
    set.iter()
        .map(|(name, pair)| (name.clone(), pair.value.clone()))
        .collect()
}
