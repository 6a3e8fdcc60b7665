//! Random histories: every watcher sees exactly what the model says, in order, whole revisions.

use std::collections::HashMap;

use handfast_proto::etcdserverpb::WatchCreateRequest;
use handfast_proto::etcdserverpb::watch_create_request::FilterType;
use handfast_proto::mvccpb;
use proptest::prelude::*;

use super::model::{Change, Model, delete, put};
use super::*;
use crate::KeyRange;
use crate::recent::{Event, Window};
use crate::watch::History;

const KEYS: [&str; 6] = ["a", "a/1", "a/2", "b", "b/1", "c"];
const ENDS: [&str; 6] = ["", "", "\0", "a0", "b0", "c"];
const STREAMS: usize = 3;

#[derive(Clone, Debug)]
struct NewWatch {
    key: usize,
    end: usize,
    /// Start relative to the current revision; `None` is "from now on".
    start: Option<i64>,
    options: u8,
    id: i64,
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Vec<(usize, bool)>>),
    Create(usize, NewWatch),
    Cancel(usize, usize),
    Progress(usize),
    Tick(usize),
    Poll(usize, usize),
    Drain(usize),
    Reopen(usize),
    Flush,
    Compact(i64),
    Install(Vec<Vec<(usize, bool)>>),
}

fn new_watch() -> impl Strategy<Value = NewWatch> {
    let start = prop_oneof![2 => Just(None), 5 => (-25i64..6).prop_map(Some)];
    let id = prop_oneof![4 => Just(0i64), 1 => 1i64..8, 1 => Just(-2)];
    (0..KEYS.len(), 0..ENDS.len(), start, any::<u8>(), id).prop_map(
        |(key, end, start, options, id)| NewWatch {
            key,
            end,
            start,
            options,
            id,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let change = (0..KEYS.len(), prop::bool::weighted(0.7));
    let commits = prop::collection::vec(prop::collection::vec(change, 1..4), 1..5);
    let stream = 0..STREAMS;
    let poll =
        (stream.clone(), 0usize..2_000).prop_map(|(stream, budget)| Step::Poll(stream, budget));
    prop_oneof![
        10 => commits.clone().prop_map(Step::Commit),
        4 => (stream.clone(), new_watch()).prop_map(|(stream, new)| Step::Create(stream, new)),
        1 => (stream.clone(), 0usize..8).prop_map(|(stream, pick)| Step::Cancel(stream, pick)),
        2 => stream.clone().prop_map(Step::Progress),
        1 => stream.clone().prop_map(Step::Tick),
        6 => poll,
        2 => stream.clone().prop_map(Step::Drain),
        1 => stream.prop_map(Step::Reopen),
        3 => Just(Step::Flush),
        1 => (0i64..20).prop_map(Step::Compact),
        1 => commits.prop_map(Step::Install),
    ]
}

/// What a watcher must get, as its client knows it.
struct Expected {
    request: WatchCreateRequest,
    range: KeyRange,
    /// Everything below was seen.
    next: i64,
}

impl Expected {
    fn wants(&self, event: &Event) -> bool {
        let filter = if event.tombstone {
            FilterType::Nodelete
        } else {
            FilterType::Noput
        };
        self.range.contains(&event.kv.key) && !self.request.filters.contains(&(filter as i32))
    }
}

/// A client that checks all it is told.
struct Checker {
    client: Client,
    /// Requests that were not answered yet.
    asked: Vec<WatchCreateRequest>,
    watchers: HashMap<i64, Expected>,
    /// Ids of watchers that compaction ended.
    ended: Vec<i64>,
    parts: Vec<mvccpb::Event>,
}

impl Checker {
    fn new(model: &Arc<Model>) -> Checker {
        let mut client = Client::new(model);
        client.stream = client.stream.with_max_response_bytes(400);
        Checker {
            client,
            asked: Vec::new(),
            watchers: HashMap::new(),
            ended: Vec::new(),
            parts: Vec::new(),
        }
    }

    fn create(&mut self, new: &NewWatch) {
        let current = self.client.model.revision();
        let start_revision = match new.start {
            None => 0,
            Some(offset) => (current + offset).max(1),
        };
        let flag = |bit: u8| new.options & (1 << bit) != 0;
        let mut filters = Vec::new();
        if flag(0) && flag(1) {
            filters.push(FilterType::Noput as i32);
        }
        if flag(2) && flag(3) {
            filters.push(FilterType::Nodelete as i32);
        }
        let request = WatchCreateRequest {
            start_revision,
            filters,
            prev_kv: flag(4),
            fragment: flag(5),
            progress_notify: flag(6),
            watch_id: new.id,
            ..watch(KEYS[new.key], ENDS[new.end])
        };
        self.asked.push(request.clone());
        self.client.stream.handle(create(request));
    }

    fn cancel(&mut self, pick: usize) {
        let mut ids: Vec<i64> = self.watchers.keys().chain(&self.ended).copied().collect();
        ids.sort_unstable();
        if !ids.is_empty() {
            self.client.stream.handle(cancel(ids[pick % ids.len()]));
        }
    }

    fn poll(&mut self, budget: usize) -> bool {
        let (responses, more) = self.client.poll(budget);
        for response in responses {
            self.check(response);
        }
        more
    }

    fn drain(&mut self) {
        let mut polls = 0;
        while self.poll(usize::MAX) {
            polls += 1;
            assert!(polls < 10_000, "a poll does not get on");
        }
    }

    fn check(&mut self, response: WatchResponse) {
        let revision = response.header.as_ref().unwrap().revision;
        let id = response.watch_id;
        if response.created {
            self.check_created(&response);
        } else if response.compact_revision != 0 {
            assert_eq!(revision, 0);
            let watcher = self.watchers.remove(&id).unwrap();
            assert!(watcher.next < response.compact_revision);
            assert!(self.parts.is_empty());
            self.ended.push(id);
        } else if response.canceled {
            assert!(response.events.is_empty() && response.cancel_reason.is_empty());
            let known = self.watchers.remove(&id).is_some();
            assert!(known || self.ended.contains(&id));
            self.ended.retain(|ended| *ended != id);
        } else if response.fragment {
            assert!(!response.events.is_empty());
            self.parts.extend(response.events);
        } else {
            let mut events = std::mem::take(&mut self.parts);
            events.extend(response.events);
            self.check_events(id, revision, &events);
        }
    }

    fn check_created(&mut self, response: &WatchResponse) {
        let revision = response.header.as_ref().unwrap().revision;
        let request = self.asked.remove(0);
        let range = KeyRange::parse(&request.key, &request.range_end);
        let id = response.watch_id;
        let duplicate = request.watch_id != 0
            && (self.watchers.contains_key(&request.watch_id)
                || self.ended.contains(&request.watch_id));
        if response.canceled {
            assert_eq!(id, -1);
            assert!(range.is_empty() || duplicate);
            return;
        }
        assert!(!range.is_empty() && !duplicate);
        assert!(request.watch_id == 0 || request.watch_id == id);
        let next = if request.start_revision == 0 {
            revision + 1
        } else {
            request.start_revision
        };
        let before = self.watchers.insert(
            id,
            Expected {
                request,
                range,
                next,
            },
        );
        assert!(before.is_none() && !self.ended.contains(&id));
    }

    /// A header at `revision` says that nothing up to it is missing.
    fn check_events(&mut self, id: i64, revision: i64, events: &[mvccpb::Event]) {
        let model = &self.client.model;
        if id == -1 && !self.watchers.contains_key(&id) {
            assert!(events.is_empty() && !self.watchers.is_empty());
            for watcher in self.watchers.values_mut() {
                let missed = model.truth(watcher.next, revision);
                assert!(!missed.iter().any(|event| watcher.wants(event)));
                assert!(watcher.request.start_revision <= revision);
                watcher.next = watcher.next.max(revision + 1);
            }
            return;
        }
        let watcher = self.watchers.get_mut(&id).unwrap();
        assert!(!events.is_empty() || watcher.request.progress_notify);
        let truth = model.truth(watcher.next, revision);
        let truth: Vec<&Event> = truth.iter().filter(|event| watcher.wants(event)).collect();
        assert_eq!(events.len(), truth.len());
        for (event, truth) in events.iter().zip(truth) {
            assert_eq!(event.kv.as_ref(), Some(&truth.kv));
            assert_eq!(event.r#type == 1, truth.tombstone);
            let wanted = watcher.request.prev_kv && !truth.is_creation();
            let previous = if wanted {
                model.previous(truth).unwrap()
            } else {
                None
            };
            assert_eq!(event.prev_kv, previous);
        }
        watcher.next = watcher.next.max(revision + 1);
    }

    /// After everything was delivered, nothing may be missing.
    fn finish(mut self) {
        self.drain();
        assert!(self.asked.is_empty() && self.parts.is_empty());
        let model = &self.client.model;
        for watcher in self.watchers.values() {
            let rest = model.truth(watcher.next, model.revision());
            assert!(!rest.iter().any(|event| watcher.wants(event)));
        }
    }
}

fn changes(commit: &[(usize, bool)], number: usize) -> Vec<Change> {
    let mut used = Vec::new();
    let mut changes = Vec::new();
    for (key, is_put) in commit {
        // A transaction changes a key at most once.
        if !used.contains(key) {
            used.push(*key);
            let value = format!("{number}/{key}");
            changes.push(if *is_put {
                put(KEYS[*key], &value)
            } else {
                delete(KEYS[*key])
            });
        }
    }
    changes
}

fn transactions(batch: &[Vec<(usize, bool)>], number: usize) -> Vec<Vec<Change>> {
    batch.iter().map(|commit| changes(commit, number)).collect()
}

fn run(ring: usize, steps: Vec<Step>) {
    let model = Model::new(Window {
        bytes: usize::MAX,
        revisions: ring,
    });
    let mut clients: Vec<Checker> = (0..STREAMS).map(|_| Checker::new(&model)).collect();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Commit(batch) => model.commit(transactions(&batch, number)),
            Step::Create(stream, new) => clients[stream].create(&new),
            Step::Cancel(stream, pick) => clients[stream].cancel(pick),
            Step::Progress(stream) => clients[stream].client.stream.handle(progress()),
            Step::Tick(stream) => clients[stream].client.stream.progress_tick(),
            Step::Poll(stream, budget) => {
                clients[stream].poll(budget);
            }
            Step::Drain(stream) => clients[stream].drain(),
            Step::Reopen(stream) => clients[stream] = Checker::new(&model),
            Step::Flush => model.flush(),
            Step::Compact(back) => model.compact(model.revision() - back),
            Step::Install(batch) => model.install(transactions(&batch, number)),
        }
    }
    clients.into_iter().for_each(Checker::finish);
    assert_eq!(model.hub.streams(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_watcher_sees_exactly_its_events(
        ring in 0usize..12,
        steps in prop::collection::vec(step(), 1..90),
    ) {
        run(ring, steps);
    }
}
