//! A cluster of processes on free ports, of handfast or of etcd: both take the same flags.
//!
//! Owns how members are started, stopped and found. It must not know what a test is about.

#![allow(dead_code, clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{PATIENCE, Process, Said, free_port, handfast};

/// What the members are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Handfast,
    Etcd,
}

/// A member, running or not.
pub(crate) struct Member {
    pub(crate) name: String,
    /// `host:port` for clients.
    pub(crate) endpoint: String,
    pub(crate) peer_url: String,
    pub(crate) data: PathBuf,
    pub(crate) process: Option<Process>,
}

/// A cluster that ends with the test.
pub(crate) struct Cluster {
    pub(crate) program: Program,
    pub(crate) members: Vec<Member>,
    pub(crate) dir: tempfile::TempDir,
}

impl Cluster {
    /// Three members that were told of each other, with a leader.
    pub(crate) fn of_three(program: Program) -> Cluster {
        let mut cluster = Cluster {
            program,
            members: Vec::new(),
            dir: tempfile::tempdir().unwrap(),
        };
        for name in ["n1", "n2", "n3"] {
            let member = cluster.plan(name);
            cluster.members.push(member);
        }
        let all: Vec<String> = cluster
            .members
            .iter()
            .map(|member| format!("{}={}", member.name, member.peer_url))
            .collect();
        let list = all.join(",");
        for index in 0..3 {
            cluster.start(index, &["--initial-cluster", &list]);
        }
        for member in &cluster.members {
            member.wait_until_ready();
        }
        cluster.wait_for_writes();
        cluster
    }

    /// Clusters of every kind that is on this machine.
    pub(crate) fn all() -> Vec<Cluster> {
        let mut all = vec![Cluster::of_three(Program::Handfast)];
        match Command::new("etcd").arg("--version").output() {
            Ok(_) => all.push(Cluster::of_three(Program::Etcd)),
            Err(_) => eprintln!("skipped: no etcd on this machine"),
        }
        all
    }

    /// A member that is not started, on ports nobody uses.
    pub(crate) fn plan(&self, name: &str) -> Member {
        Member {
            name: name.to_owned(),
            endpoint: format!("127.0.0.1:{}", free_port()),
            peer_url: format!("http://127.0.0.1:{}", free_port()),
            data: self.dir.path().join(format!("{name}-{}", free_port())),
            process: None,
        }
    }

    /// Starts a member that does not run.
    pub(crate) fn start(&mut self, index: usize, flags: &[&str]) {
        let command = self.members[index].command(self.program, flags);
        self.members[index].process = Some(Process::start(command));
    }

    /// Where clients reach all members.
    pub(crate) fn endpoints(&self) -> String {
        let all = self.members.iter().map(|member| member.endpoint.clone());
        all.collect::<Vec<_>>().join(",")
    }

    /// A client command against all members.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = handfast(&["--endpoints", &self.endpoints()]);
        command.args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.command(args).output().unwrap().into()
    }

    /// Runs a client command that must work; what it printed.
    pub(crate) fn say(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert_eq!(said.code, Some(0), "{:?} {args:?}: {said:?}", self.program);
        said.out
    }

    /// Runs a client command that must work in the end: a young cluster refuses some things.
    pub(crate) fn say_in_the_end(&self, args: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.run(args);
            if said.code == Some(0) {
                return said.out;
            }
            assert!(Instant::now() < deadline, "{:?} {said:?}", self.program);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Runs a client command that must be refused; what it complained.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert_ne!(said.code, Some(0), "{:?} {args:?}: {said:?}", self.program);
        assert_eq!(said.err.lines().count(), 1, "one sentence: {said:?}");
        said.err
    }

    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let text = self.say(&[&["--json"], args].concat());
        serde_json::from_str(&text).expect(&text)
    }

    pub(crate) fn wait_for_writes(&self) {
        self.say_in_the_end(&["put", "wait-for-writes", "x"]);
        self.say(&["del", "wait-for-writes"]);
    }

    /// The name of the member that leads.
    pub(crate) fn leader(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.run(&["--json", "status"]);
            let status: serde_json::Value = serde_json::from_str(&said.out).unwrap();
            let leads = |member: &&serde_json::Value| member["role"] == "leader";
            if let Some(member) = status.as_array().unwrap().iter().find(leads) {
                return member["name"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < deadline, "nobody leads: {status}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Member {
    /// What starts it.
    pub(crate) fn command(&self, program: Program, flags: &[&str]) -> Command {
        let client_url = format!("http://{}", self.endpoint);
        let mut command = match program {
            Program::Handfast => handfast(&["serve"]),
            Program::Etcd => Command::new("etcd"),
        };
        command
            .args(["--name", &self.name, "--data-dir"])
            .arg(&self.data)
            .args(["--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &self.peer_url])
            .args(flags);
        let advertised = "--initial-advertise-peer-urls";
        command.args([advertised, &self.peer_url]);
        command
    }

    pub(crate) fn wait_until_ready(&self) -> Vec<String> {
        let process = self.process.as_ref().unwrap();
        process.wait_for("ready to serve client requests")
    }

    /// Ends it without a chance to say goodbye.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.signal("KILL");
        assert_eq!(process.end(), None);
    }
}
