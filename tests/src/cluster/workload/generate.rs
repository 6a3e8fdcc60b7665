//! What clients of keys ask for next.
//!
//! Chooses from a seed and from what the client saw last. Must not know how requests are made.

use bytes::Bytes;
use handfast_checker::{
    Compare, CompareResult, Delete, Get, KeyRange, Put, Request, Response, Target, Txn, TxnOp,
};

use crate::dice::Dice;

/// Few keys, so that clients are in each other's way.
const KEYS: u64 = 5;
const PREFIX: &str = "r/";

/// Chooses requests and remembers what it needs for the next.
#[derive(Debug)]
pub(super) struct Generator {
    client: u32,
    number: u64,
    dice: Dice,
    /// The revision of each key's last change, as far as this client knows; 0: not there.
    seen: Vec<i64>,
    revision: i64,
}

impl Generator {
    pub(super) fn new(client: u32, dice: Dice) -> Self {
        Self {
            client,
            number: 0,
            dice,
            seen: vec![0; KEYS as usize],
            revision: 1,
        }
    }

    /// The next request.
    pub(super) fn next(&mut self) -> Request {
        self.number += 1;
        let key = self.dice.below(KEYS);
        match self.dice.below(100) {
            0..22 => Request::Put(self.put(key)),
            22..44 => Request::get(name(key)),
            44..51 => Request::Delete(self.delete(key)),
            51..70 => self.put_if_unchanged(key),
            70..78 => self.put_both(key),
            78..83 => self.read(KeyRange::prefix(PREFIX), 0, false),
            83..92 => self.read(KeyRange::key(name(key)), 0, true),
            92..96 => {
                let past = (self.revision - self.dice.below(40) as i64).max(1);
                self.read(KeyRange::prefix(PREFIX), past, false)
            }
            _ => Request::Txn(Txn {
                then: vec![TxnOp::Get(get(key)), TxnOp::Get(get((key + 1) % KEYS))],
                ..Txn::default()
            }),
        }
    }

    /// Learns from an answer.
    pub(super) fn learn(&mut self, revision: i64, request: &Request, response: &Response) {
        self.revision = self.revision.max(revision);
        match (request, response) {
            (Request::Get(asked), Response::Get { kvs, .. }) if asked.range.is_key() => {
                self.note(
                    &asked.range.key,
                    kvs.first().map_or(0, |pair| pair.mod_revision),
                );
            }
            (Request::Put(put), _) => self.note(&put.key, revision),
            (
                Request::Txn(txn),
                Response::Txn {
                    succeeded,
                    responses,
                },
            ) => {
                let ran = if *succeeded {
                    &txn.then
                } else {
                    &txn.otherwise
                };
                for (op, response) in ran.iter().zip(responses) {
                    match (op, response) {
                        (TxnOp::Put(put), _) => self.note(&put.key, revision),
                        (TxnOp::Get(asked), Response::Get { kvs, .. }) => {
                            let seen = kvs.first().map_or(0, |pair| pair.mod_revision);
                            self.note(&asked.range.key, seen);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, key: &Bytes, revision: i64) {
        if let Some(number) = (0..KEYS).find(|number| name(*number) == *key) {
            self.seen[number as usize] = revision;
        }
    }

    fn read(&mut self, range: KeyRange, revision: i64, serializable: bool) -> Request {
        Request::Get(Get {
            range,
            limit: 0,
            revision,
            serializable,
        })
    }

    fn put(&mut self, key: u64) -> Put {
        let value = format!("{}-{}-{key}", self.client, self.number);
        Put {
            prev_kv: self.dice.percent(30),
            ..Put::new(name(key), value)
        }
    }

    fn delete(&mut self, key: u64) -> Delete {
        Delete {
            range: KeyRange::key(name(key)),
            prev_kv: self.dice.percent(50),
        }
    }

    /// Writes the key unless somebody did since this client saw it; else reads it.
    fn put_if_unchanged(&mut self, key: u64) -> Request {
        let unchanged = Compare {
            range: KeyRange::key(name(key)),
            result: CompareResult::Equal,
            target: Target::ModRevision(self.seen[key as usize]),
        };
        Request::Txn(Txn {
            compares: vec![unchanged],
            then: vec![TxnOp::Put(self.put(key))],
            otherwise: vec![TxnOp::Get(get(key))],
        })
    }

    /// Writes two keys, or one and deletes the other, at one revision.
    fn put_both(&mut self, key: u64) -> Request {
        let other = (key + 1 + self.dice.below(KEYS - 1)) % KEYS;
        let second = if self.dice.percent(70) {
            TxnOp::Put(self.put(other))
        } else {
            TxnOp::Delete(self.delete(other))
        };
        let is_there = Compare {
            range: KeyRange::key(name(key)),
            result: CompareResult::Greater,
            target: Target::Version(0),
        };
        let compares = if self.dice.percent(50) {
            vec![is_there]
        } else {
            Vec::new()
        };
        let first = TxnOp::Put(self.put(key));
        let otherwise = if self.dice.percent(50) {
            vec![TxnOp::Put(self.put(other))]
        } else {
            vec![TxnOp::Get(get(other))]
        };
        Request::Txn(Txn {
            compares,
            then: vec![first, second],
            otherwise,
        })
    }
}

fn get(key: u64) -> Get {
    Get {
        range: KeyRange::key(name(key)),
        ..Get::default()
    }
}

fn name(key: u64) -> Bytes {
    format!("{PREFIX}{key}").into()
}
