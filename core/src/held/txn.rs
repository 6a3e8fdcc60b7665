//! Transactions that only a holder can commit.
//!
//! Owns the guard and the telling apart of "not held" and "your conditions do not hold".

use crate::{
    Compare, Error, IntoBytes, Op, OpResponse, TxnResponse, held::Held, session::LostReason,
};

/// Something that is held, with errors of its own.
pub trait Holder {
    /// What a transaction can fail with.
    type Error: From<Error>;

    /// The held key.
    fn held(&self) -> &Held;

    /// The error that says it is lost.
    fn lost(&self, reason: LostReason) -> Self::Error;
}

/// A transaction that the store refuses when what guards it is not held any more.
///
/// It may use up to 127 operations and conditions; one less for each key beyond the first that
/// guards it.
#[derive(Debug, Clone)]
#[must_use = "a transaction does nothing until commit() is called"]
pub struct GuardedTxn<H> {
    holder: H,
    when: Vec<Compare>,
    then: Vec<Op>,
    otherwise: Vec<Op>,
}

impl<H: Holder> GuardedTxn<H> {
    /// A transaction that the store refuses when `holder` does not hold any more.
    pub fn new(holder: H) -> Self {
        Self {
            holder,
            when: Vec::new(),
            then: Vec::new(),
            otherwise: Vec::new(),
        }
    }

    /// Adds conditions; all must hold for the operations to run.
    pub fn when(mut self, compares: impl IntoIterator<Item = Compare>) -> Self {
        self.when.extend(compares);
        self
    }

    /// Adds operations.
    pub fn then(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        self.then.extend(ops);
        self
    }

    /// Adds operations that run when a condition fails (but it is held).
    pub fn otherwise(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        self.otherwise.extend(ops);
        self
    }

    /// Adds a put of `value` at `key`.
    pub fn put(self, key: impl IntoBytes, value: impl IntoBytes) -> Self {
        self.then([Op::put(key, value)])
    }

    /// Adds a delete of `key`.
    pub fn delete(self, key: impl IntoBytes) -> Self {
        self.then([Op::delete(key)])
    }

    /// Runs the transaction at one revision with the check that it is held.
    ///
    /// The answer's [`succeeded`](TxnResponse::succeeded) tells of the conditions given with
    /// [`when`](Self::when). Dropping the future leaves the transaction's fate open.
    ///
    /// # Errors
    /// The holder's error of loss: nothing was written. The client's error with
    /// [`in_doubt`](Error::in_doubt) when it may have been.
    pub async fn commit(self) -> Result<TxnResponse, H::Error> {
        let Self {
            holder,
            when,
            then,
            otherwise,
        } = self;
        let held = holder.held();
        let confirmed = held.confirm().await;
        confirmed.map_err(|lost| holder.lost(lost.reason))?;
        let guards = held
            .keys()
            .map(|key| Compare::create_revision(key).eq(held.token()));
        let txn = held.epoch().client().txn();
        let txn = txn.when(guards).then([Op::txn(when, then, otherwise)]);
        let txn = txn.otherwise(held.keys().map(Op::get));
        let mut answer = txn.commit().await?;
        if !answer.succeeded {
            return Err(holder.lost(held.found_gone_in(&answer).await));
        }
        match answer.responses.pop() {
            Some(OpResponse::Txn(mut nested)) => {
                nested.header = answer.header;
                Ok(nested)
            }
            _ => {
                let problem = "the server left the transaction unanswered";
                Err(Error::protocol("txn", problem).into())
            }
        }
    }
}
