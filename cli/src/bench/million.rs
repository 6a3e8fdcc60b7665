//! `handfast bench million`: what a server does with many keys, through restarts and a compaction.
//!
//! Owns the options and the order of the steps, in each of which the servers take turns. It must
//! not know how a server is started (`instance`) or loaded (`load`).

mod load;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::at_least_one;
use super::figures::{Figures, Unit};
use super::gauge::{Budget, Round};
use super::instance::{self, Instance, Program};
use crate::exit::Failure;
use crate::output::Output;

const AFTER_HELP: &str = "\
The servers are started by this command, on free ports and with data in a temporary folder that is
removed at the end. They take turns within each step, so that a busy machine disturbs both.

  handfast bench million                        handfast alone
  handfast bench million --etcd /usr/bin/etcd   beside etcd";

/// Parts in which the keys are loaded: short turns.
const LOAD_PARTS: usize = 10;
/// One of so many keys is written again before the compaction.
const OVERWRITTEN: usize = 5;
/// Lets a server finish what it does behind its answers.
const SETTLE: Duration = Duration::from_secs(2);

/// Options of `bench million`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct MillionArgs {
    /// Measure this etcd too
    #[arg(long, value_name = "PATH")]
    etcd: Option<PathBuf>,
    /// The handfast to measure [default: this program]
    #[arg(long, value_name = "PATH")]
    handfast: Option<PathBuf>,
    /// How many keys, of 16 bytes
    #[arg(long, default_value_t = 1_000_000, value_parser = keys)]
    keys: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 100)]
    value_size: usize,
    /// Rounds of puts and of gets, one second each; medians are shown
    #[arg(long, default_value_t = 5, value_parser = at_least_one)]
    rounds: usize,
    /// Restarts; medians are shown
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    restarts: usize,
    /// Where the temporary folder is made [default: the system's]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// As many as eight digits can name.
fn keys(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        count @ 1_000..=100_000_000 => Ok(count),
        _ => Err(format!("`{text}` is not between 1000 and 100000000")),
    }
}

/// What all steps use.
struct Trial<'a> {
    args: &'a MillionArgs,
    servers: Vec<Instance>,
    figures: Figures,
    bar: ProgressBar,
}

/// Measures and prints.
pub(super) async fn run(args: &MillionArgs, output: &mut Output) -> Result<(), Failure> {
    let folder = instance::folder(args.dir.as_deref())?;
    let programs = Program::all(args.handfast.clone(), args.etcd.clone())?;
    let servers = Instance::all(programs, folder.path())?;
    let bar = match output.is_json() {
        true => ProgressBar::hidden(),
        false => ProgressBar::new_spinner(),
    };
    let figures = Figures::new(servers.len());
    let mut trial = Trial {
        args,
        servers,
        figures,
        bar,
    };
    trial.start_empty().await?;
    trial.load().await?;
    trial.serve().await?;
    trial.restart().await?;
    trial.kill().await?;
    trial.compact().await?;
    trial.sizes("at the end")?;
    trial.bar.finish_and_clear();
    let heading = json!({
        "workload": "million",
        "keys": args.keys,
        "value_size": args.value_size,
    });
    trial.figures.print(heading, &trial.servers, output)
}

impl Trial<'_> {
    /// The order of turns: another server begins each time.
    fn turns(&self, number: usize) -> impl Iterator<Item = usize> + use<> {
        let count = self.servers.len();
        (0..count).map(move |turn| (turn + number) % count)
    }

    fn say(&self, which: usize, what: &str) {
        let label = self.servers[which].label();
        self.bar.set_message(format!("{label}: {what}"));
        self.bar.tick();
    }

    async fn start_empty(&mut self) -> Result<(), Failure> {
        for which in self.turns(0) {
            self.say(which, "starting");
            let ready = self.servers[which].start().await?;
            let name = "start, empty, to the first linearizable read";
            self.figures.add(which, name, Unit::Millis, ready);
            let (resident, _) = self.servers[which].memory()?;
            self.figures
                .add(which, "RSS, empty", Unit::Megabytes, resident);
        }
        Ok(())
    }

    /// In parts, so that the figures of the servers meet the same disturbances.
    async fn load(&mut self) -> Result<(), Failure> {
        let part = self.args.keys.div_ceil(LOAD_PARTS);
        for number in 0..LOAD_PARTS {
            let from = number * part;
            let count = part.min(self.args.keys.saturating_sub(from));
            for which in self.turns(number) {
                self.say(which, &format!("loading from key {from}"));
                let round = load::fill(&self.servers[which], self.args, from, count).await?;
                self.add_round(which, ["load: CPU", "load: rate", "load: p99"], &round);
            }
        }
        tokio::time::sleep(SETTLE).await;
        self.memory("after the load")?;
        self.sizes("after the load")
    }

    async fn serve(&mut self) -> Result<(), Failure> {
        let second = Budget::Time(Duration::from_secs(1));
        for number in 0..self.args.rounds {
            for which in self.turns(number) {
                self.say(which, "puts of present keys");
                let round = load::puts(&self.servers[which], self.args, second).await?;
                let names = ["put, 256 in flight: CPU", "put: rate", "put: p99"];
                self.add_round(which, names, &round);
            }
        }
        for number in 0..self.args.rounds {
            for which in self.turns(number) {
                self.say(which, "gets");
                let round = load::gets(&self.servers[which], self.args, second).await?;
                let names = ["get, 64 in flight: CPU", "get: rate", "get: p99"];
                self.add_round(which, names, &round);
            }
        }
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), Failure> {
        for number in 0..self.args.restarts {
            for which in self.turns(number) {
                self.say(which, "restarting");
                let server = &mut self.servers[which];
                let stop = server.stop().await?;
                let ready = server.start().await?;
                load::check(server, self.args).await?;
                let (resident, _) = server.memory()?;
                self.figures.add(which, "stop", Unit::Millis, stop);
                let name = "restart to the first linearizable read";
                self.figures.add(which, name, Unit::Millis, ready);
                self.figures
                    .add(which, "RSS after a restart", Unit::Megabytes, resident);
            }
        }
        Ok(())
    }

    async fn kill(&mut self) -> Result<(), Failure> {
        for number in 0..self.args.restarts {
            for which in self.turns(number) {
                self.say(which, "killing while it writes");
                // The log shall have something that the state has not.
                let some = self.args.keys / 100;
                load::fill(&self.servers[which], self.args, 0, some).await?;
                let server = &mut self.servers[which];
                server.kill().await?;
                let ready = server.start().await?;
                load::check(server, self.args).await?;
                let name = "restart after kill -9 to the first read";
                self.figures.add(which, name, Unit::Millis, ready);
            }
        }
        Ok(())
    }

    async fn compact(&mut self) -> Result<(), Failure> {
        for number in 0..self.args.rounds {
            for which in self.turns(number) {
                self.say(which, "a put each ms, nothing else");
                let pause = tokio::time::sleep(Duration::from_secs(3));
                let (round, ()) = load::probe(&self.servers[which], self.args, pause).await?;
                let names = ["a put each ms alone: p50", "alone: p99", "alone: longest"];
                self.add_probe(which, names, &round);
            }
        }
        for which in self.turns(0) {
            self.say(which, "writing again what the compaction shall remove");
            let server = &self.servers[which];
            load::fill(server, self.args, 0, self.args.keys / OVERWRITTEN).await?;
        }
        tokio::time::sleep(SETTLE).await;
        for which in self.turns(1) {
            self.say(which, "a put each ms beside a compaction");
            let server = &self.servers[which];
            let work = load::compact(server);
            let (round, compacted) = load::probe(server, self.args, work).await?;
            compacted?;
            let took = round.elapsed;
            let cpu = round.cpu.unwrap_or_default();
            let names = [
                "beside a compaction: p50",
                "beside a compaction: p99",
                "beside a compaction: longest",
            ];
            self.figures
                .add(which, "compaction, physical", Unit::Millis, took);
            self.figures
                .add(which, "compaction and puts: CPU", Unit::Millis, cpu);
            self.add_probe(which, names, &round);
        }
        self.memory("after the compaction")
    }

    fn add_round(&mut self, which: usize, names: [&'static str; 3], round: &Round) {
        if let Some(cpu) = round.cpu_micros() {
            self.figures.add(which, names[0], Unit::MicrosEach, cpu);
        }
        self.figures
            .add(which, names[1], Unit::PerSecond, round.rate());
        let p99 = Duration::from_nanos(round.percentiles[2]);
        self.figures.add(which, names[2], Unit::Millis, p99);
    }

    fn add_probe(&mut self, which: usize, names: [&'static str; 3], round: &Round) {
        for (name, percentile) in names.into_iter().zip([0, 2, 4]) {
            let delay = Duration::from_nanos(round.percentiles[percentile]);
            self.figures.add(which, name, Unit::Millis, delay);
        }
    }

    fn memory(&mut self, when: &str) -> Result<(), Failure> {
        for which in self.turns(0) {
            let (resident, peak) = self.servers[which].memory()?;
            let unit = Unit::Megabytes;
            self.figures
                .add(which, format!("RSS {when}"), unit, resident);
            self.figures
                .add(which, format!("peak RSS {when}"), unit, peak);
        }
        Ok(())
    }

    fn sizes(&mut self, when: &str) -> Result<(), Failure> {
        for which in self.turns(0) {
            let size = self.servers[which].size_on_disk();
            let name = format!("size on disk {when}");
            self.figures.add(which, name, Unit::Megabytes, size);
        }
        Ok(())
    }
}
