//! Conditions of transactions as hosts spell them.
//!
//! Owns the words for what is compared and how. Knows nothing of a language's objects.

use bytes::Bytes;
use handfast::core::Compare;

use crate::Failure;

/// What a condition compares with.
#[derive(Debug, Clone)]
pub enum Operand {
    /// A revision, a version or a lease.
    Number(i64),
    /// A value.
    Value(Bytes),
}

/// The condition that `target` of `key`, or of all keys that start with it, is `operator` than
/// `operand`. Targets are `create_revision`, `mod_revision`, `version`, `lease` and `value`.
///
/// # Errors
/// `INVALID_ARGUMENT` for a word that is not known, or an operand of the other type.
pub fn compare(
    target: &str,
    key: Bytes,
    prefix: bool,
    operator: &str,
    operand: Operand,
) -> Result<Compare, Failure> {
    macro_rules! finish {
        ($target:expr, $operand:expr) => {{
            let target = if prefix { $target.prefix() } else { $target };
            Ok(match operator {
                "==" => target.eq($operand),
                "!=" => target.ne($operand),
                ">" => target.gt($operand),
                "<" => target.lt($operand),
                _ => {
                    let problem = format!("{operator:?} is none of ==, !=, <, >");
                    return Err(Failure::invalid("operator", problem));
                }
            })
        }};
    }
    match (target, operand) {
        ("create_revision", Operand::Number(to)) => finish!(Compare::create_revision(key), to),
        ("mod_revision", Operand::Number(to)) => finish!(Compare::mod_revision(key), to),
        ("version", Operand::Number(to)) => finish!(Compare::version(key), to),
        ("lease", Operand::Number(to)) => finish!(Compare::lease(key), to),
        ("value", Operand::Value(to)) => finish!(Compare::value(key), to),
        _ => {
            let problem = format!("a comparison of {target} with a value of this type");
            Err(Failure::invalid("when", problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_the_client_writes_them() {
        let key = || Bytes::from_static(b"k");
        let read = compare("version", key(), false, ">", Operand::Number(3)).unwrap();
        assert_eq!(read, Compare::version("k").gt(3));
        let value = Operand::Value(Bytes::from_static(b"v"));
        let read = compare("value", key(), true, "!=", value.clone()).unwrap();
        assert_eq!(read, Compare::value("k").prefix().ne("v"));
        for (target, operator, operand) in [
            ("version", "=>", Operand::Number(1)),
            ("value", "==", Operand::Number(1)),
            ("version", "==", value.clone()),
            ("size", "==", value),
        ] {
            let refused = compare(target, key(), false, operator, operand).unwrap_err();
            assert_eq!(refused.code(), "INVALID_ARGUMENT");
        }
    }
}
