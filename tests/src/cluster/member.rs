//! One member's process: its command line, its log and its signals.
//!
//! Knows etcd's flags. Must not know what the member is told once it runs.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{network::Addresses, program::Program};
use crate::{Result, harness::clean_environment};

/// Whether a member founds its cluster or joins it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Founding {
    New,
    Existing,
}

/// A member of a cluster. Dropping it kills the process.
#[derive(Debug)]
pub struct Member {
    pub(super) name: String,
    pub(super) addresses: Addresses,
    program: Program,
    flags: Vec<String>,
    home: PathBuf,
    /// Counts the data directories: a wiped member gets a new one.
    generation: u32,
    child: Option<Child>,
    is_paused: bool,
}

impl Member {
    pub(super) fn new(
        name: String,
        addresses: Addresses,
        program: Program,
        flags: Vec<String>,
        home: PathBuf,
    ) -> Self {
        Self {
            name,
            addresses,
            program,
            flags,
            home,
            generation: 0,
            child: None,
            is_paused: false,
        }
    }

    /// Its name in the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addresses.client)
    }

    /// The client address, `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.addresses.client
    }

    /// The peer URL that all members know it by.
    #[must_use]
    pub fn peer_url(&self) -> String {
        format!("http://{}", self.addresses.advertised)
    }

    /// The process id, while there is a process.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs and is not stopped by a signal.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        self.child.is_some() && !self.is_paused
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.home.join(format!("{}-{}", self.name, self.generation))
    }

    /// Where its output goes.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.home.join(format!("{}.log", self.name))
    }

    /// The last lines of its output.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Starts the process. `prefix` runs it elsewhere, such as in a network namespace.
    pub(super) fn spawn(
        &mut self,
        prefix: &[String],
        founding: Founding,
        cluster: &str,
    ) -> Result<u32> {
        if self.child.is_some() {
            return Err(format!("{} is running already", self.name).into());
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut words = prefix.iter();
        let mut command = match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(&self.program.path);
                command
            }
            None => Command::new(&self.program.path),
        };
        command
            .args(&self.program.first)
            .args(self.all_flags(founding, cluster))
            .current_dir(&self.home);
        clean_environment(&mut command);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn()?;
        let id = child.id();
        self.child = Some(child);
        self.is_paused = false;
        Ok(id)
    }

    fn all_flags(&self, founding: Founding, cluster: &str) -> Vec<String> {
        let client = self.endpoint();
        let state = match founding {
            Founding::New => "new",
            Founding::Existing => "existing",
        };
        let mut flags = vec![
            format!("--name={}", self.name),
            format!("--data-dir={}", text(&self.data_dir())),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls=http://{}", self.addresses.listening),
            format!("--initial-advertise-peer-urls={}", self.peer_url()),
            format!("--initial-cluster={cluster}"),
            format!("--initial-cluster-state={state}"),
        ];
        if self.program.subject == crate::harness::Subject::Etcd {
            flags.extend(["--logger=zap", "--log-outputs=stderr"].map(str::to_owned));
        }
        flags.extend(self.flags.iter().cloned());
        flags
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// When there is no process.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        let id = self.process_id().ok_or("the member is not running")?;
        let id = Pid::from_raw(i32::try_from(id)?).ok_or("a process id is never 0")?;
        kill_process(id, signal)?;
        match signal {
            Signal::STOP => self.is_paused = true,
            Signal::CONT => self.is_paused = false,
            _ => {}
        }
        Ok(())
    }

    /// SIGKILL, and waits for the end of the process.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait().map(drop)
    }

    /// Waits for the end of the process.
    pub(super) fn wait(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().ok_or("the member is not running")?;
        self.is_paused = false;
        Ok(child.wait()?)
    }

    /// How the process ended by itself, if it did.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// Leaves the data behind: the next process begins with nothing.
    pub(super) fn wipe(&mut self) -> Result<()> {
        fs::remove_dir_all(self.data_dir())?;
        self.generation += 1;
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
