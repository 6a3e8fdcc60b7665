//! `handfast txn`: compare and change several keys at once.
//!
//! Owns where the transaction comes from (flags or etcdctl's three blocks on standard input) and
//! how its outcome is printed. The language is in `txn::language`.

mod language;

use std::io::Read;

use clap::Args;
use handfast_core::{Compare, Op, OpResponse, TxnResponse};
use serde_json::{Value, json};

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::kv;
use crate::output::Output;
use language::Operation;

const AFTER_HELP: &str = "\
Compares: mod(\"k\") > \"0\", create(k) = 0, version(k) != 1, value(k) = v, lease(k) = 0.
Requests: get, put and del with the options of those commands.

Without flags the transaction is read from standard input: three blocks with a blank line between
them, which are compares, requests if all compares hold, requests otherwise. Each request or compare
is a line; a block may be empty.

  handfast txn --when 'create(\"job\") = 0' --then 'put job mine' --else 'get job'

Prints SUCCESS or FAILURE (of the compares), then what each request says; exits with 0 either way.";

/// Options of `txn`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct TxnArgs {
    /// A compare; all must hold (repeatable)
    #[arg(long, value_name = "COMPARE")]
    when: Vec<String>,
    /// A request that runs if all compares hold (repeatable)
    #[arg(long, value_name = "REQUEST")]
    then: Vec<String>,
    /// A request that runs otherwise (repeatable)
    #[arg(long = "else", value_name = "REQUEST")]
    otherwise: Vec<String>,
}

/// The lines of a transaction.
#[derive(Debug, Default, PartialEq)]
struct Blocks {
    when: Vec<String>,
    then: Vec<String>,
    otherwise: Vec<String>,
}

pub(crate) async fn run(
    args: TxnArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let TxnArgs {
        when,
        then,
        otherwise,
    } = args;
    let blocks = match when.is_empty() && then.is_empty() && otherwise.is_empty() {
        true => standard_input()?,
        false => Blocks {
            when,
            then,
            otherwise,
        },
    };
    let when = blocks.when.iter().map(|line| language::compare(line));
    let when = when.collect::<Result<Vec<Compare>, Failure>>()?;
    let then = operations(&blocks.then)?;
    let otherwise = operations(&blocks.otherwise)?;
    let response = connection
        .client()?
        .txn()
        .when(when)
        .then(requests(&then)?)
        .otherwise(requests(&otherwise)?)
        .commit()
        .await?;
    let ran = if response.succeeded {
        &then
    } else {
        &otherwise
    };
    match output.is_json() {
        true => output.json(&json_of(&response))?,
        false => print(&response, ran, output)?,
    }
    Ok(exit::OK)
}

fn operations(lines: &[String]) -> Result<Vec<Operation>, Failure> {
    lines.iter().map(|line| language::operation(line)).collect()
}

fn requests(operations: &[Operation]) -> Result<Vec<Op>, Failure> {
    operations.iter().map(Operation::request).collect()
}

fn standard_input() -> Result<Blocks, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::Other(format!("cannot read the transaction: {error}")))?;
    blocks(&text)
}

fn blocks(text: &str) -> Result<Blocks, Failure> {
    let mut parts: [Vec<String>; 3] = Default::default();
    let mut part = 0;
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            part += 1;
            continue;
        }
        let block = parts.get_mut(part).ok_or_else(|| {
            Failure::Usage(format!(
                "`{line}` comes after the third block of the transaction"
            ))
        })?;
        block.push(line.to_owned());
    }
    let [when, then, otherwise] = parts;
    Ok(Blocks {
        when,
        then,
        otherwise,
    })
}

fn print(response: &TxnResponse, ran: &[Operation], output: &mut Output) -> Result<(), Failure> {
    output.line(if response.succeeded {
        "SUCCESS"
    } else {
        "FAILURE"
    })?;
    for (answer, operation) in response.responses.iter().zip(ran) {
        output.line("")?;
        match (answer, operation) {
            (OpResponse::Range(range), Operation::Get(args)) => {
                kv::get::print(args, range, output)?
            }
            (OpResponse::Put(put), _) => {
                output.line("OK")?;
                kv::print_pairs(output, &put.prev_kv)?;
            }
            (OpResponse::Delete(delete), _) => {
                output.line(delete.deleted.to_string())?;
                kv::print_pairs(output, &delete.prev_kvs)?;
            }
            _ => output.line("(an answer of a kind that was not asked for)")?,
        }
    }
    Ok(())
}

fn json_of(response: &TxnResponse) -> Value {
    let answers: Vec<Value> = response.responses.iter().map(answer_json).collect();
    json!({
        "succeeded": response.succeeded,
        "revision": response.header.revision,
        "responses": answers,
    })
}

fn answer_json(answer: &OpResponse) -> Value {
    match answer {
        OpResponse::Range(range) => json!({ "get": kv::get::json_of(range) }),
        OpResponse::Put(put) => json!({ "put": kv::put::json_of(put) }),
        OpResponse::Delete(delete) => json!({ "del": kv::del::json_of(delete) }),
        OpResponse::Txn(txn) => json!({ "txn": json_of(txn) }),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_part_the_blocks() {
        let parsed = blocks("mod(\"a\") > \"0\"\n\nput a b\nget a\n\n\n").unwrap();
        assert_eq!(parsed.when, ["mod(\"a\") > \"0\""]);
        assert_eq!(parsed.then, ["put a b", "get a"]);
        assert_eq!(parsed.otherwise, Vec::<String>::new());
        assert_eq!(blocks("\n\nget a\n").unwrap().otherwise, ["get a"]);
        assert!(blocks("a\n\nb\n\nc\n\nd\n").is_err());
    }
}
