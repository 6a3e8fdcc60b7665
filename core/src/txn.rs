//! Transactions.
//!
//! Owns putting one together and the checks before it is sent.

use std::time::Duration;

use handfast_proto::etcdserverpb::{RequestOp, TxnRequest, request_op::Request};

use crate::{
    Client, Compare, Error, ErrorKind, Op, TxnResponse,
    call::{self, Safety},
    kv, namespace,
    op::check_key,
};

/// A transaction that is being put together; see [`Client::txn`].
#[derive(Debug, Clone)]
#[must_use = "a transaction does nothing until commit() is called"]
pub struct Txn {
    client: Client,
    request: TxnRequest,
    misuse: Option<&'static str>,
    repeatable: bool,
}

impl Client {
    /// A transaction: if every compare of `when` holds, `then` runs, else `otherwise`; all of it at
    /// one revision.
    pub fn txn(&self) -> Txn {
        Txn {
            client: self.clone(),
            request: TxnRequest::default(),
            misuse: None,
            repeatable: false,
        }
    }
}

impl Txn {
    /// Adds conditions; all must hold.
    pub fn when(mut self, compares: impl IntoIterator<Item = Compare>) -> Self {
        self.request
            .compare
            .extend(compares.into_iter().map(|Compare(compare)| compare));
        self
    }

    /// Adds operations that run when every condition holds.
    pub fn then(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        for op in ops {
            self.misuse = self.misuse.or(op.misuse);
            self.request.success.push(RequestOp {
                request: Some(op.request),
            });
        }
        self
    }

    /// Adds operations that run when a condition fails.
    pub fn otherwise(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        for op in ops {
            self.misuse = self.misuse.or(op.misuse);
            self.request.failure.push(RequestOp {
                request: Some(op.request),
            });
        }
        self
    }

    /// Says that committing twice is as good as once, so that it is tried again even when in
    /// doubt. The answer is that of the last attempt: conditions that the first one made false
    /// show as not [`succeeded`](TxnResponse::succeeded).
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// How long the call may take, instead of the client's timeout.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.client.timeout = timeout;
        self
    }

    /// Runs the transaction. One that only reads is retried like a read; another only while it
    /// certainly was not applied, unless it is [`repeatable`](Self::repeatable). Dropping the
    /// future leaves its fate open.
    ///
    /// # Errors
    /// [`TooManyOps`](ErrorKind::TooManyOps), [`EmptyKey`](ErrorKind::EmptyKey) and
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) before anything is sent; else what the server
    /// refuses, or that no endpoint answered in time.
    pub async fn commit(self) -> Result<TxnResponse, Error> {
        let Self {
            client,
            mut request,
            misuse,
            repeatable,
        } = self;
        if let Some(option) = misuse {
            let message = format!("the option {option} does not apply to the operation it is on");
            return Err(Error::invalid("txn", message));
        }
        check(&request, client.shared.max_txn_ops)?;
        let safety = match (is_read_only(&request), repeatable) {
            (true, _) => Safety::Read,
            (false, true) => Safety::Repeatable,
            (false, false) => Safety::Write,
        };
        namespace::enter_txn(&client.namespace, &mut request);
        let call = client.call("txn", safety);
        let send = |channel, request| async move { kv::stub(channel).txn(request).await };
        let outcome = call::run(&client.shared.pool, call, &request, send).await;
        let mut answer = TxnResponse::read(outcome.result?, &client.namespace)?;
        answer.repeated_in_doubt = outcome.repeated_in_doubt;
        Ok(answer)
    }
}

/// Counts and keys, as the server will check them: a nested transaction has what its parent's
/// longest list leaves over.
fn check(txn: &TxnRequest, budget: usize) -> Result<(), Error> {
    let longest = txn
        .compare
        .len()
        .max(txn.success.len())
        .max(txn.failure.len());
    if longest > budget {
        let message = format!(
            "{} compares, {} and {} operations, but only {budget} of each are allowed here",
            txn.compare.len(),
            txn.success.len(),
            txn.failure.len()
        );
        return Err(Error::local(ErrorKind::TooManyOps, "txn", message));
    }
    for compare in &txn.compare {
        check_key("txn", &compare.key)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_key("txn", &range.key)?,
            Some(Request::RequestPut(put)) => check_key("txn", &put.key)?,
            Some(Request::RequestDeleteRange(delete)) => check_key("txn", &delete.key)?,
            Some(Request::RequestTxn(nested)) => check(nested, budget - longest)?,
            None => {}
        }
    }
    Ok(())
}

fn is_read_only(txn: &TxnRequest) -> bool {
    txn.success
        .iter()
        .chain(&txn.failure)
        .all(|op| matches!(op.request, Some(Request::RequestRange(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn puts(count: usize) -> Vec<Op> {
        (0..count)
            .map(|number| Op::put(format!("k{number}"), "v"))
            .collect()
    }

    fn request(op: Op) -> TxnRequest {
        match op.request {
            Request::RequestTxn(txn) => txn,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_limit_is_on_the_longest_list_and_shrinks_inwards() {
        assert!(check(&request(Op::txn([], puts(128), puts(128))), 128).is_ok());
        let error = check(&request(Op::txn([], puts(129), [])), 128).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooManyOps);
        assert!(error.to_string().contains("129"), "{error}");

        let nested = |outer: usize| {
            let mut ops = puts(outer);
            ops.push(Op::txn([], puts(2), []));
            request(Op::txn([], ops, []))
        };
        assert!(check(&nested(125), 128).is_ok());
        assert!(check(&nested(127), 128).is_err());
    }

    #[test]
    fn only_reads_make_a_transaction_read_only() {
        assert!(is_read_only(&request(Op::txn(
            [],
            [Op::get("a")],
            [Op::get("b")]
        ))));
        assert!(!is_read_only(&request(Op::txn(
            [],
            [Op::get("a")],
            [Op::delete("b")]
        ))));
        assert!(!is_read_only(&request(Op::txn(
            [],
            [Op::txn([], [], [])],
            []
        ))));
    }

    #[tokio::test]
    async fn a_wrong_transaction_is_refused_before_it_is_sent() {
        let client = Client::connect("127.0.0.1:1").await.unwrap();
        let error = client
            .txn()
            .then([Op::get("k").lease(3)])
            .commit()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.to_string().contains("lease") && error.attempts() == 0);
        let error = client
            .txn()
            .then([Op::put("", "")])
            .commit()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EmptyKey);
    }
}
