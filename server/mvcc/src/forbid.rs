//! What an alarm forbids.
//!
//! Owns the rule for each command. It is asked where commands are applied, so that all members
//! refuse the same ones. Must not know how an alarm is raised.

use handfast_proto::{
    command::command::Op,
    etcdserverpb::{AlarmType, RequestOp, TxnRequest, request_op::Request},
};

use crate::{Error, cluster::bit};

/// Checks a command against the kinds of alarm that are raised, a bit for each.
///
/// # Errors
/// [`Error::NoSpace`] for what could make the state larger, [`Error::Corrupt`] for every change.
pub(crate) fn check(kinds: u32, op: &Op) -> Result<(), Error> {
    let raised = |kind: AlarmType| kinds & bit(kind.into()) != 0;
    if raised(AlarmType::Nospace) && needs_space(op) {
        return Err(Error::NoSpace);
    }
    if raised(AlarmType::Corrupt) && changes(op) {
        return Err(Error::Corrupt);
    }
    Ok(())
}

fn needs_space(op: &Op) -> bool {
    match op {
        Op::Put(_) | Op::LeaseGrant(_) => true,
        Op::Txn(txn) => has_put(txn),
        _ => false,
    }
}

/// Whether there is a put in any branch, also in one that will not be taken.
fn has_put(txn: &TxnRequest) -> bool {
    let puts = |op: &RequestOp| match &op.request {
        Some(Request::RequestPut(_)) => true,
        Some(Request::RequestTxn(nested)) => has_put(nested),
        _ => false,
    };
    txn.success.iter().chain(&txn.failure).any(puts)
}

fn changes(op: &Op) -> bool {
    // The alarms themselves and what only concerns members can still be changed.
    !matches!(op, Op::Alarm(_) | Op::JoinSecret(_))
}

#[cfg(test)]
mod tests {
    use handfast_proto::{
        command::{Alarm, LeaseExpire, LeaseGrant, LeaseRevoke},
        etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest},
    };

    use super::*;

    fn op(request: Request) -> RequestOp {
        RequestOp {
            request: Some(request),
        }
    }

    fn txn(failure: Vec<RequestOp>) -> TxnRequest {
        TxnRequest {
            failure,
            ..TxnRequest::default()
        }
    }

    #[test]
    fn each_alarm_forbids_its_own_and_space_comes_first() {
        let put = || op(Request::RequestPut(PutRequest::default()));
        let delete = op(Request::RequestDeleteRange(DeleteRangeRequest::default()));
        let nested = txn(vec![op(Request::RequestTxn(txn(vec![put()])))]);
        // What is asked, and whether it needs space, and whether it changes anything.
        let cases = [
            (Op::Put(PutRequest::default()), true, true),
            (Op::LeaseGrant(LeaseGrant::default()), true, true),
            (Op::Txn(txn(vec![put()])), true, true),
            (Op::Txn(nested), true, true),
            (Op::Txn(txn(vec![delete])), false, true),
            (Op::DeleteRange(DeleteRangeRequest::default()), false, true),
            (Op::Compact(CompactionRequest::default()), false, true),
            (Op::LeaseRevoke(LeaseRevoke::default()), false, true),
            (Op::LeaseExpire(LeaseExpire::default()), false, true),
            (Op::Alarm(Alarm::default()), false, false),
        ];
        let (nospace, corrupt) = (bit(1), bit(2));
        for (command, needs_space, changes) in cases {
            assert!(check(0, &command).is_ok());
            let full = check(nospace, &command);
            assert_eq!(
                matches!(full, Err(Error::NoSpace)),
                needs_space,
                "{command:?}"
            );
            assert_eq!(full.is_err(), needs_space, "{command:?}");
            let odd = check(corrupt, &command);
            assert_eq!(matches!(odd, Err(Error::Corrupt)), changes, "{command:?}");
            assert_eq!(odd.is_err(), changes, "{command:?}");
            let both = check(nospace | corrupt, &command);
            assert_eq!(
                matches!(both, Err(Error::NoSpace)),
                needs_space,
                "{command:?}"
            );
            assert_eq!(both.is_err(), changes, "{command:?}");
        }
    }
}
