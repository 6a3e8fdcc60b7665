//! Creating, refusing, numbering and cancelling watchers.

use bytes::Bytes;
use handfast_proto::etcdserverpb::WatchCreateRequest;
use handfast_proto::etcdserverpb::WatchRequest;
use handfast_proto::etcdserverpb::watch_create_request::FilterType;

use super::model::{Model, delete, put};
use super::*;
use crate::recent::Window;

fn setup() -> (Arc<Model>, Client) {
    let model = Model::new(Window::default());
    let client = Client::new(&model);
    (model, client)
}

fn with_id(watch_id: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        watch_id,
        ..watch("k", "")
    }
}

#[test]
fn a_create_is_answered_with_the_revision_and_before_events() {
    let (model, mut client) = setup();
    model.put("k", "old");
    client.stream.handle(create(watch("k", "")));
    client.stream.handle(create(watch_from("k", 2)));
    assert_eq!(
        client.ready(),
        ["0@2 created", "1@2 created", "1@2 +k=old@2"]
    );
    model.put("k", "new");
    assert_eq!(client.ready(), ["0@3 +k=new@3", "1@3 +k=new@3"]);
}

#[test]
fn ids_count_from_zero_skip_those_in_use_and_are_not_reused() {
    let (_, mut client) = setup();
    assert_eq!(client.ask(create(with_id(0))), ["0@1 created"]);
    assert_eq!(client.ask(create(with_id(1))), ["1@1 created"]);
    assert_eq!(client.ask(create(with_id(-7))), ["-7@1 created"]);
    assert_eq!(client.ask(create(with_id(0))), ["2@1 created"]);
    assert_eq!(client.ask(cancel(2)), ["2@1 canceled"]);
    assert_eq!(client.ask(create(with_id(0))), ["3@1 created"]);
    assert_eq!(client.ask(create(with_id(2))), ["2@1 created"]);
    assert_eq!(client.stream.watchers(), 5);
}

#[test]
fn bad_creates_are_refused_with_the_known_texts_and_the_stream_goes_on() {
    let (model, mut client) = setup();
    client.ask(create(with_id(5)));
    assert_eq!(
        client.ask(create(with_id(5))),
        ["-1@1 created canceled (mvcc: duplicate watch ID provided on the WatchStream)"]
    );
    let empty = "-1@1 created canceled (mvcc: watcher range is empty)";
    assert_eq!(client.ask(create(watch("b", "a"))), [empty]);
    assert_eq!(client.ask(create(watch("b", "b"))), [empty]);
    assert_eq!(
        client.ask(create(watch_from("k", -1))),
        ["-1@1 created canceled (etcdserver: mvcc: required revision has been compacted)"]
    );
    model.put("k", "v");
    assert_eq!(client.ready(), ["5@2 +k=v@2"]);
    assert_eq!(client.stream.watchers(), 1);
}

#[test]
fn a_refusal_from_outside_keeps_its_turn() {
    let (_, mut client) = setup();
    client.stream.handle(create(watch("a", "")));
    client.stream.refuse_create("no");
    client.stream.handle(create(watch("b", "")));
    assert_eq!(
        client.ready(),
        ["0@1 created", "-1@1 created canceled (no)", "1@1 created"]
    );
}

#[test]
fn an_empty_key_means_the_smallest_one() {
    let (model, mut client) = setup();
    client.ask(create(watch("", "\0")));
    client.ask(create(watch("", "b")));
    client.ask(create(watch("", "")));
    model.put("\0", "zero");
    model.put("a", "1");
    model.put("c", "2");
    assert_eq!(
        client.ready(),
        [
            "0@2 +\0=zero@2",
            "1@2 +\0=zero@2",
            "2@2 +\0=zero@2",
            "0@3 +a=1@3",
            "1@3 +a=1@3",
            "0@4 +c=2@4",
        ]
    );
}

#[test]
fn ranges_are_half_open_or_open() {
    let (model, mut client) = setup();
    client.ask(create(watch("b", "d")));
    client.ask(create(watch("c", "\0")));
    model.commit(
        ["a", "b", "c", "d"]
            .iter()
            .map(|key| vec![put(key, "")])
            .collect(),
    );
    assert_eq!(
        client.ready(),
        ["0@3 +b=@3", "0@4 +c=@4", "1@4 +c=@4", "1@5 +d=@5"]
    );
}

#[test]
fn cancelling_is_answered_once_and_unknown_ids_not_at_all() {
    let (model, mut client) = setup();
    client.ask(create(watch("k", "")));
    model.put("k", "v");
    client.stream.handle(cancel(0));
    assert_eq!(client.ready(), ["0@2 canceled"]);
    assert!(client.ask(cancel(0)).is_empty());
    assert!(client.ask(cancel(9)).is_empty());
    model.put("k", "w");
    assert!(client.ready().is_empty());
}

#[test]
fn an_empty_request_is_ignored() {
    let (_, mut client) = setup();
    assert!(
        client
            .ask(WatchRequest {
                request_union: None
            })
            .is_empty()
    );
}

#[test]
fn nobody_is_woken_for_what_no_watcher_wants() {
    let (model, mut client) = setup();
    client.ask(create(watch("k", "")));
    client.ask(create(watch("p/", "p0")));
    model.put("other", "");
    assert_eq!(client.wakes(), 0);
    model.commit(vec![
        vec![put("k", "1")],
        vec![put("k", "2")],
        vec![put("p/x", "3")],
    ]);
    assert_eq!(client.wakes(), 1, "once per batch");
    client.ready();
    client.ask(cancel(0));
    model.put("k", "3");
    assert_eq!(client.wakes(), 0);
    model.put("p/y", "3");
    assert_eq!(client.wakes(), 1);
}

#[test]
fn a_closed_stream_leaves_nothing_behind() {
    let (model, mut client) = setup();
    client.ask(create(watch("k", "")));
    client.ask(create(watch("k", "")));
    client.ask(create(watch("a", "z")));
    let wakes = Arc::clone(&client.wakes);
    drop(client);
    model.put("k", "v");
    assert_eq!(wakes.load(Ordering::SeqCst), 0);
    assert_eq!(model.hub.streams(), 0);
    let mut next = Client::new(&model);
    assert_eq!(
        next.ask(create(watch_from("k", 2))),
        ["0@2 created", "0@2 +k=v@2"]
    );
}

#[test]
fn filters_drop_kinds_of_events_and_empty_responses() {
    let (model, mut client) = setup();
    let filtered = |filters: &[FilterType]| {
        let filters = filters.iter().map(|filter| *filter as i32).collect();
        create(WatchCreateRequest {
            filters,
            start_revision: 2,
            ..watch("a", "z")
        })
    };
    client.ask(filtered(&[FilterType::Noput]));
    client.ask(filtered(&[FilterType::Nodelete]));
    client.ask(filtered(&[FilterType::Noput, FilterType::Nodelete]));
    model.put("k", "v");
    model.delete("k");
    assert_eq!(client.ready(), ["1@2 +k=v@2", "0@3 -k@3"]);
    // Replayed, it is the same.
    let mut late = Client::new(&model);
    late.ask(filtered(&[FilterType::Noput, FilterType::Nodelete]));
    assert_eq!(
        late.ask(filtered(&[FilterType::Noput])),
        ["1@3 created", "1@3 -k@3"]
    );
}

/// Found by the simulation: an event came without the pair before it, from a disk that failed.
#[test]
fn who_asked_for_pairs_before_that_cannot_be_read_is_canceled_and_others_go_on() {
    let (model, mut client) = setup();
    client.ask(create(WatchCreateRequest {
        prev_kv: true,
        ..watch("k", "")
    }));
    client.ask(create(watch("k", "")));
    model.put("k", "1");
    assert_eq!(client.ready(), ["0@2 +k=1@2", "1@2 +k=1@2"]);
    model.break_disk();
    model.put("k", "2");
    let canceled = "0@0 canceled (etcdserver: cannot read history: no such disk)";
    let ready = client.ready();
    assert!(ready.iter().any(|it| it == canceled), "{ready:?}");
    assert!(ready.iter().any(|it| it == "1@3 +k=2@3"), "{ready:?}");
    assert_eq!(ready.len(), 2, "{ready:?}");
    model.put("k", "3");
    assert_eq!(client.ready(), ["1@4 +k=3@4"]);
}

#[test]
fn the_pair_before_is_sent_to_who_asked_unless_it_is_compacted() {
    let (model, mut client) = setup();
    client.ask(create(watch("k", "")));
    client.ask(create(WatchCreateRequest {
        prev_kv: true,
        ..watch("k", "")
    }));
    model.put("k", "1");
    model.put("k", "2");
    model.delete("k");
    model.put("k", "3");
    assert_eq!(
        client.ready(),
        [
            "0@2 +k=1@2",
            "1@2 +k=1@2",
            "0@3 +k=2@3",
            "1@3 +k=2@3[1]",
            "0@4 -k@4",
            "1@4 -k@4[2]",
            "0@5 +k=3@5",
            "1@5 +k=3@5",
        ]
    );
    model.put("k", "4");
    model.compact(6);
    assert_eq!(client.ready(), ["0@6 +k=4@6", "1@6 +k=4@6"]);
}

#[test]
fn one_revision_is_one_response_in_execution_order() {
    let (model, mut client) = setup();
    client.ask(create(watch("a", "z")));
    client.ask(create(watch("b", "")));
    model.put("c", "0");
    client.ready();
    model.commit(vec![
        vec![put("b", "1"), put("a", "2"), delete("c")],
        vec![put("a", "3")],
    ]);
    assert_eq!(
        client.ready(),
        ["0@3 +b=1@3 +a=2@3 -c@3", "1@3 +b=1@3", "0@4 +a=3@4"]
    );
}

#[test]
fn values_are_shared_with_the_ring() {
    let (model, mut client) = setup();
    client.ask(create(watch("k", "")));
    model.put("k", "value");
    let response = client.drain().remove(0);
    let sent: &Bytes = &response.events[0].kv.as_ref().unwrap().value;
    let held = model.recent.value_of(2, 0).unwrap().value;
    assert_eq!(sent.as_ptr(), held.as_ptr());
}
