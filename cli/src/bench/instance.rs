//! A server that the bench starts, stops and kills.
//!
//! Owns the process, its port and its folder. It must not know what is measured.

use std::ffi::OsString;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use handfast_proto::etcdserverpb::RangeRequest;
use handfast_proto::etcdserverpb::kv_client::KvClient;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use super::{process, target};
use crate::exit::Failure;

/// Connections to each server.
const CONNECTIONS: usize = 8;
/// A start or a stop that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks whether a server answers.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How much of a dead server's log is shown.
const LOG_BYTES: usize = 2_000;

/// What is started.
#[derive(Debug, Clone)]
pub(super) enum Program {
    Handfast(PathBuf),
    Etcd(PathBuf),
}

/// A server that is measured.
pub(super) struct Instance {
    program: Program,
    label: String,
    folder: PathBuf,
    port: u16,
    peer_port: u16,
    child: Option<Child>,
    channels: Vec<Channel>,
}

/// A folder that is removed when it is dropped.
pub(super) struct Folder(PathBuf);

/// Makes a folder of our own in `parent`.
pub(super) fn folder(parent: Option<&Path>) -> Result<Folder, Failure> {
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
    let path = parent.join(format!("handfast-bench-{}", std::process::id()));
    std::fs::create_dir_all(&parent)
        .and_then(|()| std::fs::create_dir(&path))
        .map_err(|error| cannot("make the folder", &path, &error))?;
    Ok(Folder(path))
}

impl Folder {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody is left to be told; a temporary folder may stay.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Program {
    /// The handfast at `handfast`, or this program; and these etcds.
    pub(super) fn all(
        handfast: Option<PathBuf>,
        etcds: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Vec<Program>, Failure> {
        let mut all = vec![Program::handfast(handfast)?];
        all.extend(etcds.into_iter().map(Program::Etcd));
        Ok(all)
    }

    /// The handfast at `path`, or this program.
    fn handfast(path: Option<PathBuf>) -> Result<Program, Failure> {
        let path = path
            .map_or_else(std::env::current_exe, Ok)
            .map_err(|error| {
                Failure::Other(format!(
                    "cannot find this program: {error}; give --handfast PATH"
                ))
            })?;
        Ok(Program::Handfast(path))
    }

    fn path(&self) -> &Path {
        match self {
            Program::Handfast(path) | Program::Etcd(path) => path,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Program::Handfast(_) => "handfast",
            Program::Etcd(_) => "etcd",
        }
    }

    /// With the version, if it is an etcd: there may be two.
    fn label(&self) -> String {
        let asked = match self {
            Program::Handfast(_) => return self.name().to_owned(),
            Program::Etcd(path) => std::process::Command::new(path).arg("--version").output(),
        };
        // That it does not run will be said when it is started.
        let said = asked.map_or_else(|_| Vec::new(), |asked| asked.stdout);
        let said = String::from_utf8_lossy(&said);
        let first = said.lines().next().unwrap_or_default();
        match first.rsplit_once(": ") {
            Some((_, version)) => format!("{} {version}", self.name()),
            None => self.name().to_owned(),
        }
    }

    fn args(&self, data: &Path, port: u16, peer_port: u16) -> Vec<OsString> {
        let text = match self {
            Program::Handfast(_) => format!("serve --listen 127.0.0.1:{port} --data-dir"),
            Program::Etcd(_) => {
                let client = format!("http://127.0.0.1:{port}");
                let peer = format!("http://127.0.0.1:{peer_port}");
                format!(
                    "--listen-client-urls {client} --advertise-client-urls {client} \
                     --listen-peer-urls {peer} --initial-advertise-peer-urls {peer} \
                     --initial-cluster default={peer} --data-dir"
                )
            }
        };
        let mut args: Vec<OsString> = text.split_whitespace().map(OsString::from).collect();
        args.push(data.into());
        args
    }
}

impl Instance {
    /// All of them, with their data in `folder`.
    pub(super) fn all(programs: Vec<Program>, folder: &Path) -> Result<Vec<Instance>, Failure> {
        let numbered = programs.into_iter().enumerate();
        numbered
            .map(|(number, program)| Instance::new(program, folder, number))
            .collect()
    }

    fn new(program: Program, folder: &Path, number: usize) -> Result<Instance, Failure> {
        Ok(Instance {
            label: program.label(),
            folder: folder.join(format!("{number}-{}", program.name())),
            port: free_port()?,
            peer_port: free_port()?,
            program,
            child: None,
            channels: Vec::new(),
        })
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Where clients reach it.
    pub(super) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Starts it; how long until it answered a linearizable read.
    pub(super) async fn start(&mut self) -> Result<Duration, Failure> {
        let begun = Instant::now();
        self.child = Some(self.spawn()?);
        let url = format!("http://127.0.0.1:{}", self.port);
        while !answers(&url).await {
            self.refuse_dead().await?;
            if begun.elapsed() > PATIENCE {
                return Err(Failure::Other(format!("{} does not answer", self.label)));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let ready = begun.elapsed();
        self.channels.clear();
        for _ in 0..CONNECTIONS {
            self.channels.push(target::channel(&url).await?);
        }
        Ok(ready)
    }

    /// Asks it to stop; how long it took.
    pub(super) async fn stop(&mut self) -> Result<Duration, Failure> {
        self.end(Signal::TERM).await
    }

    /// Kills it.
    pub(super) async fn kill(&mut self) -> Result<(), Failure> {
        self.end(Signal::KILL).await.map(drop)
    }

    /// Stops it in its tracks, until [`Instance::resume`].
    pub(super) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(super) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            // One that has ended meanwhile is missed by what comes next.
            let _ = kill_process(pid, signal);
        }
    }

    /// Its process, if it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// The same, as a gauge wants it.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.pid().into_iter().collect()
    }

    /// Bytes in RAM, now and at most.
    pub(super) fn memory(&self) -> Result<(u64, u64), Failure> {
        let seen = self.pid().and_then(process::memory);
        seen.ok_or_else(|| Failure::Other("needs /proc, as Linux has it".to_owned()))
    }

    /// Bytes that its files take.
    pub(super) fn size_on_disk(&self) -> u64 {
        allocated(&self.folder)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    fn spawn(&self) -> Result<Child, Failure> {
        let path = self.log_path();
        let logs = File::create(&path).and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = logs.map_err(|error| cannot("write", &path, &error))?;
        let mut command = Command::new(self.program.path());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            // The bench says all that the server shall know.
            if text.starts_with("ETCD_") || text.starts_with("HANDFAST_") {
                command.env_remove(name);
            }
        }
        command
            .args(self.program.args(&self.folder, self.port, self.peer_port))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| cannot("run", self.program.path(), &error))
    }

    async fn refuse_dead(&mut self) -> Result<(), Failure> {
        let status = match &mut self.child {
            Some(child) => child.try_wait().ok().flatten(),
            None => None,
        };
        let Some(status) = status else {
            return Ok(());
        };
        let log = std::fs::read(self.log_path()).unwrap_or_default();
        let end = &log[log.len().saturating_sub(LOG_BYTES)..];
        Err(Failure::Other(format!(
            "{} ended by itself ({status}): {}",
            self.label,
            String::from_utf8_lossy(end)
        )))
    }

    async fn end(&mut self, signal: Signal) -> Result<Duration, Failure> {
        let begun = Instant::now();
        self.channels.clear();
        self.signal(signal);
        let Some(mut child) = self.child.take() else {
            return Ok(Duration::ZERO);
        };
        match tokio::time::timeout(PATIENCE, child.wait()).await {
            Ok(Ok(_)) => Ok(begun.elapsed()),
            _ => Err(Failure::Other(format!("{} does not stop", self.label))),
        }
    }
}

/// Whether a linearizable read is answered.
async fn answers(url: &str) -> bool {
    let Ok(channel) = target::channel(url).await else {
        return false;
    };
    let request = RangeRequest {
        key: "first".into(),
        ..RangeRequest::default()
    };
    KvClient::new(channel).range(request).await.is_ok()
}

fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener
        .map(|address| address.port())
        .map_err(|error| Failure::Other(format!("there is no free port: {error}")))
}

/// Bytes that the files of a folder take on disk; what vanishes meanwhile takes none.
fn allocated(folder: &Path) -> u64 {
    /// What `stat` counts blocks in.
    const BLOCK_BYTES: u64 = 512;
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => allocated(&entry.path()),
            Ok(data) => data.blocks() * BLOCK_BYTES,
            Err(_) => 0,
        })
        .sum()
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::Other(format!("cannot {what} {}: {error}", path.display()))
}
