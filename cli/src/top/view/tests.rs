//! Tables of made-up stores, and keys.

use std::time::{Duration, Instant};

use crossterm::event::KeyEvent;

use super::*;
use crate::overview::Overview;
use crate::overview::tests::{busy, pair};
use crate::overview::ttl::Leases;

/// Shows `tab` of the busy store to `look`, at a time when its sessions are some minutes old.
pub(in crate::top) fn with_busy<T>(look: impl FnOnce(Seen<'_>) -> T) -> T {
    let overview = Overview::of(&busy(), b"_handfast/");
    let now = Instant::now();
    let leases = Leases::of(&[(0xa1, 9, 10), (0xb2, 2, 10)], now);
    look(Seen {
        overview: &overview,
        leases: &leases,
        now,
        unix: Duration::from_millis(2_010_000),
    })
}

fn texts(tab: Tab) -> Vec<String> {
    with_busy(|seen| {
        let rows = sheet(seen, tab).rows.into_iter();
        rows.map(|row| format!("{:?} {}", row.tone, row.cells.join("|")))
            .collect()
    })
}

#[test]
fn a_lock_shows_its_holder_and_below_it_who_waits() {
    assert_eq!(
        texts(Tab::Locks),
        [
            "Plain jobs/nightly|holds|db-1|7|backup|8m30s|9s|4|1",
            "Alarming |2.|db-2|8|backup|10s|2s|5|"
        ],
        "the second has not renewed for long"
    );
}

#[test]
fn an_election_shows_what_its_leader_announces() {
    let rows = texts(Tab::Elections);
    assert_eq!(rows[1], "Plain go/leader|leads|-|-|-|-|-|7|0|n1");
}

#[test]
fn queues_services_and_sessions_have_their_tables() {
    assert_eq!(
        texts(Tab::Queues),
        [
            "Alarming img|pause||1|1|1|1|0||",
            "Below   1||||||||backup (pid 7 on db-1)|9s"
        ]
    );
    assert_eq!(
        texts(Tab::Services),
        ["Alarming api|n1|10.0.0.5:80|up|db-2|8|10s|2s"]
    );
    assert_eq!(
        texts(Tab::Sessions)[0],
        "Plain a1|db-1|7|backup|16m50s|9s|holds jobs/nightly, works for img, has img 1"
    );
}

#[test]
fn a_name_whose_holder_died_is_shown() {
    let pairs = [pair(
        "_handfast/own/x",
        r#"{"kind":"lock","own":"a1"}"#,
        0,
        4,
    )];
    let overview = Overview::of(&pairs, b"_handfast/");
    let seen = Seen {
        overview: &overview,
        leases: &Leases::default(),
        now: Instant::now(),
        unix: Duration::ZERO,
    };
    let sheet = sheet(seen, Tab::Locks);
    assert_eq!(sheet.rows[0].cells[..2], ["x", "its holder died"]);
    assert_eq!(sheet.rows[0].cells.len(), sheet.headings.len());
}

fn press(state: &mut State, code: KeyCode) -> Act {
    state.act(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

#[test]
fn keys_choose_and_leave() {
    let mut state = State::default();
    assert_eq!(press(&mut state, KeyCode::Tab), Act::Draw);
    assert_eq!(state.tab, Tab::Elections);
    press(&mut state, KeyCode::BackTab);
    press(&mut state, KeyCode::BackTab);
    assert_eq!(state.tab, Tab::Sessions);
    press(&mut state, KeyCode::Char('3'));
    assert_eq!(state.tab, Tab::Queues);
    assert_eq!(press(&mut state, KeyCode::Char('c')), Act::Draw);
    assert_eq!(press(&mut state, KeyCode::Char('q')), Act::Leave);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.act(&Event::Key(interrupt)), Act::Leave);
}

#[test]
fn scrolling_ends_at_the_last_page() {
    let mut state = State::default();
    state.fit(30, 10);
    press(&mut state, KeyCode::PageDown);
    assert_eq!(state.top, 9);
    press(&mut state, KeyCode::End);
    state.fit(30, 10);
    assert_eq!(state.top, 20);
    // A larger window shows more of the beginning.
    state.fit(30, 25);
    assert_eq!(state.top, 5);
    press(&mut state, KeyCode::Char('2'));
    assert_eq!(state.top, 0);
}
