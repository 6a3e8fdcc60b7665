//! A script over the log and the state file, stopped within every single disk operation, under
//! every loss model: what is found afterwards must be what some prefix of the script had
//! written, and that prefix must contain everything that was acknowledged.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use bytes::Bytes;

use crate::LogPosition;
use crate::disk::Disk;
use crate::sim::{Loss, SimDisk};
use crate::state::{FlushBatch, LeaseRow, Row, State, StateOptions};
use crate::wal::{Entry, Identity, Vote, Wal, WalDriver, WalOptions, WalState};

const IDENTITY: Identity = Identity {
    cluster_id: 1,
    member_id: 2,
};

/// One thing the log records on its own; a torn append keeps a prefix of these.
#[derive(Clone, Debug)]
enum LogChange {
    Entry(Entry),
    Vote(Vote),
    Commit(LogPosition),
    Truncate(u64),
    Purge(LogPosition),
}

#[derive(Clone, Debug)]
enum Step {
    /// Queued together; the last one is waited for.
    Log(Vec<LogChange>),
    Flush {
        index: u64,
        rows: Vec<Row>,
    },
    Sweep(Vec<(i64, u32)>),
}

#[derive(Clone, Debug, Default, PartialEq)]
struct LogModel {
    state: WalState,
    entries: Vec<Entry>,
}

impl LogModel {
    fn apply(&mut self, change: &LogChange) {
        match change {
            LogChange::Entry(entry) => {
                self.state.last = Some(entry.position);
                self.entries.push(entry.clone());
            }
            LogChange::Vote(vote) => self.state.vote = Some(*vote),
            LogChange::Commit(position) => self.state.committed = Some(*position),
            LogChange::Truncate(index) => {
                self.entries.retain(|entry| entry.position.index <= *index);
                self.state.last = self.entries.last().map(|entry| entry.position);
            }
            LogChange::Purge(upto) => {
                self.state.purged = Some(*upto);
                self.entries
                    .retain(|entry| entry.position.index > upto.index);
            }
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct StateModel {
    applied: Option<LogPosition>,
    rows: Vec<Row>,
    leases: Vec<LeaseRow>,
}

impl StateModel {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Log(_) => {}
            Step::Flush { index, rows } => {
                self.applied = Some(LogPosition {
                    term: 1,
                    index: *index,
                });
                self.rows.extend(rows.iter().cloned());
                self.leases = vec![lease(*index)];
            }
            Step::Sweep(gone) => self.rows.retain(|row| !gone.contains(&(row.main, row.sub))),
        }
    }
}

fn lease(index: u64) -> LeaseRow {
    LeaseRow {
        id: 1,
        ttl_seconds: index as i64,
    }
}

fn entries(term: u64, range: std::ops::Range<u64>, bytes: usize) -> Vec<LogChange> {
    let entry = |index| {
        let mut payload = format!("{term}.{index}").into_bytes();
        payload.resize(bytes, b'.');
        let position = LogPosition { term, index };
        LogChange::Entry(Entry {
            position,
            payload: Bytes::from(payload),
        })
    };
    range.map(entry).collect()
}

fn rows(range: std::ops::Range<i64>) -> Vec<Row> {
    let row = |main: i64| Row {
        main,
        sub: 0,
        tombstone: false,
        key: Bytes::from(format!("key {main}")),
        create_revision: main,
        version: 1,
        lease: 0,
        value: Bytes::from(vec![main as u8; 200]),
    };
    range.map(row).collect()
}

/// Votes, appends of all sizes over several segments, truncation, purging with recycling, and
/// flushes and sweeps in between.
fn script() -> Vec<Step> {
    let position = |term, index| LogPosition { term, index };
    let vote = |term, committed| {
        LogChange::Vote(Vote {
            term,
            node_id: 1,
            committed,
        })
    };
    let mixed = |parts: Vec<Vec<LogChange>>| Step::Log(parts.concat());
    vec![
        Step::Log(vec![vote(1, false)]),
        Step::Log(vec![vote(1, true)]),
        Step::Log(entries(1, 0..1, 10)),
        Step::Log(entries(1, 1..8, 600)),
        mixed(vec![
            vec![LogChange::Commit(position(1, 7))],
            entries(1, 8..9, 5_000),
        ]),
        Step::Flush {
            index: 7,
            rows: rows(1..20),
        },
        Step::Log(entries(1, 9..30, 700)),
        mixed(vec![
            vec![vote(2, false)],
            vec![LogChange::Truncate(24)],
            entries(3, 25..28, 300),
        ]),
        Step::Flush {
            index: 20,
            rows: rows(20..60),
        },
        mixed(vec![
            vec![LogChange::Purge(position(1, 18))],
            entries(3, 28..30, 100),
        ]),
        Step::Sweep(vec![(3, 0), (7, 0), (21, 0)]),
        mixed(vec![
            entries(3, 30..45, 900),
            vec![LogChange::Commit(position(3, 40))],
        ]),
        Step::Log(vec![LogChange::Purge(position(3, 29)), vote(4, true)]),
        Step::Flush {
            index: 40,
            rows: rows(60..61),
        },
        mixed(vec![entries(4, 45..60, 800), entries(4, 60..61, 4_000)]),
        mixed(vec![
            vec![LogChange::Truncate(59)],
            vec![LogChange::Purge(position(4, 50))],
        ]),
        Step::Log(entries(5, 60..75, 500)),
        Step::Log(vec![LogChange::Truncate(70), vote(6, false)]),
        Step::Log(entries(6, 71..72, 20)),
        mixed(vec![
            vec![LogChange::Purge(position(5, 65))],
            entries(6, 72..90, 700),
        ]),
    ]
}

/// What the machine was asked for, and how much of it was acknowledged.
#[derive(Debug, Default)]
struct Progress {
    log: Vec<LogChange>,
    log_acknowledged: usize,
    state: Vec<Step>,
    state_acknowledged: usize,
}

/// A log that writes only when it is told, so that every run of the script does the same disk
/// operations in the same order.
struct Log {
    wal: Wal,
    driver: WalDriver,
}

fn open(disk: &SimDisk) -> Result<(Log, State), crate::Error> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = WalOptions {
        segment_bytes: 16 << 10,
        tail_cache_bytes: 4 << 10,
        prepare_ahead: false,
        sync: true,
    };
    let (wal, driver) = Wal::open_driven(
        Arc::clone(&shared),
        Path::new("/data/wal"),
        IDENTITY,
        options,
        Arc::new(|| {}),
    )?;
    let cache = StateOptions {
        cache_bytes: 1 << 20,
        ..StateOptions::default()
    };
    let state = State::open(shared, Path::new("/data/state.redb"), cache)?;
    Ok((Log { wal, driver }, state))
}

/// Runs the script until the machine stops or the script ends.
fn run(disk: &SimDisk, script: &[Step], progress: &mut Progress) -> Result<(), crate::Error> {
    let (mut log, state) = open(disk)?;
    for step in script {
        let done = match step {
            Step::Log(changes) => {
                progress.log.extend(changes.iter().cloned());
                let done = submit(&mut log, changes);
                if done {
                    progress.log_acknowledged = progress.log.len();
                }
                done
            }
            Step::Flush { index, rows } => {
                progress.state.push(step.clone());
                let batch = FlushBatch {
                    rows: rows.clone(),
                    applied: LogPosition {
                        term: 1,
                        index: *index,
                    },
                    lease_puts: vec![lease(*index)],
                    ..FlushBatch::default()
                };
                state.flush(batch, true).is_ok()
            }
            Step::Sweep(gone) => {
                progress.state.push(step.clone());
                state.delete_rows(gone, &[]).is_ok()
            }
        };
        if !done {
            break;
        }
        progress.state_acknowledged = progress.state.len();
    }
    Ok(())
}

/// Queues all changes, has them written as one batch, and waits for every answer; true when all
/// were durable.
fn submit(log: &mut Log, changes: &[LogChange]) -> bool {
    let (sender, receiver) = channel();
    let mut waiting = 0;
    let mut done = || {
        waiting += 1;
        let sender = sender.clone();
        Box::new(move |result: std::io::Result<()>| sender.send(result.is_ok()).unwrap())
    };
    let wal = &log.wal;
    let mut lazy_last = false;
    for change in changes {
        lazy_last = matches!(change, LogChange::Commit(_) | LogChange::Purge(_));
        match change {
            LogChange::Entry(entry) => wal.append(vec![entry.clone()], done()),
            LogChange::Vote(vote) => wal.save_vote(*vote, done()),
            LogChange::Commit(position) => wal.save_committed(*position),
            LogChange::Truncate(index) => wal.truncate_after(Some(*index), done()),
            LogChange::Purge(upto) => wal.purge(*upto),
        }
    }
    if lazy_last {
        wal.append(Vec::new(), done());
    }
    log.driver.step();
    receiver.try_iter().filter(|ok| *ok).count() == waiting
}

/// Panics unless what the disk holds is what a prefix with all acknowledged changes left.
fn check(wal: &Wal, state: &State, progress: &Progress, context: &str) {
    let found = LogModel {
        state: wal.state(),
        entries: wal.read(0..u64::MAX, usize::MAX).unwrap(),
    };
    let mut model = LogModel::default();
    let mut matches = progress.log_acknowledged == 0 && model == found;
    for (at, change) in progress.log.iter().enumerate() {
        model.apply(change);
        matches |= at + 1 >= progress.log_acknowledged && model == found;
    }
    let acknowledged = progress.log_acknowledged;
    assert!(
        matches,
        "{context}: {acknowledged} acknowledged, found {:?}",
        found.state
    );

    let view = state.view().unwrap();
    let mut found = StateModel {
        applied: view.applied().unwrap(),
        leases: view.leases().unwrap(),
        ..StateModel::default()
    };
    view.scan((0, 0), usize::MAX, &mut |row| {
        found.rows.push(row);
        true
    })
    .unwrap();
    let mut model = StateModel::default();
    let mut matches = progress.state_acknowledged == 0 && model == found;
    for (at, step) in progress.state.iter().enumerate() {
        model.apply(step);
        matches |= at + 1 >= progress.state_acknowledged && model == found;
    }
    assert!(
        matches,
        "{context}: state {:?} after {:?}",
        found.applied,
        progress.state.len()
    );
}

/// Stops within every operation of the script, restarts, sometimes stops again within the
/// recovery, and checks; then goes on writing and checks that as well.
fn stop_everywhere(loss: Loss) {
    let script = script();
    let disk = SimDisk::new();
    run(&disk, &script, &mut Progress::default()).unwrap();
    let total = disk.operations();
    assert!(total > 120, "{total}");
    // The first used file is always kept, so it is gone only if it became a segment again.
    let names = disk.list(Path::new("/data/wal")).unwrap();
    assert!(
        !names.iter().any(|name| name.contains("00000001")),
        "{names:?}"
    );
    let mut unsynced = 0;
    for stop in 1..=total {
        let context = format!("{loss:?}, stopped at {stop} of {total}");
        let disk = SimDisk::new();
        let mut progress = Progress::default();
        disk.stop_at(stop);
        // An error only means that the machine stopped while opening.
        let _ = run(&disk, &script, &mut progress);
        assert!(disk.is_stopped(), "{context}");
        disk.restart(loss, stop);
        disk.stop_at(disk.operations() + 1 + stop % 9);
        drop(open(&disk));
        disk.restart(loss, stop + 1);
        unsynced += disk.unsynced_stops();
        let (mut log, state) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
        check(&log.wal, &state, &progress, &context);

        let last = log.wal.state().last.map_or(0, |last| last.index + 1);
        let vote = LogChange::Vote(Vote {
            term: 99,
            node_id: 3,
            committed: false,
        });
        let more = [vec![vote], entries(99, last..last + 3, 400)].concat();
        assert!(submit(&mut log, &more), "{context}");
        disk.stop();
        drop((log, state));
        disk.restart(Loss::Everything, 0);
        let (log, _state) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
        let wal = &log.wal;
        assert_eq!(wal.state().vote.unwrap().term, 99, "{context}");
        let read = wal.read(last..u64::MAX, usize::MAX).unwrap();
        assert_eq!(read.len(), 3, "{context}");
    }
    assert!(
        unsynced > total,
        "unsynced data only at {unsynced} of {total} stops"
    );
}

#[test]
fn no_stop_loses_what_was_acknowledged_when_everything_unsynced_is_lost() {
    stop_everywhere(Loss::Everything);
}

#[test]
fn no_stop_loses_what_was_acknowledged_when_sectors_are_written_in_any_order() {
    stop_everywhere(Loss::Sectors);
}

#[test]
fn no_stop_loses_what_was_acknowledged_when_the_last_write_is_torn() {
    stop_everywhere(Loss::LastTorn);
}
