//! The signals that end us, or that a command under us has to hear of.
//!
//! Owns which signals are caught. It must not know what is done with them.

use std::io;
use std::sync::LazyLock;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

/// What a person, a shell or a service manager sends to stop or to prod a program.
const CAUGHT: [Signal; 6] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
];

/// What stops a program that has no command under it.
const STOPPING: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// The signals that were ignored when this was asked first: a bit for each, the lowest for signal
/// 1. Nothing where there is no `/proc`.
static IGNORED: LazyLock<u64> = LazyLock::new(|| {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status)
});

/// The caught signals, from the moment this exists.
pub(crate) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Must be called within a runtime; from here on the signals no longer end the process.
    pub(crate) fn new() -> io::Result<Signals> {
        Signals::of(&CAUGHT)
    }

    /// [`Signals::new`] with those only that stop a program.
    pub(crate) fn stopping() -> io::Result<Signals> {
        Signals::of(&STOPPING)
    }

    fn of(which: &[Signal]) -> io::Result<Signals> {
        // Whoever starts us with `nohup` wants us to outlive the terminal.
        let is_wanted = |one: &&Signal| **one != Signal::HUP || *IGNORED & 1 == 0;
        let streams = which
            .iter()
            .filter(is_wanted)
            .map(|one| Ok((*one, signal(SignalKind::from_raw(one.as_raw()))?)));
        Ok(Signals(streams.collect::<io::Result<_>>()?))
    }

    /// Waits for the next signal. Cancel safe.
    pub(crate) async fn recv(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (which, stream) in &mut self.0 {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*which);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// A signal's name as people know it.
pub(crate) fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::INT => "SIGINT",
        Signal::TERM => "SIGTERM",
        Signal::HUP => "SIGHUP",
        Signal::QUIT => "SIGQUIT",
        Signal::USR1 => "SIGUSR1",
        Signal::USR2 => "SIGUSR2",
        _ => "a signal",
    }
}

/// The signals that a process with this status ignores.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_status() {
        let status = "Name:\tx\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored(status), 0x1001);
        assert_eq!(ignored("Name:\tx\n"), 0);
    }
}
