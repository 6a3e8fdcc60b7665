//! Runs a command for as long as something is held.
//!
//! Owns when the command is told to stop and when it is killed: TERM while there is still time to
//! stop in order, KILL before anybody else can be the holder. It must not know what is held.

pub(crate) mod beat;
pub(crate) mod child;
pub(crate) mod guard;
pub(crate) mod signals;

use std::ffi::OsString;
use std::future::Future;
use std::time::Duration;

use handfast_core::session::LostReason;
use tokio::process::Command;
use tokio::time::{Instant, sleep_until};

use crate::exit::Failure;
use crate::output::tell;
use child::Child;
use signals::{Signals, name};

/// How long before the end of what can be counted on the command is killed: long enough for the
/// system to do it, short beside the margin that deadlines have anyway.
const KILL_MARGIN: Duration = Duration::from_millis(50);
/// Timers stand still while a machine sleeps, so deadlines are looked at again at least this often.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// How long a command may take to stop when nobody else is waiting to be dangerous.
const STOP_TIME: Duration = Duration::from_secs(10);

/// Something that can be lost.
pub(crate) trait Hold {
    /// How long it is certainly held if nothing more is heard from the server.
    fn remaining(&self) -> Duration;
    /// Waits until it is lost. Cancel safe.
    fn lost(&self) -> impl Future<Output = LostReason>;
    /// A limit beside the lease: how far it is, and why it then ends.
    fn limit(&self) -> Option<(Duration, LostReason)> {
        None
    }
}

/// A command and what it may count on.
pub(crate) struct Job<'a> {
    /// Program and arguments.
    pub(crate) command: &'a [OsString],
    /// Variables on top of our own.
    pub(crate) env: Vec<(&'static str, OsString)>,
    /// How long before the end the command is told to stop.
    pub(crate) grace: Duration,
    /// After this long it is stopped in any case.
    pub(crate) max_hold: Option<Duration>,
    /// What is held, for messages.
    pub(crate) what: String,
}

/// How the command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, or by a signal that was passed on; the exit code of a shell.
    Exited(i32),
    /// It was stopped, for this reason.
    Stopped(LostReason),
}

/// Why the command is being stopped, and since when.
struct Stopping {
    reason: LostReason,
    kill_at: Instant,
}

/// Runs the command. When this returns it is gone, so what was held may be released.
pub(crate) async fn run(
    job: &Job<'_>,
    hold: &impl Hold,
    signals: &mut Signals,
) -> Result<Ended, Failure> {
    run_with(job, hold, signals, |_| {}).await
}

/// [`run`] of a command that `prepare` gave, for example, an output of its own.
pub(crate) async fn run_with(
    job: &Job<'_>,
    hold: &impl Hold,
    signals: &mut Signals,
    prepare: impl FnOnce(&mut Command),
) -> Result<Ended, Failure> {
    let mut child = Child::spawn(job.command, &job.env, prepare)?;
    let until = job.max_hold.map(|time| Instant::now() + time);
    let mut stopping: Option<Stopping> = None;
    loop {
        let look_again = next_look(job, hold, until, stopping.as_ref());
        tokio::select! {
            biased;
            code = child.wait() => {
                let code = code?;
                // Whatever it left behind must not go on when it was to be stopped.
                if let Some(Stopping { reason, .. }) = stopping {
                    child.kill();
                    return Ok(Ended::Stopped(reason));
                }
                return Ok(Ended::Exited(code));
            }
            reason = hold.lost() => {
                child.kill();
                child.wait().await?;
                return Ok(Ended::Stopped(reason));
            }
            signal = signals.recv() => child.pass_on(signal),
            () = sleep_until(look_again) => {
                stopping = check(job, hold, until, stopping, &child);
            }
        }
    }
}

/// When the deadlines have to be looked at next.
fn next_look(
    job: &Job<'_>,
    hold: &impl Hold,
    until: Option<Instant>,
    stopping: Option<&Stopping>,
) -> Instant {
    let now = Instant::now();
    let remaining = hold.remaining();
    let wait = match stopping {
        Some(stopping) => (stopping.kill_at - now).min(remaining.saturating_sub(KILL_MARGIN)),
        None => remaining.saturating_sub(job.grace),
    };
    let limit = hold.limit().filter(|_| stopping.is_none());
    let wait = limit.map_or(wait, |(left, _)| wait.min(left));
    let look = now + wait.min(LONGEST_SLEEP);
    match until {
        Some(until) if stopping.is_none() => look.min(until.max(now)),
        _ => look,
    }
}

/// Tells the command to stop, or kills it, when it is time to.
fn check(
    job: &Job<'_>,
    hold: &impl Hold,
    until: Option<Instant>,
    stopping: Option<Stopping>,
    child: &Child,
) -> Option<Stopping> {
    let remaining = hold.remaining();
    match stopping {
        Some(stopping) => {
            if remaining <= KILL_MARGIN || Instant::now() >= stopping.kill_at {
                tell!("the command did not stop in time; killing it");
                child.kill();
            }
            Some(stopping)
        }
        None if remaining <= job.grace => {
            tell!(
                "no answer from the servers; {} is certain for {:.1} s more; stopping \
                 the command",
                job.what,
                remaining.as_secs_f64()
            );
            child.terminate();
            // The real limit is what remains; that is looked at each time.
            Some(Stopping {
                reason: LostReason::Expired,
                kill_at: Instant::now() + remaining,
            })
        }
        None => {
            let reason = limit_reached(hold, until)?;
            tell!("{}: {}; stopping the command", job.what, of_limit(&reason));
            child.terminate();
            Some(Stopping {
                reason,
                kill_at: Instant::now() + STOP_TIME,
            })
        }
    }
}

/// The limit that is reached, if one is.
fn limit_reached(hold: &impl Hold, until: Option<Instant>) -> Option<LostReason> {
    if until.is_some_and(|until| Instant::now() >= until) {
        return Some(LostReason::MaxHold);
    }
    let (left, reason) = hold.limit()?;
    left.is_zero().then_some(reason)
}

fn of_limit(reason: &LostReason) -> &'static str {
    match reason {
        LostReason::MaxHold => "it was held for --max-hold",
        _ => "the --beat-file was not touched in time",
    }
}

/// Waits without a command until a signal (its exit code) or the loss.
pub(crate) async fn stay(
    hold: &impl Hold,
    max_hold: Option<Duration>,
    signals: &mut Signals,
) -> Ended {
    let until = max_hold.map(|time| Instant::now() + time);
    let end = async {
        loop {
            if let Some(reason) = limit_reached(hold, until) {
                return reason;
            }
            let limit = hold.limit().map_or(LONGEST_SLEEP, |(left, _)| left);
            let look = Instant::now() + limit.min(LONGEST_SLEEP);
            sleep_until(until.map_or(look, |until| until.min(look))).await;
        }
    };
    tokio::select! {
        biased;
        reason = hold.lost() => Ended::Stopped(reason),
        signal = signals.recv() => {
            tell!("{}", name(signal));
            Ended::Exited(crate::exit::OK)
        }
        reason = end => Ended::Stopped(reason),
    }
}
