//! What `top` knows of the store: copies of its keys that follow every change.
//!
//! Owns which keys are copied. It must not know what they mean or how they are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use handfast_core::{Client, Mirror};
use tokio::sync::Notify;

use crate::exit::Failure;
use crate::output::span;
use crate::overview::Overview;
use crate::overview::read::{self, METADATA, MOST_KEYS, Pairs};

/// Copies of parts of the store.
pub(super) struct Source {
    client: Client,
    mirrors: BTreeMap<Bytes, Mirror>,
    /// What the person wants to see only; nothing means everything.
    below: Vec<Bytes>,
    /// The names of held things decide what is copied; set when the store is too large.
    follows_records: bool,
    note: Option<String>,
    change: Arc<Notify>,
}

impl Source {
    /// Copies everything below `prefixes`, or all there is without any.
    ///
    /// # Errors
    /// That no server answered.
    pub(super) async fn open(client: &Client, prefixes: Vec<Bytes>) -> Result<Source, Failure> {
        let mut source = Source {
            client: client.clone(),
            mirrors: BTreeMap::new(),
            below: prefixes.clone(),
            follows_records: false,
            note: None,
            change: Arc::default(),
        };
        let mut wanted = prefixes;
        if wanted.is_empty() {
            let all = client.range(Bytes::new()).prefix().count_only().await?;
            if all.count <= MOST_KEYS {
                wanted.push(Bytes::new());
            } else {
                source.follows_records = true;
                source.note = Some(format!(
                    "{} keys: only what handfast has records of is shown; name prefixes for more",
                    all.count
                ));
            }
        }
        wanted.push(Bytes::from_static(METADATA));
        for prefix in without_parts(wanted) {
            let mirror = Mirror::open(client, prefix.clone()).await?;
            source.add(prefix, mirror);
        }
        source.follow_records();
        for mirror in source.mirrors.values() {
            mirror.ready().await?;
        }
        Ok(source)
    }

    /// The picture now.
    pub(super) fn overview(&mut self) -> Overview {
        self.follow_records();
        let mut pairs = Pairs::new();
        for mirror in self.mirrors.values() {
            mirror.read(|view| {
                let wanted = view.iter().filter(|pair| is_wanted(&self.below, &pair.key));
                pairs.extend(wanted.map(|pair| (pair.key.clone(), Arc::clone(pair))));
            });
        }
        read::overview(&pairs)
    }

    /// Waits for a change since the last call. Cancel safe.
    pub(super) async fn changed(&mut self) {
        self.change.notified().await;
    }

    /// The revision that all copies have reached.
    pub(super) fn revision(&self) -> i64 {
        self.mirrors
            .values()
            .map(Mirror::revision)
            .min()
            .unwrap_or(0)
    }

    /// For how long a copy may have missed changes, and why if that is known; none if none has.
    pub(super) fn trouble(&self) -> Option<String> {
        let stale = self.mirrors.values().map(Mirror::stale_for).max()?;
        if stale.is_zero() {
            return None;
        }
        let why = self.mirrors.values().find_map(Mirror::failure);
        let why = why.map_or_else(String::new, |error| format!(": {error}"));
        Some(format!("out of touch for {}{why}", span(stale)))
    }

    /// What a person should know about what is not shown.
    pub(super) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Copies the lines that the records name, and no others.
    fn follow_records(&mut self) {
        if !self.follows_records {
            return;
        }
        let metadata = self.mirrors.get(METADATA);
        let named: BTreeSet<Bytes> = metadata.map_or_else(BTreeSet::new, |mirror| {
            mirror.read(|view| view.iter().filter_map(|pair| named_by(&pair.key)).collect())
        });
        self.mirrors
            .retain(|prefix, _| prefix == METADATA || named.contains(prefix));
        for prefix in named {
            if !self.mirrors.contains_key(&prefix) {
                let mirror = Mirror::start(&self.client, prefix.clone());
                self.add(prefix, mirror);
            }
        }
    }

    fn add(&mut self, prefix: Bytes, mirror: Mirror) {
        let mut progress = mirror.progress();
        let change = Arc::clone(&self.change);
        // Ends with the mirror.
        tokio::spawn(async move {
            while progress.changed().await.is_ok() {
                change.notify_one();
            }
        });
        self.mirrors.insert(prefix, mirror);
    }
}

/// What all keys of the line start with whose record this key is.
fn named_by(key: &Bytes) -> Option<Bytes> {
    let name = key.strip_prefix(METADATA)?.strip_prefix(b"own/")?;
    Some([name, b"/"].concat().into())
}

/// Whether a key may be shown: what a line outside of `below` is, its record alone does not tell.
fn is_wanted(below: &[Bytes], key: &Bytes) -> bool {
    let all = below.is_empty();
    named_by(key).is_none_or(|line| all || below.iter().any(|prefix| line.starts_with(prefix)))
}

/// The prefixes without those that are part of another.
fn without_parts(mut prefixes: Vec<Bytes>) -> Vec<Bytes> {
    prefixes.sort();
    prefixes.dedup_by(|later, earlier| later.starts_with(earlier));
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_copied_twice() {
        let prefixes = ["b", "a/b", "_handfast/", "a/", "a/b/c"].map(Bytes::from);
        assert_eq!(
            without_parts(prefixes.to_vec()),
            ["_handfast/", "a/", "b"].map(Bytes::from)
        );
        assert_eq!(
            without_parts(vec!["x".into(), Bytes::new()]),
            [Bytes::new()]
        );
    }

    #[test]
    fn records_of_lines_that_are_not_read_are_passed_over() {
        let below = ["jobs/", "x"].map(Bytes::from);
        let wanted = |key: &'static str| is_wanted(&below, &key.into());
        assert!(wanted("_handfast/own/jobs/a") && wanted("_handfast/own/x"));
        assert!(wanted("_handfast/session/1f") && wanted("jobs/a/1f"));
        assert!(!wanted("_handfast/own/boss"));
        assert!(is_wanted(&[], &"_handfast/own/boss".into()));
    }

    #[test]
    fn records_name_lines() {
        let named = named_by(&"_handfast/own/jobs/a".into());
        assert_eq!(named, Some("jobs/a/".into()));
        assert_eq!(named_by(&"_handfast/session/1f".into()), None);
    }
}
