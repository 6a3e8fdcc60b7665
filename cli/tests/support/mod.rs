//! What the tests of the command share: the binary as a process, servers on free ports.
//!
//! Owns how processes are started, watched and ended. It must not know what a test is about.

#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod cluster;
pub(crate) mod terminal;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The binary under test.
pub(crate) const HANDFAST: &str = env!("CARGO_BIN_EXE_handfast");
/// Longest wait for anything that must happen; only a failing test waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A command line without variables that could lead it elsewhere.
pub(crate) fn handfast(args: &[&str]) -> Command {
    let mut command = Command::new(HANDFAST);
    for (name, _) in std::env::vars().filter(|(name, _)| {
        ["HANDFAST_", "ETCD_", "ETCDCTL_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    }) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a command line to its end.
pub(crate) fn run(args: &[&str]) -> Said {
    handfast(args).output().unwrap().into()
}

pub(crate) use handfast_ports::free_port;

/// A process that is killed when the test is over.
pub(crate) struct Process {
    pub(crate) child: Child,
    lines: Option<mpsc::Receiver<String>>,
}

impl Process {
    /// Starts it and collects the lines of both its outputs.
    pub(crate) fn start(mut command: Command) -> Process {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let (sender, lines) = mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Process {
            child,
            lines: Some(lines),
        }
    }

    /// Starts it with a standard error that nobody reads, as after a terminal was closed.
    pub(crate) fn start_unread(mut command: Command) -> Process {
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        drop(child.stderr.take());
        Process { child, lines: None }
    }

    /// Waits for a line with this text; returns all lines up to it.
    pub(crate) fn wait_for(&self, text: &str) -> Vec<String> {
        let lines = self.lines.as_ref().unwrap();
        let mut seen = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    seen.push(line);
                    if seen.last().unwrap().contains(text) {
                        return seen;
                    }
                }
                Err(_) => panic!("no `{text}` in: {seen:#?}"),
            }
        }
    }

    /// The lines that are left once both outputs are closed.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let lines = self.lines.take();
        lines.map_or_else(Vec::new, |lines| lines.iter().collect())
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the end; the exit code, if it was not ended by a signal.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            if Instant::now() >= deadline {
                self.child.kill().unwrap();
                panic!("the process does not end; it said: {:#?}", self.rest());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with its own data, ended with the test.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) process: Process,
    _data: tempfile::TempDir,
}

impl Server {
    /// A handfast server.
    pub(crate) fn handfast() -> Server {
        let data = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let dir = data.path().join("data");
        let process = Process::start(serve(&address, &dir));
        process.wait_for("ready to serve client requests");
        Server {
            endpoint: address,
            process,
            _data: data,
        }
    }

    /// An etcd of this machine, if there is one.
    pub(crate) fn etcd() -> Option<Server> {
        let found = Command::new("etcd").arg("--version").output().is_ok();
        if !found {
            eprintln!("skipped: no etcd on this machine");
            return None;
        }
        let data = tempfile::tempdir().unwrap();
        let (client, peer) = (free_port(), free_port());
        let client_url = format!("http://127.0.0.1:{client}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let mut command = Command::new("etcd");
        command
            .args([
                "--listen-client-urls",
                &client_url,
                "--advertise-client-urls",
                &client_url,
            ])
            .args([
                "--listen-peer-urls",
                &peer_url,
                "--initial-advertise-peer-urls",
                &peer_url,
            ])
            .args(["--initial-cluster", &format!("default={peer_url}")])
            .arg("--data-dir")
            .arg(data.path().join("data"));
        let process = Process::start(command);
        process.wait_for("ready to serve client requests");
        Some(Server {
            endpoint: format!("127.0.0.1:{client}"),
            process,
            _data: data,
        })
    }

    /// Every kind of server the command has to work against.
    pub(crate) fn all() -> Vec<Server> {
        std::iter::once(Server::handfast())
            .chain(Server::etcd())
            .collect()
    }

    /// A client command against this server.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = handfast(&["--endpoints", &self.endpoint]);
        command.args(args);
        command
    }

    /// Runs a client command against this server to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.command(args).output().unwrap().into()
    }

    /// Waits in vain for what `args` want to hold, longer each time, until the refusal has this
    /// text: on a busy machine a short wait is over before anything was learned.
    pub(crate) fn gives_up(&self, args: &[&str], text: &str) {
        let waits = ["300ms", "3s", "30s"];
        for wait in waits {
            let said = self.run(&[args, &["--wait", wait, "--", "true"]].concat());
            assert_eq!(said.code, Some(75), "{said:?}");
            if said.err.contains(text) {
                return;
            }
            assert_ne!(Some(&wait), waits.last(), "no `{text}` in {said:?}");
        }
    }

    /// Waits until nobody has a lease. One whose grant was asked for twice, since the first answer
    /// took too long, stays for its TTL.
    pub(crate) fn wait_for_no_lease(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.say(&["lease", "list"]);
            if said == "found 0 leases\n" {
                return;
            }
            assert!(Instant::now() < deadline, "leases stay: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a client command that must work; what it printed.
    pub(crate) fn say(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
        said.out
    }

    /// Runs a client command that must work; what it printed as JSON, document by document.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<serde_json::Value> {
        let text = self.say(&[&["--json"], args].concat());
        text.lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }
}

/// `handfast serve` at an address.
pub(crate) fn serve(address: &str, data_dir: &Path) -> Command {
    let mut command = handfast(&["serve", "--listen", address, "--data-dir"]);
    command.arg(data_dir);
    command
}

/// Whether anybody listens there.
pub(crate) fn is_listening(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}
