//! The server's process, seen from outside: who listens on a port, what CPU time and memory it
//! used.
//!
//! Owns what is read from `/proc`; where there is none, nothing is known.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

/// State of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// CPU time a process had used at some moment, user and system.
pub(super) struct CpuTime {
    /// All threads that ever were, in the coarse ticks the system counts them in.
    total: Duration,
    /// The threads that live, exactly.
    threads: HashMap<u32, Duration>,
}

/// What a process has used so far, if it may be seen.
fn cpu_time(pid: u32) -> Option<CpuTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = parse_ticks(&stat)?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(CpuTime {
        total: Duration::from_secs_f64(ticks as f64 / per_second as f64),
        threads: thread_times(pid),
    })
}

/// The same of several processes; none when one of them may not be seen, or there is none.
pub(super) fn cpu_times(pids: &[u32]) -> Option<Vec<CpuTime>> {
    let times: Option<Vec<CpuTime>> = pids.iter().map(|pid| cpu_time(*pid)).collect();
    times.filter(|times| !times.is_empty())
}

/// What all of them used between two looks.
pub(super) fn used_between(earlier: &[CpuTime], later: &[CpuTime]) -> Duration {
    let pairs = later.iter().zip(earlier);
    pairs.map(|(later, earlier)| later.since(earlier)).sum()
}

impl CpuTime {
    /// What was used since `earlier`.
    fn since(&self, earlier: &CpuTime) -> Duration {
        let lives = |id: &u32| self.threads.contains_key(id);
        // What an ended thread has used is only in the total.
        if earlier.threads.is_empty() || !earlier.threads.keys().all(lives) {
            return self.total.saturating_sub(earlier.total);
        }
        let sum = |time: &CpuTime| time.threads.values().sum::<Duration>();
        sum(self).saturating_sub(sum(earlier))
    }
}

/// Nanoseconds on a CPU are the first number of a thread's `schedstat`.
fn thread_times(pid: u32) -> HashMap<u32, Duration> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return HashMap::new();
    };
    threads
        .filter_map(|thread| {
            let thread = thread.ok()?;
            let id = thread.file_name().to_str()?.parse().ok()?;
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let nanos = text.split_whitespace().next()?.parse().ok()?;
            Some((id, Duration::from_nanos(nanos)))
        })
        .collect()
}

/// Memory of a process that is in RAM, in bytes: now, and at most so far.
pub(super) fn memory(pid: u32) -> Option<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |name| numbered(&status, name).map(|kib| kib * 1024);
    Some((kib("VmRSS:")?, kib("VmHWM:")?))
}

/// The number in the line that starts with `name`.
fn numbered(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
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

    fn used(total: u64, threads: &[(u32, u64)]) -> CpuTime {
        let threads = threads.iter();
        CpuTime {
            total: Duration::from_millis(total),
            threads: threads
                .map(|(id, time)| (*id, Duration::from_millis(*time)))
                .collect(),
        }
    }

    #[test]
    fn threads_are_exact_and_the_total_counts_when_one_has_ended() {
        let before = used(100, &[(1, 33), (2, 44)]);
        let grown = used(120, &[(1, 40), (2, 45), (3, 5)]);
        assert_eq!(grown.since(&before), Duration::from_millis(13));
        let both = [used(0, &[(1, 1)]), used(100, &[(1, 33), (2, 44)])];
        let later = [used(0, &[(1, 3)]), used(120, &[(1, 40), (2, 45)])];
        assert_eq!(used_between(&both, &later), Duration::from_millis(10));
        let shrunk = used(120, &[(1, 40)]);
        assert_eq!(shrunk.since(&before), Duration::from_millis(20));
        assert_eq!(used(120, &[]).since(&before), Duration::from_millis(20));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(listening(&address), Some(std::process::id()));
        assert!(memory(std::process::id()).is_some_and(|(now, peak)| 0 < now && now <= peak));
        drop(listener);
        assert_eq!(listening(&address), None);
    }
}
