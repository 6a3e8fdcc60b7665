//! Ranges: what a request for keys answers.
//!
//! Owns limits, counts, filters and order as etcd has them, oddities included. Must not know how
//! versions are found.

use std::{cmp::Ordering, ops::Bound};

use handfast_proto::{
    etcdserverpb::{
        RangeRequest, RangeResponse, ResponseHeader,
        range_request::{SortOrder, SortTarget},
    },
    mvccpb::KeyValue,
};

use crate::{
    Error, KeyRange,
    keyspace::Keyspace,
    select::{Access, Item, Walk, fetch},
};

/// Answers a range. `pinned` is the revision that counts as the newest, if not the real one.
pub(crate) fn evaluate(
    access: &impl Access,
    request: &RangeRequest,
    pinned: Option<i64>,
) -> Result<RangeResponse, Error> {
    let query = Query::new(request);
    let start = access.with(|keyspace| query.start(keyspace, pinned))?;
    if let Some(item) = start.complete {
        return Ok(query.respond(start.head, item.into_iter().collect(), None, false));
    }
    if request.count_only {
        let count = query.count(access, &start)?;
        return Ok(query.respond(start.head, Vec::new(), Some(count), false));
    }
    let mut items = Vec::new();
    let mut walk = Walk::new(&query.range, start.at);
    walk.collect(access, query.fetch_limit(), &mut items)?;
    let count = if walk.is_done() {
        items.len()
    } else {
        query.count(access, &start)?
    };
    query.arrange(access, start.at, &mut items)?;
    let more = items.len() > query.limit;
    items.truncate(query.limit);
    fetch(access, start.at, !request.keys_only, &mut items)?;
    Ok(query.respond(start.head, items, Some(count), more))
}

/// A request, read once.
struct Query<'r> {
    request: &'r RangeRequest,
    range: KeyRange,
    limit: usize,
    order: SortOrder,
    target: SortTarget,
    filtered: bool,
}

/// What the first hold of the lock finds out.
struct Start {
    head: i64,
    at: i64,
    /// Number of keys in the range, when it could be told without a visit.
    count: Option<usize>,
    /// The whole answer, when one key is asked for and memory has it.
    complete: Option<Option<Item>>,
}

impl<'r> Query<'r> {
    fn new(request: &'r RangeRequest) -> Self {
        let limit = match request.limit {
            ..=0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        Self {
            request,
            range: KeyRange::parse(&request.key, &request.range_end),
            limit,
            order: request.sort_order(),
            target: request.sort_target(),
            filtered: request.min_mod_revision != 0
                || request.max_mod_revision != 0
                || filters_creation(request),
        }
    }

    /// How many keys are looked for: one more than wanted tells whether there are more. Filters
    /// and an order apply to the whole range, but a target without an order does not (etcd).
    fn fetch_limit(&self) -> usize {
        let whole = self.filtered || self.order != SortOrder::None;
        if whole {
            usize::MAX
        } else {
            self.limit.saturating_add(1)
        }
    }

    fn start(&self, keyspace: &Keyspace, pinned: Option<i64>) -> Result<Start, Error> {
        let head = pinned.unwrap_or_else(|| keyspace.head());
        let at = keyspace.resolve(self.request.revision, head)?;
        let is_newest = at >= keyspace.head();
        let wants_count = self.request.count_only || self.fetch_limit() != usize::MAX;
        let count = (wants_count && is_newest).then(|| keyspace.count(&self.range));
        let complete = match &self.range {
            KeyRange::One(key) if !self.filtered && !self.request.count_only => {
                let version = keyspace.version_at(key, at);
                let mut item = version.map(|version| Item::new(key.clone(), version));
                let wants = |item: &Item| !self.request.keys_only || !item.has_meta();
                let lacks = item
                    .as_mut()
                    .is_some_and(|item| wants(item) && !item.fill_from_memory(keyspace));
                (!lacks).then_some(item)
            }
            _ => None,
        };
        Ok(Start {
            head,
            at,
            count,
            complete,
        })
    }

    fn count(&self, access: &impl Access, start: &Start) -> Result<usize, Error> {
        if let Some(count) = start.count {
            return Ok(count);
        }
        if self.range.is_empty() {
            return Ok(0);
        }
        let (low, high) = self.range.bounds();
        let mut count = 0;
        let mut from: Option<Box<[u8]>> = None;
        loop {
            let low = from.as_deref().map_or(low, Bound::Included);
            let (part, next) = access.with(|keyspace| {
                keyspace.check(start.at)?;
                Ok::<_, Error>(keyspace.count_at(low, high, start.at))
            })?;
            count += part;
            from = next;
            if from.is_none() {
                return Ok(count);
            }
        }
    }

    /// Filters and sorts, after fetching what that needs.
    fn arrange(&self, access: &impl Access, at: i64, items: &mut Vec<Item>) -> Result<(), Error> {
        let by_value = self.target == SortTarget::Value;
        let by_meta = matches!(self.target, SortTarget::Version | SortTarget::Create);
        if by_value || by_meta || filters_creation(self.request) {
            fetch(access, at, by_value, items)?;
        }
        if self.filtered {
            items.retain(|item| passes(self.request, &item.kv));
        }
        match (self.order, self.target) {
            (SortOrder::None | SortOrder::Ascend, SortTarget::Key) => {}
            (SortOrder::None | SortOrder::Ascend, target) => {
                items.sort_by(|a, b| compare(target, &a.kv, &b.kv));
            }
            (SortOrder::Descend, target) => {
                items.sort_by(|a, b| compare(target, &b.kv, &a.kv));
            }
        }
        Ok(())
    }

    fn respond(
        &self,
        head: i64,
        items: Vec<Item>,
        count: Option<usize>,
        more: bool,
    ) -> RangeResponse {
        let count = count.unwrap_or(items.len());
        let mut kvs: Vec<KeyValue> = items.into_iter().map(|item| item.kv).collect();
        if self.request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        RangeResponse {
            header: Some(ResponseHeader {
                revision: head,
                ..ResponseHeader::default()
            }),
            kvs,
            more,
            count: i64::try_from(count).unwrap_or(i64::MAX),
        }
    }
}

fn filters_creation(request: &RangeRequest) -> bool {
    request.min_create_revision != 0 || request.max_create_revision != 0
}

fn passes(request: &RangeRequest, kv: &KeyValue) -> bool {
    let within = |revision: i64, min: i64, max: i64| {
        (min == 0 || revision >= min) && (max == 0 || revision <= max)
    };
    within(
        kv.mod_revision,
        request.min_mod_revision,
        request.max_mod_revision,
    ) && within(
        kv.create_revision,
        request.min_create_revision,
        request.max_create_revision,
    )
}

fn compare(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}
