//! A watch stream that serves one watch after the other.
//!
//! Owns the requests on it. It must not know what is watched for.

use futures::channel::mpsc::{self, UnboundedSender};
use handfast_proto::etcdserverpb::watch_client::WatchClient;
use handfast_proto::etcdserverpb::watch_request::RequestUnion;
use handfast_proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};
use handfast_proto::mvccpb::event::EventType;
use tonic::{Status, Streaming};

use super::Arena;

/// The watch stream of one worker.
pub(super) struct Watcher {
    requests: UnboundedSender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Watcher {
    /// Starts a watch, on a new stream if there is none. The first request goes out with the call:
    /// etcd does not even answer it before it has one.
    pub(super) async fn watch(
        existing: Option<Watcher>,
        arena: &Arena,
        index: usize,
        create: WatchCreateRequest,
    ) -> Result<Watcher, Status> {
        let create = RequestUnion::CreateRequest(create);
        if let Some(watcher) = existing {
            watcher.send(create);
            return Ok(watcher);
        }
        let (requests, receiver) = mpsc::unbounded();
        // The receiver is in our hands.
        let _ = requests.unbounded_send(WatchRequest {
            request_union: Some(create),
        });
        let mut client =
            WatchClient::new(arena.channel(index)).max_decoding_message_size(usize::MAX);
        let responses = client.watch(receiver).await?.into_inner();
        Ok(Watcher {
            requests,
            responses,
        })
    }

    /// Waits until the watch is made; its id.
    pub(super) async fn created(&mut self) -> Result<i64, Status> {
        loop {
            let response = self.next().await?;
            if response.created {
                refuse_canceled(&response)?;
                return Ok(response.watch_id);
            }
        }
    }

    /// Waits for an event of the watch `own` that is of this type.
    pub(super) async fn event(&mut self, own: i64, wanted: EventType) -> Result<(), Status> {
        loop {
            let response = self.next().await?;
            if response.watch_id != own {
                continue;
            }
            refuse_canceled(&response)?;
            if response.events.iter().any(|event| event.r#type() == wanted) {
                return Ok(());
            }
        }
    }

    /// The next answer, whatever it is.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, Status> {
        let response = self.responses.message().await?;
        response.ok_or_else(|| Status::aborted("the watch stream ended"))
    }

    /// Ends a watch; the stream stays.
    pub(super) fn cancel(&self, watch_id: i64) {
        self.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }));
    }

    fn send(&self, request: RequestUnion) {
        // The stream holds the receiver; if it ended, the next answer says so.
        let _ = self.requests.unbounded_send(WatchRequest {
            request_union: Some(request),
        });
    }
}

fn refuse_canceled(response: &WatchResponse) -> Result<(), Status> {
    match response.canceled {
        true => Err(Status::aborted(response.cancel_reason.clone())),
        false => Ok(()),
    }
}
