//! The conditions of a transaction.
//!
//! Owns how a compare is written. Knows nothing of transactions.

use bytes::Bytes;
use handfast_proto::etcdserverpb::{
    Compare as Message,
    compare::{CompareResult, CompareTarget, TargetUnion},
};

use crate::{IntoBytes, span};

/// A condition, evaluated on the state before the transaction.
///
/// A missing key has version, revisions and lease 0, and fails every compare of its value.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a compare does nothing until it is given to a transaction"]
pub struct Compare(pub(crate) Message);

impl Compare {
    /// The revision that created `key`; 0 when it does not exist.
    pub fn create_revision(key: impl IntoBytes) -> IntegerTarget {
        IntegerTarget::new(key, CompareTarget::Create)
    }

    /// The revision of the last put to `key`; 0 when it does not exist.
    pub fn mod_revision(key: impl IntoBytes) -> IntegerTarget {
        IntegerTarget::new(key, CompareTarget::Mod)
    }

    /// How many puts `key` has had since it was created; 0 when it does not exist.
    pub fn version(key: impl IntoBytes) -> IntegerTarget {
        IntegerTarget::new(key, CompareTarget::Version)
    }

    /// The lease `key` is attached to; 0 when there is none.
    pub fn lease(key: impl IntoBytes) -> IntegerTarget {
        IntegerTarget::new(key, CompareTarget::Lease)
    }

    /// The value of `key`, compared byte by byte.
    pub fn value(key: impl IntoBytes) -> ValueTarget {
        ValueTarget {
            span: Span::of(key),
        }
    }
}

#[derive(Debug, Clone)]
struct Span {
    key: Bytes,
    end: Bytes,
}

impl Span {
    fn of(key: impl IntoBytes) -> Self {
        Self {
            key: key.into_bytes(),
            end: Bytes::new(),
        }
    }

    fn compare(self, target: CompareTarget, result: CompareResult, union: TargetUnion) -> Compare {
        Compare(Message {
            result: result as i32,
            target: target as i32,
            key: self.key,
            range_end: self.end,
            target_union: Some(union),
        })
    }
}

macro_rules! target {
    ($given:ty, $into:expr) => {
        /// Compares all keys up to `end` (exclusive): every one must satisfy the condition. An
        /// empty range counts as a missing key.
        pub fn range_end(mut self, end: impl IntoBytes) -> Self {
            self.span.end = end.into_bytes();
            self
        }

        /// Compares all keys that start with the key: every one must satisfy the condition. An
        /// empty range counts as a missing key.
        pub fn prefix(mut self) -> Self {
            (self.span.key, self.span.end) = span::prefix_span(self.span.key);
            self
        }

        /// True if it is equal to `given`.
        pub fn eq(self, given: $given) -> Compare {
            self.compare(CompareResult::Equal, $into(given))
        }

        /// True if it differs from `given`.
        pub fn ne(self, given: $given) -> Compare {
            self.compare(CompareResult::NotEqual, $into(given))
        }

        /// True if it is greater than `given`.
        pub fn gt(self, given: $given) -> Compare {
            self.compare(CompareResult::Greater, $into(given))
        }

        /// True if it is less than `given`.
        pub fn lt(self, given: $given) -> Compare {
            self.compare(CompareResult::Less, $into(given))
        }
    };
}

/// A number of a key that is to be compared.
#[derive(Debug, Clone)]
#[must_use = "say what it is compared with"]
pub struct IntegerTarget {
    span: Span,
    target: CompareTarget,
}

impl IntegerTarget {
    fn new(key: impl IntoBytes, target: CompareTarget) -> Self {
        Self {
            span: Span::of(key),
            target,
        }
    }

    target!(i64, |given| given);

    fn compare(self, result: CompareResult, given: i64) -> Compare {
        let union = match self.target {
            CompareTarget::Create => TargetUnion::CreateRevision(given),
            CompareTarget::Mod => TargetUnion::ModRevision(given),
            CompareTarget::Lease => TargetUnion::Lease(given),
            CompareTarget::Version | CompareTarget::Value => TargetUnion::Version(given),
        };
        self.span.compare(self.target, result, union)
    }
}

/// A value of a key that is to be compared.
#[derive(Debug, Clone)]
#[must_use = "say what it is compared with"]
pub struct ValueTarget {
    span: Span,
}

impl ValueTarget {
    target!(impl IntoBytes, IntoBytes::into_bytes);

    fn compare(self, result: CompareResult, given: Bytes) -> Compare {
        self.span
            .compare(CompareTarget::Value, result, TargetUnion::Value(given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_union_member_matches_the_target() {
        let Compare(message) = Compare::mod_revision("k").lt(7);
        assert_eq!(message.target(), CompareTarget::Mod);
        assert_eq!(message.result(), CompareResult::Less);
        assert_eq!(message.target_union, Some(TargetUnion::ModRevision(7)));
    }

    #[test]
    fn a_prefix_compare_covers_the_prefix() {
        let Compare(message) = Compare::value("a/").prefix().ne("x");
        assert_eq!(
            (&*message.key, &*message.range_end),
            (&b"a/"[..], &b"a0"[..])
        );
        assert_eq!(message.target_union, Some(TargetUnion::Value("x".into())));
    }
}
