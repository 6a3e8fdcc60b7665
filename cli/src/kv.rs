//! Reading and writing keys.
//!
//! Owns the commands on keys and how pairs are printed. It must not know how the server is reached.

pub(crate) mod compact;
pub(crate) mod del;
pub(crate) mod get;
pub(crate) mod put;

use handfast_core::KeyValue;

use crate::exit::Failure;
use crate::output::Output;

/// Key and value on a line each, as etcdctl prints them.
pub(crate) fn print_pairs<'a>(
    output: &mut Output,
    pairs: impl IntoIterator<Item = &'a KeyValue>,
) -> Result<(), Failure> {
    for pair in pairs {
        output.data(&pair.key)?;
        output.data(&pair.value)?;
    }
    Ok(())
}
