//! The log must behave like a vector, across reopening.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    Truncate(Option<u64>),
    Purge(u64),
    Vote(u64),
    Commit(u64),
    Read(u64, u64, usize),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec(0..2_000usize, 0..12).prop_map(Step::Append),
        2 => (0..12u64).prop_map(|back| Step::Truncate(Some(back))),
        1 => Just(Step::Truncate(None)),
        3 => (0..20u64).prop_map(Step::Purge),
        1 => (0..9u64).prop_map(Step::Vote),
        2 => (0..9u64).prop_map(Step::Commit),
        4 => (0..40u64, 0..40u64, 0..5_000usize).prop_map(|(a, b, c)| Step::Read(a, b, c)),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug, Default)]
struct Model {
    entries: Vec<Entry>,
    state: WalState,
    term: u64,
}

impl Model {
    fn next(&self) -> u64 {
        self.state.last.map_or(0, |last| last.index + 1)
    }

    fn truncate(&mut self, index: Option<u64>) {
        let keep = |entry: &Entry| index.is_some_and(|index| entry.position.index <= index);
        self.entries.retain(keep);
        let end = self.entries.last().map(|entry| entry.position);
        self.state.last = end.or(self.state.purged);
        if self.state.committed.map(|c| c.index) > self.state.last.map(|last| last.index) {
            self.state.committed = self.state.last;
        }
    }

    fn purge(&mut self, upto: LogPosition) {
        if self
            .state
            .purged
            .is_some_and(|purged| purged.index >= upto.index)
        {
            return;
        }
        self.state.purged = Some(upto);
        self.entries
            .retain(|entry| entry.position.index > upto.index);
        if self.entries.is_empty() {
            self.state.last = Some(upto);
        }
    }

    fn read(&self, range: Range<u64>, max_bytes: usize) -> Vec<Entry> {
        let mut out: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        for entry in self
            .entries
            .iter()
            .filter(|entry| range.contains(&entry.position.index))
        {
            bytes += entry.payload.len();
            if bytes > max_bytes && !out.is_empty() {
                break;
            }
            out.push(entry.clone());
        }
        out
    }
}

fn run(steps: Vec<Step>, prepare_ahead: bool) {
    let disk = SimDisk::new();
    let options = WalOptions {
        prepare_ahead,
        ..small()
    };
    let open = || {
        Wal::open(
            Arc::new(disk.clone()),
            Path::new(DIR),
            IDENTITY,
            options.clone(),
        )
        .unwrap()
    };
    let mut wal = open();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append(sizes) => {
                let start = model.next();
                let new = sizes
                    .iter()
                    .zip(start..)
                    .map(|(size, i)| entry(model.term, i, *size));
                let new: Vec<_> = new.collect();
                wal.append(new.clone(), ignore());
                model.entries.extend(new);
                let end = model.entries.last().map(|entry| entry.position);
                model.state.last = end.or(model.state.purged);
            }
            Step::Truncate(back) => {
                let index = back.map(|back| model.next().saturating_sub(back));
                wal.truncate_after(index, ignore());
                model.truncate(index);
                model.term += 1;
            }
            Step::Purge(ahead) => {
                let first = model
                    .entries
                    .first()
                    .map_or(model.next(), |e| e.position.index);
                let upto = position(model.term, first + ahead);
                wal.purge(upto);
                model.purge(upto);
            }
            Step::Vote(term) => {
                let vote = Vote {
                    term,
                    node_id: term,
                    committed: term % 2 == 0,
                };
                wal.save_vote(vote, ignore());
                model.state.vote = Some(vote);
            }
            Step::Commit(back) => {
                let index = model.next().saturating_sub(back);
                wal.save_committed(position(model.term, index));
                if model.state.last.is_some_and(|last| index <= last.index) {
                    model.state.committed = Some(position(model.term, index));
                }
            }
            Step::Read(back, len, bytes) => {
                let start = model.next().saturating_sub(back);
                let range = start..start + len;
                assert_eq!(
                    wal.read(range.clone(), bytes).unwrap(),
                    model.read(range, bytes)
                );
            }
            Step::Reopen => {
                drop(wal);
                wal = open();
            }
        }
        assert_eq!(wal.state(), model.state);
        assert_eq!(everything(&wal), model.entries);
    }
    drop(wal);
    let wal = open();
    assert_eq!(wal.state(), model.state);
    assert_eq!(everything(&wal), model.entries);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn behaves_like_a_vector(steps in proptest::collection::vec(step(), 1..80)) {
        run(steps, false);
    }

    #[test]
    fn behaves_like_a_vector_with_segments_made_ahead(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        run(steps, true);
    }
}
