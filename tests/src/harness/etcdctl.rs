//! Debian's `etcdctl`, run to its end or in the background.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::find;
use crate::Result;

/// Longer than etcdctl's own time limits, so that its own message is what a test shows.
const LINE_LIMIT: Duration = Duration::from_secs(30);

/// What a finished command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The v3 command line client of etcd, pointed at one server.
#[derive(Clone, Debug)]
pub struct Etcdctl {
    endpoint: String,
}

impl Etcdctl {
    /// For the server at `endpoint` (`host:port` or a URL).
    #[must_use]
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
        }
    }

    /// Runs a command to its end, with `input` on its standard input.
    ///
    /// # Errors
    /// When etcdctl cannot be started; its own failures are in the exit code.
    pub fn run(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut child = self.command(arguments)?.stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that reads nothing may be gone already.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command that must succeed, and gives what it printed.
    ///
    /// # Errors
    /// When it cannot be started or fails.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments, "")?;
        if output.code != 0 {
            return Err(format!("etcdctl {arguments:?} failed: {output:?}").into());
        }
        Ok(output.stdout)
    }

    /// Starts a command that goes on (watch, lock, elect, keep-alive).
    ///
    /// # Errors
    /// When etcdctl cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Result<Running> {
        Running::new(self.command(arguments)?.stdin(Stdio::null()).spawn()?)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(find("etcdctl")?);
        command
            .env("ETCDCTL_API", "3")
            .env_remove("ETCDCTL_ENDPOINTS");
        command
            .arg("--endpoints")
            .arg(&self.endpoint)
            .args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }
}

/// A command in the background whose output is read line by line. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Takes over a child whose standard output is a pipe.
    ///
    /// # Errors
    /// When it is not.
    pub fn new(mut child: Child) -> Result<Self> {
        let stdout = child
            .stdout
            .take()
            .ok_or("the output of the command is not a pipe")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout)
                .lines()
                .map_while(std::io::Result::ok)
            {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// The next line of output.
    ///
    /// # Errors
    /// When the command ended, or printed nothing for half a minute.
    pub fn line(&mut self) -> Result<String> {
        match self.lines.recv_timeout(LINE_LIMIT) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => Err("the command prints nothing more".into()),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait()?;
                let mut complaint = String::new();
                if let Some(mut stderr) = self.child.stderr.take() {
                    stderr.read_to_string(&mut complaint)?;
                }
                Err(format!("the command ended ({status}): {complaint}").into())
            }
        }
    }

    /// The next `count` lines.
    ///
    /// # Errors
    /// As [`Running::line`].
    pub fn lines(&mut self, count: usize) -> Result<Vec<String>> {
        (0..count).map(|_| self.line()).collect()
    }

    /// A line that is there already, without waiting for one.
    #[must_use]
    pub fn printed(&mut self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Whether the command is still running.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends a signal: `INT` is what a person at the keyboard does, `KILL` is a crash.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?).ok_or("a process id is never 0")?;
        Ok(kill_process(id, signal)?)
    }

    /// Waits for the end and gives the exit code; -1 when a signal ended it.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn wait(&mut self) -> Result<i32> {
        Ok(self.child.wait()?.code().unwrap_or(-1))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
