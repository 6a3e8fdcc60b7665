//! `handfast bench`: how fast a server is and what it costs, alone or against another.
//!
//! Owns the options and the order of rounds. It must not use the client core, but where recipes
//! are measured: the plain generated clients cost little, so that the server is measured and not
//! the bench.

mod figures;
mod gauge;
mod instance;
mod million;
mod process;
mod registry;
mod report;
mod target;
mod workload;

use std::rc::Rc;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::LocalSet;

use crate::connect::{Connection, duration};
use crate::exit::{self, Failure};
use crate::output::Output;
use gauge::{Budget, Gauge, Pace, Round};
use report::Summary;
use target::Target;
use workload::Arena;

const AFTER_HELP: &str = "\
The first figure is the CPU time of the server per operation, user and system together: on a busy
machine it says more than operations per second. It needs the server on this machine; its process is
found by the port, or given with --pid. With several endpoints the connections are spread over them,
and the CPU times of their processes are added up: name all members of a cluster.

  handfast bench put get --inflight 256
  handfast bench --vs 127.0.0.1:2479 --rounds 11    short rounds, the two servers in turn
  handfast bench put --endpoints a:2379,b:2379,c:2379    a cluster as a whole
  handfast bench million --etcd /usr/bin/etcd       both started here, with a million keys
  handfast bench registry --etcd /usr/bin/etcd      both started here, and away for a while

Keys are written under handfast-bench/ and deleted at the end.";

/// Options of `bench`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// What to measure [default: all]
    #[arg(value_enum)]
    workloads: Vec<Kind>,
    /// Operations under way at once
    #[arg(long, default_value_t = 64, value_parser = at_least_one)]
    inflight: usize,
    /// Connections they are spread over
    #[arg(long, default_value_t = 8, value_parser = at_least_one)]
    connections: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 256)]
    value_size: usize,
    /// Different keys of put and get
    #[arg(long, default_value_t = 10_000, value_parser = at_least_one)]
    keys: usize,
    /// Watchers on one key
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one)]
    watchers: usize,
    /// Leases that are kept alive, or revoked
    #[arg(long, default_value_t = 10_000, value_parser = at_least_one)]
    leases: usize,
    /// Leases that lease-paced keeps alive
    #[arg(long, default_value_t = 100_000, value_parser = at_least_one)]
    paced_leases: usize,
    /// Leases that run out together
    #[arg(long, default_value_t = 2_000, value_parser = at_least_one)]
    storm_leases: usize,
    /// Clients that hand one lock on to each other
    #[arg(long, default_value_t = 10, value_parser = at_least_one)]
    waiters: usize,
    /// Candidates of each election, at least two
    #[arg(long, default_value_t = 20, value_parser = at_least_one)]
    candidates: usize,
    /// Items that a queue keeps
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one)]
    depth: usize,
    /// Workers that put items into a queue and take them
    #[arg(long, default_value_t = 8, value_parser = at_least_one)]
    queue_workers: usize,
    /// These workers are one program, with one connection and one copy of the queue
    #[arg(long)]
    queue_together: bool,

    /// Workers of a queue push while they take, and not before
    #[arg(long)]
    queue_at_once: bool,
    /// How long a round lasts [default: 3s, with --vs 1s]
    #[arg(long, value_parser = duration, conflicts_with = "ops")]
    duration: Option<Duration>,
    /// How many operations a round has, instead of a duration
    #[arg(long)]
    ops: Option<u64>,
    /// How long to run before each round without counting
    #[arg(long, value_parser = duration, default_value = "300ms")]
    warmup: Duration,
    /// Rounds for each workload; medians are shown [default: 1, with --vs 7]
    #[arg(long, value_parser = at_least_one)]
    rounds: Option<usize>,
    /// Measure this server, or these members of a cluster, too, in turn with the first
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    vs: Vec<String>,
    /// Processes of the server, when they are not found by their ports
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Processes of the other server
    #[arg(long, value_delimiter = ',', requires = "vs")]
    vs_pid: Vec<u32>,
}

/// What needs servers of its own.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Mode {
    /// Start servers here, load a million keys, restart and compact them
    Million(million::MillionArgs),
    /// Start servers here, take them away from a thousand registered instances, and see them back
    Registry(registry::RegistryArgs),
}

/// What can be measured.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Writes of random keys
    Put,
    /// Linearizable reads of random keys
    Get,
    /// Reads of 1,000 keys at once
    Range,
    /// Transactions: write a key if it is as last seen
    Txn,
    /// Events to all watchers of one key; an operation is a delivered event
    Watch,
    /// First event of a watch that was just made at the present revision
    WatchFresh,
    /// Grants of leases
    LeaseGrant,
    /// Renewals of leases
    LeaseKeepalive,
    /// Ends of leases that hold a key each
    LeaseRevoke,
    /// Renewals of many leases at the pace of their holders: every 20 s, with a TTL of 60 s
    LeasePaced,
    /// Leases with a key each that run out together; how late each key goes
    LeaseStorm,
    /// Taking and releasing a lock nobody else wants
    Lock,
    /// One lock handed on from waiter to waiter
    Handoff,
    /// The same with the lock of this product, client and all
    HandoffRecipe,
    /// The same as the recipe of etcd's Go client does it
    HandoffGo,
    /// Leaders whose leases run out; how long after that the next leader knows
    Election,
    /// The same with the election of this product, client and all
    ElectionRecipe,
    /// An item put into a queue and one taken and acknowledged, with the queue of this product
    Queue,
    /// An item put into a queue and one taken, as the recipe of etcd's Go client does it
    QueueGo,
}

impl Kind {
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    fn pace(self, args: &BenchArgs) -> Pace {
        // Short turns: what disturbs the machine then meets both servers.
        let seconds = if args.vs.is_empty() { 3 } else { 1 };
        let budget = match args.ops {
            Some(ops) => Budget::Ops(ops),
            None => Budget::Time(args.duration.unwrap_or(Duration::from_secs(seconds))),
        };
        let warmup = match self {
            Kind::LeaseStorm | Kind::Election | Kind::ElectionRecipe => return Pace::Once,
            // What a warm-up revokes is missing in the round.
            Kind::LeaseRevoke => Duration::ZERO,
            _ => args.warmup,
        };
        Pace::Steady { warmup, budget }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("`{text}` is not a number of at least 1")),
        Ok(number) => Ok(number),
    }
}

/// Measures and prints. Makes its own runtime, because it is called outside of one.
pub(crate) fn run(args: BenchArgs, connection: &Connection) -> Result<i32, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Other(format!("the system refuses to watch files: {error}")))?;
    let mut output = Output::new(connection.json);
    let set = LocalSet::new();
    match &args.mode {
        Some(Mode::Million(args)) => set.block_on(&runtime, million::run(args, &mut output))?,
        Some(Mode::Registry(args)) => set.block_on(&runtime, registry::run(args, &mut output))?,
        None => set.block_on(&runtime, measure_all(&args, connection, &mut output))?,
    }
    output.flush()?;
    Ok(exit::OK)
}

async fn measure_all(
    args: &BenchArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let targets = targets(args, connection).await?;
    if !output.is_json() {
        report::heading(args, &targets, output)?;
    }
    let all = Kind::value_variants();
    let kinds = if args.workloads.is_empty() {
        all
    } else {
        &args.workloads
    };
    for kind in kinds {
        let summaries = measure(*kind, args, &targets, output.is_json()).await;
        for target in &targets {
            target.clean_up().await?;
        }
        report::print(*kind, args, &summaries?, output)?;
        output.flush()?;
    }
    Ok(())
}

async fn targets(args: &BenchArgs, connection: &Connection) -> Result<Vec<Target>, Failure> {
    let endpoints = connection.endpoints();
    let mut targets = vec![Target::connect(&endpoints, &args.pid, args.connections).await?];
    if !args.vs.is_empty() {
        targets.push(Target::connect(&args.vs, &args.vs_pid, args.connections).await?);
    }
    Ok(targets)
}

/// All rounds of one workload: the servers take turns, and the first turn changes too.
async fn measure(
    kind: Kind,
    args: &BenchArgs,
    targets: &[Target],
    quiet: bool,
) -> Result<Vec<Summary>, Failure> {
    let rounds = args.rounds.unwrap_or(if targets.len() > 1 { 7 } else { 1 });
    let bar = progress(kind, rounds * targets.len(), quiet);
    let mut summaries: Vec<Summary> = targets.iter().map(Summary::new).collect();
    for number in 0..rounds {
        for turn in 0..targets.len() {
            let which = (turn + number) % targets.len();
            let round = one_round(kind, args, &targets[which], &bar).await?;
            summaries[which].rounds.push(round);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(summaries)
}

fn progress(kind: Kind, rounds: usize, quiet: bool) -> ProgressBar {
    let target = match quiet {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(Some(rounds as u64), target);
    // A template that does not parse only means the plain bar.
    if let Ok(style) = ProgressStyle::with_template("{prefix:16} {bar:24} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(kind.name());
    bar.tick();
    bar
}

async fn one_round(
    kind: Kind,
    args: &BenchArgs,
    target: &Target,
    bar: &ProgressBar,
) -> Result<Round, Failure> {
    bar.set_message(format!("{} preparing", target.label()));
    let gauge = Gauge::new(kind.pace(args));
    let arena = Rc::new(Arena::new(args, target, Rc::clone(&gauge)));
    let workers = workload::start(kind, &arena).await?;
    bar.set_message(target.label());
    let round = gauge.run(target.pids()).await;
    for worker in workers {
        worker
            .await
            .map_err(|error| Failure::Other(format!("a worker died: {error}")))??;
    }
    workload::clean_up(&arena).await?;
    round
}
