//! The command as a process, with everything it starts.
//!
//! Owns how it is spawned, signalled and killed. It must not know why.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Command;

use super::guard::Guard;
use crate::exit::{self, Failure};

/// Lets what we start have our input and outputs. Node, when it runs us, has marked them as not to
/// be inherited, and a command would find them closed.
pub(crate) fn share_stdio() {
    share(io::stdin().as_fd());
    share(io::stdout().as_fd());
    share(io::stderr().as_fd());
}

/// Lets what we start inherit this one.
fn share(fd: BorrowedFd<'_>) {
    // One that is closed cannot be shared.
    if let Ok(flags) = fcntl_getfd(fd)
        && flags.contains(FdFlags::CLOEXEC)
    {
        let _ = fcntl_setfd(fd, flags - FdFlags::CLOEXEC);
    }
}

/// A running command.
pub(crate) struct Child {
    process: tokio::process::Child,
    /// None once it has been waited for: the number may be somebody else's then.
    pid: Option<Pid>,
    /// At a terminal it stays in our process group, because only the foreground group may read
    /// from the terminal; elsewhere it leads its own, so that all it starts can be signalled.
    own_group: bool,
    guard: Option<Guard>,
}

impl Child {
    /// Spawns it after `prepare` changed what is not a matter of everybody: its input and output,
    /// or more variables.
    pub(crate) fn spawn(
        command: &[OsString],
        env: &[(&'static str, OsString)],
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Child, Failure> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| Failure::Usage("there is no command behind --".to_owned()))?;
        let own_group = !std::io::stdin().is_terminal();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(env.iter().map(|(name, value)| (name, value)));
        command.kill_on_drop(true);
        if own_group {
            command.process_group(0);
        }
        prepare(&mut command);
        let mut guard = Guard::post();
        let process = command.spawn().map_err(|error| Failure::Spawn {
            command: program.to_string_lossy().into_owned(),
            error,
        })?;
        let pid = process
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let (Some(guard), Some(pid)) = (&mut guard, pid) {
            guard.watch(pid, own_group);
        }
        Ok(Child {
            process,
            pid,
            own_group,
            guard,
        })
    }

    /// Waits for the end; the exit code a shell would report. Cancel safe.
    pub(crate) async fn wait(&mut self) -> Result<i32, Failure> {
        let status = self.process.wait().await;
        let status = status
            .map_err(|error| Failure::Other(format!("cannot wait for the command: {error}")))?;
        if let Some(guard) = self.guard.take() {
            guard.dismiss().await;
        }
        if !self.own_group {
            self.pid = None;
        }
        Ok(code(status))
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it and all it has started.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Passes a signal on that we got.
    pub(crate) fn pass_on(&self, signal: Signal) {
        // The terminal sends these to its whole foreground group, so the command has them already.
        let from_terminal = matches!(signal, Signal::INT | Signal::QUIT);
        if self.own_group || !from_terminal {
            self.signal(signal);
        }
    }

    /// Errors mean that it is gone already.
    fn signal(&self, signal: Signal) {
        let Some(pid) = self.pid else { return };
        if self.own_group {
            let _ = kill_process_group(pid, signal);
            return;
        }
        // A prod is for the command itself; the end is for all of its offspring.
        if matches!(signal, Signal::TERM | Signal::KILL) {
            for descendant in descendants(pid) {
                let _ = kill_process(descendant, signal);
            }
        }
        let _ = kill_process(pid, signal);
    }
}

fn code(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => exit::SIGNAL_BASE + signal,
        (None, None) => exit::FAILED,
    }
}

/// All processes below `root`, from what the system shows now; none where there is no `/proc`.
fn descendants(root: Pid) -> Vec<Pid> {
    let pairs: Vec<(i32, i32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parent(&stat)?))
        })
        .collect();
    let mut found = vec![root.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(&ancestor) = found.get(next) {
        found.extend(
            pairs
                .iter()
                .filter(|(_, parent)| *parent == ancestor)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found
        .into_iter()
        .skip(1)
        .filter_map(Pid::from_raw)
        .collect()
}

/// The parent's id, second field behind the command in parentheses.
fn parent(stat: &str) -> Option<i32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_is_found_behind_an_awkward_name() {
        assert_eq!(parent("7 (a) b) S 42 7 7 0"), Some(42));
        assert_eq!(parent("7"), None);
    }

    #[tokio::test]
    async fn exit_codes_are_those_of_a_shell() {
        let run = async |script: &str| {
            let command = ["sh", "-c", script].map(OsString::from);
            Child::spawn(&command, &[("X", "7".into())], |_| {})
                .unwrap()
                .wait()
                .await
                .unwrap()
        };
        assert_eq!(run("exit $X").await, 7);
        assert_eq!(run("kill -TERM $$").await, 143);
    }

    #[test]
    fn what_is_marked_as_not_to_be_inherited_is_inherited() {
        // Marked by the standard library; our own inputs are those of other tests, too.
        let marked = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(fcntl_getfd(&marked).unwrap(), FdFlags::CLOEXEC);
        share(marked.as_fd());
        assert_eq!(fcntl_getfd(&marked).unwrap(), FdFlags::empty());
    }

    #[tokio::test]
    async fn a_command_that_does_not_exist_is_127() {
        let Err(failure) = Child::spawn(&["/no/such/command".into()], &[], |_| {}) else {
            panic!()
        };
        assert_eq!(failure.code(), 127);
    }

    #[tokio::test]
    async fn killing_reaches_what_the_command_started() {
        // The shell waits for its child, so only a signal to both ends this in time.
        let command = ["sh", "-c", "sleep 1000; echo never"].map(OsString::from);
        let mut child = Child::spawn(&command, &[], |_| {}).unwrap();
        child.kill();
        assert_eq!(child.wait().await.unwrap(), 128 + 9);
    }
}
