//! A network namespace for each member, joined by a bridge: the kernel's own TCP loses packets.
//!
//! Needs root and `ip`. A directed pair is disturbed at the sender: a neighbour entry that leads
//! nowhere loses packets without a word, a route that is unreachable refuses them, and a queue
//! delays them. Clients come from outside over the bridge and are not disturbed, except by delay.

use std::{
    net::Ipv4Addr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::links::Condition;
use crate::Result;

/// A range set aside for tests of networks, so that no machine has an address in it.
const RANGE: [u8; 2] = [198, 18];
/// An address that no network card has.
const NOBODY: &str = "02:00:00:00:00:fe";
const PREFIX: &str = "handfast-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The namespaces of one cluster. Dropping it removes them.
#[derive(Debug)]
pub(super) struct Namespaces {
    bridge: String,
    names: Vec<String>,
    subnet: u8,
    can_delay: bool,
}

/// Why this machine has no namespaces, if so.
#[must_use]
pub fn unavailable() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can make network namespaces".to_owned());
    }
    match Namespaces::new(1) {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

impl Namespaces {
    /// Namespaces for `size` members.
    ///
    /// # Errors
    /// When the machine does not let us.
    pub(super) fn new(size: usize) -> Result<Self> {
        sweep();
        let me = std::process::id();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Also what was made before a failure is removed when this is dropped.
        let mut made = Self {
            bridge: format!("hf{number}-{me}"),
            names: Vec::new(),
            subnet: free_subnet()?,
            can_delay: false,
        };
        let bridge = made.bridge.clone();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        let gate = format!("{}/24", made.address(254));
        ip(&["addr", "add", &gate, "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for member in 0..size {
            let name = format!("{PREFIX}{me}-{number}-{member}");
            ip(&["netns", "add", &name])?;
            made.names.push(name.clone());
            let outside = format!("hf{number}{}-{me}", letter(member));
            ip(&[
                "link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &name,
            ])?;
            ip(&["link", "set", &outside, "master", &bridge, "up"])?;
            let address = format!("{}/24", made.host(member));
            ip(&["-n", &name, "addr", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
        }
        made.can_delay = made.delay(0, Duration::from_millis(1)).is_ok();
        let _ = made.delay(0, Duration::ZERO);
        Ok(made)
    }

    /// The address of a member.
    pub(super) fn host(&self, member: usize) -> Ipv4Addr {
        // There are at most nine members.
        self.address(member as u8 + 1)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(RANGE[0], RANGE[1], self.subnet, last)
    }

    /// What runs a command inside.
    pub(super) fn prefix(&self, member: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.names[member]]
            .map(str::to_owned)
            .to_vec()
    }

    pub(super) fn can(&self, condition: Condition) -> bool {
        !matches!(condition, Condition::Late(_)) || self.can_delay
    }

    /// Changes the way from one member to another. A delay is of all that the member sends.
    pub(super) fn change(
        &self,
        from: usize,
        to: usize,
        before: Condition,
        after: Condition,
    ) -> Result<()> {
        let (name, there) = (&self.names[from], self.host(to).to_string());
        let neighbour = |verb| ip(&["-n", name, "neigh", verb, &there, "dev", "eth0"]);
        let route = |verb| ip(&["-n", name, "route", verb, "unreachable", &there]);
        match before {
            Condition::Open => {}
            Condition::Lost => neighbour("del")?,
            Condition::Cut => route("del")?,
            Condition::Late(_) => self.delay(from, Duration::ZERO)?,
        }
        match after {
            Condition::Open => Ok(()),
            Condition::Cut => route("add"),
            Condition::Late(time) => self.delay(from, time),
            Condition::Lost => ip(&[
                "-n",
                name,
                "neigh",
                "replace",
                &there,
                "lladdr",
                NOBODY,
                "nud",
                "permanent",
                "dev",
                "eth0",
            ]),
        }
    }

    /// Delays all that a member sends; no time at all takes the delay away.
    fn delay(&self, member: usize, time: Duration) -> Result<()> {
        let name = &self.names[member];
        let queue = ["-n", name, "qdisc"];
        if time.is_zero() {
            // It is gone already when another link of the member was healed before.
            let _ = run(
                "tc",
                &[&queue[..], &["del", "dev", "eth0", "root"]].concat(),
            );
            return Ok(());
        }
        let time = format!("{}ms", time.as_millis());
        let netem = ["replace", "dev", "eth0", "root", "netem", "delay", &time];
        run("tc", &[&queue[..], &netem].concat())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&["netns", "del", name]);
        }
        let _ = ip(&["link", "del", &self.bridge]);
    }
}

/// Removes what test processes left behind that were killed.
fn sweep() {
    let is_alive = |id: &str| Path::new("/proc").join(id).exists();
    let names = output("ip", &["netns", "list"]).unwrap_or_default();
    for line in names.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|it| it.split('-').next());
        if owner.is_some_and(|owner| !is_alive(owner)) {
            let _ = ip(&["netns", "del", name]);
        }
    }
    let bridges = output("ip", &["-o", "link", "show", "type", "bridge"]).unwrap_or_default();
    for line in bridges.lines() {
        let name = line.split(": ").nth(1).unwrap_or_default();
        let owner = name.strip_prefix("hf").and_then(|it| it.split_once('-'));
        if owner.is_some_and(|(_, owner)| !is_alive(owner)) {
            let _ = ip(&["link", "del", name]);
        }
    }
}

fn free_subnet() -> Result<u8> {
    let taken = output("ip", &["-4", "-o", "addr"])?;
    let start = std::process::id() as u8;
    let mut subnets = (0..=u8::MAX).map(|step| start.wrapping_add(step));
    let is_free = |subnet: &u8| {
        let [one, two] = RANGE;
        !taken.contains(&format!(" {one}.{two}.{subnet}."))
    };
    let found = subnets.find(is_free);
    found.ok_or_else(|| "every subnet of the test range is in use".into())
}

fn letter(member: usize) -> char {
    char::from(b'a' + member as u8 % 26)
}

fn ip(arguments: &[&str]) -> Result<()> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    output(program, arguments).map(drop)
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program} {}: {complaint}", arguments.join(" ")).into())
}
