//! `handfast put`.
//!
//! Owns its options and output. Also the put of a transaction is written with these options.

use std::ffi::OsString;
use std::io::Read;

use bytes::Bytes;
use clap::Args;
use handfast_core::{Op, PutResponse};
use serde_json::{Value, json};

use super::print_pairs;
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::keys::{bytes, lease_id};
use crate::output::{Output, pair_json};

/// Options of `put`.
#[derive(Args, Debug, Clone)]
pub(crate) struct PutArgs {
    /// The key
    key: OsString,
    /// The value; read from standard input when left out
    #[arg(allow_negative_numbers = true)]
    value: Option<OsString>,
    /// Attach the key to this lease (hexadecimal id)
    #[arg(long, value_name = "ID", value_parser = lease_id)]
    lease: Option<i64>,
    /// Print the pair as it was before
    #[arg(long)]
    prev_kv: bool,
    /// Keep the value of the key and change its lease only
    #[arg(long, conflicts_with = "value")]
    ignore_value: bool,
    /// Keep the lease of the key
    #[arg(long, conflicts_with = "lease")]
    ignore_lease: bool,
}

/// Applies the options to a put or to the put of a transaction: same methods, two types.
macro_rules! with_options {
    ($args:expr, $put:expr) => {{
        let mut put = $put.lease($args.lease.unwrap_or(0));
        put = if $args.prev_kv { put.prev_kv() } else { put };
        put = if $args.ignore_value {
            put.ignore_value()
        } else {
            put
        };
        if $args.ignore_lease {
            put.ignore_lease()
        } else {
            put
        }
    }};
}

pub(crate) async fn run(
    args: PutArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    let value = match args.value.clone() {
        Some(value) => bytes(value),
        None if args.ignore_value => Bytes::new(),
        None => standard_input()?,
    };
    let response = with_options!(args, client.put(bytes(args.key.clone()), value)).await?;
    if output.is_json() {
        output.json(&json_of(&response))?;
    } else {
        output.line("OK")?;
        print_pairs(output, &response.prev_kv)?;
    }
    Ok(exit::OK)
}

/// This put as an operation of a transaction.
pub(crate) fn operation(args: &PutArgs) -> Result<Op, Failure> {
    let value = match args.value.clone() {
        Some(value) => bytes(value),
        None if args.ignore_value => Bytes::new(),
        None => {
            return Err(Failure::Usage(
                "put in a transaction needs a value".to_owned(),
            ));
        }
    };
    Ok(with_options!(args, Op::put(bytes(args.key.clone()), value)))
}

/// A put's answer as JSON.
pub(crate) fn json_of(response: &PutResponse) -> Value {
    let mut object = json!({ "revision": response.header.revision });
    if let Some(previous) = &response.prev_kv {
        object["prev_kv"] = pair_json(previous);
    }
    object
}

fn standard_input() -> Result<Bytes, Failure> {
    let mut value = Vec::new();
    std::io::stdin()
        .read_to_end(&mut value)
        .map_err(|error| Failure::Other(format!("cannot read the value: {error}")))?;
    Ok(Bytes::from(value))
}
