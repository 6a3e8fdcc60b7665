//! Transactions that only a holder can commit.
//!
//! Owns the guard and the telling apart of "not held" and "your conditions do not hold".

use handfast_core::{Compare, IntoBytes, Op, TxnResponse};

use super::tenure::Tenure;
use crate::Error;

/// A transaction that the store refuses when the lock or leadership is not held any more.
///
/// It may use up to 127 operations and conditions.
#[derive(Debug, Clone)]
#[must_use = "a transaction does nothing until commit() is called"]
pub struct GuardedTxn {
    tenure: Tenure,
    when: Vec<Compare>,
    then: Vec<Op>,
    otherwise: Vec<Op>,
}

impl Tenure {
    /// A transaction that the store refuses when this is not held any more.
    pub fn txn(&self) -> GuardedTxn {
        GuardedTxn {
            tenure: self.clone(),
            when: Vec::new(),
            then: Vec::new(),
            otherwise: Vec::new(),
        }
    }
}

impl GuardedTxn {
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
    /// [`Lost`](Error::Lost): nothing was written. [`Client`](Error::Client) with
    /// [`in_doubt`](handfast_core::Error::in_doubt) when it may have been.
    pub async fn commit(self) -> Result<TxnResponse, Error> {
        let Self {
            tenure,
            when,
            then,
            otherwise,
        } = self;
        tenure.check()?;
        let client = tenure.epoch().client();
        let guard = Compare::create_revision(tenure.key()).eq(tenure.token());
        let mut answer = client
            .txn()
            .when([guard])
            .then([Op::txn(when, then, otherwise)])
            .otherwise([Op::get(tenure.key())])
            .commit()
            .await?;
        if !answer.succeeded {
            return Err(tenure.found_gone().await);
        }
        match answer.responses.pop() {
            Some(handfast_core::OpResponse::Txn(mut nested)) => {
                nested.header = answer.header;
                Ok(nested)
            }
            _ => {
                let problem = "the server left the transaction unanswered";
                Err(Error::invalid("server", problem))
            }
        }
    }
}
