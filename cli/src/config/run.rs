//! `handfast config run`: a command with its configuration, and told of changes.
//!
//! Owns how the configuration gets to the command and what happens on a change. The command as a
//! process is `supervise`'s.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use handfast::{Config, ConfigChanges, ConfigEvent, ConfigSet, ConfigSource, Error};
use rustix::process::Signal;
use serde_json::{Map, Value};

use super::target::{Target, TargetArgs};
use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::tell;
use crate::supervise::child::Child;
use crate::supervise::signals::Signals;
use crate::tenure::failure;

const AFTER_HELP: &str = "\
Examples:
  handfast config run app/cfg --file /run/app.json -- ./app   SIGHUP on a change
  handfast config run app/env -- ./app                        variables; restarted on a change
  handfast config run app/ --snapshot app.last -- ./app       starts without servers, too

Without --file the command finds its configuration in variables: HANDFAST_CONFIG is the value of a
single key; the fields of a JSON object, or the keys below KEY, are variables of their own, in
capitals, with _ for whatever is no letter or digit. With --file the value is in the file, of
several keys as a JSON object. HANDFAST_CONFIG_REVISION is the revision.

A key that is deleted stays in force as it was. The exit code is the command's own.";

/// How long a command may take to stop before it is killed and started again.
const STOP_TIME: Duration = Duration::from_secs(10);

/// How long the snapshot may take to be written when the command has ended.
const SAVE_TIME: Duration = Duration::from_secs(5);
/// Why an empty configuration is refused.
const NOTHING: &str = "nothing is published";

/// Options of `config run`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Write the configuration to this file, at the start and on every change
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What to do on a change [default: signal with --file, restart without]
    #[arg(long, value_name = "WHAT")]
    on_change: Option<OnChange>,
    /// The signal sent on a change
    #[arg(long, value_name = "NAME", default_value = "hup")]
    signal: ReloadSignal,
    /// Keep the last configuration in this file, and start with it when no server answers
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// Put this before the names of variables
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    env_prefix: String,
    /// Say what is going on
    #[arg(long)]
    verbose: bool,
    /// The command
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum OnChange {
    /// Send a signal
    Signal,
    /// Stop the command and start it again
    Restart,
    /// Nothing: the command looks at the file itself
    Nothing,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum ReloadSignal {
    Hup,
    Usr1,
    Usr2,
    Term,
    Int,
}

impl From<ReloadSignal> for Signal {
    fn from(signal: ReloadSignal) -> Signal {
        match signal {
            ReloadSignal::Hup => Signal::HUP,
            ReloadSignal::Usr1 => Signal::USR1,
            ReloadSignal::Usr2 => Signal::USR2,
            ReloadSignal::Term => Signal::TERM,
            ReloadSignal::Int => Signal::INT,
        }
    }
}

pub(super) async fn run(args: RunArgs, connection: &Connection) -> Result<i32, Failure> {
    let target = args.target.clone().target()?;
    let mut signals = Signals::new()
        .map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))?;
    let config = open(&args, &target, connection).await?;
    let mut changes = config.changes();
    let job = Job { args, target };
    loop {
        match job.run_once(&config, &mut changes, &mut signals).await? {
            Some(code) => {
                // A command that ends at once must not be faster than the disk.
                let _ = tokio::time::timeout(SAVE_TIME, config.saved()).await;
                return Ok(code);
            }
            None => job.say("starting the command again"),
        }
    }
}

async fn open(
    args: &RunArgs,
    target: &Target,
    connection: &Connection,
) -> Result<Config<ConfigSet>, Failure> {
    let handfast = connection.handfast(|builder| builder)?;
    let config = handfast.config_set(&target.key);
    let config = match target.prefix {
        true => config.prefix(),
        false => config,
    };
    let published = |set: &ConfigSet| match set.is_empty() {
        false => Ok(()),
        true => Err(NOTHING),
    };
    let config = match &args.snapshot {
        Some(path) => config.snapshot_file(path),
        None => config,
    };
    config.validate(published).open().await.map_err(|error| {
        match &error {
            // The program of the message is nobody's but this one.
            Error::ConfigRefused { problem, .. } if problem.ends_with(NOTHING) => {
                let shown = target.shown();
                let hint = format!("`handfast config set {shown} FILE` does that");
                Failure::Other(format!("{NOTHING} at {shown}; {hint}"))
            }
            _ => failure(error),
        }
    })
}

struct Job {
    args: RunArgs,
    target: Target,
}

impl Job {
    fn say(&self, text: &str) {
        if self.args.verbose {
            tell!("{text}");
        }
    }

    fn on_change(&self) -> OnChange {
        self.args.on_change.unwrap_or(match &self.args.file {
            Some(_) => OnChange::Signal,
            None => OnChange::Restart,
        })
    }

    /// Runs the command until it ends, or is stopped to be started again: `None`.
    async fn run_once(
        &self,
        config: &Config<ConfigSet>,
        changes: &mut ConfigChanges<ConfigSet>,
        signals: &mut Signals,
    ) -> Result<Option<i32>, Failure> {
        let current = config.current();
        let mut at = current.revision();
        if current.source == ConfigSource::Snapshot {
            tell!("this is the last known configuration, of revision {at}");
        }
        let mut child = self.start(&current.set)?;
        loop {
            tokio::select! {
                biased;
                code = child.wait() => return Ok(Some(code?)),
                signal = signals.recv() => child.pass_on(signal),
                event = changes.next() => match event {
                    // The latest counts: more than one may have come while the command stopped.
                    ConfigEvent::Applied { .. } if config.revision() != at => {
                        let now = config.current();
                        at = now.revision();
                        self.say(&format!("{} is of revision {at} now", self.target.shown()));
                        if self.change(&now.set, &child)? {
                            return stop(child, signals).await;
                        }
                    }
                    ConfigEvent::Problem(problem) => tell!("{problem}"),
                    ConfigEvent::Reset { .. } => at = 0,
                    _ => {}
                },
            }
        }
    }

    fn start(&self, set: &ConfigSet) -> Result<Child, Failure> {
        if let Some(path) = &self.args.file {
            write(path, &self.document(set))?;
        }
        let variables = match &self.args.file {
            Some(path) => vec![("HANDFAST_CONFIG_FILE".into(), path.clone().into())],
            None => variables(set, &self.args.env_prefix),
        };
        let revision = OsString::from(set.revision().to_string());
        let env = [("HANDFAST_CONFIG_REVISION", revision)];
        Child::spawn(&self.args.command, &env, |command| {
            command.envs(variables);
        })
    }

    /// Tells the command of a change; whether it is to be started again.
    fn change(&self, set: &ConfigSet, child: &Child) -> Result<bool, Failure> {
        if let Some(path) = &self.args.file {
            write(path, &self.document(set))?;
        }
        match self.on_change() {
            OnChange::Nothing => {}
            OnChange::Restart => return Ok(true),
            OnChange::Signal => child.pass_on(self.args.signal.into()),
        }
        Ok(false)
    }

    /// What is in the file.
    fn document(&self, set: &ConfigSet) -> Vec<u8> {
        if !self.target.prefix {
            return set.value().map(|value| value.to_vec()).unwrap_or_default();
        }
        let fields: Map<String, Value> = set
            .iter()
            .map(|(name, pair)| {
                let text = || String::from_utf8_lossy(&pair.value).into_owned();
                let value = serde_json::from_slice(&pair.value);
                let name = String::from_utf8_lossy(name).into_owned();
                (name, value.unwrap_or_else(|_| Value::String(text())))
            })
            .collect();
        format!("{}\n", Value::Object(fields)).into_bytes()
    }
}

/// Stops the command to start it again; an exit code if a signal of a person's ends it all.
async fn stop(mut child: Child, signals: &mut Signals) -> Result<Option<i32>, Failure> {
    child.terminate();
    let mut wanted_end = false;
    let limit = tokio::time::sleep(STOP_TIME);
    tokio::pin!(limit);
    let code = loop {
        tokio::select! {
            biased;
            code = child.wait() => break code?,
            signal = signals.recv() => {
                wanted_end |= matches!(signal, Signal::INT | Signal::TERM | Signal::QUIT);
                child.pass_on(signal);
            }
            () = &mut limit => {
                child.kill();
                break child.wait().await?;
            }
        }
    };
    // Whatever it left behind would run beside the next one.
    child.kill();
    Ok(wanted_end.then_some(code))
}

/// Replaces the file as a whole, so that nobody reads half of it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Other(format!("{}: {error}", path.display()));
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// The configuration as variables.
fn variables(set: &ConfigSet, prefix: &str) -> Vec<(OsString, OsString)> {
    let mut variables = Vec::new();
    let mut add = |name: &[u8], value: Vec<u8>| match value.contains(&0) {
        false => variables.push((variable(prefix, name), OsString::from_vec(value))),
        true => tell!("no variable can hold {}", String::from_utf8_lossy(name)),
    };
    if set.is_prefix() {
        for (name, pair) in set.iter() {
            add(name, pair.value.to_vec());
        }
        return variables;
    }
    let value = set.value().cloned().unwrap_or_default();
    if let Ok(Value::Object(fields)) = serde_json::from_slice(&value) {
        for (name, value) in fields {
            let text = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            add(name.as_bytes(), text.into_bytes());
        }
    }
    if !value.contains(&0) {
        let whole = OsStr::from_bytes(&value).to_owned();
        variables.push(("HANDFAST_CONFIG".into(), whole));
    }
    variables
}

fn variable(prefix: &str, name: &[u8]) -> OsString {
    let clean = name.iter().map(|byte| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte.to_ascii_uppercase()),
        _ => '_',
    });
    let mut text: String = prefix.to_owned();
    text.extend(clean);
    if text.starts_with(|first: char| first.is_ascii_digit()) || text.is_empty() {
        text.insert(0, '_');
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_names_of_variables() {
        assert_eq!(variable("", b"db.pool-size"), "DB_POOL_SIZE");
        assert_eq!(variable("APP_", b"db"), "APP_DB");
        assert_eq!(variable("", b"1st"), "_1ST");
        assert_eq!(variable("", b""), "_");
    }
}
