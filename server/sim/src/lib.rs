//! Whole clusters of handfast, simulated: real members, real clients, and in the place of the
//! machines, their disks, clocks and network something that one number decides.
//!
//! A run happens in one thread, in virtual time. The servers are those of `handfast-server` with
//! its environment replaced, the clients are those of `handfast-core` and `handfast` with their
//! connector replaced. The same seed gives the same run, to the last message.
//!
//! ```text
//! args, hunt, seeds    many runs, and what is printed of them
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
mod plan;
mod recipe;
mod run;
mod seeds;
mod subject;
#[cfg(test)]
mod tests;
mod trace;
mod workload;

use std::process::ExitCode;

use args::{Args, Hunted, USAGE};
use run::Order;
use seeds::Printer;
use subject::{MUTATIONS, Recipe};

/// Runs what the command line asks for.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    let args = match Args::parse(arguments) {
        Ok(args) => args,
        Err(problem) => {
            eprint!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Some(filter) = &args.log {
        seeds::print_log(filter);
    }
    let good = match args.fault {
        Hunted::None if args.mutations => mutated(&args),
        Hunted::None if !args.recipes.is_empty() => {
            let each = args.recipes.iter();
            let failed = each.filter(|recipe| !sweep(&args, Some(**recipe))).count();
            failed == 0
        }
        Hunted::None => sweep(&args, None),
        Hunted::One(_) if args.control => sweep(&args, None),
        Hunted::One(fault) if args.single => {
            handfast_fault::set(Some(fault));
            sweep(&args, None)
        }
        Hunted::One(fault) => hunted(&args, &[fault]),
        Hunted::Each => {
            let faults = hunt::HUNTS.map(|(fault, _)| fault);
            hunted(&args, &faults)
        }
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn hunted(args: &Args, faults: &[handfast_fault::Fault]) -> bool {
    let mut good = true;
    for &fault in faults {
        match hunt::hunt(fault, args) {
            Ok((seeds, how)) => println!("{fault:?}: found within {seeds} seeds, {how}"),
            Err(missed) => {
                println!("MISSED: {missed}");
                good = false;
            }
        }
    }
    good
}

fn mutated(args: &Args) -> bool {
    let mut good = true;
    let all = args.recipes.is_empty();
    let wanted = MUTATIONS
        .into_iter()
        .filter(|it| all || args.recipes.contains(&it.0));
    for mutation in wanted {
        match hunt::hunt_mutation(mutation, args) {
            Ok((seeds, how)) => {
                let (recipe, mutation, _) = mutation;
                println!("{recipe:?} {mutation:?}: found within {seeds} seeds, {how}");
            }
            Err(missed) => {
                println!("MISSED: {missed}");
                good = false;
            }
        }
    }
    good
}

fn sweep(args: &Args, recipe: Option<Recipe>) -> bool {
    let fault = match args.fault {
        Hunted::One(fault) => Some(fault),
        _ => None,
    };
    let order = |seed| Order {
        seed,
        members: args.members,
        fault,
        recipe,
        mutation: args.mutation,
        trace: args.trace,
    };
    let mut options = String::new();
    if let Some(members) = args.members {
        options += &format!(" --members {members}");
    }
    if let Some(fault) = fault {
        options += &format!(" --fault {fault:?}");
    }
    if args.control {
        options += " --control";
    }
    if let Some(recipe) = recipe {
        options += &format!(" --recipe {}", recipe.name());
    }
    if let Some(mutation) = args.mutation {
        options += &format!(" --mutation {mutation:?}");
    }
    let printer = Printer::new(args.seeds, options);
    let totals = seeds::sweep(args, order, |outcome, totals| {
        printer.seed(outcome, totals);
        if args.single {
            let (hash, events) = outcome.fingerprint;
            println!("fingerprint {hash:016x} of {events} events");
            println!("{}", outcome.history.title);
        }
        if args.trace {
            let name = format!("{}.trace", outcome.seed);
            match seeds::save(&name, Some(outcome.lines.join("\n"))) {
                Ok(path) => println!("trace: {}", path.display()),
                Err(error) => println!("the trace cannot be saved: {error}"),
            }
        }
        false
    });
    let about = recipe.map_or(String::new(), |recipe| format!("{}: ", recipe.name()));
    println!("{about}{} seeds: {}", totals.seeds, printer.sum(&totals));
    let faults: Vec<String> = totals
        .faults
        .iter()
        .map(|(kind, count)| format!("{kind:?} {count}"))
        .collect();
    println!("faults: {}", faults.join(", "));
    totals.failed.is_empty()
}
