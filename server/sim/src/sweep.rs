//! Many seeds of one kind, and what is printed of them.
//!
//! Owns the sums. Who runs which seed when is not its affair.

use std::ops::Range;
use std::sync::Mutex;

use crate::args::Args;
use crate::run::{Order, Outcome};
use crate::seeds::{Printer, Totals, play_apart, save};
use crate::subject::Recipe;

/// The seeds of a call, about one recipe or about everything.
#[derive(Debug)]
pub(crate) struct Sweep {
    order: Order,
    seeds: Range<u64>,
    /// One seed, of which everything is wanted.
    single: bool,
    twice: bool,
    printer: Printer,
    totals: Mutex<Totals>,
}

impl Sweep {
    pub(crate) fn new(args: &Args, recipe: Option<Recipe>) -> Sweep {
        Sweep {
            order: args.order(recipe),
            seeds: args.from..args.from.saturating_add(args.seeds),
            single: args.single,
            twice: args.twice,
            printer: Printer::new(args.seeds, args.options(recipe)),
            totals: Mutex::default(),
        }
    }

    pub(crate) fn seeds(&self) -> Range<u64> {
        self.seeds.clone()
    }

    /// Runs one of the seeds and adds it to the sums, which are printed with the last one; whether
    /// nothing was found.
    pub(crate) fn run(&self, seed: u64) -> bool {
        let order = Order { seed, ..self.order };
        let outcome = play_apart(order, self.twice);
        let totals = {
            // Only a panic while adding figures could poison it.
            let mut totals = self.totals.lock().unwrap_or_else(|it| it.into_inner());
            totals.add(&outcome);
            totals.clone()
        };
        self.printer.seed(&outcome, &totals);
        if self.single {
            let (hash, events) = outcome.fingerprint;
            println!("fingerprint {hash:016x} of {events} events");
            println!("{}", outcome.history.title);
        }
        if order.trace {
            save_trace(&outcome);
        }
        if totals.seeds == self.seeds.end - self.seeds.start {
            self.sum(&totals);
        }
        outcome.problems.is_empty()
    }

    fn sum(&self, totals: &Totals) {
        let (options, sum) = (self.printer.options(), self.printer.sum(totals));
        let faults = totals.faults.iter();
        let faults: Vec<String> = faults
            .map(|(kind, count)| format!("{kind:?} {count}"))
            .collect();
        println!(
            "{} seeds{options}: {sum}\nfaults: {}",
            totals.seeds,
            faults.join(", ")
        );
    }
}

fn save_trace(outcome: &Outcome) {
    let name = format!("{}.trace", outcome.seed);
    match save(&name, Some(outcome.lines.join("\n"))) {
        Ok(path) => println!("trace: {}", path.display()),
        Err(error) => println!("the trace cannot be saved: {error}"),
    }
}
