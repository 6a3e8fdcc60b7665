//! `handfast del`.
//!
//! Owns its options and output. Also the delete of a transaction is written with these options.

use clap::Args;
use handfast_core::{DeleteResponse, Op};
use serde_json::{Value, json};

use super::print_pairs;
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::keys::{Span, with_span};
use crate::output::{Output, pair_json};

/// Options of `del`.
#[derive(Args, Debug, Clone)]
pub(crate) struct DelArgs {
    #[command(flatten)]
    span: Span,
    /// Print the deleted pairs
    #[arg(long)]
    prev_kv: bool,
}

pub(crate) async fn run(
    args: DelArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    let delete = with_span!(args.span.keys()?, |key| client.delete(key));
    let response = if args.prev_kv {
        delete.prev_kv()
    } else {
        delete
    }
    .await?;
    if output.is_json() {
        output.json(&json_of(&response))?;
    } else {
        output.line(response.deleted.to_string())?;
        print_pairs(output, &response.prev_kvs)?;
    }
    Ok(exit::OK)
}

/// This delete as an operation of a transaction.
pub(crate) fn operation(args: DelArgs) -> Result<Op, Failure> {
    let delete = with_span!(args.span.keys()?, Op::delete);
    Ok(if args.prev_kv {
        delete.prev_kv()
    } else {
        delete
    })
}

/// A delete's answer as JSON.
pub(crate) fn json_of(response: &DeleteResponse) -> Value {
    json!({
        "revision": response.header.revision,
        "deleted": response.deleted,
        "prev_kvs": response.prev_kvs.iter().map(pair_json).collect::<Vec<_>>(),
    })
}
