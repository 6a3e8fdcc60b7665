//! `handfast bench registry`: a thousand registered instances whose servers go away for a while.
//!
//! Owns the options and the order of the steps; the servers take turns. It must not know how a
//! server is started (`instance`), nor who is registered (`crowd`).

mod crowd;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde_json::json;

use self::crowd::{Crowd, Lookout};
use super::at_least_one;
use super::figures::{Figures, Unit};
use super::instance::{self, Instance, Program};
use super::process;
use crate::connect::duration;
use crate::exit::Failure;
use crate::output::Output;

const AFTER_HELP: &str = "\
The servers are started by this command, one after the other, with data in a temporary folder that
is removed at the end. All instances are registered from here, by as many sessions as are asked for,
each with a connection of its own, and one more program follows the list all the time.

  handfast bench registry                              handfast alone
  handfast bench registry --etcd /usr/bin/etcd         beside etcd
  handfast bench registry --sessions 1000 --ttl 10s    each instance a program of its own";

/// Options of `bench registry`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RegistryArgs {
    /// Measure this etcd too; may be given again
    #[arg(long, value_name = "PATH")]
    etcd: Vec<PathBuf>,
    /// The handfast to measure [default: this program]
    #[arg(long, value_name = "PATH")]
    handfast: Option<PathBuf>,
    /// How many instances are registered
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one)]
    registrants: usize,
    /// How many sessions they are spread over
    #[arg(long, default_value_t = 50, value_parser = at_least_one)]
    sessions: usize,
    /// Time to live of each session
    #[arg(long, default_value = "3s", value_parser = duration)]
    ttl: Duration,
    /// For how many times the TTL a server is away
    #[arg(long, default_value_t = 3)]
    away: u32,
    /// What happens to it: killed and started again on its data, or stopped in its tracks
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["kill", "pause"])]
    by: Vec<Outage>,
    /// How often all is done; medians are shown
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    rounds: usize,
    /// Where the temporary folder is made [default: the system's]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// How a server goes away.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// SIGKILL, and a new start on the same data
    Kill,
    /// SIGSTOP, and SIGCONT
    Pause,
}

/// Measures and prints.
pub(super) async fn run(args: &RegistryArgs, output: &mut Output) -> Result<(), Failure> {
    let folder = instance::folder(args.dir.as_deref())?;
    let programs = Program::all(args.handfast.clone(), args.etcd.clone())?;
    let mut servers = Instance::all(programs, folder.path())?;
    let bar = match output.is_json() {
        true => ProgressBar::hidden(),
        false => ProgressBar::new_spinner(),
    };
    let mut figures = Figures::new(servers.len());
    for number in 0..args.rounds {
        for turn in 0..servers.len() {
            let which = (turn + number) % servers.len();
            let trial = Trial {
                args,
                which,
                server: &mut servers[which],
                figures: &mut figures,
                bar: &bar,
            };
            trial.run().await?;
        }
    }
    bar.finish_and_clear();
    let heading = json!({
        "workload": "registry",
        "registrants": args.registrants,
        "sessions": args.sessions,
        "ttl_s": args.ttl.as_secs_f64(),
        "away_ttls": args.away,
    });
    figures.print(heading, &servers, output)
}

/// One server's turn.
struct Trial<'a> {
    args: &'a RegistryArgs,
    which: usize,
    server: &'a mut Instance,
    figures: &'a mut Figures,
    bar: &'a ProgressBar,
}

impl Trial<'_> {
    async fn run(mut self) -> Result<(), Failure> {
        self.say("starting");
        self.server.start().await?;
        self.say("registering");
        let (args, endpoint) = (self.args, self.server.endpoint());
        let begun = Instant::now();
        let crowd = Crowd::register(&endpoint, args.registrants, args.sessions, args.ttl).await?;
        let took = begun.elapsed();
        self.figures
            .add(self.which, "all registered at first", Unit::Millis, took);
        let lookout = Lookout::open(&endpoint, args.ttl).await?;
        lookout.wait_for(&crowd, 0).await?;
        for outage in &args.by {
            self.outage(*outage, &crowd, &lookout).await?;
        }
        self.say("unregistering");
        lookout.close().await?;
        crowd.close().await?;
        self.server.stop().await?;
        Ok(())
    }

    fn say(&self, what: &str) {
        self.bar
            .set_message(format!("{}: {what}", self.server.label()));
        self.bar.tick();
    }

    fn add(&mut self, outage: Outage, name: &str, unit: Unit, amount: impl Into<Amount>) {
        let how = match outage {
            Outage::Kill => "killed",
            Outage::Pause => "paused",
        };
        let name = format!("{how}: {name}");
        match amount.into() {
            Amount::Time(time) => self.figures.add(self.which, name, unit, time),
            Amount::Count(count) => self.figures.add(self.which, name, unit, count as u64),
        }
    }

    async fn outage(
        &mut self,
        outage: Outage,
        crowd: &Crowd,
        lookout: &Lookout,
    ) -> Result<(), Failure> {
        let before = crowd.newest();
        let leases = crowd.leases().await?;
        lookout.forget();
        self.say("away");
        match outage {
            Outage::Kill => self.server.kill().await?,
            Outage::Pause => self.server.pause(),
        }
        tokio::time::sleep(self.args.ttl * self.args.away).await;
        self.say("back");
        let back = Instant::now();
        match outage {
            Outage::Kill => drop(self.server.start().await?),
            Outage::Pause => self.server.resume(),
        }
        let answered = back.elapsed();
        let idle = process::cpu_times(&self.server.pids()).unwrap_or_default();
        lookout.wait_for(crowd, before).await?;
        let listed = back.elapsed();
        let busy = process::cpu_times(&self.server.pids()).unwrap_or_default();
        // What a late end of an old lease would take off the list shall be seen.
        tokio::time::sleep(self.args.ttl * 2).await;
        lookout.wait_for(crowd, before).await?;
        let lost = crowd.lost_since(&leases).await?;
        if outage == Outage::Kill {
            self.add(outage, "server answers", Unit::Millis, answered);
        }
        let used = process::used_between(&idle, &busy);
        self.add(outage, "all listed again", Unit::Millis, listed);
        self.add(outage, "server's CPU until then", Unit::Millis, used);
        self.add(outage, "smallest list served", Unit::Count, lookout.least());
        self.add(outage, "leases lost", Unit::Count, lost.all);
        self.add(outage, "of these again", Unit::Count, lost.again);
        Ok(())
    }
}

/// What a figure of an outage is.
enum Amount {
    Time(Duration),
    Count(usize),
}

impl From<Duration> for Amount {
    fn from(time: Duration) -> Amount {
        Amount::Time(time)
    }
}

impl From<usize> for Amount {
    fn from(count: usize) -> Amount {
        Amount::Count(count)
    }
}
