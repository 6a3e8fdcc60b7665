//! Progress notifications, on request and by the clock.

use handfast_proto::etcdserverpb::WatchCreateRequest;

use super::model::Model;
use super::*;
use crate::recent::Window;

fn setup() -> (Arc<Model>, Client) {
    let model = Model::new(Window::default());
    let client = Client::new(&model);
    (model, client)
}

fn notified(key: &str) -> WatchRequest {
    create(WatchCreateRequest {
        progress_notify: true,
        ..watch(key, "")
    })
}

#[test]
fn a_request_is_answered_for_all_watchers_at_once() {
    let (model, mut client) = setup();
    client.ask(create(watch("a", "")));
    client.ask(create(watch("b", "")));
    model.put("other", "");
    assert_eq!(client.ask(progress()), ["-1@2"]);
}

#[test]
fn events_go_before_the_answer_that_covers_them() {
    let (model, mut client) = setup();
    client.ask(create(watch("k", "")));
    model.put("k", "1");
    model.put("k", "2");
    client.stream.handle(progress());
    let (responses, more) = client.poll(1);
    assert_eq!(
        responses.iter().map(short).collect::<Vec<_>>(),
        ["0@2 +k=1@2"]
    );
    assert!(more);
    assert_eq!(client.ready(), ["0@3 +k=2@3", "-1@3"]);
}

#[test]
fn requests_are_answered_in_their_order() {
    let (_, mut client) = setup();
    client.stream.handle(create(watch("a", "")));
    client.stream.handle(progress());
    client.stream.handle(create(watch("b", "")));
    assert_eq!(client.ready(), ["0@1 created", "-1@1", "1@1 created"]);
}

#[test]
fn without_watchers_there_is_no_answer() {
    let (_, mut client) = setup();
    assert!(client.ask(progress()).is_empty());
    client.ask(create(watch("a", "")));
    client.ask(cancel(0));
    assert!(client.ask(progress()).is_empty());
}

#[test]
fn a_future_or_late_watcher_makes_the_request_void() {
    let (model, mut client) = setup();
    client.ask(create(watch("a", "")));
    client.ask(create(watch_from("a", 3)));
    assert!(client.ask(progress()).is_empty());
    model.put("b", "");
    assert!(client.ask(progress()).is_empty());
    model.put("b", "");
    assert_eq!(client.ask(progress()), ["-1@3"]);

    for number in 0..3_000 {
        model.put("k", &number.to_string());
    }
    client.stream.handle(create(watch_from("k", 1)));
    client.stream.handle(progress());
    let (responses, _) = client.poll(5_000);
    assert!(responses.iter().all(|response| response.watch_id != -1));
    assert!(
        client
            .drain()
            .iter()
            .all(|response| response.watch_id != -1),
        "it was dropped"
    );
    assert_eq!(client.ask(progress()), ["-1@3003"]);
}

#[test]
fn a_tick_tells_quiet_watchers_that_asked_for_it() {
    let (model, mut client) = setup();
    client.ask(notified("a"));
    client.ask(create(watch("b", "")));
    client.ask(notified("c"));
    model.put("other", "");
    client.stream.progress_tick();
    assert_eq!(client.ready(), ["0@2", "2@2"]);
    assert!(client.ready().is_empty());
}

#[test]
fn a_tick_is_skipped_after_events() {
    let (model, mut client) = setup();
    client.ask(notified("k"));
    model.put("k", "1");
    client.stream.progress_tick();
    assert_eq!(client.ready(), ["0@2 +k=1@2"]);
    client.stream.progress_tick();
    assert_eq!(client.ready(), ["0@2"]);
}

#[test]
fn a_tick_passes_over_future_watchers() {
    let (model, mut client) = setup();
    let request = WatchCreateRequest {
        progress_notify: true,
        ..watch_from("k", 3)
    };
    client.ask(create(request));
    client.stream.progress_tick();
    assert!(client.ready().is_empty());
    model.put("other", "");
    model.put("other", "");
    client.stream.progress_tick();
    assert_eq!(client.ready(), ["0@3"]);
}

#[test]
fn a_tick_waits_for_the_events_before_it() {
    let (model, mut client) = setup();
    client.ask(create(watch("k", "")));
    client.ask(notified("quiet"));
    model.put("k", "1");
    model.put("k", "2");
    client.stream.progress_tick();
    let (responses, more) = client.poll(1);
    assert_eq!(
        responses.iter().map(short).collect::<Vec<_>>(),
        ["0@2 +k=1@2"]
    );
    assert!(more);
    assert_eq!(client.ready(), ["0@3 +k=2@3", "1@3"]);
}
