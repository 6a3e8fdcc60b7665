//! The handfast command as a library function: a server and a client in one program.
//!
//! Owns the command line: its words, its output and its exit codes. It must not know how a server
//! stores data (`handfast-server`) or how a lock is taken (`handfast`).

#![forbid(unsafe_code)]
// Their macros panic when nobody reads, so that what is held would not be given back.
#![deny(clippy::print_stderr, clippy::print_stdout)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod alarm;
mod bench;
mod cluster;
mod config;
mod connect;
mod elect;
mod exit;
mod hashkv;
mod input;
mod keys;
mod kv;
mod lease;
mod lock;
mod member;
mod move_leader;
mod once;
mod output;
mod overview;
mod queue;
mod roster;
mod serve;
mod service;
mod sessions;
mod status;
mod supervise;
mod tenure;
mod top;
mod txn;
mod watch;
mod why;

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use handfast_server::config::Preset;

use connect::Connection;
use exit::Failure;
use output::{Output, tell};

const ABOUT: &str = "Locks, elections, queues, configuration and keys that several machines share";

const AFTER_HELP: &str = "\
Start with:
  handfast serve                           a server on this machine
  handfast cluster dev                     or a cluster of three
  handfast put greeting hello              in another shell
  handfast lock jobs/nightly -- ./nightly  run something on one machine at a time

Works with etcd servers too.";

#[derive(Parser)]
#[command(name = "handfast", version, about = ABOUT, after_help = AFTER_HELP)]
#[command(after_long_help = long_help(), subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

fn long_help() -> String {
    format!("{AFTER_HELP}\n\n{}", exit::HELP)
}

#[derive(Subcommand)]
enum Command {
    /// Read keys
    Get(kv::get::GetArgs),
    /// Write a key
    Put(kv::put::PutArgs),
    /// Delete keys
    Del(kv::del::DelArgs),
    /// Follow changes of keys
    Watch(watch::WatchArgs),
    /// Compare and change several keys at once
    Txn(txn::TxnArgs),
    /// Discard the history before a revision
    Compact(kv::compact::CompactArgs),
    /// Grant, renew and revoke leases
    Lease(lease::LeaseArgs),
    /// Hold a lock, alone or while a command runs
    Lock(lock::LockArgs),
    /// Show who holds and who waits for locks
    Locks(lock::list::LocksArgs),
    /// Stand for election, alone or running a command while leading
    Elect(elect::ElectArgs),
    /// Show who leads
    Leader(elect::leader::LeaderArgs),
    /// Push items, and work on them
    Queue(queue::QueueArgs),
    /// Register for a service, and find whom to call
    Service(service::ServiceArgs),
    /// Show who is connected and what hangs on it, or end a session
    Sessions(sessions::SessionsArgs),
    /// Show why a lock, an election or a queue makes one wait
    Why(why::WhyArgs),
    /// Show locks, elections, queues, services and sessions as they change
    Top(top::TopArgs),
    /// Publish and follow configuration
    Config(config::ConfigArgs),
    /// Run a command once, anywhere, and print its output ever after
    Once(once::OnceArgs),
    /// Show how each server is doing
    Status(status::StatusArgs),
    /// Show the members of the cluster
    Members,
    /// Add, remove and replace members of the cluster
    Member(member::MemberArgs),
    /// Try, join or recover a cluster
    Cluster(cluster::ClusterArgs),
    /// Let a chosen member lead
    MoveLeader(move_leader::MoveLeaderArgs),
    /// Show and take back alarms
    Alarm(alarm::AlarmArgs),
    /// Compare the data of all members
    #[command(name = "hashkv")]
    HashKv(hashkv::HashKvArgs),
    /// Measure a server, alone or against another
    Bench(bench::BenchArgs),
}

/// Runs the command line `args` (with the program's name first) and returns the exit code.
///
/// Prints to standard output and error. Under the name `etcd` it is `handfast serve`. It returns
/// in every case, so that a program in another language can call it in its own process.
pub fn cli_main(args: Vec<OsString>) -> i32 {
    supervise::child::share_stdio();
    let (args, preset) = match is_etcd(&args) {
        true => (as_serve(args), Preset::Etcd),
        false => (args, Preset::Handfast),
    };
    let program = args.first().cloned().unwrap_or_default();
    let matches = match Cli::command()
        .subcommand(serve::command())
        .try_get_matches_from(args)
    {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    if let Some(("serve", flags)) = matches.subcommand() {
        return serve::run(flags, preset);
    }
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => finish(run(cli, &program)),
        Err(error) => usage(&error),
    }
}

fn is_etcd(args: &[OsString]) -> bool {
    args.first()
        .and_then(|name| Path::new(name).file_name())
        .is_some_and(|name| name == "etcd")
}

fn as_serve(args: Vec<OsString>) -> Vec<OsString> {
    let mut args = serve::accept_single_dashes(args);
    args.insert(1, OsString::from("serve"));
    args
}

/// Help and version are "errors" for clap too; it knows their exit codes.
fn usage(error: &clap::Error) -> i32 {
    // A closed output leaves nobody to tell.
    let _ = error.print();
    if let Some(tip) = tip(error) {
        let _ = writeln!(std::io::stderr(), "\n  tip: {tip}");
    }
    error.exit_code()
}

/// What a person probably meant, where clap cannot know it.
fn tip(error: &clap::Error) -> Option<&'static str> {
    let text = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let argument = text(ContextKind::InvalidArg);
    match error.kind() {
        // As etcdctl has it.
        ErrorKind::UnknownArgument if !argument.starts_with('-') => {
            let runs = text(ContextKind::Usage).contains("-- ");
            runs.then_some("a command to run comes last, after `--`")
        }
        ErrorKind::MissingRequiredArgument if argument.contains("<FILE>") => {
            match std::io::stdin().is_terminal() {
                true => Some("- as FILE is standard input"),
                false => Some("write - as FILE for what comes on standard input"),
            }
        }
        _ => None,
    }
}

fn finish(result: Result<i32, Failure>) -> i32 {
    match result {
        Ok(code) => code,
        Err(failure) => {
            if !matches!(failure, Failure::OutputClosed) {
                tell!("{failure}");
            }
            failure.code()
        }
    }
}

fn run(cli: Cli, program: &OsStr) -> Result<i32, Failure> {
    let Cli {
        connection,
        command,
    } = cli;
    let command = match command {
        // It chooses its own threads.
        Command::Bench(args) => return bench::run(args, &connection),
        command => command,
    };
    in_runtime(async move {
        let mut output = Output::new(connection.json);
        let named = connection.is_named();
        let code = client_command(command, program, &connection, &mut output).await;
        let code = code.map_err(|failure| failure.with_hint(named))?;
        output.flush()?;
        Ok(code)
    })
}

async fn client_command(
    command: Command,
    program: &OsStr,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    match command {
        Command::Get(args) => kv::get::run(args, connection, output).await,
        Command::Put(args) => kv::put::run(args, connection, output).await,
        Command::Del(args) => kv::del::run(args, connection, output).await,
        Command::Watch(args) => watch::run(args, connection, output).await,
        Command::Txn(args) => txn::run(args, connection, output).await,
        Command::Compact(args) => kv::compact::run(args, connection, output).await,
        Command::Lease(args) => lease::run(args, connection, output).await,
        Command::Lock(args) => lock::run(args, connection, output).await,
        Command::Locks(args) => lock::list::run(args, connection, output).await,
        Command::Elect(args) => elect::run(args, connection, output).await,
        Command::Leader(args) => elect::leader::run(args, connection, output).await,
        Command::Queue(args) => queue::run(args, connection, output).await,
        Command::Service(args) => service::run(args, connection, output).await,
        Command::Sessions(args) => sessions::run(args, connection, output).await,
        Command::Why(args) => why::run(args, connection, output).await,
        Command::Top(args) => top::run(args, connection, output).await,
        Command::Config(args) => config::run(args, connection, output).await,
        Command::Once(args) => once::run(args, connection, output).await,
        Command::Status(args) => status::run(args, connection, output).await,
        Command::Members => member::list::run(connection, output).await,
        Command::Member(args) => member::run(args, connection, output).await,
        Command::Cluster(args) => cluster::run(args, program, connection, output).await,
        Command::MoveLeader(args) => move_leader::run(args, connection, output).await,
        Command::Alarm(args) => alarm::run(args, connection, output).await,
        Command::HashKv(args) => hashkv::run(args, connection, output).await,
        Command::Bench(args) => bench::run(args, connection),
    }
}

/// One thread is enough for a client that does one thing.
fn in_runtime(work: impl Future<Output = Result<i32, Failure>>) -> Result<i32, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("the system refuses to watch files: {error}")))?;
    let result = runtime.block_on(work);
    // Reading standard input may still block a thread; the answer must not wait for it.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        Cli::command().subcommand(serve::command()).debug_assert();
    }

    #[test]
    fn the_name_etcd_means_serve() {
        let args = ["/usr/bin/etcd", "-name", "n1"]
            .map(OsString::from)
            .to_vec();
        assert!(is_etcd(&args));
        assert_eq!(as_serve(args), ["/usr/bin/etcd", "serve", "--name", "n1"]);
    }
}
