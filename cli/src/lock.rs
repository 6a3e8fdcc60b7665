//! `handfast lock`: hold a lock, alone or while a command runs.
//!
//! Owns its options and subcommands. Holding is in `tenure`, the lock itself in the recipes.

mod breaking;
pub(crate) mod list;

use std::ffi::OsString;

use bytes::Bytes;
use clap::{Args, Subcommand};
use handfast::{Handfast, Lock, LockGuard, MultiGuard, MultiLock, Tenure, TryLock, TryMulti};

use crate::connect::Connection;
use crate::exit::Failure;
use crate::keys::bytes;
use crate::output::{Output, printable};
use crate::supervise::signals::Signals;
use crate::tenure::{HoldArgs, Holding, or_signal};

const AFTER_HELP: &str = "\
Examples:
  handfast lock jobs/nightly -- ./nightly --full   run it on one machine at a time
  handfast lock jobs/nightly --try -- ./nightly    or not at all (exit code 75)
  handfast lock jobs/nightly                       hold it until Ctrl-C
  handfast lock a --also b --also c -- ./move      hold all three or none; no deadlock
  handfast lock x --beat-file /run/x -- ./worker   stop it when it hangs: it touches the file
  handfast lock x --if-died ./repair -- ./worker   repair first what a dead holder left
  handfast lock break jobs/nightly --why \"hangs\"   take it away from whoever holds it
  handfast lock --name break -- ./x                a lock that is called `break`

When the servers fall silent the command gets SIGTERM in time, and SIGKILL before anybody else can
hold the lock. When the lock is taken away (break, revoked lease) it gets SIGKILL at once; the next
holder, if it is handfast, waits for --delay first.

The command sees HANDFAST_LOCK, HANDFAST_TOKEN (it grows with every holder: have what you change
refuse smaller ones) and HANDFAST_PREVIOUS_DIED, HANDFAST_BEAT_FILE if there is one, and
etcdctl's ETCD_LOCK_KEY and ETCD_LOCK_REV. With --also HANDFAST_LOCK has all names, with commas.

Exit codes: the command's own; 75 not acquired, 76 lost, 126 not startable, 127 not found.";

/// Options of `lock`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
#[command(disable_help_subcommand = true)]
#[command(override_usage = "handfast lock [OPTIONS] NAME [-- CMD...]\n       \
                            handfast lock break NAME --why TEXT")]
pub(crate) struct LockArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// The lock's name, such as jobs/nightly
    #[arg(value_name = "NAME")]
    name: Option<OsString>,
    /// The lock's name, if it could be taken for a subcommand
    #[arg(long = "name", value_name = "NAME", conflicts_with = "name")]
    named: Option<OsString>,
    /// One more lock, taken together with the first: all or none. Can be repeated
    #[arg(long, value_name = "NAME")]
    also: Vec<OsString>,
    /// Do not wait: exit with 75 when somebody else has it
    #[arg(long = "try", conflicts_with = "wait")]
    try_only: bool,
    #[command(flatten)]
    hold: HoldArgs,
}

#[derive(Subcommand, Debug, Clone)]
enum Action {
    /// Take a lock away from whoever holds it
    Break(breaking::BreakArgs),
}

pub(crate) async fn run(
    args: LockArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    if let Some(Action::Break(args)) = args.action {
        return breaking::run(args, connection, output).await;
    }
    let name = args.name.or(args.named).map(bytes);
    let name = name.ok_or_else(|| {
        let usage = "the lock's NAME is missing: handfast lock NAME [-- CMD...]";
        Failure::Usage(usage.to_owned())
    })?;
    let mut signals = Signals::new()
        .map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))?;
    let also = args.also.into_iter().map(bytes);
    let handfast = args.hold.handfast(connection)?;
    let wanted = Wanted::new(&handfast, name, also.collect(), &args.hold);
    let (result, kept) = hold(&wanted, args.try_only, &args.hold, &mut signals, output).await;
    // Also when it was not acquired: the session would linger. Without an answer it just ends.
    let _ = handfast.close().await;
    drop(kept);
    result
}

/// What is to be acquired.
enum Wanted {
    One(Lock),
    All(MultiLock),
}

/// What was acquired.
enum Guard {
    One(LockGuard),
    All(MultiGuard),
}

impl Wanted {
    fn new(handfast: &Handfast, name: Bytes, also: Vec<Bytes>, hold: &HoldArgs) -> Wanted {
        let tell = hold.teller("lock");
        if also.is_empty() {
            let lock = handfast.lock(name).on_wait(tell);
            return Wanted::One(match hold.wait {
                Some(wait) => lock.timeout(wait),
                None => lock,
            });
        }
        let names = std::iter::once(name).chain(also);
        let locks = handfast.multi_lock(names).on_wait(tell);
        Wanted::All(match hold.wait {
            Some(wait) => locks.timeout(wait),
            None => locks,
        })
    }

    async fn acquire(&self) -> Result<Guard, handfast::Error> {
        Ok(match self {
            Wanted::One(lock) => Guard::One(lock.acquire().await?),
            Wanted::All(locks) => Guard::All(locks.acquire().await?),
        })
    }

    /// The guard, or why it is not to be had.
    async fn attempt(&self) -> Result<Result<Guard, Failure>, handfast::Error> {
        let held = match self {
            Wanted::One(lock) => match lock.try_acquire().await? {
                TryLock::Acquired(guard) => return Ok(Ok(Guard::One(guard))),
                TryLock::Held(holder) => {
                    // Ask once more, to tell who it is and not only which lease.
                    let mut members = lock.look().await?.members.into_iter();
                    let named = members.find(|member| member.key == holder.key);
                    format!("the lock is held by {}", named.unwrap_or(*holder))
                }
            },
            Wanted::All(locks) => match locks.try_acquire().await? {
                TryMulti::Acquired(guard) => return Ok(Ok(Guard::All(guard))),
                TryMulti::Held { name, holder } => {
                    format!("lock {} is held by {holder}", printable(&name))
                }
            },
        };
        Ok(Err(Failure::NotAcquired(held)))
    }
}

impl Guard {
    fn tenure(&self) -> Tenure {
        match self {
            Guard::One(guard) => guard.tenure(),
            Guard::All(guard) => guard.tenure(),
        }
    }

    async fn release(self) -> Result<(), handfast::Error> {
        match self {
            Guard::One(guard) => guard.release().await,
            Guard::All(guard) => guard.release().await,
        }
    }
}

/// The exit code, and what must go with the session instead of being given back.
async fn hold(
    wanted: &Wanted,
    try_only: bool,
    hold: &HoldArgs,
    signals: &mut Signals,
    output: &mut Output,
) -> (Result<i32, Failure>, Option<Guard>) {
    let guard = match take(wanted, try_only, signals).await {
        Ok(Ok(guard)) => guard,
        Ok(Err(code)) => return (Ok(code), None),
        Err(failure) => return (Err(failure), None),
    };
    match hold.hold(&guard.tenure(), signals, output).await {
        Ok(Holding {
            code,
            unrepaired: true,
        }) => (Ok(code), Some(guard)),
        ended => {
            // What was lost cannot be released, and has been told about.
            let _ = guard.release().await;
            (ended.map(|holding| holding.code), None)
        }
    }
}

async fn take(
    wanted: &Wanted,
    try_only: bool,
    signals: &mut Signals,
) -> Result<Result<Guard, i32>, Failure> {
    match try_only {
        false => or_signal(wanted.acquire(), signals).await,
        true => match or_signal(wanted.attempt(), signals).await? {
            Ok(tried) => Ok(Ok(tried?)),
            Err(code) => Ok(Err(code)),
        },
    }
}
