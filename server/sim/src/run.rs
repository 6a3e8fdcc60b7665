//! One seed: a cluster is founded, used and tormented, healed, and judged.
//!
//! Owns the order of a run. First safety under faults, then liveness without them, then everything
//! that was seen goes to the checker.

use std::any::Any;
use std::sync::{Arc, Weak};
use std::time::Duration;

use handfast_checker::{Final, Operation, Outcome as Answer, Run, Snapshot};
use handfast_core::Client;
use handfast_fault::Fault;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, LOOK};
use crate::dice::Dice;
use crate::invariants::Watchman;
use crate::keeper::Keeper;
use crate::nemesis::Nemesis;
use crate::net::Figures;
use crate::plan::{Kind, Plan};
use crate::subject::{Mutation, Recipe};
use crate::trace::Trace;
use crate::workload::{Workload, helper, pair};

/// How long a healthy cluster may take to elect its first leader.
pub(crate) const FOUND_WITHIN: Duration = Duration::from_secs(20);
/// How long writing may stay impossible after everything was healed.
const WRITE_WITHIN: Duration = Duration::from_secs(20);
/// How long members may take to agree after everything was healed.
const AGREE_WITHIN: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) seed: u64,
    pub(crate) members: Option<usize>,
    /// The bug that is switched on, and that the plan provokes.
    pub(crate) fault: Option<Fault>,
    /// It is provoked only.
    pub(crate) control: bool,
    /// What the run is about, if it is about one recipe.
    pub(crate) recipe: Option<Recipe>,
    /// What one of its programs does wrong.
    pub(crate) mutation: Option<Mutation>,
    /// Keeps the lines of the trace.
    pub(crate) trace: bool,
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    /// What must not have happened; empty for a good run.
    pub(crate) problems: Vec<String>,
    /// It did not come to its end.
    pub(crate) stuck: bool,
    pub(crate) fingerprint: (u64, u64),
    pub(crate) lines: Vec<String>,
    pub(crate) span: Duration,
    pub(crate) operations: usize,
    pub(crate) answered: usize,
    pub(crate) events: usize,
    pub(crate) tenures: usize,
    pub(crate) figures: Figures,
    pub(crate) faults: Vec<(Kind, u64)>,
    pub(crate) history: Run,
    /// The story of a recipe's run, in words.
    pub(crate) story: Option<String>,
    /// What nothing may hold when the run is over.
    pub(crate) ground: Option<Weak<dyn Any + Send + Sync>>,
}

/// Runs a seed. Must be called on a runtime with paused time that nothing else uses.
pub(crate) async fn run(order: Order) -> Outcome {
    let begun = Instant::now();
    let trace = Trace::new(order.trace);
    let dice = Dice::new(order.seed);
    let plan = Plan::of(&dice, order.members, order.fault);
    let cluster = Cluster::new(plan.members, &plan.tuning, &dice, &trace);
    cluster.net.set_weather(plan.weather.clone());
    let mut outcome = Outcome {
        seed: order.seed,
        ..Outcome::default()
    };
    let patrol = tokio::spawn(Watchman::patrol(Arc::clone(&cluster)));
    if let Err(problem) = play(&cluster, &plan, &dice, &mut outcome).await {
        cluster.problem(problem);
    }
    patrol.abort();
    outcome.span = begun.elapsed();
    outcome.figures = cluster.net.figures();
    let title = format!("seed {} {plan:?}", order.seed);
    outcome.history.title = title;
    if outcome.history.log.is_some() {
        let report = handfast_checker::check_all(&outcome.history);
        for violation in &report.violations {
            cluster.problem(format!("{violation}"));
        }
        for undecided in &report.undecided {
            cluster.problem(format!("undecided: {undecided}"));
        }
        outcome.events = report.events;
        outcome.tenures = report.tenures;
    }
    for operation in &outcome.history.operations {
        let (from, to) = (operation.invoked, operation.returned);
        trace.note(format_args!("{from} {to:?} {:?}", operation.outcome));
    }
    outcome.problems = cluster.problems();
    outcome.fingerprint = trace.fingerprint();
    outcome.lines = trace.take_lines();
    outcome.ground = Some(cluster.net.weak());
    cluster.end();
    outcome
}

/// The run itself.
///
/// # Errors
/// What kept it from its end.
async fn play(
    cluster: &Arc<Cluster>,
    plan: &Plan,
    dice: &Dice,
    outcome: &mut Outcome,
) -> Result<(), String> {
    cluster.start_all().await;
    if !cluster.settled(FOUND_WITHIN).await {
        return Err(format!("no leader within {FOUND_WITHIN:?} of the founding"));
    }
    let work = Workload::start(cluster, plan, dice)?;
    let recorder = work.recorder.clone();
    let admin = helper(cluster, &cluster.endpoints())?;
    let keeper = Keeper::new(helper(cluster, &cluster.endpoints())?, &recorder);
    let patrons = work.patrons();
    let nemesis = Nemesis::new(cluster, plan, dice, patrons, admin.clone(), &keeper);
    nemesis.rage().await;
    nemesis.heal().await;
    outcome.faults = nemesis.figures();
    let judged = afterwards(cluster, work, &keeper, &admin).await;
    outcome.history = recorder.run();
    let answered = outcome.history.operations.iter();
    outcome.operations = answered.len();
    let is_ok = |operation: &&Operation| matches!(operation.outcome, Answer::Ok { .. });
    outcome.answered = answered.filter(is_ok).count();
    let finals = judged?;
    outcome.history.log = Some(finals.1);
    outcome.history.finals = finals.0;
    Ok(())
}

/// Demands that everything works again, and reads everything back.
async fn afterwards(
    cluster: &Arc<Cluster>,
    work: Workload,
    keeper: &Keeper,
    admin: &Client,
) -> Result<(Vec<Final>, handfast_checker::EventLog), String> {
    write_again(admin).await?;
    work.finish_writing();
    // Sessions end and leases run out; what is written then belongs to the run, too.
    sleep(Duration::from_secs(12)).await;
    let index = agree(cluster).await?;
    let answer = admin.range("").prefix().count_only().await;
    let answer = answer.map_err(|error| format!("no read after the healing: {error}"))?;
    let revision = answer.header.revision;
    cluster
        .trace
        .note(format_args!("ends at entry {index}, revision {revision}"));
    work.finish(revision).await?;
    let log = keeper.log(revision).await?;
    let mut finals = Vec::new();
    for place in cluster.up() {
        let machine = cluster.machine(place);
        let client = helper(cluster, &[machine.client_url()])?;
        let answer = client
            .range("")
            .prefix()
            .revision(revision)
            .serializable()
            .await;
        let answer = answer.map_err(|error| format!("m{place} cannot be read: {error}"))?;
        finals.push(Final {
            member: format!("m{place}"),
            state: Snapshot {
                revision,
                kvs: answer.kvs.into_iter().map(pair).collect(),
            },
        });
    }
    Ok((finals, log))
}

/// Waits until a write succeeds.
///
/// # Errors
/// When none does for long.
pub(crate) async fn write_again(admin: &Client) -> Result<(), String> {
    let healed = Instant::now();
    let mut last = String::new();
    while healed.elapsed() < WRITE_WITHIN {
        match admin.put("probe/a", "x").repeatable().await {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
        sleep(LOOK).await;
    }
    Err(format!(
        "no write succeeds within {WRITE_WITHIN:?} after everything was healed: {last}"
    ))
}

/// Waits until all members have applied the same log; its last index.
async fn agree(cluster: &Arc<Cluster>) -> Result<u64, String> {
    let healed = Instant::now();
    let mut seen = Vec::new();
    while healed.elapsed() < AGREE_WITHIN {
        seen = cluster
            .machines
            .iter()
            .filter_map(|machine| machine.status())
            .collect();
        let expected = cluster.tenants().len();
        let last = seen
            .iter()
            .map(|status| status.last_log_index)
            .max()
            .unwrap_or(0);
        if seen.len() == expected && seen.iter().all(|status| status.applied_index == last) {
            return Ok(last);
        }
        sleep(LOOK).await;
    }
    Err(format!(
        "members do not agree within {AGREE_WITHIN:?} after everything was healed: {seen:?}"
    ))
}
