//! `handfast lock`: hold a lock, alone or while a command runs.
//!
//! Owns its options and subcommands. Holding is in `tenure`, the lock itself in the recipes.

mod breaking;
pub(crate) mod list;

use std::ffi::OsString;

use clap::{Args, Subcommand};
use handfast::{Lock, LockGuard, TryLock};

use crate::connect::Connection;
use crate::exit::Failure;
use crate::keys::bytes;
use crate::output::{Output, printable};
use crate::supervise::signals::Signals;
use crate::tenure::{HoldArgs, failure, or_signal};

const AFTER_HELP: &str = "\
Examples:
  handfast lock jobs/nightly -- ./nightly --full   run it on one machine at a time
  handfast lock jobs/nightly --try -- ./nightly    or not at all (exit code 75)
  handfast lock jobs/nightly                       hold it until Ctrl-C
  handfast lock break jobs/nightly --why \"hangs\"   take it away from whoever holds it
  handfast lock --name break -- ./x                a lock that is called `break`

When the servers fall silent the command gets SIGTERM in time, and SIGKILL before anybody else can
hold the lock. When the lock is taken away (break, revoked lease) it gets SIGKILL at once; the next
holder, if it is handfast, waits for --delay first.

The command sees HANDFAST_LOCK, HANDFAST_TOKEN (it grows with every holder: have what you change
refuse smaller ones) and HANDFAST_PREVIOUS_DIED, and etcdctl's ETCD_LOCK_KEY and ETCD_LOCK_REV.

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
    let name = name.ok_or_else(|| Failure::Usage("the lock's NAME is missing".to_owned()))?;
    let mut signals = Signals::new()
        .map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))?;
    let handfast = args.hold.handfast(connection)?;
    let lock = handfast.lock(&name);
    let lock = lock.on_wait(args.hold.teller(&format!("lock {}", printable(&name))));
    let lock = match args.hold.wait {
        Some(wait) => lock.timeout(wait),
        None => lock,
    };
    let result = take_and_hold(&lock, args.try_only, &args.hold, &mut signals, output).await;
    // Also when it was not acquired: the session would linger. Without an answer it just ends.
    let _ = handfast.close().await;
    result
}

async fn take_and_hold(
    lock: &Lock,
    try_only: bool,
    hold: &HoldArgs,
    signals: &mut Signals,
    output: &mut Output,
) -> Result<i32, Failure> {
    let taken = match try_only {
        false => or_signal(lock.acquire(), signals).await?,
        true => match or_signal(lock.try_acquire(), signals).await? {
            Ok(tried) => Ok(acquired(lock, tried).await?),
            Err(code) => Err(code),
        },
    };
    let guard = match taken {
        Ok(guard) => guard,
        Err(code) => return Ok(code),
    };
    let result = hold.hold(&guard, signals, output).await;
    // What was lost cannot be released, and has been told about.
    let _ = guard.release().await;
    result
}

async fn acquired(lock: &Lock, tried: TryLock) -> Result<LockGuard, Failure> {
    let holder = match tried {
        TryLock::Acquired(guard) => return Ok(guard),
        TryLock::Held(holder) => holder,
    };
    // Ask once more, to tell who it is and not only which lease.
    let queue = lock.look().await.map_err(failure)?;
    let named = queue
        .members
        .into_iter()
        .find(|member| member.key == holder.key);
    Err(Failure::NotAcquired(format!(
        "the lock is held by {}",
        named.unwrap_or(*holder)
    )))
}
