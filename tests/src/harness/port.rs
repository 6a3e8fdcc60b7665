//! Ports for servers that are killed and restarted.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::Result;

/// Below the range from which Linux takes ports of outgoing connections: a client that keeps
/// knocking at a dead server's port inside that range can end up connected to itself.
const FIRST: u32 = 15_000;
const COUNT: u32 = 17_000;

static NEXT: AtomicU32 = AtomicU32::new(u32::MAX);

/// A loopback port that nobody listens on at the moment.
///
/// # Errors
/// When every port of the range is taken.
pub fn free_port() -> Result<u16> {
    let start = RandomState::new().hash_one(std::process::id()) as u32 % COUNT;
    let _ = NEXT.compare_exchange(u32::MAX, start, Ordering::Relaxed, Ordering::Relaxed);
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = u16::try_from(FIRST + offset)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("every port of the test range is in use".into())
}

#[cfg(test)]
mod tests {
    use super::free_port;

    #[test]
    fn two_calls_give_two_ports_that_can_be_bound() {
        let (one, two) = (free_port().unwrap(), free_port().unwrap());
        assert_ne!(one, two);
        assert!(std::net::TcpListener::bind(("127.0.0.1", two)).is_ok());
    }
}
