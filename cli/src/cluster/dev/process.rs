//! One member as a process.
//!
//! Owns its start, its lines and its signals. It must not know why it is to end.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::place::Layout;
use super::prefix::Prefix;
use crate::exit::Failure;
use crate::supervise::guard::Guard;

/// Lines kept of each member, for when it dies.
const LAST_LINES: usize = 5;

/// What a member is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Run,
    Terminate,
    Kill,
}

/// A member that was started.
pub(super) struct Process {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) runs: bool,
    /// What started it, program first.
    pub(super) command: Vec<OsString>,
    orders: watch::Sender<Order>,
}

/// A member that is no more.
pub(super) struct Ended {
    pub(super) index: usize,
    /// How, in words.
    pub(super) how: String,
    pub(super) last_lines: VecDeque<String>,
}

impl Process {
    /// Starts a member; `events` hears of its end.
    pub(super) fn start(
        index: usize,
        command: Vec<OsString>,
        events: UnboundedSender<Ended>,
    ) -> Result<Process, Failure> {
        let name = Layout::name(index);
        let mut guard = Guard::post();
        let mut child = spawn(&command)?;
        let pid = child.id().unwrap_or_default();
        if let (Some(guard), Some(pid)) = (&mut guard, own_pid(&child)) {
            guard.watch(pid, true);
        }
        let prefix = Prefix::new(index);
        let lines = tokio::spawn(relay(child.stderr.take(), prefix));
        let (orders, mut ordered) = watch::channel(Order::Run);
        tokio::spawn(async move {
            let status = attend(&mut child, &mut ordered).await;
            if let Some(guard) = guard {
                guard.dismiss().await;
            }
            // Nobody is left to hear of it when this fails.
            let _ = events.send(Ended {
                index,
                how: status.map_or_else(|error| error.to_string(), in_words),
                last_lines: lines.await.unwrap_or_default(),
            });
        });
        Ok(Process {
            name,
            pid,
            runs: true,
            command,
            orders,
        })
    }

    /// Tells it what to do; without effect once it has ended.
    pub(super) fn order(&self, order: Order) {
        self.orders.send_replace(order);
    }
}

fn spawn(command: &[OsString]) -> Result<Child, Failure> {
    let (program, arguments) = command.split_first().expect("a program comes first");
    let mut spawned = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let settings = ["HANDFAST_", "ETCD_"];
        let text = name.to_string_lossy();
        if settings.iter().any(|prefix| text.starts_with(prefix)) || name == "NOTIFY_SOCKET" {
            spawned.env_remove(name);
        }
    }
    spawned
        .args(arguments)
        .stdin(Stdio::null())
        // Its greeting; one greeting for all is enough.
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // The terminal's Ctrl-C is for us; we pass it on in order.
        .process_group(0)
        .kill_on_drop(true);
    spawned.spawn().map_err(|error| Failure::Spawn {
        command: program.to_string_lossy().into_owned(),
        error,
    })
}

/// Its process id, as long as it was not waited for.
fn own_pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

/// Passes orders on until it ends.
async fn attend(
    child: &mut Child,
    orders: &mut watch::Receiver<Order>,
) -> std::io::Result<ExitStatus> {
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return status,
            changed = orders.changed() => {
                let order = match changed {
                    Ok(()) => *orders.borrow_and_update(),
                    Err(_) => Order::Kill,
                };
                let signal = match order {
                    Order::Run => continue,
                    Order::Terminate => Signal::TERM,
                    Order::Kill => Signal::KILL,
                };
                if let Some(pid) = own_pid(child) {
                    // An error means that it is gone already.
                    let _ = kill_process(pid, signal);
                }
                if changed.is_err() {
                    return child.wait().await;
                }
            }
        }
    }
}

/// Shows a member's lines under its name; the last ones when there are no more.
async fn relay(stderr: Option<ChildStderr>, prefix: Prefix) -> VecDeque<String> {
    let mut last = VecDeque::with_capacity(LAST_LINES);
    let Some(stderr) = stderr else { return last };
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        prefix.show(&line);
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    last
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "stopped".to_owned(),
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
