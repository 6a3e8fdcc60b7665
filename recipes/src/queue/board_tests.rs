//! Tests of the board: whatever order keys change in, it is what all pairs at once make it.

use std::sync::Arc;

use handfast_core::KeyValue;

use super::*;

fn keys() -> Keys {
    Keys::new("q".into(), &"_handfast/".into())
}

struct Store {
    keys: Keys,
    board: Board,
    pairs: BTreeMap<bytes::Bytes, Pair>,
    revision: i64,
}

impl Store {
    fn new() -> Self {
        let (keys, board, pairs) = (keys(), Board::default(), BTreeMap::new());
        Self {
            keys,
            board,
            pairs,
            revision: 0,
        }
    }

    fn put(&mut self, key: bytes::Bytes, value: impl Into<bytes::Bytes>) {
        self.revision += 1;
        let before = self.pairs.get(&key);
        let pair = Arc::new(KeyValue {
            key: key.clone(),
            value: value.into(),
            mod_revision: self.revision,
            create_revision: before.map_or(self.revision, |pair| pair.create_revision),
            ..Default::default()
        });
        self.pairs.insert(key, Arc::clone(&pair));
        self.board.put(&self.keys, &pair);
        self.same();
    }

    fn delete(&mut self, key: bytes::Bytes) {
        self.revision += 1;
        self.pairs.remove(&key);
        self.board.delete(&self.keys, &key);
        self.same();
    }

    /// What changed step by step is what is read at once.
    fn same(&mut self) {
        let fresh = Board::of(&self.keys, self.revision, self.pairs.values());
        self.board.revision = self.revision;
        assert_eq!(format!("{:?}", self.board), format!("{fresh:?}"));
    }

    fn push(&mut self, id: &str, ticket: &Ticket) {
        let (item, at) = (self.keys.item(id), self.keys.ticket(id));
        self.put(item, "payload");
        self.put(at, record::value(ticket));
    }

    fn claimable(&self) -> Vec<&str> {
        self.board.claimable().collect()
    }
}

fn after(ids: &[&str]) -> Ticket {
    Ticket {
        after: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..Ticket::default()
    }
}

#[test]
fn items_come_in_the_order_they_were_put_and_keep_it_when_given_back() {
    let mut store = Store::new();
    for id in ["z", "a", "m"] {
        store.push(id, &Ticket::default());
    }
    assert_eq!(store.claimable(), ["z", "a", "m"]);
    store.put(store.keys.claim("z"), "1f#1");
    assert_eq!(store.claimable(), ["a", "m"]);
    store.put(store.keys.ticket("z"), "{\"attempts\":1}");
    store.delete(store.keys.claim("z"));
    assert_eq!(store.claimable(), ["z", "a", "m"]);
    store.delete(store.keys.item("a"));
    assert_eq!(store.claimable(), ["z", "m"]);
}

#[test]
fn an_item_waits_for_those_before_it_and_for_its_gate() {
    let mut store = Store::new();
    store.push("b", &after(&["a", "x"]));
    let gated = Ticket {
        gate: Some("g".to_owned()),
        ..Ticket::default()
    };
    store.push("c", &gated);
    assert!(store.claimable().is_empty());
    store.put(store.keys.done("a"), "");
    assert!(store.claimable().is_empty());
    store.put(store.keys.done("x"), "");
    assert_eq!(store.claimable(), ["b"]);
    store.put(store.keys.gate("g"), "");
    assert_eq!(store.claimable(), ["b", "c"]);
    store.delete(store.keys.done("x"));
    store.delete(store.keys.gate("g"));
    assert!(store.claimable().is_empty());
}

#[test]
fn a_queue_is_closed_by_its_control_and_its_condition() {
    let mut store = Store::new();
    store.push("a", &Ticket::default());
    let opener = Ticket {
        opens: Some("g".to_owned()),
        ..Ticket::default()
    };
    store.push("o", &opener);
    let condition = |condition| {
        record::value(&Rule {
            condition,
            epoch: "e".to_owned(),
        })
    };
    store.put(store.keys.condition(), condition(Condition::Count(3)));
    assert!(store.claimable().is_empty());
    store.put(store.keys.open("before"), "");
    assert!(store.claimable().is_empty());
    store.put(store.keys.open("e"), "");
    assert_eq!(store.claimable(), ["a", "o"]);

    let gate = Condition::Gate("g".to_owned());
    store.put(store.keys.condition(), condition(gate));
    assert_eq!(store.claimable(), ["o"]);
    store.put(store.keys.gate("g"), "");
    assert_eq!(store.claimable(), ["a", "o"]);

    store.put(store.keys.condition(), condition(Condition::Start));
    assert_eq!(store.board.closed(), Some(Closed::NotStarted));
    store.put(store.keys.control(), "run");
    assert_eq!(store.claimable(), ["a", "o"]);
    store.put(store.keys.control(), "pause");
    assert_eq!(store.board.closed(), Some(Closed::Paused));
    store.put(store.keys.control(), "drain");
    assert_eq!(store.claimable(), ["a", "o"]);
    store.delete(store.keys.control());
    store.delete(store.keys.condition());
    assert_eq!(store.claimable(), ["a", "o"]);
}

#[test]
fn a_cycle_is_found_and_told() {
    let mut store = Store::new();
    store.push("a", &after(&["b"]));
    store.push("b", &after(&["c", "d"]));
    let from = ["a".to_owned()];
    let way = store.board.way(&from, "c").unwrap();
    assert_eq!(way, ["a", "b", "c"]);
    assert_eq!(store.board.way(&from, "x"), None);
    // What is done cannot wait for anything.
    store.put(store.keys.done("b"), "");
    assert_eq!(store.board.way(&from, "c"), None);
}

#[test]
fn old_marks_go_unless_an_item_waits_for_them() {
    let mut store = Store::new();
    store.push("late", &after(&["1"]));
    for id in ["1", "2", "3", "4"] {
        store.put(store.keys.done(id), "");
    }
    assert_eq!(store.board.outdated(2, 2), ["2"]);
    assert_eq!(store.board.outdated(3, 2), Vec::<String>::new());
    assert_eq!(store.board.outdated(0, 2), ["2", "3"]);
    assert!(store.board.outdated(4, 2).is_empty());
}
