//! `handfast leader`: who leads, and what to do when that changes.
//!
//! Owns its options and output.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Args;
use handfast::{Election, Leader};
use serde_json::{Map, Value, json};

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::keys::bytes;
use crate::output::{Output, insert_bytes, lease_text, printable, tell};
use crate::supervise::child::Child;
use crate::supervise::signals::Signals;
use crate::tenure::failure;

const AFTER_HELP: &str = "\
Examples:
  handfast leader indexer                              who leads
  handfast leader indexer --watch                      and every change
  handfast leader indexer --exec 'point-at \"$HANDFAST_LEADER\"'   do something about it

The command of --exec is run in a shell for the leader there is, and again after each change; it
is waited for, and of changes meanwhile only the last one counts. It sees HANDFAST_LEADER (what
the leader announces) and HANDFAST_TOKEN (the term; 0 when nobody leads).";

/// Options of `leader`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct LeaderArgs {
    /// The election's name
    name: OsString,
    /// Go on and show every change
    #[arg(long)]
    watch: bool,
    /// Go on and run this for every change
    #[arg(long, value_name = "CMD")]
    exec: Option<OsString>,
}

pub(crate) async fn run(
    args: LeaderArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let name = bytes(args.name);
    let handfast = connection.handfast(|builder| builder)?;
    let election = handfast.election(&name);
    if let Some(command) = args.exec {
        return exec(&election, args.watch, &command, output).await;
    }
    if args.watch {
        return watch(&election, output).await;
    }
    match election.leader().await.map_err(failure)? {
        Some(leader) => {
            print(Some(&leader), output)?;
            Ok(exit::OK)
        }
        None => Err(Failure::Other(format!("nobody leads {}", printable(&name)))),
    }
}

async fn watch(election: &Election, output: &mut Output) -> Result<i32, Failure> {
    let mut observer = election.observe().await.map_err(failure)?;
    loop {
        let leader = observer.next().await;
        print(leader.as_ref(), output)?;
        output.flush()?;
    }
}

/// Runs the command for each leader until a signal comes, which then goes to the command, too.
async fn exec(
    election: &Election,
    shown: bool,
    command: &OsString,
    output: &mut Output,
) -> Result<i32, Failure> {
    let mut signals = Signals::new()
        .map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))?;
    let shell = [OsString::from("sh"), OsString::from("-c"), command.clone()];
    let mut observer = election.observe().await.map_err(failure)?;
    loop {
        let leader = tokio::select! {
            biased;
            signal = signals.recv() => return Ok(exit::SIGNAL_BASE + signal.as_raw()),
            leader = observer.next() => leader,
        };
        if shown {
            print(leader.as_ref(), output)?;
            output.flush()?;
        }
        let mut child = Child::spawn(&shell, &environment(leader.as_ref()), |_| {})?;
        let mut stopped = None;
        let code = loop {
            tokio::select! {
                biased;
                code = child.wait() => break code?,
                signal = signals.recv() => {
                    child.pass_on(signal);
                    stopped = Some(signal);
                }
            }
        };
        if let Some(signal) = stopped {
            return Ok(exit::SIGNAL_BASE + signal.as_raw());
        }
        if code != exit::OK {
            tell!("the command of --exec ended with {code}");
        }
    }
}

fn environment(leader: Option<&Leader>) -> [(&'static str, OsString); 2] {
    let value = leader.map_or_else(Vec::new, |leader| leader.value.to_vec());
    let token = leader.map_or(0, |leader| leader.token);
    [
        ("HANDFAST_LEADER", OsString::from_vec(value)),
        ("HANDFAST_TOKEN", OsString::from(token.to_string())),
    ]
}

fn print(leader: Option<&Leader>, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&leader.map_or(Value::Null, json_of));
    }
    match leader {
        Some(leader) => {
            let (value, token) = (printable(&leader.value), leader.token);
            output.line(format!(
                "{value}  (term {token}, key {})",
                printable(&leader.key)
            ))
        }
        None => output.line("nobody leads"),
    }
}

fn json_of(leader: &Leader) -> Value {
    let mut object = Map::new();
    insert_bytes(&mut object, "value", &leader.value);
    insert_bytes(&mut object, "key", &leader.key);
    object.insert("token".to_owned(), json!(leader.token));
    object.insert("lease".to_owned(), json!(lease_text(leader.lease)));
    object.insert("revision".to_owned(), json!(leader.revision));
    Value::Object(object)
}
