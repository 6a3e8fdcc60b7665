//! Runs that are about one recipe: few members, programs that use it, short, and with everything
//! that may happen to programs.
//!
//! Owns the order of such a run: faults, calm, and again, then the end and the verdict. The
//! recipes are the real ones; what programs do with them is in the submodules.

mod condition;
mod config;
mod crowd;
mod item;
mod multi;
mod once;
mod process;
mod queue;
mod service;
mod stage;
mod tenure;
#[cfg(test)]
mod tests;
mod world;

use std::sync::Arc;
use std::time::Duration;

use handfast_checker::recipe::{HoldKind, Story, check};
use handfast_checker::{EventLog, Recorder};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::invariants::Watchman;
use crate::keeper::Keeper;
use crate::nemesis::Nemesis;
use crate::plan::Plan;
use crate::run::{FOUND_WITHIN, Order, Outcome, write_again};
use crate::subject::Recipe;
use crate::trace::Trace;
use crate::workload::helper;
use crowd::Crowd;
use process::Process;
use stage::Stage;
use world::World;

/// How long it takes at most, without faults, until something is noticed that is there.
const PROMPT: Duration = Duration::from_secs(4);
/// The same with a session that has to run out first: the longest TTL, and an election.
const PATIENCE: Duration = Duration::from_secs(7);
/// How long it stays calm between two times of faults.
const CALM: Duration = Duration::from_secs(9);
/// The same at the end, before and after everybody is told to stop.
const LAST_CALM: Duration = Duration::from_secs(8);

/// Runs a seed about `recipe`. Must be called on a runtime with paused time that nothing else uses.
pub(crate) async fn run(order: Order, recipe: Recipe) -> Outcome {
    let begun = Instant::now();
    let trace = Trace::new(order.trace);
    let dice = Dice::new(order.seed).branch(&recipe.name());
    let plan = Plan::of_recipe(&dice, order.members);
    let cluster = Cluster::new(plan.members, &plan.tuning, &dice, &trace);
    cluster.net.set_weather(plan.weather.clone());
    let mut outcome = Outcome {
        seed: order.seed,
        ..Outcome::default()
    };
    outcome.history.title = format!("seed {} {recipe:?} {plan:?}", order.seed);
    let patrol = tokio::spawn(Watchman::patrol(Arc::clone(&cluster)));
    match play(&cluster, &plan, &dice, (order, recipe), &mut outcome).await {
        Ok(mut story) => {
            story.title.clone_from(&outcome.history.title);
            for broken in check(&story) {
                cluster.problem(broken.to_string());
            }
            count(&story, &mut outcome);
            let (log, words) = without_log(story);
            outcome.events = log.events.len();
            trace.note(format_args!("{} changes, {words}", log.events.len()));
            if !cluster.problems().is_empty() {
                let lines = log.events.iter().map(|event| format!("\n{event}"));
                outcome.story = Some(words + &lines.collect::<String>());
            }
        }
        Err(problem) => cluster.problem(problem),
    }
    patrol.abort();
    outcome.span = begun.elapsed();
    outcome.figures = cluster.net.figures();
    outcome.problems = cluster.problems();
    outcome.fingerprint = trace.fingerprint();
    outcome.lines = trace.take_lines();
    outcome.ground = Some(cluster.net.weak());
    cluster.end();
    outcome
}

/// The story in words, and its log, which tells the date and the process's number, too.
fn without_log(mut story: Story) -> (EventLog, String) {
    let log = std::mem::take(&mut story.log);
    let words = format!("{story:#?}");
    (log, words)
}

fn count(story: &Story, outcome: &mut Outcome) {
    let told = story.holds.iter().filter(|hold| hold.told.is_some());
    let queues = story.queues.iter();
    let claims: usize = queues.map(|queue| queue.claims.len()).sum();
    let listings: usize = story.services.iter().map(|it| it.listings.len()).sum();
    let sets: usize = story.configs.iter().map(|it| it.applied.len()).sum();
    let pushes: usize = story.queues.iter().map(|it| it.pushes.len()).sum();
    outcome.tenures = told.clone().count() + claims;
    let answered = story.once.iter().filter(|call| call.answered.is_some());
    outcome.answered = outcome.tenures + answered.count() + listings + sets + story.views.len();
    outcome.operations = story.holds.len()
        + story.once.len()
        + pushes
        + claims
        + listings
        + sets
        + story.views.len();
}

/// The run itself.
///
/// # Errors
/// What kept it from its end.
async fn play(
    cluster: &Arc<Cluster>,
    plan: &Plan,
    dice: &Dice,
    (order, recipe): (Order, Recipe),
    outcome: &mut Outcome,
) -> Result<Story, String> {
    cluster.start_all().await;
    if !cluster.settled(FOUND_WITHIN).await {
        return Err(format!("no leader within {FOUND_WITHIN:?} of the founding"));
    }
    let stage = (
        Stage::simulated(cluster),
        helper(cluster, &cluster.endpoints())?,
    );
    let world = World::new(stage, dice, order.mutation);
    let machines = cluster.machines.clone();
    let clock = tokio::spawn(Arc::clone(&world).keep_time(move || {
        let highest = machines.iter().map(|machine| machine.highest_revision());
        std::future::ready(highest.max().unwrap_or(0))
    }));
    let keeper = Keeper::new(helper(cluster, &cluster.endpoints())?, &Recorder::new());
    let crowd = Crowd::new(&world, &keeper, prey(recipe));
    let tasks = seats(&crowd, &world, plan.clients, recipe);
    let admin = helper(cluster, &cluster.endpoints())?;
    let nemesis = Nemesis::new(cluster, plan, dice, &[], admin.clone(), &keeper);
    let rounds = 1 + dice.branch("rounds").below(2);
    let mut calm = 0;
    for round in 1..=rounds {
        let troubles = tokio::spawn({
            let crowd = Arc::clone(&crowd);
            async move { crowd.trouble().await }
        });
        nemesis.rage().await;
        troubles.abort();
        crowd.heal().await;
        nemesis.heal().await;
        write_again(&admin).await?;
        if !cluster.settled(FOUND_WITHIN).await {
            return Err("no leader after everything was healed".to_owned());
        }
        calm = world.now();
        sleep(if round < rounds { CALM } else { LAST_CALM }).await;
        if round < rounds {
            world.was_calm(calm);
        }
    }
    outcome.faults = nemesis.figures();
    world.stop.cancel();
    crowd.finish(tasks).await?;
    epilogue(&world, recipe).await?;
    // Sessions of those who crashed last run out.
    sleep(LAST_CALM).await;
    world.was_calm(calm);
    finish(&world, &keeper, clock).await
}

/// Reads everything back.
async fn finish(
    world: &Arc<World>,
    keeper: &Keeper,
    clock: tokio::task::JoinHandle<()>,
) -> Result<Story, String> {
    let answer = world.helper.range("").prefix().count_only().await;
    let answer = answer.map_err(|error| format!("no read after the healing: {error}"))?;
    let revision = answer.header.revision;
    let log = keeper.log(revision).await?;
    clock.abort();
    let now = world.now();
    Ok(world.write(|story| {
        let mut story = std::mem::take(story);
        story.ended = now;
        story.over = true;
        story.prompt = nanos(PROMPT);
        story.patience = nanos(PATIENCE);
        story.log = log;
        story
    }))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Keys that strangers delete.
fn prey(recipe: Recipe) -> &'static [&'static str] {
    match recipe {
        Recipe::Lock => &["lock/"],
        Recipe::Election => &["election/"],
        Recipe::Multi => &["multi/"],
        _ => &[],
    }
}

/// Fills the seats with programs that use the recipe.
fn seats(crowd: &Arc<Crowd>, world: &World, count: usize, recipe: Recipe) -> JoinSet<()> {
    match recipe {
        Recipe::Lock => crowd.seat(count, |it| tenure::work(it, HoldKind::Lock)),
        Recipe::Election => crowd.seat(count, |it| tenure::work(it, HoldKind::Election)),
        Recipe::Multi => crowd.seat(count, multi::work),
        Recipe::Once => crowd.seat(count, once::work),
        Recipe::Queue => {
            queue::begin(world);
            crowd.seat(count, queue::work)
        }
        Recipe::Service => {
            service::begin(world);
            crowd.seat(count, service::work)
        }
        Recipe::Config => {
            config::begin(world);
            crowd.seat(count, config::work)
        }
    }
}

/// What one last program does before the end.
async fn epilogue(world: &Arc<World>, recipe: Recipe) -> Result<(), String> {
    let names: &[&'static str] = match recipe {
        Recipe::Lock => &tenure::LOCKS,
        Recipe::Election => &tenure::ELECTIONS,
        Recipe::Multi => &multi::NAMES,
        _ => return Ok(()),
    };
    let process = Process::new(world, usize::MAX, 0)?;
    tenure::last(Arc::clone(&process), names).await;
    // Its lease ends even if nobody confirms it.
    let _ = process.handfast.close().await;
    world.write(|story| {
        let names = names.iter().map(|name| name.as_bytes().to_vec().into());
        story.left.extend(names);
    });
    Ok(())
}
