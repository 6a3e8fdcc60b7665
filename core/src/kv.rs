//! Reads, puts, deletes and compaction.
//!
//! Owns making these calls. Knows nothing of transactions.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use bytes::Bytes;
use handfast_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, kv_client::KvClient,
};
use tonic::transport::Channel;

use crate::{
    Client, CompactResponse, DeleteResponse, Error, IntoBytes, KeyValue, PutResponse,
    RangeResponse,
    call::{self, Safety},
    namespace,
    op::{check_key, put_options, range_options, span_options},
};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A KV stub; the server decides what is too large, not the client.
pub(crate) fn stub(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(usize::MAX)
}

impl Client {
    /// The pair at `key`, or `None`. Linearizable; retried until the timeout.
    ///
    /// # Errors
    /// [`EmptyKey`](crate::ErrorKind::EmptyKey), or that no endpoint answered in time.
    pub async fn get(&self, key: impl IntoBytes) -> Result<Option<KeyValue>, Error> {
        Ok(self.range(key).await?.kvs.pop())
    }

    /// A read of `key`, or of more with [`Range::prefix`] and the like; `await` it.
    pub fn range(&self, key: impl IntoBytes) -> Range {
        let request = RangeRequest {
            key: key.into_bytes(),
            ..Default::default()
        };
        Range {
            client: self.clone(),
            request,
        }
    }

    /// A put of `value` at `key`; `await` it.
    pub fn put(&self, key: impl IntoBytes, value: impl IntoBytes) -> Put {
        let request = PutRequest {
            key: key.into_bytes(),
            value: value.into_bytes(),
            ..Default::default()
        };
        Put {
            client: self.clone(),
            request,
            safety: Safety::Write,
        }
    }

    /// A delete of `key`, or of more with [`Delete::prefix`] and the like; `await` it.
    pub fn delete(&self, key: impl IntoBytes) -> Delete {
        let request = DeleteRangeRequest {
            key: key.into_bytes(),
            ..Default::default()
        };
        Delete {
            client: self.clone(),
            request,
            safety: Safety::Write,
        }
    }

    /// Discards history below `revision`, which itself stays readable.
    ///
    /// With `physical` the answer comes when the asked member has removed the data, too.
    ///
    /// # Errors
    /// [`Compacted`](crate::ErrorKind::Compacted) when `revision` was compacted before,
    /// [`FutureRevision`](crate::ErrorKind::FutureRevision) when it does not exist yet.
    pub async fn compact(&self, revision: i64, physical: bool) -> Result<CompactResponse, Error> {
        let request = CompactionRequest { revision, physical };
        let call = self.call("compact", Safety::Write);
        let send = |channel, request| async move { stub(channel).compact(request).await };
        let response = call::run(&self.shared.pool, call, &request, send)
            .await
            .result?;
        Ok(CompactResponse {
            header: response.header.unwrap_or_default(),
        })
    }
}

/// A read that is being put together. `await` it; dropping it does nothing.
#[derive(Debug, Clone)]
#[must_use = "a read does nothing until it is awaited"]
pub struct Range {
    client: Client,
    request: RangeRequest,
}

impl Range {
    span_options!();
    range_options!();

    /// How long this call may take, instead of the client's timeout.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.client.timeout = timeout;
        self
    }

    fn with_span(mut self, _: &'static str, set: impl FnOnce(&mut Bytes, &mut Bytes)) -> Self {
        set(&mut self.request.key, &mut self.request.range_end);
        self
    }

    fn with_range(mut self, _: &'static str, set: impl FnOnce(&mut RangeRequest)) -> Self {
        set(&mut self.request);
        self
    }

    async fn send(self) -> Result<RangeResponse, Error> {
        let Self {
            client,
            mut request,
        } = self;
        check_key("range", &request.key)?;
        namespace::enter_range(&client.namespace, &mut request);
        let mut call = client.call("range", Safety::Read);
        call.require_leader &= !request.serializable;
        let send = |channel, request| async move { stub(channel).range(request).await };
        let response = call::run(&client.shared.pool, call, &request, send)
            .await
            .result?;
        Ok(RangeResponse::read(response, &client.namespace))
    }
}

impl IntoFuture for Range {
    type Output = Result<RangeResponse, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    /// Retried on every passing failure until the timeout. Cancel safe.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A put that is being put together. `await` it; dropping it does nothing.
#[derive(Debug, Clone)]
#[must_use = "a put does nothing until it is awaited"]
pub struct Put {
    client: Client,
    request: PutRequest,
    safety: Safety,
}

impl Put {
    put_options!();

    /// Returns the pair as it was before.
    pub fn prev_kv(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }

    /// Says that putting twice is as good as once, so that it is tried again even when in doubt.
    pub fn repeatable(mut self) -> Self {
        self.safety = Safety::Repeatable;
        self
    }

    /// How long this call may take, instead of the client's timeout.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.client.timeout = timeout;
        self
    }

    fn with_put(mut self, _: &'static str, set: impl FnOnce(&mut PutRequest)) -> Self {
        set(&mut self.request);
        self
    }

    async fn send(self) -> Result<PutResponse, Error> {
        let Self {
            client,
            mut request,
            safety,
        } = self;
        check_key("put", &request.key)?;
        namespace::enter_key(&client.namespace, &mut request.key);
        let call = client.call("put", safety);
        let send = |channel, request| async move { stub(channel).put(request).await };
        let response = call::run(&client.shared.pool, call, &request, send)
            .await
            .result?;
        Ok(PutResponse::read(response, &client.namespace))
    }
}

impl IntoFuture for Put {
    type Output = Result<PutResponse, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    /// Retried only while it certainly was not applied. A dropped future leaves that open.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A delete that is being put together. `await` it; dropping it does nothing.
#[derive(Debug, Clone)]
#[must_use = "a delete does nothing until it is awaited"]
pub struct Delete {
    client: Client,
    request: DeleteRangeRequest,
    safety: Safety,
}

impl Delete {
    span_options!();

    /// Returns the deleted pairs.
    pub fn prev_kv(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }

    /// Says that deleting twice is as good as once, so that it is tried again even when in doubt.
    pub fn repeatable(mut self) -> Self {
        self.safety = Safety::Repeatable;
        self
    }

    /// How long this call may take, instead of the client's timeout.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.client.timeout = timeout;
        self
    }

    fn with_span(mut self, _: &'static str, set: impl FnOnce(&mut Bytes, &mut Bytes)) -> Self {
        set(&mut self.request.key, &mut self.request.range_end);
        self
    }

    async fn send(self) -> Result<DeleteResponse, Error> {
        let Self {
            client,
            mut request,
            safety,
        } = self;
        check_key("delete", &request.key)?;
        namespace::enter_delete(&client.namespace, &mut request);
        let call = client.call("delete", safety);
        let send = |channel, request| async move { stub(channel).delete_range(request).await };
        let response = call::run(&client.shared.pool, call, &request, send)
            .await
            .result?;
        Ok(DeleteResponse::read(response, &client.namespace))
    }
}

impl IntoFuture for Delete {
    type Output = Result<DeleteResponse, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    /// Retried only while it certainly was not applied. A dropped future leaves that open.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
