//! What may differ between two servers that behave alike: ids, terms, and orders of no meaning.

use handfast_proto::{
    etcdserverpb::{
        RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse, request_op::Request,
        response_op::Response,
    },
    mvccpb::KeyValue,
};

use super::{Answer, Op};

/// `answer` with everything masked that a comparison must not look at.
#[must_use]
pub(super) fn mask(op: &Op, mut answer: Answer) -> Answer {
    match (&mut answer, op) {
        (Answer::Range(response), Op::Range(request)) => mask_range(request, response),
        (Answer::Txn(response), Op::Txn(request)) => mask_txn(request, response),
        (Answer::Put(response), _) => mask_header(&mut response.header),
        (Answer::Delete(response), _) => mask_header(&mut response.header),
        (Answer::Compact(response), _) => mask_header(&mut response.header),
        (Answer::Grant(response), _) => mask_header(&mut response.header),
        (Answer::Revoke(response), _) => mask_header(&mut response.header),
        (Answer::KeepAlive(response), _) => mask_header(&mut response.header),
        (Answer::Watch(response), _) => mask_header(&mut response.header),
        (Answer::TimeToLive(response), _) => {
            mask_header(&mut response.header);
            // Seconds pass between the two calls; what is left must be more than nothing.
            if (1..=response.granted_ttl).contains(&response.ttl) {
                response.ttl = 1;
            }
            response.keys.sort();
        }
        (Answer::Leases(response), _) => {
            mask_header(&mut response.header);
            response.leases.sort_by_key(|lease| lease.id);
        }
        (Answer::Many(answers), _) => {
            *answers = answers.drain(..).map(|answer| mask(op, answer)).collect();
        }
        _ => {}
    }
    answer
}

/// Ids and terms become 1 when they are set, because whether they are set is part of the contract.
pub(super) fn mask_header(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        header.cluster_id = header.cluster_id.min(1);
        header.member_id = header.member_id.min(1);
        header.raft_term = header.raft_term.min(1);
    }
}

fn mask_txn(request: &TxnRequest, response: &mut TxnResponse) {
    mask_header(&mut response.header);
    let branch = if response.succeeded {
        &request.success
    } else {
        &request.failure
    };
    for (op, answer) in branch.iter().zip(&mut response.responses) {
        match (&op.request, &mut answer.response) {
            (Some(Request::RequestRange(request)), Some(Response::ResponseRange(response))) => {
                mask_range(request, response);
            }
            (Some(Request::RequestTxn(request)), Some(Response::ResponseTxn(response))) => {
                mask_txn(request, response);
            }
            (_, Some(Response::ResponsePut(response))) => mask_header(&mut response.header),
            (_, Some(Response::ResponseDeleteRange(response))) => {
                mask_header(&mut response.header);
            }
            _ => {}
        }
    }
}

fn mask_range(request: &RangeRequest, response: &mut RangeResponse) {
    mask_header(&mut response.header);
    if request.sort_target == 0 {
        return;
    }
    // Pairs with equal sort values have no promised order; those that a limit cut through have no
    // promised choice either, so of them only the sort value counts.
    let target = request.sort_target;
    let cut = response
        .more
        .then(|| response.kvs.last().cloned())
        .flatten();
    for pair in &mut response.kvs {
        if cut
            .as_ref()
            .is_some_and(|last| same_sort_value(target, pair, last))
        {
            *pair = only_sort_value(target, pair);
        }
    }
    let mut from = 0;
    while from < response.kvs.len() {
        let first = response.kvs[from].clone();
        let ties = response.kvs[from..].iter();
        let ties = ties
            .take_while(|pair| same_sort_value(target, pair, &first))
            .count();
        response.kvs[from..from + ties].sort_by(|one, two| one.key.cmp(&two.key));
        from += ties;
    }
}

fn same_sort_value(target: i32, one: &KeyValue, two: &KeyValue) -> bool {
    only_sort_value(target, one) == only_sort_value(target, two)
}

fn only_sort_value(target: i32, pair: &KeyValue) -> KeyValue {
    let mut only = KeyValue::default();
    match target {
        1 => only.version = pair.version,
        2 => only.create_revision = pair.create_revision,
        3 => only.mod_revision = pair.mod_revision,
        _ => only.value = pair.value.clone(),
    }
    only
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &'static str, version: i64) -> KeyValue {
        KeyValue {
            key: key.into(),
            version,
            ..KeyValue::default()
        }
    }

    #[test]
    fn ids_are_masked_but_not_whether_they_are_there() {
        let header = |id| ResponseHeader {
            cluster_id: id,
            revision: 3,
            ..Default::default()
        };
        let (mut one, mut two, mut none) = (Some(header(7)), Some(header(9)), Some(header(0)));
        mask_header(&mut one);
        mask_header(&mut two);
        mask_header(&mut none);
        assert_eq!(one, two);
        assert_ne!(one, none);
    }

    #[test]
    fn the_order_of_ties_is_masked_and_the_order_of_others_is_not() {
        let request = RangeRequest {
            sort_target: 1,
            sort_order: 1,
            ..RangeRequest::default()
        };
        let response = |kvs: &[KeyValue], more| {
            let mut response = RangeResponse {
                kvs: kvs.to_vec(),
                more,
                ..Default::default()
            };
            mask_range(&request, &mut response);
            response
        };
        let (a, b, c) = (pair("a", 1), pair("b", 1), pair("c", 2));
        let there = response(&[a.clone(), b.clone(), c.clone()], false);
        assert_eq!(there, response(&[b.clone(), a.clone(), c.clone()], false));
        assert_ne!(there, response(&[c.clone(), a.clone(), b.clone()], false));
        // Cut by a limit within the ties: any choice among them is as good.
        assert_eq!(
            response(std::slice::from_ref(&a), true),
            response(&[b], true)
        );
        assert_ne!(response(&[a], true), response(&[c], true));
    }
}
