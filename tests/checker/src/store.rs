//! The store as users are promised it: what a request does to a state, and what is answered.
//!
//! Owns the rules of revisions, versions, compares and ranges, and the way back from a change.
//! Knows nothing of time or of who asked.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    ops::Bound,
};

use bytes::Bytes;

use crate::history::{
    Compare, CompareResult, Delete, Event, EventKind, Get, KeyRange, Kv, Put, Request, Response,
    Snapshot, Target, Txn, TxnOp,
};

/// What a request did and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) response: Response,
    /// Empty: nothing changed, and there is no new revision.
    pub(crate) events: Vec<Event>,
}

/// What to put back, newest last.
#[derive(Clone, Debug)]
enum Undo {
    Key(Bytes, Option<Kv>),
    Revision(i64),
}

/// A state that can go back to what it was.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    revision: i64,
    kvs: BTreeMap<Bytes, Kv>,
    /// Keys of which nothing is known, as others write them unseen.
    blind: Vec<KeyRange>,
    /// Exclusive or of the fingerprints of all pairs.
    print: u128,
    /// Whether revisions belong to what is told apart.
    with_revisions: bool,
    undo: Vec<Undo>,
}

impl Store {
    /// A store that holds `snapshot`.
    pub(crate) fn new(snapshot: &Snapshot, blind: Vec<KeyRange>, with_revisions: bool) -> Self {
        let mut store = Self {
            revision: snapshot.revision,
            kvs: BTreeMap::new(),
            blind,
            print: 0,
            with_revisions,
            undo: Vec::new(),
        };
        for kv in &snapshot.kvs {
            store.set(&kv.key, Some(kv.clone()));
        }
        store.undo.clear();
        store
    }

    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// A fingerprint of the whole state: equal states have equal ones.
    pub(crate) fn print(&self) -> u128 {
        let revision = if self.with_revisions {
            self.revision
        } else {
            0
        };
        // Named, so that it never cancels out against another number.
        self.print ^ fingerprint(&("revision", revision))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Kv> {
        self.kvs.get(key)
    }

    /// Leases that keys hang on.
    pub(crate) fn leases(&self) -> Vec<i64> {
        let mut leases: Vec<i64> = self.kvs.values().map(|kv| kv.lease).collect();
        leases.sort_unstable();
        leases.dedup();
        leases.retain(|lease| *lease != 0);
        leases
    }

    pub(crate) fn is_blind(&self, range: &KeyRange) -> bool {
        self.blind.iter().any(|blind| blind.overlaps(range))
    }

    /// A point to go back to.
    pub(crate) fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Goes back to a point.
    pub(crate) fn rollback(&mut self, mark: usize) {
        while self.undo.len() > mark {
            match self.undo.pop() {
                Some(Undo::Revision(revision)) => self.revision = revision,
                Some(Undo::Key(key, kv)) => self.replace(key, kv),
                None => {}
            }
        }
    }

    /// Does what is asked. `succeeded` tells how compares went that nobody can judge here.
    pub(crate) fn apply(&mut self, request: &Request, succeeded: Option<bool>) -> Applied {
        let next = self.revision + 1;
        let mut events = Vec::new();
        let response = match request {
            Request::Get(get) => self.read(get),
            Request::Put(put) => self.put(put, next, &mut events),
            Request::Delete(delete) => self.delete(delete, next, &mut events),
            Request::Txn(txn) => self.txn(txn, next, succeeded, &mut events),
            Request::Revoke { lease } => {
                self.end_lease(*lease, next, &mut events);
                Response::Revoke
            }
        };
        if !events.is_empty() {
            self.advance();
        }
        Applied { response, events }
    }

    /// The end of a lease by itself.
    pub(crate) fn expire(&mut self, lease: i64) -> Vec<Event> {
        self.apply(&Request::Revoke { lease }, None).events
    }

    /// Makes a revision of changes that are known only by what they changed.
    pub(crate) fn take(&mut self, events: &[Event]) {
        for event in events {
            let kv = (event.kind == EventKind::Put).then(|| event.kv.clone());
            self.set(&event.kv.key, kv);
        }
        self.advance();
    }

    fn advance(&mut self) {
        self.undo.push(Undo::Revision(self.revision));
        self.revision += 1;
    }

    fn set(&mut self, key: &Bytes, kv: Option<Kv>) {
        let before = self.kvs.get(key).cloned();
        self.undo.push(Undo::Key(key.clone(), before));
        self.replace(key.clone(), kv);
    }

    fn replace(&mut self, key: Bytes, kv: Option<Kv>) {
        let before = match kv {
            Some(kv) => {
                self.print ^= self.print_of(&kv);
                self.kvs.insert(key, kv)
            }
            None => self.kvs.remove(&key),
        };
        if let Some(before) = before {
            self.print ^= self.print_of(&before);
        }
    }

    fn print_of(&self, kv: &Kv) -> u128 {
        if self.with_revisions {
            fingerprint(&("pair", kv))
        } else {
            fingerprint(&(&kv.key, &kv.value, kv.version, kv.lease))
        }
    }

    fn within<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a Kv> {
        let from = Bound::Included(&range.key[..]);
        let kvs = self.kvs.range::<[u8], _>((from, Bound::Unbounded));
        kvs.map(|(_, kv)| kv)
            .take_while(|kv| range.contains(&kv.key))
    }

    /// Reads the present, whatever revision was asked for.
    pub(crate) fn read(&self, get: &Get) -> Response {
        let mut kvs: Vec<Kv> = self.within(&get.range).cloned().collect();
        let count = i64::try_from(kvs.len()).unwrap_or(i64::MAX);
        if get.limit > 0 {
            kvs.truncate(usize::try_from(get.limit).unwrap_or(usize::MAX));
        }
        Response::Get {
            kvs,
            count: Some(count),
        }
    }

    fn put(&mut self, put: &Put, next: i64, events: &mut Vec<Event>) -> Response {
        let before = self.kvs.get(&put.key).cloned();
        let kv = Kv {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: before.as_ref().map_or(next, |kv| kv.create_revision),
            mod_revision: next,
            version: before.as_ref().map_or(0, |kv| kv.version) + 1,
            lease: put.lease,
        };
        self.set(&put.key, Some(kv.clone()));
        events.push(Event {
            kind: EventKind::Put,
            kv,
            prev_kv: before.clone(),
        });
        Response::Put {
            prev_kv: before.filter(|_| put.prev_kv),
        }
    }

    fn remove(&mut self, kvs: Vec<Kv>, next: i64, events: &mut Vec<Event>) {
        for kv in kvs {
            self.set(&kv.key, None);
            events.push(Event {
                kind: EventKind::Delete,
                kv: Kv {
                    key: kv.key.clone(),
                    mod_revision: next,
                    ..Kv::default()
                },
                prev_kv: Some(kv),
            });
        }
    }

    fn delete(&mut self, delete: &Delete, next: i64, events: &mut Vec<Event>) -> Response {
        let kvs: Vec<Kv> = self.within(&delete.range).cloned().collect();
        self.remove(kvs.clone(), next, events);
        Response::Delete {
            deleted: i64::try_from(kvs.len()).unwrap_or(i64::MAX),
            prev_kvs: if delete.prev_kv { kvs } else { Vec::new() },
        }
    }

    fn end_lease(&mut self, lease: i64, next: i64, events: &mut Vec<Event>) {
        let hangs = |kv: &&Kv| lease != 0 && kv.lease == lease;
        let kvs = self.kvs.values().filter(hangs).cloned().collect();
        self.remove(kvs, next, events);
    }

    fn txn(
        &mut self,
        txn: &Txn,
        next: i64,
        told: Option<bool>,
        events: &mut Vec<Event>,
    ) -> Response {
        let is_blind = |compare: &Compare| self.is_blind(&compare.range);
        let succeeded = if txn.compares.iter().any(is_blind) {
            told.unwrap_or(true)
        } else {
            txn.compares.iter().all(|compare| self.holds(compare))
        };
        let ops = if succeeded { &txn.then } else { &txn.otherwise };
        let responses = ops
            .iter()
            .map(|op| match op {
                TxnOp::Get(get) => self.read(get),
                TxnOp::Put(put) => self.put(put, next, events),
                TxnOp::Delete(delete) => self.delete(delete, next, events),
            })
            .collect();
        Response::Txn {
            succeeded,
            responses,
        }
    }

    /// A missing key compares as 0, but its value compares as nothing at all.
    fn holds(&self, compare: &Compare) -> bool {
        let mut kvs = self.within(&compare.range).peekable();
        if kvs.peek().is_none() {
            return !matches!(compare.target, Target::Value(_)) && fulfils(compare, &Kv::default());
        }
        kvs.all(|kv| fulfils(compare, kv))
    }
}

fn fulfils(compare: &Compare, kv: &Kv) -> bool {
    let order = match &compare.target {
        Target::Version(given) => kv.version.cmp(given),
        Target::CreateRevision(given) => kv.create_revision.cmp(given),
        Target::ModRevision(given) => kv.mod_revision.cmp(given),
        Target::Lease(given) => kv.lease.cmp(given),
        Target::Value(given) => kv.value.cmp(given),
    };
    match compare.result {
        CompareResult::Equal => order.is_eq(),
        CompareResult::NotEqual => order.is_ne(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
    }
}

/// 128 bits, so that two of millions of states do not meet by chance.
pub(crate) fn fingerprint(what: &impl Hash) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        what.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Store {
        Store::new(&Snapshot::default(), Vec::new(), true)
    }

    fn get(store: &mut Store, key: &'static str) -> Option<Kv> {
        match store.apply(&Request::get(key), None).response {
            Response::Get { kvs, .. } => kvs.into_iter().next(),
            _ => None,
        }
    }

    #[test]
    fn revisions_and_versions_follow_the_rules() {
        let mut store = empty();
        store.apply(&Request::put("a", "1"), None);
        store.apply(&Request::put("a", "2"), None);
        let kv = get(&mut store, "a").unwrap();
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
        let gone = store.apply(&Request::delete("a"), None);
        assert_eq!((gone.events.len(), store.revision()), (1, 4));
        let again = store.apply(&Request::delete("a"), None);
        assert_eq!((again.events.len(), store.revision()), (0, 4));
        store.apply(&Request::put("a", "3"), None);
        assert_eq!(get(&mut store, "a").unwrap().version, 1);
    }

    #[test]
    fn a_transaction_compares_the_state_before_and_reads_its_own_writes() {
        let mut store = empty();
        let compare = |target| Compare {
            range: KeyRange::key("a"),
            result: CompareResult::Equal,
            target,
        };
        let txn = Request::Txn(Txn {
            compares: vec![compare(Target::CreateRevision(0))],
            then: vec![
                TxnOp::Put(Put::new("a", "1")),
                TxnOp::Get(Get {
                    range: KeyRange::key("a"),
                    ..Get::default()
                }),
            ],
            otherwise: vec![],
        });
        let Response::Txn {
            succeeded,
            responses,
        } = store.apply(&txn, None).response
        else {
            panic!("no answer to a transaction");
        };
        assert!(succeeded);
        assert!(matches!(&responses[1], Response::Get { kvs, .. } if kvs[0].mod_revision == 2));
        let second = store.apply(&txn, None);
        assert!(second.events.is_empty() && store.revision() == 2);
        assert!(!empty().holds(&Compare {
            result: CompareResult::NotEqual,
            ..compare(Target::Value("x".into()))
        }));
    }

    #[test]
    fn the_way_back_restores_state_and_fingerprint() {
        let mut store = empty();
        store.apply(&Request::put("a", "1"), None);
        let (mark, print) = (store.mark(), store.print());
        store.apply(&Request::put("b", "2"), None);
        store.apply(&Request::delete("a"), None);
        assert_ne!(store.print(), print);
        store.rollback(mark);
        assert_eq!((store.print(), store.revision()), (print, 2));
        assert!(get(&mut store, "a").is_some() && get(&mut store, "b").is_none());
    }

    #[test]
    fn a_lease_takes_its_keys_along_in_one_revision() {
        let mut store = empty();
        for key in ["a", "b", "c"] {
            let mut put = Put::new(key, "x");
            put.lease = if key == "c" { 0 } else { 7 };
            store.apply(&Request::Put(put), None);
        }
        assert_eq!(store.leases(), [7]);
        assert_eq!(store.expire(7).len(), 2);
        assert_eq!((store.revision(), store.kvs.len()), (5, 1));
    }
}
