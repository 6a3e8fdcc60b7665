//! How long a run may take in real time, and what its thread did when it takes longer.
//!
//! Owns the patience, which is not a time of day: on a busy machine a thread waits long for a core,
//! and a machine that is suspended as a whole goes on later. What runs is not its affair.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How often one looks.
const TICK: Duration = Duration::from_secs(1);
/// Looks in a row that find a thread neither running nor waiting for a core, until it is given up.
const IDLE_TICKS: u32 = 120;
/// What a thread may run, which is many times what the longest run takes.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// A thread as the system accounts for it; where that is not known, it seems to stand still.
#[derive(Debug)]
pub(crate) struct Footprint {
    path: Option<PathBuf>,
}

/// What the system says of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Account {
    ran: Duration,
    /// While it could have run, but no core was free.
    waited: Duration,
}

impl Footprint {
    /// Of the thread that calls this.
    pub(crate) fn own() -> Footprint {
        let task = std::fs::read_link("/proc/thread-self").ok();
        Footprint {
            path: task.map(|task| PathBuf::from("/proc").join(task)),
        }
    }

    fn account(&self) -> Account {
        let text = self.read("schedstat");
        let mut numbers = text.split_whitespace().map(str::parse);
        let mut next = || Duration::from_nanos(numbers.next().and_then(Result::ok).unwrap_or(0));
        Account {
            ran: next(),
            waited: next(),
        }
    }

    /// What it does now: its state, and where in the kernel it is.
    fn doing(&self) -> String {
        let status = self.read("status");
        let state = status.lines().find(|line| line.starts_with("State:"));
        let state = state.unwrap_or("State: unknown").replace('\t', " ");
        format!("{state}, in {:?}", self.read("wchan"))
    }

    fn read(&self, file: &str) -> String {
        let path = self.path.as_ref().map(|path| path.join(file));
        let text = path.and_then(|path| std::fs::read_to_string(path).ok());
        text.unwrap_or_default()
    }
}

/// Waits for what a thread tells in the end.
///
/// # Errors
/// What it did when it does not tell.
pub(crate) fn await_end<T>(told: &Receiver<T>, of: &Footprint) -> Result<T, String> {
    let mut last = of.account();
    let mut idle = 0;
    loop {
        match told.recv_timeout(TICK) {
            Ok(told) => return Ok(told),
            Err(RecvTimeoutError::Disconnected) => return Err("its thread is gone".to_owned()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let account = of.account();
        idle = if account == last { idle + 1 } else { 0 };
        last = account;
        if idle < IDLE_TICKS && account.ran < RUN_LIMIT {
            continue;
        }
        let Account { ran, waited } = account;
        let what = match idle {
            0 => "it spins without time passing",
            _ => "it waits for something real, or nothing of it is known",
        };
        let doing = of.doing();
        return Err(format!(
            "{what}: its thread ran {ran:.1?} and waited {waited:.1?} for a core; {doing}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn what_is_told_is_handed_on_and_who_is_gone_is_missed() {
        let (tell, told) = channel();
        tell.send(7).unwrap();
        let own = Footprint::own();
        assert_eq!(await_end(&told, &own), Ok(7));
        drop(tell);
        assert!(await_end(&told, &own).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_that_works_is_seen_to() {
        let own = Footprint::own();
        let before = own.account();
        if before == Account::default() {
            return; // This system keeps no accounts.
        }
        while own.account().ran <= before.ran {
            std::hint::spin_loop();
        }
        assert!(own.doing().starts_with("State: R"), "{}", own.doing());
    }
}
