//! Watch streams on a real store: the seam between apply, the ring, the file and the hub.

use std::sync::atomic::{AtomicUsize, Ordering};

use handfast_proto::{
    etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion},
    mvccpb::{Event, event::EventType},
};

use super::*;
use crate::watch::WatchStream;

pub(super) struct Watching {
    stream: WatchStream,
    pub(super) wakes: Arc<AtomicUsize>,
}

impl Watching {
    pub(super) fn everything_from(store: &Store, start_revision: i64) -> Self {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&wakes);
        let wake = Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let mut stream = store.watch().open_stream(wake);
        let create = WatchCreateRequest {
            key: bytes("\0"),
            range_end: bytes("\0"),
            start_revision,
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        stream.handle(WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        });
        Self { stream, wakes }
    }

    pub(super) fn poll(&mut self, store: &Store) -> Vec<WatchResponse> {
        let mut responses = Vec::new();
        while self.stream.poll(store, &mut responses, 1 << 20) {}
        responses
    }

    pub(super) fn events(&mut self, store: &Store) -> Vec<Event> {
        self.poll(store)
            .into_iter()
            .flat_map(|response| response.events)
            .collect()
    }
}

/// Type, key, revision and the value before.
pub(super) fn told(events: &[Event]) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let before = |event: &Event| event.prev_kv.as_ref().map(|kv| text(&kv.value));
    events
        .iter()
        .map(|event| {
            let kv = event.kv.as_ref().unwrap();
            let kind = if event.r#type() == EventType::Put {
                "put"
            } else {
                "delete"
            };
            format!(
                "{kind} {} {} {:?}",
                text(&kv.key),
                kv.mod_revision,
                before(event)
            )
        })
        .collect()
}

#[test]
fn a_live_watch_is_woken_once_per_batch_and_sees_each_revision() {
    let mut fixture = Fixture::new();
    let mut watching = Watching::everything_from(fixture.store(), 0);
    assert!(watching.poll(fixture.store())[0].created);
    fixture.apply(vec![put("a", "1"), put("a", "2"), delete("a", "")]);
    assert_eq!(watching.wakes.load(Ordering::Relaxed), 1);
    let responses = watching.poll(fixture.store());
    let revisions: Vec<_> = responses
        .iter()
        .map(|response| response.header.unwrap().revision)
        .collect();
    assert_eq!(revisions, [2, 3, 4]);
    let events: Vec<_> = responses
        .into_iter()
        .flat_map(|response| response.events)
        .collect();
    let expected = [
        r#"put a 2 None"#,
        r#"put a 3 Some("1")"#,
        r#"delete a 4 Some("2")"#,
    ];
    assert_eq!(told(&events), expected);
}

#[test]
fn history_is_the_same_from_the_ring_from_the_file_and_after_a_restart() {
    let mut fixture = Fixture::small();
    fixture.apply(vec![grant(1), put("a", "1")]);
    for value in 0..50 {
        let attached = PutRequest {
            lease: 1,
            ..put_request("b", &"v".repeat(value))
        };
        fixture.apply(vec![
            Op::Put(attached),
            delete("a", "b\0"),
            put("a", "again"),
        ]);
    }
    let attached = PutRequest {
        lease: 1,
        ..put_request("c", "x")
    };
    fixture.apply(vec![Op::Put(attached), revoke(1)]);
    let from_ring = Watching::everything_from(fixture.store(), 2).events(fixture.store());
    assert_eq!(from_ring.len(), 1 + 50 * 4 + 2);
    fixture.store().flush().unwrap();
    assert!(
        fixture.store().watch().recent().floor() > 2,
        "the ring let go of what is on disk"
    );
    let from_file = Watching::everything_from(fixture.store(), 2).events(fixture.store());
    assert_eq!(from_file, from_ring);
    fixture.reopen();
    let mut reopened = Watching::everything_from(fixture.store(), 2);
    assert_eq!(reopened.events(fixture.store()), from_ring);
    fixture.one(put("live", ""));
    assert_eq!(
        told(&reopened.events(fixture.store())),
        ["put live 155 None"]
    );
}

#[test]
fn a_swept_compaction_keeps_its_own_revision_and_nothing_below() {
    let mut fixture = Fixture::small();
    fixture.apply(vec![
        put("a", "1"),
        put("b", "1"),
        delete("a", ""),
        put("b", "2"),
    ]);
    fixture.one(compact(4));
    fixture.sweep_all();
    fixture.reopen();
    let store = fixture.store();
    let at_the_mark = Watching::everything_from(store, 4).events(store);
    // What the deletion ended is compacted, what the put replaced is not: it is readable at 4.
    assert_eq!(
        told(&at_the_mark),
        ["delete a 4 None", r#"put b 5 Some("1")"#]
    );
    let responses = Watching::everything_from(store, 3).poll(store);
    assert!(responses[0].created && !responses[0].canceled);
    assert!(responses[1].canceled);
    assert_eq!((responses[1].compact_revision, responses.len()), (4, 2));
}
