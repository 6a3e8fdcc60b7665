//! Clients that use a right store at the same time, and lose answers now and then.
//!
//! Owns the making of true runs from a seed.

use super::{dice::Dice, held::Holders, watches, world::World};
use crate::{
    history::{
        Compare, CompareResult, Delete, EventLog, Final, Get, KeyRange, Put, Request, Response,
        Run, Snapshot, Target, Txn, TxnOp,
    },
    recorder::{OperationId, Recorder},
};

/// What kind of run to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) clients: usize,
    pub(super) operations: usize,
    pub(super) keys: usize,
    /// How many of a hundred answers are lost, before or after the effect.
    pub(super) doubt: usize,
    pub(super) with_log: bool,
    pub(super) with_leases: bool,
    pub(super) with_txns: bool,
    /// Whether locks and elections write keys that are not recorded.
    pub(super) with_holders: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            clients: 8,
            operations: 150,
            keys: 5,
            doubt: 10,
            with_log: true,
            with_leases: true,
            with_txns: true,
            with_holders: true,
        }
    }
}

/// A request under way.
struct Pending {
    id: OperationId,
    request: Request,
    answer: Option<(i64, Response)>,
}

struct Traffic {
    shape: Shape,
    dice: Dice,
    world: World,
    recorder: Recorder,
    now: u64,
    clients: Vec<Option<Pending>>,
    /// Requests nobody waits for any more that may still take effect.
    ghosts: Vec<Request>,
    asked: usize,
    lease: i64,
    holders: Holders,
}

/// A true run.
pub(super) fn run(seed: u64, shape: Shape) -> Run {
    let mut traffic = Traffic {
        shape,
        dice: Dice::new(seed),
        world: World::new(),
        recorder: Recorder::new(),
        now: 1000,
        clients: (0..shape.clients).map(|_| None).collect(),
        ghosts: Vec::new(),
        asked: 0,
        lease: 1,
        holders: Holders::default(),
    };
    while traffic.asked < shape.operations || traffic.clients.iter().any(Option::is_some) {
        traffic.tick();
    }
    traffic.finish(seed)
}

impl Traffic {
    fn tick(&mut self) {
        self.now += 1 + u64::try_from(self.dice.below(20)).unwrap();
        if self.dice.percent(5) && !self.ghosts.is_empty() {
            let ghost = self.ghosts.swap_remove(self.dice.below(self.ghosts.len()));
            if self.dice.percent(60) {
                self.world.serve(&ghost);
            }
        }
        if self.shape.with_leases && self.dice.percent(2) {
            self.end_lease();
        }
        if self.shape.with_holders && self.dice.percent(20) {
            let (dice, now) = (&mut self.dice, self.now);
            self.holders
                .tick(dice, &mut self.world, &self.recorder, now);
        }
        let client = self.dice.below(self.clients.len());
        match self.clients[client].take() {
            None if self.asked < self.shape.operations => self.ask(client),
            None => {}
            Some(pending) => self.go_on(client, pending),
        }
    }

    fn ask(&mut self, client: usize) {
        self.asked += 1;
        let request = self.request();
        let number = u32::try_from(client).unwrap();
        let id = self.recorder.invoke(self.now, number, request.clone());
        self.clients[client] = Some(Pending {
            id,
            request,
            answer: None,
        });
    }

    fn go_on(&mut self, client: usize, mut pending: Pending) {
        let is_lost = self.dice.percent(self.shape.doubt);
        match pending.answer.take() {
            None if is_lost => {
                self.recorder.unknown(self.now, pending.id, "lost before");
                self.ghosts.push(pending.request);
            }
            None if self.dice.percent(2) => {
                self.recorder.failed(self.now, pending.id, "refused");
            }
            None => {
                pending.answer = Some(self.serve(&pending.request));
                self.clients[client] = Some(pending);
            }
            Some(_) if is_lost => self.recorder.unknown(self.now, pending.id, "lost after"),
            Some((revision, response)) => {
                self.recorder.ok(self.now, pending.id, revision, response);
            }
        }
    }

    fn serve(&mut self, request: &Request) -> (i64, Response) {
        match request {
            Request::Get(get) if get.serializable => {
                let last = self.world.revision();
                let revision = self.dice.within((last - 4).max(1)..last + 1);
                self.world.serve_late(revision, get)
            }
            _ => self.world.serve(request),
        }
    }

    fn end_lease(&mut self) {
        let id = self.lease;
        self.lease += 1;
        self.recorder.leased(self.now - 90, self.now - 100, id, 40);
        self.recorder.renewed(self.now - 60, self.now - 70, id);
        self.world.serve(&Request::Revoke { lease: id });
        self.recorder.lease_gone(self.now, id);
    }

    fn key(&mut self) -> String {
        format!("k/{}", self.dice.below(self.shape.keys))
    }

    fn put(&mut self) -> Put {
        let (key, value) = (self.key(), format!("v{}", self.asked));
        Put {
            lease: if self.shape.with_leases && self.dice.percent(20) {
                self.lease
            } else {
                0
            },
            prev_kv: self.dice.percent(30),
            ..Put::new(key, value)
        }
    }

    fn range(&mut self) -> KeyRange {
        if self.dice.percent(20) {
            return KeyRange::prefix("k/");
        }
        KeyRange::key(self.key())
    }

    fn get(&mut self) -> Get {
        Get {
            range: self.range(),
            limit: if self.dice.percent(20) { 2 } else { 0 },
            ..Get::default()
        }
    }

    fn request(&mut self) -> Request {
        match self.dice.below(100) {
            0..40 => Request::Put(self.put()),
            40..65 => Request::Get(self.get()),
            65..70 => Request::Get(Get {
                serializable: true,
                ..self.get()
            }),
            70..75 if self.shape.with_txns => Request::Get(Get {
                revision: self.dice.within(1..self.world.revision() + 1),
                ..self.get()
            }),
            75..85 => Request::Delete(Delete {
                range: self.range(),
                prev_kv: self.dice.percent(50),
            }),
            85..87 if self.shape.with_leases => Request::Revoke { lease: self.lease },
            _ if self.shape.with_txns => Request::Txn(self.txn()),
            _ => Request::Put(self.put()),
        }
    }

    fn txn(&mut self) -> Txn {
        let last = self.world.revision();
        let target = match self.dice.below(5) {
            0 => Target::Version(self.dice.within(0..3)),
            1 => Target::CreateRevision(0),
            2 => Target::ModRevision(self.dice.within(0..last + 1)),
            3 => Target::Lease(0),
            _ => Target::Value(format!("v{}", self.dice.below(self.asked + 1)).into()),
        };
        let results = [
            CompareResult::Equal,
            CompareResult::NotEqual,
            CompareResult::Greater,
            CompareResult::Less,
        ];
        let compare = Compare {
            range: self.range(),
            result: *self.dice.pick(&results),
            target,
        };
        let (first, mut second) = (self.put(), self.put());
        second.key = format!("k/x{}", self.dice.below(2)).into();
        let read = TxnOp::Get(self.get());
        let delete = Delete {
            range: KeyRange::key(first.key.clone()),
            prev_kv: true,
        };
        Txn {
            compares: vec![compare],
            then: vec![TxnOp::Put(first), TxnOp::Put(second), read.clone()],
            otherwise: if self.dice.percent(50) {
                vec![TxnOp::Delete(delete), read]
            } else {
                vec![]
            },
        }
    }

    fn finish(mut self, seed: u64) -> Run {
        let to = self.world.revision();
        let state = Snapshot {
            revision: to,
            kvs: self.world.now().to_vec(),
        };
        let log = EventLog {
            from: 2,
            to,
            events: self.world.log.clone(),
        };
        if self.shape.with_log {
            watches::record(&mut self.dice, &log, &self.recorder, self.now);
        }
        let mut run = self.recorder.run();
        run.title = format!("seed {seed}");
        let member = |number: usize| Final {
            member: format!("m{number}"),
            state: state.clone(),
        };
        run.finals = (1..=3).map(member).collect();
        run.log = self.shape.with_log.then_some(log);
        if self.shape.with_holders {
            run.unrecorded = vec![KeyRange::prefix("held/")];
        }
        run
    }
}
