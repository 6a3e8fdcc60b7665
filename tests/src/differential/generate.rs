//! Lists of operations from a seed: few keys, so that operations meet each other.

use bytes::Bytes;
use handfast_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseTimeToLiveRequest,
    PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, compare::TargetUnion,
    request_op::Request,
};

use super::{Op, op::back};
use crate::dice::Dice;

const KEYS: [&[u8]; 16] = [
    b"a",
    b"a/",
    b"a/1",
    b"a/2",
    b"a/3",
    b"ab",
    b"b",
    b"b/x",
    b"b/y",
    b"c",
    b"\0",
    b"\0\0",
    b"\xff",
    b"\xff\xff",
    b"\xfe\xff",
    b"a key with spaces",
];
const VALUES: [&[u8]; 8] = [b"", b"v", b"v1", b"v2", b"v10", b"w", b"\0", b"\xff\xfe"];
const LEASES: [i64; 6] = [1001, 1002, 1003, 77, i64::MAX, 0x7000_0000_0000_0001];
const UNKNOWN_LEASE: i64 = 9999;
/// Long enough that none runs out during a run.
const TTLS: [i64; 4] = [600, 3600, 86_400, 9_000_000_000];
/// One more than a transaction may hold.
const TOO_MANY: usize = 129;

/// The operations that `seed` stands for.
#[must_use]
pub fn generate(seed: u64, count: usize) -> Vec<Op> {
    let mut dice = Dice::new(seed);
    (0..count).map(|_| op(&mut dice)).collect()
}

fn op(dice: &mut Dice) -> Op {
    match dice.below(1000) {
        0..240 => Op::Range(range(dice)),
        240..520 => Op::Put(put(dice)),
        520..600 => Op::Delete(delete(dice)),
        600..840 => Op::Txn(txn(dice, 0)),
        840..845 => Op::Compact(compact(dice)),
        845..885 => Op::Grant(grant(dice)),
        885..890 => Op::Brief(brief(dice)),
        890..915 => Op::Revoke(lease(dice)),
        915..930 => Op::KeepAlive(lease(dice)),
        930..950 => Op::TimeToLive(LeaseTimeToLiveRequest {
            id: lease(dice),
            keys: dice.percent(70),
        }),
        950..955 => Op::Leases,
        955..985 => Op::Watch(watch(dice)),
        _ => Op::Unwatch(dice.below(12) as i64),
    }
}

fn key(dice: &mut Dice) -> Bytes {
    if dice.percent(2) {
        Bytes::new()
    } else {
        Bytes::from_static(dice.pick::<&[u8]>(&KEYS))
    }
}

fn value(dice: &mut Dice) -> Bytes {
    if dice.percent(3) {
        Bytes::from(vec![b'x'; 2000 + dice.below(3000) as usize])
    } else {
        Bytes::from_static(dice.pick::<&[u8]>(&VALUES))
    }
}

fn lease(dice: &mut Dice) -> i64 {
    if dice.percent(8) {
        UNKNOWN_LEASE
    } else {
        *dice.pick(&LEASES)
    }
}

/// A key and a range end, of every kind there is.
fn span(dice: &mut Dice) -> (Bytes, Bytes) {
    let from = key(dice);
    let to = match dice.below(100) {
        0..40 => Bytes::new(),
        40..60 => prefix_end(&from),
        60..70 => return (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
        70..80 => Bytes::from_static(b"\0"),
        _ => Bytes::from_static(dice.pick::<&[u8]>(&KEYS)),
    };
    (from, to)
}

fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}

/// A revision for reading: mostly the current one, sometimes the past, the future or nonsense.
fn revision(dice: &mut Dice) -> i64 {
    match dice.below(100) {
        0..70 => 0,
        70..92 => back(dice.below(40) as i64),
        92..96 => back(-(1 + dice.below(3) as i64)),
        96..98 => -1,
        _ => 1,
    }
}

fn bound(dice: &mut Dice) -> i64 {
    if dice.percent(85) {
        0
    } else {
        back(dice.below(60) as i64)
    }
}

fn range(dice: &mut Dice) -> RangeRequest {
    let (key, range_end) = span(dice);
    RangeRequest {
        key,
        range_end,
        limit: if dice.percent(30) {
            dice.below(6) as i64 - 1
        } else {
            0
        },
        revision: revision(dice),
        sort_order: if dice.percent(40) {
            dice.below(3) as i32
        } else {
            0
        },
        sort_target: if dice.percent(40) {
            dice.below(5) as i32
        } else {
            0
        },
        serializable: dice.percent(20),
        keys_only: dice.percent(10),
        count_only: dice.percent(8),
        min_mod_revision: bound(dice),
        max_mod_revision: bound(dice),
        min_create_revision: bound(dice),
        max_create_revision: bound(dice),
    }
}

fn put(dice: &mut Dice) -> PutRequest {
    let ignore_value = dice.percent(6);
    let ignore_lease = dice.percent(6);
    // The flag beside what it ignores is an error; that is wanted now and then, not always.
    let careless = dice.percent(15);
    PutRequest {
        key: key(dice),
        value: if ignore_value && !careless {
            Bytes::new()
        } else {
            value(dice)
        },
        lease: if dice.percent(25) && (!ignore_lease || careless) {
            lease(dice)
        } else {
            0
        },
        prev_kv: dice.percent(30),
        ignore_value,
        ignore_lease,
    }
}

fn delete(dice: &mut Dice) -> DeleteRangeRequest {
    let (key, mut range_end) = span(dice);
    // Deletions of everything would leave the other operations nothing to meet.
    if dice.percent(60) {
        range_end = Bytes::new();
    }
    DeleteRangeRequest {
        key,
        range_end,
        prev_kv: dice.percent(40),
    }
}

fn compact(dice: &mut Dice) -> CompactionRequest {
    let revision = match dice.below(100) {
        0..75 => back(5 + dice.below(60) as i64),
        75..85 => back(0),
        85..90 => back(-2),
        90..95 => 0,
        _ => -1,
    };
    CompactionRequest {
        revision,
        physical: dice.percent(50),
    }
}

fn grant(dice: &mut Dice) -> LeaseGrantRequest {
    let ttl = if dice.percent(3) {
        9_000_000_001
    } else {
        *dice.pick(&TTLS)
    };
    LeaseGrantRequest {
        ttl,
        id: *dice.pick(&LEASES),
    }
}

fn brief(dice: &mut Dice) -> LeaseGrantRequest {
    LeaseGrantRequest {
        ttl: *dice.pick(&[i64::MIN, -1, 0, 1, 2]),
        id: 55,
    }
}

fn txn(dice: &mut Dice, depth: u32) -> TxnRequest {
    let compares = dice.below(4);
    TxnRequest {
        compare: (0..compares).map(|_| compare(dice)).collect(),
        success: branch(dice, depth),
        failure: branch(dice, depth),
    }
}

fn branch(dice: &mut Dice, depth: u32) -> Vec<RequestOp> {
    if depth == 0 && dice.below(300) == 0 {
        let op = RequestOp {
            request: Some(Request::RequestRange(range(dice))),
        };
        return vec![op; TOO_MANY - dice.below(3) as usize];
    }
    let count = dice.below(if depth == 0 { 5 } else { 3 });
    let mut ops = Vec::new();
    let mut has_nested = false;
    for _ in 0..count {
        let request = request(dice, depth);
        let is_nested = matches!(request, Some(Request::RequestTxn(_)));
        // One nested transaction in a branch, see `accepted`.
        if !(is_nested && has_nested) {
            ops.push(RequestOp { request });
        }
        has_nested |= is_nested;
    }
    ops
}

fn request(dice: &mut Dice, depth: u32) -> Option<Request> {
    Some(match dice.below(100) {
        0..35 => Request::RequestRange(range(dice)),
        35..72 => Request::RequestPut(put(dice)),
        72..88 => Request::RequestDeleteRange(bounded(delete(dice))),
        88..99 if depth < 2 => Request::RequestTxn(txn(dice, depth + 1)),
        99 => return None,
        _ => Request::RequestPut(put(dice)),
    })
}

/// A deletion within a transaction is never open-ended, see `accepted`; this end is as good.
fn bounded(mut request: DeleteRangeRequest) -> DeleteRangeRequest {
    if request.range_end.as_ref() == b"\0" {
        request.range_end = Bytes::from_static(b"\xff\xff\xff");
    }
    request
}

fn compare(dice: &mut Dice) -> Compare {
    let (key, range_end) = if dice.percent(25) {
        span(dice)
    } else {
        (key(dice), Bytes::new())
    };
    let number = dice.below(4) as i64;
    let recent = back(dice.below(20) as i64);
    let (target, operand) = match dice.below(5) {
        0 => (0, TargetUnion::Version(number)),
        1 => (
            1,
            TargetUnion::CreateRevision(if dice.percent(40) { 0 } else { recent }),
        ),
        2 => (
            2,
            TargetUnion::ModRevision(if dice.percent(30) { 0 } else { recent }),
        ),
        3 => (3, TargetUnion::Value(value(dice))),
        _ => (
            4,
            TargetUnion::Lease(if dice.percent(50) { 0 } else { lease(dice) }),
        ),
    };
    // Now and then the operand is missing, or one that belongs to another target.
    let target = if dice.percent(4) {
        dice.below(5) as i32
    } else {
        target
    };
    let operand = if dice.percent(3) { None } else { Some(operand) };
    Compare {
        result: dice.below(4) as i32,
        target,
        key,
        range_end,
        target_union: operand,
    }
}

fn watch(dice: &mut Dice) -> WatchCreateRequest {
    let (key, range_end) = span(dice);
    let start_revision = match dice.below(100) {
        0..45 => 0,
        45..85 => back(dice.below(50) as i64),
        85..95 => back(-(1 + dice.below(20) as i64)),
        _ => 1,
    };
    let filters = match dice.below(10) {
        0 => vec![0],
        1 => vec![1],
        2 => vec![0, 1],
        _ => Vec::new(),
    };
    WatchCreateRequest {
        key,
        range_end,
        start_revision,
        progress_notify: dice.percent(20),
        filters,
        prev_kv: dice.percent(50),
        watch_id: if dice.percent(20) {
            3 + dice.below(9) as i64
        } else {
            0
        },
        fragment: dice.percent(20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_list_and_every_kind_of_operation_comes() {
        assert_eq!(generate(3, 200), generate(3, 200));
        assert_ne!(generate(3, 200), generate(4, 200));
        let mut kinds = std::collections::HashSet::new();
        for op in generate(1, 5000) {
            kinds.insert(std::mem::discriminant(&op));
        }
        assert_eq!(kinds.len(), 13);
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_one() {
        assert_eq!(prefix_end(b"a/"), Bytes::from_static(b"a0"));
        assert_eq!(prefix_end(b"\xfe\xff"), Bytes::from_static(b"\xff"));
        assert_eq!(prefix_end(b"\xff\xff"), Bytes::from_static(b"\0"));
    }
}
