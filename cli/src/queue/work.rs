//! `handfast queue work`: a command for each item.
//!
//! Owns what the command's end means for its item. How a command is run while something is held
//! is in `supervise`.

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use futures::FutureExt;
use handfast::{Claim, Failed, Handfast, Worker};
use rustix::process::Signal;

use super::{Name, failure, no_item};
use crate::connect::{Connection, duration, ttl, wait};
use crate::exit::{self, Failure};
use crate::output::{printable, tell};
use crate::supervise::signals::Signals;
use crate::supervise::{self, Ended, Job};
use crate::tenure::or_signal;

/// How long an item that is to be tried again is left to others.
const AGAIN: Duration = Duration::from_secs(1);

const AFTER_HELP: &str = "\
Examples:
  handfast queue work img -- ./resize          for each item, until Ctrl-C
  handfast queue work img --once -- ./resize   for the next one, and exit as the command did

The command gets the item on standard input, and HANDFAST_QUEUE, HANDFAST_ITEM (the id),
HANDFAST_ATTEMPT, HANDFAST_PREVIOUS_DIED and HANDFAST_TOKEN (it grows with every claim of an item:
have what you change refuse smaller ones). What its exit code means for the item:
  0      done
  75     not tried: it is given back and the attempt does not count
  other  failed: it is given out again, or set aside after --max-attempts

When the servers fall silent the command gets SIGTERM in time, and SIGKILL before anybody else can
have the item. Signals are passed on to it; SIGINT, SIGTERM, SIGHUP and SIGQUIT end the work after
it. Exit codes: 0 when the queue is drained, 75 when --wait passed, 128 + N after signal N.";

/// Options of `queue work`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct WorkArgs {
    #[command(flatten)]
    name: Name,
    /// End when no item comes for this long, such as 30s; exit code 75 [default: never]
    #[arg(long, value_name = "TIME", value_parser = wait)]
    wait: Option<Duration>,
    /// End after one item, as its command did
    #[arg(long)]
    once: bool,
    /// Set an item aside after so many attempts; the same for all workers of a queue
    #[arg(long, value_name = "N", default_value_t = 5)]
    max_attempts: u32,
    /// Always take the oldest item, whoever has waited longer
    #[arg(long)]
    strict: bool,
    /// How long the servers wait for this machine when it falls silent
    #[arg(long, value_name = "TIME", value_parser = ttl, default_value = "10s")]
    ttl: Duration,
    /// Stop the command after this long; the item has failed then [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_hold: Option<Duration>,
    /// Say what is going on
    #[arg(long)]
    verbose: bool,
    /// What to run for each item
    #[arg(last = true, value_name = "CMD", required = true)]
    command: Vec<OsString>,
}

/// What follows an item.
enum Next {
    Another,
    /// Another, but not at once.
    Later,
    End(i32),
}

pub(super) async fn run(args: WorkArgs, connection: &Connection) -> Result<i32, Failure> {
    let mut signals = listen()?;
    let handfast = connection.handfast(|builder| builder.ttl(args.ttl))?;
    let result = work(&args, &handfast, &mut signals).await;
    // The session would linger. Without an answer it just ends.
    let _ = handfast.close().await;
    result
}

fn listen() -> Result<Signals, Failure> {
    Signals::new().map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))
}

async fn work(args: &WorkArgs, handfast: &Handfast, signals: &mut Signals) -> Result<i32, Failure> {
    let queue = args.name.clone().of(handfast);
    let mut worker: Worker = queue.worker();
    worker = worker.max_attempts(args.max_attempts).strict(args.strict);
    if let Some(wait) = args.wait {
        worker = worker.timeout(wait);
    }
    loop {
        let next = async { Ok(worker.next().await) };
        let claim = match or_signal(next, signals).await? {
            Ok(Ok(Some(claim))) => claim,
            Ok(Err(error)) => return Err(no_item(&queue, error).await),
            Ok(Ok(None)) => {
                args.say("the queue is drained");
                return Ok(exit::OK);
            }
            Err(code) => return Ok(code),
        };
        // The command's signals come this way, too, so that they also end the work.
        let mut ours = listen()?;
        let next = args.handle(claim, signals).await?;
        if let Some(signal) = ending(&mut ours) {
            return Ok(exit::SIGNAL_BASE + signal.as_raw());
        }
        match next {
            Next::End(code) => return Ok(code),
            Next::Another => {}
            Next::Later => {
                let pause = async {
                    tokio::time::sleep(AGAIN).await;
                    Ok(())
                };
                if let Err(code) = or_signal(pause, signals).await? {
                    return Ok(code);
                }
            }
        }
    }
}

/// A signal that came and is to end the work.
fn ending(signals: &mut Signals) -> Option<Signal> {
    while let Some(signal) = signals.recv().now_or_never() {
        if ![Signal::USR1, Signal::USR2].contains(&signal) {
            return Some(signal);
        }
    }
    None
}

impl WorkArgs {
    async fn handle(&self, claim: Claim, signals: &mut Signals) -> Result<Next, Failure> {
        let item = printable(claim.id().as_bytes());
        self.say(&format!("item {item}, attempt {}", claim.attempt()));
        let tenure = claim.tenure();
        let job = self.job(&claim, &item);
        let (input, mut feed) = std::io::pipe()
            .map_err(|error| Failure::Other(format!("cannot make a pipe: {error}")))?;
        let payload = claim.payload().clone();
        // The command may read it slowly, or not at all.
        let feeding = std::thread::spawn(move || feed.write_all(&payload));
        let ended = supervise::run_with(&job, &tenure, signals, |command| {
            command.stdin(input);
        });
        let ended = match ended.await {
            Ok(ended) => ended,
            Err(error) => {
                // The item has nothing to do with it.
                let _ = claim.release().await;
                return Err(error);
            }
        };
        // Whatever has the other end open in the background need not be waited for.
        drop(feeding);
        let next = match ended {
            Ended::Exited(exit::OK) => claim
                .ack()
                .commit()
                .await
                .map(|_| (Next::Another, exit::OK)),
            Ended::Exited(exit::NOT_ACQUIRED) => {
                self.say(&format!("item {item} is given back"));
                let released = claim.release().await;
                released.map(|()| (Next::Later, exit::NOT_ACQUIRED))
            }
            Ended::Exited(code) => {
                self.failed(claim, &item, format!("exit code {code}"), code)
                    .await
            }
            Ended::Stopped(reason) => {
                tell!("item {item}: the command was stopped: {reason}");
                let why = format!("stopped: {reason}");
                self.failed(claim, &item, why, exit::LOST).await
            }
        };
        match next {
            Ok((_, code)) if self.once => Ok(Next::End(code)),
            Ok((next, _)) => Ok(next),
            Err(error) if error.lost_reason().is_some() && !self.once => {
                tell!("item {item} is given to another worker: {error}");
                Ok(Next::Another)
            }
            Err(error) => Err(failure(error)),
        }
    }

    async fn failed(
        &self,
        claim: Claim,
        item: &str,
        why: String,
        code: i32,
    ) -> Result<(Next, i32), handfast::Error> {
        let attempt = claim.attempt();
        match claim.nack(&*why).await? {
            Failed::Dead => {
                tell!("item {item} failed {attempt} times and is set aside: {why}");
            }
            _ => self.say(&format!("item {item} failed: {why}")),
        }
        Ok((Next::Another, code))
    }

    fn job(&self, claim: &Claim, item: &str) -> Job<'_> {
        let died = if claim.previous_died() { "1" } else { "0" };
        let name = self.name.name.clone();
        Job {
            command: &self.command,
            env: vec![
                ("HANDFAST_QUEUE", name.clone()),
                ("HANDFAST_ITEM", OsString::from(claim.id())),
                ("HANDFAST_TOKEN", OsString::from(claim.token().to_string())),
                (
                    "HANDFAST_ATTEMPT",
                    OsString::from(claim.attempt().to_string()),
                ),
                ("HANDFAST_PREVIOUS_DIED", OsString::from(died)),
            ],
            grace: self.ttl / 4,
            max_hold: self.max_hold,
            what: format!("item {item} of queue {}", name.to_string_lossy()),
        }
    }

    fn say(&self, text: &str) {
        if self.verbose {
            tell!("{text}");
        }
    }
}
