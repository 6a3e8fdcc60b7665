//! `handfast leader`: who leads.
//!
//! Owns its options and output.

use std::ffi::OsString;

use clap::Args;
use handfast::{Election, Leader};
use serde_json::{Map, Value, json};

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::keys::bytes;
use crate::output::{Output, insert_bytes, lease_text, printable};
use crate::tenure::failure;

/// Options of `leader`.
#[derive(Args, Debug, Clone)]
pub(crate) struct LeaderArgs {
    /// The election's name
    name: OsString,
    /// Go on and show every change
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(
    args: LeaderArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let name = bytes(args.name);
    let handfast = connection.handfast(|builder| builder)?;
    let election = handfast.election(&name);
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
