//! Tests of watching, against a model of the store.
//!
//! Owns the harness: the requests, and what a poll returned in short form.

mod bounds;
mod model;
mod progress;
mod random;
mod replay;
mod requests;
mod threads;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use handfast_proto::etcdserverpb::watch_request::RequestUnion;
use handfast_proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use handfast_proto::mvccpb::event::EventType;

use super::WatchStream;
use model::Model;

/// A create request for `[key, end)`, both in request form.
fn watch(key: &str, end: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.as_bytes().to_vec().into(),
        range_end: end.as_bytes().to_vec().into(),
        ..WatchCreateRequest::default()
    }
}

/// A create request for one key from a revision on.
fn watch_from(key: &str, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        start_revision,
        ..watch(key, "")
    }
}

fn create(request: WatchCreateRequest) -> WatchRequest {
    WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(request)),
    }
}

fn cancel(watch_id: i64) -> WatchRequest {
    WatchRequest {
        request_union: Some(RequestUnion::CancelRequest(WatchCancelRequest { watch_id })),
    }
}

fn progress() -> WatchRequest {
    WatchRequest {
        request_union: Some(RequestUnion::ProgressRequest(WatchProgressRequest {})),
    }
}

/// A stream with its store, and a count of wakes.
struct Client {
    model: Arc<Model>,
    stream: WatchStream,
    wakes: Arc<AtomicUsize>,
}

impl Client {
    fn new(model: &Arc<Model>) -> Client {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&wakes);
        let wake = move || {
            counter.fetch_add(1, Ordering::SeqCst);
        };
        let stream = model.hub.open_stream(Arc::new(wake));
        Client {
            model: Arc::clone(model),
            stream,
            wakes,
        }
    }

    fn wakes(&self) -> usize {
        self.wakes.swap(0, Ordering::SeqCst)
    }

    /// Polls once.
    fn poll(&mut self, budget: usize) -> (Vec<WatchResponse>, bool) {
        let mut responses = Vec::new();
        let more = self.stream.poll(&*self.model, &mut responses, budget);
        (responses, more)
    }

    /// Polls until nothing is ready.
    fn drain(&mut self) -> Vec<WatchResponse> {
        let mut all = Vec::new();
        loop {
            let (responses, more) = self.poll(usize::MAX);
            all.extend(responses);
            if !more {
                return all;
            }
        }
    }

    /// Hands in a request and returns everything that is ready after it, in short form.
    fn ask(&mut self, request: WatchRequest) -> Vec<String> {
        self.stream.handle(request);
        self.ready()
    }

    /// Everything that is ready, in short form.
    fn ready(&mut self) -> Vec<String> {
        self.drain().iter().map(short).collect()
    }
}

/// `id@revision` and what the response says, events as `+key=value` and `-key` with their
/// revision, and the pair before in brackets.
fn short(response: &WatchResponse) -> String {
    let revision = response.header.as_ref().unwrap().revision;
    let mut text = format!("{}@{revision}", response.watch_id);
    let flags = [
        (response.created, " created"),
        (response.canceled, " canceled"),
        (response.fragment, " fragment"),
    ];
    for (_, name) in flags.iter().filter(|(set, _)| *set) {
        text += name;
    }
    if response.compact_revision != 0 {
        text += &format!(" compacted={}", response.compact_revision);
    }
    if !response.cancel_reason.is_empty() {
        text += &format!(" ({})", response.cancel_reason);
    }
    for event in &response.events {
        let kv = event.kv.as_ref().unwrap();
        let key = String::from_utf8_lossy(&kv.key);
        let value = String::from_utf8_lossy(&kv.value);
        text += &match event.r#type() {
            EventType::Put => format!(" +{key}={value}@{}", kv.mod_revision),
            EventType::Delete => format!(" -{key}@{}", kv.mod_revision),
        };
        if let Some(previous) = &event.prev_kv {
            text += &format!("[{}]", String::from_utf8_lossy(&previous.value));
        }
    }
    text
}
