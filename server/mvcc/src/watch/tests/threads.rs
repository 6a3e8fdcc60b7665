//! One thread writes while others watch.

use std::sync::mpsc;
use std::thread;

use handfast_proto::etcdserverpb::WatchResponse;

use super::model::{Model, put};
use super::*;
use crate::recent::Window;

const LAST: i64 = 5_000;

/// Watches from `start` until the last revision came, making and dropping other watchers.
fn follow(model: &Arc<Model>, start: i64, key: &str, end: &str) -> Vec<i64> {
    let (signal, woken) = mpsc::channel();
    let mut stream = model.hub.open_stream(Arc::new(move || {
        let _ = signal.send(());
    }));
    stream.handle(create(WatchCreateRequest {
        start_revision: start,
        ..watch(key, end)
    }));
    let mut seen: Vec<i64> = Vec::new();
    let mut other = 1;
    let mut responses: Vec<WatchResponse> = Vec::new();
    while seen.last() != Some(&LAST) {
        if !stream.poll(&**model, &mut responses, 4_096) && responses.is_empty() {
            woken.recv().unwrap();
        }
        for response in responses.drain(..) {
            if response.watch_id == 0 {
                let events = response.events.iter();
                seen.extend(events.map(|event| event.kv.as_ref().unwrap().mod_revision));
            } else if response.created {
                stream.handle(cancel(response.watch_id));
            }
        }
        if other < 200 {
            other += 1;
            stream.handle(create(watch_from(key, seen.last().copied().unwrap_or(1))));
        }
    }
    seen
}

#[test]
fn watchers_made_while_a_writer_runs_miss_nothing() {
    let model = Model::new(Window {
        bytes: usize::MAX,
        revisions: 50,
    });
    thread::scope(|scope| {
        let all = scope.spawn(|| follow(&model, 2, "a", "z"));
        let even = scope.spawn(|| follow(&model, 2, "k0", ""));
        for main in (2..=LAST).step_by(2) {
            let value = main.to_string();
            let (first, second) = (format!("k{}", main % 2), format!("k{}", (main + 1) % 2));
            model.commit(if main < LAST {
                vec![vec![put(&first, &value)], vec![put(&second, &value)]]
            } else {
                vec![vec![put(&first, &value)]]
            });
            if main % 64 == 0 {
                model.flush();
            }
        }
        assert_eq!(all.join().unwrap(), (2..=LAST).collect::<Vec<i64>>());
        assert_eq!(
            even.join().unwrap(),
            (2..=LAST).step_by(2).collect::<Vec<i64>>()
        );
    });
}
