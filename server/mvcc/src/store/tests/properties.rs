//! Random sequences: the store answers as the model does, whatever happens to its memory and its
//! file in between.

use handfast_proto::etcdserverpb::{RangeRequest, TxnRequest};
use proptest::prelude::*;

use super::{
    strategies::{op, range, read_only_txn},
    *,
};
use crate::{
    recent::Event,
    watch::{History, HistoryError},
};

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<Op>),
    Range(RangeRequest),
    ReadOnlyTxn(TxnRequest),
    Flush,
    Sweep,
    Reopen,
    History(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => prop::collection::vec(op(), 1..4).prop_map(Step::Apply),
        8 => range().prop_map(Step::Range),
        2 => read_only_txn().prop_map(Step::ReadOnlyTxn),
        2 => Just(Step::Flush),
        2 => Just(Step::Sweep),
        1 => Just(Step::Reopen),
        1 => (0_i64..50).prop_map(Step::History),
    ];
    prop::collection::vec(step, 1..50)
}

/// The term moves on, so that an expiry proposed under an older one comes up.
fn term_of(entries: usize) -> u64 {
    1 + entries as u64 / 30
}

struct Pair {
    fixture: Fixture,
    model: model::Model,
    answers: Vec<String>,
}

impl Pair {
    fn run(&mut self, step: &Step) {
        match step {
            Step::Apply(ops) => self.apply(ops),
            Step::Range(request) => {
                let expected = self.model.range(request);
                let found = self.fixture.store().range(request);
                assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{request:?}");
            }
            Step::ReadOnlyTxn(request) => {
                let expected = self.model.read_only_txn(request);
                let found = self.fixture.store().read_only_txn(request);
                assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{request:?}");
            }
            Step::Flush => drop(self.fixture.store().flush().unwrap()),
            Step::Sweep => self.fixture.sweep_all(),
            Step::Reopen => {
                let (first, answers) = self.fixture.reopen();
                let replayed: Vec<String> = answers.iter().map(seen).collect();
                assert_eq!(
                    replayed,
                    self.answers[first..],
                    "a replay answers as before"
                );
            }
            Step::History(from) => self.history(*from),
        }
    }

    fn apply(&mut self, ops: &[Op]) {
        let term = term_of(self.fixture.log.len());
        let answers = self.fixture.apply_in(term, ops.to_vec());
        assert_eq!(answers.len(), ops.len());
        for (op, answer) in ops.iter().zip(answers) {
            let result = self.model.apply(op, term);
            let expected = Applied {
                revision: self.model.revision,
                result,
            };
            assert_eq!(seen(&answer), seen(&expected), "{op:?}");
            self.answers.push(seen(&answer));
        }
    }

    fn history(&mut self, from: i64) {
        let store = self.fixture.store();
        store.flush().unwrap();
        let mut events: Vec<Event> = Vec::new();
        let through = store.revision();
        let read = store.events(from, through, &mut |event| {
            events.push(event);
            true
        });
        if from < self.model.compacted {
            let compacted = self.model.compacted;
            assert!(
                matches!(read, Err(HistoryError::Compacted { compacted: c }) if c == compacted)
            );
            return;
        }
        read.unwrap();
        let expected: Vec<_> = self
            .model
            .versions
            .iter()
            .filter(|kv| kv.mod_revision >= from)
            .collect();
        assert_eq!(
            events.iter().map(|event| &event.kv).collect::<Vec<_>>(),
            expected
        );
        for event in events.iter().filter(|event| !event.is_creation()) {
            let before = event.main() - 1;
            let key = &event.kv.key;
            let expected = self.model.list(key, &Bytes::new(), before).pop();
            let expected = expected.filter(|_| before >= self.model.compacted);
            assert_eq!(store.previous(event).unwrap(), expected);
        }
    }

    fn check_everything(&mut self) {
        let newest = self.model.revision;
        for revision in self.model.compacted.max(1)..=newest {
            for limit in [0, 3] {
                let request = RangeRequest {
                    revision,
                    limit,
                    ..super::range("\0", "\0")
                };
                let found = format!("{:?}", self.fixture.store().range(&request));
                assert_eq!(found, format!("{:?}", self.model.range(&request)));
            }
        }
        let lessor = self.fixture.store().leases();
        let mut leases = lessor.list();
        leases.sort_unstable();
        assert_eq!(
            leases,
            self.model.leases.keys().copied().collect::<Vec<_>>()
        );
        let alarms: Vec<_> = self.model.alarms.iter().copied().collect();
        let store = self.fixture.store();
        assert_eq!(store.alarms(), alarms);
        for kind in 1..5 {
            assert_eq!(store.has_alarm(kind), alarms.iter().any(|a| a.kind == kind));
        }
        assert_eq!(store.join_secret(), self.model.secret);
        let all = self.model.list(&bytes("\0"), &bytes("\0"), newest);
        for id in leases {
            let keys: Vec<_> = all
                .iter()
                .filter(|kv| kv.lease == id)
                .map(|kv| kv.key.clone())
                .collect();
            assert_eq!(lessor.keys_of(id), Some(keys));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn answers_as_the_model_does(steps in steps()) {
        let mut pair =
            Pair { fixture: Fixture::small(), model: model::Model::new(), answers: Vec::new() };
        for step in &steps {
            pair.run(step);
        }
        pair.check_everything();
        pair.run(&Step::Reopen);
        pair.check_everything();
        pair.fixture.sweep_all();
        pair.check_everything();
        pair.run(&Step::Reopen);
        pair.check_everything();
    }
}
