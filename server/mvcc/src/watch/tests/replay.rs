//! Watching from past and future revisions, and compaction.

use handfast_proto::etcdserverpb::WatchCreateRequest;

use super::model::{Model, delete, put};
use super::*;
use crate::recent::Window;

/// A ring that keeps `revisions` of what is flushed.
fn setup(revisions: usize) -> (Arc<Model>, Client) {
    let model = Model::new(Window {
        bytes: usize::MAX,
        revisions,
    });
    let client = Client::new(&model);
    (model, client)
}

#[test]
fn a_watch_from_the_current_revision_is_live_at_once() {
    for ring in [0, 10] {
        let (model, mut client) = setup(ring);
        model.put("k", "1");
        model.put("k", "2");
        model.flush();
        client.stream.handle(create(watch_from("k", 3)));
        let (responses, more) = client.poll(usize::MAX);
        assert_eq!(short(&responses[0]), "0@3 created");
        assert_eq!(short(&responses[1]), "0@3 +k=2@3");
        assert!(!more);
        model.put("k", "3");
        assert_eq!(client.wakes(), 1);
        assert_eq!(client.ready(), ["0@4 +k=3@4"]);
    }
}

#[test]
fn a_future_watch_gets_nothing_early() {
    let (model, mut client) = setup(10);
    assert_eq!(client.ask(create(watch_from("k", 4))), ["0@1 created"]);
    model.put("k", "2");
    model.put("k", "3");
    model.put("k", "4");
    assert_eq!(client.ready(), ["0@4 +k=4@4"]);
}

#[test]
fn a_future_watch_stays_so_when_its_stream_falls_behind() {
    let (model, mut client) = setup(0);
    client.ask(create(watch_from("k", 8)));
    client.ask(create(watch("k", "")));
    for number in 2..=9 {
        model.put("k", &number.to_string());
        model.flush();
    }
    let ready = client.ready();
    assert_eq!(ready[0], "0@9 +k=8@8 +k=9@9");
    assert!(ready[1].starts_with("1@9 +k=2@2 "));
    assert_eq!(ready.len(), 2);
}

#[test]
fn history_is_replayed_at_most_a_thousand_revisions_at_a_time() {
    for ring in [0, 100, 10_000] {
        let (model, mut client) = setup(ring);
        for number in 0..2_500 {
            model.put("k", &number.to_string());
        }
        model.flush();
        client.stream.handle(create(watch_from("k", 2)));
        let responses = client.drain();
        assert!(responses[0].created);
        let mut next = 2;
        for response in &responses[1..] {
            assert!(response.events.len() <= 1000);
            for event in &response.events {
                assert_eq!(event.kv.as_ref().unwrap().mod_revision, next);
                next += 1;
            }
            assert_eq!(response.header.as_ref().unwrap().revision, next - 1);
        }
        assert_eq!(next, 2_502);
    }
}

#[test]
fn a_replay_ends_in_a_header_at_the_current_revision() {
    let (model, mut client) = setup(10);
    model.put("k", "1");
    model.put("other", "2");
    model.put("other", "3");
    assert_eq!(
        client.ask(create(watch_from("k", 1))),
        ["0@4 created", "0@4 +k=1@2"]
    );
}

#[test]
fn watchers_at_different_places_each_get_their_own_history() {
    for ring in [0, 3, 10] {
        let (model, mut client) = setup(ring);
        for number in 2..=9 {
            model.put("k", &number.to_string());
        }
        model.flush();
        for start in [9, 2, 6, 8, 10, 7, 5, 4, 3, 2] {
            client.stream.handle(create(watch_from("k", start)));
        }
        let responses = client.drain();
        for (id, start) in [9, 2, 6, 8, 10, 7, 5, 4, 3, 2].into_iter().enumerate() {
            let own = responses
                .iter()
                .filter(|response| response.watch_id == id as i64);
            let got: Vec<i64> = own
                .flat_map(|response| &response.events)
                .map(|event| event.kv.as_ref().unwrap().mod_revision)
                .collect();
            assert_eq!(got, (start..=9).collect::<Vec<i64>>());
        }
    }
}

#[test]
fn a_start_below_the_compaction_is_created_and_then_cancelled() {
    let (model, mut client) = setup(10);
    for number in 2..=6 {
        model.put("k", &number.to_string());
    }
    model.compact(4);
    assert_eq!(
        client.ask(create(watch_from("k", 3))),
        ["0@6 created", "0@0 canceled compacted=4"]
    );
    assert_eq!(client.stream.watchers(), 0);
    // The id stays blocked until the client cancels it.
    let again = || {
        create(WatchCreateRequest {
            watch_id: 5,
            ..watch_from("k", 1)
        })
    };
    assert_eq!(
        client.ask(again()),
        ["5@6 created", "5@0 canceled compacted=4"]
    );
    assert!(client.ask(again())[0].contains("duplicate watch ID"));
    assert_eq!(client.ask(cancel(5)), ["5@6 canceled"]);
    assert_eq!(client.ask(again()).len(), 2);
    assert_eq!(client.ask(create(watch_from("k", 0))), ["1@6 created"]);
}

#[test]
fn the_compaction_revision_itself_can_be_watched_deletions_included() {
    for ring in [0, 10] {
        let (model, mut client) = setup(ring);
        model.commit(vec![
            vec![put("k", "1")],
            vec![delete("k")],
            vec![put("k", "2")],
        ]);
        model.flush();
        model.compact(3);
        assert_eq!(
            client.ask(create(watch_from("k", 3))),
            ["0@4 created", "0@4 -k@3 +k=2@4"]
        );
    }
}

#[test]
fn a_slow_watcher_is_cancelled_when_compaction_overtakes_it() {
    let (model, mut client) = setup(2);
    client.ask(create(watch("k", "")));
    for number in 2..=20 {
        model.put("k", &number.to_string());
        model.flush();
    }
    model.compact(15);
    assert_eq!(client.ready(), ["0@0 canceled compacted=15"]);
}

#[test]
fn a_slow_watcher_in_the_ring_is_not_hurt_by_compaction() {
    let (model, mut client) = setup(100);
    client.ask(create(watch("k", "")));
    for number in 2..=4 {
        model.put("k", &number.to_string());
    }
    model.compact(4);
    assert_eq!(client.ready(), ["0@2 +k=2@2", "0@3 +k=3@3", "0@4 +k=4@4"]);
}

#[test]
fn a_compaction_in_the_middle_of_a_replay_cancels_it() {
    let (model, mut client) = setup(0);
    for number in 0..50 {
        model.put("k", &number.to_string());
    }
    model.flush();
    client.stream.handle(create(watch_from("k", 2)));
    let (responses, more) = client.poll(500);
    assert!(more && responses.len() > 1);
    model.compact(40);
    assert_eq!(client.ready(), ["0@0 canceled compacted=40"]);
}

#[test]
fn an_installed_snapshot_goes_on_from_history() {
    let (model, mut client) = setup(10);
    client.ask(create(watch("k", "")));
    client.ask(create(watch("quiet", "")));
    model.put("k", "1");
    model.install(vec![vec![put("k", "2")], vec![put("other", "3")]]);
    assert_eq!(client.wakes(), 1);
    assert_eq!(client.ready(), ["0@4 +k=1@2 +k=2@3"]);
    model.put("quiet", "2");
    assert_eq!(client.ready(), ["1@5 +quiet=2@5"]);
}

#[test]
fn an_idle_watcher_survives_a_snapshot_beyond_a_compaction() {
    let (model, mut client) = setup(10);
    client.ask(create(watch("quiet", "")));
    for number in 2..=9 {
        model.put("busy", &number.to_string());
    }
    model.compact(8);
    model.install(vec![vec![put("busy", "10")], vec![put("quiet", "11")]]);
    assert_eq!(client.ready(), ["0@11 +quiet=11@11"]);
    model.put("quiet", "1");
    assert_eq!(client.ready(), ["0@12 +quiet=1@12"]);
}
