//! A server process for tests.
//!
//! Owns its start, its ports and its end. The process dies with the test process, however that
//! ends: a shell in between waits for its standard input to close.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const START_LIMIT: Duration = Duration::from_secs(60);

/// A server of a test's own, or one shared by many.
pub struct Server {
    /// `http://host:port`.
    pub endpoint: String,
    process: Option<Process>,
}

struct Process {
    running: Option<(Child, ChildStdin, Pid)>,
    client: SocketAddr,
    peer: SocketAddr,
    dir: tempfile::TempDir,
}

/// The server for tests that leave it as it is.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| match std::env::var("HANDFAST_TEST_ENDPOINT") {
        Ok(endpoint) => Server {
            endpoint,
            process: None,
        },
        Err(_) => Server::own().expect("there is no given endpoint"),
    })
}

impl Server {
    /// A server that the test may stop, or `None` when an endpoint is given from outside.
    pub fn own() -> Option<Self> {
        if std::env::var_os("HANDFAST_TEST_ENDPOINT").is_some() {
            eprintln!("left out: it would have to control the server");
            return None;
        }
        let mut process = Process {
            running: None,
            client: free_address(),
            peer: free_address(),
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        process.start();
        Some(Self {
            endpoint: format!("http://{}", process.client),
            process: Some(process),
        })
    }

    /// Where it listens for clients.
    pub fn address(&self) -> SocketAddr {
        self.endpoint
            .trim_start_matches("http://")
            .parse()
            .expect("host:port")
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("a server of the test's own")
    }

    fn signal(&self, signal: Signal) {
        let (_, _, pid) = self.process().running.as_ref().expect("it runs");
        kill_process(*pid, signal).expect("the process is there");
    }

    /// Stops it where it stands.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills the server without warning.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let process = self.process.as_mut().expect("a server of the test's own");
        let (mut shell, stdin, _) = process.running.take().expect("it runs");
        drop(stdin);
        shell.wait().expect("the shell ends");
    }

    /// Starts it again on the same data and ports.
    pub fn start_again(&mut self) {
        self.process
            .as_mut()
            .expect("a server of the test's own")
            .start();
    }

    /// Kills the server, and starts another one with no data in its place.
    pub fn replace(&mut self) {
        self.kill();
        let process = self.process.as_mut().expect("a server of the test's own");
        std::fs::remove_dir_all(process.dir.path().join("data")).expect("it is there");
        process.start();
    }

    /// `etcdctl` for this server.
    pub fn etcdctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.endpoint))
            .args(arguments)
            .stderr(Stdio::inherit());
        command
    }
}

impl Process {
    fn start(&mut self) {
        let binary = std::env::var("HANDFAST_TEST_SERVER_BIN").unwrap_or("etcd".to_owned());
        let script =
            "\"$@\" >\"$LOG\" 2>&1 & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null; wait";
        let (client, peer) = (
            format!("http://{}", self.client),
            format!("http://{}", self.peer),
        );
        let mut shell = Command::new("sh")
            .args(["-c", script, "sh"])
            // The binary may come with a subcommand.
            .args(binary.split_whitespace())
            .args(["--name", "test"])
            .arg("--data-dir")
            .arg(self.dir.path().join("data"))
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("test={peer}")])
            .env("LOG", self.dir.path().join("log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let stdin = shell.stdin.take().expect("it was asked for");
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("it was asked for");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the shell tells the pid");
        let pid = line
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .expect("a pid");
        self.running = Some((shell, stdin, pid));
        wait_until_healthy(self.client, self.dir.path());
    }
}

fn wait_until_healthy(address: SocketAddr, dir: &Path) {
    let begun = Instant::now();
    while !get(address, "/health").is_some_and(|body| body.contains("true")) {
        if begun.elapsed() > START_LIMIT {
            let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            panic!("the server does not start:\n{log}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The body of an HTTP answer, if there is one.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], handfast_ports::free_port()))
}
