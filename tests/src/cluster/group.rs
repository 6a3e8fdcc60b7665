//! A cluster of processes that a test owns.
//!
//! Owns starting and stopping its members and what happens between them. Must not know why.

use std::{fs, path::PathBuf, process::ExitStatus, time::Duration};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{
    links::Condition,
    member::{Founding, Member},
    network::{Network, Wiring},
    program::Program,
};
use crate::{Result, client::Client, harness::target_directory};

/// How long a cluster may take until every member answers a linearizable read: generous, for a
/// busy machine.
const START_LIMIT: Duration = Duration::from_secs(180);
const START_ATTEMPTS: u32 = 3;
const POLL: Duration = Duration::from_millis(50);
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// A graceful stop that takes longer is a hang.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    pub(super) program: Program,
    pub(super) size: usize,
    spares: usize,
    pub(super) wiring: Wiring,
    pub(super) flags: Vec<String>,
}

impl Setup {
    /// `size` members of `program` with their defaults, joined by proxies.
    #[must_use]
    pub fn new(program: Program, size: usize) -> Self {
        Self {
            program,
            size,
            spares: 0,
            wiring: Wiring::Proxies,
            flags: Vec::new(),
        }
    }

    /// Another wiring.
    #[must_use]
    pub fn wiring(mut self, wiring: Wiring) -> Self {
        self.wiring = wiring;
        self
    }

    /// Places for so many members that join later; they come after those that found the cluster.
    #[must_use]
    pub fn spares(mut self, spares: usize) -> Self {
        self.spares = spares;
        self
    }

    /// One more flag for every member, in etcd's spelling.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Starts the members and waits until each answers a linearizable read.
    ///
    /// # Errors
    /// When they do not come up; the message holds the ends of their logs.
    pub async fn start(&self) -> Result<Cluster> {
        let mut last = String::new();
        for _ in 0..START_ATTEMPTS {
            let mut cluster = Cluster::prepare(self).await?;
            let started = match cluster.start_all() {
                Ok(()) => cluster.ready().await,
                Err(error) => Err(error),
            };
            match started {
                Ok(()) => return Ok(cluster),
                // Another process may have taken a port between the probe and the start.
                Err(error) => last = error.to_string(),
            }
        }
        Err(last.into())
    }
}

/// The members and what joins them. Dropping it kills them all and removes their data.
#[derive(Debug)]
pub struct Cluster {
    pub(super) members: Vec<Member>,
    founders: usize,
    network: Network,
    home: TempDir,
}

impl Cluster {
    async fn prepare(setup: &Setup) -> Result<Self> {
        // Beside the build, because a temporary directory may be in memory, where a flush to disk
        // is nothing.
        let folder = target_directory().join("clusters");
        fs::create_dir_all(&folder)?;
        let home = tempfile::Builder::new()
            .prefix("members-")
            .tempdir_in(folder)?;
        let network = Network::new(setup.wiring, setup.size + setup.spares).await?;
        let members = network.addresses.iter().enumerate();
        let members = members.map(|(number, addresses)| {
            Member::new(
                format!("m{number}"),
                addresses.clone(),
                setup.program.clone(),
                setup.flags.clone(),
                home.path().to_path_buf(),
            )
        });
        Ok(Self {
            members: members.collect(),
            founders: setup.size,
            network,
            home,
        })
    }

    /// How many members there are, with the spare ones.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// The members, by their place.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The client URLs of all members.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::endpoint).collect()
    }

    /// Bare clients of one member.
    ///
    /// # Errors
    /// Never in practice: the endpoint is a URL.
    pub fn client(&self, member: usize) -> Result<Client> {
        Client::lazy(&self.members[member].endpoint())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When the member does not run.
    pub fn kill(&mut self, member: usize) -> Result<()> {
        self.members[member].kill()?;
        self.network.processes.lock()[member] = None;
        Ok(())
    }

    /// SIGTERM, and waits for the process to end by itself.
    ///
    /// # Errors
    /// When the member does not run, or does not end.
    pub async fn terminate(&mut self, member: usize) -> Result<()> {
        self.members[member].signal(Signal::TERM)?;
        self.ended(member).await.map(drop)
    }

    /// Sends a signal: STOP and CONT freeze and thaw the member.
    ///
    /// # Errors
    /// When the member does not run.
    pub fn signal(&mut self, member: usize, signal: Signal) -> Result<()> {
        self.members[member].signal(signal)
    }

    /// Starts a member that was killed, with its data. Does not wait for it.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn restart(&mut self, member: usize) -> Result<()> {
        // What counts after the first start is in the data.
        self.spawn(member, Founding::New, &self.founders())
    }

    pub(super) fn spawn(&mut self, member: usize, founding: Founding, cluster: &str) -> Result<()> {
        let prefix = self.network.prefix(member);
        let id = self.members[member].spawn(&prefix, founding, cluster)?;
        self.network.processes.lock()[member] = Some(id);
        Ok(())
    }

    fn start_all(&mut self) -> Result<()> {
        (0..self.founders).try_for_each(|member| self.restart(member))
    }

    /// Starts a spare member that was added to the cluster before. `cluster` is what its
    /// `--initial-cluster` shall say. Does not wait for it.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn join(&mut self, member: usize, cluster: &str) -> Result<()> {
        self.spawn(member, Founding::Existing, cluster)
    }

    /// The `--initial-cluster` of those that found the cluster.
    #[must_use]
    pub fn founders(&self) -> String {
        let each = self.members[..self.founders].iter();
        let each = each.map(|member| format!("{}={}", member.name, member.peer_url()));
        each.collect::<Vec<_>>().join(",")
    }

    /// Brings back what was killed or stopped, and opens all ways. Does not wait.
    ///
    /// # Errors
    /// When a member ended by itself, which none may, or cannot be started.
    pub fn mend(&mut self) -> Result<()> {
        self.network.heal()?;
        for member in 0..self.size() {
            self.check_alive(member)?;
            if self.members[member].process_id().is_none() {
                self.restart(member)?;
            } else if !self.members[member].is_awake() {
                self.signal(member, Signal::CONT)?;
            }
        }
        Ok(())
    }

    /// Changes the way from one member to another.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn link(&self, from: usize, to: usize, condition: Condition) -> Result<()> {
        self.network.set(from, to, condition)
    }

    /// Opens all ways between members.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn heal(&self) -> Result<()> {
        self.network.heal()
    }

    /// Whether the ways between members can be in this condition.
    #[must_use]
    pub fn can(&self, condition: Condition) -> bool {
        self.network.can(condition)
    }

    /// Waits until every member that is awake answers a linearizable read.
    ///
    /// # Errors
    /// When one does not within a minute, or ended by itself.
    pub async fn ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        for member in 0..self.size() {
            if self.members[member].process_id().is_some() {
                self.member_ready(member, begun + START_LIMIT).await?;
            }
        }
        Ok(())
    }

    /// Waits until this member has ended by itself.
    ///
    /// # Errors
    /// When it goes on for half a minute.
    pub async fn ended(&mut self, member: usize) -> Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.members[member].ended()? {
                self.network.processes.lock()[member] = None;
                return Ok(status);
            }
            if begun.elapsed() > STOP_LIMIT {
                let tail = self.members[member].log_tail(20);
                return Err(format!("m{member} does not end\n{tail}").into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) async fn member_ready(&mut self, member: usize, deadline: Instant) -> Result<()> {
        let mut last = String::new();
        while Instant::now() < deadline {
            self.check_alive(member)?;
            let client = self.client(member)?;
            match super::facts::reads(client, PROBE_LIMIT).await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
            tokio::time::sleep(POLL).await;
        }
        let what = format!("m{member} answers no linearizable read: {last}");
        Err(format!("{what}\n{}", self.logs(15)).into())
    }

    fn check_alive(&mut self, member: usize) -> Result<()> {
        let Some(status) = self.members[member].ended()? else {
            return Ok(());
        };
        self.network.processes.lock()[member] = None;
        let tail = self.members[member].log_tail(20);
        Err(format!("m{member} ended by itself: {status}\n{tail}").into())
    }

    /// The ends of all logs.
    #[must_use]
    pub fn logs(&self, lines: usize) -> String {
        let each = self.members.iter();
        let each = each.map(|it| format!("--- {}\n{}", it.name, it.log_tail(lines)));
        each.collect::<Vec<_>>().join("\n")
    }

    /// Copies the members' logs to `folder`.
    ///
    /// # Errors
    /// When they cannot be written there.
    pub fn keep_logs(&self, folder: &std::path::Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        for member in &self.members {
            fs::copy(
                member.log_path(),
                folder.join(format!("{}.log", member.name)),
            )?;
        }
        Ok(())
    }

    /// Where the members keep their data.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.home.path().to_path_buf()
    }
}
