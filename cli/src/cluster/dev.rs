//! `handfast cluster dev`: a cluster of real processes on this machine.
//!
//! Owns the order of things: plan, start, wait for a leader, watch over, stop. Folders are in
//! `place`, processes in `process` and `prefix`, what a person reads in `tell`.

mod place;
mod prefix;
mod process;
mod tell;

use std::ffi::{OsStr, OsString};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use handfast_core::Client;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until};

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, tell};
use crate::roster::Roster;
use crate::supervise::signals::{Signals, name};
use place::{Layout, Place};
use process::{Ended, Order, Process};

const NODES: usize = 3;
const NODES_MAX: usize = 9;
const BASE_PORT: u16 = 2379;
/// Pause between two looks whether somebody leads.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a member may take to stop before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long a call of ours may take; a member that hangs must not hold up the others.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

const AFTER_HELP: &str = "\
Each member is a process of its own: kill one and see what happens. Ctrl-C stops them all. Member
number I (from 0) serves clients on port BASE + 2*I and its peers on the next.

  handfast cluster dev                              three members, data in a temporary folder
  handfast cluster dev --data-dir lab               keeps the data; start it again to go on
  handfast cluster dev -- --election-timeout 2000   with more flags of `handfast serve`";

/// Options of `cluster dev`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DevArgs {
    /// How many members [default: 3, or as many as --data-dir has]
    #[arg(long, value_name = "N")]
    nodes: Option<usize>,
    /// First port [default: 2379, or as in --data-dir]
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// Folder for the data of all members [default: a temporary one that is removed]
    #[arg(long, value_name = "PATH")]
    data_dir: Option<PathBuf>,
    /// More flags for each member
    #[arg(last = true, value_name = "FLAGS")]
    flags: Vec<OsString>,
}

pub(crate) async fn run(
    args: DevArgs,
    program: &OsStr,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    // From here on Ctrl-C means: stop the members, too.
    let mut signals = Signals::new()
        .map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))?;
    let place = Place::open(args.data_dir.as_deref())?;
    let layout = layout(&args, &place)?;
    check_ports(&layout)?;
    let program = own_program(program);
    let (sender, events) = unbounded_channel();
    let mut members = Vec::with_capacity(layout.nodes);
    for index in 0..layout.nodes {
        let command = place.command(&program, &layout, index, &args.flags);
        members.push(Process::start(index, command, sender.clone())?);
    }
    place.keep(&layout)?;
    let endpoints = (0..layout.nodes)
        .map(|index| layout.endpoint(index))
        .collect();
    let client = connection.client_of(endpoints)?.with_timeout(CALL_TIMEOUT);
    let mut lab = Lab {
        layout,
        members,
        events,
        stopping: false,
    };
    let code = lab.live(&client, &place, &mut signals, output).await;
    lab.stop(&mut signals).await;
    code
}

/// What is asked for, or what the folder has from an earlier start.
fn layout(args: &DevArgs, place: &Place) -> Result<Layout, Failure> {
    let before = place.layout()?;
    let differs = |flag: &str, given: usize, kept: usize| {
        Failure::Usage(format!(
            "{} has a cluster with {flag} {kept}, not {given}: leave {flag} out to go on with it, \
             or choose another --data-dir",
            place.folder().display()
        ))
    };
    if let Some(kept) = before {
        if let Some(given) = args.nodes.filter(|given| *given != kept.nodes) {
            return Err(differs("--nodes", given, kept.nodes));
        }
        if let Some(given) = args.base_port.filter(|given| *given != kept.base_port) {
            return Err(differs("--base-port", given.into(), kept.base_port.into()));
        }
        return Ok(kept);
    }
    let nodes = args.nodes.unwrap_or(NODES);
    if !(1..=NODES_MAX).contains(&nodes) {
        return Err(Failure::Usage(format!(
            "--nodes must be from 1 to {NODES_MAX}; 3 survive the loss of one, 5 of two"
        )));
    }
    let base_port = args.base_port.unwrap_or(BASE_PORT);
    let ports = 2 * nodes as u32;
    if base_port == 0 || u32::from(base_port) + ports > 1 + u32::from(u16::MAX) {
        return Err(Failure::Usage(format!(
            "--base-port must leave room for {ports} ports, up to 65535"
        )));
    }
    Ok(Layout {
        nodes,
        base_port,
        token: place.token(),
    })
}

/// Told before anything starts: a member that fails later would be harder to understand.
fn check_ports(layout: &Layout) -> Result<(), Failure> {
    let ports = layout.base_port..=layout.base_port + (2 * layout.nodes as u16 - 1);
    for port in ports.clone() {
        if let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
            return Err(Failure::Other(format!(
                "port {port} cannot be used ({error}); choose others with --base-port: {} are \
                 needed, from {} to {}",
                ports.len(),
                ports.start(),
                ports.end()
            )));
        }
    }
    Ok(())
}

/// The program to start members with: this one. When a program in another language called us,
/// the running program is not it, but what the person typed is.
fn own_program(called: &OsStr) -> PathBuf {
    let called = PathBuf::from(called);
    match std::env::current_exe() {
        Ok(running) if running.file_name() == called.file_name() => running,
        _ => called,
    }
}

/// A running cluster.
struct Lab {
    layout: Layout,
    members: Vec<Process>,
    events: UnboundedReceiver<Ended>,
    stopping: bool,
}

impl Lab {
    /// From the start to a reason to stop; the exit code.
    async fn live(
        &mut self,
        client: &Client,
        place: &Place,
        signals: &mut Signals,
        output: &mut Output,
    ) -> Result<i32, Failure> {
        let mut ready = false;
        let mut leader = Box::pin(leader(client.clone()));
        loop {
            tokio::select! {
                biased;
                signal = signals.recv() => {
                    tell!("{}: stopping all members", name(signal));
                    return Ok(exit::OK);
                }
                Some(ended) = self.events.recv() => {
                    self.bury(&ended);
                    let left = self.alive();
                    if left == 0 || (!ready && left <= self.layout.nodes / 2) {
                        return Err(Failure::Other(
                            "too few members are left to go on; their lines above say why"
                                .to_owned(),
                        ));
                    }
                }
                leader = &mut leader, if !ready => {
                    ready = true;
                    tell::ready(&self.layout, &self.members, place, &leader, output)?;
                }
            }
        }
    }

    fn alive(&self) -> usize {
        self.members.iter().filter(|member| member.runs).count()
    }

    fn bury(&mut self, ended: &Ended) {
        self.members[ended.index].runs = false;
        if !self.stopping {
            tell::death(
                ended,
                &self.members[ended.index],
                self.alive(),
                &self.layout,
            );
        }
    }

    fn order(&self, order: Order) {
        for member in &self.members {
            member.order(order);
        }
    }

    /// All members are gone when this returns.
    async fn stop(&mut self, signals: &mut Signals) {
        self.stopping = true;
        self.order(Order::Terminate);
        let mut kill_at = Instant::now() + STOP_WITHIN;
        while self.alive() > 0 {
            tokio::select! {
                biased;
                Some(ended) = self.events.recv() => self.bury(&ended),
                signal = signals.recv() => {
                    tell!("{} again: killing them", name(signal));
                    kill_at = Instant::now();
                }
                () = sleep_until(kill_at) => {
                    self.order(Order::Kill);
                    kill_at = Instant::now() + STOP_WITHIN;
                }
            }
        }
    }
}

/// The name of the member that leads, once one does and answers.
async fn leader(client: Client) -> String {
    loop {
        // A read that all have agreed on, so there is a leader.
        if client.range("health").count_only().await.is_ok()
            && let Ok(roster) = Roster::read(&client).await
        {
            for endpoint in client.endpoints() {
                let status = client.status(&endpoint).await;
                if let Ok(status) = status
                    && let Some(member) = roster.by_id(status.leader)
                    && !member.name.is_empty()
                {
                    return member.name.clone();
                }
            }
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(nodes: Option<usize>, base_port: Option<u16>) -> DevArgs {
        DevArgs {
            nodes,
            base_port,
            data_dir: None,
            flags: Vec::new(),
        }
    }

    #[test]
    fn a_kept_cluster_goes_on_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::open(Some(&dir.path().join("lab"))).unwrap();
        let first = layout(&args(Some(5), Some(4000)), &place).unwrap();
        place.keep(&first).unwrap();
        let again = layout(&args(None, None), &place).unwrap();
        assert_eq!(again, first);
        let other = layout(&args(Some(3), None), &place).unwrap_err();
        assert!(other.to_string().contains("--nodes 5, not 3"), "{other}");
        let other = layout(&args(None, Some(5000)), &place).unwrap_err();
        assert!(other.to_string().contains("--base-port 4000, not 5000"));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let place = Place::open(None).unwrap();
        for (nodes, base_port) in [(0, 2379), (10, 2379), (3, 0), (3, 65531)] {
            let refused = layout(&args(Some(nodes), Some(base_port)), &place);
            assert!(
                matches!(refused, Err(Failure::Usage(_))),
                "{nodes} {base_port}"
            );
        }
        assert!(layout(&args(Some(3), Some(65530)), &place).is_ok());
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let layout = Layout {
            nodes: 1,
            base_port: port,
            token: String::new(),
        };
        let error = check_ports(&layout).unwrap_err().to_string();
        assert!(error.contains(&format!("port {port} ")) && error.contains("--base-port"));
    }
}
