//! `handfast service register`: be listed while a command runs.
//!
//! Owns its options, the address others can call, and the order of the end: no new calls from the
//! moment the command is told to stop, and off the list when it has ended.

use std::ffi::OsString;
use std::future::Future;
use std::net::{ToSocketAddrs, UdpSocket};
use std::time::Duration;

use clap::Args;
use handfast::{Handfast, LostReason, Registration, Status};
use rustix::process::Signal;
use serde_json::json;

use super::failure;
use crate::connect::{Connection, duration, ttl};
use crate::exit::{self, Failure};
use crate::output::Output;
use crate::supervise::signals::Signals;
use crate::supervise::{self, Ended, Hold, Job};
use crate::tenure::or_signal;

const AFTER_HELP: &str = "\
Examples:
  handfast service register api --addr :8080 -- ./api
  handfast service register api --addr 10.0.0.5:8080 --id n1 --weight 3 --meta team=blue -- ./api

The command sees HANDFAST_SERVICE, HANDFAST_INSTANCE and HANDFAST_ADDR. When this is told to stop
(Ctrl-C, SIGTERM) the instance drains: callers choose others, while the command ends what it has.
A command that ends takes its instance off the list at once; one that is killed with this machine
goes after --ttl, and callers are told that it died.

Exit codes: the command's own; 75 the id is taken, 126 not startable, 127 not found.";

/// Options of `service register`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RegisterArgs {
    /// The service's name, such as api
    name: String,
    /// Where it is reached: host:port, or :port on this machine's address
    #[arg(long, value_name = "ADDR")]
    addr: String,
    /// The instance's name within the service [default: its address]
    #[arg(long)]
    id: Option<String>,
    /// Its share of calls beside the others'
    #[arg(long, default_value_t = 1)]
    weight: u32,
    /// Where it runs
    #[arg(long, default_value = "", hide_default_value = true)]
    zone: String,
    /// What it runs
    #[arg(long = "app-version", value_name = "VERSION")]
    #[arg(default_value = "", hide_default_value = true)]
    version: String,
    /// Something else that others shall know of it; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    meta: Vec<(String, String)>,
    /// Wait this long for another instance of this id to go, such as one that just crashed
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0s")]
    wait: Duration,
    /// How long it stays listed when this machine falls silent
    #[arg(long, value_name = "TIME", value_parser = ttl, default_value = "10s")]
    ttl: Duration,
    /// Run this while listed; without it stay listed until Ctrl-C
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A registration comes back when it is lost, so nothing has to stop for it.
struct Listed;

impl Hold for Listed {
    fn remaining(&self) -> Duration {
        Duration::MAX
    }

    fn lost(&self) -> impl Future<Output = LostReason> {
        std::future::pending()
    }
}

pub(super) async fn run(
    args: RegisterArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let addr = reachable(&args.addr, &connection.endpoints())?;
    let mut signals = listen()?;
    let handfast = connection.handfast(|builder| builder.ttl(args.ttl))?;
    let result = live(&args, addr, &handfast, &mut signals, output).await;
    // Also when it was not registered: the session would linger.
    let _ = handfast.close().await;
    result
}

fn listen() -> Result<Signals, Failure> {
    Signals::new().map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))
}

async fn live(
    args: &RegisterArgs,
    addr: String,
    handfast: &Handfast,
    signals: &mut Signals,
    output: &mut Output,
) -> Result<i32, Failure> {
    let id = args.id.clone().unwrap_or_else(|| addr.clone());
    let mut register = handfast
        .service(&args.name)
        .instance(&id, &addr)
        .weight(args.weight)
        .zone(&args.zone)
        .version(&args.version)
        .wait(args.wait);
    for (name, value) in &args.meta {
        register = register.metadata(name, value);
    }
    let registered = async { Ok(register.register().await.map_err(failure)) };
    let registration = match or_signal(registered, signals).await? {
        Ok(registered) => registered?,
        Err(code) => return Ok(code),
    };
    if args.command.is_empty() {
        tell(&registration, output)?;
    }
    let ended = {
        let drain = drain(&registration, listen()?);
        let work = work(args, &registration, signals);
        tokio::pin!(work, drain);
        tokio::select! {
            biased;
            ended = &mut work => ended,
            () = &mut drain => work.await,
        }
    };
    // Off the list before anything else; close() would do it, too, but for less long.
    registration.unregister().await;
    ended
}

async fn work(
    args: &RegisterArgs,
    registration: &Registration,
    signals: &mut Signals,
) -> Result<i32, Failure> {
    let ended = if args.command.is_empty() {
        supervise::stay(&Listed, None, signals).await
    } else {
        let job = Job {
            command: &args.command,
            env: vec![
                ("HANDFAST_SERVICE", registration.service().into()),
                ("HANDFAST_INSTANCE", registration.id().into()),
                ("HANDFAST_ADDR", registration.entry().addr.into()),
            ],
            grace: Duration::ZERO,
            max_hold: None,
            what: format!("service {}", registration.service()),
        };
        supervise::run(&job, &Listed, signals).await?
    };
    Ok(match ended {
        Ended::Exited(code) => code,
        Ended::Stopped(_) => exit::FAILED,
    })
}

/// Keeps new calls away from the moment that the command is told to stop.
async fn drain(registration: &Registration, mut signals: Signals) {
    while !matches!(
        signals.recv().await,
        Signal::INT | Signal::TERM | Signal::QUIT | Signal::HUP
    ) {}
    // It is taken off the list in any case.
    let _ = registration.set_status(Status::Draining).await;
}

fn tell(registration: &Registration, output: &mut Output) -> Result<(), Failure> {
    let (service, id) = (registration.service(), registration.id());
    let addr = registration.entry().addr;
    match output.is_json() {
        true => output.json(&json!({ "service": service, "id": id, "addr": addr }))?,
        false => output.line(format!("{id} is listed for {service} at {addr}"))?,
    }
    output.flush()
}

/// The address others can call: a bare `:port` gets this machine's address on the way to the
/// servers.
fn reachable(addr: &str, endpoints: &[String]) -> Result<String, Failure> {
    let Some(port) = addr.strip_prefix(':') else {
        return Ok(addr.to_owned());
    };
    let own = endpoints.iter().find_map(|endpoint| own_address(endpoint));
    let own = own.ok_or_else(|| {
        Failure::Usage(format!(
            "which of this machine's addresses can be called? write --addr HOST:{port}"
        ))
    })?;
    Ok(match own.is_ipv6() {
        true => format!("[{own}]:{port}"),
        false => format!("{own}:{port}"),
    })
}

/// The address that packets to the endpoint would carry; none is sent.
fn own_address(endpoint: &str) -> Option<std::net::IpAddr> {
    let address = endpoint.rsplit("://").next()?;
    let target = address.to_socket_addrs().ok()?.next()?;
    let any = if target.is_ipv6() {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(target).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_port_gets_the_address_on_the_way_to_the_server() {
        let endpoints = ["http://127.0.0.1:2379".to_owned()];
        assert_eq!(reachable(":80", &endpoints).unwrap(), "127.0.0.1:80");
        assert_eq!(reachable("h:80", &[]).unwrap(), "h:80");
        assert_eq!(reachable(":80", &[]).unwrap_err().code(), exit::USAGE);
    }

    #[test]
    fn metadata_is_a_name_and_a_value() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err());
    }
}
