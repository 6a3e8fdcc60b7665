//! One seed in a runtime and a thread of its own, and many of them, several at a time.
//!
//! Owns the runtimes: one thread, paused time, seeded scheduling.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::panics;
use crate::patience::{Footprint, await_end};
use crate::recipe;
use crate::run::{Order, Outcome, run};

/// Sums over all seeds of a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    pub(crate) seeds: u64,
    pub(crate) failed: Vec<u64>,
    pub(crate) span: Duration,
    pub(crate) operations: usize,
    pub(crate) answered: usize,
    pub(crate) events: usize,
    pub(crate) tenures: usize,
    pub(crate) messages: u64,
    pub(crate) faults: std::collections::BTreeMap<crate::plan::Kind, u64>,
}

impl Totals {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.span += outcome.span;
        self.operations += outcome.operations;
        self.answered += outcome.answered;
        self.events += outcome.events;
        self.tenures += outcome.tenures;
        self.messages += outcome.figures.messages;
        for &(kind, count) in &outcome.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        if !outcome.problems.is_empty() {
            self.failed.push(outcome.seed);
        }
    }
}

/// Runs one seed from beginning to end.
pub(crate) fn play(order: Order) -> Outcome {
    panics::collect();
    handfast_consensus::seed_randomness(order.seed);
    handfast_fault::set(order.fault.filter(|_| !order.control));
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(
        &order.seed.to_le_bytes(),
    ));
    let mut outcome = match builder.build() {
        Ok(runtime) => {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                runtime.block_on(async {
                    match order.recipe {
                        None => run(order).await,
                        Some(recipe) => recipe::run(order, recipe).await,
                    }
                })
            }));
            ended.unwrap_or_default()
        }
        Err(error) => Outcome {
            problems: vec![format!("no runtime: {error}")],
            ..Outcome::default()
        },
    };
    outcome.seed = order.seed;
    outcome.problems.extend(panics::take());
    outcome
}

/// Runs one seed on a thread of its own, for thread-local state must not pass from one seed to the
/// next; gives up on a run that does not come to its end.
pub(crate) fn play_apart(order: Order, twice: bool) -> Outcome {
    let outcome = try_apart(order, twice);
    if !outcome.stuck {
        return outcome;
    }
    // What spins does so again; whatever it was is worth knowing.
    let problems = outcome.problems.join("; ");
    println!("seed {} is tried once more: {problems}", order.seed);
    try_apart(order, twice)
}

fn try_apart(order: Order, twice: bool) -> Outcome {
    let (tell, told) = std::sync::mpsc::channel();
    let (tell_who, who) = std::sync::mpsc::channel();
    // Not joined: a run that spins for ever would hold up everything.
    std::thread::spawn(move || {
        // Nobody listens any more when it was given up.
        let _ = tell_who.send(Footprint::own());
        let mut outcome = play(order);
        if twice {
            replay(order, &mut outcome);
        }
        let _ = tell.send(outcome);
    });
    let ended = match who.recv() {
        Ok(thread) => await_end(&told, &thread),
        Err(_) => Err("its thread never began".to_owned()),
    };
    ended.unwrap_or_else(|why| Outcome {
        seed: order.seed,
        problems: vec![format!("it does not come to its end: {why}")],
        stuck: true,
        ..Outcome::default()
    })
}

/// Prints what happens in all runs of this process, with the virtual time.
pub(crate) fn print_log(filter: &str) {
    let filter = tracing_subscriber::EnvFilter::new(filter);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(VirtualTime)
        .with_writer(std::io::stderr)
        .init();
}

/// Seconds since the runtime began.
struct VirtualTime;

thread_local! {
    static ORIGIN: std::cell::OnceCell<tokio::time::Instant> = const { std::cell::OnceCell::new() };
}

impl tracing_subscriber::fmt::time::FormatTime for VirtualTime {
    fn format_time(
        &self,
        to: &mut tracing_subscriber::fmt::format::Writer<'_>,
    ) -> std::fmt::Result {
        let origin = ORIGIN.with(|origin| *origin.get_or_init(tokio::time::Instant::now));
        write!(to, "{:9.3}", origin.elapsed().as_secs_f64())
    }
}

/// Runs a seed once more and says where the two runs part.
fn replay(order: Order, first: &mut Outcome) {
    let second = play(order);
    if second.fingerprint == first.fingerprint {
        return;
    }
    let traced = Order {
        trace: true,
        ..order
    };
    let (one, other) = (play(traced), play(traced));
    let pairs = one.lines.iter().zip(&other.lines);
    let at = pairs.take_while(|(one, other)| one == other).count();
    let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
    first.problems.push(format!(
        "two runs of one seed part at event {at}: {:?} and {:?}",
        line(&one.lines),
        line(&other.lines)
    ));
}

/// Something for one core that leaves it only when it is done.
pub(crate) type Job<'a> = Box<dyn Fn() + Send + Sync + 'a>;

/// Does all jobs, `at_once` at a time, in their order.
pub(crate) fn work(jobs: &[Job<'_>], at_once: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    job();
                }
            });
        }
    });
}

/// Prints progress now and then, and every failure with how to see it again.
#[derive(Debug)]
pub(crate) struct Printer {
    begun: Instant,
    last: Mutex<Instant>,
    /// Options that a replay needs besides the seed.
    options: String,
    goal: u64,
    every: Duration,
}

impl Printer {
    pub(crate) fn new(goal: u64, options: String) -> Printer {
        Printer {
            begun: Instant::now(),
            last: Mutex::new(Instant::now()),
            options,
            goal,
            every: match std::io::stdout().is_terminal() {
                true => Duration::from_secs(10),
                // Logs of CI have little room.
                false => Duration::from_secs(60),
            },
        }
    }

    /// What the seeds are of, beside their numbers.
    pub(crate) fn options(&self) -> &str {
        &self.options
    }

    pub(crate) fn seed(&self, outcome: &Outcome, totals: &Totals) {
        if !outcome.problems.is_empty() {
            self.failure(outcome);
        }
        let mut last = self.last.lock().unwrap_or_else(|it| it.into_inner());
        if last.elapsed() >= self.every {
            *last = Instant::now();
            let (done, goal, options) = (totals.seeds, self.goal, &self.options);
            println!("{done} of {goal}{options}: {}", self.sum(totals));
        }
    }

    pub(crate) fn sum(&self, totals: &Totals) -> String {
        let hours = totals.span.as_secs_f64() / 3600.0;
        let took = self.begun.elapsed().as_secs_f64();
        format!(
            "{hours:.2} simulated hours in {took:.0} s, {} operations ({} answered), {} watch \
             events, {} tenures and leases, {} messages, {} failed",
            totals.operations,
            totals.answered,
            totals.events,
            totals.tenures,
            totals.messages,
            totals.failed.len()
        )
    }

    fn failure(&self, outcome: &Outcome) {
        let seed = outcome.seed;
        println!(
            "\nseed {seed} FAILED; again: cargo xtask sim --seed {seed}{}",
            self.options
        );
        for problem in outcome.problems.iter().take(8) {
            println!("  {}", problem.replace('\n', "\n    "));
        }
        let saved = match &outcome.story {
            None => save(&format!("{seed}.json"), outcome.history.to_json().ok()),
            Some(story) => save(&format!("{seed}.story"), Some(story.clone())),
        };
        match saved {
            Ok(path) => println!("  history: {}", path.display()),
            Err(error) => println!("  the history cannot be saved: {error}"),
        }
    }
}

/// Writes a file below `target/sim`.
pub(crate) fn save(name: &str, text: Option<String>) -> std::io::Result<PathBuf> {
    let folder = PathBuf::from("target/sim");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    std::fs::write(&path, text.unwrap_or_default())?;
    Ok(path)
}
