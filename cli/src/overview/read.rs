//! Reads what one command needs of the store, once.
//!
//! Owns which keys that is. It must not know what they mean for people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use handfast::parse_place;
use handfast_core::session::DEFAULT_METADATA_PREFIX;
use handfast_core::{Client, ErrorKind, KeyValue, Mirror};

use super::Overview;
use crate::exit::Failure;

/// Where recipes keep their own records.
pub(crate) const METADATA: &[u8] = DEFAULT_METADATA_PREFIX.as_bytes();
/// A store with more keys is not read as a whole.
pub(crate) const MOST_KEYS: i64 = 20_000;
/// How many calls are made at the same time.
const AT_ONCE: usize = 16;

/// All pairs whose keys start with `prefix`, at one revision.
pub(crate) async fn prefix(client: &Client, prefix: &[u8]) -> Result<Pairs, Failure> {
    let view = Mirror::open(client, prefix).await?.snapshot();
    Ok(view
        .iter()
        .map(|pair| (pair.key.clone(), Arc::clone(pair)))
        .collect())
}

/// The whole store, unless it has too many keys to be read for one answer.
pub(crate) async fn whole(client: &Client) -> Result<Option<Pairs>, Failure> {
    let all = client.range(Bytes::new()).prefix().count_only().await?;
    match all.count > MOST_KEYS {
        true => Ok(None),
        false => Ok(Some(prefix(client, b"").await?)),
    }
}

/// Pairs by key, so that what was read twice counts once.
pub(crate) type Pairs = BTreeMap<Bytes, Arc<KeyValue>>;

/// The picture in `pairs`.
pub(crate) fn overview(pairs: &Pairs) -> Overview {
    Overview::of(pairs.values().map(AsRef::as_ref), METADATA)
}

/// Everything that is on `leases`, with all others in the lines they are in.
pub(crate) async fn on_leases(client: &Client, leases: &[i64]) -> Result<Pairs, Failure> {
    let mut pairs = prefix(client, METADATA).await?;
    let attached: Vec<Vec<Bytes>> = stream::iter(leases.iter().copied())
        .map(|lease| attached(client, lease))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let attached = attached.into_iter().flatten();
    let keys: BTreeSet<Bytes> = attached.filter(|key| !key.starts_with(METADATA)).collect();
    let lines: BTreeSet<Bytes> = keys.iter().filter_map(line_of).collect();
    for line in lines {
        pairs.append(&mut prefix(client, &line).await?);
    }
    let missing: Vec<Bytes> = keys
        .into_iter()
        .filter(|key| !pairs.contains_key(key))
        .collect();
    let found: Vec<Option<KeyValue>> = stream::iter(missing)
        .map(|key| async move { client.get(key).await })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let found = found.into_iter().flatten();
    pairs.extend(found.map(|pair| (pair.key.clone(), Arc::new(pair))));
    Ok(pairs)
}

/// What all keys of the line start with that `key` is a place in.
fn line_of(key: &Bytes) -> Option<Bytes> {
    let (name, _) = parse_place(key)?;
    Some(key.slice(..=name.len()))
}

async fn attached(client: &Client, lease: i64) -> Result<Vec<Bytes>, Failure> {
    match client.lease_time_to_live(lease, true).await {
        Ok(info) => Ok(info.keys),
        Err(error) if error.kind() == ErrorKind::LeaseNotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}
