//! The server's process, seen from outside: who listens on a port, how much CPU time it used.
//!
//! Owns what is read from `/proc`; where there is none, nothing is known.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

/// State of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// CPU time a process has used so far, all threads, user and system.
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = parse_ticks(&stat)?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// utime + stime. The command, in parentheses, may hold blanks and parentheses itself.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The process of this machine that listens at `host:port`, if we may see it.
pub(super) fn listening(host_and_port: &str) -> Option<u32> {
    let address = host_and_port.to_socket_addrs().ok()?.next()?;
    if !is_own(address.ip()) {
        return None;
    }
    let sockets = listening_sockets(address.port());
    let processes = fs::read_dir("/proc").ok()?;
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| holds_any(*pid, &sockets))
}

/// Whether the address is one of this machine: only those can be bound.
fn is_own(address: IpAddr) -> bool {
    address.is_loopback() || std::net::UdpSocket::bind((address, 0)).is_ok()
}

/// Links of the sockets that listen on `port`, in the form `/proc/PID/fd` shows them.
fn listening_sockets(port: u16) -> HashSet<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let text: String = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .collect();
    text.lines()
        .filter_map(|line| listening_inode(line, port))
        .collect()
}

fn listening_inode(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let matches = u16::from_str_radix(local_port, 16) == Ok(port);
    let listens = *fields.get(3)? == LISTENING;
    (matches && listens).then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
}

fn holds_any(pid: u32, sockets: &HashSet<String>) -> bool {
    let Ok(files) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")) else {
        return false;
    };
    files
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .any(|link| link.to_str().is_some_and(|link| sockets.contains(link)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_an_awkward_name() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15";
        assert_eq!(parse_ticks(stat), Some(11 + 12));
        assert_eq!(parse_ticks("nonsense"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(listening(&address), Some(std::process::id()));
        assert!(cpu_time(std::process::id()).is_some());
        drop(listener);
        assert_eq!(listening(&address), None);
    }
}
