//! Ports for servers that tests kill and start again.
//!
//! Owns which ports are handed out. Knows nothing of who listens there.
#![forbid(unsafe_code)]

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below the range from which Linux takes ports by itself: a connection of anybody's could take a
/// port there while its server is down, and a client that knocks at such a port can end up
/// connected to itself.
const FIRST: u32 = 10_000;
/// A prime, so that every stride reaches all of them.
const COUNT: u32 = 21_997;
/// Between two ports in turn: some servers take the ports next to theirs, too.
const STRIDE: u32 = 31;

/// Which part of them this process keeps to, as `part/parts`, for programs that run side by side.
const PART: &str = "HANDFAST_TEST_PORTS";

static NEXT: AtomicU32 = AtomicU32::new(u32::MAX);

/// The first port's place in the order in which they are handed out.
fn start(part: Option<&str>, chance: u32) -> u32 {
    let part = part.and_then(|part| part.split_once('/'));
    let part = part.and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    let Some((part, parts @ 1..)) = part else {
        return chance % COUNT;
    };
    let own: u32 = (COUNT / parts).max(1);
    // The second half is for those that want many.
    let part: u32 = part;
    (part % parts) * own + chance % own.div_ceil(2)
}

/// A loopback port that nobody listens on at the moment. Each call of a process gives another.
///
/// # Panics
/// When every port of the range is taken.
#[must_use]
pub fn free_port() -> u16 {
    let chance = RandomState::new().hash_one(std::process::id()) as u32;
    let start = start(std::env::var(PART).ok().as_deref(), chance);
    let _ = NEXT.compare_exchange(u32::MAX, start, Ordering::Relaxed, Ordering::Relaxed);
    let mut ports = (0..COUNT).map(|_| {
        let place = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        (FIRST + place * STRIDE % COUNT) as u16
    });
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a port of the tests' range is free")
}

/// As many of them as are wanted.
#[must_use]
pub fn free_ports<const N: usize>() -> [u16; N] {
    std::array::from_fn(|_| free_port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_calls_give_two_ports_that_can_be_bound() {
        let [one, two] = free_ports();
        assert_ne!(one, two);
        assert!(TcpListener::bind(("127.0.0.1", two)).is_ok());
        assert!((FIRST..FIRST + COUNT).contains(&u32::from(one)));
    }

    #[test]
    fn programs_that_run_side_by_side_begin_far_apart() {
        let quarter = COUNT / 4;
        for chance in [0, 7, u32::MAX] {
            let starts = [0, 1, 2, 3].map(|part| start(Some(&format!("{part}/4")), chance));
            for (part, start) in (0..).zip(starts) {
                let own = part * quarter..part * quarter + quarter / 2 + 1;
                assert!(own.contains(&start), "{part}: {start}");
            }
            assert!(start(None, chance) < COUNT && start(Some("x"), chance) < COUNT);
            assert!(start(Some("1/0"), chance) < COUNT);
        }
    }
}
