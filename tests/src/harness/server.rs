//! One server process with its data directory.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use handfast_ports::free_port;
use handfast_proto::etcdserverpb::RangeRequest;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Subject;
use crate::{Result, client::Client};

/// How long a server may take until its first linearizable read: generous, for a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
const START_ATTEMPTS: u32 = 3;
const POLL: Duration = Duration::from_millis(10);

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Setup {
    subject: Subject,
    flags: Vec<String>,
}

impl Setup {
    /// The defaults of `subject`.
    #[must_use]
    pub fn new(subject: Subject) -> Self {
        Self {
            subject,
            flags: Vec::new(),
        }
    }

    /// One more command line flag in etcd's spelling, such as `--max-txn-ops=16`.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Starts the server and waits until it answers a linearizable read.
    ///
    /// # Errors
    /// When it does not come up; the message holds the end of its log.
    pub async fn start(self) -> Result<Server> {
        let mut last = String::new();
        for _ in 0..START_ATTEMPTS {
            let mut server = Server::prepare(self.clone())?;
            match server.restart().await {
                Ok(()) => return Ok(server),
                // Another process may have taken a port between the probe and the start.
                Err(error) => last = error.to_string(),
            }
        }
        Err(last.into())
    }
}

/// A server process that a test owns. Dropping it kills the process and removes the data.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    child: Option<Child>,
    home: TempDir,
    client_port: u16,
    peer_port: u16,
}

impl Server {
    /// Starts `subject` with its defaults.
    ///
    /// # Errors
    /// As [`Setup::start`].
    pub async fn start(subject: Subject) -> Result<Self> {
        Setup::new(subject).start().await
    }

    /// The client URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The client address without a scheme.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// The peer URL, which the member list shows.
    #[must_use]
    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    /// Clients of this server that connect on first use.
    ///
    /// # Errors
    /// Never in practice: the endpoint is a URL.
    pub fn client(&self) -> Result<Client> {
        Client::lazy(&self.endpoint())
    }

    /// Where the server keeps its data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The process id, while the process is there.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.process_id().ok_or("the server is not running")?;
        let id = Pid::from_raw(i32::try_from(id)?).ok_or("a process id is never 0")?;
        Ok(kill_process(id, signal)?)
    }

    /// SIGKILL: the process gets no chance to write anything more.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the process to end by itself.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait()
    }

    /// Waits for the process to end.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().ok_or("the server is not running")?;
        Ok(child.wait()?)
    }

    /// Starts the process again on the same ports and data, and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up; the message holds the end of its log.
    pub async fn restart(&mut self) -> Result<()> {
        self.spawn()?;
        self.ready().await
    }

    /// The last lines of what the server wrote to its output.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn prepare(setup: Setup) -> Result<Self> {
        let home = tempfile::Builder::new()
            .prefix("handfast-test-")
            .tempdir()?;
        let (client_port, peer_port) = (free_port(), free_port());
        Ok(Self {
            setup,
            child: None,
            home,
            client_port,
            peer_port,
        })
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("log")
    }

    fn spawn(&mut self) -> Result<()> {
        let (program, first) = self.setup.subject.command()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = Command::new(program);
        command
            .args(first)
            .args(self.flags())
            .current_dir(self.home.path());
        clean_environment(&mut command);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    fn flags(&self) -> Vec<String> {
        let (client, peer) = (self.endpoint(), self.peer_url());
        let mut flags = vec![
            "--name=default".to_owned(),
            format!("--data-dir={}", text(&self.data_dir())),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        if self.setup.subject == Subject::Etcd {
            let quiet = ["--logger=zap", "--log-outputs=stderr", "--log-level=warn"];
            flags.extend(quiet.map(str::to_owned));
        }
        flags.extend(self.setup.flags.iter().cloned());
        flags
    }

    async fn ready(&mut self) -> Result<()> {
        let mut client = self.client()?;
        let begun = Instant::now();
        loop {
            let probe = RangeRequest {
                key: "ready?".into(),
                ..RangeRequest::default()
            };
            let answer = tokio::time::timeout(START_LIMIT, client.kv.range(probe)).await;
            if matches!(answer, Ok(Ok(_))) {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                self.child = None;
                return Err(format!("the server ended: {status}\n{}", self.log_tail()).into());
            }
            if begun.elapsed() > START_LIMIT {
                return Err(format!("the server does not answer\n{}", self.log_tail()).into());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Takes settings of the caller's shell away, which would change what the test means.
pub(crate) fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("ETCD") || name.starts_with("HANDFAST") {
            command.env_remove(name);
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
