//! `handfast get`.
//!
//! Owns its options and output. Also the read of a transaction is written with these options.

use clap::{Args, ValueEnum};
use handfast_core::{Op, Range, RangeResponse, SortOrder, SortTarget};
use serde_json::{Value, json};

use super::print_pairs;
use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::keys::{Span, with_span};
use crate::output::{Output, pair_json};

/// Options of `get`.
#[derive(Args, Debug, Clone)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    span: Span,
    /// At most this many pairs
    #[arg(long, value_name = "N")]
    limit: Option<i64>,
    /// The state at this revision
    #[arg(long, value_name = "REV")]
    rev: Option<i64>,
    /// In which order
    #[arg(long, ignore_case = true)]
    order: Option<Order>,
    /// By what to order
    #[arg(long, ignore_case = true)]
    sort_by: Option<SortBy>,
    /// Print the keys only
    #[arg(long, conflicts_with_all = ["print_value_only", "count_only"])]
    keys_only: bool,
    /// Print the number of keys only
    #[arg(long)]
    count_only: bool,
    /// Print the values only
    #[arg(long)]
    print_value_only: bool,
    /// l asks the whole cluster; s is what the server has, maybe a little old
    #[arg(long, value_enum, default_value = "l")]
    consistency: Consistency,
    /// Only pairs last changed at this revision or later
    #[arg(long, value_name = "REV")]
    min_mod_rev: Option<i64>,
    /// Only pairs last changed at this revision or earlier
    #[arg(long, value_name = "REV")]
    max_mod_rev: Option<i64>,
    /// Only pairs created at this revision or later
    #[arg(long, value_name = "REV")]
    min_create_rev: Option<i64>,
    /// Only pairs created at this revision or earlier
    #[arg(long, value_name = "REV")]
    max_create_rev: Option<i64>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq)]
enum Order {
    Ascend,
    Descend,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq)]
enum SortBy {
    Key,
    Create,
    Modify,
    Version,
    Value,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq)]
enum Consistency {
    L,
    S,
}

impl GetArgs {
    fn sorting(&self) -> Option<(SortTarget, SortOrder)> {
        if self.order.is_none() && self.sort_by.is_none() {
            return None;
        }
        let target = match self.sort_by.unwrap_or(SortBy::Key) {
            SortBy::Key => SortTarget::Key,
            SortBy::Create => SortTarget::Create,
            SortBy::Modify => SortTarget::Mod,
            SortBy::Version => SortTarget::Version,
            SortBy::Value => SortTarget::Value,
        };
        let order = match self.order.unwrap_or(Order::Ascend) {
            Order::Ascend => SortOrder::Ascend,
            Order::Descend => SortOrder::Descend,
        };
        Some((target, order))
    }
}

/// Applies the options to a read or to the read of a transaction: same methods, two types.
macro_rules! with_options {
    ($name:ident, $kind:ty) => {
        fn $name(args: &GetArgs, mut range: $kind) -> $kind {
            range = match args.sorting() {
                Some((target, order)) => range.sort_by(target, order),
                None => range,
            };
            range = if args.keys_only {
                range.keys_only()
            } else {
                range
            };
            range = if args.count_only {
                range.count_only()
            } else {
                range
            };
            range = if args.consistency == Consistency::S {
                range.serializable()
            } else {
                range
            };
            range
                .limit(args.limit.unwrap_or(0))
                .revision(args.rev.unwrap_or(0))
                .min_mod_revision(args.min_mod_rev.unwrap_or(0))
                .max_mod_revision(args.max_mod_rev.unwrap_or(0))
                .min_create_revision(args.min_create_rev.unwrap_or(0))
                .max_create_revision(args.max_create_rev.unwrap_or(0))
        }
    };
}

with_options!(read_options, Range);
with_options!(op_options, Op);

pub(crate) async fn run(
    args: GetArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    let keys = args.span.clone().keys()?;
    let read = with_span!(keys, |key| client.range(key));
    let response = read_options(&args, read).await?;
    print(&args, &response, output)?;
    Ok(exit::OK)
}

/// This read as an operation of a transaction.
pub(crate) fn operation(args: &GetArgs) -> Result<Op, Failure> {
    let keys = args.span.clone().keys()?;
    Ok(op_options(args, with_span!(keys, Op::range)))
}

/// Prints a read's answer as the options ask.
pub(crate) fn print(
    args: &GetArgs,
    response: &RangeResponse,
    output: &mut Output,
) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&json_of(response));
    }
    if args.count_only {
        return output.line(response.count.to_string());
    }
    if args.keys_only {
        return response
            .kvs
            .iter()
            .try_for_each(|pair| output.data(&pair.key));
    }
    if args.print_value_only {
        return response
            .kvs
            .iter()
            .try_for_each(|pair| output.data(&pair.value));
    }
    print_pairs(output, &response.kvs)
}

/// A read's answer as JSON.
pub(crate) fn json_of(response: &RangeResponse) -> Value {
    json!({
        "revision": response.header.revision,
        "count": response.count,
        "more": response.more,
        "kvs": response.kvs.iter().map(pair_json).collect::<Vec<_>>(),
    })
}
