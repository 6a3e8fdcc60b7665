//! What `lock` and `elect` have in common: hold something, alone or while a command runs.
//!
//! Owns their shared options, what the command is told, and the order of the end: the command is
//! gone first, then what was held is given back. It must not know how it was acquired.

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use handfast::{Error, Handfast, LostReason, Tenure, Waiting};
use rustix::process::Signal;
use serde_json::{Map, json};

use crate::connect::{Connection, duration, ttl, wait};
use crate::exit::{self, Failure};
use crate::output::{Output, insert_bytes, printable, tell};
use crate::supervise::beat::Beating;
use crate::supervise::signals::{Signals, name};
use crate::supervise::{self, Ended, Hold, Job};

/// Options of whatever can be held.
#[derive(Args, Debug, Clone)]
pub(crate) struct HoldArgs {
    /// Give up after waiting this long, such as 30s; exit code 75 [default: never]
    #[arg(long, value_name = "TIME", value_parser = wait)]
    pub(crate) wait: Option<Duration>,
    /// How long the servers wait for this machine when it falls silent
    #[arg(long, value_name = "TIME", value_parser = ttl, default_value = "10s")]
    ttl: Duration,
    /// Stop the command after this long [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_hold: Option<Duration>,
    /// Stop the command when it does not touch this file for --beat: a hung command does not keep
    /// others out
    #[arg(long, value_name = "FILE")]
    beat_file: Option<PathBuf>,
    /// How long the --beat-file may stay as it is
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    #[arg(requires = "beat_file")]
    beat: Duration,
    /// When the previous holder died, wait this long before starting, so that what it left
    /// running can end
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    delay: Duration,
    /// When the previous holder died, run this in a shell first, to repair what it left half
    /// done; if that fails nothing else is run, and the next holder is told, too
    #[arg(long, value_name = "CMD")]
    if_died: Option<OsString>,
    /// Say what is going on
    #[arg(long)]
    verbose: bool,
    /// Run this while holding; without it hold until Ctrl-C
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// A held thing is lost with its session, or by itself.
impl Hold for Tenure {
    fn remaining(&self) -> Duration {
        Tenure::remaining(self)
    }

    fn lost(&self) -> impl Future<Output = LostReason> {
        Tenure::lost(self)
    }
}

/// How holding ended.
pub(crate) struct Holding {
    pub(crate) code: i32,
    /// What the holder before left half done is as it was: it must not be given back as if all
    /// were well.
    pub(crate) unrepaired: bool,
}

impl Holding {
    fn ended(code: i32) -> Holding {
        Holding {
            code,
            unrepaired: false,
        }
    }
}

impl HoldArgs {
    /// The recipes, with a session as these options ask.
    pub(crate) fn handfast(&self, connection: &Connection) -> Result<Handfast, Failure> {
        connection.handfast(|builder| builder.ttl(self.ttl))
    }

    /// Tells about the queue, if the person wants to know.
    pub(crate) fn teller(&self, what: &str) -> impl Fn(&Waiting) + Send + Sync + use<> {
        let (what, verbose) = (what.to_owned(), self.verbose);
        move |waiting| {
            if let Some(holder) = waiting.holder.as_ref().filter(|_| verbose) {
                tell!(
                    "waiting for {what} {}, place {}, held by {holder}",
                    printable(&waiting.name),
                    waiting.position
                );
            }
        }
    }

    /// Holds until the command ends, a signal comes or all is lost; the exit code.
    pub(crate) async fn hold(
        &self,
        tenure: &Tenure,
        signals: &mut Signals,
        output: &mut Output,
    ) -> Result<Holding, Failure> {
        let what = describe(tenure);
        self.say(&format!("holding {what}, token {}", tenure.token()));
        if tenure.previous_died() {
            self.say("the previous holder died without giving it back");
            if let Some(code) = self.wait_for_remains(tenure, signals).await {
                return Ok(Holding {
                    code,
                    unrepaired: true,
                });
            }
            if let Some(code) = self.repair(tenure, signals).await? {
                return Ok(Holding {
                    code,
                    unrepaired: true,
                });
            }
        }
        let hold = Beating::new(tenure, self.beat_file.as_deref(), self.beat);
        let ended = if self.command.is_empty() {
            print(tenure, output)?;
            supervise::stay(&hold, self.max_hold, signals).await
        } else {
            let job = self.job(&self.command, tenure);
            supervise::run(&job, &hold, signals).await?
        };
        Ok(Holding::ended(match ended {
            Ended::Exited(code) => {
                self.say(&format!("it ended with {code}"));
                code
            }
            Ended::Stopped(reason) => lost(&what, &reason),
        }))
    }

    fn job<'a>(&self, command: &'a [OsString], tenure: &Tenure) -> Job<'a> {
        let mut env = environment(tenure);
        if let Some(file) = &self.beat_file {
            env.push(("HANDFAST_BEAT_FILE", file.clone().into_os_string()));
        }
        Job {
            command,
            env,
            grace: self.ttl / 4,
            max_hold: self.max_hold,
            what: describe(tenure),
        }
    }

    /// Repairs what the holder before left, if told how to. An exit code ends it all.
    async fn repair(&self, tenure: &Tenure, signals: &mut Signals) -> Result<Option<i32>, Failure> {
        let Some(repair) = &self.if_died else {
            return Ok(None);
        };
        let command = [OsString::from("sh"), OsString::from("-c"), repair.clone()];
        let job = self.job(&command, tenure);
        match supervise::run(&job, tenure, signals).await? {
            Ended::Exited(exit::OK) => Ok(None),
            Ended::Exited(code) => {
                tell!("--if-died ended with {code}; nothing else is run");
                Ok(Some(code))
            }
            Ended::Stopped(reason) => Ok(Some(lost(&job.what, &reason))),
        }
    }

    /// A command of the previous holder may still be about to be killed. An exit code ends it all.
    async fn wait_for_remains(&self, tenure: &Tenure, signals: &mut Signals) -> Option<i32> {
        tokio::select! {
            biased;
            reason = tenure.lost() => Some(lost(&describe(tenure), &reason)),
            signal = signals.recv() => Some(interrupted(signal)),
            () = tokio::time::sleep(self.delay) => None,
        }
    }

    fn say(&self, text: &str) {
        if self.verbose {
            tell!("{text}");
        }
    }
}

/// Waits for an acquisition, unless a signal comes first: then its exit code.
pub(crate) async fn or_signal<T>(
    acquire: impl Future<Output = Result<T, Error>>,
    signals: &mut Signals,
) -> Result<Result<T, i32>, Failure> {
    tokio::select! {
        acquired = acquire => acquired.map(Ok).map_err(failure),
        signal = signals.recv() => Ok(Err(interrupted(signal))),
    }
}

/// Says that a signal ended it; the exit code a shell would give.
fn interrupted(signal: Signal) -> i32 {
    tell!("{}", name(signal));
    exit::SIGNAL_BASE + signal.as_raw()
}

fn lost(what: &str, reason: &LostReason) -> i32 {
    tell!("{what} was lost: {reason}");
    exit::LOST
}

/// What a recipe's error means for the exit code.
pub(crate) fn failure(error: Error) -> Failure {
    match error {
        Error::Timeout {
            unreached: Some(_), ..
        } => Failure::Unreachable(error.to_string()),
        Error::Timeout { .. } | Error::SessionLost { .. } => {
            Failure::NotAcquired(error.to_string())
        }
        Error::Lost { .. } => Failure::Lost(error.to_string()),
        Error::InvalidArgument { .. } => Failure::Usage(error.to_string()),
        Error::Client(error) => Failure::Call(error),
        other => Failure::Other(other.to_string()),
    }
}

fn describe(tenure: &Tenure) -> String {
    format!("{} {}", tenure.kind(), printable(tenure.name()))
}

fn environment(tenure: &Tenure) -> Vec<(&'static str, OsString)> {
    use std::os::unix::ffi::OsStringExt;
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let token = OsString::from(tenure.token().to_string());
    let died = if tenure.previous_died() { "1" } else { "0" };
    vec![
        ("HANDFAST_LOCK", bytes(tenure.name())),
        ("HANDFAST_TOKEN", token.clone()),
        ("HANDFAST_PREVIOUS_DIED", OsString::from(died)),
        ("ETCD_LOCK_KEY", bytes(tenure.key())),
        ("ETCD_LOCK_REV", token),
    ]
}

fn print(tenure: &Tenure, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let mut object = Map::new();
        insert_bytes(&mut object, "name", tenure.name());
        insert_bytes(&mut object, "key", tenure.key());
        object.insert("token".to_owned(), json!(tenure.token()));
        object.insert("previous_died".to_owned(), json!(tenure.previous_died()));
        output.json(&object.into())?;
    } else {
        output.line(format!("key    {}", printable(tenure.key())))?;
        output.line(format!("token  {}", tenure.token()))?;
    }
    output.flush()
}
