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

static NEXT: AtomicU32 = AtomicU32::new(u32::MAX);

/// A loopback port that nobody listens on at the moment. Each call of a process gives another.
///
/// # Panics
/// When every port of the range is taken.
#[must_use]
pub fn free_port() -> u16 {
    let start = RandomState::new().hash_one(std::process::id()) as u32 % COUNT;
    let _ = NEXT.compare_exchange(u32::MAX, start, Ordering::Relaxed, Ordering::Relaxed);
    let mut ports = (0..COUNT).map(|_| {
        let offset = NEXT.fetch_add(STRIDE, Ordering::Relaxed) % COUNT;
        (FIRST + offset) as u16
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
}
