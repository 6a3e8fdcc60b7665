//! Sizes: fragments, the budget of a poll, and clients that do not read.

use handfast_proto::Message;
use handfast_proto::etcdserverpb::WatchCreateRequest;

use super::model::{Model, put};
use super::*;
use crate::recent::Window;

fn setup(revisions: usize) -> (Arc<Model>, Client) {
    let model = Model::new(Window {
        bytes: usize::MAX,
        revisions,
    });
    let client = Client::new(&model);
    (model, client)
}

#[test]
fn a_large_response_is_split_for_who_asked_and_only_the_last_part_ends_it() {
    let (model, mut client) = setup(10);
    client.stream = client.stream.with_max_response_bytes(3_000);
    client.ask(create(WatchCreateRequest {
        fragment: true,
        ..watch("a", "z")
    }));
    client.ask(create(watch("a", "z")));
    let value = "v".repeat(1_000);
    let keys = ["b", "c", "d", "e", "f"];
    model.commit(vec![keys.iter().map(|key| put(key, &value)).collect()]);
    let responses = client.drain();
    let (whole, parts): (Vec<_>, Vec<_>) = responses
        .iter()
        .partition(|response| response.watch_id == 1);
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].events.len(), 5);
    assert!(!whole[0].fragment);
    let flags: Vec<bool> = parts.iter().map(|part| part.fragment).collect();
    assert_eq!(flags, [true, true, false]);
    let joined: Vec<_> = parts.iter().flat_map(|part| part.events.clone()).collect();
    assert_eq!(joined, whole[0].events);
    assert!(parts.iter().all(|part| part.encoded_len() <= 3_000));
    assert!(parts.iter().all(|part| part.header == whole[0].header));
}

#[test]
fn one_large_event_is_not_split() {
    let (model, mut client) = setup(10);
    client.stream = client.stream.with_max_response_bytes(300);
    client.ask(create(WatchCreateRequest {
        fragment: true,
        ..watch("k", "")
    }));
    model.put("k", &"v".repeat(1_000));
    let responses = client.drain();
    assert_eq!(responses.len(), 1);
    assert!(!responses[0].fragment);
}

#[test]
fn every_poll_gets_on_however_small_the_budget() {
    let (model, mut client) = setup(2);
    for _ in 0..3 {
        client.ask(create(watch("k", "")));
    }
    for number in 2..=12 {
        model.put("k", &number.to_string());
    }
    client.stream.handle(create(watch_from("k", 2)));
    client.stream.handle(progress());
    let mut events = 0;
    let mut polls = 0;
    loop {
        let (responses, more) = client.poll(0);
        events += responses
            .iter()
            .map(|response| response.events.len())
            .sum::<usize>();
        polls += 1;
        assert!(polls < 1_000);
        if !more {
            break;
        }
    }
    assert_eq!(events, 4 * 11);
}

#[test]
fn the_budget_can_end_between_watchers_of_one_revision() {
    let (model, mut client) = setup(10);
    for _ in 0..10 {
        client.ask(create(watch("k", "")));
    }
    model.put("k", &"v".repeat(100));
    let mut got = Vec::new();
    loop {
        let (responses, more) = client.poll(600);
        assert!(responses.len() <= 3);
        got.extend(responses.iter().map(|response| response.watch_id));
        if !more {
            break;
        }
    }
    assert_eq!(got, (0..10).collect::<Vec<i64>>());
}

#[test]
fn a_client_that_does_not_read_misses_nothing_and_is_woken_once() {
    for ring in [0, 7, 10_000] {
        let (model, mut client) = setup(ring);
        client.ask(create(watch("k", "")));
        client.ask(create(watch("a", "z")));
        for number in 2..=500 {
            model.put(
                if number % 2 == 0 { "k" } else { "other" },
                &number.to_string(),
            );
            model.flush();
        }
        assert_eq!(client.wakes(), 1);
        let responses = client.drain();
        let seen = |id: i64| -> Vec<i64> {
            let own = responses.iter().filter(|response| response.watch_id == id);
            let events = own.flat_map(|response| &response.events);
            events
                .map(|event| event.kv.as_ref().unwrap().mod_revision)
                .collect()
        };
        assert_eq!(seen(0), (2..=500).step_by(2).collect::<Vec<i64>>());
        assert_eq!(seen(1), (2..=500).collect::<Vec<i64>>());
        model.put("k", "live");
        assert_eq!(client.wakes(), 1);
        assert_eq!(client.ready(), ["0@501 +k=live@501", "1@501 +k=live@501"]);
    }
}

#[test]
fn a_long_replay_does_not_hold_up_a_watcher_of_recent_history() {
    let (model, mut client) = setup(10);
    for number in 0..30_000 {
        model.put("k", &number.to_string());
    }
    model.flush();
    client.stream.handle(create(watch_from("k", 2)));
    client.stream.handle(create(watch_from("k", 30_001)));
    let (responses, more) = client.poll(100_000);
    assert!(more);
    let second = responses
        .iter()
        .find(|response| response.watch_id == 1 && !response.events.is_empty());
    assert_eq!(short(second.unwrap()), "1@30001 +k=29999@30001");
}
