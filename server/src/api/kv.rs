//! The KV service.
//!
//! Owns the order of checks and which requests need consensus; every byte that is kept is copied
//! once, when consensus encodes the command.

use handfast_mvcc::{Outcome, validate};
use handfast_proto::command::command::Op;
use handfast_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse, kv_server::Kv,
};
use tonic::{Request, Response, Status};

use super::{Node, unexpected};
use crate::error;
use crate::metrics::Method;

#[tonic::async_trait]
impl Kv for Node {
    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let served = async {
            // A learner may be far behind, so it answers only who does not mind.
            match request.get_ref().serializable {
                true => self.admit_at_learner(request.metadata())?,
                false => self.admit(request.metadata())?,
            }
            let range = request.into_inner();
            validate::range(&range).map_err(error::from_store)?;
            if !range.serializable {
                self.catch_up().await?;
            }
            let mut response = self.store.range(&range).map_err(error::from_store)?;
            self.complete(&mut response.header);
            Ok(Response::new(response))
        };
        self.counted(Method::Range, served).await
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            let put = request.into_inner();
            validate::put(&put).map_err(error::from_store)?;
            match self.propose(Op::Put(put)).await? {
                (_, Outcome::Put(mut response)) => {
                    self.complete(&mut response.header);
                    Ok(Response::new(response))
                }
                (_, other) => Err(unexpected(&other)),
            }
        };
        self.counted(Method::Put, served).await
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            let range = request.into_inner();
            validate::delete_range(&range).map_err(error::from_store)?;
            match self.propose(Op::DeleteRange(range)).await? {
                (_, Outcome::DeleteRange(mut response)) => {
                    self.complete(&mut response.header);
                    Ok(Response::new(response))
                }
                (_, other) => Err(unexpected(&other)),
            }
        };
        self.counted(Method::DeleteRange, served).await
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            let txn = request.into_inner();
            validate::txn(&txn, self.settings.max_txn_ops).map_err(error::from_store)?;
            let mut response = if validate::txn_is_read_only(&txn) {
                if !validate::txn_is_serializable(&txn) {
                    self.catch_up().await?;
                }
                self.store.read_only_txn(&txn).map_err(error::from_store)?
            } else {
                match self.propose(Op::Txn(txn)).await? {
                    (_, Outcome::Txn(response)) => response,
                    (_, other) => return Err(unexpected(&other)),
                }
            };
            self.complete(&mut response.header);
            Ok(Response::new(response))
        };
        self.counted(Method::Txn, served).await
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let served = async {
            self.admit(request.metadata())?;
            let compaction = request.into_inner();
            let CompactionRequest { revision, physical } = compaction;
            let after = match self.propose(Op::Compact(compaction)).await? {
                (after, Outcome::Compact) => after,
                (_, other) => return Err(unexpected(&other)),
            };
            if physical {
                self.swept(revision).await?;
            }
            Ok(Response::new(CompactionResponse {
                header: Some(self.header(after)),
            }))
        };
        self.counted(Method::Compact, served).await
    }
}

impl Node {
    /// Waits until this member has physically removed what a compaction made unreadable.
    async fn swept(&self, revision: i64) -> Result<(), Status> {
        let (done, swept) = tokio::sync::oneshot::channel();
        let report = move || {
            // The caller may have gone away meanwhile.
            let _ = done.send(());
        };
        self.store.when_swept(revision, Box::new(report));
        swept.await.map_err(|_| error::STOPPED.into())
    }
}
