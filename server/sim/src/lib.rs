//! Whole clusters of handfast, simulated: real members, real clients, and in the place of the
//! machines, their disks, clocks and network something that one number decides.
//!
//! A run happens in one thread, in virtual time. The servers are those of `handfast-server` with
//! its environment replaced, the clients are those of `handfast-core` and `handfast` with their
//! connector replaced. The same seed gives the same run, to the last message.
//!
//! ```text
//! args, hunt, sweep    many runs, and what is printed of them
//! seeds                a seed on its own, and several at a time
//! run                  one run: found, torment, heal, judge
//! recipe, subject      runs that are about one recipe
//! nemesis, workload    what happens to the members, and what clients do meanwhile
//! invariants, keeper   what is seen besides what clients see
//! cluster, machine     members on simulated machines
//! net, clock, dice     what a machine stands on (its disk is in `handfast-storage`)
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod clock;
mod cluster;
mod dice;
mod hunt;
mod invariants;
mod keeper;
mod machine;
mod nemesis;
mod net;
mod panics;
mod patience;
mod plan;
mod recipe;
mod run;
mod seeds;
mod subject;
mod sweep;
#[cfg(test)]
mod tests;
mod trace;
mod workload;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use args::{Args, Hunted, USAGE};
use hunt::Hunt;
use seeds::Job;
use subject::MUTATIONS;
use sweep::Sweep;

/// Runs what the command line asks for: all its calls as one, so that no core waits at the end of
/// each of them.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    let calls = match Args::parse_all(arguments) {
        Ok(calls) => calls,
        Err(problem) => {
            eprint!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Some(filter) = calls.iter().find_map(|args| args.log.as_ref()) {
        seeds::print_log(filter);
    }
    let good = AtomicBool::new(true);
    let note = |well: bool| {
        good.fetch_and(well, Ordering::Relaxed);
    };
    let hunts: Vec<(Hunt, u64)> = calls.iter().flat_map(hunts).collect();
    let sweeps: Vec<Sweep> = calls.iter().flat_map(sweeps).collect();
    // A hunt is long, so it must not be what the end waits for.
    let hunting = hunts
        .iter()
        .map(|(hunt, from)| -> Job<'_> { Box::new(move || note(hunt.run(*from))) });
    let sweeping = sweeps.iter().flat_map(|sweep| {
        let job = move |seed| -> Job<'_> { Box::new(move || note(sweep.run(seed))) };
        sweep.seeds().map(job)
    });
    let jobs: Vec<Job<'_>> = hunting.chain(sweeping).collect();
    let at_once = calls.iter().map(|args| args.jobs).min().unwrap_or(1);
    seeds::work(&jobs, at_once);
    drop(jobs);
    match good.into_inner() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What a call hunts, and from which seed on.
fn hunts(args: &Args) -> Vec<(Hunt, u64)> {
    let found: Vec<Hunt> = match args.fault {
        Hunted::None if args.mutations => {
            let all = args.recipes.is_empty();
            let wanted = MUTATIONS.into_iter();
            let wanted = wanted.filter(|it| all || args.recipes.contains(&it.0));
            wanted.map(|it| hunt::mutation(it, args)).collect()
        }
        Hunted::One(fault) if !args.control && !args.single => vec![hunt::fault(fault, args)],
        Hunted::Each => {
            let all = hunt::HUNTS.into_iter();
            all.map(|(fault, _)| hunt::fault(fault, args)).collect()
        }
        _ => Vec::new(),
    };
    found.into_iter().map(|hunt| (hunt, args.from)).collect()
}

/// The seeds of a call that hunts nothing.
fn sweeps(args: &Args) -> Vec<Sweep> {
    match args.fault {
        _ if !hunts(args).is_empty() => Vec::new(),
        Hunted::None if !args.recipes.is_empty() => {
            let each = args.recipes.iter();
            each.map(|recipe| Sweep::new(args, Some(*recipe))).collect()
        }
        _ => vec![Sweep::new(args, None)],
    }
}
