//! The transactions of a queue, each harmless when sent twice.
//!
//! Owns what is compared and what is changed. Knows nothing of retries.

use bytes::Bytes;
use handfast_core::{Client, Compare, Op, Txn, TxnResponse};

use super::{
    feed::Offer,
    keys::Keys,
    record::{self, Done, Ticket},
};

/// How many claims the Else branch of a lost claim tells of.
const CLAIMS_TOLD: i64 = 128;
/// How many operations and conditions fit beside those of an acknowledgement and a claim: servers
/// take 128 all in all.
const OPS_TOGETHER: usize = 100;

/// A push: nothing is written where the id is in use, or was.
pub(super) fn push(client: &Client, keys: &Keys, id: &str, payload: &Bytes, ticket: &Bytes) -> Txn {
    let absent = |key| Compare::create_revision(key).eq(0);
    let look = || {
        [
            Op::get(keys.ticket(id)),
            Op::get(keys.item(id)).keys_only(),
            Op::get(keys.done(id)),
            Op::get(keys.dead(id)).keys_only(),
        ]
    };
    let put = Op::txn(
        [
            absent(keys.item(id)),
            absent(keys.done(id)),
            absent(keys.dead(id)),
        ],
        [
            Op::put(keys.item(id), payload),
            Op::put(keys.ticket(id), ticket),
        ],
        look(),
    );
    // A compare of a value is never true where there is none, so "not drain" is the Else branch.
    client
        .txn()
        .when([Compare::value(keys.control()).eq("drain")])
        .then(look())
        .otherwise([put])
}

/// A claim: one attempt more, written beside the claim and not on its lease.
pub(super) fn claim(client: &Client, keys: &Keys, taking: &Taking<'_>) -> Txn {
    client
        .txn()
        .when(taking.when(keys))
        .then(taking.then(keys))
        .otherwise(taking.told(keys))
}

/// What a claim is of, and by whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taking<'a> {
    pub(super) offer: &'a Offer,
    pub(super) nonce: &'a str,
    pub(super) lease: i64,
}

impl Taking<'_> {
    fn when(&self, keys: &Keys) -> Vec<Compare> {
        let offer = self.offer;
        let mut when = unchanged(keys, offer);
        when.extend([
            Compare::mod_revision(keys.control()).eq(offer.control_revision),
            Compare::mod_revision(keys.condition()).eq(offer.rule_revision),
        ]);
        let there = |key: &Bytes| Compare::create_revision(key).gt(0);
        when.extend(offer.needs.iter().map(there));
        when
    }

    fn then(&self, keys: &Keys) -> [Op; 2] {
        let id = &self.offer.id;
        let ticket = self.offer.ticket.claimed();
        [
            Op::put(keys.claim(id), self.nonce).lease(self.lease),
            Op::put(keys.ticket(id), record::value(&ticket)),
        ]
    }

    fn told(&self, keys: &Keys) -> [Op; 2] {
        let all = Op::range(keys.claims()).prefix().keys_only();
        [Op::get(keys.claim(&self.offer.id)), all.limit(CLAIMS_TOLD)]
    }
}

/// The item is as it was seen, and nobody has it.
fn unchanged(keys: &Keys, offer: &Offer) -> Vec<Compare> {
    vec![
        Compare::create_revision(keys.item(&offer.id)).eq(offer.item.create_revision),
        Compare::create_revision(keys.claim(&offer.id)).eq(0),
        // Each claim changes the ticket, so a late copy of this one cannot claim again.
        Compare::mod_revision(keys.ticket(&offer.id)).eq(offer.ticket_revision),
    ]
}

/// Takes back a [`claim`] of which it is not known whether it was, or will be, carried out: the
/// attempt is not counted, and a late copy finds another ticket than it expects.
pub(super) fn withdraw(client: &Client, keys: &Keys, offer: &Offer, nonce: &str) -> Txn {
    let ticket = || Op::put(keys.ticket(&offer.id), record::value(&offer.ticket));
    client
        .txn()
        .when([Compare::value(keys.claim(&offer.id)).eq(nonce)])
        .then([Op::delete(keys.claim(&offer.id)), ticket()])
        .otherwise([Op::txn(unchanged(keys, offer), [ticket()], [])])
}

/// Moves an item that failed too often to the dead letters.
pub(super) fn bury(client: &Client, keys: &Keys, offer: &Offer) -> Txn {
    client.txn().when(unchanged(keys, offer)).then([
        Op::delete(keys.item(&offer.id)),
        Op::put(keys.dead(&offer.id), &offer.item.value),
    ])
}

/// What a claim is ended with.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) id: String,
    pub(super) token: i64,
    /// As it was before this claim.
    pub(super) before: Ticket,
    /// The worker's key and lease, if it has one: idle from now on.
    pub(super) worker: Option<(Bytes, i64)>,
}

impl Ending {
    fn guard(&self, keys: &Keys) -> Compare {
        Compare::create_revision(keys.claim(&self.id)).eq(self.token)
    }

    fn idle(&self) -> Option<Op> {
        let (key, lease) = self.worker.as_ref()?;
        Some(Op::put(key, self.token.to_string()).lease(*lease))
    }
}

/// What an acknowledgement is of, with the caller's own `ops`; `outdated` are marks nobody needs
/// any more.
#[derive(Debug, Clone)]
pub(super) struct Acking {
    pub(super) ending: Ending,
    pub(super) outdated: Vec<String>,
    pub(super) ops: Vec<Op>,
}

impl Acking {
    fn then(&self, keys: &Keys) -> Vec<Op> {
        let ending = &self.ending;
        let done = Done {
            token: ending.token,
            nonce: ending.before.nonce.clone(),
        };
        let mut then = vec![
            Op::delete(keys.item(&ending.id)),
            Op::delete(keys.claim(&ending.id)),
            Op::delete(keys.ticket(&ending.id)),
            Op::put(keys.done(&ending.id), record::value(&done)),
        ];
        let opens = ending.before.opens.as_ref();
        then.extend(opens.map(|gate| Op::put(keys.gate(gate), &*ending.id)));
        then.extend(self.outdated.iter().map(|id| Op::delete(keys.done(id))));
        then.extend(self.ops.iter().cloned());
        then
    }
}

/// An acknowledgement.
pub(super) fn ack(client: &Client, keys: &Keys, acking: &Acking) -> Txn {
    let mut then = acking.then(keys);
    then.extend(acking.ending.idle());
    client
        .txn()
        .when([acking.ending.guard(keys)])
        .then(then)
        .otherwise([Op::get(keys.done(&acking.ending.id))])
}

/// An acknowledgement and, if it can be had, the claim of another item by the same worker, which
/// is not idle in between. A late copy of it claims nothing: its guard is not true again.
pub(super) fn ack_and_claim(
    client: &Client,
    keys: &Keys,
    acking: &Acking,
    taking: &Taking<'_>,
) -> Txn {
    let untaken = taking.told(keys).into_iter().chain(acking.ending.idle());
    let claim = Op::txn(taking.when(keys), taking.then(keys), untaken);
    let mut then = acking.then(keys);
    then.push(claim);
    client
        .txn()
        .when([acking.ending.guard(keys)])
        .then(then)
        .otherwise([
            Op::get(keys.done(&acking.ending.id)),
            Op::get(keys.claim(&taking.offer.id)),
        ])
}

/// Whether [`ack_and_claim`] has few enough operations for any server.
pub(super) fn fit_together(ops: &[Op], offer: &Offer) -> bool {
    ops.len() + offer.needs.len() <= OPS_TOGETHER
}

/// The revision of an [`ack`] that was carried out before, as its Else branch tells.
pub(super) fn acked_before(
    ending: &Ending,
    answer: &TxnResponse,
) -> Result<Option<i64>, handfast_core::Error> {
    let mark = answer.range(0)?.kvs.first();
    Ok(mark.and_then(|pair| {
        let done: Done = record::parse(&pair.value);
        (done.token == ending.token).then_some(pair.mod_revision)
    }))
}

/// How an item is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Back {
    /// It failed, and the worker says why; the attempt counts.
    Failed { said: String },
    /// It failed for the last time.
    Dead { said: String, payload: Bytes },
    /// Nothing was tried.
    Untried,
}

/// Gives the item back, or moves it to the dead letters.
pub(super) fn give_back(client: &Client, keys: &Keys, ending: &Ending, back: &Back) -> Txn {
    let ticket = match back {
        Back::Untried => ending.before.clone(),
        Back::Failed { said } | Back::Dead { said, .. } => Ticket {
            said: Some(said.clone()),
            ..ending.before.claimed()
        },
    };
    let mut then = vec![
        Op::delete(keys.claim(&ending.id)),
        Op::put(keys.ticket(&ending.id), record::value(&ticket)),
    ];
    if let Back::Dead { payload, .. } = back {
        then.push(Op::delete(keys.item(&ending.id)));
        then.push(Op::put(keys.dead(&ending.id), payload));
    }
    then.extend(ending.idle());
    client.txn().when([ending.guard(keys)]).then(then)
}

/// Puts a dead letter back into the queue, at its end, as if it had never been tried.
pub(super) fn revive(
    client: &Client,
    keys: &Keys,
    id: &str,
    (payload, revision): (&Bytes, i64),
    ticket: &Ticket,
) -> Txn {
    let ticket = Ticket {
        attempts: 0,
        said: None,
        ..ticket.clone()
    };
    client
        .txn()
        .when([
            Compare::create_revision(keys.dead(id)).eq(revision),
            Compare::create_revision(keys.item(id)).eq(0),
        ])
        .then([
            Op::delete(keys.dead(id)),
            Op::put(keys.item(id), payload),
            Op::put(keys.ticket(id), record::value(&ticket)),
        ])
        .otherwise([Op::get(keys.item(id)).keys_only()])
}
