//! The signals a command under us has to hear of.
//!
//! Owns which signals are caught. It must not know what is done with them.

use std::io;

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

/// The caught signals, from the moment this exists.
pub(crate) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Must be called within a runtime; from here on the signals no longer end the process.
    pub(crate) fn new() -> io::Result<Signals> {
        let streams = CAUGHT
            .iter()
            .map(|which| Ok((*which, signal(SignalKind::from_raw(which.as_raw()))?)));
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
